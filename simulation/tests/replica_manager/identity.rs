//! The identity of the cluster.

use natter_common::cluster::ClusterId;
use natter_common::messages::{Presence, Status};
use natter_common::replica_manager::{Config, Input, ReplicaManager, Saved};

use crate::bench::{Bench, config, id, presence, presences};

fn cluster(name: &str) -> ClusterId {
    ClusterId::new(name).unwrap()
}

fn of_cluster(name: &str, identity: &str, aliases: &[&str]) -> Input {
    Input::Presence(Box::new(Presence {
        cluster: Some(cluster(identity)),
        aliases: aliases.iter().map(|alias| cluster(alias)).collect(),
        ..presence(name, Status::Active, &[])
    }))
}

fn names(bench: &Bench) -> (Option<String>, Vec<String>) {
    let names = bench.manager.cluster();
    (names.id.as_ref().map(ToString::to_string), names.aliases.iter().map(ToString::to_string).collect())
}

#[test]
fn a_replica_that_finds_nobody_draws_an_identity_and_shows_it_when_it_serves() {
    let mut bench = Bench::new(config());
    bench.pass(1_480);
    assert_eq!(names(&bench), (None, vec![]));
    let outputs = bench.pass(40);
    let shown = presences(&outputs).pop().unwrap();
    assert!(shown.is_serving() && shown.cluster.is_some(), "{shown:?}");
    assert_eq!(shown.cluster.as_ref(), bench.manager.cluster().id.as_ref());
    let other = Bench::new(Config { seed: 2, ..config() });
    let mut other = other;
    other.pass(1_520);
    assert_ne!(names(&other), names(&bench), "each draws its own");
}

#[test]
fn a_replica_that_finds_a_cluster_belongs_to_it() {
    let mut bench = Bench::new(config());
    bench.hear(of_cluster("a", "m", &["x"]));
    assert_eq!(names(&bench), (Some("m".to_owned()), vec!["x".to_owned()]));
    bench.pass_beside(&["a"], 1_200);
    assert_eq!(names(&bench), (Some("m".to_owned()), vec!["x".to_owned()]));
}

#[test]
fn two_clusters_that_meet_keep_the_smaller_identity_and_say_so_once() {
    let mut bench = Bench::serving();
    bench.hear(of_cluster("a", "m", &["x"]));
    let own = names(&bench).1.into_iter().chain(names(&bench).0).find(|name| name.len() == 12).unwrap();
    assert_eq!(names(&bench).0, Some(own.clone().min("m".to_owned())));
    let told = Bench::notices(&bench.hear(of_cluster("b", "0", &[])));
    assert!(told.iter().any(|notice| notice.contains("have met") && notice.contains("identity is 0")), "{told:?}");
    assert_eq!(names(&bench).0, Some("0".to_owned()));
    for alias in ["m", "x", &own] {
        assert!(bench.manager.cluster().contain(&cluster(alias)), "{alias}");
    }
    assert!(Bench::notices(&bench.hear(of_cluster("b", "0", &[]))).is_empty(), "once");
    let shown = presences(&bench.pass(20)).pop().unwrap();
    assert_eq!((shown.cluster, shown.aliases.len()), (Some(cluster("0")), 3), "it is shown at once");
}

#[test]
fn of_those_that_begin_together_the_first_one_draws_and_is_not_waited_for_in_vain() {
    let begins = |uptime_ms| Presence { uptime_ms, ..presence("a", Status::Joining, &[]) };
    let mut bench = Bench::new(config());
    for uptime_ms in (40..1_040).step_by(100) {
        bench.hear(Input::Presence(Box::new(begins(uptime_ms))));
        bench.pass(100);
    }
    assert_eq!(names(&bench).0, None, "a began 40 ms earlier");
    let Input::Presence(mut drawn) = of_cluster("a", "m", &[]) else { panic!("presence") };
    drawn.uptime_ms = 1_040;
    bench.hear(Input::Presence(drawn));
    bench.pass(20);
    assert_eq!((names(&bench).0, bench.manager.status()), (Some("m".to_owned()), Status::Active));
    // A replica that never draws is of an older version.
    let mut bench = Bench::new(config());
    for uptime_ms in (40..2_040).step_by(100) {
        bench.hear(Input::Presence(Box::new(begins(uptime_ms))));
        bench.pass(100);
    }
    assert!(names(&bench).0.is_some() && bench.manager.status() == Status::Active);
}

#[test]
fn a_directory_keeps_the_identity_and_its_aliases() {
    let durable = || Config { durable: true, ..config() };
    let mut bench = Bench::new(durable());
    bench.hear(of_cluster("a", "m", &["x", "y"]));
    let state = bench
        .value
        .take_committed()
        .pop()
        .and_then(|commit| commit.changes.state)
        .expect("it is saved before it is told");
    assert_eq!(state.cluster, *bench.manager.cluster());
    let saved = Saved { state, ..Saved::default() };
    let later = Config { id: id("own-2"), ..durable() };
    let again = ReplicaManager::recover(later, saved, &[id("own")], bench.now).unwrap();
    assert_eq!(again.cluster(), bench.manager.cluster());
}
