//! Stamps and the hybrid logical clock that makes them.
//!
//! A hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014) follows the wall clock while that moves
//! on, and counts where it doesn't: so stamps respect causality and still say when, roughly, a thing happened.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use crate::wire::number::{NO_CLOCK_OF_F32, clock_of_f64};

/// Maximum time by which a stamp may be ahead of the local clock, in milliseconds.
pub const STAMP_AHEAD_MS_MAX: u64 = 60_000;

/// A reading of a hybrid logical clock: 48 bits of Unix milliseconds, then 16 bits of counter.
///
/// Order: total, later is greater. 0 is before every update: the stamp of the rows that a data set came with.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Before every update.
    pub const ZERO: Self = Self(0);

    /// A stamp of these Unix milliseconds (the low 48 bits count) and this counter.
    pub fn new(milliseconds: u64, counter: u16) -> Self {
        Self((milliseconds << 16) | u64::from(counter))
    }

    /// Unix time, in milliseconds.
    pub fn milliseconds(self) -> u64 {
        self.0 >> 16
    }

    /// Unix time, in seconds: the `timestamp` of a rating.
    pub fn seconds(self) -> i64 {
        (self.milliseconds() / 1000) as i64
    }

    /// The counter that tells stamps of one millisecond apart.
    pub fn counter(self) -> u16 {
        self.0 as u16
    }

    /// The next greater stamp; the greatest one stays.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StampVisitor;
        impl Visitor<'_> for StampVisitor {
            type Value = Stamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a clock, an unsigned 64-bit integer")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Stamp, E> {
                Ok(Stamp(number))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Stamp, E> {
                u64::try_from(number).map(Stamp).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }
            // Asked for as a float, so that a float comes as it is, and an integer as an integer.
            fn visit_f64<E: Error>(self, number: f64) -> Result<Stamp, E> {
                clock_of_f64(number).map(Stamp).map_err(|reason| E::custom(format_args!("{number:?} {reason}")))
            }
            fn visit_f32<E: Error>(self, number: f32) -> Result<Stamp, E> {
                Err(E::custom(format_args!("{number:?} {NO_CLOCK_OF_F32}")))
            }
        }
        deserializer.deserialize_f64(StampVisitor)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.milliseconds(), self.counter())
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The two clocks of a machine, read by the shell and handed to a core with every input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never goes back: for deadlines.
    pub monotonic_ms: u64,
    /// Unix milliseconds by the wall clock, which may be wrong and may jump: for stamps.
    pub wall_ms: u64,
}

/// Makes stamps that are each greater than the one before.
#[derive(Clone, Debug, Default)]
pub struct HybridLogicalClock {
    last: Stamp,
}

impl HybridLogicalClock {
    /// A stamp greater than every one made before and than `floor`, and not before `wall_ms`.
    pub fn tick(&mut self, wall_ms: u64, floor: Stamp) -> Stamp {
        self.last = self.last.max(floor).next().max(Stamp::new(wall_ms, 0));
        self.last
    }

    /// Takes notice of a stamp made elsewhere: later ticks are above it.
    pub fn observe(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp);
    }

    /// Goes back to `wall_ms`, which another machine gave after it had refused a stamp as too far ahead.
    pub fn set_back(&mut self, wall_ms: u64) {
        self.last = self.last.min(Stamp::new(wall_ms, 0));
    }
}

/// Whether `stamp` is more than [`STAMP_AHEAD_MS_MAX`] ahead of the later of the wall clock and `seen`, the greatest
/// stamp that is already part of the system.
pub fn is_too_far_ahead(stamp: Stamp, wall_ms: u64, seen: Stamp) -> bool {
    stamp.milliseconds() > wall_ms.max(seen.milliseconds()).saturating_add(STAMP_AHEAD_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_follow_the_wall_clock_and_count_when_it_stands() {
        let mut clock = HybridLogicalClock::default();
        assert_eq!(clock.tick(1000, Stamp::ZERO), Stamp::new(1000, 0));
        assert_eq!(clock.tick(1000, Stamp::ZERO), Stamp::new(1000, 1));
        assert_eq!(clock.tick(900, Stamp::ZERO), Stamp::new(1000, 2));
        assert_eq!(clock.tick(1001, Stamp::ZERO), Stamp::new(1001, 0));
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let mut clock = HybridLogicalClock::default();
        assert_eq!(clock.tick(5, Stamp::new(7, u16::MAX)), Stamp::new(8, 0));
    }

    #[test]
    fn a_stamp_is_milliseconds_and_a_counter() {
        let stamp = Stamp::new(1_700_000_001_999, 7);
        assert_eq!((stamp.milliseconds(), stamp.seconds(), stamp.counter()), (1_700_000_001_999, 1_700_000_001, 7));
        assert_eq!(stamp.to_string(), "1700000001999+7");
        assert_eq!((Stamp(u64::MAX).next(), Stamp(u64::MAX).counter()), (Stamp(u64::MAX), u16::MAX));
    }

    #[test]
    fn ticks_are_above_what_was_observed_and_may_be_set_back() {
        let mut clock = HybridLogicalClock::default();
        clock.observe(Stamp::new(50, 3));
        clock.observe(Stamp::new(40, 0));
        assert_eq!(clock.tick(45, Stamp::ZERO), Stamp::new(50, 4));
        clock.set_back(60);
        assert_eq!(clock.tick(45, Stamp::ZERO), Stamp::new(50, 5));
        clock.set_back(20);
        assert_eq!(clock.tick(10, Stamp::ZERO), Stamp::new(20, 1));
    }

    #[test]
    fn more_than_a_minute_ahead_of_all_that_is_known_is_too_far() {
        let stamp = Stamp::new(100_000, 0);
        assert!(!is_too_far_ahead(stamp, 40_000, Stamp::ZERO) && is_too_far_ahead(stamp, 39_999, Stamp::ZERO));
        assert!(
            !is_too_far_ahead(stamp, 0, Stamp::new(40_000, 0)) && is_too_far_ahead(stamp, 0, Stamp::new(39_999, 0))
        );
        assert!(!is_too_far_ahead(Stamp(u64::MAX), u64::MAX, Stamp::ZERO));
    }

    proptest! {
        #[test]
        fn ticks_rise_and_stay_above_their_floor(steps in prop::collection::vec((0u64..1 << 47, any::<u32>()), 1..50)) {
            let mut clock = HybridLogicalClock::default();
            let mut before = Stamp::ZERO;
            for (wall_ms, floor) in steps {
                let floor = Stamp(u64::from(floor) << 20);
                let stamp = clock.tick(wall_ms, floor);
                prop_assert!(stamp > before && stamp > floor && stamp.milliseconds() >= wall_ms);
                before = stamp;
            }
        }
    }
}
