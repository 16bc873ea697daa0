//! Replies to requests that came in one message, as they are written.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::rows::{Alike, NEITHER, RatingFields, RatingRow, Rows, SHARED_ENTRIES_MAX};
use super::{NumberedReply, Reply};
use crate::clock::Stamp;
use crate::ids::ReplicaId;
use crate::label::Label;
use crate::rating::Rating;
use crate::record::RecordRef;
use crate::request::Answer;
use crate::timestamp::Timestamp;

/// Estimated size of a reply by itself, without titles, and of an entry of its label, in bytes.
const REPLY_BYTES: usize = 300;
const LABEL_ENTRY_BYTES: usize = 40;
/// Estimated size of a rating or a movie within a reply, and of a reply as a row, without titles, in bytes.
const ITEM_BYTES: usize = 170;
const ROW_BYTES: usize = 100;

/// A reply, or what several share.
#[derive(Deserialize)]
pub struct ReplyItem {
    n: Option<u64>,
    reply: Option<Reply>,
    answered: Option<AnsweredItem>,
    accepted: Option<RecordsItem<(u64, u64, Stamp, RatingFields)>>,
    held: Option<RecordsItem<(u64, u64, Stamp)>>,
}

/// Ratings, all at one label.
#[derive(Deserialize)]
struct AnsweredItem {
    label: Label,
    rows: Vec<(u64, RatingFields)>,
}

/// Records of one origin.
#[derive(Deserialize)]
struct RecordsItem<R> {
    i: ReplicaId,
    rows: Vec<R>,
}

/// Estimated size of what an answer has beside numbers, in bytes: titles have up to a thousand each.
fn texts_bytes(answer: &Answer) -> usize {
    match answer {
        Answer::Rating(rating) => rating.title.len(),
        Answer::Ratings(page) => page.ratings.iter().map(|rating| ITEM_BYTES + rating.title.len()).sum(),
        Answer::Average(average) => average.title.len(),
        Answer::Movies(found) => {
            let genres = |genres: &[String]| genres.iter().map(|genre| genre.len() + 2).sum::<usize>();
            found.movies.iter().map(|movie| ITEM_BYTES + movie.title.len() + genres(&movie.genres)).sum()
        }
    }
}

/// Replies of the common kinds, which are written in rows.
enum Common<'a> {
    Answered(&'a Label, &'a Rating),
    Accepted(&'a RecordRef, Stamp, &'a Rating),
    Held(&'a RecordRef, Stamp),
}

fn common(reply: &Reply) -> Option<Common<'_>> {
    match reply {
        Reply::Answered { value: Answer::Rating(rating), label } => Some(Common::Answered(label, rating)),
        Reply::Accepted { value: Answer::Rating(rating), records, clock, retired } => match &records[..] {
            [record] if retired.is_empty() => Some(Common::Accepted(record, *clock, rating)),
            _ => None,
        },
        Reply::Held { records, clock } => match &records[..] {
            [record] => Some(Common::Held(record, *clock)),
            _ => None,
        },
        _ => None,
    }
}

fn answered_row(one: &NumberedReply) -> Option<(u64, RatingRow<'_>)> {
    match common(&one.reply)? {
        Common::Answered(_, rating) => Some((one.n, RatingRow(rating))),
        _ => None,
    }
}

fn accepted_row(one: &NumberedReply) -> Option<(u64, u64, Stamp, RatingRow<'_>)> {
    match common(&one.reply)? {
        Common::Accepted(record, clock, rating) => Some((one.n, record.seq, clock, RatingRow(rating))),
        _ => None,
    }
}

fn held_row(one: &NumberedReply) -> Option<(u64, u64, Stamp)> {
    match common(&one.reply)? {
        Common::Held(record, clock) => Some((one.n, record.seq, clock)),
        _ => None,
    }
}

impl Alike for NumberedReply {
    type Item = ReplyItem;

    fn bytes_alone(&self) -> usize {
        let label = match &self.reply {
            Reply::Answered { label, .. } | Reply::Refused { label, .. } => LABEL_ENTRY_BYTES * label.replicas.len(),
            Reply::Accepted { retired, .. } => LABEL_ENTRY_BYTES * retired.len(),
            _ => 0,
        };
        REPLY_BYTES + label + self.reply.value().map_or(0, texts_bytes)
    }

    fn bytes_as_row(&self) -> usize {
        ROW_BYTES + self.reply.value().map_or(0, texts_bytes)
    }

    fn goes_with(&self, next: &Self) -> bool {
        match (common(&self.reply), common(&next.reply)) {
            (Some(Common::Answered(label, _)), Some(Common::Answered(other, _))) => {
                label.replicas.len() <= SHARED_ENTRIES_MAX && label == other
            }
            (Some(Common::Accepted(record, ..)), Some(Common::Accepted(other, ..)))
            | (Some(Common::Held(record, _)), Some(Common::Held(other, _))) => record.i == other.i,
            _ => false,
        }
    }

    fn write<S: Serializer>(alike: &[Self], serializer: S) -> Result<S::Ok, S::Error> {
        let [first, _, ..] = alike else { return alike.first().serialize(serializer) };
        let mut item = serializer.serialize_struct("Replies", 1)?;
        match common(&first.reply) {
            Some(Common::Answered(label, _)) => item.serialize_field("answered", &AnsweredRows(label, alike))?,
            Some(Common::Accepted(record, ..)) => {
                item.serialize_field("accepted", &RecordRows(&record.i, Rows(alike, accepted_row)))?;
            }
            Some(Common::Held(record, _)) => {
                item.serialize_field("held", &RecordRows(&record.i, Rows(alike, held_row)))?;
            }
            None => {}
        }
        item.end()
    }

    fn read(item: ReplyItem, list: &mut Vec<Self>) -> Result<(), &'static str> {
        match (item.n, item.reply, item.answered, item.accepted, item.held) {
            (Some(n), Some(reply), None, None, None) => list.push(Self { n, reply }),
            (None, None, Some(AnsweredItem { label, rows }), None, None)
                if label.replicas.len() <= SHARED_ENTRIES_MAX =>
            {
                list.extend(rows.into_iter().map(|(n, rating)| {
                    let value = Answer::Rating(rating.into());
                    Self { n, reply: Reply::Answered { value, label: label.clone() } }
                }));
            }
            (None, None, None, Some(RecordsItem { i, rows }), None) => {
                list.extend(rows.into_iter().map(|(n, seq, clock, rating)| {
                    let (value, records) = (Answer::Rating(rating.into()), vec![RecordRef { i: i.clone(), seq }]);
                    Self { n, reply: Reply::Accepted { value, records, clock, retired: Timestamp::new() } }
                }));
            }
            (None, None, None, None, Some(RecordsItem { i, rows })) => {
                list.extend(rows.into_iter().map(|(n, seq, clock)| {
                    let records = vec![RecordRef { i: i.clone(), seq }];
                    Self { n, reply: Reply::Held { records, clock } }
                }));
            }
            _ => return Err(NEITHER),
        }
        Ok(())
    }
}

struct AnsweredRows<'a>(&'a Label, &'a [NumberedReply]);

impl Serialize for AnsweredRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_struct("Answered", 2)?;
        item.serialize_field("label", self.0)?;
        item.serialize_field("rows", &Rows(self.1, answered_row))?;
        item.end()
    }
}

struct RecordRows<'a, R>(&'a ReplicaId, R);

impl<R: Serialize> Serialize for RecordRows<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_struct("Records", 2)?;
        item.serialize_field("i", self.0)?;
        item.serialize_field("rows", &self.1)?;
        item.end()
    }
}
