//! `client shiviz`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Output;

use natter_tests::harness::{Session, World, data};
use serde_json::json;

use crate::ROLES;

type Clock = BTreeMap<String, u64>;

/// Events as ShiViz reads them by its default expression: a host, a clock in braces, and the text on the next line.
fn read(log: &str) -> Vec<(String, Clock, String)> {
    let lines: Vec<&str> = log.lines().collect();
    let event = |pair: &[&str]| {
        let [head, text] = pair else { panic!("an event has two lines: {pair:?}") };
        let (host, clock) = head.split_once(' ').expect("a host and a clock");
        assert!(clock.starts_with('{') && clock.ends_with('}'), "{head}");
        (host.to_owned(), serde_json::from_str(clock).unwrap(), (*text).to_owned())
    };
    lines.chunks(2).map(event).collect()
}

/// The numbers of messages in the logs that were sent, each with its process and time, and those that were received.
fn messages(folder: &Path) -> Vec<(String, String, String, String)> {
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "log") {
            continue;
        }
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(&format!("{name}=")));
            let message = line.split_whitespace().nth(2).unwrap_or_default();
            if let (Some(wire), Some(process)) = (field("wire"), field("process")) {
                let time = line.split(' ').next().unwrap();
                messages.push((message.to_owned(), wire.to_owned(), process.to_owned(), time.to_owned()));
            }
        }
    }
    messages
}

fn assert_clocks(events: &[(String, Clock, String)]) {
    let mut last: HashMap<&str, Clock> = HashMap::new();
    let mut seen: Vec<&Clock> = Vec::new();
    for (host, clock, text) in events {
        let before = last.get(host.as_str()).cloned().unwrap_or_default();
        let own = before.get(host).copied().unwrap_or_default();
        assert_eq!(clock.get(host), Some(&(own + 1)), "the own entry counts by one: {host} {clock:?} {text}");
        assert!(before.iter().all(|(id, count)| clock.get(id) >= Some(count)), "no entry goes back: {text}");
        let learns = clock.iter().any(|(id, count)| id != host && before.get(id) != Some(count));
        if learns {
            assert!(text.starts_with("receives "), "only a receive learns of others: {host} {clock:?} {text}");
            // The new clock is the one before, merged with the clock of one earlier event of another process.
            let merged = |other: &Clock| {
                let mut merged = before.clone();
                for (id, count) in other {
                    let entry = merged.entry(id.clone()).or_default();
                    *entry = (*entry).max(*count);
                }
                merged.insert(host.clone(), own + 1);
                merged == *clock
            };
            assert!(
                seen.iter().rev().any(|other| merged(other)),
                "no earlier event is its cause: {host} {clock:?} {text}"
            );
        }
        last.insert(host, clock.clone());
        seen.push(clock);
    }
}

fn error(output: &Output) -> String {
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn logs_of_a_run_become_vector_clocks_in_which_each_receive_is_after_its_send() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let plan = world.cluster("ratings").database(&database);
    let cluster = plan.frontend_arguments(&["-v"]).replica_arguments(&["-v"]).start(1, 3).await;
    let mut session = Session::new(&cluster.wire);
    for movie in [2, 3, 5] {
        session.ask("create", json!({"user_id": 42, "movie_id": movie, "rating": 4.5})).await.ok();
        session.ask("read", json!({"user_id": 42, "movie_id": movie})).await.ok();
    }
    cluster.until_agreed(&["r1", "r2", "r3"]).await;
    cluster.finish().await;

    let folder = world.directory().to_str().unwrap().to_owned();
    let output = world.role("client").args(["shiviz", &folder]).output().unwrap();
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{notes}");
    let log = String::from_utf8(output.stdout).unwrap();
    let events = read(&log);
    assert_clocks(&events);
    let hosts: std::collections::BTreeSet<&str> = events.iter().map(|(host, ..)| host.as_str()).collect();
    assert_eq!(hosts.len(), 4, "{hosts:?}");

    // Every message that was received was sent, by the logs themselves, and before that.
    let messages = messages(world.directory());
    let sent: HashMap<&str, &str> = messages
        .iter()
        .rev()
        .filter(|(message, ..)| message == "sends")
        .map(|(_, wire, _, time)| (wire.as_str(), time.as_str()))
        .collect();
    let received: Vec<_> = messages.iter().filter(|(message, ..)| message == "receives").collect();
    assert!(received.len() > 30, "{}", received.len());
    for (_, wire, process, time) in &received {
        let at = sent.get(wire.as_str()).unwrap_or_else(|| panic!("{process} receives {wire}, which nobody sends"));
        assert!(*at <= time.as_str(), "{process} receives {wire} at {time}, which is sent at {at}");
    }
    for kind in ["receives update", "receives confirm", "receives query", "receives gossip", "receives replies"] {
        assert!(events.iter().any(|(_, clock, text)| text.starts_with(kind) && clock.len() > 1), "{kind}");
    }
    assert!(notes.is_empty(), "{notes}");

    // A log with dropped lines, and a folder without logs.
    let broken = world.path("broken");
    std::fs::create_dir(&broken).unwrap();
    let shiviz = |folder: &Path| world.role("client").arg("shiviz").arg(folder).output().unwrap();
    assert!(error(&shiviz(&broken)).contains("no log of a frontend or replica is there"));
    let mut text = std::fs::read_to_string(world.path("ratings-r1.log")).unwrap();
    text += "2026-11-30T12:03:04.123456Z WARN  7 log lines were dropped, as they could not be written in time\n";
    std::fs::write(broken.join("r1.log"), text).unwrap();
    let error = error(&shiviz(&broken));
    assert!(error.contains("r1.log, line") && error.contains("7 log lines were dropped"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
