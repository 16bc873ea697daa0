//! Requests made by hand, as a program in any language would: maps, encoded as they are.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::client::RequestErrorKind;
use async_nats::{Client, Request};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Longer than any frontend may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// No message of Natter's nests deeper.
const DEPTH_MAX: usize = 32;

/// The two encodings of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Encoding for programs.
    MessagePack,
    /// Encoding for people.
    Json,
}

impl Encoding {
    /// Both encodings.
    pub const BOTH: [Self; 2] = [Self::MessagePack, Self::Json];

    /// A map as bytes.
    pub fn encode(self, map: &Value) -> Vec<u8> {
        match self {
            Self::MessagePack => rmp_serde::to_vec_named(map).unwrap(),
            Self::Json => serde_json::to_vec(map).unwrap(),
        }
    }

    /// Bytes as a map: all of them, and nothing but this encoding.
    pub fn decode(self, bytes: &[u8]) -> Result<Value, String> {
        match self {
            Self::MessagePack => {
                let mut deserializer = rmp_serde::Deserializer::new(bytes);
                // Bad input passes by here too.
                deserializer.set_max_depth(DEPTH_MAX);
                let value = Value::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
                let rest = deserializer.into_inner().len();
                if rest == 0 { Ok(value) } else { Err(format!("{rest} bytes follow")) }
            }
            Self::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        }
    }
}

/// Error of a frontend: the service headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `Nats-Service-Error-Code`.
    pub code: u16,
    /// The name before the colon of `Nats-Service-Error`.
    pub name: String,
    /// The text after the colon.
    pub text: String,
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The body, decoded in the encoding of the request; nil where it is empty, `{undecodable: reason}` where it is not in
    /// that encoding.
    pub body: Value,
    /// The body's length in bytes.
    pub length: usize,
    /// The error, if it is one.
    pub refusal: Option<Refusal>,
    /// `Natter-Cluster`, which every error has.
    pub cluster: Option<String>,
}

impl Answer {
    /// The body of an answer that is no error.
    pub fn ok(self) -> Value {
        match self.refusal {
            None => self.body,
            Some(refusal) => panic!("an answer was expected, but: {refusal:?}"),
        }
    }

    /// The error, with its code and name together: `409 RATING_EXISTS`.
    pub fn error(&self) -> (String, &str) {
        match &self.refusal {
            Some(refusal) => (format!("{} {}", refusal.code, refusal.name), &refusal.text),
            None => panic!("an error was expected, but: {}", self.body),
        }
    }
}

/// No reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The broker says that no process listens there.
    NoResponders,
    /// No answer came in time.
    TimedOut,
    /// The request could not be sent.
    Disconnected,
}

/// A connection that asks under one prefix.
#[derive(Clone)]
pub struct Wire {
    client: Client,
    prefix: String,
}

impl Wire {
    /// Connects to a broker, or to one of several whose URLs have commas between them.
    pub async fn connect(url: &str, prefix: &str) -> Self {
        let servers: Vec<&str> = url.split(',').collect();
        let client = async_nats::ConnectOptions::new()
            .name("tests")
            .max_reconnects(None)
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .connect(&servers[..])
            .await
            .unwrap();
        Self::over(client, prefix)
    }

    /// Asks over a connection that stands.
    pub fn over(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.to_owned() }
    }

    /// The connection itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A subject under the prefix.
    pub fn subject(&self, rest: &str) -> String {
        format!("{}.{rest}", self.prefix)
    }

    /// Sends bytes to `<prefix>.<rest>` and decodes the reply from `encoding`.
    pub async fn send(&self, rest: &str, payload: Vec<u8>, encoding: Encoding) -> Result<Answer, Silence> {
        self.send_within(rest, payload, encoding, PATIENCE).await
    }

    /// Does the same, with another patience.
    pub async fn send_within(
        &self,
        rest: &str,
        payload: Vec<u8>,
        encoding: Encoding,
        patience: Duration,
    ) -> Result<Answer, Silence> {
        let request = Request::new().payload(payload.into()).timeout(None);
        let asking = self.client.send_request(self.subject(rest), request);
        let message = match tokio::time::timeout(patience, asking).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => return Err(Silence::NoResponders),
            Ok(Err(_)) => return Err(Silence::Disconnected),
            Err(_) => return Err(Silence::TimedOut),
        };
        let header = |name: &str| message.headers.as_ref()?.get(name).map(ToString::to_string);
        let refusal = header("Nats-Service-Error-Code").map(|code| {
            let error = header("Nats-Service-Error").expect("a code comes with a text");
            let (name, text) = error.split_once(": ").unwrap_or((&error, ""));
            Refusal { code: code.parse().unwrap(), name: name.to_owned(), text: text.to_owned() }
        });
        let body = match message.payload.len() {
            0 => Value::Null,
            // A body that equals no expected one.
            _ => encoding.decode(&message.payload).unwrap_or_else(|error| json!({"undecodable": error})),
        };
        Ok(Answer { body, length: message.payload.len(), refusal, cluster: header("Natter-Cluster") })
    }

    /// Sends a map to a frontend, or a replica.
    pub async fn ask_in(&self, encoding: Encoding, rest: &str, map: &Value) -> Result<Answer, Silence> {
        self.send(rest, encoding.encode(map), encoding).await
    }

    /// Sends a map in MessagePack to the frontends' operation `operation`.
    pub async fn ask(&self, operation: &str, map: Value) -> Answer {
        let answer = self.ask_in(Encoding::MessagePack, &format!("frontend.{operation}"), &map).await;
        answer.unwrap_or_else(|silence| panic!("{operation} {map}: {silence:?}"))
    }

    /// Publishes without a reply subject.
    pub async fn publish(&self, rest: &str, payload: Vec<u8>) {
        self.client.publish(self.subject(rest), payload.into()).await.unwrap();
    }

    /// Waits until the broker has all that was published.
    pub async fn flush(&self) {
        self.client.flush().await.unwrap();
    }
}

/// Label of one client, sent with every request.
#[derive(Clone)]
pub struct Session {
    wire: Wire,
    replicas: Map<String, Value>,
    clock: u64,
}

impl Session {
    /// Nothing seen.
    pub fn new(wire: &Wire) -> Self {
        Self { wire: wire.clone(), replicas: Map::new(), clock: 0 }
    }

    /// Asks by another connection from now on.
    pub fn hop(&mut self, wire: &Wire) {
        self.wire = wire.clone();
    }

    /// The greatest stamp seen.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// The `prev` of the next request.
    pub fn label(&self) -> Value {
        json!({"replicas": self.replicas, "clock": self.clock})
    }

    /// Takes in a label.
    pub fn merge(&mut self, label: &Value) {
        for (id, count) in label["replicas"].as_object().expect("a label has replicas") {
            let seen = self.replicas.get(id).and_then(Value::as_u64).unwrap_or(0);
            self.replicas.insert(id.clone(), json!(seen.max(count.as_u64().expect("a count"))));
        }
        self.clock = self.clock.max(label["clock"].as_u64().expect("a label has a clock"));
    }

    /// Asks once, with what was seen, and takes in the label of the answer, or of the refusal.
    pub async fn try_ask(&mut self, operation: &str, map: Value, patience: Duration) -> Result<Answer, Silence> {
        let mut map = map;
        map["prev"] = self.label();
        let payload = Encoding::MessagePack.encode(&map);
        let rest = format!("frontend.{operation}");
        let answer = self.wire.send_within(&rest, payload, Encoding::MessagePack, patience).await?;
        if let Some(label) = answer.body.get("label") {
            self.merge(label);
        }
        Ok(answer)
    }

    /// Asks once, where an answer must come.
    pub async fn ask(&mut self, operation: &str, map: Value) -> Answer {
        let answer = self.try_ask(operation, map.clone(), PATIENCE).await;
        answer.unwrap_or_else(|silence| panic!("{operation} {map}: {silence:?}"))
    }
}

/// A UUID of version 7 with a stamp in it that is now, by this machine's clock, and above `clock`; `random` tells sessions
/// apart by its low 58 bits.
pub fn update_id_above(clock: u64, random: u64) -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let stamp = u128::from(((since_epoch.as_millis() as u64) << 16).max(clock + 1));
    let random = u128::from(random & ((1 << 58) - 1));
    let time = (stamp >> 16 << 80) | (stamp >> 4 & 0xfff) << 64 | (stamp & 0xf) << 58;
    uuid_text(time | (7 << 76) | (0b10 << 62) | random)
}

/// A random UUID of version 4.
pub fn update_id_v4() -> String {
    uuid_text((fastrand::u128(..) & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62))
}

/// A UUID of version 7 that was made `age` ago.
pub fn update_id_v7(age: Duration) -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let milliseconds = (since_epoch - age).as_millis();
    let random = fastrand::u128(..) & ((1 << 80) - 1) & !(0xf << 76) & !(0b11 << 62);
    uuid_text((milliseconds << 80) | random | (7 << 76) | (0b10 << 62))
}

fn uuid_text(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
