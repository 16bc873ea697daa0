//! Times when no replica serves, as a person at the terminal should know them.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest time without a serving replica that is told: replicas of mode `arbitrary` are OFFLINE for up to 1.2 s at a time.
const LONG: Duration = Duration::from_secs(2);
/// A look that comes later than this after the one before proves nothing: this process itself was stopped.
const LOOK_LATE: Duration = Duration::from_secs(1);

/// Notices when no replica serves, and when one does again.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    last_look: Option<Instant>,
    told: bool,
}

impl Outage {
    /// Takes in how many replicas serve now, and gives a line for the terminal where that is news.
    pub(crate) fn look(&mut self, serving: usize, states: impl Fn() -> String, now: Instant) -> Option<String> {
        let late = self.last_look.replace(now).is_some_and(|last| now - last > LOOK_LATE);
        if serving > 0 {
            self.since = None;
            return std::mem::take(&mut self.told).then(|| format!("a replica serves again: {}", states()));
        }
        if late {
            self.since = None;
        }
        let since = *self.since.get_or_insert(now);
        if self.told || now - since < LONG {
            return None;
        }
        self.told = true;
        Some(format!("no replica serves, so requests fail as UNAVAILABLE: {}", states()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_outage_and_its_end_are_told_once() {
        let start = Instant::now();
        let mut outage = Outage::default();
        let mut look = |serving, ms| outage.look(serving, || "r1 (OFFLINE)".into(), start + Duration::from_millis(ms));
        assert_eq!(look(1, 0), None);
        // A short one.
        assert_eq!((look(0, 500), look(0, 1400), look(1, 1800)), (None, None, None));
        let looks: Vec<u64> = (0..20).map(|n| 2000 + n * 200).collect();
        let told: Vec<(u64, String)> = looks.iter().filter_map(|&ms| Some((ms, look(0, ms)?))).collect();
        let line = "no replica serves, so requests fail as UNAVAILABLE: r1 (OFFLINE)".to_owned();
        assert_eq!(told, [(4000, line)]);
        assert_eq!(look(1, 6000).as_deref(), Some("a replica serves again: r1 (OFFLINE)"));
        assert_eq!(look(1, 6200), None);
    }

    #[test]
    fn a_pause_of_this_process_is_no_outage() {
        let start = Instant::now();
        let mut outage = Outage::default();
        let mut look = |serving, ms| outage.look(serving, String::new, start + Duration::from_millis(ms));
        assert_eq!((look(1, 0), look(0, 100_000), look(0, 100_200), look(1, 100_400)), (None, None, None, None));
    }
}
