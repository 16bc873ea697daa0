//! `client status` and `client replica`.

use natter_tests::harness::{Session, World};
use serde_json::{Value, json};

use crate::ROLES;
use crate::support::Running;

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn status_shows_a_replica_fall_behind_and_catch_up() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 3).await;
    let mut session = Session::new(&cluster.wire);
    session.ask("create", json!({"user_id": 42, "movie_id": 2, "rating": 4.5})).await.ok();
    cluster.until_agreed(&["r1", "r2", "r3"]).await;

    let output = world.run("client", &["status", "--json"]).await;
    let status: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    let status = &status["value"];
    assert_eq!(status["converged"], true, "{status}");
    assert_eq!((status["frontends"].as_array().unwrap().len(), status["replicas"].as_array().unwrap().len()), (1, 3));
    assert!(status["newest_update"].is_string() && status["replicas"][0]["lag_ms"].is_null(), "{status}");

    // Live: one more snapshot whenever something changes.
    let mut watch = Running::start(&world, &["status", "--watch", "--json"]);
    watch.until(|status| status["converged"] == true && status["replicas"].as_array().unwrap().len() == 3).await;
    let output = world.run("client", &["replica", "r2", "offline"]).await;
    assert!(output.status.success() && text(&output).contains("is OFFLINE (mode offline)"), "{}", text(&output));
    for movie in [3, 5] {
        session.ask("create", json!({"user_id": 42, "movie_id": movie, "rating": 3.0})).await.ok();
    }
    let behind = |status: &Value| {
        let rows = status["replicas"].as_array().unwrap();
        rows.iter()
            .find(|row| row["id"].as_str().unwrap().starts_with("r2-"))
            .is_some_and(|row| row["lag_records"] == 2)
    };
    let seen = watch.until(|status| status["converged"] == false && behind(status)).await;
    let row = &seen.last().unwrap()["replicas"][1];
    assert_eq!((row["status"].as_str(), row["mode"].as_str()), (Some("OFFLINE"), Some("offline")), "{row}");
    assert!(row["lag_ms"].is_u64(), "{row}");

    // The screen of a pipe: no escapes, and a line for each process by its short name.
    let output = world.run("client", &["status"]).await;
    let screen = text(&output);
    assert!(!screen.contains('\u{1b}') && screen.contains("not converged"), "{screen}");
    let line = screen.lines().find(|line| line.starts_with("r2 ")).unwrap_or_else(|| panic!("{screen}"));
    assert!(line.contains("OFFLINE") && line.contains(" 2, "), "{screen}");

    let output = world.run("client", &["replica", "r2", "measured", "--json"]).await;
    let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reply["value"]["mode"], "measured", "{reply}");
    watch.until(|status| status["converged"] == true).await;

    let output = world.run("client", &["replica", "r9"]).await;
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("these are there: r1, r2, r3"), "{}", text(&output));
    cluster.finish().await;
}

#[tokio::test]
async fn status_of_no_cluster_is_one_clear_error() {
    let world = World::new(ROLES).await;
    let output = world.run("client", &["status", "--patience", "1s"]).await;
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert_eq!(text(&output).lines().count(), 1, "{}", text(&output));
    assert!(
        text(&output).contains("no frontend or replica shows itself under the prefix \"ratings\""),
        "{}",
        text(&output)
    );
}
