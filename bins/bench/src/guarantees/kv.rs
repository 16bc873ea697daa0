//! A JetStream key-value bucket. Nothing goes with a session from node to node, as KV has no such thing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use async_nats::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{RatingKey, Stars};
use natter_simulation::history::{Cell, Row};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::endpoint::Endpoint;
use super::nodes::STORAGE;
use super::store::Asked;
use crate::load::kv::check_acknowledgement;
use crate::load::workload::error_in_headers;

/// Half stars that every key has at first.
const INITIAL: u8 = 6;
/// Mark of a first value, in place of an update's id.
const NO_ID: &str = "initial";
/// The length of a value, as in the other sections.
const VALUE_BYTES: usize = 60;
/// Maximum time to write one key at first.
const FILLED_WITHIN: Duration = Duration::from_secs(10);
/// Time between two questions about the bucket's state.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A bucket.
pub(super) struct Kv {
    /// Whether reads are direct gets, which any server answers, or gets that the leader answers.
    is_direct: bool,
    initial: Vec<Row>,
}

impl Kv {
    /// Writes `keys` keys of each of `owners` owners, and waits until all servers have them.
    pub(super) async fn open(is_direct: bool, endpoints: &[Endpoint], owners: usize, keys: usize) -> Result<Self> {
        let cell = Cell { rating: Some(Stars::from_half_stars(INITIAL)?), update_id: None };
        let mut kv = Self { is_direct, initial: Vec::new() };
        let endpoint = endpoints.first().context("a bucket has servers")?;
        for place in 0..owners * keys {
            let number = |n: usize| u32::try_from(n + 1);
            let (user_id, movie_id) = (UserId::new(number(place / keys)?)?, MovieId::new(number(place % keys)?)?);
            let row = Row { user_id, movie_id, cell };
            kv.put(row.key(), cell, HeaderMap::new(), endpoint, FILLED_WITHIN).await.map_err(|error| anyhow!(error))?;
            kv.initial.push(row);
        }
        let is_settled = kv.settle(endpoint, endpoints.len(), FILLED_WITHIN).await;
        ensure!(is_settled, "not all servers have all keys after {} s", FILLED_WITHIN.as_secs());
        Ok(kv)
    }

    /// The keys with their first values.
    pub(super) fn initial(&self) -> &[Row] {
        &self.initial
    }

    /// Asks once at one node. A write has its id as message id: a retry is stored once, as the stream knows the id for two
    /// minutes.
    pub(super) async fn attempt(&self, asked: Asked, endpoint: &Endpoint, within: Duration) -> Result<Cell, String> {
        match asked {
            Asked::Write(key, id, stars) => {
                let cell = Cell { rating: Some(stars), update_id: Some(id) };
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", id.to_string());
                self.put(key, cell, headers, endpoint, within).await?;
                Ok(cell)
            }
            Asked::Read(key) if self.is_direct => {
                let subject = format!("$JS.API.DIRECT.GET.KV_{}.{}", STORAGE.name(), subject(key));
                let message = endpoint.request(subject, HeaderMap::new(), Bytes::new(), within).await?;
                match error_in_headers(&message) {
                    Some(_) if message.status == Some(StatusCode::NOT_FOUND) => Ok(Cell::ABSENT),
                    Some(error) => Err(error),
                    None => cell_in(&message.payload),
                }
            }
            Asked::Read(key) => {
                let request = json!({ "last_by_subj": subject(key) }).to_string();
                let subject = format!("$JS.API.STREAM.MSG.GET.KV_{}", STORAGE.name());
                let message = endpoint.ask(subject, HeaderMap::new(), request.into(), within).await?;
                let answer: Value = serde_json::from_slice(&message.payload).map_err(|error| error.to_string())?;
                if answer["error"]["code"] == 404 {
                    return Ok(Cell::ABSENT);
                }
                let data = answer["message"]["data"].as_str().ok_or_else(|| answer["error"].to_string())?;
                cell_in(&STANDARD.decode(data).map_err(|error| error.to_string())?)
            }
        }
    }

    async fn put(
        &self,
        key: RatingKey,
        cell: Cell,
        headers: HeaderMap,
        endpoint: &Endpoint,
        within: Duration,
    ) -> Result<(), String> {
        let message = endpoint.ask(subject(key), headers, value_of(cell).into(), within).await?;
        check_acknowledgement(&message.payload)
    }

    /// Waits until the bucket has a leader and `living` servers have everything, the leader included.
    pub(super) async fn settle(&self, endpoint: &Endpoint, living: usize, within: Duration) -> bool {
        let (begun, subject) = (Instant::now(), format!("$JS.API.STREAM.INFO.KV_{}", STORAGE.name()));
        while begun.elapsed() < within {
            let asked = endpoint.ask(subject.clone(), HeaderMap::new(), Bytes::new(), within);
            if let Ok(message) = asked.await
                && let Ok(info) = serde_json::from_slice::<Value>(&message.payload)
                && is_settled(&info["cluster"], living)
            {
                return true;
            }
            sleep(ASK_EVERY).await;
        }
        false
    }
}

/// Whether a stream has a leader, and with it `living` servers that are up to date.
fn is_settled(cluster: &Value, living: usize) -> bool {
    let is_up_to_date = |follower: &&Value| follower["current"] == true && follower["lag"].as_u64().unwrap_or(0) == 0;
    let followers = cluster["replicas"].as_array().map_or(&[][..], Vec::as_slice);
    let has_leader = cluster["leader"].as_str().is_some_and(|leader| !leader.is_empty());
    has_leader && followers.iter().filter(is_up_to_date).count() + 1 >= living
}

fn subject(key: RatingKey) -> String {
    format!("$KV.{}.{}.{}", STORAGE.name(), key.user_id, key.movie_id)
}

/// A value: the update's id and the half stars, filled up with dots.
fn value_of(cell: Cell) -> String {
    let id = cell.update_id.map_or_else(|| NO_ID.to_owned(), |id| id.to_string());
    let half_stars = cell.rating.map_or(0, Stars::half_stars);
    format!("{:.<VALUE_BYTES$}", format!("{id} {half_stars} "))
}

fn cell_in(value: &[u8]) -> Result<Cell, String> {
    let strange = || format!("a value that nobody wrote: {:?}", String::from_utf8_lossy(value));
    let text = std::str::from_utf8(value).map_err(|_| strange())?;
    let mut words = text.split(' ');
    let (Some(id), Some(half_stars)) = (words.next(), words.next()) else { return Err(strange()) };
    let rating = half_stars.parse().ok().and_then(|half_stars| Stars::from_half_stars(half_stars).ok());
    let update_id = if id == NO_ID { None } else { Some(id.parse().map_err(|_| strange())?) };
    Ok(Cell { rating: Some(rating.ok_or_else(strange)?), update_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_which_update_wrote_it() {
        let rating = Some(Stars::from_half_stars(9).unwrap());
        for update_id in [None, Some("01a2091d-4547-7000-8046-63d56441e2f0".parse().unwrap())] {
            let cell = Cell { rating, update_id };
            let value = value_of(cell);
            assert_eq!((value.len(), cell_in(value.as_bytes())), (VALUE_BYTES, Ok(cell)));
        }
        for other in ["", "initial", "initial 0 ", "x 9 ", "initial x "] {
            assert!(cell_in(other.as_bytes()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_bucket_is_settled_when_as_many_servers_have_everything_as_live() {
        let follower = |current, lag| json!({"current": current, "lag": lag});
        let cluster = |leader: &str| json!({"leader": leader, "replicas": [follower(true, 0), follower(false, 9)]});
        assert!(is_settled(&cluster("s1"), 2) && !is_settled(&cluster("s1"), 3));
        assert!(!is_settled(&cluster(""), 2) && !is_settled(&Value::Null, 1));
        assert!(!is_settled(&json!({"leader": "s1", "replicas": [follower(true, 3)]}), 2));
    }
}
