use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use proptest::prelude::*;

use crate::clock::{Now, Stamp};
use crate::edge::{
    Answers, BatchReply, ClientBatch, ClientReply, ClientRequest, FrontendError, Outcome, SingleOperation,
};
use crate::frontend::{Config, Frontend, Input, Output};
use crate::ids::{MovieId, ReplicaId, UpdateId, UserId};
use crate::label::Label;
use crate::messages::{ConfirmRequest, NumberedReply, Presence, Refusal, Replies, Reply, Status, UpdateRequest};
use crate::rating::{Average, Rating, RatingKey, Stars};
use crate::record::RecordRef;
use crate::request::{Answer, Query, Update};
use crate::timestamp::Timestamp;

const WALL_MS: u64 = 1_800_000_000_000;
const TIMEOUT_MS: u64 = 2_000;

/// A replica manager that does at once what it is asked.
#[derive(Default)]
struct Replica {
    rows: BTreeMap<RatingKey, (Stamp, UpdateId, Option<Stars>)>,
    executed: BTreeMap<UpdateId, (u64, Answer)>,
    clock: Stamp,
}

impl Replica {
    fn label(&self) -> Label {
        let count = self.executed.len() as u64;
        Label { replicas: [(id(), count)].into_iter().collect(), clock: self.clock }
    }

    fn stars(&self, key: RatingKey) -> Option<Stars> {
        self.rows.get(&key).and_then(|row| row.2)
    }

    fn update(&mut self, update: &UpdateRequest) -> Reply {
        let records = |seq| vec![RecordRef { i: id(), seq }];
        if let Some((seq, value)) = self.executed.get(&update.id) {
            return Reply::Accepted {
                value: value.clone(),
                records: records(*seq),
                clock: self.clock,
                retired: Timestamp::new(),
            };
        }
        let key = update.request.key();
        let before = self.stars(key);
        let refusal = match update.request {
            Update::Create { .. } => before.map(|_| Refusal::RatingExists),
            _ => before.is_none().then_some(Refusal::RatingNotFound),
        };
        if let Some(refusal) = refusal {
            return Reply::Refused { refusal, label: self.label() };
        }
        let row = (update.stamp, update.id, update.request.stars());
        let stands = self.rows.get(&key).copied();
        if let Some((above, ..)) = stands.filter(|stands| update.fresh && update.stamp <= stands.0) {
            return Reply::StampAgain { above };
        }
        if stands.is_none_or(|stands| (row.0, row.1) > (stands.0, stands.1)) {
            self.rows.insert(key, row);
        }
        self.clock = self.clock.max(update.stamp);
        let value = rating(key, update.request.stars().or(before));
        let seq = self.executed.len() as u64 + 1;
        self.executed.insert(update.id, (seq, value.clone()));
        Reply::Accepted { value, records: records(seq), clock: self.clock, retired: Timestamp::new() }
    }

    fn query(&self, query: &Query) -> Reply {
        let value = match query {
            Query::Read { user_id, movie_id } => {
                let key = RatingKey { user_id: *user_id, movie_id: *movie_id };
                rating(key, self.stars(key))
            }
            Query::Average { movie_id } => average(*movie_id, self.rows.iter().map(|(key, row)| (*key, row.2))),
            _ => panic!("not in a batch"),
        };
        Reply::Answered { value, label: self.label() }
    }

    fn confirm(&self, confirm: &ConfirmRequest) -> Reply {
        match self.executed.get(&confirm.id) {
            Some((seq, _)) => Reply::Held { records: vec![RecordRef { i: id(), seq: *seq }], clock: self.clock },
            None => Reply::NotHeld,
        }
    }

    fn reply(&mut self, request: &Output) -> Option<NumberedReply> {
        let (n, reply) = match request {
            Output::Update(_, update) => (update.n, self.update(update)),
            Output::Query(_, query) => (query.n, self.query(&query.request)),
            Output::Confirm(_, confirm) => (confirm.n, self.confirm(confirm)),
            _ => return None,
        };
        Some(NumberedReply { n, reply })
    }
}

fn id() -> ReplicaId {
    ReplicaId::new("r").unwrap()
}

fn rating(key: RatingKey, stars: Option<Stars>) -> Answer {
    let (user_id, movie_id) = (key.user_id, key.movie_id);
    Answer::Rating(Rating { user_id, movie_id, title: String::new(), rating: stars, timestamp: None, update_id: None })
}

fn average(movie_id: MovieId, ratings: impl Iterator<Item = (RatingKey, Option<Stars>)>) -> Answer {
    let stars: Vec<f64> =
        ratings.filter(|(key, _)| key.movie_id == movie_id).filter_map(|(_, s)| s).map(Stars::as_f64).collect();
    let mean = (!stars.is_empty()).then(|| stars.iter().sum::<f64>() / stars.len() as f64);
    Answer::Average(Average { movie_id, title: String::new(), average: mean, count: stars.len() as u64 })
}

/// A frontend with that replica manager, whose answers come in any order.
struct World {
    frontend: Frontend,
    replica: Replica,
    now_ms: u64,
    outputs: Vec<Output>,
    random: Rng,
}

impl World {
    fn new(seed: u64, queue_length_max: usize) -> Self {
        let config = Config {
            id: ReplicaId::new("f").unwrap(),
            version: String::new(),
            fault_tolerance: 1,
            strict: false,
            timeout_ms: TIMEOUT_MS,
            queue_length_max,
            seed,
        };
        let frontend = Frontend::new(config, Now { monotonic_ms: 0, wall_ms: WALL_MS });
        let random = Rng::with_seed(seed);
        let mut world = Self { frontend, replica: Replica::default(), now_ms: 0, outputs: Vec::new(), random };
        world.show_the_replica();
        world.frontend.serve();
        world.settle();
        world.now_ms = 5_000;
        world.show_the_replica();
        world.settle();
        world
    }

    fn show_the_replica(&mut self) {
        let presence = Presence {
            status: Status::Active,
            wall_ms: WALL_MS + self.now_ms,
            uptime_ms: self.now_ms,
            value_timestamp: Some(Default::default()),
            replica_timestamp: Some(Default::default()),
            ..Presence::of_the_past(id(), false)
        };
        self.step(Input::Presence(Box::new(presence)));
    }

    fn step(&mut self, input: Input) {
        let now = Now { monotonic_ms: self.now_ms, wall_ms: WALL_MS + self.now_ms };
        self.frontend.step(now, [input], &mut self.outputs);
    }

    /// Lets the replica manager answer until nothing is asked, and gives what clients are told.
    fn settle(&mut self) -> Vec<Output> {
        let (mut told, mut asked) = (Vec::new(), Vec::new());
        loop {
            for output in self.outputs.drain(..) {
                match output {
                    Output::Answer(..) | Output::BatchAnswer(..) => told.push(output),
                    Output::Update(..) | Output::Query(..) | Output::Confirm(..) => asked.push(output),
                    Output::Presence(_) | Output::Notice(_) | Output::Lost(..) | Output::Retired(..) => {}
                }
            }
            if asked.is_empty() {
                return told;
            }
            let request = asked.swap_remove(self.random.usize(..asked.len()));
            let replies = self.replica.reply(&request).into_iter().collect();
            self.step(Input::Replies(Replies { id: id(), replies }));
        }
    }

    fn batch(&mut self, batch: ClientBatch) -> BatchReply {
        self.step(Input::Request(1, ClientRequest::Batch(batch)));
        match self.settle().as_slice() {
            [Output::BatchAnswer(1, reply)] => reply.clone(),
            other => panic!("not one reply: {other:?}"),
        }
    }
}

/// Ratings after operations one by one, whose outcomes are texts with values and names of errors.
#[derive(Default)]
struct OneByOne(BTreeMap<RatingKey, Stars>);

impl OneByOne {
    fn perform(&mut self, operation: &SingleOperation) -> String {
        let value = match operation {
            SingleOperation::Query(Query::Read { user_id, movie_id }) => {
                let key = RatingKey { user_id: *user_id, movie_id: *movie_id };
                rating(key, self.0.get(&key).copied())
            }
            SingleOperation::Query(Query::Average { movie_id }) => {
                average(*movie_id, self.0.iter().map(|(key, stars)| (*key, Some(*stars))))
            }
            SingleOperation::Query(_) => panic!("not in a batch"),
            SingleOperation::Update { request, .. } => {
                let key = request.key();
                let before = self.0.get(&key).copied();
                match (request, before) {
                    (Update::Create { .. }, Some(_)) => return "RATING_EXISTS".to_owned(),
                    (Update::Update { .. } | Update::Delete { .. }, None) => return "RATING_NOT_FOUND".to_owned(),
                    _ => {}
                }
                match request.stars() {
                    Some(stars) => self.0.insert(key, stars),
                    None => self.0.remove(&key),
                };
                rating(key, request.stars().or(before))
            }
        };
        format!("{value:?}")
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Written(ClientReply { value, .. }) | Outcome::Read(ClientReply { value, .. }) => format!("{value:?}"),
        Outcome::Failed(error) => error.to_string().split(':').next().unwrap().to_owned(),
    }
}

fn key(user: u32, movie: u32) -> RatingKey {
    RatingKey { user_id: UserId::new(user).unwrap(), movie_id: MovieId::new(movie).unwrap() }
}

fn write(kind: u8, key: RatingKey, half_stars: u8, id: Option<UpdateId>) -> SingleOperation {
    let RatingKey { user_id, movie_id } = key;
    let rating = Stars::from_half_stars(half_stars).unwrap();
    let request = match kind {
        0 => Update::Create { user_id, movie_id, rating },
        1 => Update::Update { user_id, movie_id, rating },
        _ => Update::Delete { user_id, movie_id },
    };
    SingleOperation::Update { request, id }
}

fn create(user: u32, movie: u32) -> SingleOperation {
    write(0, key(user, movie), 8, None)
}

fn batch(operations: Vec<SingleOperation>, answers: Answers) -> ClientBatch {
    ClientBatch { operations: operations.into_iter().map(Ok).collect(), prev: Label::new(), cluster: None, answers }
}

/// None, one that carries a stamp about now, or one without.
fn update_id() -> impl Strategy<Value = Option<UpdateId>> {
    let stamped = (4_000u64..6_000, any::<u16>(), any::<u64>())
        .prop_map(|(at, counter, random)| Some(UpdateId::from_stamp(Stamp::new(WALL_MS + at, counter), random)));
    let version_4 = any::<u128>().prop_map(|bits| {
        let bits = (bits & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
        Some(UpdateId::from_uuid(uuid::Uuid::from_u128(bits)))
    });
    prop_oneof![Just(None), stamped, version_4]
}

fn operation() -> impl Strategy<Value = SingleOperation> {
    let on = (1u32..3, 1u32..4).prop_map(|(user, movie)| key(user, movie));
    let update =
        (0u8..3, on.clone(), 1u8..11, update_id()).prop_map(|(kind, key, stars, id)| write(kind, key, stars, id));
    let read = on.prop_map(|key| SingleOperation::Query(Query::Read { user_id: key.user_id, movie_id: key.movie_id }));
    let average = (1u32..4).prop_map(|n| SingleOperation::Query(Query::Average { movie_id: MovieId::new(n).unwrap() }));
    prop_oneof![6 => update, 2 => read, 1 => average]
}

proptest! {
    #[test]
    fn a_batch_has_the_outcomes_and_the_effect_of_its_operations_sent_one_by_one(
        operations in prop::collection::vec(operation(), 0..24),
        clock in prop_oneof![Just(0), 4_000u64..6_000],
        seed: u64,
    ) {
        let mut world = World::new(seed, 1000);
        let mut one_by_one = OneByOne::default();
        let mut request = batch(operations.clone(), Answers::Full);
        if clock > 0 {
            request.prev.clock = Stamp::new(WALL_MS + clock, 0);
        }
        let reply = world.batch(request.clone());
        let expected: Vec<String> = operations.iter().map(|operation| one_by_one.perform(operation)).collect();
        prop_assert_eq!(reply.outcomes.iter().map(told).collect::<Vec<_>>(), expected);
        let stands: BTreeMap<RatingKey, Stars> =
            world.replica.rows.iter().filter_map(|(key, row)| Some((*key, row.2?))).collect();
        prop_assert_eq!(stands, one_by_one.0);
        prop_assert_eq!(world.frontend.pending(), 0);
        prop_assert!(world.frontend.prev().replicas.covers(&reply.label.replicas));
    }

    #[test]
    fn a_batch_whose_ids_carry_rising_stamps_is_the_same_batch_when_it_is_sent_again(
        operations in prop::collection::vec(operation(), 1..24),
        seeds in (any::<u64>(), any::<u64>()),
        later in 0u64..100_000,
    ) {
        let with_id = |(place, operation): (usize, &SingleOperation)| match operation {
            SingleOperation::Update { request, .. } => {
                let id = UpdateId::from_stamp(Stamp::new(WALL_MS + 5_000, place as u16), 7);
                SingleOperation::Update { request: *request, id: Some(id) }
            }
            query => query.clone(),
        };
        let operations: Vec<SingleOperation> = operations.iter().enumerate().map(with_id).collect();
        let stamps = |world: &World| world.replica.rows.values().map(|row| (row.0, row.1)).collect::<Vec<_>>();
        let mut world = World::new(seeds.0, 1000);
        world.batch(batch(operations.clone(), Answers::Full));
        for (stamp, id) in stamps(&world) {
            prop_assert_eq!(Some(stamp), id.stamp());
        }
        // Another frontend, after a while.
        let first = stamps(&world);
        let mut other = World::new(seeds.1, 1000);
        other.replica = world.replica;
        other.now_ms += later;
        other.show_the_replica();
        let done: BTreeSet<UpdateId> = other.replica.executed.keys().copied().collect();
        let again = other.batch(batch(operations.clone(), Answers::Full));
        prop_assert_eq!(stamps(&other).len(), first.len());
        for (operation, outcome) in operations.iter().zip(&again.outcomes) {
            if let SingleOperation::Update { id: Some(id), .. } = operation && done.contains(id) {
                prop_assert!(matches!(outcome, Outcome::Written(_)), "{:?}", outcome);
            }
        }
    }
}

#[test]
fn a_brief_reply_leaves_out_what_was_written_and_tells_the_least_number_of_copies() {
    let mut world = World::new(1, 1000);
    let read =
        SingleOperation::Query(Query::Read { user_id: UserId::new(1).unwrap(), movie_id: MovieId::new(1).unwrap() });
    let mut request = batch(vec![create(1, 1), read, create(1, 1)], Answers::Brief);
    request.operations.push(Err(FrontendError::BadRequest("as it came".to_owned())));
    let reply = world.batch(request);
    assert_eq!(reply.outcomes[0], Outcome::Done);
    assert!(
        matches!(&reply.outcomes[1], Outcome::Read(reply) if matches!(&reply.value, Answer::Rating(r) if r.rating.is_some()))
    );
    assert_eq!([2, 3].map(|place| told(&reply.outcomes[place])), ["RATING_EXISTS", "BAD_REQUEST"]);
    assert_eq!((reply.copies, reply.replicas), (Some(1), vec![id()]));
    assert!(reply.label.replicas.covers(&[(id(), 1)].into_iter().collect::<Timestamp>()));
}

#[test]
fn what_the_queue_has_no_room_for_is_overloaded_and_the_rest_is_done() {
    let mut world = World::new(1, 3);
    let operations = vec![create(1, 1), create(1, 1), create(1, 2), create(1, 3), create(1, 1)];
    let reply = world.batch(batch(operations, Answers::Brief));
    let expected = ["done", "RATING_EXISTS", "done", "OVERLOADED", "OVERLOADED"];
    assert_eq!(reply.outcomes.iter().map(told).collect::<Vec<_>>(), expected);
    // Nothing is done of one that finds the queue full.
    world.step(Input::Request(
        1,
        ClientRequest::Batch(batch(vec![create(2, 1), create(2, 2), create(2, 2)], Answers::Brief)),
    ));
    assert_eq!(world.frontend.pending(), 3);
    world.step(Input::Request(2, ClientRequest::Batch(batch(vec![create(3, 1)], Answers::Brief))));
    let told = world.settle();
    assert!(matches!(&told[0], Output::Answer(2, Err(FrontendError::Overloaded { waiting: 3 }))), "{told:?}");
    assert!(matches!(&told[1], Output::BatchAnswer(1, _)), "{told:?}");
}

#[test]
fn a_batch_is_answered_in_time_with_what_is_known_of_each_operation() {
    let mut world = World::new(1, 1000);
    let operations = vec![create(1, 1), create(1, 1), create(1, 1)];
    world.step(Input::Request(1, ClientRequest::Batch(batch(operations, Answers::Brief))));
    // The replica manager is silent.
    let begun_ms = world.now_ms;
    let reply = loop {
        world.now_ms += 20;
        world.show_the_replica();
        world.step(Input::Tick { listened: true });
        let answer = world.outputs.drain(..).find_map(|output| match output {
            Output::BatchAnswer(1, reply) => Some(reply),
            _ => None,
        });
        if let Some(reply) = answer {
            break reply;
        }
        assert!(world.now_ms < begun_ms + TIMEOUT_MS, "no answer in time");
    };
    assert!(matches!(reply.outcomes[0], Outcome::Failed(FrontendError::UpdateTimeout { .. })), "{reply:?}");
    for outcome in &reply.outcomes[1..] {
        assert!(matches!(outcome, Outcome::Failed(FrontendError::NotBegun { .. })), "{reply:?}");
    }
    assert_eq!(world.frontend.pending(), 0);
}

#[test]
fn an_empty_batch_is_answered_at_once() {
    let reply = World::new(1, 1000).batch(batch(Vec::new(), Answers::Full));
    assert_eq!((reply.outcomes.len(), reply.copies, reply.label), (0, None, Label::new()));
}
