//! Raw request-reply: a payload that must come back as it was.

use async_nats::{Message, Subject};
use bytes::Bytes;
use fastrand::Rng;

use super::workload::{Workload, error_in_headers};

/// Requests with a number and a random key each, in payloads of one length.
pub(super) struct Raw {
    subject: Subject,
    payload: Vec<u8>,
    reply_bytes: usize,
    next: u64,
    sent: Vec<u64>,
    keys: u32,
    random: Rng,
}

/// The length of the number in a payload.
pub(crate) const NUMBER_BYTES: usize = 8;
/// The length of the key after it.
const KEY_BYTES: usize = 4;

impl Raw {
    /// To `subject`, with payloads of `bytes`, at least twelve, each about one of `keys` keys. Replies have `reply_bytes`, or
    /// as many as their requests.
    pub(super) fn new(subject: &str, bytes: usize, reply_bytes: Option<usize>, keys: u32, seed: u64) -> Self {
        let payload = vec![b'.'; bytes.max(NUMBER_BYTES + KEY_BYTES)];
        let (keys, random) = (keys.max(1), Rng::with_seed(seed));
        let reply_bytes = reply_bytes.unwrap_or(payload.len());
        Self { subject: subject.into(), payload, reply_bytes, next: 0, sent: Vec::new(), keys, random }
    }
}

impl Workload for Raw {
    fn request(&mut self, slot: usize) -> (Subject, Bytes) {
        if slot >= self.sent.len() {
            self.sent.resize(slot + 1, 0);
        }
        self.next += 1;
        self.sent[slot] = self.next;
        self.payload[..NUMBER_BYTES].copy_from_slice(&self.next.to_be_bytes());
        let key = self.random.u32(..self.keys);
        self.payload[NUMBER_BYTES..][..KEY_BYTES].copy_from_slice(&key.to_be_bytes());
        (self.subject.clone(), Bytes::copy_from_slice(&self.payload))
    }

    fn reply(&mut self, slot: usize, message: &Message) -> Result<(), String> {
        if let Some(error) = error_in_headers(message) {
            return Err(error);
        }
        let expected = self.sent.get(slot).map(|number| number.to_be_bytes());
        let is_right = message.payload.len() == self.reply_bytes
            && message.payload.first_chunk::<NUMBER_BYTES>() == expected.as_ref();
        if is_right { Ok(()) } else { Err("the payload did not come back as it was".to_owned()) }
    }

    fn unanswered(&mut self, _slot: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn raw_requests_are_about_all_keys() {
        let mut raw = Raw::new("echo", 60, None, 8, 1);
        let keys: BTreeSet<u8> = (0..200).map(|_| raw.request(0).1[NUMBER_BYTES + KEY_BYTES - 1]).collect();
        assert_eq!(keys, (0..8).collect());
        assert_eq!(raw.request(0).1.len(), 60);
    }
}
