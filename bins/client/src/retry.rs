//! When to ask again, and when to give up. Reads no clock.

use std::time::Duration;

use crate::error::ErrorName;

/// The pause before asking again.
const PAUSE: Duration = Duration::from_millis(200);
/// The first pause after OVERLOADED, doubled each time: the frontend's queue needs rest, not more requests.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest pause after OVERLOADED.
const BACKOFF_MAX: Duration = Duration::from_millis(1_600);
/// With less time than this left, another attempt has no chance.
const ATTEMPT_MIN: Duration = Duration::from_millis(250);
/// How long to look for the reason of a STALE.
pub(crate) const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// The attempts of one request.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    timeout: Duration,
    patience: Duration,
    attempts: u32,
    overloaded: u32,
}

impl Patience {
    /// Attempts of at most `timeout` each, `patience` for all.
    pub(crate) fn new(timeout: Duration, patience: Duration) -> Self {
        Self { timeout, patience, attempts: 0, overloaded: 0 }
    }

    /// How many attempts have ended.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the next attempt may take.
    pub(crate) fn limit(&self, elapsed: Duration) -> Duration {
        self.timeout.min(self.patience.saturating_sub(elapsed)).max(Duration::from_millis(1))
    }

    /// An attempt met `error`: how long to pause before the next, or `None` to give up. `random` is from 0 to 1.
    pub(crate) fn pause(&mut self, error: &ErrorName, elapsed: Duration, random: f64) -> Option<Duration> {
        self.attempts += 1;
        // After a lost connection, this client may be back at the broker before the frontends are.
        let passing = error.is_passing() || (*error == ErrorName::NoFrontend && self.attempts > 1);
        if !passing {
            return None;
        }
        let pause = if *error == ErrorName::Overloaded {
            let longest = BACKOFF_FIRST.saturating_mul(1 << self.overloaded.min(8)).min(BACKOFF_MAX);
            self.overloaded += 1;
            // Clients that were turned away together come back apart.
            longest.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
        } else {
            PAUSE
        };
        (elapsed + pause + ATTEMPT_MIN <= self.patience).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience::new(Duration::from_secs(3), Duration::from_secs(10))
    }

    #[test]
    fn what_time_may_mend_is_asked_again_and_the_rest_is_not() {
        for (name, again) in [
            (ErrorName::Timeout, true),
            (ErrorName::NoAnswer, true),
            (ErrorName::Stale, true),
            (ErrorName::NotEnoughReplicas, true),
            (ErrorName::Overloaded, true),
            (ErrorName::Unavailable, false),
            (ErrorName::NoFrontend, false),
            (ErrorName::BadRequest, false),
            (ErrorName::RatingExists, false),
            (ErrorName::MovieNotFound, false),
            (ErrorName::BadReply, false),
            (ErrorName::Other("NEW".into()), false),
        ] {
            assert_eq!(patience().pause(&name, Duration::ZERO, 0.5).is_some(), again, "{name}");
        }
    }

    #[test]
    fn a_frontend_may_be_missing_for_a_while_after_a_lost_connection() {
        let mut patience = patience();
        patience.pause(&ErrorName::NoAnswer, Duration::from_secs(3), 0.5);
        assert!(patience.pause(&ErrorName::NoFrontend, Duration::from_secs(4), 0.5).is_some());
    }

    #[test]
    fn pauses_after_overloaded_grow_to_a_bound() {
        let mut patience = patience();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            pauses.push(patience.pause(&ErrorName::Overloaded, Duration::ZERO, 1.0).unwrap().as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 1600, 1600]);
    }

    #[test]
    fn patience_ends() {
        let mut patience = patience();
        assert!(patience.pause(&ErrorName::Timeout, Duration::from_millis(9_500), 0.5).is_some());
        assert!(patience.pause(&ErrorName::Timeout, Duration::from_millis(9_600), 0.5).is_none());
        assert_eq!(patience.limit(Duration::ZERO), Duration::from_secs(3));
        assert_eq!(patience.limit(Duration::from_secs(9)), Duration::from_secs(1));
    }
}
