//! `client tap`.

use std::time::Duration;

use natter_tests::harness::{Encoding, Session, World, update_id_v7};
use serde_json::{Value, json};

use crate::ROLES;
use crate::support::Running;

/// Waits until the tap listens to the frontends and to so many replicas.
async fn until_it_taps(tap: &mut Running, replicas: u64) {
    tap.until(|line| line["kind"] == "listens to" && line["frontends"] == true && line["replicas"] == replicas).await;
}

#[tokio::test]
async fn tap_shows_the_way_of_an_update_and_follows_one() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 2).await;
    let (id, other) = (update_id_v7(Duration::ZERO), update_id_v7(Duration::ZERO));
    let mut tap = Running::start(&world, &["tap", "--json"]);
    let mut follow = Running::start(&world, &["tap", "--json", "--follow", &id]);
    until_it_taps(&mut tap, 2).await;
    until_it_taps(&mut follow, 2).await;

    let mut session = Session::new(&cluster.wire);
    session.ask("create", json!({"user_id": 41, "movie_id": 2, "rating": 4.5, "id": other})).await.ok();
    session.ask("create", json!({"user_id": 42, "movie_id": 2, "rating": 4.5, "id": id})).await.ok();
    session.ask("read", json!({"user_id": 42, "movie_id": 2})).await.ok();

    // Everything: each reply after its request, and from the process that was asked.
    let mut reads = 0;
    let lines = tap
        .until(|line| {
            reads += usize::from(is_answer_to_read(line));
            reads == 2
        })
        .await;
    let place = |kind: &str| {
        let is_it = |line: &Value| line["kind"] == kind && line.to_string().contains(&id);
        lines.iter().position(is_it).unwrap_or_else(|| panic!("{kind}: {lines:#?}"))
    };
    let frontend = cluster.id_of("f1").await;
    let (request, accept, confirm, gossip) = (place("request"), place("accept?"), place("confirm?"), place("gossip"));
    assert!(request < accept && request < confirm && accept < gossip, "{lines:#?}");
    assert_eq!((&lines[request]["from"], &lines[request]["to"]), (&json!("client"), &json!("frontend")));
    assert_eq!(lines[accept]["from"], json!(frontend), "{lines:#?}");
    let acceptor = lines[accept]["to"].as_str().unwrap();
    assert_eq!(lines[gossip]["from"], json!(acceptor));
    let answer = lines.iter().position(|line| line["kind"] == "answer" && line.to_string().contains(&id)).unwrap();
    assert!(answer > gossip && lines[answer]["took_ms"].as_f64().unwrap() > 0.0, "{lines:#?}");
    assert_eq!(lines[answer]["from"], json!(frontend));

    // One update: nothing else, and at its end each replica that applied it.
    let mut applied = 0;
    let way = follow
        .until(|line| {
            applied += usize::from(line["kind"] == "applied");
            applied == 2
        })
        .await;
    assert!(!way.iter().any(|line| line.to_string().contains(&other)), "{way:#?}");
    for kind in ["request", "accept?", "reply", "gossip", "answer", "applied"] {
        assert!(way.iter().any(|line| line["kind"] == kind), "{kind}: {way:#?}");
    }

    // A malformed message is one line with its number.
    for _ in 0..2 {
        cluster.wire.publish("gossip.r1-nobody", b"\xc1".to_vec()).await;
    }
    let malformed = tap.until(|line| line["kind"] == "malformed" && line["number"] == 2).await;
    assert_eq!(malformed.iter().filter(|line| line["kind"] == "malformed").count(), 2, "{malformed:#?}");
    cluster.finish().await;
}

/// The rating of user 42 is answered twice: to the create and to the read.
fn is_answer_to_read(line: &Value) -> bool {
    line["kind"] == "answer" && line["message"]["value"]["user_id"] == 42
}

#[tokio::test]
async fn tap_does_not_hide_that_nobody_listens_and_says_what_permissions_hide() {
    let users = "no_auth_user: all\nauthorization { users: [\n { user: all, password: all }\n \
                 { user: few, password: few, permissions: { subscribe: [\"ratings.>\"], publish: { deny: \">\" } } }\n] }\n";
    let world = World::with_broker_configuration(ROLES, users).await;
    let mut cluster = world.small_cluster(1, 2).await;
    let mut tap = Running::start(&world, &["tap", "--json"]);
    let mut few = Running::start(&world, &["tap", "--json", "--user", "few", "--password", "few"]);
    let denied = few.until(|line| line["kind"] == "notice" && line["text"].to_string().contains("_INBOX.>")).await;
    let text = denied.last().unwrap()["text"].as_str().unwrap();
    assert!(text.contains("replies cannot be shown"), "{text}");
    until_it_taps(&mut tap, 2).await;
    until_it_taps(&mut few, 2).await;

    // The frontend leaves, and then nobody serves its subjects: the broker says so although the tap goes on.
    let frontend = cluster.id_of("f1").await;
    cluster.member("f1").terminate();
    cluster.member("f1").ended().await;
    for tap in [&mut tap, &mut few] {
        let left = tap.until(|line| line["kind"] == "listens to" && line["frontends"] == false).await;
        let says_so = |line: &Value| line["kind"] == "presence" && line["from"] == json!(frontend);
        assert!(left.iter().any(|line| says_so(line) && line.to_string().contains("LEFT")), "{left:#?}");
    }
    let silence = cluster.wire.send("frontend.average", Encoding::Json.encode(&json!({"movie_id": 1})), Encoding::Json);
    let silence = silence.await.expect_err("nobody serves it");
    assert_eq!(format!("{silence:?}"), "NoResponders");
    cluster.finish().await;
}
