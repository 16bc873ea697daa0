//! Exhaustive search: every order in which the messages of a small cluster can arrive, with a crash, a lost message or
//! a step of time wherever one fits.
//!
//! The protocol cores are the real ones: frontends, replica managers, and both joined in one process. A state is the
//! cores, their values, the messages on their way, and the answers so far. From each state every possible action leads
//! to another; a state that was seen before is not gone through again. Simplifications: messages of one link keep their
//! order, as on one NATS connection; presence and "no responders" are heard at once; time passes for all at the same
//! moment, in few steps.

mod action;
mod checks;
mod process;
mod state;
mod turns;

use std::collections::HashSet;

pub use action::Action;
pub use checks::Broken;
pub use state::{Configuration, Script, State};

/// Size of a search.
#[derive(Clone, Copy, Debug, Default)]
pub struct Searched {
    /// Different states.
    pub states: usize,
    /// Actions that were performed.
    pub actions: usize,
    /// States from which nothing is possible any more.
    pub ends: usize,
    /// The longest way, in actions.
    pub depth: usize,
    /// Whether the search was ended by its limit.
    pub is_cut: bool,
}

/// A way to a state in which something is broken.
#[derive(Debug)]
pub struct Counterexample {
    /// Actions that lead from the start to the broken promise.
    pub actions: Vec<Action>,
    /// The broken promise.
    pub broken: Broken,
}

/// Goes through all states that can be reached, at most `states_max`.
pub fn search(configuration: &Configuration, states_max: usize) -> Result<Searched, Box<Counterexample>> {
    let first = State::begin(configuration);
    let mut searched = Searched::default();
    let mut seen = HashSet::from([first.fingerprint()]);
    let mut way: Vec<(State, Vec<Action>, Option<Action>)> = Vec::new();
    let actions = first.actions();
    way.push((first, actions, None));
    while let Some((state, actions, _)) = way.last_mut() {
        let Some(action) = actions.pop() else {
            way.pop();
            continue;
        };
        let mut next = state.clone();
        searched.actions += 1;
        let mut done = next.perform(&action);
        let possible = next.actions();
        // Time may always pass; the way is at its end when nothing else can happen.
        let is_end = done.is_ok() && next.is_quiet();
        if is_end {
            done = next.clone().finish();
        }
        if let Err(broken) = done {
            let before = way.into_iter().filter_map(|(_, _, action)| action);
            return Err(Box::new(Counterexample { actions: before.chain([action]).collect(), broken }));
        }
        if seen.insert(next.fingerprint()) {
            searched.ends += usize::from(is_end);
            if seen.len() >= states_max {
                searched.is_cut = true;
                break;
            }
            way.push((next, possible, Some(action)));
            searched.depth = searched.depth.max(way.len());
        }
    }
    searched.states = seen.len();
    Ok(searched)
}
