//! Plan of an import: the operations to be sent next, and the effect of each outcome. A state machine without I/O.
//!
//! Ratings come in chunks, go out in batches, come back with outcomes, and go out again where that is needed. A chunk is
//! done when all of its ratings are; what is done is all before the first chunk that is not. A rating whose user and movie
//! are those of one that is on its way waits for that one: so the last line on a rating in the file is what stands.

use std::collections::{HashMap, VecDeque};

use natter_common::ids::UpdateId;
use natter_common::rating::RatingKey;

use super::Counts;
use super::item::{Item, Outcome, Stage};
use super::journal::Done;
use super::rows::{Place, Row};
use crate::error::{ClientError, ErrorName};

/// Maximum number of new starts of one rating, because another client creates and deletes it meanwhile.
const ROUNDS_MAX: u32 = 5;

/// A line that is not imported, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) line: u64,
    /// The line itself, without its end.
    pub(super) text: Box<[u8]>,
    pub(super) reason: String,
}

/// A line of a chunk: its number, its text, and the rating with its two ids; or why it is none.
pub(super) type Planned = (u64, Box<[u8]>, Result<(Row, [UpdateId; 2]), String>);

/// A chunk whose ratings are not all done.
#[derive(Debug)]
struct Open {
    left: usize,
    counts: Counts,
    /// Number of its lines, and the place of its end.
    lines: u64,
    end: Place,
}

/// All that is on its way.
#[derive(Debug)]
pub(super) struct Plan {
    done: Done,
    chunks: VecDeque<Open>,
    first_chunk: u64,
    ready: VecDeque<Item>,
    /// Ratings on their way, each with those on the same that wait for it.
    keys: HashMap<RatingKey, VecDeque<Item>>,
    /// Lines of all chunks so far, by outcome.
    counts: Counts,
    /// Whether nothing is changed: each line is only compared with the rating that stands.
    is_dry: bool,
}

impl Plan {
    /// Goes on after what is done. A dry run changes nothing.
    pub(super) fn new(done: Done, is_dry: bool) -> Self {
        Self {
            done,
            chunks: VecDeque::new(),
            first_chunk: 0,
            ready: VecDeque::new(),
            keys: HashMap::new(),
            counts: done.counts,
            is_dry,
        }
    }

    /// All before this is done.
    pub(super) fn done(&self) -> Done {
        self.done
    }

    /// All lines so far, by outcome.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Number of lines that are not done.
    pub(super) fn left(&self) -> usize {
        self.chunks.iter().map(|open| open.left).sum()
    }

    /// Number of ratings that can be sent now.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Takes the next chunk of the file, which ends at `end`. Lines that are no ratings are refused.
    pub(super) fn add(
        &mut self,
        lines: impl ExactSizeIterator<Item = Planned>,
        end: Place,
        refused: &mut Vec<Refused>,
    ) {
        let chunk = self.first_chunk + self.chunks.len() as u64;
        self.chunks.push_back(Open { left: lines.len(), counts: Counts::default(), lines: lines.len() as u64, end });
        for (line, text, planned) in lines {
            match planned {
                Ok((row, ids)) => {
                    let stage = if self.is_dry { Stage::Read } else { Stage::Create };
                    let item = Item { line, text, row, ids, stage, rounds: 0, chunk };
                    match self.keys.get_mut(&row.key) {
                        Some(waiting) => waiting.push_back(item),
                        None => {
                            self.keys.insert(row.key, VecDeque::new());
                            self.ready.push_back(item);
                        }
                    }
                }
                Err(reason) => {
                    refused.push(Refused { line, text, reason });
                    self.count(chunk, |counts| &mut counts.refused);
                }
            }
        }
    }

    /// Takes out the next `most` ratings to be sent, or fewer if fewer are ready.
    pub(super) fn next_batch(&mut self, most: usize) -> Vec<Item> {
        self.ready.drain(..most.min(self.ready.len())).collect()
    }

    /// These did not get through: they go first when it is sent again.
    pub(super) fn put_back(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.ready.push_front(item);
        }
    }

    /// Takes in the outcome of an operation. Returns its error if the operation is sent again, unchanged.
    pub(super) fn take_in(
        &mut self,
        mut item: Item,
        outcome: Outcome,
        refused: &mut Vec<Refused>,
    ) -> Option<ClientError> {
        match (item.stage, outcome) {
            (_, Outcome::Failed(error)) if is_sent_again(&error.name) => {
                self.ready.push_front(item);
                return Some(error);
            }
            (Stage::Create, Outcome::Done) => self.finish(&item, |counts| &mut counts.created),
            (Stage::Update, Outcome::Done) => self.finish(&item, |counts| &mut counts.updated),
            (Stage::Create, Outcome::Failed(error)) if error.name == ErrorName::RatingExists => {
                item.stage = Stage::Read;
                self.ready.push_back(item);
            }
            (Stage::Read, Outcome::Read(rating)) if rating.rating == Some(item.row.stars) => {
                self.finish(&item, |counts| &mut counts.unchanged);
            }
            (Stage::Read, Outcome::Read(rating)) if self.is_dry => match rating.rating {
                Some(_) => self.finish(&item, |counts| &mut counts.updated),
                None => self.finish(&item, |counts| &mut counts.created),
            },
            (Stage::Read, Outcome::Read(rating)) => {
                item.stage = if rating.rating.is_some() { Stage::Update } else { Stage::Create };
                self.go_round(item, refused);
            }
            (Stage::Update, Outcome::Failed(error)) if error.name == ErrorName::RatingNotFound => {
                item.stage = Stage::Create;
                self.go_round(item, refused);
            }
            (_, Outcome::Failed(error)) => self.refuse(&item, error.to_string(), refused),
            (_, Outcome::Read(_) | Outcome::Done) => {
                self.refuse(&item, "the frontend's answer can't be understood".to_owned(), refused);
            }
        }
        None
    }

    fn go_round(&mut self, mut item: Item, refused: &mut Vec<Refused>) {
        item.rounds += 1;
        if item.rounds > ROUNDS_MAX {
            let reason = "somebody else creates and deletes this rating all the time".to_owned();
            return self.refuse(&item, reason, refused);
        }
        self.ready.push_back(item);
    }

    fn refuse(&mut self, item: &Item, reason: String, refused: &mut Vec<Refused>) {
        refused.push(Refused { line: item.line, text: item.text.clone(), reason });
        self.finish(item, |counts| &mut counts.refused);
    }

    fn finish(&mut self, item: &Item, as_what: impl Fn(&mut Counts) -> &mut u64) {
        if let Some(waiting) = self.keys.get_mut(&item.row.key) {
            match waiting.pop_front() {
                Some(next) => self.ready.push_back(next),
                None => drop(self.keys.remove(&item.row.key)),
            }
        }
        self.count(item.chunk, as_what);
    }

    /// One line less is left of a chunk.
    fn count(&mut self, chunk: u64, as_what: impl Fn(&mut Counts) -> &mut u64) {
        *as_what(&mut self.counts) += 1;
        let Some(open) = self.chunks.get_mut((chunk - self.first_chunk) as usize) else { return };
        *as_what(&mut open.counts) += 1;
        open.left -= 1;
        while self.chunks.front().is_some_and(|open| open.left == 0) {
            let Some(open) = self.chunks.pop_front() else { return };
            self.first_chunk += 1;
            self.done.position += open.lines;
            self.done.place = open.end;
            self.done.counts.add(open.counts);
        }
    }
}

fn is_sent_again(name: &ErrorName) -> bool {
    name.is_passing() || *name == ErrorName::ReplyTooLarge
}
