//! One of each kind of message.

use std::sync::Arc;

use natter_common::cluster::ClusterId;
use natter_common::edge::{Answers, ClientBatch, ClientRequest, FrontendError, SingleOperation};
use natter_common::label::Label;
use natter_common::messages::{
    Acknowledgement, ConfirmRequest, Gossip, LogPage, LogRequest, Mode, NumberedReply, Presence, QueryRequest, Refusal,
    Replies, Reply, Role, SnapshotChunk, SnapshotPart, SnapshotPlace, SnapshotReply, SnapshotRequest, SnapshotRow,
    Status, StatusReply, StatusRequest, UpdateRequest,
};
use natter_common::presence::{LostRecords, SnapshotProgress};
use natter_common::rating::{Average, Movie, Movies, Rating, Ratings};
use natter_common::record::{Deleted, ExecutedOperation, Record, RecordRef};
use natter_common::request::{Answer, Query, Update};
use natter_common::timestamp::Timestamp;
use natter_common::value::Digest;

use super::draw::Draw;

/// The data set of the core that hears the messages.
pub const DATASET: &str = "films";

/// Draws messages as they would be sent about this time, in Unix milliseconds.
#[derive(Clone, Debug)]
pub struct Messages<'bytes> {
    /// Source of the random choices.
    pub draw: Draw<'bytes>,
    /// Present time of the wall clock, in Unix milliseconds.
    pub wall_ms: u64,
}

impl<'bytes> Messages<'bytes> {
    /// From these bytes.
    pub fn new(bytes: &'bytes [u8], wall_ms: u64) -> Self {
        Self { draw: Draw::new(bytes), wall_ms }
    }

    /// An update's content.
    pub fn update(&mut self) -> Update {
        let (user_id, movie_id, rating) = (self.draw.user(), self.draw.movie(), self.draw.stars());
        match self.draw.below(3) {
            0 => Update::Create { user_id, movie_id, rating },
            1 => Update::Update { user_id, movie_id, rating },
            _ => Update::Delete { user_id, movie_id },
        }
    }

    /// A query's content.
    pub fn query(&mut self) -> Query {
        let (user_id, movie_id) = (self.draw.user(), self.draw.movie());
        match self.draw.below(4) {
            0 => Query::Read { user_id, movie_id },
            1 => Query::All { user_id, limit: self.draw.count() as u32, after: self.draw.count() as u32 },
            2 => Query::Average { movie_id },
            _ => Query::Search { title: self.text(), limit: self.draw.count() as u32 },
        }
    }

    /// A text.
    pub fn text(&mut self) -> String {
        match self.draw.below(8) {
            7 => "\u{0}%_\"\\\u{7f}\u{fffd}é".repeat(1 + self.draw.below(40)),
            length => "La dolce vita"[..length].to_owned(),
        }
    }

    /// Label of a session.
    pub fn label(&mut self) -> Label {
        Label { replicas: self.draw.timestamp(), clock: self.draw.stamp(self.wall_ms) }
    }

    fn deleted(&mut self) -> Deleted {
        let (rating, timestamp) = (self.draw.stars(), self.draw.count() as i64);
        Deleted { rating, timestamp, update_id: self.draw.perhaps(Draw::update_id) }
    }

    /// A record of an update, or one that retires.
    pub fn record(&mut self) -> Record {
        let request = if self.draw.once_in(8) { None } else { Some(self.update()) };
        let is_absurd = self.draw.once_in(16);
        let retires = if request.is_none() != is_absurd { self.draw.timestamp() } else { Default::default() };
        let deleted = if matches!(request, Some(Update::Delete { .. })) { Some(self.deleted()) } else { None };
        Record {
            id: self.draw.update_id(),
            i: self.draw.id(),
            seq: self.draw.count(),
            prev: self.draw.timestamp(),
            request,
            retires,
            stamp: self.draw.stamp(self.wall_ms),
            copies: if self.draw.once_in(8) { self.draw.count() as u32 } else { 1 + self.draw.below(4) as u32 },
            deleted,
        }
    }

    /// Some records.
    pub fn records(&mut self) -> Vec<Arc<Record>> {
        (0..self.draw.below(5)).map(|_| Arc::new(self.record())).collect()
    }

    fn names(&mut self) -> Vec<RecordRef> {
        self.draw.some(4, |draw| RecordRef { i: draw.id(), seq: draw.count() })
    }

    /// Remembered part of a record.
    pub fn executed(&mut self) -> ExecutedOperation {
        let request = if self.draw.once_in(8) { None } else { Some(self.update()) };
        let deleted = if self.draw.once_in(4) { Some(Box::new(self.deleted())) } else { None };
        let (id, i, seq) = (self.draw.update_id(), self.draw.id(), self.draw.count());
        ExecutedOperation { id, i, seq, request, stamp: self.draw.stamp(self.wall_ms), deleted }
    }

    /// Gossip.
    pub fn gossip(&mut self) -> Gossip {
        Gossip {
            id: self.draw.id(),
            replica_timestamp: self.draw.replicas(),
            value_timestamp: self.draw.replicas(),
            digest: Digest(self.draw.count()),
            records: self.records(),
        }
    }

    /// Acknowledgement of records.
    pub fn acknowledgement(&mut self) -> Acknowledgement {
        Acknowledgement { id: self.draw.id(), replica_timestamp: self.draw.replicas() }
    }

    /// A pull.
    pub fn log_request(&mut self) -> LogRequest {
        LogRequest { id: self.draw.id(), have: self.draw.replicas() }
    }

    /// The answer to one.
    pub fn log_page(&mut self) -> LogPage {
        LogPage {
            id: self.draw.id(),
            replica_timestamp: self.draw.replicas(),
            value_timestamp: self.draw.replicas(),
            start: self.draw.replicas(),
            gone: self.draw.some(4, Draw::id),
            records: self.records(),
        }
    }

    /// To be accepted.
    pub fn update_request(&mut self) -> UpdateRequest {
        UpdateRequest {
            n: self.draw.count(),
            id: self.draw.update_id(),
            prev: self.draw.timestamp(),
            proven: self.draw.byte().is_multiple_of(2),
            unheard: self.draw.some(2, Draw::id),
            request: self.update(),
            stamp: self.draw.stamp(self.wall_ms),
            copies: self.draw.count() as u32,
            fresh: self.draw.byte().is_multiple_of(2),
            wait_ms: self.draw.count(),
        }
    }

    /// To be answered.
    pub fn query_request(&mut self) -> QueryRequest {
        let (n, prev) = (self.draw.count(), self.draw.timestamp());
        let (proven, request) = (self.draw.byte().is_multiple_of(2), self.query());
        QueryRequest { n, prev, proven, unheard: self.draw.some(2, Draw::id), request, wait_ms: self.draw.count() }
    }

    /// To be confirmed.
    pub fn confirm_request(&mut self) -> ConfirmRequest {
        let (n, id) = (self.draw.count(), self.draw.update_id());
        ConfirmRequest { n, id, acceptor: self.draw.perhaps(Draw::id), wait_ms: self.draw.count() }
    }

    fn rating(&mut self) -> Rating {
        Rating {
            user_id: self.draw.user(),
            movie_id: self.draw.movie(),
            title: self.text(),
            rating: self.draw.perhaps(Draw::stars),
            timestamp: self.draw.perhaps(|draw| draw.count() as i64),
            update_id: self.draw.perhaps(Draw::update_id),
        }
    }

    /// A value in a reply.
    pub fn answer(&mut self) -> Answer {
        match self.draw.below(4) {
            0 => Answer::Rating(self.rating()),
            1 => {
                let ratings = (0..self.draw.below(4)).map(|_| self.rating()).collect();
                Answer::Ratings(Ratings { ratings, total: self.draw.count(), next: self.draw.perhaps(Draw::movie) })
            }
            2 => {
                let (movie_id, title) = (self.draw.movie(), self.text());
                let average = self.draw.perhaps(|draw| f64::from_bits(draw.bits()));
                Answer::Average(Average { movie_id, title, average, count: self.draw.count() })
            }
            _ => {
                let movie_id = self.draw.movie();
                let (title, genres, count) = (self.text(), vec![self.text()], self.draw.count());
                Answer::Movies(Movies {
                    movies: vec![Movie { movie_id, title, genres, average: None, count }],
                    shortened: false,
                })
            }
        }
    }

    /// Reply of a replica to a frontend.
    pub fn reply(&mut self) -> Reply {
        match self.draw.below(12) {
            0 | 1 => {
                let retired = if self.draw.below(2) == 0 { Timestamp::new() } else { self.label().replicas };
                let clock = self.draw.stamp(self.wall_ms);
                Reply::Accepted { value: self.answer(), records: self.names(), clock, retired }
            }
            2 => Reply::Answered { value: self.answer(), label: self.label() },
            3 | 4 => Reply::Held { records: self.names(), clock: self.draw.stamp(self.wall_ms) },
            5 => Reply::NotHeld,
            6 => {
                let all = [Refusal::MovieNotFound, Refusal::RatingNotFound, Refusal::RatingExists];
                Reply::Refused { refusal: self.draw.one_of(&all), label: self.label() }
            }
            7 => Reply::StampAgain { above: self.draw.stamp(self.wall_ms) },
            8 => Reply::StampAhead { wall_ms: self.draw.count(), clock: self.draw.stamp(self.wall_ms) },
            9 => Reply::IdInUse,
            10 => Reply::Behind,
            _ => Reply::NotServing,
        }
    }

    /// Several of them; their numbers are those of attempts that a frontend may have made.
    pub fn replies(&mut self) -> Replies {
        let id = self.draw.id();
        let replies = (0..self.draw.below(6)).map(|_| NumberedReply { n: self.draw.count(), reply: self.reply() });
        Replies { id, replies: replies.collect() }
    }

    fn place(&mut self) -> SnapshotPlace {
        match self.draw.below(8) {
            0..=2 => SnapshotPlace::Start,
            3 => SnapshotPlace::AfterRow(self.draw.user(), self.draw.movie()),
            4 => SnapshotPlace::Executed,
            5 => SnapshotPlace::AfterExecuted(self.draw.update_id()),
            6 => SnapshotPlace::Retired,
            _ => SnapshotPlace::AfterRetired(self.draw.id()),
        }
    }

    /// A request for a chunk.
    pub fn snapshot_request(&mut self) -> SnapshotRequest {
        SnapshotRequest { id: self.draw.id(), snapshot: self.draw.count(), from: self.place() }
    }

    fn row(&mut self) -> SnapshotRow {
        SnapshotRow {
            user_id: self.draw.user(),
            movie_id: self.draw.movie(),
            rating: self.draw.perhaps(Draw::stars),
            timestamp: self.draw.count() as i64,
            stamp: self.draw.stamp(self.wall_ms),
            update_id: self.draw.update_id(),
        }
    }

    /// A chunk, mostly one that is the first and the last.
    pub fn snapshot_reply(&mut self) -> SnapshotReply {
        let id = self.draw.id();
        if self.draw.once_in(8) {
            return SnapshotReply { id, part: SnapshotPart::Unavailable { reason: self.text() } };
        }
        let chunk = SnapshotChunk {
            snapshot: self.draw.count(),
            from: self.place(),
            value_timestamp: self.draw.replicas(),
            clock: self.draw.stamp(self.wall_ms),
            rows_in_all: self.draw.count(),
            rows: (0..self.draw.below(4)).map(|_| self.row()).collect(),
            executed: (0..self.draw.below(4)).map(|_| self.executed()).collect(),
            retired: self.draw.replicas(),
            next: if self.draw.once_in(4) { Some(self.place()) } else { None },
        };
        SnapshotReply { id, part: SnapshotPart::Chunk(Box::new(chunk)) }
    }

    /// Presence.
    pub fn presence(&mut self) -> Presence {
        let statuses = [Status::Active, Status::Overloaded, Status::Offline, Status::Joining, Status::Left];
        Presence {
            role: if self.draw.once_in(16) { Role::Frontend } else { Role::Replica },
            id: self.draw.id(),
            status: if self.draw.once_in(4) { self.draw.one_of(&statuses) } else { Status::Active },
            mode: self.draw.perhaps(|draw| draw.one_of(&Mode::ALL)),
            wall_ms: self.draw.count(),
            version: self.text(),
            dataset: if self.draw.once_in(16) { Some(self.text()) } else { Some(DATASET.to_owned()) },
            durable: self.draw.perhaps(|draw| draw.byte().is_multiple_of(2)),
            uptime_ms: self.draw.count(),
            value_timestamp: self.draw.perhaps(Draw::replicas),
            replica_timestamp: self.draw.perhaps(Draw::replicas),
            digest: self.draw.perhaps(|draw| Digest(draw.bits())),
            log_length: self.draw.perhaps(Draw::count),
            snapshot: self.draw.perhaps(|draw| SnapshotProgress { rows: draw.count(), of: draw.count() }),
            prev: if self.draw.once_in(16) { Some(self.label()) } else { None },
            clock: if self.draw.once_in(2) { Some(self.draw.stamp(self.wall_ms)) } else { None },
            cluster: self.draw.perhaps(Draw::cluster),
            aliases: (0..self.draw.below(4)).map(|_| self.draw.cluster()).collect(),
            former: (0..self.draw.below(4)).map(|_| self.draw.id()).collect(),
            lost: self.draw.some(4, |draw| LostRecords { origin: draw.id(), first: draw.count(), last: draw.count() }),
        }
    }

    /// A mode to set, or none.
    pub fn status_request(&mut self) -> StatusRequest {
        StatusRequest { mode: self.draw.perhaps(|draw| draw.one_of(&Mode::ALL)) }
    }

    /// The answer to it.
    pub fn status_reply(&mut self) -> StatusReply {
        let statuses = [Status::Active, Status::Overloaded, Status::Offline, Status::Joining, Status::Left];
        StatusReply {
            id: self.draw.id(),
            status: self.draw.one_of(&statuses),
            mode: self.draw.one_of(&Mode::ALL),
            diverged: self.draw.some(4, Draw::id),
            lost: self.draw.count(),
        }
    }

    /// Request of a client, as it is after it was checked.
    pub fn client_request(&mut self) -> ClientRequest {
        if self.draw.once_in(8) {
            let operations = (0..self.draw.below(6)).map(|_| self.batched()).collect();
            let answers = if self.draw.once_in(2) { Answers::Brief } else { Answers::Full };
            return ClientRequest::Batch(ClientBatch {
                operations,
                prev: self.label(),
                cluster: self.cluster(),
                answers,
            });
        }
        let (prev, cluster) = (self.label(), self.cluster());
        match self.operation() {
            SingleOperation::Update { request, id } => ClientRequest::Update { request, id, prev, cluster },
            SingleOperation::Query(request) => ClientRequest::Query { request, prev, cluster },
        }
    }

    /// Mostly none: a frontend of another cluster does nothing with the request.
    fn cluster(&mut self) -> Option<ClusterId> {
        self.draw.once_in(16).then(|| self.draw.cluster())
    }

    fn operation(&mut self) -> SingleOperation {
        if self.draw.byte().is_multiple_of(2) {
            let id = self.draw.perhaps(Draw::update_id);
            SingleOperation::Update { request: self.update(), id }
        } else {
            SingleOperation::Query(self.query())
        }
    }

    /// One of a batch, now and then one that could not be understood.
    fn batched(&mut self) -> Result<SingleOperation, FrontendError> {
        if self.draw.once_in(8) { Err(FrontendError::BadRequest(self.text())) } else { Ok(self.operation()) }
    }
}
