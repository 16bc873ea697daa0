use std::sync::Arc;

use super::{AHEAD_RECORDS_MAX, Inserted, UpdateLog};
use crate::clock::Stamp;
use crate::ids::{MovieId, ReplicaId, UpdateId, UserId};
use crate::messages::Alike;
use crate::rating::Stars;
use crate::record::{Deleted, Record};
use crate::request::Update;
use crate::timestamp::Timestamp;

const NONE: [u64; 0] = [];

fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

fn timestamp(entries: &[(&str, u64)]) -> Timestamp {
    entries.iter().map(|(origin, count)| (id(origin), *count)).collect()
}

fn record(origin: &str, seq: u64) -> Arc<Record> {
    let key = (UserId::new(1).unwrap(), MovieId::new(1).unwrap());
    Arc::new(Record {
        id: UpdateId::from_stamp(Stamp(seq), seq),
        i: id(origin),
        seq,
        prev: Timestamp::new(),
        request: Some(Update::Delete { user_id: key.0, movie_id: key.1 }),
        retires: Timestamp::new(),
        stamp: Stamp(seq),
        copies: 2,
        deleted: None,
    })
}

fn numbers<'a>(records: impl IntoIterator<Item = &'a Arc<Record>>) -> Vec<(String, u64)> {
    records.into_iter().map(|record| (record.i.to_string(), record.seq)).collect()
}

/// Puts records in and gives those that are held by that.
fn insert(log: &mut UpdateLog, origin: &str, seq: u64) -> (Inserted, Vec<u64>) {
    let mut held = Vec::new();
    let inserted = log.insert(record(origin, seq), &mut held);
    (inserted, held.iter().map(|record| record.seq).collect())
}

fn jump(log: &mut UpdateLog, origin: &str, seq: u64) -> Vec<u64> {
    let mut held = Vec::new();
    log.jump(&id(origin), seq, &mut held);
    held.iter().map(|record| record.seq).collect()
}

fn log_of(origin: &str, count: u64) -> UpdateLog {
    let mut log = UpdateLog::default();
    for seq in 1..=count {
        assert_eq!(insert(&mut log, origin, seq), (Inserted::Held, vec![seq]));
    }
    log
}

#[test]
fn a_record_is_held_when_all_before_it_are() {
    let mut log = UpdateLog::default();
    assert!(log.is_empty() && !log.has_gap());
    assert_eq!(insert(&mut log, "a", 3), (Inserted::Ahead, vec![]));
    assert_eq!(insert(&mut log, "a", 2), (Inserted::Ahead, vec![]));
    assert_eq!(insert(&mut log, "a", 2), (Inserted::Ahead, vec![]), "it waits once");
    assert!(log.has_gap() && log.is_empty() && log.replica_timestamp().is_empty());
    assert_eq!(insert(&mut log, "a", 1), (Inserted::Held, vec![1, 2, 3]));
    assert_eq!(insert(&mut log, "a", 3), (Inserted::Known, vec![]));
    assert!(!log.has_gap() && !log.is_empty());
    assert_eq!((log.len(), log.replica_timestamp()), (3, &timestamp(&[("a", 3)])));
}

#[test]
fn records_that_came_before_their_turn_have_a_limit() {
    let mut log = UpdateLog::default();
    for n in 0..AHEAD_RECORDS_MAX as u64 {
        assert_eq!(insert(&mut log, "a", 2 + n).0, Inserted::Ahead);
    }
    assert_eq!(insert(&mut log, "b", 2).0, Inserted::Dropped);
    let all = AHEAD_RECORDS_MAX as u64 + 1;
    assert_eq!(insert(&mut log, "a", 1).1.len() as u64, all);
    assert_eq!(insert(&mut log, "b", 2).0, Inserted::Ahead, "there is room again");
    assert_eq!(log.len() as u64, all);
}

#[test]
fn a_jump_lets_go_what_it_covers_and_goes_on_with_what_waited() {
    let mut log = log_of("a", 2);
    for seq in [4, 5, 7, 8, 10] {
        assert_eq!(insert(&mut log, "a", seq).0, Inserted::Ahead);
    }
    assert_eq!(jump(&mut log, "a", 2), NONE, "that is held already");
    assert_eq!(log.len(), 2);
    assert_eq!(jump(&mut log, "a", 6), [7, 8]);
    assert_eq!((log.len(), log.start(&id("a"))), (2, 6));
    assert_eq!(log.replica_timestamp(), &timestamp(&[("a", 8)]));
    assert!(log.has_gap(), "10 waits for 9");
    assert_eq!(insert(&mut log, "a", 9).1, [9, 10]);
    assert!(!log.has_gap(), "what the jump covered waits no more");
}

#[test]
fn what_a_jump_or_a_retirement_lets_go_waits_no_more() {
    let mut log = UpdateLog::default();
    insert(&mut log, "a", 3);
    insert(&mut log, "a", 4);
    assert_eq!(jump(&mut log, "a", 9), NONE);
    assert!(!log.has_gap());
    insert(&mut log, "b", 3);
    log.forget(&id("b"));
    assert!(!log.has_gap());
    // So there is room for as many as ever.
    for n in 0..AHEAD_RECORDS_MAX as u64 {
        assert_eq!(insert(&mut log, "c", 2 + n).0, Inserted::Ahead);
    }
}

#[test]
fn what_everybody_holds_leaves_the_log_and_stays_held() {
    let mut log = log_of("a", 5);
    insert(&mut log, "b", 1);
    assert_eq!(log.truncate(&id("a"), 3), 3);
    assert_eq!(log.truncate(&id("a"), 3), 0);
    assert_eq!(log.truncate(&id("c"), 3), 0);
    assert_eq!((log.len(), log.start(&id("a")), log.start(&id("b")), log.start(&id("c"))), (3, 3, 0, 0));
    assert_eq!(log.starts(), timestamp(&[("a", 3)]));
    assert_eq!(log.replica_timestamp(), &timestamp(&[("a", 5), ("b", 1)]));
    assert_eq!(insert(&mut log, "a", 2).0, Inserted::Known);
    assert_eq!(log.truncate(&id("a"), 9), 2);
    assert_eq!((log.len(), log.start(&id("a"))), (1, 5));
    log.forget(&id("b"));
    assert_eq!((log.len(), log.replica_timestamp()), (0, &timestamp(&[("a", 5)])));
}

#[test]
fn records_are_found_by_number() {
    let mut log = log_of("a", 5);
    log.truncate(&id("a"), 2);
    let found = |seq| log.get(&id("a"), seq).map(|record| record.seq);
    assert_eq!((found(2), found(3), found(5), found(6), found(u64::MAX)), (None, Some(3), Some(5), None, None));
    assert!(log.get(&id("b"), 1).is_none());
    let after = |seq| log.of_origin_after(&id("a"), seq).map(|record| record.seq).collect::<Vec<_>>();
    assert_eq!((after(0), after(2), after(4)), (vec![3, 4, 5], vec![3, 4, 5], vec![5]));
    assert_eq!((after(5), log.of_origin_after(&id("b"), 0).count()), (vec![], 0));
}

#[test]
fn a_page_has_what_is_lacking_origin_by_origin_as_far_as_it_goes() {
    let mut log = log_of("a", 3);
    for seq in 1..=3 {
        insert(&mut log, "b", seq);
    }
    let have = timestamp(&[("a", 1), ("b", 2)]);
    let a = |seq| ("a".to_owned(), seq);
    assert_eq!(numbers(&log.after(&have, 9, usize::MAX)), [a(2), a(3), ("b".to_owned(), 3)]);
    assert_eq!(numbers(&log.after(&have, 2, usize::MAX)), [a(2), a(3)]);
    let (one, next) = (record("a", 2), record("a", 3));
    let (alone, row) = (one.bytes_alone(), next.bytes_after(Some(&one)));
    assert!(row < alone);
    assert_eq!(numbers(&log.after(&have, 9, alone + row)), [a(2), a(3)]);
    assert_eq!(numbers(&log.after(&have, 9, alone + row - 1)), [a(2)]);
    assert_eq!(numbers(&log.after(&have, 9, 0)), [a(2)], "one at least, or it never ends");
    assert_eq!(log.after(log.replica_timestamp(), 9, usize::MAX), []);
}

#[test]
fn entries_of_prev_count_in_a_page() {
    let heavy = |seq| {
        let record = record("a", seq);
        let prev = timestamp(&[("b", 1), ("c", 1), ("d", 1)]);
        Arc::new(Record { prev, ..record.as_ref().clone() })
    };
    let records = [heavy(1), heavy(3)];
    let bytes = records[0].bytes_alone() + records[1].bytes_alone();
    assert!(records[0].bytes_alone() > record("a", 1).bytes_alone());
    assert_eq!(UpdateLog::page(records.iter(), 9, bytes).len(), 2);
    assert_eq!(UpdateLog::page(records.iter(), 9, bytes - 1).len(), 1);
}

#[test]
fn what_waits_for_a_turn_that_never_comes_is_let_go() {
    let mut log = log_of("a", 1);
    for seq in [3, 4, 6] {
        insert(&mut log, "a", seq);
    }
    insert(&mut log, "b", 2);
    log.retain_ahead(&timestamp(&[("a", 4)]));
    assert!(log.has_gap());
    assert_eq!(insert(&mut log, "a", 2).1, [2, 3, 4]);
    assert!(!log.has_gap(), "6 and b:2 are let go");
    assert_eq!(insert(&mut log, "a", 5).1, [5]);
    assert_eq!(insert(&mut log, "b", 1).1, [1]);
    log.retain_ahead(&Timestamp::new());
    assert_eq!(log.len(), 6, "what is held stays");
}

#[test]
fn a_record_that_tells_what_it_took_away_counts_as_one_by_itself() {
    let telling = |seq| {
        let rating = Stars::from_half_stars(3).unwrap();
        let deleted = Some(Deleted { rating, timestamp: 5, update_id: None });
        Arc::new(Record { deleted, ..record("a", seq).as_ref().clone() })
    };
    let records = [telling(1), telling(2)];
    let bytes = 2 * records[0].bytes_alone();
    assert_eq!(UpdateLog::page(records.iter(), 9, bytes).len(), 2);
    assert_eq!(UpdateLog::page(records.iter(), 9, bytes - 1).len(), 1);
}
