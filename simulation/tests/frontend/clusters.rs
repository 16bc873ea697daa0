//! Requests that name a cluster.

use natter_common::cluster::ClusterId;
use natter_common::edge::{ClientRequest, FrontendError};
use natter_common::frontend::{Input, Notice, Output};
use natter_common::messages::{Presence, Status};
use natter_common::request::Query;

use crate::bench::{Bench, answer, answered, config, label, presence, queries, timestamp};

fn cluster(name: &str) -> ClusterId {
    ClusterId::new(name).unwrap()
}

/// Presence of a replica of this cluster.
fn of_cluster(name: &str, identity: &str, aliases: &[&str]) -> Presence {
    Presence {
        cluster: Some(cluster(identity)),
        aliases: aliases.iter().map(|alias| cluster(alias)).collect(),
        ..presence(name, Status::Active, &[])
    }
}

/// A session that has seen something in a cluster asks.
fn ask(bench: &mut Bench, identity: &str) -> Vec<Output> {
    let query = Query::Search { title: String::new(), limit: 1 };
    let request =
        ClientRequest::Query { request: query, prev: label(&[("gone", 7)]), cluster: Some(cluster(identity)) };
    bench.hear(Input::Request(99, request))
}

#[test]
fn a_session_of_another_cluster_is_told_so_at_once_and_one_of_an_alias_is_served() {
    let mut bench = Bench::beside(&["a"]);
    bench.show(of_cluster("a", "b-cluster", &["c-cluster"]));
    bench.pass(20);
    assert_eq!(bench.frontend.cluster(), Some(&cluster("b-cluster")));
    for own in ["b-cluster", "c-cluster"] {
        assert_eq!(queries(&ask(&mut bench, own)).len(), 1, "{own}");
    }
    let error = answer(&ask(&mut bench, "d-cluster")).unwrap_err();
    assert_eq!(error, FrontendError::OtherCluster { theirs: cluster("d-cluster"), ours: cluster("b-cluster") });
    let text = error.to_string();
    assert!(text.starts_with("STALE: ") && text.contains("d-cluster") && text.contains("b-cluster"), "{text}");
    // The smaller identity is that of both.
    bench.show(of_cluster("b", "a-cluster", &[]));
    bench.pass(20);
    assert_eq!(bench.frontend.cluster(), Some(&cluster("a-cluster")));
    for own in ["a-cluster", "b-cluster", "c-cluster"] {
        assert_eq!(queries(&ask(&mut bench, own)).len(), 1, "{own}");
    }
}

#[test]
fn before_a_replica_is_heard_it_is_unknown_whether_a_cluster_is_this_one() {
    let mut bench = Bench::new(config());
    assert_eq!(answer(&ask(&mut bench, "a-cluster")), Err(FrontendError::Unavailable));
    bench.show(of_cluster("a", "a-cluster", &[]));
    bench.pass(20);
    assert_eq!(queries(&ask(&mut bench, "a-cluster")).len(), 1);
}

#[test]
fn a_frontend_belongs_to_the_cluster_of_the_replicas_that_are_there() {
    let mut bench = Bench::beside(&[]);
    bench.show(of_cluster("a", "a-cluster", &[]));
    bench.pass(200);
    // All of them end. While nobody is there, the identity stays; those that come next are another cluster.
    bench.shown.clear();
    bench.pass(2_000);
    assert_eq!(bench.frontend.cluster(), Some(&cluster("a-cluster")));
    bench.show(of_cluster("b", "b-cluster", &[]));
    bench.pass(20);
    assert_eq!(bench.frontend.cluster(), Some(&cluster("b-cluster")));
    assert!(matches!(answer(&ask(&mut bench, "a-cluster")), Err(FrontendError::OtherCluster { .. })));
}

/// All replicas are started anew with nothing, while a frontend stays: a new session is answered, though the frontend
/// has seen what nobody will ever have again.
#[test]
fn what_was_seen_in_another_cluster_is_asked_for_no_more() {
    let mut bench = Bench::beside(&["a"]);
    bench.show(of_cluster("a", "a-cluster", &["z-cluster"]));
    bench.pass(200);
    let asked = queries(&bench.query(label(&[]))).pop().unwrap();
    bench.reply("a", asked.1.n, answered(&[("a", 7)]));
    assert_eq!(bench.frontend.prev(), &label(&[("a", 7)]));
    // Another name of the same cluster is no other one.
    bench.show(of_cluster("a", "z-cluster", &["a-cluster"]));
    bench.pass(20);
    assert_eq!(bench.frontend.prev(), &label(&[("a", 7)]));
    // A frontend that stood still hears the new ones before it counts the old ones as gone.
    bench.show(of_cluster("b", "b-cluster", &[]));
    bench.pass(200);
    assert_eq!(bench.frontend.prev(), &label(&[("a", 7)]));
    bench.shown.retain(|shown| shown.id.as_str() == "b");
    let outputs = bench.pass(2_000);
    let moved = outputs.iter().any(|output| matches!(output, Output::Notice(Notice::AnotherCluster(_))));
    assert!(moved, "{outputs:?}");
    let asked = queries(&bench.query(label(&[]))).pop().unwrap();
    assert_eq!((asked.0.as_str(), &asked.1.prev), ("b", &timestamp(&[])));
    assert!(answer(&bench.reply("b", asked.1.n, answered(&[]))).is_ok());
    // The two were one cluster after all, or are from now on.
    bench.show(of_cluster("b", "a-cluster", &["b-cluster"]));
    bench.pass(20);
    assert_eq!(bench.frontend.prev(), &label(&[("a", 7)]));
}
