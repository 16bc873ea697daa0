//! Raw request-reply: a payload that must come back as it was.

use async_nats::{Message, Subject};
use bytes::Bytes;

use super::workload::{Workload, error_in_headers};

/// Requests with a number each, in payloads of one length.
pub(super) struct Raw {
    subject: Subject,
    payload: Vec<u8>,
    next: u64,
    sent: Vec<u64>,
}

/// The length of the number in a payload.
const NUMBER_BYTES: usize = 8;

impl Raw {
    /// To `subject`, with payloads of `bytes`, at least eight.
    pub(super) fn new(subject: &str, bytes: usize) -> Self {
        Self { subject: subject.into(), payload: vec![b'.'; bytes.max(NUMBER_BYTES)], next: 0, sent: Vec::new() }
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
        (self.subject.clone(), Bytes::copy_from_slice(&self.payload))
    }

    fn reply(&mut self, slot: usize, message: &Message) -> Result<(), String> {
        if let Some(error) = error_in_headers(message) {
            return Err(error);
        }
        let expected = self.sent.get(slot).map(|number| number.to_be_bytes());
        let is_right = message.payload.len() == self.payload.len()
            && message.payload.first_chunk::<NUMBER_BYTES>() == expected.as_ref();
        if is_right { Ok(()) } else { Err("the payload did not come back as it was".to_owned()) }
    }

    fn unanswered(&mut self, _slot: usize) {}
}
