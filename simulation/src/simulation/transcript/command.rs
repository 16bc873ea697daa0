//! The commands of transcripts.

use natter_common::clock::Stamp;
use natter_common::edge::ClientRequest;
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::label::Label;
use natter_common::messages::{Mode, Role};
use natter_common::rating::Stars;
use natter_common::request::{Query, Update};

use super::{Asked, Named, Operation, Scenario};
use crate::simulation::cluster::Happened;
use crate::simulation::disk::Sync;
use crate::simulation::network::{Link, Policy};
use crate::simulation::process::now;
use crate::simulation::value::key;

/// Everything but presence.
const KINDS: [&str; 10] =
    ["update", "query", "confirm", "replies", "gossip", "ack", "pull", "log", "snapshot", "chunk"];

fn id(name: &str) -> ReplicaId {
    ReplicaId::new(name).expect("a name")
}

impl Scenario {
    pub(super) fn command(&mut self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["cluster", ref rest @ ..] => self.start_cluster(rest),
            ["replica", name] => {
                self.cluster.start_replica(name, Mode::Measured, 0);
            }
            ["durable", name] => {
                self.cluster.start_durable(name, Sync::Full, 0);
            }
            ["both", name, ref rest @ ..] => {
                let sync = (*rest == ["durable"]).then_some(Sync::Full);
                self.cluster.start_colocated(name, sync, 0);
            }
            ["restart", name] => {
                self.cluster.restart(&id(name));
                self.note_reborn();
            }
            ["twin", name] => {
                self.cluster.start_copy(&id(name));
                self.note_reborn();
            }
            ["disk", name, "stalls"] => self.cluster.stall_disk(&id(name), true),
            ["disk", name, "goes", "on"] => self.cluster.stall_disk(&id(name), false),
            ["copy", name] => {
                let disk = self.cluster.process(&id(name)).disk.clone();
                self.copies.insert(name.to_owned(), disk.expect("a replica manager with a disk"));
            }
            ["restore", name] => {
                let disk = self.copies.remove(name).expect("a copy");
                self.cluster.process_mut(&id(name)).disk = Some(disk);
                self.cluster.restart(&id(name));
                self.note_reborn();
            }
            ["frontend", name, ref rest @ ..] => {
                let skew_s: i64 = match rest {
                    ["clock", skew] => skew.trim_end_matches('s').parse().expect("seconds"),
                    _ => 0,
                };
                self.cluster.start_frontend(name, skew_s * 1000);
                self.pass(1_600_000);
            }
            ["prefer", preferred] => {
                for replica in self.cluster.alive(Role::Replica) {
                    let mode = if replica.as_str() == preferred { Mode::Active } else { Mode::Overloaded };
                    self.cluster.set_mode(&replica, mode);
                }
                let before = self.observed.len();
                self.pass(5_000);
                let said = self.observed.split_off(before);
                let is_news = |line: &String| !line.ends_with(" is OVERLOADED") && !line.ends_with(" is ACTIVE");
                self.observed.extend(said.into_iter().filter(is_news));
            }
            ["mode", name, mode] => {
                self.cluster.set_mode(&id(name), mode.parse().expect("a mode"));
                self.pass(5_000);
            }
            ["hold", links, ref kinds @ ..] => self.set_policy(links, kinds, Some(Policy::Hold)),
            ["drop", links, ref kinds @ ..] => self.set_policy(links, kinds, Some(Policy::Drop)),
            ["flow", links, ref kinds @ ..] => {
                self.set_policy(links, kinds, None);
                for link in parse_links(links) {
                    self.cluster.network.cut.remove(&link);
                    self.release(&link, None);
                }
            }
            ["release", links, ref kind @ ..] => {
                for link in parse_links(links) {
                    self.release(&link, kind.first().copied());
                }
            }
            ["cut", links] => self.cluster.network.cut.extend(parse_links(links)),
            ["pause", name] => self.cluster.pause(&id(name)),
            ["wake", name] => self.cluster.wake(&id(name)),
            ["crash", name] => self.cluster.crash(&id(name)),
            ["crash", name, "after", outputs] => {
                self.cluster.crash_after_outputs(&id(name), outputs.parse().expect("a number"));
            }
            ["leave", name] => self.cluster.leave(&id(name)),
            ["wait", time] => {
                let for_ms: u64 = time.trim_end_matches("ms").parse().expect("milliseconds");
                self.pass(for_ms * 1000);
            }
            ["quiet"] => self.quiet = true,
            ["logs"] => self.show_logs(),
            ["show"] => {
                self.pass(5_000);
                self.quiet = false;
                self.show();
            }
            ["pulls"] => {
                let pulls = std::mem::take(&mut self.pulls);
                self.observed.push(format!("{pulls} pulls"));
            }
            [session, ref rest @ ..] => self.ask(session, rest),
            [] => {}
        }
    }

    fn start_cluster(&mut self, words: &[&str]) {
        let mut words = words.iter();
        let replicas: Vec<&str> = words.by_ref().take_while(|word| **word != "/").copied().collect();
        let rest: Vec<&str> = words.copied().collect();
        let settings = ["fault-tolerance", "forget-after", "rows-at-once"];
        let first = rest.iter().position(|word| settings.contains(word)).unwrap_or(rest.len());
        let (names, settings) = rest.split_at(first);
        for setting in settings.chunks(2) {
            let [name, number] = *setting else { panic!("{setting:?} is no setting") };
            let number: u64 = number.trim_end_matches("ms").parse().expect("a number");
            match name {
                "fault-tolerance" => self.cluster.settings.fault_tolerance = number as u32,
                "forget-after" => self.cluster.settings.forget_after_ms = number,
                _ => self.cluster.settings.message_bytes_max = 500 * number as usize,
            }
        }
        for name in replicas {
            self.cluster.start_replica(name, Mode::Measured, 0);
        }
        for name in names {
            self.cluster.start_frontend(name, 0);
        }
        while self.cluster.now_us() < 3_000_000 {
            if !matches!(self.cluster.step(), Some(Happened::Stepped { .. } | Happened::Nothing)) {
                panic!("a cluster starts without anybody asking");
            }
        }
    }

    fn set_policy(&mut self, links: &str, kinds: &[&str], policy: Option<Policy>) {
        for link in parse_links(links) {
            for kind in KINDS.iter().filter(|kind| kinds.is_empty() || kinds.contains(kind)) {
                self.cluster.network.set_policy(&link, kind, policy);
            }
        }
    }

    fn release(&mut self, link: &Link, kind: Option<&str>) {
        for message in self.cluster.network.take_held(link, kind) {
            self.cluster.deliver(1000, link.clone(), message);
        }
    }

    /// `create 7 1 4.0 via F as X prev A:5`
    fn ask(&mut self, session: &str, words: &[&str]) {
        let after =
            |word: &str| words.iter().position(|other| *other == word).and_then(|at| words.get(at + 1)).copied();
        let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).expect("a number");
        let frontend = id(after("via").expect("via a frontend"));
        let n = self.asked.len() as u64 + 1;
        let own = self.sessions.entry(session.to_owned()).or_default();
        let prev = after("prev").map_or_else(|| own.label().clone(), parse_prev);
        let mut update_id = None;
        let asked = if words.first() == Some(&"retry") {
            let name = words.get(1).expect("the name of an update");
            let (id, named) = self.names.iter().find(|(_, named)| named.name == *name).expect("an update of that name");
            update_id = Some(*id);
            named.asked.clone()
        } else {
            let key = key(number(1), number(2));
            let (user_id, movie_id) = (key.user_id, key.movie_id);
            let number: Option<f64> = words.get(3).and_then(|word| word.parse().ok());
            let stars = || Stars::try_from(number.expect("stars")).expect("stars");
            match words.first() {
                Some(&"create") => Asked::Update(Update::Create { user_id, movie_id, rating: stars() }),
                Some(&"update") => Asked::Update(Update::Update { user_id, movie_id, rating: stars() }),
                Some(&"delete") => Asked::Update(Update::Delete { user_id, movie_id }),
                Some(&"read") => Asked::Query(Query::Read { user_id, movie_id }),
                _ => panic!("what is {words:?}?"),
            }
        };
        if let (Asked::Update(_), None, false) = (&asked, update_id, words.contains(&"unnamed")) {
            let stamp_ms = now(self.cluster.now_us(), 0).wall_ms;
            let id: UpdateId = own.update_id(stamp_ms, n);
            let name = after("as").map_or_else(|| format!("#{n}"), str::to_owned);
            self.names.insert(id, Named { name, asked: asked.clone() });
            update_id = Some(id);
        }
        let request = match &asked {
            Asked::Query(query) => ClientRequest::Query { request: query.clone(), prev: prev.clone(), cluster: None },
            Asked::Update(update) => {
                ClientRequest::Update { request: *update, id: update_id, prev: prev.clone(), cluster: None }
            }
        };
        let session = id(session);
        let seen = prev.replicas.clone();
        self.asked.insert(n, Operation { session: session.clone(), n, asked, id: update_id, prev, seen, tries: 1 });
        self.cluster.ask(&session, &frontend, n, request);
        self.pass(3_000);
    }
}

/// `A,B>C,D`
fn parse_links(text: &str) -> Vec<Link> {
    let (from, to) = text.split_once('>').expect("a link like A>B");
    from.split(',').flat_map(|from| to.split(',').map(move |to| (id(from), id(to)))).collect()
}

/// `A:5,B:2`
fn parse_prev(text: &str) -> Label {
    let entries = text.split(',').filter_map(|entry| {
        let (name, count) = entry.split_once(':')?;
        Some((id(name), count.parse().ok()?))
    });
    Label { replicas: entries.collect(), clock: Stamp::ZERO }
}
