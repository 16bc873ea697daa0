//! Tests of the model with messages as they are on the wire.

use natter_common::messages::Role;
use natter_common::subjects::Subjects;
use natter_common::wire::encode;
use serde_json::{Value, json};

use super::*;

const UPDATE: &str = "01a2091d-4547-7000-8046-63d56441e2f0";
const START: Micros = 1_800_000_000 * SECOND;

struct Stage {
    model: Model,
    now: Micros,
}

impl Stage {
    /// Frontends and replicas that show themselves.
    fn with(frontends: &[&str], replicas: &[&str]) -> Self {
        let model = Model::new(Subjects::new("ratings").unwrap());
        let mut stage = Self { model, now: START };
        for id in frontends {
            stage.hear(
                &format!("ratings.presence.frontend.{id}"),
                None,
                &json!({"role": "frontend", "id": id, "status": "ACTIVE"}),
            );
        }
        for id in replicas {
            stage.show(id, "ACTIVE", &json!({}), "0000000000000001");
        }
        stage
    }

    fn show(&mut self, id: &str, status: &str, applied: &Value, digest: &str) {
        let subject = format!("ratings.presence.replica.{id}");
        let timestamp = json!({"replicas": applied});
        self.hear(
            &subject,
            None,
            &json!({"role": "replica", "id": id, "status": status, "value_timestamp": timestamp,
                "replica_timestamp": timestamp, "digest": digest, "log_length": 3}),
        );
    }

    fn try_hear(&mut self, subject: &str, reply: Option<&str>, payload: &[u8]) -> Result<(), Unreadable> {
        self.now += MILLI;
        self.model.hear(Arrival { subject, reply, error: None, payload }, self.now)
    }

    fn hear(&mut self, subject: &str, reply: Option<&str>, message: &Value) {
        let payload = encode(message).unwrap();
        self.try_hear(subject, reply, &payload).unwrap_or_else(|Unreadable(reason)| panic!("{subject}: {reason}"));
    }

    /// Kind, whether it is a reply, sender and receivers of each event.
    fn arrows(&self) -> Vec<String> {
        let arrow = |event: &Event| {
            let kind = serde_json::to_value(event.kind).unwrap();
            let reply = if event.reply { " reply" } else { "" };
            format!("{}{reply}: {} > {}", kind.as_str().unwrap(), event.from, event.to.join("+"))
        };
        self.model.events_after(0).map(arrow).collect()
    }

    fn view(&self) -> Value {
        serde_json::to_value(self.model.view(self.now)).unwrap()
    }

    fn create(&mut self, reply: &str) {
        self.hear(
            "ratings.frontend.create",
            Some(reply),
            &json!({"user_id": 42, "movie_id": 2, "rating": 4.5, "id": UPDATE}),
        );
    }

    fn pass_on(&mut self, frontend: &str, replica: &str) {
        let request = json!({"requests": [{"n": 7, "id": UPDATE, "prev": {}, "stamp": 9, "copies": 2, "fresh": true, "wait_ms": 50,
            "request": {"method": "CREATE", "params": {"user_id": 42, "movie_id": 2, "rating": 4.5}}}]});
        let reply = format!("_INBOX.abc.{frontend}.{replica}.7-8");
        self.hear(&format!("ratings.replica.{replica}.update"), Some(&reply), &request);
    }

    fn gossip(&mut self, origin: &str) {
        let held = json!({"replicas": {origin: 1}});
        self.hear(
            &format!("ratings.gossip.{origin}"),
            None,
            &json!({"id": origin, "replica_timestamp": held, "value_timestamp": {"replicas": {}}, "digest": "0000000000000001",
                "records": [{"id": UPDATE, "i": origin, "seq": 1, "prev": {}, "stamp": 9, "copies": 2,
                    "request": {"method": "CREATE", "params": {"user_id": 42, "movie_id": 2, "rating": 4.5}}}]}),
        );
    }

    fn accepted(&mut self, frontend: &str, replica: &str) {
        let rating =
            json!({"user_id": 42, "movie_id": 2, "title": "x", "rating": 4.5, "timestamp": 1, "update_id": UPDATE});
        self.hear(
            &format!("_INBOX.abc.{frontend}.{replica}.7-8"),
            None,
            &json!({"id": replica, "replies": [{"n": 7, "reply": {"accepted": {
                "value": {"rating": rating}, "records": [{"i": replica, "seq": 1}], "clock": 9}}}]}),
        );
    }

    fn answer(&mut self, reply: &str, replicas: &[&str]) {
        self.hear(
            reply,
            None,
            &json!({"value": {}, "label": {"replicas": {"r1": 1}, "clock": 9}, "replicas": replicas}),
        );
    }
}

#[test]
fn update_is_followed_from_the_client_to_its_answer() {
    let mut stage = Stage::with(&["f1", "f2"], &["r1", "r2", "r3"]);
    stage.create("_INBOX.client.1");
    stage.pass_on("f2", "r1");
    stage.gossip("r1");
    stage.hear(
        "ratings.replica.r1.acknowledge",
        None,
        &json!({"id": "r2", "replica_timestamp": {"replicas": {"r1": 1}}}),
    );
    stage.accepted("f2", "r1");
    stage.answer("_INBOX.client.1", &["r1", "r2"]);
    assert_eq!(
        stage.arrows(),
        [
            "request: client 1 > f2",
            "accept: f2 > r1",
            "gossip: r1 > r2+r3",
            "acknowledgement: r2 > r1",
            "accept reply: r1 > f2",
            "request reply: f2 > client 1",
        ]
    );
    let on_way = |event: &Event| event.items.iter().any(|item| item.update.as_deref() == Some(UPDATE));
    assert!(stage.model.events_after(0).all(on_way), "each of these messages is about the update");
    let gossip = stage.model.events_after(0).find(|event| event.kind == Kind::Gossip).unwrap();
    assert_eq!(gossip.items[0].record.as_deref(), Some("r1:1"));
    assert_eq!(gossip.items[0].stamp.as_deref(), Some("9"));
    assert_eq!(stage.model.take_corrections(), [(1, "f2".to_owned())]);
    let update = &stage.view()["updates"][0];
    assert_eq!((&update["record"], &update["held"], &update["applied"]), (&json!("r1:1"), &json!(2), &json!(0)));
    assert_eq!(update["answered_ms"], json!(5.0));
}

#[test]
fn process_with_both_roles_is_one_and_shows_its_inner_step() {
    let mut stage = Stage::with(&["f-r1"], &["r1", "r2"]);
    stage.create("_INBOX.client.1");
    stage.gossip("r1");
    stage.answer("_INBOX.client.1", &["r1", "r2"]);
    let arrows = ["request: client 1 > r1", "inner: r1 > r1", "gossip: r1 > r2", "request reply: r1 > client 1"];
    assert_eq!(stage.arrows(), arrows);
    let processes = stage.view()["processes"].as_array().unwrap().clone();
    assert_eq!(processes.len(), 2);
    assert!(
        processes[0]["frontend"].is_object()
            && processes[0]["replica"].is_object()
            && processes[1]["frontend"].is_null()
    );
}

#[test]
fn subjects_of_a_process_are_wanted_only_while_presence_shows_it() {
    let mut stage = Stage::with(&["f1"], &["r1"]);
    let subjects = |stage: &Stage| stage.model.wanted().into_iter().map(|(_, subject)| subject).collect::<Vec<_>>();
    assert!(subjects(&stage).contains(&"ratings.replica.r1.*".to_owned()));
    assert!(subjects(&stage).contains(&"ratings.frontend.*".to_owned()));
    stage.show("r1", "LEFT", &json!({}), "0000000000000001");
    assert!(!subjects(&stage).iter().any(|subject| subject.contains("r1")));
    stage.now += 2 * SECOND;
    stage.model.tick(stage.now);
    assert_eq!(subjects(&stage), ["ratings.presence.frontend.*", "ratings.presence.replica.*"]);
    assert_eq!(stage.view()["processes"][0]["frontend"]["status"], "GONE");
}

#[test]
fn silence_during_an_outage_of_the_broker_proves_nothing() {
    let mut stage = Stage::with(&["f1"], &["r1"]);
    stage.now += 10 * SECOND;
    stage.model.reconnected(stage.now);
    stage.model.tick(stage.now);
    assert_eq!(stage.model.processes.present(Role::Replica).count(), 1);
}

#[test]
fn malformed_messages_are_counted_and_change_nothing() {
    let mut stage = Stage::with(&["f1"], &["r1"]);
    for (subject, payload) in [
        ("ratings.presence.replica.r1", &b"\xc1"[..]),
        ("ratings.presence.replica.r2", &encode(&json!({"role": "replica", "id": "r1", "status": "LEFT"})).unwrap()),
        ("ratings.gossip.r1", b"{"),
        ("ratings.gossip.r1", b""),
        ("ratings.replica.r1.update", b"\x81\xa8requests\x05"),
        ("ratings.replica.r1.acknowledge", b"hello"),
        ("ratings.replica.r1.unknown", b"\x80"),
        ("ratings.frontend.create", b"\x80"),
        ("ratings.frontend.unknown", b"\x80"),
        ("ratings.else", b""),
    ] {
        assert!(stage.try_hear(subject, None, payload).is_err(), "{subject}");
    }
    assert_eq!(stage.view()["malformed"], 10);
    assert_eq!(stage.view()["processes"][1]["replica"]["status"], "ACTIVE");
    assert!(
        stage.try_hear("_INBOX.other.1", None, b"\xc1").is_ok(),
        "replies to requests that were not seen are not looked at"
    );
}

#[test]
fn lag_counts_from_the_moment_a_record_was_first_seen() {
    let mut stage = Stage::with(&[], &["r1", "r2"]);
    stage.show("r1", "ACTIVE", &json!({"r1": 2}), "0000000000000002");
    stage.now += SECOND;
    stage.model.tick(stage.now);
    let view = stage.view();
    assert_eq!(view["agreement"], "spreading");
    assert_eq!(view["processes"][1]["replica"]["lag_records"], 2);
    assert_eq!(view["processes"][1]["replica"]["lag_ms"], 1000.0);
    for (id, digest) in [("r1", "0000000000000002"), ("r2", "0000000000000003")] {
        stage.show(id, "ACTIVE", &json!({"r1": 2}), digest);
    }
    stage.now += SECOND;
    stage.model.tick(stage.now);
    assert_eq!(stage.view()["agreement"], "diverged", "equal timestamps with unequal digests");
    for id in ["r1", "r2"] {
        stage.show(id, "ACTIVE", &json!({"r1": 2}), "0000000000000002");
    }
    stage.now += SECOND;
    stage.model.tick(stage.now);
    assert_eq!(
        (&stage.view()["agreement"], &stage.view()["processes"][1]["replica"]["lag_records"]),
        (&json!("equal"), &json!(0))
    );
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut stage = Stage::with(&["f1"], &["r1"]);
    for n in 0..20_000u64 {
        let message =
            json!({"user_id": 1 + n, "movie_id": 1, "rating": 1.0, "id": format!("00000000-0000-7000-8000-{n:012x}")});
        stage.hear("ratings.frontend.create", Some(&format!("_INBOX.c{n}.1")), &message);
    }
    assert!(stage.model.events_after(0).count() <= 6_000);
    assert_eq!(stage.model.updates.latest(usize::MAX).count(), 2_048);
    stage.now += 61 * SECOND;
    stage.model.tick(stage.now);
    assert_eq!(stage.model.events_after(0).count(), 0, "what is older than a minute is forgotten");
}

#[test]
fn made_up_processes_are_refused_beyond_the_size_of_a_cluster() {
    let mut stage = Stage::with(&[], &[]);
    for n in 0..200 {
        let id = format!("r{n}");
        let presence = encode(&json!({"role": "replica", "id": id, "status": "ACTIVE"})).unwrap();
        assert_eq!(stage.try_hear(&format!("ratings.presence.replica.{id}"), None, &presence).is_ok(), n < 128);
    }
}

#[test]
fn messages_of_one_instant_are_in_the_order_of_cause_and_effect() {
    let mut stage = Stage::with(&["f1"], &["r1"]);
    stage.create("_INBOX.client.1");
    let chain = [
        "ratings.presence.replica.r1",
        "ratings.frontend.create.42",
        "ratings.replica.r1.update",
        "ratings.gossip.r1",
        "ratings.replica.r1.acknowledge",
        "_INBOX.abc.f1.r1.7-8",
        "_INBOX.client.1",
    ];
    assert!(chain.map(|subject| stage.model.phase(subject)).is_sorted());
}

#[test]
fn sampled_requests_count_for_those_that_were_not_seen() {
    let mut stage = Stage::with(&["f1"], &["r1"]);
    stage.model.set_shares([1.0, 0.1]);
    let read = json!({"user_id": 42, "movie_id": 2});
    stage.hear("ratings.frontend.read", Some("_INBOX.client.1"), &read);
    stage.hear("ratings.frontend.read.42", Some("_INBOX.client.2"), &read);
    stage.now += SECOND;
    stage.model.tick(stage.now);
    assert_eq!(stage.view()["rates"]["now"], 11.0);
}
