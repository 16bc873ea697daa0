//! Subjects that the broker does not permit to the launcher and to its members, gathered until all have said theirs.

use std::time::Duration;

use natter_broker::connection::Denial;
use tokio::time::Instant;

use crate::error::ClusterError;
use crate::members::Member;

/// Maximum time after a refusal of the broker for the other members to say what they lack.
const REFUSALS_WITHIN: Duration = Duration::from_secs(3);
/// Time for a member that has shown itself to find out what it lacks.
const SETTLES_WITHIN: Duration = Duration::from_millis(500);
/// Words of a member that ends because it lacks permissions.
const DENIED: &str = "the broker does not permit";

/// Refusals of the broker, of the launcher and of members.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    since: Option<Instant>,
    /// Since when all members have shown themselves or ended.
    settled: Option<Instant>,
    denials: Vec<Denial>,
    /// Words of members, one of each role.
    members: Vec<(String, String)>,
}

impl Refusals {
    /// Whether there is one.
    pub(crate) fn is_any(&self) -> bool {
        self.since.is_some()
    }

    /// Takes in one of the launcher.
    pub(crate) fn add(&mut self, denial: Denial) {
        self.since.get_or_insert_with(Instant::now);
        if !self.denials.contains(&denial) {
            self.denials.push(denial);
        }
    }

    /// Whether a refusal explains the end of a member: its words list all that it lacks. Members of one role lack the same.
    pub(crate) fn explain(&mut self, error: &ClusterError) -> bool {
        let ClusterError::EndedEarly { what, last_words, .. } = error else { return false };
        if !last_words.starts_with(DENIED) {
            return false;
        }
        self.since.get_or_insert_with(Instant::now);
        let role = what.split(' ').next().unwrap_or_default();
        if self.members.iter().all(|(other, _)| other != role) {
            self.members.push((role.to_owned(), error.to_string()));
        }
        true
    }

    /// The error, once all members have said what they lack, or had the time to.
    pub(crate) fn are_complete(&mut self, members: &[Member]) -> Option<ClusterError> {
        let since = self.since?;
        if members.iter().all(Member::is_settled) {
            self.settled.get_or_insert_with(Instant::now);
        }
        let is_settled = self.settled.is_some_and(|settled| settled.elapsed() >= SETTLES_WITHIN);
        (is_settled || since.elapsed() >= REFUSALS_WITHIN).then(|| ClusterError::Denied {
            denials: std::mem::take(&mut self.denials),
            members: std::mem::take(&mut self.members).into_iter().map(|(_, words)| words).collect(),
        })
    }
}
