//! The launcher as people run it: the real program, with a broker on a free port.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "launcher/console.rs"]
mod console;
#[path = "launcher/lessons.rs"]
mod lessons;
#[path = "launcher/logs.rs"]
mod logs;
#[path = "launcher/observer.rs"]
mod observer;
#[path = "launcher/page.rs"]
mod page;
#[allow(unreachable_pub, dead_code, reason = "a part of the harness of other tests")]
#[path = "../../../tests/src/harness/pseudo_terminal.rs"]
mod pseudo_terminal;
#[path = "launcher/sites.rs"]
mod sites;
mod support;

use std::net::{TcpListener, TcpStream};

use natter_broker::environment::Environment;
use natter_processes::nats_server::{NatsServer, ServerSettings, find_or_fetch, print_notice};
use rustix::process::Signal;
use support::{Place, REMAINS, assert_refused, broken_database, signal_to, text};

/// Creates, reads and deletes the rating of movie 1.
const SCRIPT: &str = "2\n1\n4.5\n3\n1\n5\n1\n8\n";

#[test]
fn scripted_menu_works_and_leaves_nothing_behind() {
    let place = Place::new();
    let output = place.run(&["--port", "0", "2", "3", "4242"], SCRIPT);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}\n{told}");
    assert!(said.contains("user 4242 rated"), "{said}\n{told}");
    for words in ["2 frontends and 3 replicas", "nats://127.0.0.1:", "http://127.0.0.1:", "r3-", "f2-", "tail -F "] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("error"), "{told}");
    place.assert_nothing_left();
}

#[test]
fn end_of_input_ends_it() {
    let place = Place::new();
    let output = place.run(&["--port", "0", "1", "1"], "");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("standard input is at its end") && told.contains("--no-client"), "{told}");
    place.assert_nothing_left();
}

#[test]
fn killed_launcher_leaves_nothing_for_long() {
    for arguments in [&["--port", "0", "--no-client", "1", "2"][..], &["--port", "0", "1", "2", "42"]] {
        let place = Place::new();
        let mut cluster = place.start(arguments);
        let address = cluster.url().replace("nats://", "");
        if cfg!(target_os = "linux") {
            // The launcher, and a guard and a process for each member and the broker.
            assert_eq!(place.processes().len(), 1 + 2 * 4, "{:?}", place.processes());
        }
        cluster.signal(Signal::KILL);
        cluster.wait();
        place.assert_nothing_left_within(REMAINS);
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn signals_end_it_in_good_order() {
    for (signal, arguments, status) in [
        (Signal::TERM, &["--no-client"][..], 0),
        (Signal::INT, &["--no-client"], 0),
        (Signal::TERM, &["42"], 143),
        (Signal::HUP, &["42"], 129),
        // The menu asks for a choice: ctrl-c is a way to quit.
        (Signal::INT, &["42"], 0),
    ] {
        let place = Place::new();
        let mut cluster = place.start(&[&["--port", "0", "1", "1"], arguments].concat());
        if arguments == ["42"] {
            cluster.say("nonsense\n");
            cluster.until_said("nonsense"); // the menu is there
        }
        cluster.signal(signal);
        let ended = cluster.wait();
        assert_eq!(ended.code(), Some(status), "{signal:?} {arguments:?}: {}", cluster.told());
        place.assert_nothing_left();
    }
}

#[test]
fn signal_during_the_start_ends_it() {
    let place = Place::new();
    let mut child = place.command(&["--port", "0", "--no-client", "1", "3"]).spawn().unwrap();
    support::until("the first child runs", || place.processes().len() > 1 || cfg!(not(target_os = "linux")));
    signal_to(child.id(), Signal::TERM);
    let status = child.wait().unwrap();
    assert!([Some(0), Some(143)].contains(&status.code()), "{status:?}");
    place.assert_nothing_left();
}

#[test]
#[cfg(target_os = "linux")]
fn replica_that_ends_is_told_of_and_the_rest_goes_on() {
    let place = Place::new();
    let mut cluster = place.start(&["--port", "0", "--no-client", "1", "3"]);
    signal_to(place.member("replica", "r2"), Signal::KILL);
    cluster.until_told("replica r2 was ended by signal 9; the others go on");
    let (url, create) = (cluster.url(), ["42", "create", "1", "4.5", "--no-state", "--server"]);
    let output = place.run(&[&["client"], &create[..], &[&url]].concat(), "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0));
    assert_eq!(cluster.told().matches("ended").count(), 1, "{}", cluster.told());
    place.assert_nothing_left();
}

#[test]
#[cfg(target_os = "linux")]
fn end_of_the_broker_is_the_end() {
    let place = Place::new();
    let mut cluster = place.start(&["--port", "0", "1", "1", "42"]);
    let is_broker = |line: &str| line.contains("nats-server") && !line.contains(" guard ");
    let (broker, _) = place.processes().into_iter().find(|(_, line)| is_broker(line)).unwrap();
    signal_to(broker, Signal::KILL);
    assert_eq!(cluster.wait().code(), Some(1));
    assert!(cluster.told().contains("error: nats-server was ended by signal 9"), "{}", cluster.told());
    place.assert_nothing_left();
}

#[test]
fn broker_that_runs_already_is_used_and_stays() {
    let (place, guest) = (Place::new(), Place::new());
    let mut host = place.start(&["--port", "0", "--no-client", "1", "1"]);
    let url = host.url();
    // With the same names under the same prefix: it must not take the others' members for its own.
    let output = guest.run(&["--server", &url, "1", "2", "42"], SCRIPT);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&url) && !text(&output.stderr).contains("monitoring"));
    assert!(guest.processes().is_empty());
    assert!(TcpStream::connect(url.replace("nats://", "")).is_ok());
    host.signal(Signal::TERM);
    assert_eq!(host.wait().code(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn port_in_use_is_named() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = place.run(&["--port", &port, "1", "1", "42"], SCRIPT);
    assert_refused(&place, &output, &[&port, "another program uses"]);
}

#[test]
fn broken_database_is_named_with_its_line() {
    let place = Place::new();
    let folder = place.path("broken");
    broken_database(&folder);
    let output = place.run(&["--port", "0", "--database", folder.to_str().unwrap(), "1", "2", "42"], SCRIPT);
    assert_refused(&place, &output, &["ratings.csv", "3", "excellent"]);

    let missing = place.path("missing");
    let output = place.run(&["--port", "0", "--database", missing.to_str().unwrap()], SCRIPT);
    assert_refused(&place, &output, &["--database", "missing"]);
}

#[test]
fn broker_that_is_not_there_is_named() {
    let place = Place::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = place.run(&["--server", &format!("nats://{free}"), "1", "1"], SCRIPT);
    assert_refused(&place, &output, &[&free.to_string(), "connection refused"]);
}

#[test]
fn wrong_lines_are_refused_before_anything_starts() {
    let place = Place::new();
    for line in
        [&["1", "0"][..], &["65"], &["--nonsense"], &["--user", "ann"], &["replica", "--nonsense"], &["client", "x"]]
    {
        let output = place.run(line, "");
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        assert_refused(&place, &output, &[]);
    }
}

#[test]
fn roles_are_in_the_program() {
    let place = Place::new();
    for role in ["client", "frontend", "replica", "observer"] {
        let output = place.run(&[role, "--help"], "");
        assert!(output.status.success());
        assert!(text(&output.stdout).contains(&format!("Usage: cluster {role} ")), "{}", text(&output.stdout));
    }
}

#[test]
fn reason_of_a_member_is_told_where_the_broker_refuses_something() {
    let place = Place::new();
    let users = [
        ("mute", r#"publish: {deny: "ratings.gossip.*"}"#),
        ("blind", r#"subscribe: {deny: "ratings.presence.frontend.*"}"#),
        ("stranger", r#"publish: {allow: "nothing"}, subscribe: {allow: "nothing"}"#),
    ]
    .map(|(user, permissions)| format!("{{user: {user}, password: secret, permissions: {{{permissions}}}}}"));
    let config = place.path("nats.conf");
    std::fs::write(&config, format!("authorization {{ users: [{}] }}", users.join(", "))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(async {
        let binary = find_or_fetch(&Environment::of_process(), &print_notice).await.unwrap().path;
        NatsServer::start(ServerSettings { config: Some(config), ..ServerSettings::new(binary) }).await.unwrap()
    });
    for (user, lacks) in [
        (
            "mute",
            "replica r1 ended with status 1 before it was ready: the broker does not permit this replica to publish ratings.gossip.r1-",
        ),
        ("blind", "the broker does not permit this cluster to subscribe ratings.presence.frontend.*: permit it"),
        (
            "stranger",
            "this cluster to subscribe ratings.presence.frontend.*, subscribe ratings.presence.replica.*: permit it",
        ),
    ] {
        let output = place.run(&["1", "1", "42", "--server", server.url(), "--user", user, "--password", "secret"], "");
        let told = text(&output.stderr);
        assert!(output.status.code() == Some(1) && told.contains(lacks), "{told}");
        if user == "stranger" {
            // All that each role lists when it runs alone.
            for (role, subjects) in [
                (
                    "replica",
                    ["publish ratings.gossip.", "publish ratings.presence.replica.", "subscribe ratings.gossip.*"],
                ),
                (
                    "frontend",
                    ["publish ratings.replica.", "publish ratings.presence.frontend.", "subscribe ratings.frontend."],
                ),
            ] {
                let line =
                    told.lines().find(|line| line.contains(&format!("permit this {role} to "))).unwrap_or_default();
                assert!(subjects.iter().all(|subject| line.contains(subject)), "{role}: {told}");
            }
        }
        place.assert_nothing_left();
    }
}
