//! A block of executed operations: the fields that operations share are kept once for the block.

use super::Known;
use crate::clock::Stamp;
use crate::ids::{MovieId, ReplicaId, UpdateId, UserId};
use crate::rating::Stars;
use crate::record::{Deleted, ExecutedOperation};
use crate::request::Update;

/// Maximum number of items in a block: 16 KiB of items, so that what the block keeps beside them hardly counts.
pub(super) const BLOCK_ITEMS: usize = 512;

/// Maximum number of runs in a block, as an item names its run in one byte.
const RUNS_MAX: usize = 1 << u8::BITS;

/// Distance from the first sequence number of a run down to its base: later ones may be smaller or greater.
const BELOW_FIRST: u64 = 1 << 31;

/// Values of [`Item::kind`]. The half stars, 1 to 10, are added to the first two.
const CREATE: u8 = 0;
const UPDATE: u8 = 10;
const DELETE: u8 = 21;
const RETIREMENT: u8 = 22;

/// One operation, without the fields that it shares with others or that few operations have.
#[derive(Clone, Debug)]
struct Item {
    id: UpdateId,
    user_id: UserId,
    movie_id: MovieId,
    /// The sequence number, less the base of the run.
    seq: u32,
    /// The time of arrival in milliseconds, less that of the block.
    since: u16,
    /// The position of the run in [`Block::runs`].
    run: u8,
    kind: u8,
}

const _: () = assert!(size_of::<Item>() == 32, "the table's memory is mostly items");

/// Items of one origin whose sequence numbers are near each other.
#[derive(Clone, Debug)]
struct Run {
    origin: ReplicaId,
    base: u64,
}

impl Run {
    /// The sequence number of a record, less the base, if the record belongs to this run.
    fn offset(&self, origin: &ReplicaId, seq: u64) -> Option<u32> {
        let offset = u32::try_from(seq.checked_sub(self.base)?).ok()?;
        (self.origin == *origin).then_some(offset)
    }
}

/// Operations in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    items: Vec<Item>,
    /// The position of the first item that is not yet taken out.
    first: usize,
    /// The arrival of the first item.
    since_ms: u64,
    runs: Vec<Run>,
    /// The run of the last item.
    last_run: usize,
    /// Stamps of items whose ids do not carry them, by position.
    stamps: Vec<(u16, Stamp)>,
    /// Ratings that deletes took away, by position.
    deleted: Vec<(u16, Deleted)>,
}

impl Block {
    /// An empty block with room for all its items.
    pub(super) fn with_room() -> Self {
        Self { items: Vec::with_capacity(BLOCK_ITEMS), ..Self::default() }
    }

    /// Removes everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.first = 0;
        self.runs.clear();
        self.last_run = 0;
        self.stamps.clear();
        self.deleted.clear();
    }

    /// Appends an operation and returns its position; `None` if it does not fit: the block is full, too old, or has too
    /// many runs.
    pub(super) fn push(&mut self, known: &Known<'_>, now_ms: u64) -> Option<usize> {
        let position = self.items.len();
        if position == 0 {
            self.since_ms = now_ms;
        }
        // An item that is said to come before its block counts as arrived with it: it is forgotten later, never earlier.
        let since = u16::try_from(now_ms.saturating_sub(self.since_ms)).ok()?;
        if position >= BLOCK_ITEMS {
            return None;
        }
        let place = u16::try_from(position).ok()?;
        let (run, seq) = self.run_of(known)?;
        let (user_id, movie_id, kind) = packed(known.request);
        if known.id.stamp() != Some(known.stamp) {
            self.stamps.push((place, known.stamp));
        }
        if let Some(deleted) = known.deleted {
            self.deleted.push((place, *deleted));
        }
        self.items.push(Item { id: known.id, user_id, movie_id, seq, since, run, kind });
        Some(position)
    }

    /// The run of an operation, a new one if it needs that, and the offset of its sequence number there.
    fn run_of(&mut self, known: &Known<'_>) -> Option<(u8, u32)> {
        let offset = |run: &Run| run.offset(known.origin, known.seq);
        let last = self.runs.get(self.last_run).and_then(offset).map(|seq| (self.last_run, seq));
        let found = last.or_else(|| {
            self.runs.iter().enumerate().find_map(|(position, run)| offset(run).map(|seq| (position, seq)))
        });
        let (run, seq) = match found {
            Some(found) => found,
            None if self.runs.len() >= RUNS_MAX => return None,
            None => {
                let below = known.seq.min(BELOW_FIRST);
                self.runs.push(Run { origin: known.origin.clone(), base: known.seq - below });
                (self.runs.len() - 1, below as u32)
            }
        };
        self.last_run = run;
        Some((u8::try_from(run).ok()?, seq))
    }

    /// The position of the first item that is not yet taken out.
    pub(super) fn first(&self) -> Option<usize> {
        (self.first < self.items.len()).then_some(self.first)
    }

    /// Takes the first item out.
    pub(super) fn pop(&mut self) {
        self.first += 1;
    }

    fn item(&self, position: usize) -> Option<&Item> {
        self.items.get(position).filter(|_| position >= self.first)
    }

    /// The id at a position.
    pub(super) fn id(&self, position: usize) -> Option<UpdateId> {
        self.item(position).map(|item| item.id)
    }

    /// The record at a position: its origin and its sequence number.
    pub(super) fn name(&self, position: usize) -> Option<(&ReplicaId, u64)> {
        let item = self.item(position)?;
        let run = self.runs.get(usize::from(item.run))?;
        Some((&run.origin, run.base + u64::from(item.seq)))
    }

    /// The time of arrival of the item at a position, in milliseconds.
    pub(super) fn since_ms(&self, position: usize) -> Option<u64> {
        self.item(position).map(|item| self.since_ms + u64::from(item.since))
    }

    /// The operation at a position, as it came.
    pub(super) fn get(&self, position: usize) -> Option<ExecutedOperation> {
        let item = self.item(position)?;
        let (origin, seq) = self.name(position)?;
        Some(ExecutedOperation {
            id: item.id,
            i: origin.clone(),
            seq,
            request: item.request(),
            stamp: at(&self.stamps, position).or_else(|| item.id.stamp()).unwrap_or_default(),
            deleted: at(&self.deleted, position).map(Box::new),
        })
    }

    /// The memory that the block takes beside itself, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<Item>()
            + self.runs.capacity() * size_of::<Run>()
            + self.stamps.capacity() * size_of::<(u16, Stamp)>()
            + self.deleted.capacity() * size_of::<(u16, Deleted)>()
    }
}

/// The value for a position, if a list in the order of positions has one.
fn at<T: Copy>(list: &[(u16, T)], position: usize) -> Option<T> {
    let found = list.binary_search_by_key(&position, |(place, _)| usize::from(*place)).ok()?;
    list.get(found).map(|(_, value)| *value)
}

fn packed(request: Option<Update>) -> (UserId, MovieId, u8) {
    match request {
        Some(Update::Create { user_id, movie_id, rating }) => (user_id, movie_id, CREATE + rating.half_stars()),
        Some(Update::Update { user_id, movie_id, rating }) => (user_id, movie_id, UPDATE + rating.half_stars()),
        Some(Update::Delete { user_id, movie_id }) => (user_id, movie_id, DELETE),
        None => (UserId::FIRST, MovieId::FIRST, RETIREMENT),
    }
}

impl Item {
    fn request(&self) -> Option<Update> {
        let (user_id, movie_id) = (self.user_id, self.movie_id);
        match self.kind {
            RETIREMENT => None,
            DELETE => Some(Update::Delete { user_id, movie_id }),
            kind if kind > UPDATE => {
                let rating = Stars::from_half_stars(kind - UPDATE).ok()?;
                Some(Update::Update { user_id, movie_id, rating })
            }
            kind => {
                let rating = Stars::from_half_stars(kind - CREATE).ok()?;
                Some(Update::Create { user_id, movie_id, rating })
            }
        }
    }
}
