//! Messages of other replicas, and their effects.

use std::sync::Arc;

use natter_common::messages::{Acknowledgement, Gossip, LogPage, LogRequest, Presence, Replicas, Reply, Status};
use natter_common::record::{COPIES_MAX, Record};
use natter_common::replica_manager::{Input, Output};
use natter_common::timestamp::{COUNT_MAX, Timestamp};
use natter_common::value::{Digest, Value};

use crate::bench::{
    Bench, config, confirm, create, delete, dropped, gossips, id, named, numbered, presence, presences, pulls, read,
    record, replicas, timestamp, to, update,
};

fn page(name: &str, holds: &[(&str, u64)], start: &[(&str, u64)], records: Vec<Record>) -> Input {
    Input::LogPage(LogPage {
        id: id(name),
        replica_timestamp: replicas(holds),
        value_timestamp: Replicas::default(),
        start: replicas(start),
        gone: Vec::new(),
        records: records.into_iter().map(Arc::new).collect(),
    })
}

fn acknowledgements(outputs: &[Output]) -> Vec<String> {
    let acknowledgement = |output: &Output| match output {
        Output::Acknowledge(origin, acknowledgement) => {
            Some(format!("{origin} {}", acknowledgement.replica_timestamp.replicas))
        }
        _ => None,
    };
    outputs.iter().filter_map(acknowledgement).collect()
}

#[test]
fn a_newcomer_is_shown_soon_who_is_there() {
    let mut bench = Bench::serving();
    bench.pass(500 - 100);
    assert_eq!(presences(&bench.pass(40)).len(), 0);
    bench.hear(Input::Presence(Box::new(presence("a", Status::Active, &[]))));
    assert_eq!(presences(&bench.pass(20)).len(), 1);
    bench.hear(Input::Presence(Box::new(presence("b", Status::Active, &[]))));
    assert_eq!(presences(&bench.pass(40)).len(), 0, "many at a time are shown together");
    assert_eq!(presences(&bench.pass(20)).len(), 1);
    assert!(bench.hear(Input::Presence(Box::new(presence("b", Status::Active, &[])))).is_empty(), "no newcomer");
    assert_eq!(presences(&bench.pass(480)).len(), 0);
}

#[test]
fn who_does_not_show_itself_is_not_believed() {
    let mut bench = Bench::serving_beside(&["a"]);
    bench.gossip("ghost", &[("ghost", 1)], vec![record("ghost", 1, 1, create(2))]);
    bench.hear(Input::Acknowledgement(Acknowledgement { id: id("ghost"), replica_timestamp: replicas(&[("x", 5)]) }));
    assert!(bench.manager.timestamp_table().get(&id("ghost")).is_none() && bench.manager.log().is_empty());
    bench.gossip("a", &[("a", 1)], vec![record("a", 1, 1, create(2))]);
    assert_eq!(bench.manager.replica_timestamp(), &timestamp(&[("a", 1)]));
    bench.hear(Input::Acknowledgement(Acknowledgement { id: id("a"), replica_timestamp: replicas(&[("x", 5)]) }));
    let entry = bench.manager.timestamp_table().get(&id("a")).unwrap();
    assert_eq!(entry.replica_timestamp, timestamp(&[("a", 1), ("x", 5)]));
    // A process that shows itself under this replica's own id is not believed either.
    bench.hear(Input::Presence(Box::new(presence("own", Status::Active, &[("own", 7)]))));
    assert!(bench.manager.timestamp_table().get(&id("own")).is_none());
}

#[test]
fn records_that_no_sound_process_sends_are_dropped_and_told() {
    let many: Timestamp = (0..10_001).map(|n| (id(&format!("n{n}")), 1)).collect();
    let sound = record("a", 1, 1, create(2));
    for (unsound, reason) in [
        (Record { seq: 0, ..sound.clone() }, "a number in it"),
        (Record { seq: COUNT_MAX + 1, ..sound.clone() }, "a number in it"),
        (Record { copies: 0, ..sound.clone() }, "a number in it"),
        (Record { copies: COPIES_MAX + 1, ..sound.clone() }, "a number in it"),
        (Record { prev: many.clone(), ..sound.clone() }, "its prev"),
        (Record { prev: timestamp(&[("x", COUNT_MAX + 1)]), ..sound.clone() }, "its prev"),
        (Record { request: None, retires: many, ..sound.clone() }, "its prev, or what it retires"),
        (Record { request: None, ..sound.clone() }, "either write to a rating or retire"),
        (Record { retires: timestamp(&[("x", 1)]), ..sound.clone() }, "either write to a rating or retire"),
        (Record { request: Some(create(99)), ..sound.clone() }, "no such movie"),
        (Record { i: id("own"), ..sound.clone() }, "not accepted here"),
    ] {
        let mut bench = Bench::serving_beside(&["a"]);
        let outputs = bench.gossip("a", &[], vec![unsound.clone(), unsound]);
        let told = dropped(&outputs);
        assert!(told.len() == 1 && told[0].0.contains(reason) && told[0].1 == 2, "{reason}: {told:?}");
        assert!(bench.manager.log().is_empty() && bench.manager.executed_operations().is_empty());
    }
    let mut bench = Bench::serving_beside(&["a"]);
    let widest = Record { copies: COPIES_MAX, prev: timestamp(&[("x", COUNT_MAX)]), ..sound };
    assert_eq!(dropped(&bench.gossip("a", &[], vec![widest])), []);
    assert_eq!(bench.manager.log().len(), 1);
}

#[test]
fn a_count_that_nobody_can_have_makes_a_message_unbelievable() {
    let absurd = replicas(&[("x", COUNT_MAX + 1)]);
    let mut bench = Bench::serving_beside(&["a"]);
    bench.hear(Input::Acknowledgement(Acknowledgement { id: id("a"), replica_timestamp: absurd.clone() }));
    bench.hear(Input::Presence(Box::new(Presence {
        replica_timestamp: Some(absurd.clone()),
        ..presence("a", Status::Active, &[])
    })));
    assert!(bench.manager.timestamp_table().get(&id("a")).unwrap().replica_timestamp.is_empty());
    for count in [COUNT_MAX + 1, u64::MAX] {
        let outputs = bench.hear(Input::Log(to(1), LogRequest { id: id("a"), have: replicas(&[("x", count)]) }));
        assert!(outputs.is_empty());
    }
    bench.update(update(1, create(2)));
    let have = replicas(&[("own", COUNT_MAX)]);
    let outputs = bench.hear(Input::Log(to(1), LogRequest { id: id("a"), have }));
    assert!(matches!(&outputs[0], Output::Log(_, page) if page.records.is_empty()));
}

#[test]
fn what_was_taken_in_is_acknowledged_to_its_origin_and_to_all_where_more_copies_are_wanted() {
    let mut bench = Bench::serving_beside(&["a", "b"]);
    let outputs = bench.gossip("a", &[("a", 1)], vec![record("a", 1, 1, create(2))]);
    assert_eq!(acknowledgements(&outputs), ["a {a:1}"]);
    assert!(gossips(&outputs).is_empty());
    let three = Record { copies: 3, ..record("b", 1, 2, create(3)) };
    let outputs = bench.gossip("b", &[("b", 1)], vec![three]);
    assert_eq!((acknowledgements(&outputs).len(), gossips(&outputs).len()), (0, 1));
    let again = bench.gossip("b", &[("b", 1)], vec![record("b", 1, 2, create(3))]);
    assert!(acknowledgements(&again).is_empty() && gossips(&again).is_empty());
}

#[test]
fn records_that_may_be_lost_with_a_connection_are_sent_again_by_the_next() {
    let mut bench = Bench::serving_beside(&["a", "b"]);
    let sent = |outputs: &[Output]| -> Vec<Vec<u64>> {
        gossips(outputs).iter().map(|gossip| gossip.records.iter().map(|record| record.seq).collect()).collect()
    };
    let empty: Vec<u64> = Vec::new();
    assert_eq!(sent(&bench.hear(Input::Connected)), vec![empty.clone()], "nothing is missing; all learn what is held");
    for n in 1..=3 {
        bench.update(update(n, create(1 + n as u32)));
    }
    for (name, holds) in [("a", 3), ("b", 1)] {
        let replica_timestamp = replicas(&[("own", holds)]);
        bench.hear(Input::Acknowledgement(Acknowledgement { id: id(name), replica_timestamp }));
    }
    bench.hear(Input::Disconnected);
    assert_eq!(sent(&bench.hear(Input::Connected)), vec![vec![2, 3]], "b may lack them");
    assert_eq!(presences(&bench.pass(20)).len(), 1, "others may count it as gone");
    bench.hear(Input::Acknowledgement(Acknowledgement { id: id("b"), replica_timestamp: replicas(&[("own", 3)]) }));
    assert_eq!(sent(&bench.hear(Input::Connected)), vec![empty]);
}

#[test]
fn of_many_records_the_next_connection_repeats_only_the_latest() {
    let mut bench = Bench::serving_beside(&["a"]);
    for n in 0..1_500 {
        bench.update(update(n + 1, if n % 2 == 0 { create(2) } else { delete(2) }));
    }
    let outputs = bench.hear(Input::Connected);
    let again: Vec<_> =
        gossips(&outputs).into_iter().flat_map(|gossip| gossip.records).map(|record| record.seq).collect();
    assert_eq!(again, (501..=1_500).collect::<Vec<_>>(), "the others are pulled");
}

#[test]
fn a_record_is_shown_when_as_many_hold_it_as_it_asks_for() {
    let mut bench = Bench::serving_beside(&["a", "b", "c"]);
    let three = Record { copies: 3, ..record("a", 1, 1, create(2)) };
    bench.gossip("a", &[("a", 1)], vec![three]);
    assert!(bench.manager.value_timestamp().is_empty(), "a and this one hold it");
    bench.hear(Input::Acknowledgement(Acknowledgement { id: id("b"), replica_timestamp: replicas(&[("a", 1)]) }));
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("a", 1)]));
    bench.gossip("a", &[("a", 2)], vec![record("a", 2, 2, create(3))]);
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("a", 2)]), "a and this one are two");
}

#[test]
fn equal_timestamps_and_other_digests_are_told_loudly() {
    let mut bench = Bench::serving_beside(&["a"]);
    let gossip = |digest| Gossip {
        id: id("a"),
        replica_timestamp: Replicas::default(),
        value_timestamp: Replicas::default(),
        digest,
        records: Vec::new(),
    };
    let digest = bench.value.digest();
    assert!(Bench::notices(&bench.hear(Input::Gossip(gossip(digest)))).is_empty());
    let outputs = bench.hear(Input::Gossip(gossip(Digest(digest.0 ^ 1))));
    let told = Bench::notices(&outputs);
    assert!(told.len() == 2 && told[0].starts_with("DIVERGED from replica a"), "{told:?}");
    let is_asked = |output: &Output| matches!(output, Output::FetchSnapshot(peer, _) if *peer == id("a"));
    assert!(outputs.iter().any(is_asked), "its ratings are taken, though the timestamps are equal: {outputs:?}");
    assert!(Bench::notices(&bench.hear(Input::Gossip(gossip(Digest(digest.0 ^ 1))))).is_empty(), "it is told once");
    let status = |bench: &mut Bench| match bench.hear(Input::Status(to(1), None)).pop() {
        Some(Output::Status(_, reply)) => reply.diverged,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(&mut bench), [id("a")]);
    let told = Bench::notices(&bench.hear(Input::Gossip(gossip(digest))));
    assert!(told.len() == 1 && told[0].contains("has the same ratings as replica a again"), "{told:?}");
    assert_eq!(status(&mut bench), [], "they are equal again");
    bench.hear(Input::Gossip(gossip(Digest(digest.0 ^ 1))));
    bench.pass(2_000);
    assert_eq!(status(&mut bench), [], "it is gone");
}

#[test]
fn somebody_with_another_data_set_is_ignored_and_told_once_in_a_while() {
    let mut bench = Bench::serving();
    let foreign = Presence { dataset: Some("songs".to_owned()), ..presence("a", Status::Active, &[("a", 1)]) };
    let told = Bench::notices(&bench.hear(Input::Presence(Box::new(foreign.clone()))));
    assert!(told.len() == 1 && told[0].contains("another data set (songs)"), "{told:?}");
    assert!(bench.hear(Input::Presence(Box::new(foreign))).is_empty());
    bench.gossip("a", &[("a", 1)], vec![record("a", 1, 1, create(2))]);
    assert!(bench.manager.log().is_empty() && bench.manager.timestamp_table().get(&id("a")).is_none());
}

#[test]
fn of_two_data_sets_the_later_one_must_go() {
    let of =
        |uptime_ms| Presence { dataset: Some("songs".to_owned()), uptime_ms, ..presence("a", Status::Active, &[]) };
    let stops = |bench: &mut Bench, uptime_ms| {
        let outputs = bench.hear(Input::Presence(Box::new(of(uptime_ms))));
        matches!(&outputs[..], [Output::Stop(text)] if text.contains("replica a started from another data set"))
    };
    let mut bench = Bench::new(config());
    bench.pass(100);
    assert!(!stops(&mut bench, 99) && !stops(&mut bench, 100), "own is greater than a");
    assert!(stops(&mut bench, 101));
    let mut bench = Bench::serving();
    assert!(!stops(&mut bench, 1 << 40), "who serves stays");
}

#[test]
fn what_gossip_did_not_bring_is_pulled_from_those_who_have_it() {
    let mut bench = Bench::serving_beside(&["a", "b"]);
    bench.hear(Input::Acknowledgement(Acknowledgement { id: id("b"), replica_timestamp: replicas(&[("a", 2)]) }));
    assert!(pulls(&bench.pass(100)).is_empty(), "gossip may still bring it");
    assert_eq!(pulls(&bench.pass(20)), ["b"]);
    assert!(pulls(&bench.pass_beside(&["a", "b"], 900)).is_empty(), "one at a time");
    // No answer for a second, then a pause.
    assert!(pulls(&bench.pass_beside(&["a", "b"], 300)).is_empty());
    assert_eq!(pulls(&bench.pass_beside(&["a", "b"], 100)), ["b"]);
    // The answer has a part: the rest is asked for at once.
    let records = vec![record("a", 1, 1, create(2))];
    assert_eq!(pulls(&bench.hear(page("b", &[("a", 2)], &[], records))), ["b"]);
    let records = vec![record("a", 2, 2, create(3))];
    let outputs = bench.hear(page("b", &[("a", 2)], &[], records));
    assert!(pulls(&outputs).is_empty());
    assert_eq!(acknowledgements(&outputs), ["a {a:2}", "b {a:2}"]);
    assert_eq!(bench.manager.replica_timestamp(), &timestamp(&[("a", 2)]));
    assert!(pulls(&bench.pass_beside(&["a", "b"], 1_000)).is_empty());
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_read() {
    let mut bench = Bench::serving_beside(&["a"]);
    bench.hear(page("a", &[("a", 1)], &[], vec![record("a", 1, 1, create(2))]));
    assert!(bench.manager.log().is_empty());
}

#[test]
fn a_peer_whose_pull_failed_is_left_alone_for_a_while() {
    let mut bench = Bench::serving_beside(&["a"]);
    bench.hear(Input::Presence(Box::new(presence("a", Status::Active, &[("a", 1)]))));
    assert_eq!(pulls(&bench.pass(120)), ["a"]);
    bench.hear(Input::PullFailed(id("a")));
    assert!(pulls(&bench.pass_beside(&["a"], 200)).is_empty());
    assert_eq!(pulls(&bench.pass_beside(&["a"], 100)), ["a"]);
    // A replica that brings nothing is left alone too.
    bench.hear(page("a", &[("a", 1)], &[], Vec::new()));
    assert!(pulls(&bench.pass_beside(&["a"], 200)).is_empty());
    assert_eq!(pulls(&bench.pass_beside(&["a"], 100)), ["a"]);
}

#[test]
fn what_somebody_waits_for_is_pulled_sooner() {
    let mut bench = Bench::serving_beside(&["a"]);
    bench.query(read(1, &[("a", 1)]));
    assert_eq!(pulls(&bench.pass(20)), ["a"], "nobody is known to hold it, so everybody is asked");
    let mut bench = Bench::serving_beside(&["a", "b"]);
    let waits = natter_common::messages::ConfirmRequest { acceptor: Some(id("b")), ..confirm(1, 500) };
    bench.hear(Input::Confirm(to(1), waits));
    assert!(pulls(&bench.pass(80)).is_empty());
    assert_eq!(pulls(&bench.pass(20)), ["b"], "the acceptor has it");
    assert!(pulls(&bench.pass(200)).is_empty(), "it is asked once");
    let outputs = bench.hear(page("b", &[("b", 1)], &[], vec![record("b", 1, 1, create(2))]));
    assert!(matches!(&numbered(&outputs)[..], [(1, Reply::Held { .. })]), "{outputs:?}");
    assert_eq!(named(1).0, confirm(1, 0).id);
}

#[test]
fn what_only_the_dead_had_is_not_missed_for_ever() {
    let mut bench = Bench::serving_beside(&["a", "b"]);
    bench.hear(Input::Presence(Box::new(presence("a", Status::Active, &[("a", 1)]))));
    bench.pass_beside(&["b"], 2_000);
    // It had not told anybody. A request that waits for a record that no replica is known to hold has all of them
    // asked.
    bench.query(read(1, &[("b", 1)]));
    assert_eq!(pulls(&bench.pass(20)), ["b"]);
}

#[test]
fn nobodys_word_grows_without_bound() {
    let mut bench = Bench::serving_beside(&["a"]);
    let said = |part: usize| -> Timestamp { (0..6_000).map(|n| (id(&format!("x{part}-{n}")), 1)).collect() };
    for part in 0..3 {
        let replica_timestamp = Replicas { replicas: said(part) };
        bench.hear(Input::Acknowledgement(Acknowledgement { id: id("a"), replica_timestamp }));
    }
    let entry = bench.manager.timestamp_table().get(&id("a")).unwrap();
    assert_eq!(entry.replica_timestamp, said(2));
}

#[test]
fn four_peers_are_pulled_from_at_the_same_time_and_no_more() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut bench = Bench::serving_beside(&names);
    for name in names {
        bench.hear(Input::Presence(Box::new(presence(name, Status::Active, &[(name, 1)]))));
    }
    assert_eq!(pulls(&bench.pass(120)), ["a", "b", "c", "d"]);
    bench.hear(page("a", &[("a", 1)], &[], vec![record("a", 1, 1, create(2))]));
    assert_eq!(pulls(&bench.pass(20)), ["e"]);
}
