//! Puts and gets of a JetStream key-value bucket, as client libraries make them: messages to the stream's subjects.

use anyhow::{Context, Result, anyhow, bail};
use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use fastrand::Rng;
use futures_util::{StreamExt, TryStreamExt};

use super::job::{KvOperation, Outcome};
use super::workload::{Workload, error_in_headers};

/// A value begins with its key's number and its version, four bytes each.
const STAMP_BYTES: usize = 8;

/// Keys of a bucket, their known versions, and the requests about them.
pub(super) struct Versions {
    /// Subject for a put of each key.
    put: Vec<Subject>,
    /// Subject and payload for a read of each key, by operation.
    direct_get: Vec<Subject>,
    get: (Subject, Vec<Bytes>),
    /// The version that was put last and acknowledged; `None` where that is not known.
    known: Vec<Option<u32>>,
    is_asked: Vec<bool>,
}

impl Versions {
    /// Starts with keys that have not been put.
    pub(super) fn new(bucket: &str, keys: u32) -> Self {
        let subjects = || (0..keys).map(|key| format!("$KV.{bucket}.{key}"));
        let payload = |subject: String| Bytes::from(format!(r#"{{"last_by_subj":"{subject}"}}"#));
        Self {
            put: subjects().map(Subject::from).collect(),
            direct_get: subjects().map(|subject| format!("$JS.API.DIRECT.GET.KV_{bucket}.{subject}").into()).collect(),
            get: (format!("$JS.API.STREAM.MSG.GET.KV_{bucket}").into(), subjects().map(payload).collect()),
            known: vec![Some(0); keys as usize],
            is_asked: vec![false; keys as usize],
        }
    }
}

/// Puts or gets.
pub(super) struct Kv {
    operation: KvOperation,
    exact: bool,
    versions: Versions,
    random: Rng,
    value: Vec<u8>,
    open: Vec<Option<(u32, u32)>>,
    compared: u64,
    stale: u64,
}

impl Kv {
    /// Makes requests for this bucket.
    pub(super) fn new(operation: KvOperation, exact: bool, versions: Versions, bytes: usize, seed: u64) -> Self {
        Self {
            operation,
            exact,
            versions,
            random: Rng::with_seed(seed),
            value: vec![b'.'; bytes.max(STAMP_BYTES)],
            open: Vec::new(),
            compared: 0,
            stale: 0,
        }
    }

    /// Returns the state of the keys now.
    pub(super) fn into_versions(self) -> Versions {
        self.versions
    }

    /// The value that `key` has in version `version`.
    pub(super) fn value(&mut self, key: u32, version: u32) -> Bytes {
        self.value[..4].copy_from_slice(&key.to_be_bytes());
        self.value[4..STAMP_BYTES].copy_from_slice(&version.to_be_bytes());
        Bytes::copy_from_slice(&self.value)
    }

    /// Returns the subject for a put of `key`.
    pub(super) fn subject(&self, key: u32) -> Subject {
        self.versions.put[key as usize].clone()
    }

    /// Takes a random key with no open request, or any key where too many have one.
    fn take(&mut self) -> u32 {
        let keys = self.versions.put.len();
        let first = self.random.usize(..keys);
        let free = (0..keys.min(256)).map(|step| (first + step) % keys).find(|key| !self.versions.is_asked[*key]);
        if free.is_none() {
            self.versions.known[first] = None;
        }
        let key = free.unwrap_or(first);
        self.versions.is_asked[key] = true;
        key as u32
    }

    fn check_get(&mut self, key: u32, message: &Message) -> Result<(), String> {
        if self.operation == KvOperation::Get {
            let text = std::str::from_utf8(&message.payload).unwrap_or_default();
            return if text.contains("\"message\"") { Ok(()) } else { Err(format!("get: {text}")) };
        }
        let (Some(found), Some(version)) = (number(&message.payload, 0), number(&message.payload, 4)) else {
            return Err(format!("key {key} has no value: {:?}", message.payload));
        };
        if found != key || message.payload.len() != self.value.len() {
            return Err(format!("key {key} has the value of key {found}"));
        }
        if let Some(known) = self.versions.known[key as usize] {
            self.compared += 1;
            if version < known && self.exact {
                return Err(format!("key {key} has version {known}, and {version} was read"));
            }
            self.stale += u64::from(version < known);
        }
        Ok(())
    }
}

impl Workload for Kv {
    fn request(&mut self, slot: usize) -> (Subject, Bytes) {
        let key = self.take();
        let version = self.versions.known[key as usize].unwrap_or(0) + 1;
        if slot >= self.open.len() {
            self.open.resize(slot + 1, None);
        }
        self.open[slot] = Some((key, version));
        match self.operation {
            KvOperation::Put => (self.subject(key), self.value(key, version)),
            KvOperation::DirectGet => (self.versions.direct_get[key as usize].clone(), Bytes::new()),
            KvOperation::Get => (self.versions.get.0.clone(), self.versions.get.1[key as usize].clone()),
        }
    }

    fn reply(&mut self, slot: usize, message: &Message) -> Result<(), String> {
        let Some((key, version)) = self.open.get_mut(slot).and_then(Option::take) else {
            return Err("a reply to nothing".to_owned());
        };
        self.versions.is_asked[key as usize] = false;
        let checked = match (error_in_headers(message), self.operation) {
            (Some(error), _) => Err(error),
            (None, KvOperation::Put) => check_acknowledgement(&message.payload),
            (None, _) => self.check_get(key, message),
        };
        if self.operation == KvOperation::Put {
            self.versions.known[key as usize] = checked.is_ok().then_some(version);
        }
        checked
    }

    fn unanswered(&mut self, slot: usize) {
        if let Some((key, _)) = self.open.get_mut(slot).and_then(Option::take) {
            self.versions.is_asked[key as usize] = false;
            if self.operation == KvOperation::Put {
                self.versions.known[key as usize] = None;
            }
        }
    }

    fn tell(&self, outcome: &mut Outcome) {
        outcome.compared = self.compared;
        outcome.stale = self.stale;
    }
}

/// Whether a stream says that it has a message.
pub(crate) fn check_acknowledgement(payload: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(payload).unwrap_or_default();
    if text.contains("\"seq\"") && !text.contains("\"error\"") { Ok(()) } else { Err(format!("put: {text}")) }
}

fn number(payload: &[u8], at: usize) -> Option<u32> {
    payload.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Puts every key of a bucket once, so that there is something to get.
pub(super) async fn fill(client: &Client, bucket: &str, keys: u32, bytes: usize) -> Result<Versions> {
    let mut kv = Kv::new(KvOperation::Put, true, Versions::new(bucket, keys), bytes, 1);
    let puts: Vec<_> = (0..keys).map(|key| (kv.subject(key), kv.value(key, 1))).collect();
    let putting = futures_util::stream::iter(puts).map(|(subject, value)| async move {
        let message = client.request(subject, value).await?;
        match error_in_headers(&message) {
            Some(error) => bail!("{error}"),
            None => check_acknowledgement(&message.payload).map_err(|error| anyhow!(error)),
        }
    });
    putting.buffer_unordered(256).try_collect::<()>().await.context("the bucket can't be filled")?;
    Ok(Versions { known: vec![Some(1); keys as usize], ..kv.into_versions() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_streams_word_is_an_acknowledgement() {
        assert!(check_acknowledgement(br#"{"stream":"KV_x", "seq":7}"#).is_ok());
        for other in [&br#"{"error":{"code":503,"description":"x"},"stream":"KV_x","seq":0}"#[..], b"", b"+OK"] {
            assert!(check_acknowledgement(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_value_tells_its_key_and_version() {
        let mut kv = Kv::new(KvOperation::DirectGet, true, Versions::new("b", 2), 60, 1);
        let value = kv.value(1, 70_000);
        assert_eq!((value.len(), number(&value, 0), number(&value, 4)), (60, Some(1), Some(70_000)));
        assert_eq!(number(&value, 58), None);
        let (subject, _) = kv.request(0);
        assert!(["0", "1"].map(|key| format!("$JS.API.DIRECT.GET.KV_b.$KV.b.{key}")).contains(&subject.to_string()));
    }
}
