//! Turns of processes: what they hear, and what comes of it.

use natter_common::colocated::Outputs;
use natter_common::frontend;
use natter_common::ids::ReplicaId;
use natter_common::messages::Presence;
use natter_common::packing::{ReplyPacker, RequestPacker};
use natter_common::replica_manager::{self, Notice, ReplyTo};
use natter_common::value::{Value, ValueError};
use natter_common::wire::Format;

use super::checks::Broken;
use super::process::{Core, MESSAGE_BYTES_MAX, Stopped};
use super::state::{State, id_of_session};
use crate::simulation::cluster::perform::{replica_inputs, waits_at};
use crate::simulation::failing::FailingValue;
use crate::simulation::message::Message;
use crate::simulation::wire::heard;

/// A message that has arrived: its sender, the name to which it was sent, and itself.
pub(super) type Arrived = (ReplicaId, ReplicaId, Message);

/// The inputs of a turn, by the half of a process that hears them.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) for_frontend: Vec<frontend::Input>,
    pub(super) for_replica: Vec<replica_manager::Input>,
}

impl State {
    /// A process handles what has arrived, in one turn. With `commits`, the store of its replica manager fails after so
    /// many of the turn's commits, and the process ends.
    pub(super) fn hear(
        &mut self,
        process: &ReplicaId,
        arrived: Vec<Arrived>,
        commits: Option<usize>,
    ) -> Result<(), Broken> {
        let mut inputs = Inputs::default();
        for (from, to, message) in arrived {
            if self.replicas.contains_key(&to) {
                inputs.for_replica.extend(replica_inputs(&to, from.as_str(), message));
            } else {
                inputs.for_frontend.extend(frontend_inputs(message)?);
            }
        }
        if self.frontends.contains_key(process) {
            return self.step_frontend(process, inputs.for_frontend);
        }
        match commits {
            None => self.step_replica(process, inputs),
            Some(commits) => self.lose_power(process, inputs, commits),
        }
    }

    /// A replica manager handles a turn, with the frontend in the same process.
    pub(super) fn step_replica(&mut self, id: &ReplicaId, inputs: Inputs) -> Result<(), Broken> {
        let now = self.now();
        let Some(replica) = self.replicas.get_mut(id) else { return Ok(()) };
        let mut outputs = Outputs::default();
        step(&mut replica.core, now, inputs, &mut replica.value, &mut outputs)
            .expect("a value in memory does not fail");
        replica.keep();
        if let Core::Both(both) = &replica.core
            && !both.is_at_rest()
        {
            return Err(Broken::new("both halves come to rest in each turn", format!("{both:?}")));
        }
        let half = replica.half().cloned();
        self.perform_replica(id, outputs.replica)?;
        match half {
            Some(half) => self.perform_frontend(&half, outputs.frontend),
            None => Ok(()),
        }
    }

    /// The same, but the store fails. The outputs of the turn up to then are performed, and the process is gone.
    fn lose_power(&mut self, id: &ReplicaId, inputs: Inputs, commits: usize) -> Result<(), Broken> {
        let now = self.now();
        let Some(mut replica) = self.replicas.remove(id) else { return Ok(()) };
        let mut outputs = Outputs::default();
        let mut value = FailingValue::new(replica.value.clone(), commits);
        let stepped = step(&mut replica.core, now, inputs, &mut value, &mut outputs);
        replica.value = if stepped.is_ok() { value.into_value() } else { value.into_committed() };
        replica.keep();
        let half = replica.half().cloned();
        self.checks.ends(replica.committed(), replica.disk.is_some());
        self.perform_replica(id, outputs.replica)?;
        if let Some(half) = &half {
            self.perform_frontend(half, outputs.frontend)?;
        }
        if let Some(disk) = replica.disk {
            self.stopped.insert(id.clone(), Stopped { disk, half });
        }
        self.checks.ended(&self.replicas)
    }

    fn perform_replica(&mut self, id: &ReplicaId, outputs: Vec<replica_manager::Output>) -> Result<(), Broken> {
        use replica_manager::Output;
        let notices: Vec<Notice> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Notice(notice) => Some(notice.clone()),
                _ => None,
            })
            .collect();
        self.checks.stepped(id, &notices, &self.replicas)?;
        let mut replies = ReplyPacker::default();
        for output in outputs {
            match output {
                Output::Reply(to, reply) => replies.push(to, reply),
                Output::Log(to, page) => self.send_back(id, &to, Message::Log(page)),
                Output::Gossip(gossip) => {
                    let others: Vec<ReplicaId> = self.replicas.keys().filter(|other| *other != id).cloned().collect();
                    others.iter().for_each(|other| self.send(id, other, Message::Gossip(gossip.clone())));
                }
                Output::Acknowledge(to, said) => self.send(id, &to, Message::Acknowledge(said)),
                Output::Pull(to, request) => self.send(id, &to, Message::Pull(request)),
                Output::Presence(presence) => self.show(id, &presence)?,
                _ => {}
            }
        }
        for (subject, replies) in replies.take(id, MESSAGE_BYTES_MAX) {
            self.send_back(id, &ReplyTo { subject, n: 0 }, Message::Replies(replies));
        }
        Ok(())
    }

    fn show(&mut self, id: &ReplicaId, presence: &Presence) -> Result<(), Broken> {
        for other in self.replicas.keys().filter(|other| *other != id).cloned().collect::<Vec<_>>() {
            let heard = replica_manager::Input::Presence(Box::new(presence.clone()));
            self.step_replica(&other, Inputs { for_replica: vec![heard], ..Inputs::default() })?;
        }
        for frontend in self.frontends.keys().cloned().collect::<Vec<_>>() {
            self.step_frontend(&frontend, vec![frontend::Input::Presence(Box::new(presence.clone()))])?;
        }
        Ok(())
    }

    fn send_back(&mut self, id: &ReplicaId, to: &ReplyTo, message: Message) {
        if let Some(to) = waits_at(&to.subject) {
            self.send(id, &to, message);
        }
    }

    /// A frontend in a process of its own handles a turn.
    pub(super) fn step_frontend(&mut self, id: &ReplicaId, inputs: Vec<frontend::Input>) -> Result<(), Broken> {
        let now = self.now();
        let Some(frontend) = self.frontends.get_mut(id) else { return Ok(()) };
        let mut outputs = Vec::new();
        frontend.step(now, inputs, &mut outputs);
        self.perform_frontend(id, outputs)
    }

    fn perform_frontend(&mut self, id: &ReplicaId, outputs: Vec<frontend::Output>) -> Result<(), Broken> {
        use frontend::Output;
        let mut requests = RequestPacker::default();
        for output in outputs {
            let Some(output) = requests.push(output, MESSAGE_BYTES_MAX) else { continue };
            match output {
                Output::Answer(n, answer) => {
                    let answer = heard(&answer, self.cluster(id), Format::MessagePack);
                    self.checks.answers(&answer, &self.replicas)?;
                    self.send(id, &id_of_session(n), Message::Answer(n, answer));
                }
                Output::BatchAnswer(..) => panic!("nobody sends batches here"),
                _ => {}
            }
        }
        for packed in requests.take() {
            let (to, message) = Message::packed(packed);
            self.send(id, &to, message);
        }
        Ok(())
    }
}

fn step(
    core: &mut Core,
    now: natter_common::clock::Now,
    inputs: Inputs,
    value: &mut dyn Value,
    outputs: &mut Outputs,
) -> Result<bool, ValueError> {
    let Inputs { for_frontend, for_replica } = inputs;
    match core {
        Core::Replica(manager) => manager.step(now, for_replica, value, &mut outputs.replica),
        Core::Both(both) => both.step(now, for_frontend, for_replica, value, outputs),
    }
}

fn frontend_inputs(message: Message) -> Result<Vec<frontend::Input>, Broken> {
    Ok(vec![match message {
        Message::Ask(n, question) => match question.decode() {
            Ok(request) => frontend::Input::Request(n, request),
            Err(error) => return Err(Broken::new("a frontend understands clients", error.to_string())),
        },
        Message::Replies(replies) => frontend::Input::Replies(replies),
        Message::Unreachable(gone, requests) => frontend::Input::Unreachable(gone, requests),
        _ => return Ok(Vec::new()),
    }])
}
