//! The shells of the two cores: a batch of inputs goes in, and then what it asked for is done.

use natter_common::edge::{Answers, BatchReply, ClientBatch, ClientRequest, Outcome, SingleOperation};
use natter_common::frontend;
use natter_common::ids::ReplicaId;
use natter_common::messages::{NumberedReply, Replies};
use natter_common::replica_manager::{self, ReplyTo};

use super::{Cluster, Happened};
use crate::simulation::message::{ClientAnswer, Message};
use crate::simulation::process::{Caller, Core, Process};

impl Cluster {
    /// Has a process handle what arrived, or a tick, and does what it asks for.
    pub(super) fn handle(&mut self, id: &ReplicaId, inbox: Vec<(ReplicaId, Message)>, tick: bool) -> Happened {
        let now_us = self.now_us();
        for (from, message) in &inbox {
            if !matches!(message, Message::Presence(_)) {
                self.note(|| format!("{id} <- {from}: {message}"));
            }
        }
        let process = self.process_mut(id);
        let now = process.now(now_us);
        process.is_about_to_hear(now_us);
        for (from, message) in &inbox {
            if let Some(heard) = process.heard.get_mut(from) {
                heard.alive_us = now_us;
            }
            match message {
                Message::Presence(presence) => {
                    process.hears(presence, now_us);
                }
                Message::Unreachable(gone, _) if process.frontend().is_some() => {
                    if let Some(heard) = process.heard.get_mut(gone) {
                        heard.serving_since_us = None;
                        heard.left_us = Some(now_us);
                    }
                }
                _ => {}
            }
        }
        let mut notices = Vec::new();
        let mut frontend_notices = Vec::new();
        let mut answers = Vec::new();
        if let Core::Replica(manager, value) = &mut process.core {
            let mut outputs = Vec::new();
            let inputs = inbox.into_iter().filter_map(|(from, message)| replica_input(id, from, message));
            let ticks = tick.then_some(replica_manager::Input::Tick { queue_length: 0, listened: true });
            manager.step(now, inputs.chain(ticks), value, &mut outputs).expect("a value in memory does not fail");
            let changes = value.take_committed();
            if let Some(disk) = &mut process.disk {
                disk.commit(changes, value);
            }
            let merges = manager.is_merging();
            outputs.retain(|output| match output {
                replica_manager::Output::Notice(notice) => {
                    notices.push(notice.clone());
                    false
                }
                _ => true,
            });
            for notice in &notices {
                self.note(|| format!("{id}    {notice}"));
            }
            self.perform_replica(id, outputs);
            if merges && self.process(id).is_alive() {
                let delay_us = self.generator.u64(..3000);
                self.deliver(delay_us, (id.clone(), id.clone()), Message::Merge);
            }
        } else {
            let mut outputs = Vec::new();
            let mut inputs: Vec<frontend::Input> =
                inbox.into_iter().filter_map(|(from, message)| frontend_input(process, from, message)).collect();
            inputs.extend(tick.then_some(frontend::Input::Tick { listened: true }));
            if let Core::Frontend(frontend) = &mut process.core {
                frontend.step(now, inputs, &mut outputs);
            }
            for output in outputs {
                match output {
                    frontend::Output::Notice(notice) => {
                        self.note(|| format!("{id}    {notice}"));
                        frontend_notices.push(notice);
                    }
                    output => self.perform_frontend(id, output, &mut answers),
                }
            }
        }
        Happened::Stepped { process: id.clone(), notices, frontend_notices, answers }
    }

    /// Sends what a replica manager asks for; one that is to die in the middle of that does.
    pub(super) fn perform_replica(&mut self, id: &ReplicaId, outputs: Vec<replica_manager::Output>) {
        use replica_manager::Output;
        let sends = |output: &Output| !matches!(output, Output::Presence(_));
        let dies_after = if outputs.iter().any(sends) { self.process_mut(id).dies_after.take() } else { None };
        for (n, output) in outputs.into_iter().enumerate() {
            if dies_after == Some(n) {
                return self.crash(id);
            }
            match output {
                Output::Reply(to, reply) => {
                    let replies = Replies { id: id.clone(), replies: vec![NumberedReply { n: to.n, reply }] };
                    self.send_to_subject(id, &to, Message::Replies(replies));
                }
                Output::Log(to, page) => self.send_to_subject(id, &to, Message::Log(page)),
                Output::Gossip(gossip) => self.broadcast(id, true, &Message::Gossip(gossip)),
                Output::Presence(presence) => self.broadcast(id, false, &Message::Presence(presence)),
                Output::Acknowledge(to, acknowledgement) => self.send(id, &to, Message::Acknowledge(acknowledgement)),
                Output::Pull(to, request) => self.send(id, &to, Message::Pull(request)),
                Output::Snapshot(to, reply) => self.send_to_subject(id, &to, Message::Chunk(reply)),
                Output::FetchSnapshot(to, request) => self.send(id, &to, Message::Snapshot(request)),
                Output::TakeNewId { .. } => return self.take_new_id(id),
                Output::Stop(reason) => panic!("{id} stops: {reason}"),
                Output::Status(..) | Output::Notice(_) => {}
            }
        }
        if dies_after.is_some() {
            self.crash(id);
        }
    }

    fn perform_frontend(
        &mut self,
        id: &ReplicaId,
        output: frontend::Output,
        answers: &mut Vec<(Caller, ClientAnswer)>,
    ) {
        use frontend::Output;
        match output {
            Output::Update(to, request) => self.send(id, &to, Message::Update(request)),
            Output::Confirm(to, request) => self.send(id, &to, Message::Confirm(request)),
            Output::Query(to, request) => self.send(id, &to, Message::Query(request)),
            Output::Answer(number, answer) => self.answer(id, number, answer, answers),
            Output::BatchAnswer(number, reply) => self.answer(id, number, answer_of_one(reply), answers),
            Output::Presence(_) | Output::Notice(_) => {}
        }
    }

    fn answer(&mut self, id: &ReplicaId, number: u64, answer: ClientAnswer, answers: &mut Vec<(Caller, ClientAnswer)>) {
        let caller = self.process_mut(id).callers.remove(&number).expect("each caller is answered once");
        self.send(id, &caller.client, Message::Answer(caller.n, answer.clone()));
        answers.push((caller, answer));
    }

    fn send_to_subject(&mut self, from: &ReplicaId, to: &ReplyTo, message: Message) {
        if let Ok(to) = ReplicaId::new(&to.subject)
            && self.processes.contains_key(&to)
        {
            self.send(from, &to, message);
        }
    }

    fn broadcast(&mut self, from: &ReplicaId, only_replicas: bool, message: &Message) {
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

pub(crate) fn replica_input(id: &ReplicaId, from: ReplicaId, message: Message) -> Option<replica_manager::Input> {
    use replica_manager::Input;
    let reply_to = |n| ReplyTo { subject: from.as_str().into(), n };
    Some(match message {
        Message::Update(request) => Input::Update(reply_to(request.n), request),
        Message::Query(request) => Input::Query(reply_to(request.n), request),
        Message::Confirm(request) => Input::Confirm(reply_to(request.n), request),
        Message::Gossip(gossip) => Input::Gossip(gossip),
        Message::Acknowledge(acknowledgement) => Input::Acknowledgement(acknowledgement),
        Message::Pull(request) => Input::Log(reply_to(0), request),
        Message::Log(page) => Input::LogPage(page),
        Message::Snapshot(request) => Input::Snapshot(reply_to(0), request),
        Message::Chunk(reply) => Input::SnapshotReply(reply),
        Message::Merge => Input::Merge,
        Message::Presence(presence) => Input::Presence(presence),
        Message::Unreachable(gone, _) => Input::PullFailed(gone),
        Message::SetMode(mode) => Input::Status(reply_to(0), Some(mode)),
        Message::Ask(..) | Message::Answer(..) | Message::Replies(_) => panic!("{id} got {message} of {from}"),
    })
}

fn frontend_input(process: &mut Process, from: ReplicaId, message: Message) -> Option<frontend::Input> {
    use frontend::Input;
    Some(match message {
        Message::Ask(n, request) => {
            process.last_caller += 1;
            let frontend_prev = process.frontend()?.prev().replicas.clone();
            let is_query = matches!(request, ClientRequest::Query { .. });
            process.callers.insert(process.last_caller, Caller { client: from, n, frontend_prev, is_query });
            // So batches meet with everything that may happen.
            let request = if process.last_caller.is_multiple_of(3) { batch_of_one(request) } else { request };
            Input::Request(process.last_caller, request)
        }
        Message::Replies(replies) => Input::Replies(replies),
        Message::Unreachable(gone, requests) => Input::Unreachable(gone, requests),
        Message::Presence(presence) => Input::Presence(presence),
        _ => panic!("{} got {message} of {from}", process.id),
    })
}

fn batch_of_one(request: ClientRequest) -> ClientRequest {
    let (operation, prev, cluster) = match request {
        ClientRequest::Update { request, id, prev, cluster } => {
            (SingleOperation::Update { request, id }, prev, cluster)
        }
        ClientRequest::Query { request, prev, cluster } => (SingleOperation::Query(request), prev, cluster),
        batch @ ClientRequest::Batch(_) => return batch,
    };
    ClientRequest::Batch(ClientBatch { operations: vec![Ok(operation)], prev, cluster, answers: Answers::Full })
}

fn answer_of_one(mut reply: BatchReply) -> ClientAnswer {
    match (reply.outcomes.pop(), reply.outcomes.len()) {
        (Some(Outcome::Written(reply) | Outcome::Read(reply)), 0) => Ok(reply),
        (Some(Outcome::Failed(error)), 0) => Err(error),
        other => panic!("one outcome was expected, but: {other:?}"),
    }
}
