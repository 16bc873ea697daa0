//! Decoders of messages between processes, and from clients.

use std::fmt::Debug;
use std::sync::Arc;

use natter_common::clock::Stamp;
use natter_common::cluster::ClusterNames;
use natter_common::edge::{
    AverageReply, BatchReplyOf, ClientReply, ClientRequest, EncodedReply, ErrorBody, FrontendError, MoviesReply,
    OPERATIONS_MAX, RatingReply, RatingsReply, SingleOperation, decode_request, encode_reply,
};
use natter_common::ids::{ReplicaId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::messages::{
    Acknowledgement, ConfirmRequest, Gossip, LogPage, LogRequest, Presence, QueryRequest, Replies, Requests,
    SnapshotReply, SnapshotRequest, StatusReply, StatusRequest, UpdateRequest,
};
use natter_common::rating::Rating;
use natter_common::record::Record;
use natter_common::replica_manager::durable::{SavedMember, State};
use natter_common::request::{ALL_LIMIT_MAX, Answer, Query, SEARCH_LIMIT_MAX, Update};
use natter_common::subjects::{Operation, Subjects};
use natter_common::wire::{Format, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Decoder;
use natter_simulation::hostile::draw::Draw;
use natter_simulation::hostile::messages::Messages;
use natter_simulation::simulation::process::EPOCH_MS;

/// Maximum length of a message that is read and written again, as a multiple of its length, beside [`SPARE_BYTES`]:
/// fields that were left out.
const TIMES_MAX: usize = 8;
const SPARE_BYTES: usize = 1024;

fn messages(bytes: &[u8]) -> Messages<'_> {
    Messages::new(bytes, EPOCH_MS)
}

/// A message of either encoding, if these bytes are one.
fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(format: Format, bytes: &[u8]) -> bool {
    let Ok(message) = format.decode::<T>(bytes) else { return false };
    let written = format.encode(&message).expect("what was read can be written");
    let length_max = TIMES_MAX * bytes.len() + SPARE_BYTES;
    assert!(written.len() <= length_max, "{} bytes became {}", bytes.len(), written.len());
    let again: T = format.decode(&written).unwrap_or_else(|error| panic!("{message:?} does not read again: {error}"));
    assert_eq!(format.encode(&again).ok(), Some(written), "{message:?} reads as {again:?}");
    // Only a message with a NaN differs from itself.
    #[expect(clippy::eq_op, reason = "that is the question")]
    let is_itself = message == message;
    assert!(again == message || !is_itself, "{message:?} reads as {again:?}");
    true
}

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> bool {
    read::<T>(Format::MessagePack, bytes)
}

/// Checks a message that a person may type.
fn check_both<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> bool {
    read::<T>(Format::of(bytes), bytes)
}

/// Encodes a message of a sound process, and checks that it reads as it was.
fn sent<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T) -> Vec<u8> {
    let bytes = encode(message).expect("a sound message can be written");
    assert!(check::<T>(&bytes), "{message:?} can't be read");
    let read: T = decode(&bytes).expect("it was read a moment ago");
    #[expect(clippy::eq_op, reason = "what is not a number differs from itself")]
    let is_itself = message == message;
    assert!(read == *message || !is_itself, "{message:?} reads as {read:?}");
    bytes
}

fn rewrite<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    let message: T = Format::of(bytes).decode(bytes).ok()?;
    Some(encode(&message).expect("what was read can be written"))
}

macro_rules! decoders {
    ($($(#[$doc:meta])* $name:ident $text:literal $check:ident $type:ty = $draw:expr;)*) => {
        $(
            $(#[$doc])*
            pub const $name: Decoder = Decoder {
                name: $text,
                check: $check::<$type>,
                example: |bytes| sent::<$type>(&drawn(&mut messages(bytes), $draw)),
                rewrite: Some(rewrite::<$type>),
                cost: 1,
            };
        )*
    };
}

fn drawn<'bytes, T>(messages: &mut Messages<'bytes>, one: fn(&mut Messages<'bytes>) -> T) -> T {
    one(messages)
}

fn requests<'bytes, T>(messages: &mut Messages<'bytes>, one: fn(&mut Messages<'bytes>) -> T) -> Requests<T> {
    Requests { requests: (0..messages.draw.below(4)).map(|_| one(messages)).collect() }
}

decoders! {
    /// Gossip.
    GOSSIP "gossip" check Gossip = Messages::gossip;
    /// A record.
    RECORD "record" check Record = Messages::record;
    /// Records that a replica says to hold.
    ACKNOWLEDGEMENT "acknowledgement" check Acknowledgement = Messages::acknowledgement;
    /// A pull.
    LOG_REQUEST "log_request" check LogRequest = Messages::log_request;
    /// The answer to one.
    LOG_PAGE "log_page" check LogPage = Messages::log_page;
    /// Updates in a batch.
    UPDATES "updates" check Requests<UpdateRequest> = |messages| requests(messages, Messages::update_request);
    /// Queries in a batch.
    QUERIES "queries" check Requests<QueryRequest> = |messages| requests(messages, Messages::query_request);
    /// Confirms in a batch.
    CONFIRMS "confirms" check Requests<ConfirmRequest> = |messages| requests(messages, Messages::confirm_request);
    /// Replies in a batch.
    REPLIES "replies" check Replies = Messages::replies;
    /// A request for a chunk of a snapshot.
    SNAPSHOT_REQUEST "snapshot_request" check SnapshotRequest = Messages::snapshot_request;
    /// A chunk.
    SNAPSHOT_REPLY "snapshot_reply" check SnapshotReply = Messages::snapshot_reply;
    /// Presence.
    PRESENCE "presence" check Presence = Messages::presence;
    /// A question for the status, which a person may type.
    STATUS_REQUEST "status_request" check_both StatusRequest = Messages::status_request;
    /// The answer to it.
    STATUS_REPLY "status_reply" check_both StatusReply = Messages::status_reply;
    /// A label, as clients keep it.
    LABEL "label" check_both Label = Messages::label;
    /// State of a durable replica.
    STATE "state" check State = state;
}

fn state(messages: &mut Messages<'_>) -> State {
    State {
        value_timestamp: messages.draw.replicas(),
        replica_timestamp: messages.draw.replicas(),
        starts: messages.draw.replicas(),
        clock: messages.draw.stamp(EPOCH_MS),
        merging: None,
        members: messages.draw.some(3, |draw| SavedMember {
            id: draw.id(),
            durable: draw.byte().is_multiple_of(2),
            replica_timestamp: draw.replicas(),
            heard_wall_ms: draw.count(),
        }),
        cluster: ClusterNames {
            id: messages.draw.perhaps(Draw::cluster),
            aliases: messages.draw.some(3, Draw::cluster),
        },
        ran_ms: messages.draw.count(),
    }
}

/// A frontend's reply to any operation, as a client reads it; and the body of an error.
pub const CLIENT_REPLY: Decoder = Decoder {
    name: "client_reply",
    check: check_client_reply,
    example: client_reply,
    rewrite: Some(rewrite_client_reply),
    cost: 2,
};

fn rewrite_client_reply(bytes: &[u8]) -> Option<Vec<u8>> {
    fn shown<T: DeserializeOwned + Debug>(bytes: &[u8]) -> Option<Vec<u8>> {
        Format::of(bytes).decode::<T>(bytes).ok().map(|reply| format!("{reply:?}").into_bytes())
    }
    let readers = [shown::<RatingReply>, shown::<RatingsReply>, shown::<AverageReply>, shown::<MoviesReply>];
    readers.iter().find_map(|reads| reads(bytes))
}

fn check_client_reply(bytes: &[u8]) -> bool {
    fn value<T: DeserializeOwned>(bytes: &[u8]) -> bool {
        Format::of(bytes).decode::<T>(bytes).is_ok()
    }
    let readers = [
        value::<RatingReply>,
        value::<RatingsReply>,
        value::<AverageReply>,
        value::<MoviesReply>,
        check_both::<ErrorBody>,
        check_both::<BatchReplyOf<Rating>>,
    ];
    // Each has a look at it.
    readers.iter().filter(|reads| reads(bytes)).count() > 0
}

fn client_reply(bytes: &[u8]) -> Vec<u8> {
    let mut messages = messages(bytes);
    let format = if messages.draw.byte().is_multiple_of(2) { Format::Json } else { Format::MessagePack };
    let (value, label, replicas) = (messages.answer(), messages.label(), vec![messages.draw.id()]);
    let is_read = match &value {
        Answer::Rating(_) => |body: &[u8], format: Format| format.decode::<RatingReply>(body).is_ok(),
        Answer::Ratings(_) => |body: &[u8], format: Format| format.decode::<RatingsReply>(body).is_ok(),
        Answer::Average(_) => |body: &[u8], format: Format| format.decode::<AverageReply>(body).is_ok(),
        Answer::Movies(_) => |body: &[u8], format: Format| format.decode::<MoviesReply>(body).is_ok(),
    };
    let reply = ClientReply { value, label, replicas };
    let EncodedReply { body, .. } = encode_reply(&Ok(reply), None, format).expect("an answer can be written");
    assert!(is_read(&body, format), "a client can't read {}", String::from_utf8_lossy(&body));
    body
}

/// Requests of clients, in either encoding, of each operation, with and without a user in the subject.
pub const CLIENT_REQUEST: Decoder = Decoder {
    name: "client_request",
    check: check_client_request,
    example: client_request,
    rewrite: Some(rewrite_client_request),
    cost: 4,
};

/// The requests that the operations make of it; `None` where one of them refuses it.
fn rewrite_client_request(bytes: &[u8]) -> Option<Vec<u8>> {
    let understood = |operation| decode_request(operation, None, bytes).ok();
    let requests: Option<Vec<_>> = Operation::ALL.into_iter().map(understood).collect();
    requests.map(|requests| format!("{requests:?}").into_bytes())
}

fn check_client_request(bytes: &[u8]) -> bool {
    let mut is_read = false;
    for operation in Operation::ALL {
        for user in [None, Some("7"), Some("07"), Some("")].into_iter().take(if operation.has_user() { 4 } else { 1 }) {
            let request = decode_request(operation, user, bytes);
            is_read |= request.is_ok();
            match &request {
                Ok(ClientRequest::Query { request, .. }) => check_limits(request),
                Ok(ClientRequest::Update { request, .. }) => check_user(request, user),
                Ok(ClientRequest::Batch(batch)) => {
                    assert!(batch.operations.len() <= OPERATIONS_MAX);
                    for operation in &batch.operations {
                        match operation {
                            Ok(SingleOperation::Query(request)) => check_limits(request),
                            Ok(SingleOperation::Update { request, .. }) => check_user(request, user),
                            Err(error) => check_error(error),
                        }
                    }
                }
                Err(error) => check_error(error),
            }
            check_other_encoding(operation, user, bytes);
        }
    }
    is_read
}

/// Checks that the user in the subject counts.
fn check_user(update: &Update, user: Option<&str>) {
    assert!(user.is_none_or(|user| user == update.key().user_id.to_string()), "{update:?} of user {user:?}");
}

fn check_error(error: &FrontendError) {
    assert!(error.code() == 400 && error.label().is_none());
    assert!(error.to_string().len() < 2000, "a header of {} bytes", error.to_string().len());
}

fn check_limits(query: &Query) {
    match query {
        Query::All { limit, .. } => assert!((1..=ALL_LIMIT_MAX).contains(limit)),
        Query::Search { limit, .. } => assert!((1..=SEARCH_LIMIT_MAX).contains(limit)),
        Query::Read { .. } | Query::Average { .. } => {}
    }
}

/// Checks that a map means the same in both encodings.
fn check_other_encoding(operation: Operation, user: Option<&str>, bytes: &[u8]) {
    if Format::of(bytes) != Format::Json {
        return;
    }
    // The last one counts here of fields that come twice.
    let Ok(map) = serde_json::from_slice::<Value>(bytes) else { return };
    let (json, packed) = (serde_json::to_vec(&map), rmp_serde::to_vec_named(&map));
    let (json, packed) = (json.expect("JSON again"), packed.expect("any map can be packed"));
    if depth(&map) > natter_common::wire::DEPTH_MAX / 2 {
        return;
    }
    let (typed, sent) = (decode_request(operation, user, &json), decode_request(operation, user, &packed));
    assert_eq!(typed.as_ref().ok(), sent.as_ref().ok(), "JSON: {typed:?}, MessagePack: {sent:?}");
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn client_request(bytes: &[u8]) -> Vec<u8> {
    let mut messages = messages(bytes);
    let label = serde_json::to_value(messages.label()).expect("a label is JSON");
    let mut map = serde_json::json!({ "prev": label });
    let mut set = |name: &str, value: Value| map[name] = value;
    set("user_id", messages.draw.user().get().into());
    set("movie_id", messages.draw.movie().get().into());
    set("rating", messages.draw.stars().as_f64().into());
    set("title", messages.text().into());
    set("limit", (1 + messages.draw.count() / 2).into());
    set("after", (messages.draw.count() as u32).into());
    set("id", messages.draw.update_id().to_string().into());
    let mut single = map.clone();
    if let Some(fields) = single.as_object_mut() {
        fields.remove("prev");
    }
    single["op"] = messages.draw.one_of(&Operation::ALL).name().into();
    map["operations"] = vec![single; messages.draw.below(3)].into();
    let format = if messages.draw.byte().is_multiple_of(2) { Format::Json } else { Format::MessagePack };
    let bytes = format.encode(&map).expect("a request can be written");
    for operation in Operation::ALL {
        let request = decode_request(operation, None, &bytes);
        assert!(request.is_ok(), "{} of {map}: {request:?}", operation.name());
    }
    bytes
}

/// Ids, prefixes and subjects as texts.
pub const IDS: Decoder = Decoder {
    name: "ids",
    check: check_ids,
    example: |bytes| messages(bytes).draw.update_id().to_string().into_bytes(),
    rewrite: None,
    cost: 1,
};

fn check_ids(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let token = Subjects::last_token(text);
    assert!(!token.contains('.') && text.ends_with(token));
    if let Ok(id) = ReplicaId::new(text) {
        assert!(id.to_string() == text && Arc::<str>::from(text) == Arc::from(id.as_str()));
        let subject = Subjects::new("a.b").expect("a prefix").gossip(&id);
        assert_eq!(Subjects::last_token(&subject), text);
    }
    if let Some(subjects) = Subjects::new(text) {
        assert!(subjects.prefix() == text && !text.contains(['*', '>', ' ']) && !text.contains(".."));
    }
    if let Ok(user) = text.parse::<u64>().map_err(drop).and_then(|number| UserId::try_from(number).map_err(drop)) {
        assert_eq!(text.parse(), Ok(user.get()));
    }
    let Ok(id) = text.parse::<UpdateId>() else { return false };
    // Made from its stamp and its other bits, a version 7 is itself again.
    let standard = UpdateId::from_stamp(Stamp::ZERO, 0).as_uuid().get_variant();
    if let Some(stamp) = id.stamp().filter(|_| id.as_uuid().get_variant() == standard) {
        assert_eq!(UpdateId::from_stamp(stamp, id.as_uuid().as_u128() as u64), id);
    }
    let made_ms = id.milliseconds();
    assert!(made_ms.is_none_or(|made_ms| made_ms < u64::MAX / 2));
    assert_eq!(id.to_string().parse(), Ok(id));
    true
}
