//! Systems, faults, and the runs that are made of both.

use serde::Serialize;

use crate::arguments::BenchArgs;
use crate::section::Section;

/// A system of three nodes that sessions use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// Natter: a broker and a `replica --frontend` on each node.
    NatterTogether,
    /// Natter: a broker, a frontend and a replica on each node.
    Natter,
    /// JetStream KV with three replicas, read by direct gets: the default of client libraries. Any server answers.
    KvDirect,
    /// The same bucket, read by gets that the leader answers.
    KvLeader,
}

impl System {
    /// All, in their order.
    pub(crate) const ALL: [Self; 4] = [Self::NatterTogether, Self::Natter, Self::KvDirect, Self::KvLeader];

    fn name(self) -> &'static str {
        match self {
            Self::NatterTogether => "natter-together",
            Self::Natter => "natter",
            Self::KvDirect => "kv-direct",
            Self::KvLeader => "kv-leader",
        }
    }

    /// Its name in the report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::NatterTogether => "Natter, three replica --frontend",
            Self::Natter => "Natter, three frontends and replicas",
            Self::KvDirect => "JetStream KV R3, direct gets",
            Self::KvLeader => "JetStream KV R3, leader gets",
        }
    }
}

/// A fault of one node: of all its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Nothing fails.
    None,
    /// SIGKILL after a fifth of the time. The node does not come back.
    Kill,
    /// SIGSTOP after a fifth of the time, and SIGCONT a fifth before the end.
    Stop,
}

impl Fault {
    const ALL: [Self; 3] = [Self::None, Self::Kill, Self::Stop];

    /// Its name in the report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "SIGKILL of a node",
            Self::Stop => "SIGSTOP of a node",
        }
    }
}

/// One run: a system with a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    /// The system.
    pub(crate) system: System,
    /// The fault of one of its nodes.
    pub(crate) fault: Fault,
}

impl Plan {
    /// Its name in the section.
    pub(crate) fn name(self) -> String {
        let system = self.system.name();
        match self.fault {
            Fault::None => system.to_owned(),
            Fault::Kill => format!("{system}-kill"),
            Fault::Stop => format!("{system}-stop"),
        }
    }

    /// Its name in a list.
    pub(crate) fn title(self) -> String {
        match self.fault {
            Fault::None => self.system.title().to_owned(),
            fault => format!("{}, {}", self.system.title(), fault.title()),
        }
    }
}

/// The runs that are asked for: all systems with one fault, then with the next. A short run has no time for them unless
/// `--only` names them.
pub(crate) fn wanted(arguments: &BenchArgs) -> Vec<Plan> {
    if arguments.quick && arguments.only.is_empty() {
        return Vec::new();
    }
    let all = Fault::ALL.into_iter().flat_map(|fault| System::ALL.map(|system| Plan { system, fault }));
    all.filter(|plan| arguments.wants(Section::Guarantees, &plan.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn names(line: &[&str]) -> Vec<String> {
        let arguments = BenchArgs::parse_from(std::iter::once(&"bench").chain(line));
        wanted(&arguments).into_iter().map(Plan::name).collect()
    }

    #[test]
    fn every_system_meets_every_fault() {
        let mut all = names(&[]);
        assert_eq!(all.len(), 12);
        assert_eq!(all[..4], ["natter-together", "natter", "kv-direct", "kv-leader"]);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 12, "names are unique");
    }

    #[test]
    fn a_short_run_leaves_the_section_out_unless_it_is_named() {
        assert_eq!(names(&["--quick"]), [""; 0]);
        assert_eq!(names(&["--quick", "--only", "guarantees"]).len(), 12);
        assert_eq!(names(&["--only", "guarantees/kv-direct-kill,core"]), ["kv-direct-kill"]);
    }
}
