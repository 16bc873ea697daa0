//! The identity of the cluster: heard from others, drawn where nobody is there to ask, kept with the state.

use super::{Notice, ReplicaManager, Step};
use crate::cluster::{ClusterId, ClusterNames};
use crate::ids::ReplicaId;
use crate::messages::Status;
use crate::roster::{MISSED_INTERVALS_MAX, Member, PRESENCE_INTERVAL_MS};

/// A replica that began a moment earlier draws the identity first. One that has not done so by then, this long after the
/// start of this one, is not waited for, in milliseconds.
const SENIOR_DRAWS_MS: u64 = (MISSED_INTERVALS_MAX + 1) * PRESENCE_INTERVAL_MS;

impl ReplicaManager {
    /// The names of the cluster.
    pub fn cluster(&self) -> &ClusterNames {
        &self.cluster
    }

    /// Whether the cluster has an identity; draws one, where this replica is the one that has to.
    pub(super) fn has_identity(&mut self, since_ms: u64, step: &mut Step<'_>) -> bool {
        let now_ms = step.now.monotonic_ms;
        if self.cluster.id.is_some() {
            return true;
        }
        // If several begin together, one draws and the others hear of it: otherwise each start would leave aliases.
        let own = (now_ms.saturating_sub(self.started_ms), &self.config.id);
        let is_senior = |id: &ReplicaId, member: &Member| {
            let uptime_ms = member.presence.uptime_ms.saturating_add(now_ms.saturating_sub(member.seen_ms));
            member.presence.status != Status::Offline && (uptime_ms, id) > own
        };
        let is_awaited = now_ms.saturating_sub(since_ms) < SENIOR_DRAWS_MS;
        if is_awaited && self.roster.present().any(|(id, member)| is_senior(id, member)) {
            return false;
        }
        let id = ClusterId::from_bits(self.status.draw_bits());
        self.cluster.id = Some(id.clone());
        step.notice(Notice::ClusterFounded { id });
        true
    }

    /// Takes in the names that another replica of this cluster shows.
    pub(super) fn hear_cluster(&mut self, peer: &ReplicaId, step: &mut Step<'_>) {
        let Some(presence) = self.roster.get(peer).filter(|member| member.is_present()).map(|member| &member.presence)
        else {
            return;
        };
        let before = self.cluster.id.clone();
        if !self.cluster.meet(presence.cluster.as_ref(), &presence.aliases) {
            return;
        }
        // One that is just beginning shows itself soon anyway.
        if before.is_some() {
            self.presence_due_ms = step.now.monotonic_ms;
        }
        if let (Some(ours), Some(theirs), Some(id)) = (before, &presence.cluster, &self.cluster.id)
            && ours != *theirs
        {
            let alias = if *id == ours { theirs.clone() } else { ours };
            step.notice(Notice::ClustersMet { id: id.clone(), alias });
        }
    }
}
