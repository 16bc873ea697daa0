//! Progress of each replica: timestamps, lag behind all records known, and digests.

use std::collections::{BTreeMap, VecDeque};

use natter_common::ids::ReplicaId;
use natter_common::timestamp::Timestamp;
use natter_common::value::Digest;

use super::{MILLI, Micros};

/// Interval between two points of the lag's curve.
const POINT_EVERY: Micros = 500 * MILLI;
/// Points of the curve: one minute.
const POINTS_MAX: usize = 120;
/// Maximum births of records that are remembered for one origin.
const BIRTHS_MAX: usize = 4_096;

/// Timestamps and digest that a replica showed last.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    pub(super) held: Timestamp,
    pub(super) applied: Timestamp,
    pub(super) digest: Option<Digest>,
}

/// Agreement of the replicas in service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Agreement {
    /// Fewer than two replicas show digests.
    #[default]
    Unknown,
    /// Equal value timestamps and equal digests.
    Equal,
    /// Unequal value timestamps: records are on their way.
    Spreading,
    /// Equal value timestamps and unequal digests: a fault.
    Diverged,
}

impl Agreement {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Equal => "equal",
            Self::Spreading => "spreading",
            Self::Diverged => "diverged",
        }
    }
}

/// Progress of all replicas.
#[derive(Debug, Default)]
pub(super) struct Progress {
    positions: BTreeMap<ReplicaId, Position>,
    /// The merge of all replica timestamps.
    known: Timestamp,
    /// Time at which numbers of an origin were first seen, ascending.
    births: BTreeMap<ReplicaId, VecDeque<(u64, Micros)>>,
    curve: VecDeque<f64>,
    next_point: Micros,
    agreement: Agreement,
    since: Micros,
}

impl Progress {
    /// A replica shows where it is.
    pub(super) fn shows(
        &mut self,
        id: &ReplicaId,
        held: Option<&Timestamp>,
        applied: Option<&Timestamp>,
        digest: Option<Digest>,
        now: Micros,
    ) {
        if held.into_iter().chain(applied).any(|timestamp| !timestamp.is_plausible()) {
            return;
        }
        for (origin, count) in held.into_iter().chain(applied).flat_map(Timestamp::iter) {
            if count > self.known.get(origin) {
                self.known.set(origin, count);
                let births = self.births.entry(origin.clone()).or_default();
                if births.len() >= BIRTHS_MAX {
                    births.pop_front();
                }
                births.push_back((count, now));
            }
        }
        let position = self.positions.entry(id.clone()).or_default();
        if let Some(held) = held {
            position.held.clone_from(held);
        }
        if let Some(applied) = applied {
            position.applied.clone_from(applied);
            position.digest = digest;
        }
    }

    /// A replica is gone for good as far as the page is concerned. Its records count no more once no other replica shows them.
    pub(super) fn forget(&mut self, id: &ReplicaId) {
        self.positions.remove(id);
        let mut known = Timestamp::new();
        for position in self.positions.values() {
            known.merge(&position.held);
            known.merge(&position.applied);
        }
        self.births.retain(|origin, _| known.get(origin) > 0);
        self.known = known;
    }

    pub(super) fn held_by(&self, id: &ReplicaId) -> Timestamp {
        self.positions.get(id).map(|position| position.held.clone()).unwrap_or_default()
    }

    pub(super) fn position(&self, id: &ReplicaId) -> Option<&Position> {
        self.positions.get(id)
    }

    /// Records that a replica has not applied, and the age of the oldest one.
    pub(super) fn lag(&self, id: &ReplicaId, now: Micros) -> (u64, Micros) {
        let Some(position) = self.positions.get(id) else { return (0, 0) };
        let (mut records, mut age) = (0, 0);
        for (origin, count) in self.known.iter() {
            let applied = position.applied.get(origin);
            if applied < count {
                records += count - applied;
                let births = self.births.get(origin).into_iter().flatten();
                let oldest = births.filter(|(number, _)| *number > applied).map(|(_, born)| *born).next();
                age = age.max(oldest.map_or(0, |born| now.saturating_sub(born)));
            }
        }
        (records, age)
    }

    pub(super) fn tick<'a>(&mut self, serving: impl Iterator<Item = &'a ReplicaId>, now: Micros) {
        if now < self.next_point {
            return;
        }
        self.next_point = now + POINT_EVERY;
        let serving: Vec<_> = serving.cloned().collect();
        let worst = serving.iter().map(|id| self.lag(id, now).1).max().unwrap_or(0);
        if self.curve.len() >= POINTS_MAX {
            self.curve.pop_front();
        }
        self.curve.push_back(worst as f64 / MILLI as f64);
        self.prune(&serving);
        let agreement = self.agreement_of(&serving);
        if agreement != self.agreement {
            (self.agreement, self.since) = (agreement, now);
        }
    }

    /// Births of records that every replica in service has applied tell nothing any more.
    fn prune(&mut self, serving: &[ReplicaId]) {
        for (origin, births) in &mut self.births {
            let counts =
                serving.iter().filter_map(|id| self.positions.get(id)).map(|position| position.applied.get(origin));
            let Some(everywhere) = counts.min() else { continue };
            while births.front().is_some_and(|(number, _)| *number <= everywhere) {
                births.pop_front();
            }
        }
    }

    fn agreement_of(&self, serving: &[ReplicaId]) -> Agreement {
        let mut shown = serving.iter().filter_map(|id| {
            let position = self.positions.get(id)?;
            Some((&position.applied, position.digest?))
        });
        let Some((applied, digest)) = shown.next() else { return Agreement::Unknown };
        let (mut others, mut agreement) = (0, Agreement::Equal);
        for (other, other_digest) in shown {
            others += 1;
            if other != applied {
                return Agreement::Spreading;
            }
            if other_digest != digest {
                agreement = Agreement::Diverged;
            }
        }
        if others == 0 { Agreement::Unknown } else { agreement }
    }

    pub(super) fn agreement(&self) -> (Agreement, Micros) {
        (self.agreement, self.since)
    }

    /// The greatest lag among replicas in service, in milliseconds, one point each half second.
    pub(super) fn curve(&self) -> impl Iterator<Item = f64> {
        self.curve.iter().copied()
    }
}
