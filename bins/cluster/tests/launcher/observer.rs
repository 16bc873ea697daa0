//! `cluster --observe`: the observer's page over HTTP by hand and in a headless Chromium.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::page::Page;
use crate::support::{Place, Running, assert_refused, signal_to, text, until};

/// A page on any free port that may change the cluster.
const OBSERVE: [&str; 5] = ["--port", "0", "--no-client", "--observe=127.0.0.1:0", "--control"];

/// Address of the page, as it was told.
fn page_of(cluster: &Running<'_>) -> String {
    let told = cluster.told();
    told.lines().find_map(|line| line.trim().strip_prefix("live page ")).unwrap().trim().to_owned()
}

/// The page's host and port.
fn address_of(cluster: &Running<'_>) -> String {
    page_of(cluster).trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// Sends a request by hand, and gives the status and all that came.
fn ask(address: &str, request: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), answer)
}

fn get(address: &str, path: &str, host: &str, more: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"))
}

fn post(address: &str, path: &str, body: &str, more: &str) -> (u16, String) {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    ask(address, &format!("{head}Content-Length: {length}\r\n{more}\r\n{body}"))
}

fn set_status(address: &str, body: &str, more: &str) -> u16 {
    post(address, "/status", body, more).0
}

/// The token of the page at this address.
fn token_of(address: &str) -> String {
    let (_, page) = get(address, "/", address, "");
    page.split("name=\"natter-token\" content=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[test]
fn verbs_of_the_page_reach_the_launcher_and_those_of_other_pages_do_not() {
    let place = Place::new();
    let mut cluster = place.start(&[&OBSERVE[..], &["1", "2"]].concat());
    let address = address_of(&cluster);
    let perform = |verb: &str, more: &str| post(&address, "/verb", &json!({"verb": verb}).to_string(), more);
    let (own, token) = (format!("Origin: http://{address}\r\n"), format!("X-Natter-Token: {}\r\n", token_of(&address)));
    let kill = "kill r2";
    assert_eq!(perform(kill, &format!("Origin: http://other.example\r\n{token}")).0, 403, "of another page");
    assert_eq!(perform(kill, &token).0, 403, "without an origin");
    assert_eq!(perform(kill, &own).0, 403, "without the token");
    let own = format!("{own}{token}");
    assert_eq!(post(&address, "/verb", "{}", &own).0, 400, "without a verb");
    let outcome = |verb: &str, status: u16, words: &str| {
        let answer = perform(verb, &own);
        assert!(answer.0 == status && answer.1.contains(words), "{verb}: {answer:?}");
    };
    outcome("status", 200, "r2 (ACTIVE)");
    outcome(kill, 200, "replica r2 is killed");
    outcome("status", 200, "r2 (killed)");
    outcome(kill, 502, "replica r2 does not run");
    outcome("add replica", 200, "replica r3 is added and serves");
    outcome("pause r3", 200, "replica r3 is paused");
    outcome("resume r3", 200, "replica r3 goes on");
    outcome("cut", 502, "--sites 2");
    outcome("quit", 502, "the page cannot end the cluster");
    let only_sets = ["observer", "--control", "--listen", "127.0.0.1:0", "--server", &cluster.url()];
    let mut alone = place.command(&only_sets).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(alone.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let address = url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let own = format!("Origin: http://{address}\r\nX-Natter-Token: {}\r\n", token_of(&address));
    let answer = post(&address, "/verb", &json!({"verb": "kill r1"}).to_string(), &own);
    assert!(answer.0 == 502 && answer.1.contains("no launcher started this observer"), "{answer:?}");
    signal_to(alone.id(), Signal::TERM);
    alone.wait().unwrap();
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn other_pages_and_names_can_neither_read_nor_change_anything() {
    let place = Place::new();
    let mut cluster = place.start(&[&OBSERVE[..], &["1", "1"]].concat());
    let address = address_of(&cluster);
    let (status, page) = get(&address, "/", &address, "");
    assert_eq!(status, 200);
    let policy = page.lines().find(|line| line.to_lowercase().starts_with("content-security-policy:")).unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let port = address.rsplit(':').next().unwrap();
    for path in ["/", "/events"] {
        for host in [format!("rebound.example:{port}"), "127.0.0.1:1".to_owned(), "10.1.2.3".to_owned()] {
            assert_eq!(get(&address, path, &host, "").0, 403, "{path} at {host}");
        }
        assert_eq!(get(&address, path, &address, "Origin: http://other.example\r\n").0, 403, "{path}");
    }
    let own = format!("Origin: http://{address}\r\n");
    let token = page.split("name=\"natter-token\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(token.len(), 32);
    let (replica, token) = (&cluster.ids("replicas")[0], format!("X-Natter-Token: {token}\r\n"));
    let body = json!({"replica": replica, "mode": "overloaded"}).to_string();
    assert_eq!(set_status(&address, &body, &token), 403, "without an origin");
    assert_eq!(set_status(&address, &body, &own), 403, "without the token");
    assert_eq!(set_status(&address, &body, &format!("{own}X-Natter-Token: wrong\r\n")), 403, "with a wrong token");
    assert_eq!(set_status(&address, "{}", &format!("{own}{token}")), 400, "without a replica");
    assert_eq!(set_status(&address, &body.replace(replica, "r9"), &format!("{own}{token}")), 502, "of no replica");
    // Presence may come only now.
    until("the status is set", || set_status(&address, &body, &format!("{own}{token}")) == 200);

    let second = place.run(&["observer", "--listen", &address, "--server", &cluster.url()], "");
    let complaint = text(&second.stderr);
    assert!(!second.status.success() && complaint.contains(&format!("{address} is in use")), "{complaint}");
    let only_listens =
        ["--server", &cluster.url(), "--no-client", "--observe=127.0.0.1:0", "--prefix", "other", "1", "1"];
    let guest = Place::new();
    let second = guest.start(&only_listens);
    let address = address_of(&second);
    let own = format!("Origin: http://{address}\r\nX-Natter-Token: \r\n");
    assert_eq!(set_status(&address, &body, &own), 403, "without --control");
    assert_eq!(post(&address, "/verb", &json!({"verb": "kill r1"}).to_string(), &own).0, 403, "without --control");
    drop(second);
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn port_of_the_page_in_use_is_named() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let observe = format!("--observe={}", taken.local_addr().unwrap());
    let output = place.run(&["--port", "0", "--no-client", &observe, "1", "1"], "");
    assert_refused(&place, &output, &["the observer", "is in use by another program"]);
}

#[test]
fn update_is_on_the_page_within_a_second_and_in_causal_order() {
    let place = Place::new();
    let mut cluster = place.start(&[&OBSERVE[..], &["2", "3"]].concat());
    let Some(mut page) = Page::open(&page_of(&cluster)) else { return };
    page.step(&json!({"step": "active", "count": 5}));
    let (url, create) = (cluster.url(), ["client", "42", "create", "1", "4.5", "--no-state", "--server"]);
    let output = place.run(&[&create[..], &[&url]].concat(), "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answered = unix_ms();
    let what = "create user 42, movie 1";
    let seen = page.step(&json!({"step": "update", "what": what, "messages": 5}));
    let after = seen["at"].as_u64().unwrap().saturating_sub(answered);
    println!("the update was on the page {after} ms after the client had ended");
    assert!(after <= 1000, "the update was on the page {after} ms after the client had ended");
    check_way(&page.step(&json!({"step": "way", "what": what})));
    for (mode, status) in [("offline", "OFFLINE"), ("active", "ACTIVE")] {
        page.step(&json!({"step": "set", "replica": "r2", "mode": mode}));
        page.step(&json!({"step": "status", "replica": "r2", "status": status}));
    }
    page.step(&json!({"step": "press", "button": "pause r2"}));
    page.step(&json!({"step": "status", "replica": "r2", "status": "GONE"}));
    page.step(&json!({"step": "press", "button": "resume r2"}));
    page.step(&json!({"step": "status", "replica": "r2", "status": "ACTIVE"}));
    page.step(&json!({"step": "press", "button": "kill r3"}));
    page.step(&json!({"step": "status", "replica": "r3", "status": "GONE"}));
    page.step(&json!({"step": "press", "button": "Add replica"}));
    page.step(&json!({"step": "status", "replica": "r4", "status": "ACTIVE"}));
    let exported = page.step(&json!({"step": "exported"}));
    assert!(exported["svg"].as_str().unwrap().starts_with("<svg "), "{exported}");
    assert_eq!(page.step(&json!({"step": "looks"})), json!({"found": []}));
    if cfg!(target_os = "linux") {
        let is_broker = |line: &str| line.contains("nats-server") && !line.contains(" guard ");
        let (broker, _) = place.processes().into_iter().find(|(_, line)| is_broker(line)).unwrap();
        signal_to(broker, Signal::STOP);
        page.step(&json!({"step": "connection", "text": "broker not reachable"}));
        signal_to(broker, Signal::CONT);
        page.step(&json!({"step": "connection", "text": "live"}));
        page.step(&json!({"step": "active", "count": 5}));
    }
    assert_eq!(page.step(&json!({"step": "complaints"})), json!({"complaints": []}));
    drop(page);
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0));
}

/// The steps of an update are in the order of cause and effect.
fn check_way(way: &Value) {
    let cells = |row: &Value| -> Vec<String> {
        row.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap().to_owned()).collect()
    };
    let rows: Vec<Vec<String>> = way["rows"].as_array().unwrap().iter().map(cells).collect();
    let steps: Vec<&str> = rows.iter().map(|row| row[4].as_str()).collect();
    let place = |begin: &str| {
        steps.iter().position(|step| step.starts_with(begin)).unwrap_or_else(|| panic!("no {begin}: {steps:?}"))
    };
    let in_order = ["client request: ", "update (accept): ", "gossip: ", "acknowledgement: "];
    assert!(in_order.map(place).is_sorted(), "{steps:?}");
    assert!(place("update (accept): ") < place("update (accept), reply: "), "{steps:?}");
    assert!(place("gossip: ") < place("client request, reply: "), "{steps:?}");
    let accept = &rows[place("update (accept): ")];
    assert!(accept[2].starts_with('f') && accept[3].starts_with('r'), "{accept:?}");
    assert_eq!(
        rows[place("client request: ")][3],
        accept[2],
        "the frontend that asks is the one that the client reached"
    );
    let gossip = &rows[place("gossip: ")];
    assert!(gossip[5].ends_with(":1") && !gossip[6].is_empty(), "record and stamp: {gossip:?}");
    assert_eq!(way["marked"].as_u64().unwrap(), rows.len() as u64);
}

fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
