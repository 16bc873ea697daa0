//! Hears all gossip and presence from outside, at every broker: equal value timestamps, equal digests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::harness::{Encoding, MADE_UP, Wire};

/// Digests heard so far.
#[derive(Debug, Default)]
struct Heard {
    /// Digest by value timestamp, and the replica that showed it first.
    digests: BTreeMap<String, (String, String)>,
    /// Number of digests at a value timestamp that another replica had shown.
    compared: u64,
    contradictions: Vec<String>,
    /// Number of messages that were lost on purpose.
    lost: u64,
}

/// Listens from its start to its drop.
pub struct DigestWatch {
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl DigestWatch {
    /// Listens on all these connections; on the first one also to messages lost on purpose, which go to `lost.>`.
    pub async fn start(wires: &[Wire]) -> Self {
        let mut all: Vec<BoxStream<'static, async_nats::Message>> = Vec::new();
        for wire in wires {
            for subject in ["presence.replica.*", "gossip.*"] {
                all.push(wire.client().subscribe(wire.subject(subject)).await.unwrap().boxed());
            }
        }
        all.push(wires[0].client().subscribe("lost.>").await.unwrap().boxed());
        for wire in wires {
            wire.flush().await;
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let task = tokio::spawn({
            let (heard, mut messages) = (Arc::clone(&heard), stream::select_all(all));
            async move {
                while let Some(message) = messages.next().await {
                    heard.lock().unwrap().hear(&message);
                }
            }
        });
        Self { heard, task }
    }

    /// Returns the number of digests that were compared with that of another replica.
    pub fn compared(&self) -> u64 {
        self.heard.lock().unwrap().compared
    }

    /// Returns the number of messages that were lost on purpose.
    pub fn lost(&self) -> u64 {
        self.heard.lock().unwrap().lost
    }

    /// Fails where equal value timestamps came with different digests.
    pub fn assert_equal(&self) {
        let heard = self.heard.lock().unwrap();
        assert!(heard.contradictions.is_empty(), "{}", heard.contradictions.join("\n"));
    }
}

impl Drop for DigestWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heard {
    fn hear(&mut self, message: &async_nats::Message) {
        if message.subject.starts_with("lost.") {
            self.lost += 1;
            return;
        }
        let id = message.subject.rsplit('.').next().unwrap_or_default();
        if id.starts_with(MADE_UP) {
            return;
        }
        let map = Encoding::MessagePack.decode(&message.payload).unwrap_or_else(|error| panic!("{id} sends {error}"));
        let (Some(at), Some(digest)) = (map["value_timestamp"].get("replicas"), map["digest"].as_str()) else { return };
        self.compare(at, digest, id);
    }

    fn compare(&mut self, at: &Value, digest: &str, id: &str) {
        let at = at.to_string();
        match self.digests.get(&at) {
            None => _ = self.digests.insert(at, (digest.to_owned(), id.to_owned())),
            Some((first, by)) => {
                self.compared += u64::from(by != id);
                if first != digest {
                    self.contradictions.push(format!("at {at} {by} shows {first} and {id} {digest}"));
                }
            }
        }
    }
}
