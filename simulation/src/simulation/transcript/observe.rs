//! Events as a transcript tells them.

use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::messages::{Reply, Role};
use natter_common::record::{Record, RecordRef};
use natter_common::replica_manager::{Input, Notice};

use super::Scenario;
use crate::simulation::message::Message;
use crate::simulation::network::Policy;
use crate::simulation::process::EPOCH_MS;

impl Scenario {
    /// An update's name in the scenario.
    pub(super) fn name_of(&self, id: UpdateId) -> String {
        self.names.get(&id).map_or_else(|| "unnamed".to_owned(), |named| named.name.clone())
    }

    fn record(&self, record: &Record) -> String {
        format!("{} ({})", record.name(), self.name_of(record.id))
    }

    pub(super) fn see_notice(&mut self, id: &ReplicaId, notice: &Notice) {
        let text = match notice {
            Notice::Accepted(record) => {
                let at_ms = record.stamp.milliseconds() as i64 - EPOCH_MS as i64;
                format!("accepts {} prev={} stamp={at_ms}+{}", self.record(record), record.prev, record.stamp.counter())
            }
            Notice::Held(record) => format!("holds {}", self.record(record)),
            Notice::Applied { record, stands, value_timestamp } => {
                let loses = if *stands { "" } else { ", a greater stamp stands" };
                format!("applies {} value={value_timestamp}{loses}", self.record(record))
            }
            Notice::Waiting { missing } => format!("lets a request wait for {missing}"),
            Notice::Status { status, .. } => format!("is {status}"),
            Notice::CaughtUp { target } => format!("has caught up with {target}"),
            Notice::PeerRestarted { id, former } => format!("knows {former} as {id} now"),
            Notice::PeerGone(peer) => format!("counts {peer} as gone"),
            Notice::Dropped { record, reason, .. } => format!("drops {record}: {reason}"),
            Notice::Diverged { .. }
            | Notice::Reconciled { .. }
            | Notice::SnapshotBegins { .. }
            | Notice::SnapshotBroken { .. }
            | Notice::SnapshotLoaded { .. }
            | Notice::Retired { .. }
            | Notice::Lost { .. }
            | Notice::ClaimedLost { .. } => notice.to_string(),
            Notice::Pulled { .. } => {
                self.pulls += 1;
                return;
            }
            Notice::PeerJoined(_)
            | Notice::ClusterFounded { .. }
            | Notice::ClustersMet { .. }
            | Notice::ForeignDataset { .. }
            | Notice::SnapshotProgress { .. } => return,
        };
        if !self.quiet {
            self.observed.push(format!("{id} {text}"));
        }
    }

    /// A message was held or lost. Messages that say nothing new are not worth a line.
    pub(super) fn see_interference(&mut self, from: &ReplicaId, to: &ReplicaId, message: &Message, policy: Policy) {
        let names = |records: &[RecordRef]| records.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let text = match message {
            Message::Requests { .. } => {
                let text = |input| match input {
                    Input::Update(_, request) => format!("update {}", self.name_of(request.id)),
                    Input::Confirm(_, request) => format!("confirm {}", self.name_of(request.id)),
                    _ => "query".to_owned(),
                };
                message.requests("").into_iter().map(text).collect::<Vec<_>>().join(", ")
            }
            Message::Replies(replies) => match replies.replies.first().map(|numbered| &numbered.reply) {
                Some(Reply::Accepted { records, .. }) => format!("accepted {}", names(records)),
                Some(Reply::Held { records, .. }) => format!("held {}", names(records)),
                Some(Reply::Refused { refusal, .. }) => format!("refused {refusal:?}"),
                Some(Reply::Answered { label, .. }) => format!("answered {label}"),
                _ => return,
            },
            Message::Gossip(gossip) if !gossip.records.is_empty() => {
                let records: Vec<RecordRef> = gossip.records.iter().map(|record| record.name()).collect();
                format!("gossip {}", names(&records))
            }
            Message::Log(page) if !page.records.is_empty() => {
                let records: Vec<RecordRef> = page.records.iter().map(|record| record.name()).collect();
                format!("log {}", names(&records))
            }
            _ => return,
        };
        if self.quiet {
            return;
        }
        let fate = match policy {
            Policy::Hold => "on its way",
            Policy::Drop => "lost",
        };
        self.observed.push(format!("{from} -> {to}  {text}: {fate}"));
    }

    pub(super) fn show(&mut self) {
        for id in self.cluster.alive(Role::Replica) {
            let manager = self.cluster.manager(&id);
            let line = format!(
                "{id} {} value={} holds={}",
                manager.status(),
                manager.value_timestamp(),
                manager.replica_timestamp()
            );
            self.observed.push(line);
        }
    }

    pub(super) fn show_logs(&mut self) {
        self.quiet = false;
        for id in self.cluster.alive(Role::Replica) {
            let manager = self.cluster.manager(&id);
            let (log, executed) = (manager.log().len(), manager.executed_operations().len());
            self.observed.push(format!("{id} log={log} remembers={executed} retired={}", manager.retired()));
        }
    }
}
