//! Ways to cause each fault, to heal it, and to show that it had its effect.

use std::time::{Duration, Instant};

use serde_json::json;

use super::faults::Fault;
use super::nemesis::Nemesis;
use super::stage::Stage;
use crate::harness::{Encoding, Way, Wire};

/// Time after which a silent process counts as gone.
const GONE_AFTER: Duration = Duration::from_millis(1500);
/// Maximum wait for an effect that comes soon.
const SOON: Duration = Duration::from_millis(2500);
/// Distance by which a clock jumps, in milliseconds, ahead or behind.
const JUMP_MS: std::ops::Range<i64> = 1_000..20_000;
/// Messages that are lost, in per cent.
const LOST_PER_CENT: std::ops::Range<u32> = 2..20;
/// One request to a replica may be lost: how long to wait before the next.
const PATIENCE: Duration = Duration::from_millis(500);

/// A fault that lasts, with the state that heals it and tells its effect.
pub(super) enum Wound {
    /// A killed process, to start again under this name.
    Killed {
        role: Role,
        name: String,
    },
    Frozen {
        name: String,
        for_long: bool,
    },
    BrokersKilled(Vec<usize>),
    BrokerFrozen(usize),
    RoutesCut {
        broken_before: u64,
    },
    RouteBlocked {
        one: usize,
        other: usize,
        passed: u64,
    },
    Losing {
        lost_before: u64,
    },
    TooSlow {
        name: String,
        had_effect: bool,
    },
    ClockJumped {
        name: String,
        had_effect: bool,
    },
    DiskFull {
        name: String,
        since: Instant,
    },
    Status {
        id: String,
        had_effect: bool,
    },
}

/// Kind of process that replaces a killed one.
#[derive(Clone, Copy)]
pub(super) enum Role {
    InMemory,
    Durable,
    Frontend,
}

impl Nemesis {
    pub(super) async fn inflict(&mut self, stage: &mut Stage<'_>, fault: Fault) -> Wound {
        match fault {
            Fault::KillInMemory => self.kill(stage, Role::InMemory).await,
            Fault::KillDurable => self.kill(stage, Role::Durable).await,
            Fault::KillFrontend => self.kill(stage, Role::Frontend).await,
            Fault::FreezeReplicaBriefly | Fault::FreezeReplicaForLong => {
                let name = self.pick(&stage.replicas());
                freeze(stage, name, fault == Fault::FreezeReplicaForLong)
            }
            Fault::FreezeFrontendBriefly | Fault::FreezeFrontendForLong => {
                let name = self.pick(&stage.frontends);
                freeze(stage, name, fault == Fault::FreezeFrontendForLong)
            }
            Fault::KillBroker | Fault::KillAllBrokers => {
                let count = stage.brokers.servers().len();
                let one = self.generator.usize(..count);
                let all: Vec<usize> = if fault == Fault::KillBroker { vec![one] } else { (0..count).collect() };
                for &n in &all {
                    stage.brokers.servers()[n].kill().await;
                }
                Wound::BrokersKilled(all)
            }
            Fault::FreezeBroker => {
                let n = self.generator.usize(..stage.brokers.servers().len());
                stage.brokers.servers()[n].pause();
                Wound::BrokerFrozen(n)
            }
            Fault::CutRoute | Fault::BlockRoute | Fault::IsolateBroker => self.part(stage, fault).await,
            Fault::LoseMessages => {
                let lost_before = stage.digests.lost();
                stage.brokers.lose(self.generator.u32(LOST_PER_CENT)).await;
                Wound::Losing { lost_before }
            }
            Fault::SlowConsumer => self.overwhelm(stage).await,
            Fault::JumpClock => {
                let name = self.pick(&[stage.replicas(), stage.frontends.clone()].concat());
                let jump_ms = self.generator.i64(JUMP_MS) * if self.generator.bool() { 1 } else { -1 };
                let had_effect = stage.set_clock_ahead(&name, jump_ms).await;
                Wound::ClockJumped { name, had_effect }
            }
            Fault::FullDisk => {
                let name = self.pick(&stage.durable);
                // Its log can't be written either.
                stage.cluster.member(&name).limit_files(Some(0));
                Wound::DiskFull { name, since: Instant::now() }
            }
            Fault::Offline | Fault::Arbitrary => {
                let mode = if fault == Fault::Offline { "offline" } else { "arbitrary" };
                let name = self.pick(&stage.replicas());
                let id = stage.cluster.id_of(&name).await;
                let had_effect = set_mode(&stage.wires, &id, mode).await;
                Wound::Status { id, had_effect }
            }
        }
    }

    /// Heals, and tells whether the fault had its effect.
    pub(super) async fn heal(&mut self, stage: &mut Stage<'_>, wound: Wound) -> bool {
        match wound {
            Wound::Killed { role, name } => {
                match role {
                    Role::Durable => stage.start_durable(&name),
                    Role::InMemory => stage.start_in_memory(&name),
                    Role::Frontend => stage.cluster.start_frontend(&name, &[]),
                }
                true
            }
            Wound::Frozen { name, for_long } => {
                let silence = stage.cluster.observer.seen().named(&name).map(|(_, shown)| shown.heard.elapsed());
                let counts_as_gone = silence.is_some_and(|silence| silence > GONE_AFTER);
                let member = stage.cluster.member(&name);
                let had_effect = member.is_frozen() && (counts_as_gone || !for_long);
                member.resume();
                had_effect
            }
            Wound::BrokersKilled(all) => {
                for n in all {
                    stage.brokers.servers()[n].start().await;
                }
                true
            }
            Wound::BrokerFrozen(n) => {
                let had_effect = stage.brokers.servers()[n].is_frozen();
                stage.brokers.servers()[n].resume();
                had_effect
            }
            Wound::RoutesCut { broken_before } => {
                let had_effect = stage.brokers.broken_routes() > broken_before;
                stage.brokers.open_all_routes();
                had_effect
            }
            Wound::RouteBlocked { one, other, passed } => {
                let had_effect = passed > 0 && stage.brokers.route(one, other).passed() == passed;
                stage.brokers.open_all_routes();
                had_effect
            }
            Wound::Losing { lost_before } => {
                stage.brokers.lose(0).await;
                stage.digests.lost() > lost_before
            }
            Wound::TooSlow { name, had_effect } => {
                stage.cluster.member(&name).resume();
                had_effect
            }
            Wound::ClockJumped { name, had_effect } => stage.set_clock_ahead(&name, 0).await && had_effect,
            Wound::DiskFull { name, since } => {
                stage.cluster.member(&name).limit_files(None);
                let seen = stage.cluster.observer.seen();
                let statuses = seen.named(&name).map_or(&[][..], |(_, shown)| &shown.statuses);
                statuses.iter().any(|(when, status, _)| *when > since && status == "OFFLINE")
            }
            Wound::Status { id, had_effect } => {
                if !set_mode(&stage.wires, &id, "measured").await {
                    self.still_wrong.push(id);
                }
                had_effect
            }
        }
    }

    /// Sets the statuses that could not be set right before. Called when nothing else is wrong any more.
    pub(super) async fn heal_the_rest(&mut self, stage: &Stage<'_>) {
        for id in std::mem::take(&mut self.still_wrong) {
            assert!(set_mode(&stage.wires, &id, "measured").await, "the mode of {id} cannot be set");
        }
    }

    async fn kill(&mut self, stage: &mut Stage<'_>, role: Role) -> Wound {
        let names = match role {
            Role::InMemory => &mut stage.in_memory,
            Role::Durable => &mut stage.durable,
            Role::Frontend => &mut stage.frontends,
        };
        let name = self.pick(names);
        let next = match role {
            Role::Durable => name.clone(),
            _ => {
                self.next += 1;
                format!("{}{}", &name[..1], self.next)
            }
        };
        let place = names.iter().position(|other| *other == name).expect("its own name");
        names[place].clone_from(&next);
        if let Role::InMemory = role {
            // Records that this replica alone held would be lost with it; the frontend that acknowledged them said so.
            let id = stage.cluster.id_of(&name).await;
            let since = stage.calm_since();
            let alone = stage.sessions.tally().alone.iter().any(|(when, by)| *when > since && *by == id);
            assert!(!alone, "an update was acknowledged by {id} alone, though all were there");
        }
        stage.cluster.member(&name).kill().await;
        self.taken.insert(next.clone());
        Wound::Killed { role, name: next }
    }

    async fn part(&mut self, stage: &mut Stage<'_>, fault: Fault) -> Wound {
        let count = stage.brokers.servers().len();
        let one = self.generator.usize(..count);
        let other = (one + self.generator.usize(1..count)) % count;
        let broken_before = stage.brokers.broken_routes();
        match fault {
            Fault::CutRoute => stage.brokers.set_route(one, other, Way::Cut),
            Fault::IsolateBroker => stage.brokers.set_routes_of(one, Way::Cut),
            _ => {
                stage.brokers.set_route(one, other, Way::Blocked);
                // Messages on their way have passed.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let passed = stage.brokers.route(one, other).passed();
                return Wound::RouteBlocked { one, other, passed };
            }
        }
        Wound::RoutesCut { broken_before }
    }

    /// Sends so much to a frozen process that its broker closes the connection.
    async fn overwhelm(&mut self, stage: &mut Stage<'_>) -> Wound {
        let name = self.pick(&stage.replicas());
        let id = stage.cluster.id_of(&name).await;
        stage.cluster.member(&name).pause();
        let before = stage.brokers.slow_consumers();
        let had_effect = stage.flood(&format!("replica.{id}.log"), before).await;
        Wound::TooSlow { name, had_effect }
    }
}

fn freeze(stage: &mut Stage<'_>, name: String, for_long: bool) -> Wound {
    stage.cluster.member(&name).pause();
    Wound::Frozen { name, for_long }
}

/// Sets a replica's mode; some messages may be lost, and some brokers be away.
async fn set_mode(wires: &[Wire], id: &str, mode: &str) -> bool {
    let payload = Encoding::Json.encode(&json!({"mode": mode}));
    let (rest, began) = (format!("replica.{id}.status"), Instant::now());
    for wire in wires.iter().cycle() {
        let answer = wire.send_within(&rest, payload.clone(), Encoding::Json, PATIENCE).await;
        if answer.is_ok_and(|answer| answer.body["mode"] == mode) {
            return true;
        }
        if began.elapsed() > SOON {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}
