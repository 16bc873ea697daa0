//! `client import`, as a process: interrupted, gone on with, and with a replica killed under it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Instant;

use natter_tests::harness::{Cluster, DEADLINE, Encoding, World};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::ROLES;

const MOVIES: [u64; 8] = [1, 2, 3, 5, 7, 8, 9, 10];

/// Writes a file of ratings of the small data set's movies by this number of users, none of whom has ratings there.
fn write_ratings(world: &World, users: u64) -> (PathBuf, BTreeMap<(u64, u64), f64>) {
    let ratings: BTreeMap<(u64, u64), f64> = (100_000..100_000 + users)
        .flat_map(|user| MOVIES.map(|movie| ((user, movie), ((user * 7 + movie) % 10 + 1) as f64 / 2.0)))
        .collect();
    let line = |((user, movie), rating): (&(u64, u64), &f64)| format!("{user},{movie},{rating:.1},964982703\n");
    let path = world.path("ratings.csv");
    let text = format!("userId,movieId,rating,timestamp\n{}", ratings.iter().map(line).collect::<String>());
    std::fs::write(&path, text).unwrap();
    (path, ratings)
}

fn start_import(world: &World, arguments: &[&str]) -> Child {
    let mut command = world.role("client");
    command.arg("import").args(arguments).args(["--json", "--server", &world.broker.url()]);
    let mut command = Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

async fn end(import: Child) -> Output {
    tokio::time::timeout(DEADLINE, import.wait_with_output()).await.expect("ends by itself").unwrap()
}

fn report(output: &Output) -> Value {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    let object: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"));
    object["value"].clone()
}

/// Waits until this number of users has rated movie 1, while the import runs.
async fn until_rated(cluster: &Cluster<'_>, import: &mut Child, users: u64) {
    let started = Instant::now();
    loop {
        let average = cluster.wire.ask("average", json!({"movie_id": 1})).await.ok();
        if average["value"]["count"].as_u64().unwrap() >= users {
            return;
        }
        assert!(import.try_wait().unwrap().is_none(), "the import ended before half of it was done");
        assert!(started.elapsed() < DEADLINE, "the import gets nowhere");
    }
}

/// Reads all ratings back, in batches.
async fn assert_all_there(cluster: &Cluster<'_>, ratings: &BTreeMap<(u64, u64), f64>) {
    for chunk in ratings.iter().collect::<Vec<_>>().chunks(2000) {
        let read = |((user, movie), _): &(&(u64, u64), &f64)| json!({"op": "read", "user_id": user, "movie_id": movie});
        let map = json!({"operations": chunk.iter().map(read).collect::<Vec<_>>()});
        let reply = cluster.wire.ask_in(Encoding::MessagePack, "frontend.batch", &map).await.unwrap().ok();
        for ((key, rating), outcome) in chunk.iter().zip(reply["outcomes"].as_array().unwrap()) {
            assert_eq!(outcome["value"]["rating"], **rating, "{key:?}: {outcome}");
        }
    }
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_with_the_same_command_and_takes_effect_once() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(2, 3).await;
    let (path, ratings) = write_ratings(&world, 4000);
    let path = path.to_str().unwrap();
    let mut import = start_import(&world, &[path, "--in-flight", "200"]);
    until_rated(&cluster, &mut import, 1000).await;
    import.kill().await.unwrap();

    let output = end(start_import(&world, &[path])).await;
    let whole = report(&output);
    let before = whole["by_earlier_runs"].as_u64().unwrap();
    assert!((1..32_000).contains(&before), "{whole}");
    // Updates that the first run had sent without an answer are known by their ids: nothing was there before, nothing
    // is changed.
    assert_eq!((&whole["updated"], &whole["unchanged"]), (&json!(0), &json!(0)), "{whole}");
    assert_eq!(whole["created"], 32_000 - before, "{whole}");
    assert_all_there(&cluster, &ratings).await;
    let average = cluster.wire.ask("average", json!({"movie_id": 7})).await.ok();
    assert_eq!(average["value"]["count"], 4000);

    // Another client changes a rating. The same command again leaves it, and an import that begins anew does not.
    let change =
        json!({"user_id": 100_000, "movie_id": 1, "rating": if ratings[&(100_000, 1)] == 5.0 { 4.5 } else { 5.0 }});
    cluster.wire.ask("update", change.clone()).await.ok();
    let again = report(&end(start_import(&world, &[path])).await);
    assert_eq!(again["by_earlier_runs"], 32_000);
    let read = cluster.wire.ask("read", json!({"user_id": 100_000, "movie_id": 1})).await.ok();
    assert_eq!(read["value"]["rating"], change["rating"]);
    let anew = report(&end(start_import(&world, &[path, "--again"])).await);
    assert_eq!((&anew["created"], &anew["updated"], &anew["unchanged"]), (&json!(0), &json!(1), &json!(31_999)));
    assert_all_there(&cluster, &ratings).await;
    cluster.until_agreed(&["r1", "r2", "r3"]).await;
    cluster.finish().await;
}

#[tokio::test]
async fn an_import_goes_on_while_a_replica_is_killed_and_another_one_joins() {
    let world = World::new(ROLES).await;
    let mut cluster = world.small_cluster(1, 3).await;
    let (path, ratings) = write_ratings(&world, 4000);
    let mut import = start_import(&world, &[path.to_str().unwrap(), "--in-flight", "400"]);
    until_rated(&cluster, &mut import, 500).await;
    cluster.member("r1").kill().await;
    cluster.start_replica("r4", &[]);
    let whole = report(&end(import).await);
    assert_eq!(whole["refused"], 0);
    let done = ["created", "updated", "unchanged"].map(|what| whole[what].as_u64().unwrap());
    assert_eq!(done.iter().sum::<u64>(), 32_000, "{whole}");
    assert_all_there(&cluster, &ratings).await;
    cluster.until_agreed(&["r2", "r3", "r4"]).await;
    cluster.finish().await;
}

#[tokio::test]
async fn what_is_not_imported_is_told_with_its_line_and_the_exit_status_says_so() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 2).await;
    let path = world.path("bad.csv");
    std::fs::write(&path, "userId,movieId,rating\n1,1,4.0\n1,2,5.0\n7,4,3.0\n7,7,3.0\n7,7,9\n").unwrap();
    let output = end(start_import(&world, &[path.to_str().unwrap()])).await;
    assert_eq!(output.status.code(), Some(3));
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let whole: Value = serde_json::from_str(&text).unwrap();
    let counts = ["created", "updated", "unchanged", "refused"].map(|what| whole["value"][what].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1, 2], "{whole}");
    assert!(errors.contains("bad.csv:4: ") && errors.contains("(MOVIE_NOT_FOUND)"), "{errors}");
    assert!(errors.contains("bad.csv:6: rating: \"9\" is none of"), "{errors}");

    // Import from standard input.
    let mut command = Command::from(world.role("client"));
    command.args(["import", "-", "--server", &world.broker.url()]);
    let mut import = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut input = import.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, b"userId,movieId,rating\n8,1,2.5\n8,2,1.5\n").await.unwrap();
    drop(input);
    let output = end(import).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains(": 2 created, 0 updated, 0 unchanged, 0 refused"), "{text}");

    // Import of a wrong file, and then one without a frontend.
    let output = end(start_import(&world, &[world.path("small/movies.csv").to_str().unwrap()])).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && errors.contains("its first line is"), "{errors}");
    cluster.finish().await;
    let output = end(start_import(&world, &[path.to_str().unwrap(), "--again", "--patience", "1s"])).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(5) && errors.contains("no frontend serves"), "{errors}");
}
