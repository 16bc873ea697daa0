//! The wire: everything that travels between simulated processes is encoded and decoded as between real ones.

use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Debug};
use std::hash::Hasher;
use std::sync::Arc;

use natter_common::cluster::ClusterId;
use natter_common::edge::{
    BatchReply, BatchReplyOf, ClientReply, ClientRequest, EncodedReply, ErrorBody, FrontendError, Outcome, OutcomeOf,
    ReplyOf, SingleOperation, decode_request, encode_batch_reply, encode_reply,
};
use natter_common::ids::UpdateId;
use natter_common::label::Label;
use natter_common::rating::{Average, Movies, Rating, Ratings};
use natter_common::request::{Answer, Query, Update};
use natter_common::subjects::Operation;
use natter_common::wire::{self, Format};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::ClientAnswer;

/// Maximum payload of a reply, in bytes: the broker's default.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Bytes on their way. Their debug text is a hash: an exhaustive search writes every state as text.
#[derive(Clone)]
pub struct Payload(Arc<[u8]>);

impl Payload {
    /// These bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        write!(f, "{:x}", hasher.finish())
    }
}

/// A client's request as it travels.
#[derive(Clone, Debug)]
pub struct Question {
    operation: Operation,
    /// The subject's last token, where the subject names the user.
    user: Option<String>,
    payload: Payload,
}

/// The forms in which a client can send the same request.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// MessagePack or JSON.
    pub format: Format,
    /// Whether the user is taken from the subject.
    pub in_subject: bool,
    /// Whether it is the only operation of a batch, where batches have it.
    pub in_batch: bool,
}

impl Form {
    /// Every form in turn, so that each meets with everything that can happen.
    pub fn of(number: u64) -> Self {
        let format = if number.is_multiple_of(5) { Format::Json } else { Format::MessagePack };
        Self { format, in_subject: number.is_multiple_of(2), in_batch: number.is_multiple_of(3) }
    }
}

#[derive(Default, Serialize)]
struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    movie_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<UpdateId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<&'a Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ClusterId>,
}

#[derive(Serialize)]
struct Batch<'a> {
    operations: [Fields<'a>; 1],
    prev: &'a Label,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ClusterId>,
}

fn of_update(update: &Update, id: Option<UpdateId>) -> (Operation, Fields<'_>) {
    let operation = match update {
        Update::Create { .. } => Operation::Create,
        Update::Update { .. } => Operation::Update,
        Update::Delete { .. } => Operation::Delete,
    };
    let (key, rating) = (update.key(), update.stars().map(|stars| stars.as_f64()));
    let (user_id, movie_id) = (Some(key.user_id.get()), Some(key.movie_id.get()));
    (operation, Fields { user_id, movie_id, rating, id, ..Fields::default() })
}

fn of_query(query: &Query) -> (Operation, Fields<'_>) {
    let none = Fields::default();
    match query {
        Query::Read { user_id, movie_id } => {
            (Operation::Read, Fields { user_id: Some(user_id.get()), movie_id: Some(movie_id.get()), ..none })
        }
        Query::All { user_id, limit, after } => {
            (Operation::All, Fields { user_id: Some(user_id.get()), limit: Some(*limit), after: Some(*after), ..none })
        }
        Query::Average { movie_id } => (Operation::Average, Fields { movie_id: Some(movie_id.get()), ..none }),
        Query::Search { title, limit } => {
            (Operation::Search, Fields { title: Some(title), limit: Some(*limit), ..none })
        }
    }
}

impl Question {
    /// Encodes a request of one operation.
    pub fn encode(request: &ClientRequest, form: Form) -> Self {
        let (operation, mut fields, prev, cluster) = match request {
            ClientRequest::Update { request, id, prev, cluster } => {
                let (operation, fields) = of_update(request, *id);
                (operation, fields, prev, cluster.as_ref())
            }
            ClientRequest::Query { request, prev, cluster } => {
                let (operation, fields) = of_query(request);
                (operation, fields, prev, cluster.as_ref())
            }
            ClientRequest::Batch(_) => panic!("a simulated client asks one thing at a time"),
        };
        let in_batch = form.in_batch && !matches!(operation, Operation::All | Operation::Search);
        let user = fields.user_id.take_if(|_| form.in_subject && !in_batch).map(|user| user.to_string());
        let payload = if in_batch {
            fields.op = Some(operation.name());
            form.format.encode(&Batch { operations: [fields], prev, cluster })
        } else {
            (fields.prev, fields.cluster) = (Some(prev), cluster);
            form.format.encode(&fields)
        };
        let operation = if in_batch { Operation::Batch } else { operation };
        Self { operation, user, payload: Payload::new(payload.expect("a request can be encoded")) }
    }

    /// Decodes it as a frontend does.
    pub fn decode(&self) -> Result<ClientRequest, FrontendError> {
        decode_request(self.operation, self.user.as_deref(), self.payload.bytes())
    }

    /// Whether it is for a query.
    pub fn is_query(request: &ClientRequest) -> bool {
        match request {
            ClientRequest::Query { .. } => true,
            ClientRequest::Update { .. } => false,
            ClientRequest::Batch(batch) => matches!(&batch.operations[..], [Ok(SingleOperation::Query(_))]),
        }
    }

    /// The encoding, which is also that of the reply.
    pub fn format(&self) -> Format {
        Format::of(self.payload.bytes())
    }
}

/// A message after its way over the wire.
pub fn carried<T: Serialize + DeserializeOwned>(message: &T) -> T {
    wire::encode(message).and_then(|payload| wire::decode(&payload)).expect("every message can be encoded and decoded")
}

fn read<T: DeserializeOwned>(format: Format, body: &[u8]) -> T {
    format.decode(body).unwrap_or_else(|error| panic!("a reply is not understood: {error}"))
}

/// A frontend's answer after its way to the client.
pub fn heard(answer: &ClientAnswer, cluster: Option<&ClusterId>, format: Format) -> ClientAnswer {
    fn reply<T: DeserializeOwned>(format: Format, body: &[u8], kind: impl Fn(T) -> Answer) -> ClientAnswer {
        let ReplyOf { value, label, replicas, .. } = read::<ReplyOf<T>>(format, body);
        Ok(ClientReply { value: kind(value), label, replicas })
    }
    let EncodedReply { body, error, .. } = encode_reply(answer, cluster, format).expect("an answer can be encoded");
    assert_eq!(error.is_some(), answer.is_err(), "an error has headers");
    match answer {
        Ok(ClientReply { value: Answer::Rating(_), .. }) => reply(format, &body, Answer::Rating),
        Ok(ClientReply { value: Answer::Ratings(_), .. }) => reply(format, &body, Answer::Ratings),
        Ok(ClientReply { value: Answer::Average(_), .. }) => reply(format, &body, Answer::Average),
        Ok(ClientReply { value: Answer::Movies(_), .. }) => reply(format, &body, Answer::Movies),
        Err(error) => Err(match error.label() {
            Some(_) => with_label(error, read::<ErrorBody>(format, &body).label),
            None => error.clone(),
        }),
    }
}

/// The answer to the only operation of a batch, after its way to the client.
pub fn heard_of_one(answer: &BatchReply, cluster: Option<&ClusterId>, format: Format) -> ClientAnswer {
    fn outcome<T: DeserializeOwned + Debug>(format: Format, body: &[u8], kind: impl Fn(T) -> Answer) -> ClientAnswer {
        let BatchReplyOf { outcomes, label, .. } = read::<BatchReplyOf<T>>(format, body);
        let [OutcomeOf { value: Some(value), replicas: Some(replicas), error: None }] =
            <[OutcomeOf<T>; 1]>::try_from(outcomes).expect("one outcome")
        else {
            panic!("a value was expected")
        };
        Ok(ClientReply { value: kind(value), label, replicas })
    }
    let EncodedReply { body, error, .. } =
        encode_batch_reply(answer, cluster, format, REPLY_BYTES_MAX).expect("an answer can be encoded");
    assert!(error.is_none(), "a reply to a batch is no error");
    match &answer.outcomes[..] {
        [Outcome::Written(reply) | Outcome::Read(reply)] => match reply.value {
            Answer::Rating(_) => outcome::<Rating>(format, &body, Answer::Rating),
            Answer::Ratings(_) => outcome::<Ratings>(format, &body, Answer::Ratings),
            Answer::Average(_) => outcome::<Average>(format, &body, Answer::Average),
            Answer::Movies(_) => outcome::<Movies>(format, &body, Answer::Movies),
        },
        [Outcome::Failed(error)] => {
            let read: BatchReplyOf<Rating> = read(format, &body);
            let code = read.outcomes.first().and_then(|outcome| outcome.error.as_ref()).map(|error| error.code);
            assert_eq!(code, Some(error.code()), "the outcome has the code of the error");
            Err(with_label(error, read.label))
        }
        other => panic!("one outcome was expected, but: {other:?}"),
    }
}

fn with_label(error: &FrontendError, heard: Label) -> FrontendError {
    match error.clone() {
        FrontendError::Refused { refusal, text, .. } => FrontendError::Refused { refusal, text, label: heard },
        other => other,
    }
}
