//! The change feed, and `client watch`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use natter_broker::signals::let_children_receive;
use natter_tests::harness::{
    Cluster, DEADLINE, Encoding, MADE_UP, Session, Silence, Wire, World, data, update_id_above,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};
use tokio::signal::unix::SignalKind;

use crate::ROLES;
use crate::support::Running;

/// A subscriber to all changes under a prefix.
struct Feed {
    wire: Wire,
    messages: Subscriber,
    changes: Vec<Value>,
}

impl Feed {
    /// Subscribes, and waits until that is in place.
    async fn start(cluster: &Cluster<'_>) -> Self {
        let wire = cluster.wire.clone();
        let messages = wire.client().subscribe(wire.subject("changed.>")).await.unwrap();
        let mut feed = Self { wire, messages, changes: Vec::new() };
        feed.hear_all(cluster).await;
        feed
    }

    fn take_in(&mut self, message: &async_nats::Message) {
        let change = Encoding::MessagePack.decode(&message.payload).unwrap();
        let expected = self.wire.subject(&format!("changed.{}.{}", change["movie_id"], change["user_id"]));
        assert_eq!(message.subject.as_str(), expected);
        self.changes.push(change);
    }

    /// Waits until so many changes have come.
    async fn until(&mut self, count: usize) {
        while self.changes.len() < count {
            let next = tokio::time::timeout(DEADLINE, self.messages.next()).await;
            let message = next.unwrap_or_else(|_| panic!("{count} changes: {:#?}", self.changes)).unwrap();
            self.take_in(&message);
        }
    }

    /// Takes in all that the replicas have published so far: their answers come after it on the same connections.
    async fn hear_all(&mut self, cluster: &Cluster<'_>) {
        for _ in 0..2 {
            for id in cluster.replica_ids() {
                let asked = self.wire.ask_in(Encoding::MessagePack, &format!("replica.{id}.status"), &json!({})).await;
                assert!(matches!(asked, Ok(_) | Err(Silence::NoResponders)), "{id}: {asked:?}");
            }
        }
        while let Some(message) = self.messages.next().now_or_never().flatten() {
            self.take_in(&message);
        }
    }
}

fn key(change: &Value) -> (u64, u64) {
    (change["user_id"].as_u64().unwrap(), change["movie_id"].as_u64().unwrap())
}

/// Order in which changes of one rating stand.
fn order(change: &Value) -> (u64, &str) {
    (change["stamp"].as_u64().unwrap(), change["update_id"].as_str().unwrap())
}

fn covers(label: &Value, record: &Value) -> bool {
    let count = &label["replicas"][record["i"].as_str().unwrap()];
    count.as_u64().unwrap_or(0) >= record["seq"].as_u64().unwrap()
}

/// Writes to a rating of its own, and to one that all writers share. Returns the ids of the updates.
async fn write(wire: &Wire, user: u64) -> Vec<String> {
    let mut session = Session::new(wire);
    let mut ids = Vec::new();
    for n in 0..4 {
        let own = json!({"user_id": user, "movie_id": 2});
        let (operation, rating) = [("create", 4.5), ("update", 3.0), ("delete", 0.0), ("create", 1.5)][n];
        let shared = json!({"user_id": 42, "movie_id": 1, "rating": (n + 1) as f64 / 2.0});
        for (operation, mut request) in [(operation, own), ("update", shared)] {
            if request["user_id"] != 42 && operation != "delete" {
                request["rating"] = json!(rating);
            }
            let id = update_id_above(session.clock(), fastrand::u64(..));
            request["id"] = json!(id);
            session.ask(operation, request).await.ok();
            ids.push(id);
        }
    }
    ids
}

#[tokio::test]
async fn each_record_is_told_once_and_its_label_reads_at_least_that() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let plan = world.cluster("ratings").database(&database).replica_arguments(&["--changes"]);
    let mut cluster = plan.empty().await;
    cluster.start_replica("r1", &["--frontend"]);
    cluster.start_replica("r2", &[]);
    cluster.start_replica("r3", &[]);
    cluster.start_frontend("f1", &[]);
    cluster.until_ready().await;
    cluster.until_shows("f-r1", "ACTIVE").await;
    let mut feed = Feed::start(&cluster).await;

    let written = join_all((101..107).map(|user| write(&cluster.wire, user))).await.concat();
    let ids: BTreeSet<&str> = written.iter().map(String::as_str).collect();
    feed.until(ids.len()).await;
    cluster.until_agreed(&["r1", "r2", "r3"]).await;
    feed.hear_all(&cluster).await;

    // One change for each record, in the order of its origin.
    let changes = &feed.changes;
    let told: Vec<&str> = changes.iter().map(|change| order(change).1).collect();
    assert_eq!(told.len(), ids.len(), "{changes:#?}");
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), ids);
    let mut origins = BTreeMap::<&str, u64>::new();
    for change in changes {
        let count = origins.entry(change["record"]["i"].as_str().unwrap()).or_default();
        *count += 1;
        assert_eq!(change["record"]["seq"], *count, "{changes:#?}");
    }
    assert!(origins.len() > 1, "several replicas accepted updates: {origins:?}");

    // Each change of one session has a label that covers the records of the changes before it.
    let mut of_sessions = BTreeMap::<u64, Vec<&Value>>::new();
    for change in changes.iter().filter(|change| change["user_id"] != 42) {
        of_sessions.entry(key(change).0).or_default().push(change);
    }
    assert_eq!(of_sessions.len(), 6);
    for mut of_session in of_sessions.into_values() {
        of_session.sort_by_key(|change| order(change));
        let is_after = |pair: &[&Value]| covers(&pair[1]["label"], &pair[0]["record"]);
        assert!(of_session.len() == 4 && of_session.windows(2).all(is_after), "{of_session:#?}");
        assert!(of_session.iter().all(|change| change["label"]["clock"].as_u64() >= change["stamp"].as_u64()));
    }

    // A session that has seen only the label of a change reads that change, or a later one of the same rating.
    for change in changes {
        let (user, movie) = key(change);
        let request =
            json!({"user_id": user, "movie_id": movie, "prev": change["label"], "cluster": change["cluster"]});
        let read = cluster.wire.ask("read", request).await.ok()["value"].clone();
        let same = changes.iter().find(|other| key(other) == key(change) && other["update_id"] == read["update_id"]);
        let same = same.unwrap_or_else(|| panic!("{read} is in no change: {changes:#?}"));
        assert!(order(same) >= order(change), "{read} after {change}");
        for field in ["title", "rating", "timestamp"] {
            assert_eq!(read[field], same[field], "{read} {same}");
        }
    }

    // The greatest change of each rating is the rating that stands.
    let mut session = Session::new(&cluster.wire);
    let mut standing = BTreeMap::<(u64, u64), &Value>::new();
    for change in changes {
        session.merge(&change["label"]);
        let stands = standing.entry(key(change)).or_insert(change);
        if order(change) > order(stands) {
            *stands = change;
        }
    }
    for ((user, movie), change) in standing {
        let read = session.ask("read", json!({"user_id": user, "movie_id": movie})).await.ok()["value"].clone();
        assert_eq!((&read["update_id"], &read["rating"]), (&change["update_id"], &change["rating"]), "{read} {change}");
    }
    // A delete is told as a rating that is not there.
    let deleted: Vec<&Value> = changes.iter().filter(|change| change["method"] == "DELETE").collect();
    assert!(deleted.len() == 6 && deleted.iter().all(|change| change["rating"].is_null()), "{deleted:#?}");
    cluster.finish().await;
}

#[tokio::test]
async fn change_is_told_only_once_enough_replicas_hold_it() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let plan = world.cluster("ratings").database(&database).replica_arguments(&["--changes"]);
    let cluster = plan.start(0, 1).await;
    let mut feed = Feed::start(&cluster).await;
    let id = cluster.id_of("r1").await;
    // A second replica, played by this test: it is there, and says what it holds.
    let second = format!("{MADE_UP}-second");
    let shown = cluster.observer.seen().members[&id].presence.clone();
    let show = |uptime_ms: u64, held: Value| {
        let mut presence = shown.clone();
        presence["id"] = json!(second);
        presence["uptime_ms"] = json!(uptime_ms);
        presence["replica_timestamp"] = json!({"replicas": held});
        let wire = cluster.wire.clone();
        let subject = format!("presence.replica.{second}");
        async move { wire.publish(&subject, Encoding::MessagePack.encode(&presence)).await }
    };
    let shows = async {
        for uptime_ms in (1000..).step_by(100) {
            show(uptime_ms, json!({})).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let checks = async {
        let rating = json!({"user_id": 42, "movie_id": 2, "rating": 4.5});
        let update_id = update_id_above(0, 7);
        let (method, stamp) = ("CREATE", shown["wall_ms"].as_u64().unwrap() << 16);
        let update = json!({"requests": [{"n": 1, "id": update_id, "prev": {}, "request": {"method": method, "params": rating},
            "stamp": stamp, "copies": 2, "fresh": true, "wait_ms": 2000}]});
        // Presence comes before requests, so the replica knows of the second one.
        show(500, json!({})).await;
        let reply = cluster.wire.ask_in(Encoding::MessagePack, &format!("replica.{id}.update"), &update).await;
        let reply = reply.unwrap().ok();
        assert!(reply.to_string().contains("accepted"), "{reply}");
        feed.hear_all(&cluster).await;
        assert!(feed.changes.is_empty(), "only one replica holds it: {:#?}", feed.changes);

        let held = json!({"id": second, "replica_timestamp": {"replicas": {&id: 1}}});
        cluster.wire.publish(&format!("replica.{id}.acknowledge"), Encoding::MessagePack.encode(&held)).await;
        feed.until(1).await;
        assert_eq!(feed.changes[0]["update_id"], update_id);
        assert_eq!(feed.changes[0]["record"], json!({"i": id, "seq": 1}));
    };
    tokio::select! {
        () = checks => {}
        () = shows => {}
    }
    cluster.finish().await;
}

#[tokio::test]
async fn durable_replica_tells_a_record_once_in_all_its_lives_and_others_tell_nothing() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let data_dir = world.path("r1");
    let arguments = ["--data-dir", data_dir.to_str().unwrap(), "--changes"];
    let mut loud = world.cluster("loud").database(&database).replica_arguments(&arguments).start(1, 1).await;
    let quiet = world.cluster("quiet").database(&database).start(1, 2).await;
    let (mut feed, mut nothing) = (Feed::start(&loud).await, Feed::start(&quiet).await);
    let rate = async |wire: &Wire, movie: u64| {
        let rating = json!({"user_id": 7, "movie_id": movie, "rating": 4.5});
        Session::new(wire).ask("create", rating).await.ok();
    };
    rate(&loud.wire, 1).await;
    feed.until(1).await;
    let first = loud.id_of("r1").await;
    loud.member("r1").kill().await;
    let since = std::time::Instant::now();
    loud.start_replica("r1", &[]);
    loud.until_serve_since(&["r1"], since).await;
    rate(&loud.wire, 2).await;
    feed.until(2).await;
    feed.hear_all(&loud).await;
    let told: Vec<&Value> = feed.changes.iter().map(|change| &change["movie_id"]).collect();
    assert_eq!(told, [1, 2], "{:#?}", feed.changes);
    // The next life has another id, and its own numbers.
    assert_eq!(feed.changes[0]["record"], json!({"i": first, "seq": 1}));
    assert_ne!(feed.changes[1]["record"]["i"], json!(first));

    for movie in 1..4 {
        rate(&quiet.wire, movie).await;
    }
    quiet.until_agreed(&["r1", "r2"]).await;
    nothing.hear_all(&quiet).await;
    assert!(nothing.changes.is_empty(), "{:#?}", nothing.changes);
    loud.finish().await;
    quiet.finish().await;
}

/// A `client watch` that runs beside the test.
struct Watching {
    child: Child,
    complaints: Lines<BufReader<ChildStderr>>,
}

impl Watching {
    /// Starts it, and waits until it shows changes.
    async fn start(world: &World, arguments: &[&str]) -> Self {
        let mut command = world.role("client");
        command.args(arguments).args(["--server", &world.broker.url()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        let complaints = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut watching = Self { child, complaints };
        watching.until_it_says("--changes").await;
        watching
    }

    async fn until_it_says(&mut self, text: &str) -> String {
        loop {
            let line = tokio::time::timeout(DEADLINE, self.complaints.next_line()).await.expect(text);
            let line = line.unwrap().unwrap_or_else(|| panic!("it ends without {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for its end. Gives the lines that it printed.
    async fn ended(self) -> (ExitStatus, Vec<String>) {
        let output = tokio::time::timeout(DEADLINE, self.child.wait_with_output()).await.expect("it ends").unwrap();
        (output.status, String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
    }
}

#[tokio::test]
async fn watch_shows_the_changes_of_a_movie_or_a_user_in_words_or_as_objects() {
    let_children_receive(SignalKind::interrupt()).unwrap(); // however this test was started
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let plan = world.cluster("ratings").database(&database).replica_arguments(&["--changes"]);
    let cluster = plan.start(1, 2).await;
    let watching = [
        &["watch", "--json", "--count", "4"][..],
        &["watch", "--movie", "jumanji", "--count", "2"],
        &["watch", "--user", "43", "--count", "1"],
        &["42", "watch", "--movie", "2", "--json", "--count", "2"],
        &["watch"],
    ];
    let mut tap = Running::start(&world, &["tap", "--json"]);
    tap.until(|line| line["kind"] == "listens to" && line["replicas"] == 2).await;
    let watching = join_all(watching.map(|arguments| Watching::start(&world, arguments))).await;
    let mut watching = watching.into_iter();
    let [all, of_movie, of_user, of_both] = std::array::from_fn(|_| watching.next().unwrap());
    let mut endless = watching.next().unwrap();

    // Neither a check nor a message that cannot be read is a change.
    cluster.wire.publish("changed.0.0", Vec::new()).await;
    cluster.wire.publish("changed.2.42", b"\xc1".to_vec()).await;
    endless.until_it_says("malformed change number 1, at ratings.changed.2.42").await;
    let mut session = Session::new(&cluster.wire);
    let key = |user: u64, movie: u64| json!({"user_id": user, "movie_id": movie});
    let with = |mut key: Value, rating: f64| {
        key["rating"] = json!(rating);
        key
    };
    session.ask("create", with(key(42, 2), 4.5)).await.ok();
    session.ask("create", with(key(43, 1), 2.0)).await.ok();
    session.ask("update", with(key(42, 1), 3.0)).await.ok();
    session.ask("delete", key(42, 2)).await.ok();

    let (status, lines) = all.ended().await;
    assert!(status.success(), "{lines:?}");
    let parsed = |lines: &[String]| -> Vec<Value> {
        let value = |line: &String| serde_json::from_str::<Value>(line).unwrap()["value"].take();
        lines.iter().map(value).collect()
    };
    let changes = parsed(&lines);
    let told = |changes: &[Value]| -> BTreeSet<String> {
        changes
            .iter()
            .map(|it| format!("{} {} {} {}", it["method"], it["user_id"], it["movie_id"], it["rating"]))
            .collect()
    };
    let expected = ["\"CREATE\" 42 2 4.5", "\"CREATE\" 43 1 2.0", "\"UPDATE\" 42 1 3.0", "\"DELETE\" 42 2 null"];
    assert_eq!(told(&changes), expected.map(str::to_owned).into());
    // The program's own session goes on with the label of a change.
    assert!(changes.iter().all(|change| change["label"]["replicas"].is_object() && change["cluster"].is_string()));

    let (status, lines) = of_movie.ended().await;
    assert!(status.success() && lines.len() == 2, "{lines:?}");
    assert!(
        lines.iter().any(|line| line.contains("user 42 rated Jumanji (1995): 4.5  (movie 2, record r")),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.contains("user 42 no longer rates Jumanji (1995)  (movie 2")), "{lines:?}");
    let (status, lines) = of_user.ended().await;
    assert!(
        status.success() && lines.len() == 1 && lines[0].contains("user 43 rated Toy Story (1995): 2.0"),
        "{lines:?}"
    );
    let (status, lines) = of_both.ended().await;
    let changes = parsed(&lines);
    assert!(status.success());
    assert_eq!(told(&changes), [expected[0], expected[3]].map(str::to_owned).into());

    // The tap has a line for each message of the feed.
    let mut told = 0;
    let tapped = tap
        .until(|line| {
            told += u32::from(line["kind"] == "change");
            told == 4
        })
        .await;
    let first = tapped.iter().find(|line| line["kind"] == "change" && line["message"]["user_id"] == 43).unwrap();
    let text = first["text"].as_str().unwrap();
    assert!(text.starts_with("create user 43 movie 1: 2.0, record r") && text.contains(", label {"), "{text}");
    assert_eq!(first["from"], first["message"]["record"]["i"]);

    let process = endless.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    kill_process(process.unwrap(), Signal::INT).unwrap();
    let (status, lines) = endless.ended().await;
    assert!(status.success() && lines.len() == 4, "{status} {lines:?}");
    cluster.finish().await;
}
