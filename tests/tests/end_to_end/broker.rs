//! The broker comes late, is killed and comes back.

use std::time::{Duration, Instant};

use natter_tests::harness::{Cluster, DEADLINE, Encoding, Load, Session, World, data, update_id_v7};
use serde_json::{Value, json};

use crate::ROLES;

#[tokio::test]
async fn everybody_waits_for_the_broker_and_resumes_by_itself_when_it_is_back() {
    let world = World::without_broker(ROLES).await;
    let database = data::write_small(world.directory());
    let plan = world.cluster("ratings").database(&database);
    let mut early: Vec<_> = ["r1", "r2", "r3"].iter().map(|name| plan.start_member("replica", name, &[])).collect();
    early.extend(["f1", "f2"].iter().map(|name| plan.start_member("frontend", name, &[])));
    for member in &mut early {
        member.until_logged(&format!("no broker at {}", world.broker.url())).await;
        assert!(member.is_running(), "it waits");
    }
    world.broker.start().await;
    let started = Instant::now();
    let mut cluster = plan.empty().await;
    early.into_iter().for_each(|member| cluster.adopt(member));
    cluster.until_ready().await;
    println!("ready {:?} after the broker came", started.elapsed());
    for member in cluster.members() {
        assert!(member.log().contains("found the broker"), "{}", member.log());
    }

    let load = Load::start(&cluster.wire, 4, Duration::from_millis(4));
    let mut session = Session::new(&cluster.wire);
    session.ask("create", json!({"user_id": 77, "movie_id": 1, "rating": 1.0})).await.ok();
    load.until_answered(200).await;
    // Shorter than it takes until a process that shows nothing counts as gone, and longer.
    for (round, outage) in [Duration::ZERO, Duration::from_millis(2500)].into_iter().enumerate() {
        world.broker.kill().await;
        tokio::time::sleep(outage).await;
        world.broker.start().await;
        resumes(&cluster, &mut session, 2.0 + round as f64, outage).await;
        load.until_answered(200).await;
        for name in ["r1", "r2", "r3", "f1", "f2"] {
            cluster.until_shows(name, "ACTIVE").await;
        }
    }
    let report = load.stop().await;
    println!("{} requests were answered, others: {:?}", report.answered, report.failures_by_kind());
    report.assert_right();
    cluster.until_agreed(&["r1", "r2", "r3"]).await;
    cluster.finish().await;
}

/// The session's last write is read, and its next one held by two, within a few seconds.
async fn resumes(cluster: &Cluster<'_>, session: &mut Session, rating: f64, outage: Duration) {
    let back = Instant::now();
    let mut until_done = async |operation: &str, map: Value| loop {
        // A short patience: what was in flight is gone.
        if let Ok(answer) = session.try_ask(operation, map.clone(), Duration::from_millis(300)).await
            && answer.refusal.is_none()
        {
            break (answer.body, back.elapsed());
        }
        assert!(back.elapsed() < DEADLINE, "{operation} is not answered again");
    };
    let (read, reads) = until_done("read", json!({"user_id": 77, "movie_id": 1})).await;
    assert_eq!(read["value"]["rating"], rating - 1.0, "what was written before the broker went: {read}");
    let id = update_id_v7(Duration::ZERO);
    let map = json!({"user_id": 77, "movie_id": 1, "rating": rating, "id": id});
    let (written, writes) = until_done("update", map).await;
    assert_eq!(written["replicas"].as_array().unwrap().len(), 2, "{written}");
    println!("broker away for {outage:?}: reads again after {reads:?}, writes after {writes:?}");
    assert!(writes < Duration::from_secs(10), "a few seconds, not {writes:?}");
    let status = cluster.set_mode(&cluster.id_of("r1").await, None, Encoding::Json).await;
    assert_eq!(status["mode"], "measured");
}
