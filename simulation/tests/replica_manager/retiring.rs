//! Replicas that are gone for good leave the timestamps, as soon as no replica needs their entries.

use std::sync::Arc;

use natter_common::messages::{LogPage, LogRequest, Presence, Replicas, Reply, Status, UpdateRequest};
use natter_common::record::Record;
use natter_common::replica_manager::{Config, Input, Output};

use crate::bench::{
    Bench, config, create, gossips, id, presence, pulls, record, replicas, reply, timestamp, to, update,
};

const FORGET_AFTER_MS: u64 = 5_000;

/// A replica that has applied an update of `y`, which is in memory and falls silent now; `a` is there.
fn beside_somebody_who_goes() -> Bench {
    let mut bench = Bench::new(Config { forget_after_ms: FORGET_AFTER_MS, ..config() });
    // A replica that has just come does not judge which are gone.
    bench.pass_beside(&["a", "y"], 2 * FORGET_AFTER_MS);
    bench.gossip("y", &[("y", 1)], vec![record("y", 1, 1, create(2))]);
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("y", 1)]));
    bench
}

fn shows(bench: &mut Bench, name: &str, applied: &[(&str, u64)]) {
    bench.hear(Input::Presence(Box::new(presence(name, Status::Active, applied))));
}

/// Replicas that the records that were sent retire.
fn retired(outputs: &[Output]) -> Vec<String> {
    let records = gossips(outputs).into_iter().flat_map(|gossip| gossip.records);
    records.filter(|record| record.request.is_none()).map(|record| record.retires.to_string()).collect()
}

#[test]
fn who_is_gone_for_good_is_retired_when_all_have_its_updates() {
    let mut bench = beside_somebody_who_goes();
    shows(&mut bench, "a", &[("y", 1)]);
    assert_eq!(retired(&bench.pass_beside(&["a"], FORGET_AFTER_MS)), Vec::<String>::new(), "it may come back");
    assert_eq!(retired(&bench.pass_beside(&["a"], 2_000)), ["{y:1}"]);
    // When another one holds that, it is so.
    shows(&mut bench, "a", &[("own", 1), ("y", 1)]);
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("own", 1)]));
}

/// An update whose `prev` names a retired replica depends on all that is applied here, which stands for that replica's
/// updates: else one that was away for long would show it without these.
#[test]
fn an_update_that_names_a_retired_replica_depends_on_its_retirement() {
    let mut bench = beside_somebody_who_goes();
    shows(&mut bench, "a", &[("y", 1)]);
    bench.pass_beside(&["a"], FORGET_AFTER_MS + 2_000);
    shows(&mut bench, "a", &[("own", 1), ("y", 1)]);
    let accept = |bench: &mut Bench, n: u64, movie: u32, prev: &[(&str, u64)]| {
        let outputs = bench.update(UpdateRequest { prev: timestamp(prev), ..update(n, create(movie)) });
        let Reply::Accepted { retired, .. } = reply(&outputs) else { panic!("{outputs:?}") };
        let records = gossips(&outputs).into_iter().flat_map(|gossip| gossip.records);
        (retired, records.map(|record| record.prev.clone()).next().unwrap())
    };
    let nothing = timestamp(&[]);
    // The record that retires it is an earlier one of the same origin.
    assert_eq!(accept(&mut bench, 5, 1, &[("y", 1)]), (timestamp(&[("y", 1)]), nothing.clone()));
    bench.gossip("a", &[("a", 1)], vec![record("a", 1, 9, create(3))]);
    assert_eq!(accept(&mut bench, 6, 4, &[("y", 1)]), (timestamp(&[("y", 1)]), timestamp(&[("a", 1)])));
    assert_eq!(accept(&mut bench, 7, 5, &[("own", 1)]), (nothing.clone(), nothing));
}

#[test]
fn nobody_is_retired_while_one_who_is_there_has_none_of_its_updates() {
    let mut bench = beside_somebody_who_goes();
    shows(&mut bench, "a", &[]);
    assert_eq!(retired(&bench.pass_beside(&["a"], 4 * FORGET_AFTER_MS)), Vec::<String>::new());
    shows(&mut bench, "a", &[("y", 1)]);
    assert_eq!(retired(&bench.pass_beside(&["a"], 2_000)), ["{y:1}"]);
}

#[test]
fn who_is_away_for_a_moment_is_waited_for() {
    let mut bench = beside_somebody_who_goes();
    shows(&mut bench, "a", &[]);
    bench.pass_beside(&["a"], FORGET_AFTER_MS - 1_000);
    assert_eq!(retired(&bench.pass(FORGET_AFTER_MS - 500)), Vec::<String>::new(), "a may still ask for what it lacks");
    assert_eq!(retired(&bench.pass(2_500)), ["{y:1}"]);
}

#[test]
fn what_others_retired_while_it_was_there_leaves_once_its_later_life_is_there() {
    let mut bench = beside_somebody_who_goes();
    shows(&mut bench, "y", &[("y", 1)]);
    let retires = Record { request: None, retires: timestamp(&[("y", 1)]), ..record("a", 1, 5, create(2)) };
    bench.gossip("a", &[("a", 1)], vec![Record { prev: retires.retires.clone(), ..retires }]);
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("a", 1), ("y", 1)]), "it is still there");
    bench.pass_beside(&["a"], 900);
    let later = Presence { former: vec![id("y")], ..presence("y_2", Status::Active, &[("a", 1)]) };
    bench.hear(Input::Presence(Box::new(later)));
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("a", 1)]));
}

#[test]
fn what_others_call_gone_is_believed_of_those_that_are_known() {
    let mut bench = Bench::serving_beside(&["a"]);
    shows(&mut bench, "a", &[("a", 1)]);
    assert_eq!(pulls(&bench.pass(120)), ["a"]);
    let page = |gone: &[&str], record: Record| {
        Input::LogPage(LogPage {
            id: id("a"),
            replica_timestamp: replicas(&[(record.i.as_str(), 1)]),
            value_timestamp: Replicas::default(),
            start: Replicas::default(),
            gone: gone.iter().map(|name| id(name)).collect(),
            records: vec![Arc::new(record)],
        })
    };
    // It is told of `z` before anything of `z` is known.
    bench.hear(page(&["z"], record("a", 1, 1, create(2))));
    let gone = |bench: &mut Bench| {
        let request = LogRequest { id: id("a"), have: Replicas::default() };
        match bench.hear(Input::Log(to(1), request)).pop() {
            Some(Output::Log(_, page)) => page.gone,
            other => panic!("{other:?}"),
        }
    };
    bench.gossip("a", &[("a", 1), ("z", 1)], vec![record("z", 1, 2, create(3))]);
    shows(&mut bench, "a", &[("a", 1), ("z", 1)]);
    assert_eq!(bench.manager.value_timestamp(), &timestamp(&[("a", 1), ("z", 1)]));
    assert_eq!(gone(&mut bench), []);
    // Now it is.
    shows(&mut bench, "a", &[("a", 2), ("z", 1)]);
    assert_eq!(pulls(&bench.pass_beside(&["a"], 200)), ["a"]);
    bench.hear(page(&["z"], record("a", 2, 3, create(4))));
    assert_eq!(gone(&mut bench), [id("z")]);
}
