//! `docs/asyncapi.yaml`: it describes what a real cluster takes and answers, no less and no more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt;
use jsonschema::Validator;
use natter_common::subjects::{FRONTEND_QUEUE, Operation};
use natter_tests::harness::{Encoding, Wire, World, tools};
use serde_json::{Map, Value, json};

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
const DOCUMENT: &str = include_str!("../../docs/asyncapi.yaml");
const PROTOCOL: &str = include_str!("../../docs/PROTOCOL.md");
const PARSER: &str = "@asyncapi/parser@3.6.6";

fn document() -> Value {
    serde_saphyr::from_str(DOCUMENT).unwrap()
}

/// Refuses fields of objects that the schema does not name, so that none is left undescribed.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            if map.get("type") == Some(&json!("object")) && map.contains_key("properties") {
                map.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

/// The document, to be asked about its messages.
struct Contract {
    open: Value,
    closed: Value,
}

impl Contract {
    fn read() -> Self {
        let open = document();
        let mut closed = open.clone();
        close(&mut closed["components"]["schemas"]);
        Self { open, closed }
    }

    /// Follows `$ref` once.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(target) => self.resolve(self.open.pointer(target.strip_prefix('#').unwrap()).expect(target)),
            None => value,
        }
    }

    fn validator(document: &Value, schema: &Value) -> Validator {
        let mut root = schema.clone();
        root["components"] = document["components"].clone();
        jsonschema::draft7::new(&root).unwrap()
    }

    /// Fails where a request is none that the operation's channel takes.
    fn check_request(&self, operation: &Value, request: &Value) -> Result<(), String> {
        let message = self.resolve(&operation["messages"][0]);
        let message = self.resolve(message);
        let validator = Self::validator(&self.open, &message["payload"]);
        validator.validate(request).map_err(|error| format!("{request}: {error} at {}", error.instance_path()))
    }

    /// Fails where a reply is none of those that the operation has. Gives the name of the message.
    fn check_reply(&self, operation: &Value, headers: &Value, body: &Value) -> Result<String, String> {
        let mut reasons = Vec::new();
        for message in operation["reply"]["messages"].as_array().unwrap() {
            let name = message["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            let message = self.resolve(message);
            let wrong = [("headers", headers), ("payload", body)].into_iter().find_map(|(part, value)| {
                match message.get(part) {
                    Some(schema) => {
                        let validator = Self::validator(&self.closed, schema);
                        validator
                            .validate(value)
                            .err()
                            .map(|error| format!("{part}: {error} at {}", error.instance_path()))
                    }
                    None => (!value.is_null()).then(|| format!("{part}: none expected")),
                }
            });
            match wrong {
                None => return Ok(name.to_owned()),
                Some(reason) => reasons.push(format!("{name}: {reason}")),
            }
        }
        Err(format!("{headers} {body} is none of the replies: {reasons:#?}"))
    }

    /// Fails where a message is none that the operation sends.
    fn check_sent(&self, operation: &Value, message: &Value) -> Result<(), String> {
        let described = self.resolve(self.resolve(&operation["messages"][0]));
        let validator = Self::validator(&self.closed, &described["payload"]);
        validator.validate(message).map_err(|error| format!("{message}: {error} at {}", error.instance_path()))
    }

    fn operations(&self) -> &Map<String, Value> {
        self.open["operations"].as_object().unwrap()
    }

    /// The subject of an operation, after the prefix.
    fn subject(&self, operation: &Value, user: u64) -> String {
        let address = self.resolve(&operation["channel"])["address"].as_str().unwrap();
        address.strip_prefix("{prefix}.").unwrap().replace("{user_id}", &user.to_string())
    }

    /// Asks as the document says, and checks the reply. Gives the name of its message, and its error's name.
    async fn ask(&self, wire: &Wire, name: &str, encoding: Encoding, request: &Value) -> (String, String) {
        let operation = &self.operations()[name];
        let (headers, body) = ask(wire, &self.subject(operation, 42), encoding, request).await;
        let message = self.check_reply(operation, &headers, &body).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        let error = headers["Nats-Service-Error"].as_str().unwrap_or_default();
        (message, error.split(':').next().unwrap().to_owned())
    }
}

/// Headers and body of a reply.
async fn ask(wire: &Wire, subject: &str, encoding: Encoding, request: &Value) -> (Value, Value) {
    let asking = wire.client().request(wire.subject(subject), encoding.encode(request).into());
    let reply = tokio::time::timeout(Duration::from_secs(60), asking).await.expect("an answer").unwrap();
    let headers = reply.headers.unwrap_or_default();
    let headers: Map<String, Value> =
        headers.iter().map(|(name, values)| (name.to_string(), json!(values[0].as_str()))).collect();
    let body = if reply.payload.is_empty() { Value::Null } else { encoding.decode(&reply.payload).unwrap() };
    (Value::Object(headers), body)
}

/// Checks the metadata of each endpoint: it names the operation in this document, and a section of another document.
async fn check_metadata(contract: &Contract, wire: &Wire) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for service in ["frontend", "replica"] {
        let asking = wire.client().request(format!("$SRV.INFO.{service}"), "".into());
        let reply = tokio::time::timeout(Duration::from_secs(60), asking).await.expect("an answer").unwrap();
        let info: Value = serde_json::from_slice(&reply.payload).unwrap();
        for endpoint in info["endpoints"].as_array().unwrap() {
            let metadata = &endpoint["metadata"];
            assert!(metadata["format"].as_str().unwrap().starts_with("a MessagePack map"));
            let (file, section) = metadata["documentation"].as_str().unwrap().split_once('#').unwrap();
            let heading = format!("\n## {}", section.replace('-', " "));
            let text = std::fs::read_to_string(root.join(file)).unwrap().to_lowercase().replace(',', "");
            assert!(text.contains(&heading), "{endpoint}");
            if service == "frontend" {
                let pointer = metadata["schema"].as_str().unwrap().strip_prefix("docs/asyncapi.yaml#").unwrap();
                let operation = contract.open.pointer(pointer).unwrap_or_else(|| panic!("{endpoint}"));
                let subject = format!("ratings.{}", contract.subject(operation, 1)).replace(".1", ".*");
                assert_eq!(endpoint["subject"], subject);
            }
        }
    }
}

#[tokio::test]
async fn the_asyncapi_parser_finds_nothing_wrong_with_the_document() {
    let Some(modules) = tools::node_packages(Path::new(env!("CARGO_TARGET_TMPDIR")), &[PARSER]).await else { return };
    let program = r#"
        const { Parser } = require("@asyncapi/parser");
        const text = require("fs").readFileSync(process.argv[1], "utf8");
        new Parser().parse(text).then(({ document, diagnostics }) => {
            for (const found of diagnostics) console.log(found.code, found.path.join("."), found.message);
            console.log(document ? document.operations().all().length : "unreadable");
        });
    "#;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/asyncapi.yaml");
    let mut command = tokio::process::Command::new("node");
    command.args(["-e", program]).arg(file).env("NODE_PATH", modules).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(120), command.output()).await.expect("it ends").unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let operations = Contract::read().operations().len();
    assert_eq!(told.trim(), operations.to_string(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_document_has_the_operations_the_queue_group_and_the_errors_of_the_contract() {
    let contract = Contract::read();
    let mut subjects = BTreeSet::new();
    for operation in contract.operations().values().filter(|operation| operation["action"] == "receive") {
        let bindings = contract.resolve(&operation["bindings"]);
        assert_eq!(bindings["nats"]["queue"], FRONTEND_QUEUE);
        subjects.insert(contract.subject(operation, 7));
    }
    let served = Operation::ALL.into_iter().flat_map(|operation| {
        let own = operation.has_user().then(|| format!("frontend.{}.7", operation.name()));
        [Some(format!("frontend.{}", operation.name())), own].into_iter().flatten()
    });
    assert_eq!(subjects, served.collect());
    let in_table = PROTOCOL.lines().filter_map(|line| {
        let (code, rest) = line.strip_prefix("| ")?.split_once(" | `")?;
        let is_code = code.len() == 3 && code.chars().all(|c| c.is_ascii_digit());
        is_code.then(|| format!("{code} {}", rest.split('`').next().unwrap()))
    });
    let mut described = BTreeSet::new();
    for schema in ["RefusalHeaders", "ErrorHeaders"] {
        for kind in contract.open["components"]["schemas"][schema]["allOf"][1]["oneOf"].as_array().unwrap() {
            let code = kind["properties"]["Nats-Service-Error-Code"]["const"].as_str().unwrap();
            let name = kind["properties"]["Nats-Service-Error"]["pattern"].as_str().unwrap();
            described.insert(format!("{code} {}", name.trim_matches(['^', ':', ' '])));
        }
    }
    assert_eq!(described, in_table.collect());
    let in_batches = contract.open["components"]["schemas"]["OperationError"]["properties"]["name"]["enum"].clone();
    let in_batches: BTreeSet<&str> = in_batches.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(in_batches, described.iter().map(|error| error.split_once(' ').unwrap().1).collect());
}

#[tokio::test]
async fn every_operation_reply_and_error_is_as_the_schemas_say() {
    let contract = Contract::read();
    let world = World::with_broker_configuration(ROLES, "max_payload: 16KB\n").await;
    let cluster = world.cluster("ratings").replica_arguments(&["--changes"]).start(1, 2).await;
    let wire = &cluster.wire;
    let mut changes = wire.client().subscribe("ratings.changed.>").await.unwrap();
    // Examples of the document, of which create comes first.
    for encoding in Encoding::BOTH {
        for name in Operation::ALL.map(Operation::name) {
            let operation = &contract.operations()[name];
            let message = contract.resolve(contract.resolve(&operation["messages"][0]));
            for example in message["examples"].as_array().expect("an example") {
                let request = &example["payload"];
                contract.check_request(operation, request).unwrap();
                let (reply, error) = contract.ask(wire, name, encoding, request).await;
                // The second time, the rating is created under a known id, and deleted already.
                let is_first = encoding == Encoding::BOTH[0];
                assert!(!is_first || reply.ends_with("Reply"), "{name} {request}: {error}");
                if let Some(own) = contract.operations().get(&format!("{name}OfUser")) {
                    let mut request = request.clone();
                    request.as_object_mut().unwrap().remove("user_id");
                    contract.check_request(own, &request).unwrap();
                    contract.ask(wire, &format!("{name}OfUser"), encoding, &request).await;
                }
            }
        }
    }
    check_metadata(&contract, wire).await;
    let rating = json!({"user_id": 42, "movie_id": 2, "rating": 4.5});
    let key = json!({"user_id": 42, "movie_id": 2});
    let with = |field: &str, value: Value| {
        let mut request = rating.clone();
        request[field] = value;
        request
    };
    for encoding in Encoding::BOTH {
        for (name, request, expected) in [
            ("update", &rating, "RATING_NOT_FOUND"),
            ("delete", &key, "RATING_NOT_FOUND"),
            ("read", &key, ""),
            ("create", &with("movie_id", json!(999_999)), "MOVIE_NOT_FOUND"),
            ("average", &json!({"movie_id": 999_999}), "MOVIE_NOT_FOUND"),
            ("create", &rating, ""),
            ("create", &rating, "RATING_EXISTS"),
            ("read", &with("cluster", json!("another")), "STALE"),
            ("delete", &key, ""),
            ("all", &json!({"user_id": 4_000_000_000_u32}), ""),
            ("search", &json!({"title": "there is no such movie"}), ""),
        ] {
            contract.check_request(&contract.operations()[name], request).unwrap();
            assert_eq!(contract.ask(wire, name, encoding, request).await.1, expected, "{name} {request}");
        }
    }
    // Requests that the schemas refuse, frontends refuse too.
    for (name, request) in [
        ("create", with("user_id", json!(0))),
        ("create", with("user_id", json!(4_294_967_296_u64))),
        ("create", with("movie_id", json!("2"))),
        ("create", with("rating", json!(4.3))),
        ("create", with("rating", json!(5.5))),
        ("create", with("id", json!("no id"))),
        ("create", with("prev", json!({"replicas": {"r 1": 1}}))),
        ("create", with("prev", json!({"replicas": {"r1": -1}}))),
        ("create", with("prev", json!({"clock": 0.5}))),
        ("create", with("prev", json!([1]))),
        ("create", with("cluster", json!("a b"))),
        ("create", key.clone()),
        ("read", json!({"movie_id": 2})),
        ("all", json!({"user_id": 42, "limit": 0})),
        ("all", json!({"user_id": 42, "after": -1})),
        ("search", json!({"limit": 3})),
        ("search", json!({"title": "x".repeat(1001)})),
        ("batch", json!({"operations": {"op": "read"}})),
        ("batch", json!({"operations": [], "answers": "short"})),
    ] {
        let operation = &contract.operations()[name];
        assert!(contract.check_request(operation, &request).is_err(), "the schema of {name} takes {request}");
        assert_eq!(contract.ask(wire, name, Encoding::Json, &request).await.1, "BAD_REQUEST", "{name} {request}");
    }
    // More than one message has room for: the last reads are answered by an error each.
    let reads = (1..=200).map(|user| json!({"op": "read", "user_id": user, "movie_id": 2}));
    let reads: Vec<Value> = reads.collect();
    let (headers, body) = ask(wire, "frontend.batch", Encoding::Json, &json!({"operations": reads})).await;
    assert_eq!(contract.check_reply(&contract.operations()["batch"], &headers, &body).unwrap(), "batchReply");
    assert_eq!(body["outcomes"][199]["error"]["name"], "REPLY_TOO_LARGE");
    // The creates and deletes above are told.
    let sent = &contract.operations()["changed"];
    contract.check_sent(sent, &contract.open["components"]["messages"]["change"]["examples"][0]["payload"]).unwrap();
    let mut methods = BTreeSet::new();
    while methods != BTreeSet::from(["CREATE".to_owned(), "DELETE".to_owned(), "UPDATE".to_owned()]) {
        let next = tokio::time::timeout(Duration::from_secs(60), changes.next()).await;
        let change = Encoding::MessagePack.decode(&next.expect("a change").unwrap().payload).unwrap();
        contract.check_sent(sent, &change).unwrap();
        methods.insert(change["method"].as_str().unwrap().to_owned());
    }
    cluster.finish().await;
}

#[tokio::test]
async fn errors_of_a_cluster_in_trouble_are_as_the_schemas_say() {
    let contract = Contract::read();
    let world = World::new(ROLES).await;
    let database = natter_tests::harness::data::write_small(world.directory());
    let plan = world.cluster("tight").database(&database);
    let plan = plan.frontend_arguments(&["--strict", "--queue-length", "1", "--timeout", "500ms"]);
    let cluster = plan.start(1, 1).await;
    let wire = &cluster.wire.clone();
    let rating = json!({"user_id": 42, "movie_id": 2, "rating": 4.5});
    let key = json!({"user_id": 42, "movie_id": 2});
    assert_eq!(contract.ask(wire, "create", Encoding::Json, &rating).await.1, "NOT_ENOUGH_REPLICAS");
    let two = json!({"operations": [{"op": "read", "user_id": 1, "movie_id": 1}, {"op": "read", "user_id": 2, "movie_id": 1}]});
    let (headers, body) = ask(wire, "frontend.batch", Encoding::Json, &two).await;
    assert_eq!(contract.check_reply(&contract.operations()["batch"], &headers, &body).unwrap(), "batchReply");
    assert_eq!(body["outcomes"][1]["error"]["name"], "OVERLOADED");
    cluster.pause_all_replicas();
    let silent = ["read", "read"].map(|name| contract.ask(wire, name, Encoding::Json, &key));
    let [first, second] = silent;
    let (first, second) = tokio::join!(first, second);
    let names = BTreeSet::from([first.1, second.1]);
    assert_eq!(names, ["OVERLOADED", "TIMEOUT"].map(str::to_owned).into_iter().collect());
    cluster.resume_all_replicas();
    cluster.set_all_modes("offline").await;
    cluster.until_shows("r1", "OFFLINE").await;
    // The frontend may hear of it a moment later.
    let unavailable =
        async { while contract.ask(wire, "read", Encoding::MessagePack, &key).await.1 != "UNAVAILABLE" {} };
    tokio::time::timeout(Duration::from_secs(60), unavailable).await.expect("the frontend hears of it");
    cluster.finish().await;
}
