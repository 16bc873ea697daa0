//! Retries of a request: the time of the next attempt, and the reason when the client gives up. Reads no clock.

use std::time::Duration;

use crate::error::{ClientError, ErrorName};

/// The pause before asking again.
const PAUSE: Duration = Duration::from_millis(200);
/// The first pause after OVERLOADED, doubled each time: the frontend's queue needs rest, not more requests.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest pause after OVERLOADED.
const BACKOFF_MAX: Duration = Duration::from_millis(1_600);
/// With less time than this left, another attempt has no chance.
const ATTEMPT_MIN: Duration = Duration::from_millis(250);
/// Maximum time to look for the reason of a STALE.
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

    /// Number of attempts that have ended.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Time limit of the next attempt. The first one has its whole timeout, whatever the patience.
    pub(crate) fn limit(&self, elapsed: Duration) -> Duration {
        if self.attempts == 0 {
            return self.timeout;
        }
        self.timeout.min(self.patience.saturating_sub(elapsed)).max(Duration::from_millis(1))
    }

    /// An attempt met `error`: how long to pause before the next, or `None` to give up. `random` is from 0 to 1.
    pub(crate) fn pause(&mut self, error: &ErrorName, elapsed: Duration, random: f64) -> Option<Duration> {
        self.attempts += 1;
        if !error.is_passing() {
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

/// Best-known reason why a request has no answer: the latest that the broker or a frontend gave. Silence replaces no such
/// reason, least of all where the client itself cut the attempt short.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reason {
    known: Option<ClientError>,
    /// Text of a whole attempt without an answer after that.
    silence: Option<String>,
}

impl Reason {
    /// Takes in the error of an attempt. Returns whether the reason is another one now.
    pub(crate) fn take_in(&mut self, error: ClientError, was_cut_short: bool) -> bool {
        let is_silence = error.name == ErrorName::NoAnswer;
        match &self.known {
            Some(known) if is_silence && known.name != ErrorName::NoAnswer => {
                if !was_cut_short {
                    self.silence = Some(error.text);
                }
                false
            }
            Some(known) if is_silence && was_cut_short => {
                debug_assert_eq!(known.name, ErrorName::NoAnswer);
                false
            }
            // A frontend that hears no replica says so, and then takes no more requests.
            Some(known) if error.name == ErrorName::NoFrontend && known.name == ErrorName::Unavailable => false,
            known => {
                let is_news = known.as_ref().is_none_or(|known| known.name != error.name);
                self.known = Some(error);
                self.silence = None;
                is_news
            }
        }
    }

    /// The reason so far.
    pub(crate) fn known(&self) -> Option<&ClientError> {
        self.known.as_ref()
    }

    /// The reason to give up with.
    pub(crate) fn into_error(self) -> ClientError {
        let mut error = self.known.unwrap_or_else(|| ClientError::no_answer(Duration::ZERO));
        if let Some(silence) = self.silence {
            error.text = format!("{}; then {silence}", error.text);
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_hides_no_reason_and_the_latest_reason_is_told() {
        let of = |header: &str| ClientError::from_headers("503", header);
        let silent = || ClientError::no_answer(Duration::from_secs(3));
        let mut reason = Reason::default();
        assert!(reason.take_in(silent(), false) && !reason.take_in(silent(), true));
        assert_eq!(reason.clone().into_error().to_string(), "no answer came within 3 s (NO_ANSWER)");
        assert!(reason.take_in(of("STALE: x"), false));
        assert!(!reason.take_in(silent(), true));
        assert!(reason.clone().into_error().text.ends_with("this session has seen"));
        assert!(!reason.take_in(silent(), false));
        let error = reason.clone().into_error();
        assert_eq!(error.name, ErrorName::Stale);
        assert!(error.text.ends_with("this session has seen; then no answer came within 3 s"), "{error}");
        assert!(
            reason.take_in(of("UNAVAILABLE: all are gone"), false) && !reason.take_in(of("UNAVAILABLE: all"), false)
        );
        assert_eq!(reason.clone().into_error().to_string(), "all (UNAVAILABLE)");
        assert!(!reason.take_in(of("NO_FRONTEND: x"), false));
        assert_eq!(reason.into_error().name, ErrorName::Unavailable, "its frontend waits for a replica");
        let mut reason = Reason::default();
        assert!(reason.take_in(of("TIMEOUT: x"), false) && reason.take_in(of("NO_FRONTEND: x"), false));
        assert_eq!(reason.into_error().name, ErrorName::NoFrontend);
    }

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
            (ErrorName::Unavailable, true),
            (ErrorName::NoFrontend, true),
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

    #[test]
    fn without_patience_there_is_one_whole_attempt() {
        let mut patience = Patience::new(Duration::from_secs(3), Duration::ZERO);
        assert_eq!(patience.limit(Duration::ZERO), Duration::from_secs(3));
        assert!(patience.pause(&ErrorName::NoFrontend, Duration::ZERO, 0.5).is_none());
    }
}
