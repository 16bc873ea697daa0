//! Limits of subscriptions. A subscription that brings more than its budget becomes a sample: once a second it is made
//! anew with a maximum number of messages, after which the broker ends it. So the broker itself sends less.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::Wanted;

/// Messages in a second that all subscriptions together may bring.
const BUDGET: u64 = 4_000;
/// Least messages in a second of one subscription.
const BUDGET_MIN: u64 = 40;
/// Length of a period.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// Periods in a row in which a sample has to be complete before everything is subscribed to again.
const CALM_PERIODS: u32 = 3;

/// Maximum messages in a second that a subscription may bring, with this number of replicas.
fn budget(wanted: &Wanted, replicas: u64) -> u64 {
    let share = match wanted {
        // Presence tells what else to subscribe to. It comes twice a second from each process.
        Wanted::Presence(_) => return u64::MAX,
        Wanted::Replies => BUDGET * 3 / 8,
        Wanted::Clients => BUDGET / 4,
        Wanted::ClientsWithUser => BUDGET / 8,
        Wanted::Replica(_) => BUDGET / 8 / replicas.max(1),
        Wanted::Gossip(_) => BUDGET / 8 / replicas.max(1),
    };
    share.max(BUDGET_MIN)
}

#[derive(Debug)]
struct Meter {
    count: u64,
    begun: Instant,
    /// Time of the last message in this period.
    last: Instant,
    is_sample: bool,
    calm: u32,
    share: f64,
}

/// Change to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Ends here; a sample begins with the next period.
    Pause,
    /// Is made anew with at most this many messages.
    Sample(u64),
    /// Is made anew without a limit.
    Everything,
}

/// Meters of all subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Sampling {
    meters: BTreeMap<Wanted, Meter>,
    replicas: u64,
}

impl Sampling {
    /// Begins to measure a subscription, and forgets it with [`Sampling::ends`].
    pub(crate) fn begins(&mut self, wanted: &Wanted, now: Instant) {
        self.replicas += u64::from(matches!(wanted, Wanted::Replica(_)));
        let meter = Meter { count: 0, begun: now, last: now, is_sample: false, calm: 0, share: 1.0 };
        self.meters.insert(wanted.clone(), meter);
    }

    pub(crate) fn ends(&mut self, wanted: &Wanted) {
        if self.meters.remove(wanted).is_some() && matches!(wanted, Wanted::Replica(_)) {
            self.replicas = self.replicas.saturating_sub(1);
        }
    }

    /// Counts a message.
    pub(crate) fn count(&mut self, wanted: &Wanted, now: Instant) -> Option<Change> {
        let budget = budget(wanted, self.replicas);
        let meter = self.meters.get_mut(wanted)?;
        meter.count += 1;
        meter.last = now;
        if meter.is_sample || meter.count <= budget {
            return None;
        }
        meter.is_sample = true;
        meter.calm = 0;
        Some(Change::Pause)
    }

    /// Ends a period, and gives the changes for the next one.
    pub(crate) fn next_period(&mut self, now: Instant) -> Vec<(Wanted, Change)> {
        let (mut changes, replicas) = (Vec::new(), self.replicas);
        for (wanted, meter) in &mut self.meters {
            if meter.is_sample {
                let budget = budget(wanted, replicas);
                let is_full = meter.count >= budget;
                let open = meter.last.duration_since(meter.begun).as_secs_f64();
                let period = now.duration_since(meter.begun).as_secs_f64();
                meter.share = if is_full && period > 0.0 { (open / period).clamp(0.001, 1.0) } else { 1.0 };
                meter.calm = if is_full { 0 } else { meter.calm + 1 };
                if meter.calm >= CALM_PERIODS {
                    meter.is_sample = false;
                    changes.push((wanted.clone(), Change::Everything));
                } else {
                    changes.push((wanted.clone(), Change::Sample(budget)));
                }
            }
            (meter.count, meter.begun, meter.last) = (0, now, now);
        }
        changes
    }

    /// Share of the time in which this subscription was open, in the last period.
    pub(crate) fn share(&self, wanted: &Wanted) -> f64 {
        self.meters.get(wanted).map_or(1.0, |meter| meter.share)
    }

    /// Names of what is sampled now, for people.
    pub(crate) fn sampled(&self) -> Vec<&'static str> {
        let mut names: Vec<_> =
            self.meters.iter().filter(|(_, meter)| meter.is_sample).map(|(wanted, _)| name(wanted)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn name(wanted: &Wanted) -> &'static str {
    match wanted {
        Wanted::Presence(_) => "presence",
        Wanted::Gossip(_) => "gossip",
        Wanted::Replica(_) => "requests to replicas",
        Wanted::Clients | Wanted::ClientsWithUser => "requests of clients",
        Wanted::Replies => "replies",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_subscription_becomes_a_sample_and_a_calm_one_is_whole_again() {
        let (mut sampling, start) = (Sampling::default(), Instant::now());
        sampling.begins(&Wanted::Clients, start);
        let changes: Vec<_> = (0..=BUDGET / 4).filter_map(|_| sampling.count(&Wanted::Clients, start)).collect();
        assert_eq!(changes, [Change::Pause]);
        assert_eq!(sampling.sampled(), ["requests of clients"]);
        let later = start + PERIOD;
        assert_eq!(sampling.next_period(later), [(Wanted::Clients, Change::Sample(BUDGET / 4))]);
        // The sample is full after a tenth of the period, so the rate is ten times what is counted.
        for _ in 0..BUDGET / 4 {
            assert_eq!(sampling.count(&Wanted::Clients, later + PERIOD / 10), None);
        }
        let later = later + PERIOD;
        assert_eq!(sampling.next_period(later), [(Wanted::Clients, Change::Sample(BUDGET / 4))]);
        assert!((sampling.share(&Wanted::Clients) - 0.1).abs() < 0.001);
        let calm: Vec<_> = (1..=CALM_PERIODS).flat_map(|n| sampling.next_period(later + PERIOD * n)).collect();
        assert_eq!(calm.last(), Some(&(Wanted::Clients, Change::Everything)));
        assert!(sampling.sampled().is_empty());
    }

    #[test]
    fn replicas_share_a_budget() {
        let (mut sampling, start) = (Sampling::default(), Instant::now());
        for n in 0..50 {
            let id = natter_common::ids::ReplicaId::new(&format!("r{n}")).unwrap();
            sampling.begins(&Wanted::Replica(id), start);
        }
        let first = Wanted::Replica(natter_common::ids::ReplicaId::new("r0").unwrap());
        let until = (0..BUDGET).position(|_| sampling.count(&first, start).is_some()).unwrap();
        assert_eq!(until as u64, BUDGET_MIN, "the least budget is what one of many gets");
        sampling.ends(&first);
        assert_eq!(sampling.count(&first, start), None);
    }
}
