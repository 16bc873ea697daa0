//! Names of things, each a type of its own so that they cannot be swapped.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::clock::Stamp;

/// The longest id token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 64;

/// Shape of a replica id, for messages.
pub(crate) const ID_SHAPE: &str = "an id of 1 to 64 of the characters A-Z a-z 0-9 _ -";

/// Maximum ids of messages that share their tokens; a further one takes the place of another.
const KNOWN_IDS_MAX: usize = 256;

/// Reason why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not a token of `[A-Za-z0-9_-]{1,64}`.
    #[error("{text:?} is not an id: use 1 to 64 of the characters A-Z a-z 0-9 _ -")]
    NotAToken {
        /// The offending text, shortened to 80 characters.
        text: String,
    },
    /// The number is not between 1 and 2³²−1.
    #[error("{value} is out of range: use an integer from 1 to 4294967295")]
    OutOfRange {
        /// The offending number.
        value: i128,
    },
}

/// Whether `text` is a token of `[A-Za-z0-9_-]{1,64}`, and so may stand in a subject.
pub fn is_token(text: &str) -> bool {
    (1..=TOKEN_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Names a replica manager (or a frontend) for one life: a token of `[A-Za-z0-9_-]{1,64}`, never reused with
/// other sequence numbers.
#[derive(Clone, Eq)]
pub struct ReplicaId(Arc<str>);

impl PartialEq for ReplicaId {
    fn eq(&self, other: &Self) -> bool {
        // Mostly it is compared with a copy of itself.
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Hash for ReplicaId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Ord for ReplicaId {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for ReplicaId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ReplicaId {
    /// Checks that `text` is a token.
    ///
    /// # Errors
    ///
    /// [`IdError::NotAToken`].
    pub fn new(text: &str) -> Result<Self, IdError> {
        if is_token(text) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(IdError::NotAToken { text: text.chars().take(80).collect() })
        }
    }

    /// A text that is known to be a token.
    pub(crate) fn token(text: &str) -> Self {
        debug_assert!(is_token(text), "{text:?} is not a token");
        Self(Arc::from(text))
    }

    /// As [`ReplicaId::new`], but ids that come again and again, as in messages, share one token: then most comparisons
    /// end at their addresses.
    ///
    /// # Errors
    ///
    /// [`IdError::NotAToken`].
    pub fn known(text: &str) -> Result<Self, IdError> {
        thread_local! {
            static KNOWN: RefCell<[Option<ReplicaId>; KNOWN_IDS_MAX]> = const { RefCell::new([const { None }; KNOWN_IDS_MAX]) };
        }
        let hash = text.bytes().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        KNOWN.with_borrow_mut(|known| {
            let place = &mut known[hash % KNOWN_IDS_MAX];
            match place {
                Some(id) if id.as_str() == text => Ok(id.clone()),
                _ => {
                    let id = Self::new(text)?;
                    *place = Some(id.clone());
                    Ok(id)
                }
            }
        })
    }

    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplicaId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Borrow<str> for ReplicaId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ReplicaId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ReplicaId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ReplicaId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(ID_SHAPE)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ReplicaId, E> {
                ReplicaId::known(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Names one update for ever, so that it takes effect once however often it is sent. A UUID, as text on the wire.
///
/// Ids that Natter makes are of version 7 and carry their stamp: [`UpdateId::from_stamp`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpdateId(Uuid);

impl Ord for UpdateId {
    fn cmp(&self, other: &Self) -> Ordering {
        // As one number: the same order as that of the bytes, and a few instructions in place of a call.
        self.0.as_u128().cmp(&other.0.as_u128())
    }
}

impl PartialOrd for UpdateId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl UpdateId {
    /// A version 7 UUID whose 48 time bits and whose next 16 free bits (12 after the version, 4 after the variant) are
    /// `stamp`; the other 58 bits are the low bits of `random`.
    pub fn from_stamp(stamp: Stamp, random: u64) -> Self {
        let milliseconds = u128::from(stamp.milliseconds());
        let counter = u128::from(stamp.counter());
        let random = u128::from(random) & ((1 << 58) - 1);
        let bits = (milliseconds << 80)
            | (0x7 << 76)
            | ((counter >> 4) << 64)
            | (0b10 << 62)
            | ((counter & 0xf) << 58)
            | random;
        Self(Uuid::from_u128(bits))
    }

    /// The stamp in the time and counter bits, if this is a version 7 UUID.
    pub fn stamp(self) -> Option<Stamp> {
        let bits = self.0.as_u128();
        (self.0.get_version_num() == 7).then(|| {
            let milliseconds = (bits >> 80) as u64;
            let counter = (((bits >> 64) as u16 & 0xfff) << 4) | ((bits >> 58) as u16 & 0xf);
            Stamp::new(milliseconds, counter)
        })
    }

    /// Time at which the id was made, in Unix milliseconds, if its version (1, 6 or 7) shows that.
    pub fn milliseconds(self) -> Option<u64> {
        let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
        Some(seconds * 1000 + u64::from(nanoseconds) / 1_000_000)
    }

    /// The UUID itself.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// Any UUID is an id.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// All 128 bits, most significant first: the order of ids.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for UpdateId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for UpdateId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
    }
}

impl<'de> Deserialize<'de> for UpdateId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = UpdateId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UUID as text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<UpdateId, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u32")]
        pub struct $name(u32);

        impl $name {
            /// The smallest one.
            pub const FIRST: Self = Self(1);

            /// The id with this number.
            ///
            /// # Errors
            ///
            /// [`IdError::OutOfRange`] for 0.
            pub fn new(value: u32) -> Result<Self, IdError> {
                Self::try_from(u64::from(value))
            }

            /// The number itself, from 1 to 2³²−1.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = IdError;
            fn try_from(value: u64) -> Result<Self, IdError> {
                match u32::try_from(value) {
                    Ok(number) if number > 0 => Ok(Self(number)),
                    _ => Err(IdError::OutOfRange { value: i128::from(value) }),
                }
            }
        }

        impl From<$name> for u32 {
            fn from(id: $name) -> u32 {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id! {
    /// A person who rates: an integer from 1 to 2³²−1.
    UserId
}
number_id! {
    /// A movie, by MovieLens' number: an integer from 1 to 2³²−1.
    MovieId
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_replica_id_is_a_token() {
        for good in ["a", "replica-1_B", &"x".repeat(64)] {
            assert!(ReplicaId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a.b", "a b", "ä", "*", ">", &"x".repeat(65)] {
            assert!(ReplicaId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn user_and_movie_ids_begin_at_one_and_end_at_32_bits() {
        assert!(UserId::try_from(0).is_err());
        assert!(MovieId::try_from(1 << 32).is_err());
        assert_eq!(UserId::try_from(u64::from(u32::MAX)).unwrap().get(), u32::MAX);
    }

    #[test]
    fn what_is_no_id_is_told_shortened() {
        let error = ReplicaId::new(&"ä".repeat(100)).unwrap_err();
        assert_eq!(error, IdError::NotAToken { text: "ä".repeat(80) });
        assert_eq!("a.b".parse::<ReplicaId>(), ReplicaId::new("a.b"));
    }

    #[test]
    fn copies_of_an_id_and_ids_of_equal_text_are_the_same() {
        let (id, other) = (ReplicaId::new("b").unwrap(), ReplicaId::new("b").unwrap());
        assert!(id == id.clone() && id == other && id.cmp(&id.clone()) == Ordering::Equal);
        assert_eq!(id.cmp(&other), Ordering::Equal);
        let less = ReplicaId::new("a").unwrap();
        assert!(less < id && less != id && less.partial_cmp(&id) == Some(Ordering::Less));
        let by_id = std::collections::BTreeMap::from([(id.clone(), 1)]);
        assert_eq!((by_id.get("b"), by_id.get("a")), (Some(&1), None), "found by its text");
        let hash = |id: &ReplicaId| {
            let mut hasher = std::hash::DefaultHasher::new();
            id.hash(&mut hasher);
            hasher.finish()
        };
        assert!(hash(&id) == hash(&other) && hash(&id) != hash(&less));
        assert_eq!((format!("{id} {id:?}"), id.as_str()), ("b b".to_owned(), "b"));
    }

    #[test]
    fn an_id_of_the_wire_is_checked_and_its_error_says_what_is_expected() {
        let read = |json: &str| serde_json::from_str::<ReplicaId>(json).map_err(|error| error.to_string());
        assert_eq!(read("\"a\""), Ok(ReplicaId::new("a").unwrap()));
        assert!(read("\"a.b\"").unwrap_err().contains("is not an id"));
        assert!(read("7").unwrap_err().contains("an id of 1 to 64"));
        let update = |json: &str| serde_json::from_str::<UpdateId>(json).map_err(|error| error.to_string());
        assert!(update("\"x\"").unwrap_err().contains("a UUID as text"));
        assert!(update("7").unwrap_err().contains("a UUID as text"));
        let user = |json: &str| serde_json::from_str::<UserId>(json).map_err(|error| error.to_string());
        assert!(user("0").unwrap_err().contains("from 1 to 4294967295"));
        assert_eq!(user("7").map(|user| (user.get(), user.to_string())), Ok((7, "7".to_owned())));
    }

    #[test]
    fn versions_that_show_it_say_when_an_id_was_made() {
        let made = |text: &str| text.parse::<UpdateId>().unwrap().milliseconds();
        assert_eq!(made("019a0000-0000-7000-8000-000000000001"), Some(0x019a_0000_0000));
        // The example of RFC 9562, appendix A: 2022-02-22 14:22:22.
        assert_eq!(made("C232AB00-9414-11EC-B3C8-9F6BDECED846"), Some(1_645_557_742_000));
        assert_eq!(made("1EC9414C-232A-6B00-B3C8-9F6BDECED846"), Some(1_645_557_742_000));
        assert_eq!(made("919108f7-52d1-4320-9bac-f847db4148a8"), None);
        let id: UpdateId = "919108f7-52d1-4320-9bac-f847db4148a8".parse().unwrap();
        assert_eq!((id.stamp(), id.as_bytes()[0]), (None, 0x91));
        assert_eq!((id.to_string(), format!("{id:?}")), (id.as_uuid().to_string(), id.as_uuid().to_string()));
        assert_eq!(UpdateId::from_uuid(id.as_uuid()), id);
    }

    proptest! {
        #[test]
        fn an_id_carries_its_stamp(milliseconds in 0u64..1 << 48, counter: u16, random: u64) {
            let stamp = Stamp::new(milliseconds, counter);
            let id = UpdateId::from_stamp(stamp, random);
            prop_assert_eq!(id.stamp(), Some(stamp));
            prop_assert_eq!(id.as_uuid().get_version_num(), 7);
            prop_assert_eq!(id.as_uuid().get_variant(), uuid::Variant::RFC4122);
            prop_assert_eq!(id.to_string().parse::<UpdateId>().unwrap(), id);
        }
    }
}
