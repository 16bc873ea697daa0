//! `client shiviz`: the debug logs of a run as a log that ShiViz reads with its default expression,
//! `(?<host>\S*) (?<clock>{.*})\n(?<event>.*)`.
//!
//! - [`logs`]: lines of the logs as events of processes; [`clocks`]: vector clocks of the events

pub mod clocks;
pub mod logs;

use std::fmt::Write as _;
use std::path::Path;

use self::logs::{LogError, Run};

/// The log for ShiViz, and the number of received messages whose sending is in none of the logs.
///
/// # Errors
///
/// The folder has no logs of a run, or they are incomplete.
pub fn convert(folder: &Path) -> Result<(String, usize), LogError> {
    let Run { hosts, events } = logs::read(folder)?;
    let clocked = clocks::clocked(&events).map_err(|at| LogError::Contradictory { host: hosts[at].clone() })?;
    let mut text = String::new();
    for at in &clocked.order {
        let event = &events[at.host][at.place];
        let clock = clocked.clocks[at.host].get(at.place).map(Vec::as_slice).unwrap_or_default();
        let entries = clock.iter().zip(&hosts).filter(|(count, _)| **count > 0);
        let entries: Vec<String> = entries.map(|(count, host)| format!("\"{host}\":{count}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {{{}}}\n{}", hosts[at.host], entries.join(", "), event.text);
    }
    Ok((text, clocked.unmatched))
}
