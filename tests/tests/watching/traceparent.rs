//! Trace contexts: the header `traceparent` of a client's request, in the logs of all processes that it passes.

use std::process::Stdio;

use async_nats::HeaderMap;
use futures_util::future::join_all;
use natter_tests::harness::{Cluster, DEADLINE, Encoding, World};
use serde_json::{Value, json};

use crate::ROLES;

/// A trace context with this number.
fn value(n: u64) -> String {
    format!("00-{:032x}-{:016x}-01", 0x0af7_6519_16cd_0000_0000_0000_0000_0000_u128 + u128::from(n), n + 1)
}

/// Sends a request with these values of the header, and returns the body of the answer.
async fn ask(cluster: &Cluster<'_>, operation: &str, map: &Value, values: &[&str]) -> Value {
    let mut headers = HeaderMap::new();
    values.iter().for_each(|value| headers.append("traceparent", *value));
    let subject = cluster.wire.subject(&format!("frontend.{operation}"));
    let payload = Encoding::Json.encode(map).into();
    let asking = cluster.wire.client().request_with_headers(subject, headers, payload);
    let answer = tokio::time::timeout(DEADLINE, asking).await.expect("an answer in time").unwrap();
    let error = answer.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error"));
    assert_eq!(error, None, "{map} {values:?}");
    Encoding::Json.decode(&answer.payload).unwrap()
}

/// Lines of all logs that have `text`.
fn lines_with(cluster: &mut Cluster<'_>, text: &str) -> Vec<String> {
    let logs: Vec<String> = cluster.members().iter().map(|member| member.log()).collect();
    logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// The value of a field of a log line.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[tokio::test]
async fn traceparent_of_a_request_is_logged_by_frontend_and_replicas() {
    let world = World::new(ROLES).await;
    let mut cluster = world.cluster("ratings").frontend_arguments(&["-v"]).replica_arguments(&["-v"]).start(1, 2).await;
    let of_movie = |movie: u64| json!({"user_id": 7001, "movie_id": movie});
    let rated = |movie: u64| json!({"user_id": 7001, "movie_id": movie, "rating": 4.5});

    // An update without an id: the frontend, the replica that accepts and the one that confirms.
    ask(&cluster, "create", &rated(1), &[&value(1)]).await;
    let logged = format!("traceparent={}", value(1));
    for (name, word) in [("f1", "answers"), ("f1", "asks to accept"), ("f1", "asks to confirm")] {
        let member = cluster.member(name);
        member.until_logged(&logged).await;
        assert!(member.log().lines().any(|line| line.contains(word) && line.contains(&logged)), "{}", member.log());
    }
    for name in ["r1", "r2"] {
        cluster.member(name).until_logged(&logged).await;
    }
    let at_replicas = [cluster.member("r1").log(), cluster.member("r2").log()].concat();
    let of_trace: Vec<&str> = at_replicas.lines().filter(|line| line.contains(&logged)).collect();
    let has = |word: &str| of_trace.iter().any(|line| line.contains(word));
    assert!(has(" update ") && has("is asked to confirm"), "{of_trace:?}");

    // Many requests share messages, and each keeps its own. Requests without a trace stay without.
    let (cluster_ref, reads) = (&cluster, 2..=60_u64);
    join_all(reads.map(|movie| async move {
        let value = value(movie);
        let values = [value.as_str()];
        ask(cluster_ref, "read", &of_movie(movie), if movie % 3 == 0 { &[] } else { &values }).await
    }))
    .await;
    let operations = json!([{"op": "create", "user_id": 7001, "movie_id": 61, "rating": 1},
        {"op": "create", "user_id": 7001, "movie_id": 62, "rating": 2}]);
    ask(&cluster, "batch", &json!({"operations": operations}), &[&value(61)]).await;
    let mut seen = 0;
    for movie in 2..=61_u64 {
        let logged = format!("traceparent={}", value(movie));
        if movie == 61 || movie % 3 != 0 {
            cluster.member("f1").until_logged(&logged).await;
            while !["r1", "r2"].iter().any(|name| cluster.member(name).log().contains(&logged)) {
                tokio::task::yield_now().await;
            }
        }
        let mut lines = lines_with(&mut cluster, &format!("movie={movie} "));
        lines.retain(|line| line.contains(" DEBUG query ") || line.contains(" DEBUG update "));
        for line in lines {
            let is_traced = field(&line, "traceparent").map(str::to_owned);
            assert_eq!(is_traced, (movie == 61 || movie % 3 != 0).then(|| value(movie)), "{line}");
            seen += 1;
        }
    }
    assert!(seen >= 2 * 59, "{seen} lines");

    // A malformed value is ignored, also where it would forge a line.
    let forged = format!("{} level=ERROR forged=1", value(70));
    for values in [&[forged.as_str()][..], &["forged"], &["00-forged-00f067aa0ba902b7-01"], &[&value(71), &value(72)]] {
        ask(&cluster, "read", &of_movie(3), values).await;
    }
    ask(&cluster, "read", &of_movie(4), &[&value(73)]).await;
    cluster.member("f1").until_logged(&value(73)).await;
    for text in ["forged", &value(70), &value(71), &value(72)] {
        assert_eq!(lines_with(&mut cluster, text), Vec::<String>::new());
    }

    by_the_nats_cli(&world, &mut cluster).await;
    cluster.finish().await;
}

/// As `docs/WATCHING.md` shows it.
async fn by_the_nats_cli(world: &World, cluster: &mut Cluster<'_>) {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let header = format!("traceparent:00-{trace}-00f067aa0ba902b7-01");
    let mut command = tokio::process::Command::new("nats");
    command.args(["--server", &world.broker.url(), "req", "ratings.frontend.read", "-H", &header]);
    command.arg(r#"{"user_id": 7001, "movie_id": 1}"#).env("HOME", world.path("home")).env_remove("NATS_CONTEXT");
    let output = match command.stdin(Stdio::null()).kill_on_drop(true).output().await {
        Ok(output) => output,
        Err(error) => return println!("skipped: no nats CLI: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(r#""rating":4.5"#), "{text}");
    while !["r1", "r2"].iter().any(|name| cluster.member(name).log().contains(trace)) {
        tokio::task::yield_now().await;
    }
    cluster.member("f1").until_logged(trace).await;
    let lines = lines_with(cluster, trace);
    for (process, words) in [("frontend=f1-", "query"), ("frontend=f1-", "answers"), ("replica=r", "query")] {
        assert!(lines.iter().any(|line| line.contains(process) && line.contains(words)), "{process} {lines:#?}");
    }
    println!("{}", lines.join("\n"));
}

#[tokio::test]
async fn traceparent_is_logged_by_a_replica_that_answers_clients() {
    let world = World::new(ROLES).await;
    let mut cluster = world.cluster("ratings").replica_arguments(&["-v"]).empty().await;
    cluster.start_replica("r1", &["--frontend"]);
    cluster.start_replica("r2", &[]);
    cluster.until_ready().await;
    ask(&cluster, "create", &json!({"user_id": 7001, "movie_id": 1, "rating": 3}), &[&value(1)]).await;
    ask(&cluster, "read", &json!({"user_id": 7001, "movie_id": 1}), &[&value(2)]).await;
    for n in [1, 2] {
        let member = cluster.member("r1");
        member.until_logged(&format!("traceparent={}", value(n))).await;
        let log = member.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&value(n))).collect();
        assert!(lines.iter().any(|line| line.contains("answers")) && lines.len() >= 2, "{lines:?}");
    }
    cluster.finish().await;
}
