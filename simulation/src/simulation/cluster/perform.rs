//! The shells of the two cores: a batch of inputs goes in, and then what it asked for is done.

use std::collections::BTreeSet;

use natter_common::colocated::Outputs;
use natter_common::edge::ClientRequest;
use natter_common::frontend;
use natter_common::ids::ReplicaId;
use natter_common::incoming::{self, Channel};
use natter_common::packing::{ReplyPacker, RequestPacker};
use natter_common::replica_manager::{self, ReplyTo};
use natter_common::timestamp::Timestamp;

use super::{Cluster, Happened};
use crate::simulation::message::{ClientAnswer, Message};
use crate::simulation::process::{Caller, Core, Process};
use crate::simulation::value::Written;
use crate::simulation::wire::{Question, heard, heard_of_one};

/// The receivers of a replica manager's message.
enum To {
    /// The process of this name.
    One(ReplicaId),
    /// The one that waits at this reply subject.
    Subject(ReplyTo),
    Replicas,
    All,
}

impl Cluster {
    /// Has a process handle a turn, and does what it asks for.
    pub(super) fn handle(&mut self, id: &ReplicaId, inbox: Vec<(ReplicaId, Message)>) -> Happened {
        let now_us = self.now_us();
        let (inbox, is_back) = self.mind_permissions(id, inbox);
        if inbox.is_empty() && !is_back {
            return Happened::Nothing;
        }
        for (from, message) in &inbox {
            if !matches!(message, Message::Presence(_) | Message::Tick) {
                self.note(|| format!("{id} <- {from}: {message}"));
            }
        }
        self.turns.count(&inbox);
        let mut ignored = 0;
        let process = self.process_mut(id);
        let now = process.now(now_us);
        process.is_about_to_hear(now_us);
        if inbox.iter().any(|(_, message)| matches!(message, Message::Committed))
            && let Some(disk) = &mut process.disk
        {
            disk.commit(process.syncing.take());
        }
        let mut shown = BTreeSet::new();
        for (from, message) in &inbox {
            if let Some(heard) = process.heard.get_mut(from) {
                heard.alive_us = now_us;
            }
            match message {
                Message::Presence(presence) => {
                    process.hears(presence, now_us);
                    shown.insert(presence.id.clone());
                }
                // Presence that a bystander repeats is news if the original was lost, or comes later.
                Message::Foreign(of, Channel::Presence, payload) if of != id => {
                    let input = incoming::frontend_input(Channel::Presence, of.as_str(), payload.bytes());
                    if let Ok(frontend::Input::Presence(presence)) = input {
                        process.hears(&presence, now_us);
                        shown.insert(presence.id);
                    }
                }
                _ => {}
            }
        }
        // The two halves of one process listen on connections of their own: the broker's word may come before a presence message
        // of the same turn, or after it. So the two together prove neither that the replica is gone nor that it is up.
        if process.frontend().is_some() {
            for (_, message) in &inbox {
                if let Message::Unreachable(gone, _) = message
                    && let Some(heard) = process.heard.get_mut(gone)
                {
                    heard.serving_since_us = None;
                    heard.left_us = if shown.contains(gone) { None } else { Some(now_us) };
                }
            }
        }
        let mut notices = Vec::new();
        let mut frontend_notices = Vec::new();
        let mut answers = Vec::new();
        if matches!(process.core, Core::Colocated(..)) {
            ignored = self.handle_colocated(id, inbox, is_back, &mut notices, &mut frontend_notices, &mut answers);
        } else if process.replica().is_some() {
            let mut inputs = Vec::new();
            if is_back {
                inputs.extend([replica_manager::Input::Disconnected, replica_manager::Input::Connected]);
            }
            for (from, message) in inbox {
                process.subjects += 1;
                let subject = format!("{from}/{}", process.subjects);
                let heard = replica_inputs(id, &subject, message);
                ignored += u64::from(heard.is_empty());
                inputs.extend(heard);
            }
            let mut outputs = Vec::new();
            let Core::Replica(manager, value) = &mut process.core else { return Happened::Nothing };
            manager.step(now, inputs, value, &mut outputs).expect("a value in memory does not fail");
            let (commits, is_under_way) = (value.take_committed(), manager.is_committing());
            let merges = manager.is_merging();
            self.take_notices(id, &mut outputs, &mut notices);
            self.save(id, commits, is_under_way);
            self.perform_replica(id, outputs);
            self.merge_later(id, merges);
        } else {
            let mut inputs = Vec::new();
            if is_back {
                inputs.extend([frontend::Input::Disconnected, frontend::Input::Connected]);
            }
            for (from, message) in inbox {
                let heard = frontend_input(process, from, message);
                ignored += u64::from(heard.is_none());
                inputs.extend(heard);
            }
            let mut outputs = Vec::new();
            let Core::Frontend(frontend) = &mut process.core else { return Happened::Nothing };
            frontend.step(now, inputs, &mut outputs);
            self.perform_frontend(id, outputs, &mut frontend_notices, &mut answers);
        }
        self.ignored += ignored;
        Happened::Stepped { process: id.clone(), notices, frontend_notices, answers }
    }

    /// The same for a process that is a replica and a frontend. Returns how many messages were ignored.
    fn handle_colocated(
        &mut self,
        id: &ReplicaId,
        inbox: Vec<(ReplicaId, Message)>,
        is_back: bool,
        notices: &mut Vec<replica_manager::Notice>,
        frontend_notices: &mut Vec<frontend::Notice>,
        answers: &mut Vec<(Caller, ClientAnswer)>,
    ) -> u64 {
        let now_us = self.now_us();
        let process = self.process_mut(id);
        let now = process.now(now_us);
        let (mut for_frontend, mut for_replica) = (Vec::new(), Vec::new());
        if is_back {
            for_replica.extend([replica_manager::Input::Disconnected, replica_manager::Input::Connected]);
        }
        let mut ignored = 0;
        for (from, message) in inbox {
            process.subjects += 1;
            let subject = format!("{from}/{}", process.subjects);
            let before = for_frontend.len() + for_replica.len();
            match message {
                Message::Ask(..) | Message::Replies(_) | Message::Foreign(_, Channel::Replies, _) => {
                    for_frontend.extend(frontend_input(process, from, message));
                }
                Message::Unreachable(..) => {
                    for_frontend.extend(frontend_input(process, from, message.clone()));
                    for_replica.extend(replica_inputs(id, &subject, message));
                }
                message => for_replica.extend(replica_inputs(id, &subject, message)),
            }
            ignored += u64::from(before == for_frontend.len() + for_replica.len());
        }
        let mut outputs = Outputs::default();
        let Core::Colocated(core, value) = &mut process.core else { return ignored };
        core.step(now, for_frontend, for_replica, value, &mut outputs).expect("a value in memory does not fail");
        assert!(core.is_at_rest(), "the halves of {id} come to rest in each turn");
        let (commits, is_under_way) = (value.take_committed(), core.replica().is_committing());
        let merges = core.replica().is_merging();
        let Outputs { replica: mut of_replica, frontend: of_frontend } = outputs;
        self.take_notices(id, &mut of_replica, notices);
        self.save(id, commits, is_under_way);
        self.perform_replica(id, of_replica);
        if self.process(id).is_alive() {
            self.perform_frontend(id, of_frontend, frontend_notices, answers);
            self.merge_later(id, merges);
        }
        ignored
    }

    fn take_notices(
        &mut self,
        id: &ReplicaId,
        outputs: &mut Vec<replica_manager::Output>,
        notices: &mut Vec<replica_manager::Notice>,
    ) {
        outputs.retain(|output| match output {
            replica_manager::Output::Notice(notice) => {
                self.note(|| format!("{id}    {notice}"));
                notices.push(notice.clone());
                false
            }
            _ => true,
        });
    }

    /// Has the disk write what a turn committed. The last commit may take time: then the core hears when it has ended.
    fn save(&mut self, id: &ReplicaId, mut commits: Vec<Written>, is_under_way: bool) {
        let process = self.processes.get_mut(id).expect("it was there");
        let Some(disk) = &mut process.disk else { return };
        if is_under_way && let Some(last) = commits.pop() {
            process.syncing = Some(last);
            let is_stalled = disk.is_stalled;
            disk.commit(commits);
            if !is_stalled {
                let delay_us = self.generator.u64(..=self.settings.sync_us_max);
                self.deliver(delay_us, (id.clone(), id.clone()), Message::Committed);
            }
        } else {
            disk.commit(commits);
        }
    }

    fn merge_later(&mut self, id: &ReplicaId, merges: bool) {
        if merges && self.process(id).is_alive() {
            let delay_us = self.generator.u64(..3000);
            self.deliver(delay_us, (id.clone(), id.clone()), Message::Merge);
        }
    }

    /// Sends what a replica manager asks for, in the order of its shell: the replies last, those to the requests of one
    /// message in one message. A process that is to die in the middle of that does.
    pub(super) fn perform_replica(&mut self, id: &ReplicaId, outputs: Vec<replica_manager::Output>) {
        use replica_manager::Output;
        let mut replies = ReplyPacker::default();
        let mut messages = Vec::new();
        for output in outputs {
            match output {
                Output::Reply(to, reply) => replies.push(to, reply),
                Output::Log(to, page) => messages.push((To::Subject(to), Message::Log(page))),
                Output::Gossip(gossip) => messages.push((To::Replicas, Message::Gossip(gossip))),
                Output::Presence(presence) => {
                    self.process_mut(id).permissions.shows(&presence);
                    messages.push((To::All, Message::Presence(presence)));
                }
                Output::Acknowledge(to, said) => messages.push((To::One(to), Message::Acknowledge(said))),
                Output::Pull(to, request) => messages.push((To::One(to), Message::Pull(request))),
                Output::Snapshot(to, reply) => messages.push((To::Subject(to), Message::Chunk(reply))),
                Output::FetchSnapshot(to, request) => messages.push((To::One(to), Message::Snapshot(request))),
                Output::Stop(reason) => panic!("{id} stops: {reason}"),
                Output::Status(..) | Output::Notice(_) => {}
            }
        }
        for (subject, replies) in replies.take(id, self.settings.message_bytes_max) {
            self.turns.shared_by_replies += u64::from(replies.replies.len() > 1);
            messages.push((To::Subject(ReplyTo { subject, n: 0 }), Message::Replies(replies)));
        }
        let sends = messages.iter().any(|(_, message)| !matches!(message, Message::Presence(_)));
        let dies_after = if sends { self.process_mut(id).dies_after.take() } else { None };
        for (n, (to, message)) in messages.into_iter().enumerate() {
            if dies_after == Some(n) {
                return self.crash(id);
            }
            let message = message.carried();
            match to {
                To::One(to) => self.send(id, &to, message),
                To::Subject(to) => self.send_to_subject(id, &to, message),
                To::Replicas => self.broadcast(id, true, &message),
                To::All => self.broadcast(id, false, &message),
            }
        }
        if dies_after.is_some() {
            self.crash(id);
        }
    }

    /// Sends what a frontend asks for, in the order of its shell: answers at once, requests at the end of the turn.
    fn perform_frontend(
        &mut self,
        id: &ReplicaId,
        outputs: Vec<frontend::Output>,
        notices: &mut Vec<frontend::Notice>,
        answers: &mut Vec<(Caller, ClientAnswer)>,
    ) {
        use frontend::Output;
        let cluster = self.process(id).frontend().and_then(|frontend| frontend.cluster().cloned());
        let mut requests = RequestPacker::default();
        for output in outputs {
            let Some(output) = requests.push(output, self.settings.message_bytes_max) else { continue };
            match output {
                Output::Answer(number, answer) => {
                    let caller = self.caller(id, number);
                    let answer = heard(&answer, cluster.as_ref(), caller.format);
                    self.answer(id, caller, answer, answers);
                }
                Output::BatchAnswer(number, answer) => {
                    let caller = self.caller(id, number);
                    let answer = heard_of_one(&answer, cluster.as_ref(), caller.format);
                    self.answer(id, caller, answer, answers);
                }
                Output::Notice(notice) => {
                    self.note(|| format!("{id}    {notice}"));
                    if let frontend::Notice::AnotherCluster(_) = &notice {
                        // Its promise is one of the cluster that it belongs to, from the first request of this turn on.
                        let process = self.process_mut(id);
                        process.seen = Timestamp::new();
                        process.callers.values_mut().for_each(|caller| caller.frontend_prev = Timestamp::new());
                    }
                    notices.push(notice);
                }
                Output::Lost(number, lost) => {
                    if let Some(caller) = self.process(id).callers.get(&number) {
                        let (client, n) = (caller.client.clone(), caller.n);
                        self.send(id, &client, Message::Lost(n, lost));
                    }
                }
                Output::Retired(number, retired) => {
                    if let Some(caller) = self.process(id).callers.get(&number) {
                        let (client, n) = (caller.client.clone(), caller.n);
                        self.send(id, &client, Message::Retired(n, retired));
                    }
                }
                Output::Presence(_) | Output::Update(..) | Output::Confirm(..) | Output::Query(..) => {}
            }
        }
        for packed in requests.take() {
            let (to, message) = Message::packed(packed);
            self.turns.shared_by_requests += u64::from(message.requests("").len() > 1);
            self.send(id, &to, message);
        }
    }

    fn caller(&mut self, id: &ReplicaId, number: u64) -> Caller {
        self.process_mut(id).callers.remove(&number).expect("each caller is answered once")
    }

    fn answer(
        &mut self,
        id: &ReplicaId,
        caller: Caller,
        answer: ClientAnswer,
        answers: &mut Vec<(Caller, ClientAnswer)>,
    ) {
        let cluster = self.process(id).frontend().and_then(|frontend| frontend.cluster().cloned());
        self.named_in_answers.insert((caller.client.clone(), caller.n), cluster);
        self.send(id, &caller.client, Message::Answer(caller.n, answer.clone()));
        answers.push((caller, answer));
    }

    fn send_to_subject(&mut self, from: &ReplicaId, to: &ReplyTo, message: Message) {
        if let Some(to) = waits_at(&to.subject)
            && self.processes.contains_key(&to)
        {
            self.send(from, &to, message);
        }
    }

    pub(super) fn broadcast(&mut self, from: &ReplicaId, only_replicas: bool, message: &Message) {
        let others: Vec<ReplicaId> = self
            .processes
            .values()
            .filter(|other| other.id != *from && other.is_alive() && (other.replica().is_some() || !only_replicas))
            .map(|other| other.id.clone())
            .collect();
        for to in others {
            self.send(from, &to, message.clone());
        }
    }
}

/// The process that waits for replies at this subject: its name is the first part.
pub(crate) fn waits_at(subject: &str) -> Option<ReplicaId> {
    ReplicaId::new(subject.split('/').next()?).ok()
}

pub(crate) fn replica_inputs(id: &ReplicaId, subject: &str, message: Message) -> Vec<replica_manager::Input> {
    use replica_manager::Input;
    let reply_to = |n| ReplyTo { subject: subject.into(), n };
    vec![match message {
        message @ Message::Requests { .. } => return message.requests(subject),
        Message::Foreign(of, channel, payload) => {
            return incoming::replica_input(channel, id, of.as_str(), payload.bytes()).into_iter().collect();
        }
        Message::Gossip(gossip) => Input::Gossip(gossip),
        Message::Acknowledge(acknowledgement) => Input::Acknowledgement(acknowledgement),
        Message::Pull(request) => Input::Log(reply_to(0), request),
        Message::Log(page) => Input::LogPage(page),
        Message::Snapshot(request) => Input::Snapshot(reply_to(0), request),
        Message::Chunk(reply) => Input::SnapshotReply(reply),
        Message::Merge => Input::Merge,
        Message::Committed => Input::Committed,
        Message::Presence(presence) => Input::Presence(presence),
        Message::Unreachable(gone, _) => Input::PullFailed(gone),
        Message::SetMode(mode) => Input::Status(reply_to(0), Some(mode)),
        Message::Tick => Input::Tick { queue_length: 0, listened: true },
        Message::Ask(..)
        | Message::Answer(..)
        | Message::Lost(..)
        | Message::Retired(..)
        | Message::Replies(_)
        | Message::Denied => {
            panic!("{id} got {message} for {subject}")
        }
    }]
}

fn frontend_input(process: &mut Process, from: ReplicaId, message: Message) -> Option<frontend::Input> {
    use frontend::Input;
    Some(match message {
        Message::Ask(n, question) => {
            process.last_caller += 1;
            let prev = process.frontend()?.prev().replicas.clone();
            process.seen.merge(&prev);
            let frontend_prev = process.seen.clone();
            let request = decoded(&question);
            let is_query = Question::is_query(&request);
            let caller = Caller { client: from, n, frontend_prev, is_query, format: question.format() };
            process.callers.insert(process.last_caller, caller);
            Input::Request(process.last_caller, request)
        }
        Message::Replies(replies) => Input::Replies(replies),
        Message::Unreachable(gone, requests) => Input::Unreachable(gone, requests),
        Message::Presence(presence) => Input::Presence(presence),
        Message::Foreign(of, channel, payload) => {
            return incoming::frontend_input(channel, of.as_str(), payload.bytes()).ok();
        }
        Message::Tick => Input::Tick { listened: true },
        _ => panic!("{} got {message} of {from}", process.id),
    })
}

fn decoded(question: &Question) -> ClientRequest {
    question.decode().unwrap_or_else(|error| panic!("a frontend does not understand a client: {error}"))
}
