//! `client trace`.

use natter_tests::harness::World;
use serde_json::Value;

use crate::ROLES;

#[tokio::test]
async fn trace_draws_the_way_of_an_update_and_of_a_read() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 3).await;
    let output = world.run("client", &["trace", "42", "create", "jumanji", "4.5"]).await;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("user 42 rated Jumanji (1995): 4.5"), "{text}");
    let head =
        text.lines().find(|line| line.contains("client") && line.contains("ms")).unwrap_or_else(|| panic!("{text}"));
    let columns: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(columns[..3], ["ms", "client", "f1"], "{text}");
    for part in [
        "request: create user 42 movie 2: 4.5, prev {}",
        "accept?: ",
        "confirm?: ",
        "reply: accepted as r",
        "gossip: 1 record",
        "answer: ",
        "label {r",
        "applied: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("f1 waited ") && text.contains(" to accept it") && text.contains(" to hold it"), "{text}");

    let output = world.run("client", &["42", "trace", "read", "2", "--json"]).await;
    let trace: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(trace["value"]["rating"], 4.5, "{trace}");
    let trace = &trace["trace"];
    let kinds: Vec<&str> =
        trace["steps"].as_array().unwrap().iter().map(|step| step["kind"].as_str().unwrap()).collect();
    let place = |kind: &str| kinds.iter().position(|it| *it == kind).unwrap_or_else(|| panic!("{kind}: {trace}"));
    let places = ["request", "query", "reply", "answer"].map(place);
    assert!(places.is_sorted(), "{trace}");
    assert!(trace["steps"][places[3]]["took_ms"].as_f64().unwrap() > 0.0, "{trace}");

    let output = world.run("client", &["trace", "decode"]).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && text.contains("needs a command of one request"), "{text}");
    cluster.finish().await;
}
