//! Transcripts: scenarios as text, with what was observed below each step.
//!
//! A transcript is a text of steps, separated by empty lines. A step has commands, one a line, then `---`, then what
//! was observed. `#` begins a comment, which stays where it is. Time passes only as the commands say, and 50 ms after
//! each step; every message takes a millisecond. Invariants are checked all the while. The commands:
//!
//! | command | effect |
//! | --- | --- |
//! | `cluster A B C / F G [fault-tolerance N] [forget-after 1500ms] [rows-at-once 1]` | replica managers and frontends, all of them serving |
//! | `durable D` | a replica manager that keeps its state on a disk |
//! | `both D [durable]` | a process that is a replica manager and a frontend |
//! | `disk D stalls`, `disk D goes on` | its disk ends no commit meanwhile; a crash takes away what waits for it |
//! | `restart D` | a dead one goes on with what is on its disk, as `D_1`, `D_2` and so on |
//! | `twin D` | another one begins with a copy of a dead one's disk, under the next of these ids |
//! | `copy D`, `restore D` | keeps a copy of its disk; a dead one goes on with that |
//! | `replica D`, `frontend H [clock -3600s]` | one more, just started |
//! | `prefer A` | the others say OVERLOADED: frontends ask A first |
//! | `mode A offline` | sets a mode |
//! | `s create 7 1 4.0 via F as X` | session `s` has user 7 rate movie 1 through F, under the id X; also `update` |
//! | `s delete 7 1 via F as X`, `s read 7 1 via F` | |
//! | `s create 7 1 4.0 via F unnamed` | the frontend makes the id, and stamps the update by its own clock |
//! | `s retry X via G` | the same update again |
//! | `... prev A:5,B:2` | with a made-up `prev` instead of the session's own |
//! | `hold A>B,C gossip log` | messages of these kinds wait; without kinds, all but presence |
//! | `drop A>B gossip` | they are lost |
//! | `flow A>B` | they go their way again, and those that waited first |
//! | `release A>B [kind]` | those that waited go their way, later ones wait |
//! | `cut A>B` | everything is lost, presence too; `flow` mends it |
//! | `pause A`, `wake A`, `crash A`, `leave A` | |
//! | `crash A after N` | A dies in its next batch, when it has sent N messages of it |
//! | `wait 500ms` | time passes |
//! | `quiet` | what replica managers do in this step is left out, up to the next `show` |
//! | `show` | what each replica manager holds and has applied |
//! | `logs` | length of the log of each replica manager, number of remembered updates, and retired replicas |
//! | `pulls` | how many pulls there were since the last time |

mod command;
mod observe;

use std::collections::BTreeMap;

use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::session::Session;

use super::client::{Asked, Operation};
use super::cluster::{Cluster, Happened, Settings};
use super::disk::Disk;
use super::invariants::Invariants;
use super::network::Weather;

/// Duration of a step after its commands, in microseconds.
const STEP_US: u64 = 50_000;

/// An update that a scenario gave a name.
#[derive(Clone, Debug)]
struct Named {
    name: String,
    asked: Asked,
}

/// A scenario under way.
struct Scenario {
    cluster: Cluster,
    invariants: Invariants,
    sessions: BTreeMap<String, Session>,
    /// By update id.
    names: BTreeMap<UpdateId, Named>,
    /// By the number of the request.
    asked: BTreeMap<u64, Operation>,
    observed: Vec<String>,
    pulls: u64,
    quiet: bool,
    /// Copies of disks.
    copies: BTreeMap<String, Disk>,
}

/// Performs a transcript's commands and gives it back with what was observed now.
pub fn perform(text: &str) -> String {
    let mut scenario = Scenario {
        cluster: Cluster::new(Settings::default(), Weather::fair(), 1, false),
        invariants: Invariants::default(),
        sessions: BTreeMap::new(),
        names: BTreeMap::new(),
        asked: BTreeMap::new(),
        observed: Vec::new(),
        pulls: 0,
        quiet: false,
        copies: BTreeMap::new(),
    };
    let steps: Vec<String> = text.split("\n\n").map(|step| scenario.step(step)).collect();
    steps.join("\n\n") + "\n"
}

impl Scenario {
    /// Performs one step.
    fn step(&mut self, step: &str) -> String {
        let commands: Vec<&str> = step.trim().lines().take_while(|line| *line != "---").collect();
        let mut only_comments = true;
        for line in &commands {
            let command = line.split('#').next().unwrap_or_default().trim();
            if !command.is_empty() {
                only_comments = false;
                self.command(command);
            }
        }
        if only_comments {
            return commands.join("\n");
        }
        self.pass(STEP_US);
        self.quiet = false;
        let observed = std::mem::take(&mut self.observed);
        commands.into_iter().map(str::to_owned).chain(["---".to_owned()]).chain(observed).collect::<Vec<_>>().join("\n")
    }

    /// Lets time pass.
    fn pass(&mut self, for_us: u64) {
        let until_us = self.cluster.now_us() + for_us;
        while self.cluster.next_us().is_some_and(|next_us| next_us <= until_us) {
            self.note_reborn();
            match self.cluster.step() {
                Some(Happened::Stepped { process, notices, answers, .. }) => {
                    for notice in &notices {
                        self.see_notice(&process, notice);
                    }
                    if let Err(violation) = self.invariants.stepped(&self.cluster, &process, &notices, &answers) {
                        self.observed.push(format!("BROKEN {violation}"));
                    }
                }
                Some(Happened::Answered { client, frontend, n, answer }) => self.hear(&client, &frontend, n, &answer),
                Some(Happened::Lost { client, frontend, lost }) => {
                    self.observed.push(format!("{client} <- {frontend}  LOST {lost}"));
                    if let Some(session) = self.sessions.get_mut(client.as_str()) {
                        session.forget(&lost);
                    }
                }
                Some(Happened::Retired { client, retired, .. }) => {
                    // Its answer leaves the frontend in the same moment, and nothing holds it up.
                    self.observed.push(format!("{client} may leave out {retired}"));
                    if let Some(session) = self.sessions.get_mut(client.as_str()) {
                        session.leave_out(&retired);
                    }
                }
                Some(Happened::Alarm(_) | Happened::Nothing) | None => {}
            }
            for ((from, to), message, policy) in std::mem::take(&mut self.cluster.network.interfered) {
                self.see_interference(&from, &to, &message, policy);
            }
        }
        self.cluster.skip_to(until_us);
    }

    /// Replicas that began another life have what they saved.
    fn note_reborn(&mut self) {
        for id in std::mem::take(&mut self.cluster.reborn) {
            self.invariants.reborn(&self.cluster, &id);
        }
    }

    fn hear(&mut self, client: &ReplicaId, frontend: &ReplicaId, n: u64, answer: &super::message::ClientAnswer) {
        let text = super::message::answer_text(answer);
        let of = self.asked.get(&n).and_then(|operation| operation.id).map(|id| format!("{}: ", self.name_of(id)));
        self.observed.push(format!("{client} <- {frontend}  {}{text}", of.unwrap_or_default()));
        let label = match answer {
            Ok(reply) => Some(&reply.label),
            Err(error) => error.label(),
        };
        if let (Some(label), Some(session)) = (label, self.sessions.get_mut(client.as_str())) {
            session.merge(label);
        }
        if let Some(operation) = self.asked.get(&n)
            && let Err(violation) = self.invariants.answered(&self.cluster, operation, answer)
        {
            self.observed.push(format!("BROKEN {violation}"));
        }
    }
}
