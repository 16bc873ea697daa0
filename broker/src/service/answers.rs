//! Questions about a service and their answers, as JSON.

use serde::Serialize;
use serde_json::Value;

use crate::service::{Description, State, contract};

/// The question that a subject of `$SRV` stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    /// Asks for the instances that are there.
    Ping,
    /// Asks an instance for its endpoints.
    Info,
    /// Asks an instance for its statistics.
    Stats,
}

impl Verb {
    pub(super) const ALL: [Self; 3] = [Self::Ping, Self::Info, Self::Stats];

    /// Subjects that ask this of all services, of all services of one name, and of one instance.
    pub(super) fn subjects(self, description: &Description) -> [String; 3] {
        let verb = match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        };
        let Description { name, id, .. } = description;
        [format!("$SRV.{verb}"), format!("$SRV.{verb}.{name}"), format!("$SRV.{verb}.{name}.{id}")]
    }
}

/// Fields that every answer begins with.
#[derive(Serialize)]
struct Identity<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    id: &'a str,
    version: &'static str,
    metadata: &'a std::collections::BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    description: &'static str,
    endpoints: Vec<EndpointInfo<'a>>,
}

#[derive(Serialize)]
struct EndpointInfo<'a> {
    name: &'a str,
    subject: &'a str,
    queue_group: &'static str,
    metadata: std::collections::BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Stats<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    started: String,
    endpoints: Vec<EndpointStats<'a>>,
}

#[derive(Serialize)]
struct EndpointStats<'a> {
    name: &'a str,
    subject: &'a str,
    queue_group: &'static str,
    num_requests: u64,
    num_errors: u64,
    last_error: String,
    /// In nanoseconds.
    processing_time: u64,
    /// In nanoseconds.
    average_processing_time: u64,
    data: Value,
}

impl State {
    /// The answer to a question, as JSON.
    pub(super) fn answer(&self, verb: Verb) -> Vec<u8> {
        let answer = match verb {
            Verb::Ping => serde_json::to_vec(&self.identity("io.nats.micro.v1.ping_response")),
            Verb::Info => {
                let endpoints = self.endpoints();
                let endpoints = endpoints.iter().map(|endpoint| EndpointInfo {
                    name: endpoint.name(),
                    subject: endpoint.subject(),
                    queue_group: endpoint.queue_group(),
                    metadata: contract::metadata(self.description.name, endpoint.name()),
                });
                serde_json::to_vec(&Info {
                    identity: self.identity("io.nats.micro.v1.info_response"),
                    description: self.description.description,
                    endpoints: endpoints.collect(),
                })
            }
            Verb::Stats => {
                let endpoints = self.endpoints();
                let endpoints = endpoints.iter().map(|endpoint| {
                    let counts = endpoint.counts();
                    EndpointStats {
                        name: endpoint.name(),
                        subject: endpoint.subject(),
                        queue_group: endpoint.queue_group(),
                        num_requests: counts.requests,
                        num_errors: counts.errors,
                        last_error: counts.last_error,
                        processing_time: counts.processing_ns,
                        average_processing_time: counts.processing_ns.checked_div(counts.requests).unwrap_or(0),
                        data: self.live.read(),
                    }
                });
                serde_json::to_vec(&Stats {
                    identity: self.identity("io.nats.micro.v1.stats_response"),
                    started: humantime::format_rfc3339_nanos(self.started).to_string(),
                    endpoints: endpoints.collect(),
                })
            }
        };
        // Text, numbers and maps with text as keys: JSON has all of it.
        answer.unwrap_or_default()
    }

    fn identity(&self, kind: &'static str) -> Identity<'_> {
        let Description { name, id, version, metadata, .. } = &self.description;
        Identity { kind, name, id: id.as_str(), version, metadata }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, SystemTime};

    use natter_common::ids::ReplicaId;

    use super::*;
    use crate::live::Live;
    use crate::service::endpoint::{Endpoint, Request};

    fn state() -> State {
        let endpoint = |name: &str| Arc::new(Endpoint::new(name.to_owned(), format!("ratings.{name}"), Some("q")));
        State {
            description: Description {
                name: "frontend",
                id: ReplicaId::new("f1-abcdefgh").unwrap(),
                description: "a frontend",
                version: "1.2.3",
                metadata: BTreeMap::from([("prefix", "ratings".to_owned())]),
            },
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            endpoints: Mutex::new(["read", "all", "create", "a"].map(endpoint).to_vec()),
            live: Live::default(),
        }
    }

    fn ask(state: &State, verb: Verb) -> Value {
        serde_json::from_slice(&state.answer(verb)).unwrap()
    }

    fn request(state: &State, place: usize) -> Request {
        let message = async_nats::Message {
            subject: "ratings.read".into(),
            reply: None,
            payload: "{}".into(),
            headers: None,
            status: None,
            description: None,
            length: 2,
        };
        Request::new(Arc::clone(&state.endpoints()[place]), message)
    }

    #[test]
    fn endpoints_are_listed_in_the_order_in_which_they_were_added() {
        let state = state();
        for verb in [Verb::Info, Verb::Stats] {
            let answer = ask(&state, verb);
            let names: Vec<&Value> = answer["endpoints"].as_array().unwrap().iter().map(|e| &e["name"]).collect();
            assert_eq!(names, ["read", "all", "create", "a"]);
        }
    }

    #[test]
    fn every_answer_names_the_instance() {
        let state = state();
        for (verb, kind) in [(Verb::Ping, "ping"), (Verb::Info, "info"), (Verb::Stats, "stats")] {
            let answer = ask(&state, verb);
            assert_eq!(answer["type"], format!("io.nats.micro.v1.{kind}_response"));
            assert_eq!(answer["id"], "f1-abcdefgh");
            assert_eq!(answer["metadata"]["prefix"], "ratings");
        }
        assert_eq!(ask(&state, Verb::Stats)["started"], "1970-01-01T00:00:01.000000000Z");
    }

    #[test]
    fn requests_and_errors_are_counted_at_their_endpoint() {
        let state = state();
        request(&state, 0).count(None);
        request(&state, 0).count(Some((404, "NOT_FOUND: no rating")));
        let endpoints = ask(&state, Verb::Stats)["endpoints"].clone();
        assert_eq!((endpoints[0]["num_requests"].as_u64(), endpoints[0]["num_errors"].as_u64()), (Some(2), Some(1)));
        assert_eq!(endpoints[0]["last_error"], "404:NOT_FOUND: no rating");
        let total = endpoints[0]["processing_time"].as_u64().unwrap();
        assert_eq!(endpoints[0]["average_processing_time"].as_u64(), Some(total / 2));
        assert_eq!((&endpoints[1]["num_requests"], &endpoints[1]["last_error"]), (&0.into(), &"".into()));
    }
}
