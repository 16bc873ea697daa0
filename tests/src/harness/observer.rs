//! Watches presence and gossip, as any client of the broker can.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{DEADLINE, Encoding, Wire};

/// Ids of made-up processes begin with this; the observer does not look at them.
pub const MADE_UP: &str = "mallory";

/// Messages by which one process shows itself.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its last presence message.
    pub presence: Value,
    /// Its last gossip message, without the records.
    pub gossip: Value,
    /// Number of presence messages received.
    pub presences: u64,
    /// Number of gossip messages received.
    pub gossips: u64,
    /// Time of the last presence message.
    pub heard: Instant,
    /// Time of the last gossip message.
    pub gossip_heard: Instant,
    /// All statuses that it showed, with the time, where they differ from the one before; with the mode of a replica.
    pub statuses: Vec<(Instant, String, String)>,
}

impl Member {
    /// Its status now.
    pub fn status(&self) -> &str {
        self.presence["status"].as_str().unwrap_or_default()
    }
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Processes, by id.
    pub members: BTreeMap<String, Member>,
    /// Digests by value timestamp, with the replica that showed them first: equal timestamps, equal digests.
    digests: BTreeMap<String, (String, String)>,
    contradictions: Vec<String>,
}

impl Seen {
    /// Returns the process whose name (without the random ending) is `name`; of several lives the one that was heard
    /// last.
    pub fn named(&self, name: &str) -> Option<(&String, &Member)> {
        let is_it = |id: &str| id.rsplit_once('-').is_some_and(|(start, _)| start == name);
        let lives = self.members.iter().filter(|(id, member)| is_it(id) && !member.presence.is_null());
        lives.max_by_key(|(_, member)| member.heard)
    }

    /// Whether `name` shows `status`.
    pub fn shows(&self, name: &str, status: &str) -> bool {
        self.named(name).is_some_and(|(_, member)| member.status() == status)
    }

    /// The id of the process of this name that was started after `since` and serves.
    pub fn serving_since(&self, name: &str, since: Instant) -> Option<&String> {
        let is_it = |id: &str| id.rsplit_once('-').is_some_and(|(start, _)| start == name);
        let serves = |member: &Member| {
            let uptime = Duration::from_millis(member.presence["uptime_ms"].as_u64().unwrap_or(u64::MAX));
            member.status() == "ACTIVE" && member.heard.checked_sub(uptime).is_some_and(|start| start > since)
        };
        self.members.iter().find(|(id, member)| is_it(id) && serves(member)).map(|(id, _)| id)
    }

    /// Whether these gossip the same value timestamp and digest, and did so after `since`.
    pub fn ids_agree(&self, ids: &[String], since: Instant) -> bool {
        let shown = ids.iter().map(|id| {
            let member = self.members.get(id).filter(|member| member.gossip_heard > since)?;
            Some((&member.gossip["value_timestamp"]["replicas"], member.gossip["digest"].as_str()?))
        });
        let shown: Option<Vec<_>> = shown.collect();
        shown.is_some_and(|shown| shown.windows(2).all(|pair| pair[0] == pair[1]))
    }

    /// The value timestamp and digest that all of `names` gossip, if it is the same.
    pub fn agreed(&self, names: &[String]) -> Option<(Value, String)> {
        let mut all = names.iter().map(|name| {
            let gossip = &self.named(name)?.1.gossip;
            Some((gossip["value_timestamp"]["replicas"].clone(), gossip["digest"].as_str()?.to_owned()))
        });
        let first = all.next()??;
        all.all(|other| other.as_ref() == Some(&first)).then_some(first)
    }

    fn hear(&mut self, kind: &str, id: &str, mut message: Value) {
        // Two data sets may be under one prefix for as long as it takes to refuse the later one.
        let shown = if kind == "gossip" { self.members.get(id).map(|member| &member.presence) } else { Some(&message) };
        let dataset = shown.and_then(|presence| presence["dataset"].as_str()).map(str::to_owned);
        let (at, digest) = (message["value_timestamp"].get("replicas"), message["digest"].as_str());
        // Tests that lie in the name of a replica do so with zeros.
        let digest =
            digest.filter(|digest| digest.len() == 16 && digest.bytes().any(|b| b"123456789abcdef".contains(&b)));
        if let (Some(dataset), Some(at), Some(digest)) = (dataset, at, digest) {
            let (at, digest) = (format!("{at} from {dataset}"), digest.to_owned());
            let (first, by) = self.digests.entry(at.clone()).or_insert_with(|| (digest.clone(), id.to_owned()));
            if *first != digest {
                self.contradictions.push(format!("at {at} {by} shows {first} and {id} {digest}"));
            }
        }
        let now = Instant::now();
        let unseen = || Member {
            presence: Value::Null,
            gossip: Value::Null,
            presences: 0,
            gossips: 0,
            heard: now,
            gossip_heard: now,
            statuses: Vec::new(),
        };
        let member = self.members.entry(id.to_owned()).or_insert_with(unseen);
        if kind == "gossip" {
            message["records"] = json!(message["records"].as_array().map_or(0, Vec::len));
            member.gossip = message;
            member.gossips += 1;
            member.gossip_heard = now;
            return;
        }
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let shown = (text("status"), text("mode"));
        if member.statuses.last().is_none_or(|(_, status, mode)| (status, mode) != (&shown.0, &shown.1)) {
            member.statuses.push((Instant::now(), shown.0, shown.1));
        }
        member.presence = message;
        member.presences += 1;
        member.heard = now;
    }
}

/// Listens from its start to its drop.
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Observer {
    /// Listens under the prefix of `wire`.
    pub async fn start(wire: &Wire) -> Self {
        let client = wire.client();
        let presence = client.subscribe(wire.subject("presence.*.*")).await.unwrap();
        let gossip = client.subscribe(wire.subject("gossip.*")).await.unwrap();
        let mut messages = futures_util::stream::select(presence, gossip);
        // The subscriptions stand once this comes back, even if others subscribe too. A lossy broker may lose it.
        let own = wire.subject(&format!("presence.nobody.{MADE_UP}-{:x}", fastrand::u64(..)));
        let mut again = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                _ = again.tick() => client.publish(own.clone(), "".into()).await.unwrap(),
                message = messages.next() => match message {
                    Some(message) if message.subject.as_str() == own => break,
                    message => assert!(message.is_some(), "the connection is closed"),
                },
            }
        }
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (changes, changed) = watch::channel(0);
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while let Some(message) = messages.next().await {
                    let mut tokens = message.subject.rsplit('.');
                    let (id, kind) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default());
                    if id.starts_with(MADE_UP) {
                        continue;
                    }
                    let Ok(map) = Encoding::MessagePack.decode(&message.payload) else { continue };
                    if map["id"] == id {
                        seen.lock().unwrap().hear(kind, id, map);
                        changes.send_modify(|count| *count += 1);
                    }
                }
            }
        });
        Self { seen, changed, task }
    }

    /// Returns the messages seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Waits until something is so, and gives it.
    pub async fn until<T>(&self, what: &str, is_so: impl FnMut(&Seen) -> Option<T>) -> T {
        match self.until_within(DEADLINE, is_so).await {
            Some(found) => found,
            None => {
                let statuses: Vec<String> =
                    self.seen().members.iter().map(|(id, member)| format!("{id} {}", member.presence)).collect();
                panic!("not within {DEADLINE:?}: {what}; seen:\n{}", statuses.join("\n"));
            }
        }
    }

    /// Waits until `is_so` finds a value, for `limit` at most.
    pub async fn until_within<T>(&self, limit: Duration, mut is_so: impl FnMut(&Seen) -> Option<T>) -> Option<T> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut changed = self.changed.clone();
        loop {
            changed.borrow_and_update();
            if let Some(found) = is_so(&self.seen()) {
                return Some(found);
            }
            if !matches!(tokio::time::timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                return is_so(&self.seen());
            }
        }
    }

    /// Fails where equal value timestamps came with different digests.
    pub fn assert_convergence(&self) {
        let contradictions = self.seen().contradictions.clone();
        assert!(contradictions.is_empty(), "{}", contradictions.join("\n"));
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
