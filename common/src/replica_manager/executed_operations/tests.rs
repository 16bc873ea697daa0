use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ids::{MovieId, UserId};
use crate::rating::Stars;

/// The records that are forgotten.
fn expire(table: &mut ExecutedOperations, now_ms: u64, in_log: impl Fn(&ReplicaId, u64) -> bool) -> Vec<RecordRef> {
    let mut forgotten = Vec::new();
    table.expire(now_ms, in_log, |origin, seq| forgotten.push(RecordRef { i: origin.clone(), seq }));
    forgotten
}

fn operation(n: u64, i: &str, seq: u64) -> ExecutedOperation {
    ExecutedOperation {
        id: UpdateId::from_stamp(Stamp(n), n),
        i: ReplicaId::new(i).unwrap(),
        seq,
        request: Some(Update::Delete { user_id: UserId::new(1).unwrap(), movie_id: MovieId::new(1).unwrap() }),
        stamp: Stamp(n),
        deleted: None,
    }
}

#[test]
fn an_update_is_remembered_for_more_than_a_minute_and_as_long_as_its_record_is_in_the_log() {
    let mut table = ExecutedOperations::default();
    assert!(table.insert(&operation(1, "a", 1), 0));
    assert!(table.insert(&operation(1, "b", 1), 10));
    assert!(!table.insert(&operation(1, "a", 1), 20), "the same record again");
    assert!(expire(&mut table, 60_000, |_, _| false).is_empty());
    let id = operation(1, "a", 1).id;
    assert_eq!(table.names(&id).len(), 2);
    let forgotten = expire(&mut table, RETENTION_MS + 10, |i, _| i.as_str() == "a");
    assert_eq!(forgotten, [operation(1, "b", 1).name()]);
    assert_eq!(table.first(&id).map(|first| first.name()), Some(operation(1, "a", 1).name()));
    assert_eq!(expire(&mut table, 3 * RETENTION_MS, |_, _| false).len(), 1);
    assert!(table.is_empty() && table.first(&id).is_none());
}

#[test]
fn records_are_given_in_the_order_of_their_ids_however_they_were_taken_in() {
    let mut table = ExecutedOperations::default();
    for n in [5, 2, 9, 2, 7] {
        table.insert(&operation(n, "a", n), 0);
        table.insert(&operation(n, "b", n), 0);
    }
    let names = |after| -> Vec<_> { table.after(after).map(|operation| operation.name().to_string()).collect() };
    assert_eq!(names(None), ["a:2", "b:2", "a:5", "b:5", "a:7", "b:7", "a:9", "b:9"]);
    assert_eq!(names(Some(operation(5, "a", 5).id)), ["a:7", "b:7", "a:9", "b:9"]);
    assert_eq!(names(Some(operation(6, "a", 6).id)), ["a:7", "b:7", "a:9", "b:9"]);
    assert!(names(Some(operation(9, "a", 9).id)).is_empty());
}

#[test]
fn what_stays_because_of_the_log_keeps_its_place_among_the_records_of_its_id() {
    let mut table = ExecutedOperations::default();
    for i in ["a", "b", "c"] {
        table.insert(&operation(1, i, 1), 0);
    }
    expire(&mut table, RETENTION_MS, |i, _| i.as_str() != "b");
    let id = operation(1, "a", 1).id;
    assert_eq!(table.names(&id), [operation(1, "a", 1).name(), operation(1, "c", 1).name()]);
    assert!(!table.insert(&operation(1, "a", 1), RETENTION_MS), "known still");
    assert_eq!(expire(&mut table, 2 * RETENTION_MS, |_, _| false).len(), 2);
    assert!(table.is_empty() && table.names(&id).is_empty());
}

/// A table without blocks and compact items.
#[derive(Default)]
struct Model {
    /// Operations of an id in the order in which they came, each with its place in the queue and its time.
    operations: BTreeMap<UpdateId, Vec<(u64, u64, ExecutedOperation)>>,
    next: u64,
}

impl Model {
    fn insert(&mut self, operation: &ExecutedOperation, now_ms: u64) -> bool {
        let known = self.operations.entry(operation.id).or_default();
        if known.iter().any(|(_, _, known)| known.name() == operation.name()) {
            return false;
        }
        known.push((self.next, now_ms, operation.clone()));
        self.next += 1;
        true
    }

    fn expire(&mut self, now_ms: u64, in_log: impl Fn(&ReplicaId, u64) -> bool) -> Vec<RecordRef> {
        let is_old = |since_ms: u64| now_ms.saturating_sub(since_ms) >= RETENTION_MS;
        let all = self.operations.values().flatten().filter(|(_, since_ms, _)| is_old(*since_ms));
        let mut old: Vec<_> = all.map(|(place, _, operation)| (*place, operation.clone())).collect();
        old.sort_by_key(|(place, _)| *place);
        let mut forgotten = Vec::new();
        for (old, operation) in old {
            let Some(known) = self.operations.get_mut(&operation.id) else { continue };
            if in_log(&operation.i, operation.seq) {
                for (place, since_ms, _) in known.iter_mut().filter(|(place, _, _)| *place == old) {
                    (*place, *since_ms) = (self.next, now_ms);
                }
                self.next += 1;
            } else {
                known.retain(|(place, _, _)| *place != old);
                forgotten.push(operation.name());
            }
        }
        self.operations.retain(|_, known| !known.is_empty());
        forgotten
    }

    fn in_order(&self) -> impl Iterator<Item = &ExecutedOperation> {
        self.operations.values().flatten().map(|(_, _, operation)| operation)
    }
}

/// An id that carries its stamp, a version 7 id with another stamp, or an id of version 4 or of no version at all.
fn draw_id(n: u64) -> (UpdateId, Stamp) {
    let stamped = UpdateId::from_stamp(Stamp(n << 10), n);
    let bits = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(n);
    match n % 4 {
        0 | 1 => (stamped, Stamp(n << 10)),
        2 => (stamped, Stamp(u64::MAX - n)),
        _ if n % 8 == 3 => {
            (UpdateId::from_uuid(uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()), Stamp(n))
        }
        _ => (UpdateId::from_uuid(uuid::Uuid::from_u128(bits)), Stamp(0)),
    }
}

fn draw_operation(n: u64, origin: u64, seq: u64, kind: u8) -> ExecutedOperation {
    let (id, stamp) = draw_id(n);
    let (user_id, movie_id) = (UserId::new(u32::MAX - n as u32).unwrap(), MovieId::new(1 + n as u32).unwrap());
    let rating = Stars::from_half_stars(kind % 10 + 1).unwrap();
    let deleted = Deleted { rating, timestamp: -(n as i64), update_id: kind.is_multiple_of(2).then_some(id) };
    let (request, deleted) = match kind % 5 {
        0 => (None, None),
        1 => (Some(Update::Create { user_id, movie_id, rating }), None),
        2 => (Some(Update::Update { user_id, movie_id, rating }), None),
        3 => (Some(Update::Delete { user_id, movie_id }), None),
        _ => (Some(Update::Delete { user_id, movie_id }), Some(Box::new(deleted))),
    };
    ExecutedOperation { id, i: ReplicaId::new(&format!("replica-{origin}")).unwrap(), seq, request, stamp, deleted }
}

/// Offsets of an origin's sequence numbers: near each other, or beyond 32 bits, in both directions.
const JUMPS: [u64; 6] = [0, 1 << 31, (1 << 32) + 7, 1 << 53, u64::MAX - 5_000, 1000];

#[derive(Clone, Debug)]
enum Do {
    Insert { first: u64, step: u64, count: u64, jump: usize, kind: u8 },
    Expire { pass_ms: u64, in_log: u64 },
    Look { after: Option<u64> },
}

fn actions() -> impl Strategy<Value = Vec<Do>> {
    let insert = (0u64..2000, 0u64..4, 1u64..300, 0..JUMPS.len(), any::<u8>())
        .prop_map(|(first, step, count, jump, kind)| Do::Insert { first, step, count, jump, kind });
    let expire = (0u64..90_000, 1u64..6).prop_map(|(pass_ms, in_log)| Do::Expire { pass_ms, in_log });
    let look = prop::option::of(0u64..2000).prop_map(|after| Do::Look { after });
    prop::collection::vec(prop_oneof![6 => insert, 2 => expire, 1 => look], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_table_gives_back_whatever_was_put_into_it(actions in actions(), origins in prop_oneof![1u64..5, 200u64..900]) {
        let (mut table, mut model, mut now_ms) = (ExecutedOperations::default(), Model::default(), 0);
        for action in actions {
            match action {
                Do::Insert { first, step, count, jump, kind } => {
                    for n in 0..count {
                        let id = (first + n * step) % 2000;
                        let seq = JUMPS[(jump + usize::from(n % 50 == 49)) % JUMPS.len()] + n;
                        let operation = draw_operation(id, (id + n) % origins, seq, kind.wrapping_add(n as u8));
                        prop_assert_eq!(table.insert(&operation, now_ms), model.insert(&operation, now_ms));
                        now_ms += u64::from(n % 16 == 0);
                    }
                }
                Do::Expire { pass_ms, in_log } => {
                    now_ms += pass_ms;
                    let in_log = |_: &ReplicaId, seq: u64| !seq.is_multiple_of(in_log);
                    prop_assert_eq!(expire(&mut table, now_ms, in_log), model.expire(now_ms, in_log));
                }
                Do::Look { after } => {
                    let after = after.map(|n| draw_id(n).0);
                    let expected = model.in_order().filter(|operation| after.is_none_or(|after| operation.id > after));
                    prop_assert!(table.after(after).eq(expected.cloned()));
                }
            }
            prop_assert_eq!(table.len(), model.in_order().count());
        }
        prop_assert!(table.after(None).eq(model.in_order().cloned()));
        for n in 0..2000 {
            let id = draw_id(n).0;
            let known: Vec<_> = model.operations.get(&id).into_iter().flatten().map(|(_, _, known)| known).collect();
            prop_assert_eq!(table.first(&id), known.first().copied().cloned());
            prop_assert_eq!(table.names(&id), known.iter().map(|known| known.name()).collect::<Vec<_>>());
        }
    }
}

/// The bytes of an update, where `updates` a second arrive for as long as the table keeps them, each `late` places or
/// fewer out of the order of the ids.
fn bytes_per_update(per_second: u64, late: u64) -> f64 {
    let mut table = ExecutedOperations::default();
    let origins = ["a", "b", "c"].map(|origin| ReplicaId::new(origin).unwrap());
    for n in 0..per_second * RETENTION_MS / 1000 {
        let now_ms = n * 1000 / per_second;
        let place = n + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % late;
        let stamp = Stamp::new(1_000_000 + place, n as u16);
        let operation = ExecutedOperation {
            id: UpdateId::from_stamp(stamp, n),
            i: origins[n as usize % origins.len()].clone(),
            seq: 1 + n / 3,
            stamp,
            ..draw_operation(1, 0, 1, 1)
        };
        assert!(table.insert(&operation, now_ms));
        if n.is_multiple_of(per_second / 5) {
            table.expire(now_ms, |_, _| false, |_, _| ());
        }
    }
    table.bytes() as f64 / table.len() as f64
}

#[test]
fn an_update_takes_at_most_44_bytes() {
    for (per_second, late) in [(2000, 1), (2000, 100), (2000, 3000), (500, 20)] {
        let bytes = bytes_per_update(per_second, late);
        assert!(bytes <= 44.0, "{bytes} bytes with {per_second} updates a second, up to {late} late");
    }
}
