//! The logs of a cluster, what it tells of them in its terminal, and the signals that it leaves ignored.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::SCRIPT;
use crate::support::{Place, signal_to, text, until};

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

#[test]
fn kept_logs_hold_every_step_of_one_run_and_those_of_an_earlier_one_are_beside_them() {
    let place = Place::new();
    let logs = place.path("my logs");
    let run = |replicas: &str| {
        let output = place.run(&["--port", "0", "--logs", logs.to_str().unwrap(), "1", replicas, "42"], SCRIPT);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    run("2");
    assert!(read(&logs, "nats-server.log").contains("Server is ready"));
    assert!(read(&logs, "f1.log").contains("DEBUG"), "{}", read(&logs, "f1.log"));
    let first = read(&logs, "r2.log");
    for replica in [read(&logs, "r1.log"), first.clone()] {
        assert!(replica.contains("DEBUG") && replica.contains("user=42 movie=1 rating=4.5"), "{replica}");
        for line in replica.lines() {
            assert!(line.starts_with("20") && line.as_bytes()[10] == b'T', "a line begins with its date: {line:?}");
            let rust = ["UserId(", "MovieId(", "Some(", "Read {", "ReplicaId(", "=[", "\"r1-"];
            assert!(!rust.iter().any(|mark| line.contains(mark)), "types of the program are in {line:?}");
        }
        assert!(replica.contains("leaves"), "the last lines are there: {replica}");
    }
    // A log of that name is another run's.
    std::fs::write(logs.join("notes.log"), "mine").unwrap();
    let told = run("1");
    assert!(!logs.join("r2.log").exists(), "this run has no r2");
    let earlier: Vec<PathBuf> =
        std::fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert_eq!(earlier.len(), 1, "{earlier:?}");
    assert_eq!(read(&earlier[0], "r2.log"), first);
    assert!(told.contains(&format!("earlier logs {}", earlier[0].display())), "{told}");
    assert_eq!(read(&logs, "notes.log"), "mine");
    place.assert_nothing_left();
}

#[test]
fn temporary_logs_are_short_and_an_outage_of_all_replicas_is_told() {
    let place = Place::new();
    let mut cluster = place.start(&["--port", "0", "--no-client", "--status", "offline", "1", "2"]);
    cluster.until_told("no replica serves, so requests fail as UNAVAILABLE: r1 (OFFLINE), r2 (OFFLINE)");
    let replica = &cluster.ids("replicas ")[0];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(cluster.url()).await.unwrap();
        let payload = r#"{"mode":"measured"}"#;
        client.request(format!("ratings.replica.{replica}.status"), payload.into()).await.unwrap();
    });
    cluster.until_told("a replica serves again: r1 (ACTIVE), r2 (OFFLINE)");
    let logs = cluster.logs();
    for name in ["f1.log", "r1.log", "r2.log"] {
        let log = read(&logs, name);
        assert!(log.contains(" INFO ") && !log.contains("DEBUG"), "{name}: {log}");
    }
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0));
    assert_eq!(cluster.told().matches(" serves").count(), 2, "each once: {}", cluster.told());
    place.assert_nothing_left();
}

/// Limits how large the files of a process may become, as a nearly full disk does; `None` lifts that.
#[cfg(target_os = "linux")]
fn limit_files(id: u32, bytes: Option<u64>) {
    let process = Pid::from_raw(i32::try_from(id).unwrap());
    prlimit(process, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn full_disk_and_dropped_log_lines_are_told_in_the_terminal() {
    let place = Place::new();
    let (logs, data) = (place.path("logs"), place.path("data"));
    let arguments =
        ["--port", "0", "--no-client", "--logs", logs.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let mut cluster = place.start_after("trap '' XFSZ", &[&arguments[..], &["1", "2"]].concat());
    let url = cluster.url();
    let client = |arguments: &[&str], input: &str| {
        let output = place.run(&[&["client"], arguments, &["--no-state", "--server", &url]].concat(), input);
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let update = |movie: &str| client(&["42", "create", movie, "4.5"], "");
    // The logs become longer than what the terminal shows, which is a file here.
    let rows: String = (1..=60).map(|user| format!("{user},5,4.0,964982703\n")).collect();
    client(&["import", "-"], &format!("userId,movieId,rating,timestamp\n{rows}"));
    until("the import is in the log", || read(&logs, "f1.log").len() > 8192);
    // The disk of the logs is full.
    limit_files(cluster.id(), Some(8192));
    update("2");
    let path = logs.join("f1.log");
    let cannot = format!("frontend f1: its log {} cannot be written (File too large", path.display());
    cluster.until_told(&cannot);
    limit_files(cluster.id(), None);
    update("3");
    cluster.until_told(&format!("frontend f1: its log {} is written again; ", path.display()));
    until("the log counts what it lacks", || read(&logs, "f1.log").contains("log lines were dropped"));
    let log = read(&logs, "f1.log");
    assert!(log.lines().all(|line| line.is_empty() || line.starts_with("20")), "no line is torn: {log}");

    // The disk of a replica is full.
    limit_files(place.member("replica", "r1"), Some(4096));
    update("4");
    cluster.until_told("replica r1: is OFFLINE: it cannot save any more");
    limit_files(place.member("replica", "r1"), None);
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0));
    place.assert_nothing_left();
}

#[test]
#[cfg(target_os = "linux")]
fn signals_ignored_at_the_start_stay_ignored_in_all_processes_and_the_rest_ends_it_in_good_order() {
    let nohup = "set -- nohup \"$@\"";
    for (prelude, ignored, ending) in
        [(nohup, Signal::HUP, Signal::INT), ("trap '' TERM INT", Signal::TERM, Signal::HUP)]
    {
        let place = Place::new();
        let logs = place.path("logs");
        let arguments = ["--port", "0", "--no-client", "--logs", logs.to_str().unwrap(), "1", "1"];
        let mut cluster = place.start_after(prelude, &arguments);
        // The broker handles signals in its own way, and its guard hands none on.
        let natters = place.processes().into_iter().filter(|(_, line)| !line.contains("nats-server"));
        let signalled: Vec<u32> = match ignored {
            Signal::HUP => natters.map(|(id, _)| id).collect(),
            // The launcher ends its children with this signal, so the test sends it to the launcher only.
            _ => vec![cluster.id()],
        };
        assert!(
            signalled.len() == 5 || ignored != Signal::HUP,
            "launcher, frontend, replica and guards: {signalled:?}"
        );
        signalled.iter().for_each(|&id| signal_to(id, ignored));
        let update = ["client", "42", "create", "1", "4.5", "--no-state", "--server", &cluster.url()];
        let output = place.run(&update, "");
        assert!(output.status.success(), "{}", text(&output.stderr));
        for &id in &signalled {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
            assert!(!status.contains("State:\tZ"), "{prelude}: {status}");
        }
        cluster.signal(ending);
        assert_eq!(cluster.wait().code(), Some(0), "{prelude}: {}", cluster.told());
        assert!(read(&logs, "r1.log").contains("leaves") && read(&logs, "f1.log").contains("leaves"), "{prelude}");
        place.assert_nothing_left();
    }
}

#[test]
fn log_lines_that_a_member_drops_are_told_and_its_work_goes_on() {
    let place = Place::new();
    let logs = place.path("logs");
    let arguments = ["--port", "0", "--no-client", "--logs", logs.to_str().unwrap(), "1", "1"];
    let mut cluster = place.start(&arguments);
    // As after ctrl-z: the logs are not read on.
    cluster.signal(Signal::STOP);
    let mut rows = "userId,movieId,rating,timestamp\n".to_owned();
    for (user, movie) in (1000..1400).flat_map(|user| (1..=50).map(move |movie| (user, movie))) {
        rows.push_str(&format!("{user},{movie},4.0,964982703\n"));
    }
    let output = place.run(&["client", "import", "-", "--no-state", "--server", &cluster.url()], &rows);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!cluster.told().contains("dropped"), "{}", cluster.told());
    cluster.signal(Signal::CONT);
    cluster.until_told("log lines were dropped");
    assert!(!cluster.told().contains("no replica serves"), "the launcher itself was stopped: {}", cluster.told());
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0));
    place.assert_nothing_left();
}
