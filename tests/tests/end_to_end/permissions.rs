//! Users of the broker that have exactly the permissions that the protocol's page lists, fewer, and fewer for a while.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use natter_tests::harness::{Cluster, Encoding, World, data};
use serde_json::json;

use crate::ROLES;

const PROTOCOL: &str = include_str!("../../../docs/PROTOCOL.md");

/// The page's replies, which one broker user after the other loses in tests.
const REPLIES: &str = r#"allow_responses: { max: -1, expires: "1m" }"#;

/// Subjects that the page calls optional, with their user.
const OPTIONAL: [(&str, &str, &str); 4] = [
    ("replica", "subscribe", "$SRV.>"),
    ("frontend", "subscribe", "$SRV.>"),
    ("frontend", "publish", "_INBOX.>"),
    ("frontend", "publish", "$SYS.REQ.SERVER.PING.CONNZ"),
];

/// The users of the page's example, as they stand there.
fn example() -> &'static str {
    let section = PROTOCOL.split("## Subjects of each role").nth(1).expect("the section");
    let block = section.split("```").nth(1).expect("its example");
    block.split_once("users: [\n").and_then(|(_, rest)| rest.split_once("\n  ]")).expect("its users").0
}

/// Returns the configuration of a broker with these users, and a user that may do everything for connections that name
/// none.
fn configuration(users: &str) -> String {
    format!("no_auth_user: tests\nauthorization {{\n users: [\n{{ user: tests, password: tests }}\n{users}\n ]\n}}\n")
}

/// The part of the example that is about `user`.
fn of_user(user: &str) -> &'static str {
    let part = example().split("    { user: ").find(|part| part.starts_with(&format!("{user},"))).expect("the user");
    part.trim_end()
}

/// The subjects that a user may `publish` or `subscribe`.
fn subjects(user: &str, access: &str) -> Vec<&'static str> {
    let list = of_user(user).split_once(&format!("{access}: [")).and_then(|(_, rest)| rest.split_once(']'));
    list.expect("a list").0.split('"').skip(1).step_by(2).collect()
}

/// A user's part of the example without one subject.
fn without(part: &str, access: &str, subject: &str) -> String {
    let (before, list) = part.split_once(&format!("{access}: [")).expect("a list");
    let (list, after) = list.split_once(']').expect("its end");
    let less = list.replacen(&format!("\"{subject}\""), "\"nothing\"", 1);
    assert_ne!(list, less, "{subject}");
    format!("{before}{access}: [{less}]{after}")
}

/// The parts of replicas and frontends without anything that the page calls optional.
fn necessary() -> (String, String) {
    let mut parts = (of_user("replica").to_owned(), of_user("frontend").to_owned());
    for (user, access, subject) in OPTIONAL {
        let part = if user == "replica" { &mut parts.0 } else { &mut parts.1 };
        *part = without(part, access, subject);
    }
    parts
}

/// The example, where these two users' parts read otherwise.
fn example_with(replica: &str, frontend: &str) -> String {
    example().replacen(of_user("replica"), replica, 1).replacen(of_user("frontend"), frontend, 1)
}

fn credentials(user: &str) -> [String; 4] {
    let secret = user.split('-').next().unwrap_or(user);
    ["--user".to_owned(), user.to_owned(), "--password".to_owned(), format!("{secret}-secret")]
}

async fn run(world: &World, role: &str, user: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let credentials = credentials(user);
    let all: Vec<&str> = arguments.iter().copied().chain(credentials.iter().map(String::as_str)).collect();
    let output = world.run(role, &all).await;
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.code(), text)
}

async fn start(world: &World) -> Cluster<'_> {
    let (frontend, replica) = (credentials("frontend"), credentials("replica"));
    let database = data::write_small(world.directory());
    let plan = world.cluster("ratings").database(&database);
    let plan = plan.frontend_arguments(&frontend.each_ref().map(String::as_str));
    plan.replica_arguments(&replica.each_ref().map(String::as_str)).start(1, 2).await
}

#[tokio::test]
async fn each_role_works_with_exactly_the_documented_permissions() {
    let world = World::with_broker_configuration(ROLES, &configuration(example())).await;
    let mut cluster = start(&world).await;
    let observer = async_nats::ConnectOptions::with_user_and_password("observer".into(), "observer-secret".into());
    let observer = observer.connect(world.broker.url()).await.unwrap();
    let mut observed = observer.subscribe("ratings.>").await.unwrap();
    let ratings = world.path("ratings.csv");
    std::fs::write(&ratings, "userId,movieId,rating,timestamp\n7,1,3.0,1\n7,2,4.0,2\n").unwrap();
    let ask = async |user, arguments: &[&str]| {
        let (status, text) = run(&world, "client", user, arguments).await;
        assert_eq!(status, Some(0), "{user} {arguments:?}: {text}");
    };
    ask("client", &["42", "update", "1", "4.5"]).await;
    ask("client", &["import", ratings.to_str().unwrap()]).await;
    ask("client", &["search", "a"]).await;
    for arguments in [&["42", "update", "1", "3.5"][..], &["42", "read", "1"], &["42", "all"], &["42", "delete", "1"]] {
        ask("client42", &[arguments, &["--own-subject"]].concat()).await;
    }
    ask("client42", &["average", "1"]).await;
    let own = world.path("own.csv");
    std::fs::write(&own, "userId,movieId,rating\n42,1,3.0\n42,2,4.0\n").unwrap();
    ask("client42", &["import", own.to_str().unwrap(), "--own-subject"]).await;
    assert!(observed.next().await.is_some());

    // A replica that comes late fetches logs or a snapshot.
    cluster.start_replica("r3", &[]);
    cluster.until_ready().await;
    let id = cluster.id_of("r3").await;
    let exporter = async_nats::ConnectOptions::with_user_and_password("export".into(), "export-secret".into());
    let exporter = exporter.connect(world.broker.url()).await.unwrap();
    let mut shown = exporter.subscribe("ratings.presence.replica.*").await.unwrap();
    assert!(shown.next().await.is_some());
    let chunk = exporter.request(format!("ratings.replica.{id}.snapshot"), "".into()).await.unwrap();
    assert!(chunk.headers.is_some_and(|headers| headers.get("Nats-Service-Error").is_some()), "it names no place");
    let operator = async_nats::ConnectOptions::with_user_and_password("operator".into(), "operator-secret".into());
    let operator = operator.connect(world.broker.url()).await.unwrap();
    let status = operator.request(format!("ratings.replica.{id}.status"), "{}".into()).await;
    assert!(String::from_utf8_lossy(&status.unwrap().payload).contains("ACTIVE"));
    cluster.finish().await;
    let log = world.broker.log();
    assert!(!log.contains("Permissions Violation"), "{log}");
}

/// Returns the permissions that an error says are refused: `("publish", "ratings.gossip.a")`.
fn listed(text: &str) -> Vec<(String, String)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| ["publish", "subscribe"].contains(&pair[0]) && pair[1].contains('.'));
    named.map(|pair| (pair[0].to_owned(), pair[1].trim_end_matches([',', ':']).to_owned())).collect()
}

/// Whether a subject, or a pattern of one, is within `pattern`.
fn is_within(subject: &str, pattern: &str) -> bool {
    let (mut subject, mut pattern) = (subject.split('.'), pattern.split('.'));
    loop {
        match (subject.next(), pattern.next()) {
            (None, None) | (Some(_), Some(">")) => return true,
            (Some(token), Some(expected)) if expected == "*" || expected == token => {}
            _ => return false,
        }
    }
}

#[tokio::test]
async fn a_role_that_lacks_a_permission_ends_at_its_start_and_names_it() {
    let mut users = example().to_owned();
    let mut cases = Vec::new();
    let mut lacks = |role: &'static str, access: &'static str, pattern: &'static str, part: String| {
        let user = format!("{role}-{}", cases.len());
        users.push_str(&format!("\n    {{ user: {}", part.replacen(&format!("{role},"), &format!("{user},"), 1)));
        cases.push((user, role, access, pattern));
    };
    for role in ["replica", "frontend"] {
        for access in ["publish", "subscribe"] {
            for subject in subjects(role, access) {
                if !OPTIONAL.contains(&(role, access, subject)) {
                    lacks(role, access, subject, without(of_user(role), access, subject));
                }
            }
        }
    }
    lacks("replica", "publish", "_INBOX.>", of_user("replica").replace(REPLIES, ""));
    lacks("replica", "publish", "_INBOX.>", of_user("replica").replace(REPLIES, "allow_responses: true"));
    let part = without(of_user("frontend"), "publish", "_INBOX.>");
    lacks("frontend", "publish", "_INBOX.>", part.replace(REPLIES, ""));
    let world = World::with_broker_configuration(ROLES, &configuration(&users)).await;
    let database = data::write_small(world.directory());
    let database = ["--database", database.to_str().unwrap()];
    let runs = cases.iter().map(async |(user, role, access, pattern)| {
        let arguments = if *role == "replica" { &database[..] } else { &[] };
        let (status, text) = run(&world, role, user, arguments).await;
        assert_eq!(status, Some(1), "{user} lacks {access} {pattern}: {text}");
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with(&format!("{role}: "))).collect();
        let named = listed(&errors.concat());
        assert!(!named.is_empty(), "{user} lacks {access} {pattern}: {text}");
        for (named_access, subject) in named {
            assert!(named_access == *access && is_within(&subject, pattern), "{user} lacks {access} {pattern}: {text}");
        }
    });
    join_all(runs).await;

    // A role with the permissions of another one lacks nearly everything.
    let (status, text) = run(&world, "replica", "frontend", &database).await;
    assert_eq!(status, Some(1), "{text}");
    let missing = ["gossip.", "presence.replica.", "replica."].map(|subject| format!("publish ratings.{subject}"));
    assert!(
        missing.iter().all(|missing| text.contains(missing)) && text.contains("subscribe ratings.gossip.*"),
        "{text}"
    );
}

#[tokio::test]
async fn roles_outlive_the_loss_of_a_permission_with_their_state_and_id() {
    let (replica, frontend) = necessary();
    let sufficient = configuration(&example_with(&replica, &frontend));
    let world = World::with_broker_configuration(ROLES, &sufficient).await;
    let mut cluster = start(&world).await;
    let rating = json!({"user_id": 42, "movie_id": 1, "rating": 4.5});
    let label = cluster.wire.ask("update", rating).await.ok()["label"].clone();
    let ids = (cluster.id_of("r1").await, cluster.id_of("r2").await, cluster.id_of("f1").await);

    let deaf = without(&replica, "subscribe", "ratings.gossip.*");
    let mute = replica.replace(REPLIES, "");
    let closed = without(&frontend, "subscribe", "ratings.frontend.*");
    let silent = without(&frontend, "publish", "ratings.replica.*.update").replace(REPLIES, "");
    for (replica, frontend, missing, missing_of_frontend) in [
        (&deaf, &closed, "subscribe ratings.gossip.*", "subscribe ratings.frontend.create"),
        (&mute, &silent, "publish _INBOX.>", "publish ratings.replica."),
    ] {
        world.broker.configure(&configuration(&example_with(replica, frontend))).await;
        let asked = Instant::now();
        // Requests have them meet what they lack, where they do nothing by themselves.
        let write = json!({"user_id": 42, "movie_id": 2, "rating": 3.5}).to_string();
        let requests = [("frontend.update".to_owned(), write)]
            .into_iter()
            .chain([&ids.0, &ids.1].map(|id| (format!("replica.{id}.status"), String::new())));
        join_all(requests.map(async |(subject, payload)| {
            let _ =
                cluster.wire.send_within(&subject, payload.into(), Encoding::Json, Duration::from_millis(100)).await;
        }))
        .await;
        for (name, status) in [("r1", "OFFLINE"), ("r2", "OFFLINE"), ("f1", "JOINING")] {
            cluster.until_shows(name, status).await;
        }
        println!("all have stopped serving after {:?}", asked.elapsed());
        for (name, missing) in [("r1", missing), ("f1", missing_of_frontend)] {
            let log = cluster.member(name).log();
            assert!(log.contains("stops serving, keeps its state") && log.contains(missing), "{name} {missing}: {log}");
        }
        let permitted = Instant::now();
        world.broker.configure(&sufficient).await;
        for name in ["r1", "r2", "f1"] {
            cluster.until_shows(name, "ACTIVE").await;
        }
        println!("all serve after {:?}", permitted.elapsed());
        let read = cluster.wire.ask("read", json!({"user_id": 42, "movie_id": 1, "prev": label})).await.ok();
        assert_eq!(read["value"]["rating"], 4.5, "{read}");
    }
    // Requests that wait for what is refused are answered at once, and not at the end of their time.
    let no_updates = without(&frontend, "publish", "ratings.replica.*.update");
    let no_queries = without(&frontend, "publish", "ratings.replica.*.query");
    for (denied, operation, code, endpoint) in
        [(no_updates, "update", "504 TIMEOUT", "update"), (no_queries, "read", "503 UNAVAILABLE", "query")]
    {
        world.broker.configure(&configuration(&example_with(&replica, &denied))).await;
        let asked = Instant::now();
        let request = json!({"user_id": 42, "movie_id": 2, "rating": 2.5});
        let answer = cluster.wire.ask(operation, request).await;
        let refusal = answer.refusal.as_ref().expect("a refusal");
        println!("{operation} is answered after {:?}: {}", asked.elapsed(), refusal.text);
        assert_eq!(format!("{} {}", refusal.code, refusal.name), code);
        let named = "the broker does not permit this frontend to publish ratings.replica.";
        assert!(refusal.text.starts_with(named) && refusal.text.contains(&format!(".{endpoint}")), "{}", refusal.text);
        assert!(asked.elapsed() < Duration::from_millis(1900), "after {:?}", asked.elapsed());
        cluster.until_shows("f1", "JOINING").await;
        world.broker.configure(&sufficient).await;
        cluster.until_shows("f1", "ACTIVE").await;
    }
    let now = (cluster.id_of("r1").await, cluster.id_of("r2").await, cluster.id_of("f1").await);
    assert_eq!(now, ids);
    cluster.until_agreed(&["r1", "r2"]).await;

    // Replicas without permissions end when told to, and the others need not wait for permissions.
    world.broker.configure(&configuration(&example_with(&deaf, &frontend))).await;
    for name in ["r1", "r2"] {
        cluster.until_shows(name, "OFFLINE").await;
    }
    cluster.finish().await;
}

#[tokio::test]
async fn change_feed_needs_its_permission_at_the_start_and_its_loss_costs_nothing_else() {
    let may_tell = of_user("replica").replacen("publish: [", "publish: [\"ratings.changed.*.*\", ", 1);
    let permitted = configuration(&example_with(&may_tell, of_user("frontend")));
    let world = World::with_broker_configuration(ROLES, &permitted).await;
    let database = data::write_small(world.directory());
    let (frontend, replica) = (credentials("frontend"), credentials("replica"));
    let plan = world.cluster("ratings").database(&database);
    let plan = plan.frontend_arguments(&frontend.each_ref().map(String::as_str));
    let arguments: Vec<&str> = replica.iter().map(String::as_str).chain(["--changes"]).collect();
    let mut cluster = plan.replica_arguments(&arguments).start(1, 2).await;
    let mut changes = cluster.wire.client().subscribe("ratings.changed.>").await.unwrap();
    let wire = cluster.wire.clone();
    let rate = async |rating: f64| {
        let request = json!({"user_id": 42, "movie_id": 1, "rating": rating});
        let reply = wire.ask("update", request).await.ok();
        reply["label"]["replicas"].as_object().unwrap().keys().next().unwrap().clone()
    };
    rate(3.0).await;
    let change = tokio::time::timeout(Duration::from_secs(60), changes.next()).await.expect("a change").unwrap();
    assert_eq!(change.subject.as_str(), "ratings.changed.1.42", "the check at the start reaches no subscriber");

    // A reader without the permission is told so.
    let mut watching = vec!["--json", "watch", "--movie", "1"];
    let own = credentials("client");
    watching.splice(0..0, own.iter().map(String::as_str));
    let output = world.run("client", &watching).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("does not permit this user to subscribe ratings.changed.1.*"), "{text}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("DENIED"));

    // Taken away later, it is missed once, and the replicas serve on.
    world.broker.configure(&configuration(example())).await;
    let ids = [cluster.id_of("r1").await, cluster.id_of("r2").await];
    let mut acceptors = std::collections::BTreeSet::new();
    while acceptors.len() < 2 {
        acceptors.insert(rate(4.0).await);
    }
    for name in ["r1", "r2"] {
        cluster.member(name).until_logged("the change feed is silent").await;
        let log = cluster.member(name).log();
        assert_eq!(log.matches("the change feed is silent").count(), 1, "{log}");
        assert!(log.contains("publish ratings.changed.1.42") && !log.contains("stops serving"), "{log}");
    }
    assert!(acceptors.iter().all(|id| ids.contains(id)), "{acceptors:?}");
    rate(5.0).await;
    cluster.finish().await;

    // At the start it is an error that names the subject.
    let (status, text) =
        run(&world, "replica", "replica", &["--changes", "--database", database.to_str().unwrap()]).await;
    assert_eq!(status, Some(1), "{text}");
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("replica: ")).collect();
    assert_eq!(listed(&errors.concat()), [("publish".to_owned(), "ratings.changed.0.0".to_owned())], "{text}");
}
