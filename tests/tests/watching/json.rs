//! `--json`: one shape for all commands.

use std::process::{Command, Output, Stdio};

use natter_tests::harness::{Session, World, data};
use serde_json::{Value, json};

use crate::ROLES;

const PROTOCOL: &str = include_str!("../../../docs/PROTOCOL.md");

/// Runs Python's own reader of JSON over this output. Without a Python, a line says so.
fn read_by_python(output: &Output) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &output.stdout).unwrap();
    let mut python = Command::new("python3");
    python.args(["-m", "json.tool", "--json-lines"]).arg(file.path());
    match python.stdin(Stdio::null()).output() {
        Ok(read) => assert!(read.status.success(), "{}: {output:?}", String::from_utf8_lossy(&read.stderr)),
        Err(error) => println!("skipped: no python3: {error}"),
    }
}

fn lines(output: &Output) -> Vec<Value> {
    read_by_python(output);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value.as_object().unwrap_or_else(|| panic!("{value}")).keys().cloned().collect();
    keys.sort();
    keys
}

fn sorted(words: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    words.sort();
    words
}

/// The row of the documented table that begins with this command has all these fields.
fn assert_documented(command: &str, fields: &[&str]) {
    let section = PROTOCOL.split("## Output of the client with --json").nth(1).unwrap();
    let row = section.lines().find(|line| line.starts_with("| ") && line.contains(&format!("`{command}`")));
    let row = row.unwrap_or_else(|| panic!("no row for {command}"));
    for field in fields {
        assert!(row.contains(&format!("`{field}`")), "{field} is missing in {row}");
    }
}

const RATING: &[&str] = &["user_id", "movie_id", "title", "rating", "timestamp", "update_id"];

#[tokio::test]
async fn every_result_is_one_object_a_line_with_the_documented_fields() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let cluster = world.cluster("ratings").database(&database).replica_arguments(&["--changes"]).start(1, 2).await;
    let csv = world.path("ratings.csv");
    std::fs::write(&csv, "userId,movieId,rating\n9,1,4.0\n").unwrap();
    let (csv, pages) = (csv.to_str().unwrap(), world.path("pages").to_str().unwrap().to_owned());
    const IMPORT: &[&str] =
        &["created", "updated", "unchanged", "refused", "by_earlier_runs", "earlier_runs", "seconds", "dry_run"];
    let answers: [(&[&str], &[&str]); 7] = [
        (&["42", "create", "3", "4.5"], RATING),
        (&["42", "update", "3", "4"], RATING),
        (&["42", "read", "3"], RATING),
        (&["42", "all"], &["ratings", "total", "next"]),
        (&["average", "3"], &["movie_id", "title", "average", "count"]),
        (&["search", "jumanji"], &["movies"]),
        (&["42", "delete", "3"], RATING),
    ];
    for (arguments, fields) in answers {
        let output = world.run("client", &[arguments, &["--json"]].concat()).await;
        let [answer] = &lines(&output)[..] else { panic!("{output:?}") };
        assert!(output.status.success());
        assert_eq!(keys(answer), sorted(&["value", "label", "replicas"]), "{answer}");
        assert_eq!(keys(&answer["value"]), sorted(fields), "{answer}");
        let command = arguments.iter().find(|word| !word.starts_with("42")).unwrap();
        assert_documented(command, fields);
    }
    let found: [(&[&str], &str, &[&str]); 8] = [
        (&["import", csv], "import", IMPORT),
        (&["import", csv, "--dry-run"], "import", IMPORT),
        (&["replica", "r1"], "replica", &["id", "status", "mode", "diverged", "lost"]),
        (
            &["status"],
            "status",
            &["time", "prefix", "cluster", "converged", "since", "newest_update", "frontends", "replicas", "hidden"],
        ),
        (&["completions", "bash"], "completions", &["text"]),
        (&["man"], "man", &["text"]),
        (&["man", &pages], "man", &["folder"]),
        (&["watch", "--count", "1"], "watch", &[]),
    ];
    for (arguments, command, fields) in found {
        let arguments = [arguments, &["--json"]].concat();
        let running = world.run("client", &arguments);
        let output = if command == "watch" {
            // Changes until it has seen one.
            let mut session = Session::new(&cluster.wire);
            let mut running = std::pin::pin!(running);
            let mut stars = [3.0, 3.5].into_iter().cycle();
            session.ask("create", json!({"user_id": 42, "movie_id": 2, "rating": 5.0})).await.ok();
            loop {
                let change = json!({"user_id": 42, "movie_id": 2, "rating": stars.next()});
                tokio::select! {
                    output = &mut running => break output,
                    answer = session.ask("update", change) => drop(answer.ok()),
                }
            }
        } else {
            running.await
        };
        let [result] = &lines(&output)[..] else { panic!("{output:?}") };
        assert!(output.status.success(), "{output:?}");
        assert_eq!(keys(result), ["value"], "{result}");
        if command == "watch" {
            assert!(RATING.iter().all(|field| result["value"].get(field).is_some()), "{result}");
        } else {
            assert_documented(command, if command == "status" { &[] } else { fields });
            let given = keys(&result["value"]);
            assert_eq!(given, sorted(fields), "{result}");
        }
    }

    let traced = world.run("client", &["42", "trace", "read", "2", "--json"]).await;
    let [answer] = &lines(&traced)[..] else { panic!("{traced:?}") };
    assert_eq!(keys(answer), sorted(&["value", "label", "replicas", "trace"]), "{answer}");
    assert_eq!(keys(&answer["trace"]), sorted(&["steps", "waits", "notes"]), "{answer}");
    assert_eq!(keys(&answer["trace"]["steps"][0]), sorted(&["ms", "kind", "from", "to", "text", "took_ms"]));
    assert_documented("trace COMMAND", &["steps", "waits", "notes", "took_ms"]);

    let tap = world.run("client", &["tap", "--duration", "2s", "--json"]).await;
    let tapped = lines(&tap);
    assert!(tapped.len() > 1, "{tapped:?}");
    for line in &tapped {
        assert_eq!(keys(line), ["value"], "{line}");
        assert!(["time", "kind", "text"].iter().all(|field| line["value"][field].is_string()), "{line}");
    }
    cluster.finish().await;
}

#[tokio::test]
async fn every_error_is_one_last_line_with_the_documented_fields() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 1).await;
    let bad = world.path("bad.csv");
    std::fs::write(&bad, "userId,movieId,rating\n9,1,4.0\n9,2,4.7\n").unwrap();
    let (bad, none) = (bad.to_str().unwrap(), world.path("none").to_str().unwrap().to_owned());
    let nowhere = ["--prefix", "nowhere", "--patience", "0s"];
    type Words<'a> = &'a [&'a str];
    let cases: [(Words<'_>, Words<'_>, &str, Words<'_>); 13] = [
        (&["42", "create", "1", "4"], &[], "RATING_EXISTS", &[]),
        (&["42", "update", "3", "4"], &[], "RATING_NOT_FOUND", &[]),
        (&["42", "delete", "3"], &[], "RATING_NOT_FOUND", &[]),
        (&["42", "read", "999999"], &[], "MOVIE_NOT_FOUND", &[]),
        (&["42", "all"], &nowhere, "NO_FRONTEND", &[]),
        (&["average", "(1995)"], &[], "BAD_REQUEST", &[]),
        (&["search"], &[], "USAGE", &[]),
        (&["42", "trace", "update", "3", "4"], &[], "RATING_NOT_FOUND", &["trace"]),
        (&["import", bad], &["--no-state"], "LINES_REFUSED", &["value"]),
        (&["status"], &nowhere, "NO_CLUSTER", &[]),
        (&["replica", "r9"], &[], "REPLICA_NOT_FOUND", &[]),
        (&["shiviz", &none], &[], "FILE", &[]),
        (&["watch", "--movie", "no such title"], &[], "MOVIE_NOT_FOUND", &[]),
    ];
    for (arguments, options, name, more) in cases {
        let output = if arguments[0] == "shiviz" {
            let mut command = world.role("client");
            command.args(arguments).arg("--json").output().unwrap()
        } else {
            world.run("client", &[arguments, options, &["--json"]].concat()).await
        };
        let lines = lines(&output);
        let [error] = &lines[..] else { panic!("{output:?}") };
        assert!(!output.status.success(), "{output:?}");
        assert_eq!(error["name"], name, "{arguments:?}: {error}");
        assert_eq!(keys(error), sorted(&[&["code", "name", "message", "update_id"], more].concat()), "{error}");
        assert!(PROTOCOL.contains(&format!("`{name}`")), "{name}");
    }
    cluster.finish().await;
}
