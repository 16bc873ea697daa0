//! Reads and updates of a Natter cluster, as any client makes them.

use std::pin::pin;

use anyhow::{Context, Result, bail, ensure};
use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use fastrand::Rng;
use futures_util::{StreamExt, TryStreamExt};
use natter_common::edge::RatingsReply;
use natter_common::ids::MovieId;
use natter_common::request::ALL_LIMIT_MAX;
use natter_common::subjects::{Operation, Subjects};
use natter_common::wire::Format;
use serde::Serialize;
use tokio::time::{Duration, timeout};

use super::job::Outcome;
use super::keys::{Key, Keys};
use super::workload::{Workload, error_in_headers};
use reply::RatingSeen;
use sessions::Sessions;

mod reply;
mod sessions;

/// Maximum time for a page of ratings from a frontend.
const PAGE_PATIENCE: Duration = Duration::from_secs(30);
/// Number of users that are asked about at the same time.
const USERS_AT_ONCE: usize = 16;
/// The scale, in half stars.
const HALF_STARS_MAX: u8 = 10;

/// Open request of a slot.
#[derive(Clone, Copy, Debug)]
struct Open {
    place: usize,
    is_alone: bool,
    /// The half stars that an update writes; `None` for a read.
    writes: Option<u8>,
}

/// A mix of reads and updates.
pub(super) struct Natter {
    keys: Keys,
    read: Subject,
    update: Subject,
    reads_percent: u8,
    exact: bool,
    random: Rng,
    open: Vec<Option<Open>>,
    read_payload: Template,
    update_payload: Template,
    compared: u64,
    sessions: Sessions,
}

impl Natter {
    /// Makes requests about these ratings.
    pub(super) fn new(subjects: &Subjects, keys: Keys, reads_percent: u8, exact: bool, seed: u64) -> Self {
        Self {
            keys,
            read: subjects.frontend(Operation::Read).into(),
            update: subjects.frontend(Operation::Update).into(),
            reads_percent,
            exact,
            random: Rng::with_seed(seed),
            open: Vec::new(),
            read_payload: Template::new(false),
            update_payload: Template::new(true),
            compared: 0,
            sessions: Sessions::default(),
        }
    }

    /// Reads, through any frontend, what some sessions wrote.
    pub(super) async fn check_sessions(
        &self,
        client: &Client,
        subjects: &Subjects,
        outcome: &mut Outcome,
    ) -> Result<()> {
        self.sessions.check(client, subjects, &self.keys, outcome).await
    }

    /// The ratings, as they are known to be now.
    pub(super) fn into_keys(self) -> Keys {
        self.keys
    }

    fn check(&mut self, open: Open, message: &Message) -> Result<(), String> {
        let seen = RatingSeen::in_reply(&message.payload)?;
        let key = self.keys.key(open.place);
        if seen.user_id != Some(key.user_id) || seen.movie_id != Some(key.movie_id) {
            return Err(format!("asked for {key:?}, and the answer is about {seen:?}"));
        }
        let Some(half_stars) = seen.half_stars else { return Err(format!("{key:?} has no rating")) };
        match open.writes {
            Some(written) if written != half_stars => {
                return Err(format!("{key:?} was to become {written} half stars, and became {half_stars}"));
            }
            Some(_) => {
                self.keys.note(open.place, open.is_alone.then_some(half_stars));
                if !self.exact {
                    self.sessions.updated(open.place, message)?;
                }
            }
            None if self.exact && open.is_alone => {
                if let Some(known) = self.keys.known(open.place) {
                    self.compared += 1;
                    if known != half_stars {
                        return Err(format!("{key:?} has {known} half stars, and {half_stars} were read"));
                    }
                }
            }
            None => {}
        }
        Ok(())
    }
}

impl Workload for Natter {
    fn request(&mut self, slot: usize) -> (Subject, Bytes) {
        let (place, is_alone) = self.keys.take(&mut self.random);
        let key = self.keys.key(place);
        let writes = (self.random.u8(..100) >= self.reads_percent).then(|| {
            // Never what it is: an update that changes nothing would prove nothing.
            let known = self.keys.known(place).unwrap_or(HALF_STARS_MAX);
            (known + self.random.u8(..HALF_STARS_MAX - 1)) % HALF_STARS_MAX + 1
        });
        if slot >= self.open.len() {
            self.open.resize(slot + 1, None);
        }
        self.open[slot] = Some(Open { place, is_alone, writes });
        match writes {
            Some(half_stars) => (self.update.clone(), self.update_payload.filled(key, half_stars)),
            None => (self.read.clone(), self.read_payload.filled(key, 0)),
        }
    }

    fn reply(&mut self, slot: usize, message: &Message) -> Result<(), String> {
        let Some(open) = self.open.get_mut(slot).and_then(Option::take) else {
            return Err("a reply to nothing".to_owned());
        };
        let checked = match error_in_headers(message) {
            Some(error) => Err(error),
            None => self.check(open, message),
        };
        if checked.is_err() && open.writes.is_some() {
            self.keys.note(open.place, None);
        }
        self.keys.give_back(open.place);
        checked
    }

    fn unanswered(&mut self, slot: usize) {
        if let Some(open) = self.open.get_mut(slot).and_then(Option::take) {
            if open.writes.is_some() {
                self.keys.note(open.place, None);
            }
            self.keys.give_back(open.place);
        }
    }

    fn tell(&self, outcome: &mut Outcome) {
        outcome.compared = self.compared;
    }
}

/// A request's payload, in which only the numbers change: `{user_id, movie_id}`, and `rating` in an update.
struct Template {
    bytes: Vec<u8>,
    rating_at: Option<usize>,
}

impl Template {
    const USER_AT: usize = 1 + 8 + 1;
    const MOVIE_AT: usize = Self::USER_AT + 4 + 9 + 1;
    const RATING_AT: usize = Self::MOVIE_AT + 4 + 7 + 1;

    fn new(has_rating: bool) -> Self {
        let mut bytes = vec![0x80 | if has_rating { 3 } else { 2 }];
        for name in ["user_id", "movie_id"] {
            push_name(&mut bytes, name);
            bytes.extend([0xce, 0, 0, 0, 0]); // an unsigned integer of 32 bits
        }
        if has_rating {
            push_name(&mut bytes, "rating");
            bytes.push(0xcb); // a floating-point number of 64 bits
            bytes.extend([0; 8]);
        }
        Self { bytes, rating_at: has_rating.then_some(Self::RATING_AT) }
    }

    fn filled(&mut self, key: Key, half_stars: u8) -> Bytes {
        self.bytes[Self::USER_AT..][..4].copy_from_slice(&key.user_id.to_be_bytes());
        self.bytes[Self::MOVIE_AT..][..4].copy_from_slice(&key.movie_id.to_be_bytes());
        if let Some(at) = self.rating_at {
            self.bytes[at..][..8].copy_from_slice(&(f64::from(half_stars) / 2.0).to_be_bytes());
        }
        Bytes::copy_from_slice(&self.bytes)
    }
}

fn push_name(bytes: &mut Vec<u8>, name: &str) {
    bytes.push(0xa0 | name.len() as u8); // a text of up to 31 bytes
    bytes.extend_from_slice(name.as_bytes());
}

/// Up to `count` ratings of a data set in random order: all ratings of random users, read like any client does.
pub(super) async fn find_keys(client: &Client, subjects: &Subjects, users: u32, count: usize) -> Result<Keys> {
    let mut random = Rng::with_seed(1);
    let mut order: Vec<u32> = (1..=users).collect();
    random.shuffle(&mut order);
    let mut found = Vec::new();
    let asked = futures_util::stream::iter(order).map(|user_id| ratings_of(client, subjects, user_id));
    let mut asked = pin!(asked.buffered(USERS_AT_ONCE));
    while found.len() < count
        && let Some(ratings) = asked.try_next().await?
    {
        found.extend(ratings);
    }
    ensure!(!found.is_empty(), "users 1 to {users} have no ratings");
    // In their order here, neighbours would be ratings of one user.
    random.shuffle(&mut found);
    found.truncate(count);
    Ok(Keys::new(found))
}

/// All ratings of a user, page by page.
pub(crate) async fn ratings_of(client: &Client, subjects: &Subjects, user_id: u32) -> Result<Vec<(Key, u8)>> {
    #[derive(Serialize)]
    struct All {
        user_id: u32,
        limit: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<MovieId>,
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let request = Format::MessagePack.encode(&All { user_id, limit: ALL_LIMIT_MAX, after })?;
        let asked = client.request(subjects.frontend(Operation::All), request.into());
        let message = timeout(PAGE_PATIENCE, asked).await.context("no answer to `all`")??;
        if let Some(error) = error_in_headers(&message) {
            bail!("user {user_id}'s ratings: {error}");
        }
        let page: RatingsReply = Format::MessagePack.decode(&message.payload)?;
        found.extend(page.value.ratings.into_iter().filter_map(|rating| {
            Some((Key { user_id, movie_id: rating.movie_id.get() }, rating.rating?.half_stars()))
        }));
        after = page.value.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use natter_common::edge::decode_request;

    #[test]
    fn payloads_are_requests_of_the_contract() {
        let key = Key { user_id: 7, movie_id: 70_000 };
        let update = Template::new(true).filled(key, 9);
        let read = Template::new(false).filled(key, 0);
        for (operation, payload, has_rating) in [(Operation::Update, update, true), (Operation::Read, read, false)] {
            let value: serde_json::Value = rmp_serde::from_slice(&payload).unwrap();
            assert_eq!((value["user_id"].as_u64(), value["movie_id"].as_u64()), (Some(7), Some(70_000)));
            assert_eq!(value["rating"].as_f64(), has_rating.then_some(4.5));
            assert!(decode_request(operation, None, &payload).is_ok(), "{operation:?}");
        }
    }
}
