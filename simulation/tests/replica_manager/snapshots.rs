//! Snapshots that are taken and given.

use std::sync::Arc;

use natter_common::clock::Stamp;
use natter_common::ids::{MovieId, UserId};
use natter_common::messages::{
    LogPage, Replicas, SnapshotChunk, SnapshotPart, SnapshotPlace, SnapshotReply, SnapshotRequest, SnapshotRow, Status,
};
use natter_common::rating::Stars;
use natter_common::record::{ExecutedOperation, Record};
use natter_common::replica_manager::{Config, Input, Output};
use natter_common::timestamp::COUNT_MAX;

use crate::bench::{Bench, config, create, dropped, id, named, presence, record, replicas, timestamp, to, update};

fn asked(outputs: &[Output]) -> Vec<(String, SnapshotRequest)> {
    let asked = |output: &Output| match output {
        Output::FetchSnapshot(peer, request) => Some((peer.to_string(), request.clone())),
        _ => None,
    };
    outputs.iter().filter_map(asked).collect()
}

fn chunk(from: SnapshotPlace, rows: u32, next: Option<SnapshotPlace>) -> SnapshotChunk {
    let row = |n: u32| SnapshotRow {
        user_id: UserId::new(n / 6 + 1).unwrap(),
        movie_id: MovieId::new(n % 6 + 1).unwrap(),
        rating: Some(Stars::from_half_stars(4).unwrap()),
        timestamp: 5,
        stamp: Stamp(7),
        update_id: named(u64::from(n)).0,
    };
    SnapshotChunk {
        snapshot: 3,
        from,
        value_timestamp: replicas(&[("x", 9)]),
        clock: Stamp(8),
        rows_in_all: u64::from(rows),
        rows: (0..rows).map(row).collect(),
        executed: Vec::new(),
        retired: Replicas::default(),
        next,
    }
}

fn reply(name: &str, chunk: SnapshotChunk) -> Input {
    Input::SnapshotReply(SnapshotReply { id: id(name), part: SnapshotPart::Chunk(Box::new(chunk)) })
}

/// A replica that has asked `a` for its snapshot; `b` has one too.
fn loading() -> Bench {
    let mut bench = Bench::serving_beside(&["a", "b"]);
    for name in ["a", "b"] {
        bench.hear(Input::Presence(Box::new(presence(name, Status::Active, &[("x", 9)]))));
    }
    bench.pass(120);
    let page = LogPage {
        id: id("a"),
        replica_timestamp: replicas(&[("x", 9)]),
        value_timestamp: replicas(&[("x", 9)]),
        start: replicas(&[("x", 9)]),
        gone: Vec::new(),
        records: Vec::new(),
    };
    let outputs = bench.hear(Input::LogPage(page));
    let begins = SnapshotRequest { id: id("own"), snapshot: 0, from: SnapshotPlace::Start };
    assert_eq!(asked(&outputs), [("a".to_owned(), begins)]);
    bench
}

fn merge(bench: &mut Bench) -> Vec<String> {
    let mut told = Vec::new();
    while bench.manager.is_merging() {
        told.extend(Bench::notices(&bench.hear(Input::Merge)));
    }
    told
}

#[test]
fn a_snapshot_is_taken_chunk_by_chunk_and_then_merged() {
    let mut bench = loading();
    let executed = SnapshotPlace::Executed;
    let outputs = bench.hear(reply("a", chunk(SnapshotPlace::Start, 3, Some(executed.clone()))));
    let next = SnapshotRequest { id: id("own"), snapshot: 3, from: executed.clone() };
    assert_eq!(asked(&outputs), [("a".to_owned(), next)]);
    let rows = bench.value.rows().len();
    // Chunks of another snapshot, of another place, or of another replica are not taken.
    let other = SnapshotChunk { snapshot: 4, ..chunk(executed.clone(), 0, None) };
    assert!(bench.hear(reply("a", other)).is_empty());
    assert!(bench.hear(reply("a", chunk(SnapshotPlace::Retired, 0, None))).is_empty());
    assert!(bench.hear(reply("b", chunk(executed.clone(), 0, None))).is_empty());
    bench.hear(reply("a", chunk(executed, 0, None)));
    assert_eq!(
        (bench.manager.is_merging(), bench.manager.status(), bench.value.rows().len()),
        (true, Status::Joining, rows)
    );
    assert_eq!(bench.manager.replica_timestamp(), &timestamp(&[("x", 9)]), "held from now on");
    let told = merge(&mut bench);
    assert!(told.contains(&"has loaded a snapshot of 3 rows at {x:9}".to_owned()), "{told:?}");
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("x", 9)]));
    assert_eq!((bench.manager.status(), bench.value.rows().len()), (Status::Active, 3));
}

#[test]
fn a_chunk_that_does_not_come_is_asked_for_again_and_then_somebody_else() {
    let mut bench = loading();
    assert_eq!(asked(&bench.pass_beside(&["a", "b"], 900)), []);
    let peers = |bench: &mut Bench, for_ms| {
        let outputs = bench.pass_beside(&["a", "b"], for_ms);
        asked(&outputs).into_iter().map(|(peer, _)| peer).collect::<Vec<_>>()
    };
    assert_eq!(peers(&mut bench, 100), ["a"]);
    assert_eq!(peers(&mut bench, 1_000), ["a"]);
    assert_eq!(peers(&mut bench, 1_000), ["b"]);
    // The replica is gone: the other one is asked at the next tick.
    bench.hear(Input::PullFailed(id("x")));
    assert_eq!(peers(&mut bench, 100), Vec::<String>::new());
    bench.hear(Input::PullFailed(id("b")));
    assert_eq!(peers(&mut bench, 100), ["a"]);
}

#[test]
fn who_cannot_give_one_now_is_asked_again_soon() {
    let mut bench = loading();
    let unavailable = SnapshotPart::Unavailable { reason: "busy".to_owned() };
    let outputs = bench.hear(Input::SnapshotReply(SnapshotReply { id: id("a"), part: unavailable }));
    assert_eq!(Bench::notices(&outputs), ["begins the snapshot anew: a says: busy"]);
    assert_eq!(asked(&bench.pass_beside(&["a", "b"], 100)).len(), 1);
}

#[test]
fn a_snapshot_that_breaks_off_leaves_nothing_behind() {
    let mut bench = loading();
    bench.hear(reply("a", chunk(SnapshotPlace::Start, 3, Some(SnapshotPlace::Executed))));
    let unavailable = SnapshotPart::Unavailable { reason: "busy".to_owned() };
    bench.hear(Input::SnapshotReply(SnapshotReply { id: id("a"), part: unavailable }));
    assert_eq!(asked(&bench.pass_beside(&["a", "b"], 100)).len(), 1);
    bench.hear(reply("a", chunk(SnapshotPlace::Start, 1, None)));
    merge(&mut bench);
    assert_eq!(bench.value.rows().len(), 1);
}

#[test]
fn what_is_dropped_while_a_snapshot_is_taken_is_not_told() {
    let absurd = || vec![Record { seq: 0, ..record("x", 1, 1, create(2)) }];
    let mut bench = loading();
    assert!(dropped(&bench.gossip("b", &[], absurd())).is_empty());
    bench.hear(reply("a", chunk(SnapshotPlace::Start, 1, None)));
    assert!(bench.manager.is_merging());
    assert!(dropped(&bench.gossip("b", &[], absurd())).is_empty());
    merge(&mut bench);
    assert_eq!(dropped(&bench.gossip("b", &[], absurd())).len(), 1);
}

#[test]
fn a_retirement_that_a_snapshot_does_not_reflect_has_another_one_taken() {
    let mut bench = loading();
    let retires = timestamp(&[("y", 2)]);
    let retirement = Record { request: None, prev: retires.clone(), retires, ..record("b", 1, 1, create(2)) };
    bench.gossip("b", &[("b", 1), ("x", 9)], vec![retirement]);
    bench.hear(reply("a", chunk(SnapshotPlace::Start, 1, None)));
    merge(&mut bench);
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("x", 9)]));
    bench.hear(Input::Presence(Box::new(presence("b", Status::Active, &[("b", 1), ("x", 9)]))));
    let peers: Vec<String> = asked(&bench.pass_beside(&["a", "b"], 600)).into_iter().map(|(peer, _)| peer).collect();
    assert_eq!(peers, ["b"], "no log brings what it retires");
}

#[test]
fn a_long_snapshot_tells_how_far_it_has_come() {
    let mut bench = loading();
    let place = |n| SnapshotPlace::AfterRow(UserId::new(n).unwrap(), MovieId::new(1).unwrap());
    let mut from = SnapshotPlace::Start;
    let mut told = Vec::new();
    for n in 1..=5 {
        let next = place(n);
        told.push(Bench::notices(&bench.hear(reply("a", chunk(from, 50_000, Some(next.clone()))))));
        from = next;
    }
    let told: Vec<usize> = told.iter().map(Vec::len).collect();
    assert_eq!(told, [0, 1, 0, 1, 0], "at every 100,000 rows");
}

#[test]
fn executed_updates_of_a_snapshot_are_known_but_for_those_with_absurd_numbers() {
    let mut bench = loading();
    let executed = |n: u64, seq| {
        let (update_id, stamp) = named(n);
        ExecutedOperation { id: update_id, i: id("x"), seq, request: Some(create(2)), stamp, deleted: None }
    };
    let numbers = [(1, 1), (2, 0), (3, COUNT_MAX), (4, COUNT_MAX + 1), (5, u64::MAX)];
    let executed = numbers.map(|(n, seq)| executed(n, seq)).to_vec();
    bench.hear(reply("a", SnapshotChunk { executed, ..chunk(SnapshotPlace::Start, 0, None) }));
    merge(&mut bench);
    let known: Vec<u64> =
        (1..=5).filter(|n| bench.manager.executed_operations().first(&named(*n).0).is_some()).collect();
    assert_eq!(known, [1, 3]);
}

/// A replica that gives snapshots of six rows, two a chunk.
fn giver() -> Bench {
    let mut bench = Bench::new(Config { message_bytes_max: 2 * 2 * 250, ..config() });
    bench.pass(1_600);
    for n in 1..=5 {
        bench.update(update(n, create(n as u32)));
    }
    bench
}

fn give(bench: &mut Bench, name: &str, snapshot: u64, from: SnapshotPlace) -> SnapshotPart {
    let request = SnapshotRequest { id: id(name), snapshot, from };
    match bench.hear(Input::Snapshot(to(1), request)).pop() {
        Some(Output::Snapshot(_, reply)) => reply.part,
        other => panic!("{other:?}"),
    }
}

fn given(part: SnapshotPart) -> SnapshotChunk {
    match part {
        SnapshotPart::Chunk(chunk) => *chunk,
        SnapshotPart::Unavailable { reason } => panic!("{reason}"),
    }
}

fn reason(part: SnapshotPart) -> String {
    match part {
        SnapshotPart::Chunk(chunk) => panic!("{chunk:?}"),
        SnapshotPart::Unavailable { reason } => reason,
    }
}

#[test]
fn a_snapshot_has_the_rows_then_the_executed_updates_then_the_retired() {
    let mut bench = giver();
    let mut chunks = vec![given(give(&mut bench, "a", 0, SnapshotPlace::Start))];
    while let Some(next) = chunks.last().unwrap().next.clone() {
        let number = chunks[0].snapshot;
        // Updates that are written meanwhile are not in it.
        let n = 10 + chunks.len() as u64;
        bench.update(update(n, crate::bench::delete(5)));
        chunks.push(given(give(&mut bench, "a", number, next)));
    }
    let rows: Vec<usize> = chunks.iter().map(|chunk| chunk.rows.len()).collect();
    let executed: Vec<usize> = chunks.iter().map(|chunk| chunk.executed.len()).collect();
    assert_eq!(rows, [2, 2, 1, 0, 0, 0, 0]);
    assert_eq!(executed, [0, 0, 0, 2, 2, 1, 0]);
    assert!(chunks.iter().all(|chunk| chunk.value_timestamp == replicas(&[("own", 5)])));
    assert!(chunks.iter().flat_map(|chunk| &chunk.rows).all(|row| row.rating.is_some()));
    assert_eq!(reason(give(&mut bench, "a", chunks[0].snapshot, SnapshotPlace::Start)), "that snapshot is given up");
}

#[test]
fn a_snapshot_begins_at_its_start_and_four_are_given_at_a_time() {
    let mut bench = giver();
    assert_eq!(reason(give(&mut bench, "a", 0, SnapshotPlace::Executed)), "a snapshot begins at its start");
    let begin = |bench: &mut Bench, name: &str| give(bench, name, 0, SnapshotPlace::Start);
    let mut last = 0;
    for name in ["a", "b", "c", "d", "d"] {
        let number = given(begin(&mut bench, name)).snapshot;
        assert!(number > last);
        last = number;
    }
    assert_eq!(reason(begin(&mut bench, "e")), "it gives as many snapshots as it can");
    bench.pass(1_980);
    assert_eq!(reason(begin(&mut bench, "e")), "it gives as many snapshots as it can");
    let next = SnapshotPlace::AfterRow(UserId::new(7).unwrap(), MovieId::new(2).unwrap());
    given(give(&mut bench, "a", 1, next));
    bench.pass(20);
    given(begin(&mut bench, "e"));
    assert_eq!(
        reason(give(&mut bench, "b", 2, SnapshotPlace::Executed)),
        "that snapshot is given up",
        "idle the longest"
    );
    bench.pass(7_800);
    given(give(&mut bench, "c", 3, SnapshotPlace::Executed));
    bench.pass(400);
    assert_eq!(
        reason(give(&mut bench, "d", last, SnapshotPlace::Executed)),
        "that snapshot is given up",
        "idle for 10 s"
    );
    given(give(&mut bench, "c", 3, SnapshotPlace::Retired));
}

#[test]
fn a_page_of_the_log_says_where_it_begins() {
    let mut bench = giver();
    let request = natter_common::messages::LogRequest { id: id("a"), have: replicas(&[("own", 3)]) };
    let outputs = bench.hear(Input::Log(to(1), request));
    let Some(Output::Log(_, page)) = outputs.first() else { panic!("{outputs:?}") };
    let numbers: Vec<u64> = page.records.iter().map(|record: &Arc<_>| record.seq).collect();
    assert_eq!((numbers, &page.start), (vec![4, 5], &Replicas::default()));
    assert_eq!((&page.replica_timestamp, &page.value_timestamp), (&replicas(&[("own", 5)]), &replicas(&[("own", 5)])));
}

#[test]
fn chunks_follow_the_limit_of_the_present_connection() {
    let mut bench = giver();
    let first = given(give(&mut bench, "a", 0, SnapshotPlace::Start));
    assert_eq!(first.rows.len(), 2);
    bench.hear(Input::MessageLimit(600));
    let second = given(give(&mut bench, "a", first.snapshot, first.next.unwrap()));
    assert_eq!(second.rows.len(), 1, "one row at least");
    bench.hear(Input::MessageLimit(1 << 20));
    let third = given(give(&mut bench, "a", first.snapshot, second.next.unwrap()));
    assert_eq!(third.rows.len(), 2, "all that is left");
}
