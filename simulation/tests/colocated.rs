//! A frontend and a replica in one process: what they do in memory, and what travels.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::sync::Arc;

use natter_common::clock::{Now, Stamp};
use natter_common::colocated::{Colocated, Outputs};
use natter_common::edge::{ClientReply, ClientRequest, FrontendError};
use natter_common::frontend::{self, Frontend};
use natter_common::ids::{MovieId, ReplicaId, UserId};
use natter_common::label::Label;
use natter_common::messages::{
    Acknowledgement, Gossip, Mode, NumberedReply, Presence, Replicas, Replies, Reply, Status,
};
use natter_common::rating::Stars;
use natter_common::replica_manager::{self, ReplicaManager, ReplyTo};
use natter_common::request::{Query, Update};
use natter_common::timestamp::Timestamp;
use natter_common::value::Value;
use natter_simulation::simulation::value::MemoryValue;

const WALL_MS: u64 = 1_700_000_000_000;

fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

fn replicas(entries: &[(&str, u64)]) -> Replicas {
    Replicas { replicas: entries.iter().map(|(origin, count)| (id(origin), *count)).collect() }
}

fn presence(name: &str, status: Status, holds: &[(&str, u64)]) -> Presence {
    Presence {
        status,
        dataset: Some("movies".to_owned()),
        replica_timestamp: Some(replicas(holds)),
        value_timestamp: Some(replicas(&[])),
        ..Presence::of_the_past(id(name), false)
    }
}

fn replica(name: &str, now: Now) -> ReplicaManager {
    let config = replica_manager::Config {
        id: id(name),
        version: "1".to_owned(),
        dataset: "movies".to_owned(),
        mode: Mode::Measured,
        gossip_interval_ms: 700,
        forget_after_ms: 600_000,
        durable: false,
        message_bytes_max: 1 << 20,
        seed: 1,
    };
    ReplicaManager::new(config, now)
}

/// One process with two halves, its value and its clocks; `r2` and `r3` show themselves beside it.
struct Bench {
    core: Colocated,
    value: MemoryValue,
    now: Now,
    shown: Vec<Presence>,
    clients: u64,
}

impl Bench {
    fn new() -> Self {
        let now = Now { monotonic_ms: 0, wall_ms: WALL_MS };
        let config = frontend::Config {
            id: id("r1"),
            version: "1".to_owned(),
            fault_tolerance: 2,
            strict: false,
            timeout_ms: 2000,
            queue_length_max: 10,
            seed: 1,
        };
        let mut core = Colocated::new(Frontend::new(config, now), replica("r1", now));
        core.frontend_mut().serve();
        let shown = ["r2", "r3"].map(|name| presence(name, Status::Active, &[])).to_vec();
        let mut bench = Self { core, value: MemoryValue::new(), now, shown, clients: 0 };
        bench.pass(2000);
        for name in ["r2", "r3"] {
            bench.reply(name, 0, Reply::NotHeld);
        }
        assert_eq!(bench.core.replica().status(), Status::Active);
        bench
    }

    fn hear(&mut self, inputs: impl IntoIterator<Item = frontend::Input>) -> Outputs {
        let mut outputs = Outputs::default();
        self.core.step(self.now, inputs, [], &mut self.value, &mut outputs).unwrap();
        outputs
    }

    fn tell(&mut self, input: replica_manager::Input) -> Outputs {
        let mut outputs = Outputs::default();
        self.core.step(self.now, [], [input], &mut self.value, &mut outputs).unwrap();
        outputs
    }

    /// Time passes, with a tick every 20 ms; the others show themselves every 200 ms.
    fn pass(&mut self, for_ms: u64) -> Outputs {
        let mut outputs = Outputs::default();
        for _ in 0..for_ms / 20 {
            if self.now.monotonic_ms.is_multiple_of(200) {
                for presence in self.shown.clone() {
                    add(&mut outputs, self.tell(replica_manager::Input::Presence(Box::new(presence))));
                }
            }
            self.now.monotonic_ms += 20;
            self.now.wall_ms += 20;
            add(&mut outputs, self.tell(replica_manager::Input::Tick { queue_length: 0, listened: true }));
        }
        outputs
    }

    fn request(&mut self, request: ClientRequest) -> frontend::Input {
        self.clients += 1;
        frontend::Input::Request(self.clients, request)
    }

    fn query(&mut self, prev: &[(&str, u64)]) -> Outputs {
        let request = Query::Read { user_id: UserId::new(7).unwrap(), movie_id: MovieId::new(2).unwrap() };
        let prev = Label { replicas: replicas(prev).replicas, clock: Stamp::ZERO };
        let input = self.request(ClientRequest::Query { request, prev, cluster: None });
        self.hear([input])
    }

    fn create(&mut self, movie: u32) -> frontend::Input {
        let (user_id, movie_id) = (UserId::new(7).unwrap(), MovieId::new(movie).unwrap());
        let request = Update::Create { user_id, movie_id, rating: Stars::from_half_stars(8).unwrap() };
        self.request(ClientRequest::Update { request, id: None, prev: Label::new(), cluster: None })
    }

    fn update(&mut self) -> Outputs {
        let input = self.create(2);
        self.hear([input])
    }

    fn reply(&mut self, name: &str, n: u64, reply: Reply) -> Outputs {
        let replies = Replies { id: id(name), replies: vec![NumberedReply { n, reply }] };
        self.hear([frontend::Input::Replies(replies)])
    }

    /// `name` acknowledges the first `count` records of this process.
    fn acknowledge(&mut self, name: &str, count: u64) -> Outputs {
        self.tell(replica_manager::Input::Acknowledgement(Acknowledgement {
            id: id(name),
            replica_timestamp: replicas(&[("r1", count)]),
        }))
    }
}

fn add(outputs: &mut Outputs, more: Outputs) {
    outputs.replica.extend(more.replica);
    outputs.frontend.extend(more.frontend);
}

fn answers(outputs: &Outputs) -> Vec<Result<ClientReply, FrontendError>> {
    let answer = |output: &frontend::Output| match output {
        frontend::Output::Answer(_, answer) => Some(answer.clone()),
        _ => None,
    };
    outputs.frontend.iter().filter_map(answer).collect()
}

/// Requests of the frontend half that go over the broker: what they are, and to which replica.
fn travelling(outputs: &Outputs) -> Vec<(&'static str, String)> {
    let request = |output: &frontend::Output| match output {
        frontend::Output::Update(to, _) => Some(("update", to.to_string())),
        frontend::Output::Query(to, _) => Some(("query", to.to_string())),
        frontend::Output::Confirm(to, request) if request.n != 0 => Some(("confirm", to.to_string())),
        _ => None,
    };
    outputs.frontend.iter().filter_map(request).collect()
}

#[test]
fn a_query_that_is_covered_here_is_answered_in_its_turn() {
    let mut bench = Bench::new();
    let outputs = bench.query(&[]);
    assert_eq!(travelling(&outputs), []);
    let reply = answers(&outputs)[0].clone().unwrap();
    assert_eq!((reply.label.replicas, reply.replicas), (Timestamp::new(), vec![id("r1")]));
}

#[test]
fn a_query_that_lacks_something_here_goes_to_a_replica_that_has_it() {
    let mut bench = Bench::new();
    bench.shown[0] = presence("r2", Status::Active, &[("r2", 1)]);
    bench.pass(400);
    let outputs = bench.query(&[("r2", 1)]);
    assert_eq!(travelling(&outputs), [("query", "r2".to_owned())]);
    assert_eq!(answers(&outputs).len(), 0);
}

#[test]
fn an_update_is_answered_at_the_first_proof_that_another_replica_holds_it() {
    for proof in ["acknowledgement", "gossip", "presence"] {
        let mut bench = Bench::new();
        let outputs = bench.update();
        assert_eq!((travelling(&outputs), answers(&outputs).len()), (vec![], 0), "it is held by one replica only");
        let gossips = |output: &replica_manager::Output| match output {
            replica_manager::Output::Gossip(gossip) => Some(gossip.records.len()),
            _ => None,
        };
        assert_eq!(outputs.replica.iter().filter_map(gossips).collect::<Vec<_>>(), [1]);
        let outputs = match proof {
            "acknowledgement" => bench.acknowledge("r3", 1),
            "gossip" => {
                let digest = MemoryValue::new().digest();
                bench.tell(replica_manager::Input::Gossip(Gossip {
                    id: id("r3"),
                    value_timestamp: Replicas::default(),
                    replica_timestamp: replicas(&[("r1", 1)]),
                    digest,
                    records: Vec::new(),
                }))
            }
            _ => bench.tell(replica_manager::Input::Presence(Box::new(presence("r3", Status::Active, &[("r1", 1)])))),
        };
        // The frontend chooses which of the two it asks to confirm; the other one counts for the next update.
        let outputs = if answers(&outputs).is_empty() { bench.acknowledge("r2", 1) } else { outputs };
        let reply = answers(&outputs)[0].clone().unwrap();
        assert_eq!(reply.label.replicas, replicas(&[("r1", 1)]).replicas, "{proof}");
        assert_eq!(reply.replicas.len(), 2);
        assert!(reply.replicas.contains(&id("r1")));
    }
}

#[test]
fn several_updates_of_one_turn_are_answered_together() {
    let mut bench = Bench::new();
    let inputs = [2, 3, 4].map(|movie| bench.create(movie));
    assert_eq!(answers(&bench.hear(inputs)).len(), 0);
    let mut outputs = bench.acknowledge("r2", 2);
    add(&mut outputs, bench.acknowledge("r3", 2));
    assert_eq!(answers(&outputs).len(), 2, "the third one is held by this replica only");
}

#[test]
fn a_confirmation_that_stays_out_is_asked_for_over_the_broker() {
    let mut bench = Bench::new();
    bench.update();
    assert_eq!(travelling(&bench.pass(20)), []);
    let asked = travelling(&bench.pass(40));
    assert!(matches!(&asked[..], [("confirm", to)] if to == "r2" || to == "r3"), "{asked:?}");
    assert_eq!(travelling(&bench.pass(100)), [], "once");
}

#[test]
fn a_replica_that_is_gone_does_not_count_as_a_holder() {
    let mut bench = Bench::new();
    for name in ["r2", "r3"] {
        bench.shown.retain(|shown| shown.id != id(name));
        bench.tell(replica_manager::Input::Presence(Box::new(presence(name, Status::Left, &[]))));
    }
    bench.shown.push(presence("r4", Status::Active, &[]));
    bench.pass(400);
    bench.reply("r4", 0, Reply::NotHeld);
    bench.update();
    for name in ["r2", "r3"] {
        assert_eq!(answers(&bench.acknowledge(name, 1)).len(), 0, "{name} has left");
    }
    assert_eq!(answers(&bench.acknowledge("r4", 1)).len(), 1);
}

#[test]
fn the_frontend_half_goes_on_with_others_while_the_replica_half_is_offline() {
    let mut bench = Bench::new();
    let to = ReplyTo { subject: Arc::from("operator"), n: 0 };
    bench.tell(replica_manager::Input::Status(to, Some(Mode::Offline)));
    let outputs = bench.query(&[]);
    assert!(matches!(&travelling(&outputs)[..], [("query", to)] if to != "r1"), "{outputs:?}");
}

#[test]
fn what_is_pending_is_asked_of_others_when_the_replica_goes_on_under_a_new_id() {
    let mut bench = Bench::new();
    bench.update();
    let successor = replica("r1-again", bench.now);
    let mut outputs = Outputs::default();
    bench.core.replace_replica(successor, &mut outputs);
    assert!(matches!(&travelling(&outputs)[..], [("confirm", to)] if to != "r1"), "{outputs:?}");
    let outputs = bench.query(&[]);
    assert!(matches!(&travelling(&outputs)[..], [("query", to)] if to != "r1"), "it does not serve yet: {outputs:?}");
    assert_eq!(bench.core.id(), &id("r1-again"));
}
