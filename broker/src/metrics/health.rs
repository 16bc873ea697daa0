//! The health of a role, as its loop shows it at each tick, and as probes ask for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time without a turn after which a loop counts as stuck. It is longer than anything that a loop waits for: a check of
/// permissions takes up to 2 s, and the last messages of a process too.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// The stages in the life of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Does not turn yet, or does not turn now, for this reason. A probe for life finds nothing wrong in it.
    Waiting(String),
    /// Its loop turns, and shows itself at each tick.
    Running,
}

/// The health of a role.
#[derive(Debug)]
pub struct Health {
    role: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    turned: Instant,
    /// The reason for which the role cannot do its work, if there is one.
    unhealthy: Option<String>,
    /// The reason for which the role does not serve now, if there is one.
    unready: Option<String>,
}

impl Health {
    pub(super) fn new(role: &'static str) -> Self {
        let stage = Stage::Waiting("starts, and is not connected to the broker yet".to_owned());
        Self { role, state: Mutex::new(State { stage, turned: Instant::now(), unhealthy: None, unready: None }) }
    }

    /// The name of the role.
    pub(super) fn role(&self) -> &'static str {
        self.role
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its loop does not turn from now on, and this is the reason.
    pub fn wait(&self, reason: impl Into<String>) {
        self.state().stage = Stage::Waiting(reason.into());
    }

    /// Its loop turns. `unhealthy` and `unready` are what is wrong, if anything is.
    pub fn turn(&self, unhealthy: Option<String>, unready: Option<String>) {
        *self.state() = State { stage: Stage::Running, turned: Instant::now(), unhealthy, unready };
    }

    /// For `/livez`: fails where only a restart helps.
    pub(super) fn is_alive(&self) -> Result<(), String> {
        let state = self.state();
        let since = state.turned.elapsed();
        match state.stage {
            Stage::Running if since > STUCK_AFTER => Err(format!("its loop has been stuck for {} s", since.as_secs())),
            _ => Ok(()),
        }
    }

    /// For `/healthz`: fails where the role cannot do its work, by whatever fault.
    pub(super) fn is_healthy(&self) -> Result<(), String> {
        self.is_alive()?;
        let state = self.state();
        match (&state.stage, &state.unhealthy) {
            (Stage::Waiting(reason), _) | (Stage::Running, Some(reason)) => Err(reason.clone()),
            (Stage::Running, None) => Ok(()),
        }
    }

    /// For `/readyz`: fails where the role does not serve now.
    pub(super) fn is_ready(&self) -> Result<(), String> {
        self.is_healthy()?;
        self.state().unready.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(health: &Health) -> [bool; 3] {
        [health.is_alive().is_ok(), health.is_healthy().is_ok(), health.is_ready().is_ok()]
    }

    #[test]
    fn ready_needs_healthy_and_healthy_needs_alive() {
        let health = Health::new("replica");
        assert_eq!(verdicts(&health), [true, false, false]);
        assert!(health.is_ready().is_err_and(|reason| reason.contains("not connected")));
        health.turn(None, None);
        assert_eq!(verdicts(&health), [true; 3]);
        health.turn(None, Some("is OFFLINE".to_owned()));
        assert_eq!(verdicts(&health), [true, true, false]);
        health.turn(Some("lost".to_owned()), None);
        assert_eq!((verdicts(&health), health.is_ready()), ([true, false, false], Err("lost".to_owned())));
        health.wait("its store failed");
        assert_eq!(
            (verdicts(&health), health.is_healthy()),
            ([true, false, false], Err("its store failed".to_owned()))
        );
    }

    #[test]
    fn loop_that_does_not_turn_is_not_alive() {
        let health = Health::new("frontend");
        health.turn(None, None);
        let Some(long_ago) = Instant::now().checked_sub(STUCK_AFTER * 2) else { return };
        health.state().turned = long_ago;
        assert_eq!(verdicts(&health), [false; 3]);
        assert!(health.is_ready().is_err_and(|reason| reason.contains("stuck for 20 s")));
        health.wait("waits for its directory");
        assert!(health.is_alive().is_ok());
    }
}
