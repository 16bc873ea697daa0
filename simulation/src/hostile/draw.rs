//! Numbers and ids from bytes.

use natter_common::clock::Stamp;
use natter_common::cluster::ClusterId;
use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
use natter_common::messages::Replicas;
use natter_common::rating::Stars;
use natter_common::timestamp::Timestamp;

/// The core that hears the messages.
const OWN: &str = "own";
/// The others: some that show themselves, one that never does, one of the greatest length.
const OTHERS: [&str; 7] =
    ["a", "b", "c", "d", "ghost", "own-2", "0123456789012345678901234567890123456789012345678901234567890123"];

/// The id of the core that hears the messages.
pub fn own() -> ReplicaId {
    ReplicaId::new(OWN).unwrap()
}

/// Takes what it needs from bytes. When they are used up, everything is the first or the least there is.
#[derive(Clone, Debug)]
pub struct Draw<'bytes> {
    bytes: &'bytes [u8],
}

impl<'bytes> Draw<'bytes> {
    /// From these bytes.
    pub fn new(bytes: &'bytes [u8]) -> Self {
        Self { bytes }
    }

    /// Whether they are used up.
    pub fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// Once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Eight bytes.
    pub fn bits(&mut self) -> u64 {
        (0..8).fold(0, |bits, _| bits << 8 | u64::from(self.byte()))
    }

    /// A count or a sequence number: mostly a small one, else about one end or the other of what 64 bits say, with and
    /// without a sign.
    pub fn count(&mut self) -> u64 {
        match self.byte() {
            0..=199 => u64::from(self.byte() % 8),
            200..=219 => u64::from(self.byte()) << 8,
            220..=234 => u64::MAX - u64::from(self.byte() % 3),
            235..=244 => (i64::MAX as u64).wrapping_add(u64::from(self.byte() % 4)).wrapping_sub(1),
            _ => self.bits(),
        }
    }

    /// A stamp about `wall_ms`, or any.
    pub fn stamp(&mut self, wall_ms: u64) -> Stamp {
        match self.byte() {
            0..=199 => Stamp::new(wall_ms + u64::from(self.byte()), u16::from(self.byte() % 2)),
            _ => Stamp(self.count()),
        }
    }

    /// The core's own id, or another.
    pub fn id(&mut self) -> ReplicaId {
        if self.once_in(8) { own() } else { self.other() }
    }

    /// An identity of a cluster, often one that comes again.
    pub fn cluster(&mut self) -> ClusterId {
        let n = if self.once_in(8) { self.byte() } else { self.byte() % 4 };
        ClusterId::new(&format!("cluster-{n}")).unwrap()
    }

    /// Another id, now and then one that was never heard of.
    pub fn other(&mut self) -> ReplicaId {
        if self.once_in(32) {
            return ReplicaId::new(&format!("x{}", self.byte())).unwrap();
        }
        ReplicaId::new(OTHERS[self.below(OTHERS.len())]).unwrap()
    }

    /// One of some ids that come again, or any UUID.
    pub fn update_id(&mut self) -> UpdateId {
        match self.byte() {
            0..=199 => UpdateId::from_stamp(Stamp::new(u64::from(self.byte() % 4), 0), u64::from(self.byte() % 4)),
            _ => {
                let bits = u128::from(self.bits()) << 64 | u128::from(self.bits());
                format!("{bits:032x}").parse().unwrap()
            }
        }
    }

    /// A person.
    pub fn user(&mut self) -> UserId {
        let number = if self.once_in(16) { u32::MAX } else { 1 + u32::from(self.byte() % 2) };
        UserId::new(number).unwrap()
    }

    /// A movie, now and then one that isn't there.
    pub fn movie(&mut self) -> MovieId {
        let number = if self.once_in(16) { u32::MAX } else { 1 + u32::from(self.byte() % 4) };
        MovieId::new(number).unwrap()
    }

    /// A rating.
    pub fn stars(&mut self) -> Stars {
        Stars::from_half_stars(1 + self.byte() % 10).unwrap()
    }

    /// A timestamp of a few entries, or of very many.
    pub fn timestamp(&mut self) -> Timestamp {
        if self.once_in(250) {
            let (salt, entries, count) = (self.byte(), usize::from(self.byte()) * 50, self.count());
            return (0..entries).map(|n| (ReplicaId::new(&format!("n{salt}-{n}")).unwrap(), count)).collect();
        }
        (0..self.below(4)).map(|_| (self.id(), self.count())).collect()
    }

    /// The same, as it is sent.
    pub fn replicas(&mut self) -> Replicas {
        Replicas { replicas: self.timestamp() }
    }

    /// Something, or nothing.
    pub fn perhaps<T>(&mut self, something: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.byte().is_multiple_of(2) { Some(something(self)) } else { None }
    }

    /// Fewer than `end` of them.
    pub fn some<T>(&mut self, end: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(end)).map(|_| one(self)).collect()
    }
}
