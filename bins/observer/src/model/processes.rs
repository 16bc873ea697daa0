//! Frontends and replicas, as their presence shows them.

use std::collections::BTreeMap;

use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Role, Status};
use natter_common::roster::{MISSED_INTERVALS_MAX, PRESENCE_INTERVAL_MS};

use super::{MILLI, Micros, SECOND, Unreadable};

/// Maximum processes of one role that are remembered. Presence of further ones is refused as made up.
const PROCESSES_MAX: usize = 128;
/// Silence after which a process counts as gone, in line with all other roles.
const SILENCE: Micros = MISSED_INTERVALS_MAX * PRESENCE_INTERVAL_MS * MILLI;
/// Time for which a process that is gone stays on the page.
const KEPT: Micros = 20 * SECOND;

/// One role of a process.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) presence: Presence,
    pub(super) seen: Micros,
    /// Whether presence shows it: it has neither left nor fallen silent.
    pub(super) is_present: bool,
}

/// All that show themselves or did so lately.
#[derive(Debug, Default)]
pub(super) struct Processes {
    frontends: BTreeMap<ReplicaId, Shown>,
    replicas: BTreeMap<ReplicaId, Shown>,
}

impl Processes {
    pub(super) fn show(&mut self, presence: Presence, now: Micros) -> Result<(), Unreadable> {
        let shown = match presence.role {
            Role::Frontend => &mut self.frontends,
            Role::Replica => &mut self.replicas,
        };
        match shown.get(&presence.id) {
            // A message of the past that was sent again.
            Some(known) if known.presence.uptime_ms > presence.uptime_ms => return Ok(()),
            Some(known) if known.presence.status == Status::Left => return Ok(()),
            None if shown.len() >= PROCESSES_MAX => {
                return Err("more processes show themselves than a cluster has".into());
            }
            _ => {}
        }
        let is_present = presence.status != Status::Left;
        shown.insert(presence.id.clone(), Shown { presence, seen: now, is_present });
        Ok(())
    }

    /// Notices silence, and returns replicas that are forgotten.
    pub(super) fn expire(&mut self, now: Micros) -> Vec<ReplicaId> {
        for shown in self.frontends.values_mut().chain(self.replicas.values_mut()) {
            shown.is_present &= shown.seen + SILENCE >= now;
        }
        self.frontends.retain(|_, shown| shown.seen + KEPT >= now);
        let forgotten = self.replicas.iter().filter(|(_, shown)| shown.seen + KEPT < now);
        let forgotten: Vec<_> = forgotten.map(|(id, _)| id.clone()).collect();
        self.replicas.retain(|_, shown| shown.seen + KEPT >= now);
        forgotten
    }

    /// Begins to count silence anew.
    pub(super) fn excuse(&mut self, now: Micros) {
        for shown in self.frontends.values_mut().chain(self.replicas.values_mut()) {
            shown.seen = now;
        }
    }

    /// Ids of processes of a role that show themselves.
    pub(super) fn present(&self, role: Role) -> impl Iterator<Item = &ReplicaId> {
        self.of(role).iter().filter(|(_, shown)| shown.is_present).map(|(id, _)| id)
    }

    pub(super) fn of(&self, role: Role) -> &BTreeMap<ReplicaId, Shown> {
        match role {
            Role::Frontend => &self.frontends,
            Role::Replica => &self.replicas,
        }
    }

    /// Replicas that are expected to apply updates.
    pub(super) fn replicas_in_service(&self) -> impl Iterator<Item = &ReplicaId> {
        let serves = |shown: &Shown| matches!(shown.presence.status, Status::Active | Status::Overloaded);
        self.replicas.iter().filter(move |(_, shown)| shown.is_present && serves(shown)).map(|(id, _)| id)
    }

    /// The process of a frontend: the replica's where both roles are one process.
    pub(super) fn process_of(&self, frontend: &str) -> String {
        match frontend.strip_prefix("f-") {
            Some(replica) if self.replicas.contains_key(replica) => replica.to_owned(),
            _ => frontend.to_owned(),
        }
    }

    /// The frontend half of a replica, where it has one.
    pub(super) fn has_both_roles(&self, replica: &ReplicaId) -> bool {
        self.frontends.contains_key(format!("f-{replica}").as_str())
    }

    /// The only process that answers clients, where there is just one.
    pub(super) fn only_frontend(&self) -> Option<String> {
        let mut present = self.present(Role::Frontend);
        match (present.next(), present.next()) {
            (Some(only), None) => Some(self.process_of(only.as_str())),
            _ => None,
        }
    }
}
