//! Retired replicas leave the labels of a frontend and of its sessions.

use natter_common::edge::{ClientBatch, ClientRequest, SingleOperation};
use natter_common::frontend::{Input, Notice, Output};
use natter_common::messages::{Reply, Status};
use natter_common::timestamp::Timestamp;

use crate::bench::{
    Bench, accepted, answer, answered, answers, average, confirms, create, held, id, label, presence, queries,
    timestamp, updates,
};

/// Replicas that clients are told that they may leave out, by client.
fn told(outputs: &[Output]) -> Vec<(u64, Timestamp)> {
    let retired = |output: &Output| match output {
        Output::Retired(client, retired) => Some((*client, retired.clone())),
        _ => None,
    };
    outputs.iter().filter_map(retired).collect()
}

/// The answer of an acceptor that has retired these replicas.
fn accepted_beside(retired: &[(&str, u64)], origin: &str, seq: u64) -> Reply {
    let Reply::Accepted { value, records, clock, .. } = accepted(origin, seq) else { unreachable!() };
    Reply::Accepted { value, records, clock, retired: timestamp(retired) }
}

/// A frontend that has seen these.
fn that_has_seen(entries: &[(&str, u64)]) -> Bench {
    let mut bench = Bench::beside(&["a", "b"]);
    let asked = queries(&bench.query(label(&[]))).pop().unwrap();
    bench.reply(&asked.0, asked.1.n, answered(entries));
    assert_eq!(bench.frontend.prev(), &label(entries));
    bench
}

#[test]
fn an_acknowledged_update_takes_retired_replicas_out_of_the_labels() {
    let mut bench = that_has_seen(&[("old", 3), ("x", 1)]);
    let outputs = bench.update(None, label(&[("old", 2), ("x", 1)]));
    let (update, confirm) = (updates(&outputs).pop().unwrap(), confirms(&outputs).pop().unwrap());
    assert_eq!(update.1.prev, timestamp(&[("old", 3), ("x", 1)]));
    // Accepted is not acknowledged: no label names the record yet that stands for the replica.
    let outputs = bench.reply(&update.0, update.1.n, accepted_beside(&[("old", 3)], &update.0, 7));
    assert_eq!((answers(&outputs).len(), told(&outputs)), (0, vec![]));
    assert_eq!(bench.frontend.prev().replicas, timestamp(&[("old", 3), ("x", 1)]));
    let outputs = bench.reply(&confirm.0, confirm.1.n, held(&update.0, 7));
    assert!(matches!(&outputs[..], [Output::Retired(..), Output::Answer(..)]), "{outputs:?}");
    assert_eq!(told(&outputs)[0].1, timestamp(&[("old", 3)]));
    assert_eq!(answer(&outputs).unwrap().label.replicas, timestamp(&[(&update.0, 7)]));
    assert_eq!(bench.frontend.prev().replicas, timestamp(&[("x", 1), (&update.0, 7)]));
}

#[test]
fn another_record_of_the_update_stands_for_no_retired_replica() {
    let mut bench = that_has_seen(&[("old", 3)]);
    let outputs = bench.update(None, label(&[]));
    let (update, confirm) = (updates(&outputs).pop().unwrap(), confirms(&outputs).pop().unwrap());
    bench.reply(&confirm.0, confirm.1.n, held("x", 9));
    // The acceptor had it from elsewhere: with which `prev`, nobody knows.
    let outputs = bench.reply(&update.0, update.1.n, accepted("x", 9));
    assert!(answer(&outputs).is_ok());
    assert_eq!((told(&outputs), &bench.frontend.prev().replicas), (vec![], &timestamp(&[("old", 3), ("x", 9)])));
}

#[test]
fn an_old_label_is_told_at_each_frontend_that_knows_better_and_not_beside_an_error_without_a_label() {
    let mut bench = that_has_seen(&[("old", 3)]);
    let asked = queries(&bench.query(label(&[]))).pop().unwrap();
    bench.reply(&asked.0, asked.1.n, answered(&[("x", 1)]));
    assert_eq!(bench.frontend.prev().replicas, timestamp(&[("x", 1)]));
    // The frontend has seen what stands for it, so the query need not name it, and is proven.
    let asked = queries(&bench.query(label(&[("old", 2), ("x", 1)]))).pop().unwrap();
    assert_eq!((&asked.1.prev, asked.1.proven), (&timestamp(&[("x", 1)]), true));
    let outputs = bench.reply(&asked.0, asked.1.n, answered(&[("x", 1)]));
    assert!(matches!(&outputs[..], [Output::Retired(..), Output::Answer(..)]), "{outputs:?}");
    assert_eq!(told(&outputs)[0].1, timestamp(&[("old", 2)]));
    // Later updates of that replica are not known here.
    let asked = queries(&bench.query(label(&[("old", 4)]))).pop().unwrap();
    assert_eq!((&asked.1.prev, asked.1.proven), (&timestamp(&[("old", 4), ("x", 1)]), false));
    bench.query(label(&[("old", 2)]));
    let outputs = bench.pass(10_000);
    assert!(answers(&outputs).iter().all(|(_, answer)| answer.is_err()) && answers(&outputs).len() == 2);
    assert_eq!(told(&outputs), []);
}

#[test]
fn what_a_client_makes_up_is_retired_for_nobody_else() {
    let mut bench = that_has_seen(&[("x", 1)]);
    let asked = queries(&bench.query(label(&[("made-up", 9)]))).pop().unwrap();
    // The replicas have given it up.
    let outputs = bench.reply(&asked.0, asked.1.n, answered(&[("x", 1)]));
    assert_eq!(told(&outputs)[0].1, timestamp(&[("made-up", 9)]));
    let asked = queries(&bench.query(label(&[("made-up", 5)]))).pop().unwrap();
    assert_eq!(asked.1.prev, timestamp(&[("made-up", 5), ("x", 1)]));
}

#[test]
fn a_batch_is_told_once_of_all() {
    let mut bench = that_has_seen(&[("old", 3), ("older", 1)]);
    let update = SingleOperation::Update { request: create(), id: None };
    let query = SingleOperation::Query(average());
    let batch = ClientBatch {
        operations: vec![Ok(update), Ok(query)],
        prev: label(&[]),
        cluster: None,
        answers: Default::default(),
    };
    let outputs = bench.hear(Input::Request(77, ClientRequest::Batch(batch)));
    let (update, confirm) = (updates(&outputs).pop().unwrap(), confirms(&outputs).pop().unwrap());
    bench.reply(&confirm.0, confirm.1.n, held(&update.0, 7));
    let outputs = bench.reply(&update.0, update.1.n, accepted_beside(&[("old", 3)], &update.0, 7));
    // The average comes after the update.
    assert_eq!(told(&outputs), []);
    let query = queries(&outputs).pop().unwrap();
    assert_eq!(query.1.prev, timestamp(&[("older", 1), (&update.0, 7)]));
    let outputs = bench.reply(&query.0, query.1.n, answered(&[(&update.0, 8)]));
    assert!(matches!(&outputs[..], [Output::Retired(77, _), Output::BatchAnswer(77, _)]), "{outputs:?}");
    assert_eq!(told(&outputs)[0].1, timestamp(&[("old", 3), ("older", 1)]));
}

/// A frontend that has seen updates of `old`, which is gone, and which `a` and `b` do not show any more.
fn beside_a_retired_one() -> (Bench, Vec<Output>) {
    let mut bench = that_has_seen(&[("x", 1)]);
    bench.show(presence("old", Status::Active, &[("old", 3)]));
    bench.prove("old");
    let asked = queries(&bench.query(label(&[]))).pop().unwrap();
    bench.reply(&asked.0, asked.1.n, answered(&[("old", 3), ("x", 1)]));
    bench.shown.retain(|shown| shown.id != id("old"));
    for name in ["a", "b"] {
        bench.show(presence(name, Status::Active, &[("old", 3), ("x", 1)]));
    }
    assert_eq!(queries(&bench.pass(5_000)), [], "others show its updates");
    for name in ["a", "b"] {
        bench.show(presence(name, Status::Active, &[("x", 2)]));
    }
    let outputs = bench.pass(600);
    (bench, outputs)
}

/// A replica that is gone, and that the others have retired, is not taken for one that died with its updates: a
/// frontend that no client asks for anything finds out.
#[test]
fn a_retired_replica_is_not_told_as_lost() {
    let (mut bench, mut all) = beside_a_retired_one();
    let asked = queries(&all).pop().unwrap();
    assert_eq!(asked.1.prev, timestamp(&[("old", 3), ("x", 1)]));
    all.extend(bench.reply(&asked.0, asked.1.n, answered(&[("x", 2)])));
    assert_eq!(bench.frontend.prev().replicas, timestamp(&[("x", 2)]));
    all.extend(bench.pass(20_000));
    let lost = |output: &&Output| matches!(output, Output::Notice(Notice::Lost { .. }) | Output::Lost(..));
    assert_eq!(all.iter().find(lost).map(|output| format!("{output:?}")), None);
    assert_eq!((answers(&all), bench.frontend.pending()), (vec![], 0));
}

/// A question of a frontend's own that no replica answers is asked again, and answered to nobody.
#[test]
fn a_question_about_a_missing_replica_is_repeated_until_it_is_answered() {
    let (mut bench, _) = beside_a_retired_one();
    let outputs = bench.pass(6_000);
    assert!((3..40).contains(&queries(&outputs).len()), "{}", queries(&outputs).len());
    assert_eq!(answers(&outputs), []);
    let outputs = bench.pass(2_500);
    let asked = queries(&outputs).pop().unwrap();
    bench.reply(&asked.0, asked.1.n, answered(&[("x", 2)]));
    assert_eq!((queries(&bench.pass(5_000)), bench.frontend.pending()), (vec![], 0));
}
