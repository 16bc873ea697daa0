//! A frontend on the bench.

use natter_common::clock::{Now, Stamp};
use natter_common::edge::{ClientReply, ClientRequest, FrontendError};
use natter_common::frontend::{Config, Frontend, Input, Output};
use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::messages::{
    ConfirmRequest, NumberedReply, Presence, QueryRequest, Replicas, Replies, Reply, Status, UpdateRequest,
};
use natter_common::rating::{Average, Rating, RatingKey, Stars};
use natter_common::record::RecordRef;
use natter_common::request::{Answer, Query, Update};
use natter_common::timestamp::Timestamp;

/// Unix milliseconds at the beginning.
pub(crate) const WALL_MS: u64 = 1_700_000_000_000;
pub(crate) const TIMEOUT_MS: u64 = 2_000;
/// Time without a reply after which another replica is asked too, in milliseconds: a fifth of the timeout.
pub(crate) const PATIENCE_MS: u64 = 400;

pub(crate) type Answered = Result<ClientReply, FrontendError>;

pub(crate) fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

pub(crate) fn timestamp(entries: &[(&str, u64)]) -> Timestamp {
    entries.iter().map(|(origin, count)| (id(origin), *count)).collect()
}

pub(crate) fn label(entries: &[(&str, u64)]) -> Label {
    Label { replicas: timestamp(entries), clock: Stamp::ZERO }
}

pub(crate) fn config() -> Config {
    Config {
        id: id("F"),
        version: "1".to_owned(),
        fault_tolerance: 2,
        strict: false,
        timeout_ms: TIMEOUT_MS,
        queue_length_max: 10,
        seed: 1,
    }
}

pub(crate) fn movie() -> MovieId {
    MovieId::new(2).unwrap()
}

pub(crate) fn average() -> Query {
    Query::Average { movie_id: movie() }
}

pub(crate) fn create() -> Update {
    let rating = Stars::from_half_stars(8).unwrap();
    Update::Create { user_id: UserId::new(7).unwrap(), movie_id: movie(), rating }
}

pub(crate) fn record(origin: &str, seq: u64) -> RecordRef {
    RecordRef { i: id(origin), seq }
}

/// Answer to [`create`].
pub(crate) fn rating() -> Answer {
    let RatingKey { user_id, movie_id } = create().key();
    let rating = create().stars();
    Answer::Rating(Rating { user_id, movie_id, title: "Ran".to_owned(), rating, timestamp: Some(5), update_id: None })
}

pub(crate) fn accepted(origin: &str, seq: u64) -> Reply {
    Reply::Accepted {
        value: rating(),
        records: vec![record(origin, seq)],
        clock: Stamp(seq),
        retired: Timestamp::new(),
    }
}

pub(crate) fn held(origin: &str, seq: u64) -> Reply {
    Reply::Held { records: vec![record(origin, seq)], clock: Stamp(seq) }
}

pub(crate) fn answered(entries: &[(&str, u64)]) -> Reply {
    let value = Answer::Average(Average { movie_id: movie(), title: "Ran".to_owned(), average: None, count: 0 });
    Reply::Answered { value, label: label(entries) }
}

pub(crate) fn presence(name: &str, status: Status, holds: &[(&str, u64)]) -> Presence {
    Presence {
        status,
        wall_ms: 0,
        replica_timestamp: Some(Replicas { replicas: timestamp(holds) }),
        ..Presence::of_the_past(id(name), false)
    }
}

/// One frontend, its clocks, and the processes that show themselves to it.
pub(crate) struct Bench {
    pub(crate) frontend: Frontend,
    pub(crate) now: Now,
    pub(crate) shown: Vec<Presence>,
    clients: u64,
}

impl Bench {
    /// Just started.
    pub(crate) fn new(config: Config) -> Self {
        let now = Now { monotonic_ms: 0, wall_ms: WALL_MS };
        let mut frontend = Frontend::new(config, now);
        frontend.serve();
        Self { frontend, now, shown: Vec::new(), clients: 0 }
    }

    /// Has listened for long enough, and these serve, hold nothing and have answered before.
    pub(crate) fn beside(names: &[&str]) -> Self {
        Self::with(config(), names)
    }

    pub(crate) fn with(config: Config, names: &[&str]) -> Self {
        let mut bench = Self::new(config);
        bench.shown = names.iter().map(|name| presence(name, Status::Active, &[])).collect();
        bench.pass(1_600);
        for name in names {
            bench.prove(name);
        }
        bench
    }

    /// It has answered something.
    pub(crate) fn prove(&mut self, name: &str) {
        self.reply(name, 0, Reply::NotHeld);
    }

    pub(crate) fn hear(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.frontend.step(self.now, [input], &mut outputs);
        outputs
    }

    /// Time passes, with a tick every 20 ms; processes that are there show themselves every 200 ms.
    pub(crate) fn pass(&mut self, for_ms: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        for _ in 0..for_ms / 20 {
            if self.now.monotonic_ms.is_multiple_of(200) {
                for presence in self.shown.clone() {
                    outputs.extend(self.hear(Input::Presence(Box::new(presence))));
                }
            }
            self.now.monotonic_ms += 20;
            self.now.wall_ms += 20;
            outputs.extend(self.hear(Input::Tick { listened: true }));
        }
        outputs
    }

    /// From now on it shows this, at once and later.
    pub(crate) fn show(&mut self, presence: Presence) -> Vec<Output> {
        self.shown.retain(|shown| shown.id != presence.id);
        self.shown.push(presence.clone());
        self.hear(Input::Presence(Box::new(presence)))
    }

    /// A replica joins that was this one in an earlier life.
    pub(crate) fn show_later_life(&mut self, name: &str, later: &str) -> Vec<Output> {
        self.show(Presence { former: vec![id(name)], ..presence(later, Status::Joining, &[]) })
    }

    pub(crate) fn query(&mut self, prev: Label) -> Vec<Output> {
        let request = self.request(prev);
        self.hear(request)
    }

    pub(crate) fn request(&mut self, prev: Label) -> Input {
        self.clients += 1;
        Input::Request(self.clients, ClientRequest::Query { request: average(), prev, cluster: None })
    }

    pub(crate) fn update(&mut self, id: Option<UpdateId>, prev: Label) -> Vec<Output> {
        self.clients += 1;
        self.hear(Input::Request(self.clients, ClientRequest::Update { request: create(), id, prev, cluster: None }))
    }

    pub(crate) fn reply(&mut self, name: &str, n: u64, reply: Reply) -> Vec<Output> {
        self.hear(Input::Replies(Replies { id: id(name), replies: vec![NumberedReply { n, reply }] }))
    }
}

/// Queries that were sent, each with the replica it was sent to.
pub(crate) fn queries(outputs: &[Output]) -> Vec<(String, QueryRequest)> {
    let query = |output: &Output| match output {
        Output::Query(replica, request) => Some((replica.to_string(), request.clone())),
        _ => None,
    };
    outputs.iter().filter_map(query).collect()
}

pub(crate) fn updates(outputs: &[Output]) -> Vec<(String, UpdateRequest)> {
    let update = |output: &Output| match output {
        Output::Update(replica, request) => Some((replica.to_string(), request.clone())),
        _ => None,
    };
    outputs.iter().filter_map(update).collect()
}

/// Confirms that were sent, without those that only ask whether a replica answers.
pub(crate) fn confirms(outputs: &[Output]) -> Vec<(String, ConfirmRequest)> {
    let confirm = |output: &Output| match output {
        Output::Confirm(replica, request) if request.n != 0 => Some((replica.to_string(), request.clone())),
        _ => None,
    };
    outputs.iter().filter_map(confirm).collect()
}

pub(crate) fn answers(outputs: &[Output]) -> Vec<(u64, Answered)> {
    let answer = |output: &Output| match output {
        Output::Answer(client, answer) => Some((*client, answer.clone())),
        _ => None,
    };
    outputs.iter().filter_map(answer).collect()
}

/// The only answer among `outputs`.
pub(crate) fn answer(outputs: &[Output]) -> Answered {
    let answers = answers(outputs);
    assert_eq!(answers.len(), 1, "{outputs:?}");
    answers.into_iter().next().unwrap().1
}

/// The code and the beginning of the text of the only answer, an error.
pub(crate) fn error(outputs: &[Output]) -> String {
    let error = answer(outputs).unwrap_err();
    format!("{} {}", error.code(), error.to_string().split([':', ' ']).next().unwrap())
}

pub(crate) fn names<T>(asked: &[(String, T)]) -> Vec<&str> {
    asked.iter().map(|(name, _)| name.as_str()).collect()
}
