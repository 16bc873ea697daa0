//! The lag of a replica: records that present replicas hold and that it has not applied.

use std::time::{Duration, Instant};

use natter_common::timestamp::Timestamp;

/// The lag, as it was found out last.
#[derive(Debug, Default)]
pub(super) struct Lag {
    records: u64,
    /// Records that the others held when this replica began to lack one of them, and that time. `None` once all of them
    /// are applied: under load, other records are missing by then.
    goal: Option<(Timestamp, Instant)>,
}

impl Lag {
    /// The replica has applied `value`, and present replicas hold `shown`.
    pub(super) fn update<'a>(&mut self, value: &Timestamp, shown: impl Iterator<Item = &'a Timestamp>) {
        let mut all = Timestamp::new();
        shown.for_each(|timestamp| all.merge(timestamp));
        let lacks = all.iter().map(|(origin, count)| count.saturating_sub(value.get(origin)));
        self.records = lacks.fold(0, u64::saturating_add);
        // An origin that nobody shows any more has retired: nothing of it is awaited.
        self.goal.take_if(|(goal, _)| value.covers(&goal.common(&all)));
        if self.records > 0 && self.goal.is_none() {
            self.goal = Some((all, Instant::now()));
        }
    }

    /// Number of records.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Time since when it has lacked a record.
    pub(super) fn time(&self) -> Duration {
        self.goal.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use natter_common::ids::ReplicaId;

    use super::*;

    fn timestamp(entries: &[(&str, u64)]) -> Timestamp {
        entries.iter().map(|(id, count)| (ReplicaId::new(id).unwrap(), *count)).collect()
    }

    #[test]
    fn lag_counts_records_that_others_hold_and_lasts_until_those_are_applied() {
        let mut lag = Lag::default();
        lag.update(&timestamp(&[("a", 5)]), [&timestamp(&[("a", 5)])].into_iter());
        assert_eq!((lag.records(), lag.time()), (0, Duration::ZERO));
        let others = [timestamp(&[("a", 7), ("b", 1)]), timestamp(&[("a", 6), ("b", 3)])];
        lag.update(&timestamp(&[("a", 5)]), others.iter());
        assert_eq!(lag.records(), 5);
        let since = lag.goal.clone().unwrap().1;
        // Something is applied, and something more is missing.
        lag.update(&timestamp(&[("a", 7), ("b", 2)]), [&timestamp(&[("a", 9), ("b", 3)])].into_iter());
        assert_eq!((lag.records(), lag.goal.clone().unwrap().1), (3, since));
        // All that was missing first is applied: the time counts anew.
        lag.update(&timestamp(&[("a", 7), ("b", 3)]), [&timestamp(&[("a", 9), ("b", 3)])].into_iter());
        assert_eq!(lag.records(), 2);
        assert!(lag.goal.clone().unwrap().1 > since);
        lag.update(&timestamp(&[("a", 9), ("b", 3)]), [&timestamp(&[("a", 9), ("b", 3)])].into_iter());
        assert_eq!((lag.records(), lag.time()), (0, Duration::ZERO));
    }

    #[test]
    fn records_of_replicas_that_no_present_replica_shows_are_not_awaited() {
        let mut lag = Lag::default();
        lag.update(&timestamp(&[]), [&timestamp(&[("dead", 1)])].into_iter());
        assert_eq!(lag.records(), 1);
        lag.update(&timestamp(&[]), [&timestamp(&[("a", 0)])].into_iter());
        assert_eq!((lag.records(), lag.time()), (0, Duration::ZERO));
    }
}
