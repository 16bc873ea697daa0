use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Confirms, Parked, Request, WAITING_MAX, Waiting, WaitingConfirm};
use crate::clock::Stamp;
use crate::ids::{MovieId, ReplicaId, UpdateId};
use crate::messages::QueryRequest;
use crate::replica_manager::ReplyTo;
use crate::request::Query;
use crate::timestamp::Timestamp;

const NONE: [u64; 0] = [];

fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

fn timestamp(entries: &[(&str, u64)]) -> Timestamp {
    entries.iter().map(|(origin, count)| (id(origin), *count)).collect()
}

fn to(n: u64) -> ReplyTo {
    ReplyTo { subject: Arc::from("reply"), n }
}

/// A request that waits from `since_ms` to `deadline_ms`.
fn parked(n: u64, since_ms: u64, deadline_ms: u64) -> Parked {
    let request = Query::Average { movie_id: MovieId::new(1).unwrap() };
    let query = QueryRequest { n, prev: Timestamp::new(), proven: false, unheard: Vec::new(), request, wait_ms: 0 };
    Parked { to: to(n), request: Request::Query(query), deadline_ms, since_ms }
}

fn numbers(parked: Vec<Parked>) -> Vec<u64> {
    parked.into_iter().map(|parked| parked.to.n).collect()
}

#[test]
fn an_applied_update_wakes_those_that_waited_for_it_first_come_first() {
    let mut waiting = Waiting::default();
    assert!(waiting.is_empty());
    for (n, (origin, seq)) in (1..).zip([("b", 2), ("a", 3), ("a", 2), ("b", 5), ("c", 1)]) {
        waiting.park(&id(origin), seq, parked(n, 0, 100));
    }
    assert!(!waiting.is_empty() && waiting.len() == 5);
    assert_eq!(numbers(waiting.take_covered(&timestamp(&[("a", 3), ("b", 4)]))), [1, 2, 3]);
    assert_eq!(numbers(waiting.take_covered(&timestamp(&[("a", 9), ("b", 4)]))), NONE);
    assert_eq!(waiting.len(), 2);
    assert_eq!(numbers(waiting.take_expired(100)), [4, 5], "who was woken waits no more");
    assert!(waiting.is_empty() && waiting.take_expired(u64::MAX).is_empty());
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let mut waiting = Waiting::default();
    waiting.park(&id("a"), 1, parked(1, 10, 50));
    waiting.park(&id("a"), 1, parked(2, 20, 40));
    assert!(!waiting.has_waited_since(9) && waiting.has_waited_since(10) && waiting.has_waited_since(30));
    assert_eq!(numbers(waiting.take_expired(39)), NONE);
    assert_eq!(numbers(waiting.take_expired(40)), [2]);
    assert_eq!(numbers(waiting.take_covered(&timestamp(&[("a", 1)]))), [1], "who gave up is not woken");
}

#[test]
fn all_may_be_taken_or_sent_away() {
    let mut waiting = Waiting::default();
    waiting.park(&id("a"), 1, parked(1, 0, 50));
    assert_eq!(numbers(waiting.take_all()), [1]);
    waiting.park(&id("a"), 1, parked(2, 0, 60));
    waiting.clear();
    assert!(waiting.is_empty() && waiting.take_expired(100).is_empty());
    waiting.park(&id("a"), 1, parked(3, 0, 70));
    assert_eq!(numbers(waiting.take_expired(100)), [3]);
}

#[test]
fn so_many_may_wait_and_no_more() {
    let (mut waiting, mut confirms) = (Waiting::default(), Confirms::default());
    for n in 0..WAITING_MAX as u64 {
        assert!(!waiting.is_full() && !confirms.is_full());
        waiting.park(&id("a"), 1, parked(n, 0, 100));
        confirms.wait(update(n), confirm(n, "a", 0, 100));
    }
    assert!(waiting.is_full() && confirms.is_full());
    confirms.take(&update(1));
    waiting.take_all();
    assert!(!waiting.is_full() && !confirms.is_full());
    confirms.wait(update(1), confirm(1, "a", 0, 100));
    assert!(confirms.is_full());
    assert_eq!(confirms.take_expired(100).len(), WAITING_MAX);
    assert!(!confirms.is_full());
}

fn update(n: u64) -> UpdateId {
    UpdateId::from_stamp(Stamp(n), 0)
}

fn confirm(n: u64, acceptor: &str, since_ms: u64, deadline_ms: u64) -> WaitingConfirm {
    WaitingConfirm { to: to(n), acceptor: Some(id(acceptor)), deadline_ms, since_ms, pulled: false }
}

fn answered(confirms: Vec<WaitingConfirm>) -> Vec<u64> {
    confirms.into_iter().map(|confirm| confirm.to.n).collect()
}

#[test]
fn confirms_wait_for_their_update_until_their_deadline() {
    let mut confirms = Confirms::default();
    confirms.wait(update(1), confirm(1, "a", 0, 30));
    confirms.wait(update(1), confirm(2, "a", 0, 50));
    confirms.wait(update(2), confirm(3, "a", 0, 40));
    assert_eq!(answered(confirms.take_expired(29)), NONE);
    assert_eq!(answered(confirms.take_expired(30)), [1]);
    assert_eq!(answered(confirms.take(&update(1))), [2]);
    assert_eq!(answered(confirms.take(&update(1))), NONE);
    assert_eq!(answered(confirms.take_expired(60)), [3]);
    confirms.wait(update(2), confirm(4, "a", 0, 70));
    confirms.clear();
    assert_eq!(answered(confirms.take(&update(2))), NONE);
}

#[test]
fn acceptors_that_are_waited_for_too_long_are_named_once() {
    let mut confirms = Confirms::default();
    confirms.wait(update(1), confirm(1, "b", 10, 100));
    confirms.wait(update(2), confirm(2, "a", 20, 100));
    confirms.wait(update(3), WaitingConfirm { acceptor: None, ..confirm(3, "c", 0, 100) });
    assert_eq!(confirms.take_acceptors_waited_for_since(9), BTreeSet::new());
    assert_eq!(confirms.take_acceptors_waited_for_since(10), [id("b")].into());
    assert_eq!(confirms.take_acceptors_waited_for_since(30), [id("a")].into());
    assert_eq!(confirms.take_acceptors_waited_for_since(90), BTreeSet::new());
}
