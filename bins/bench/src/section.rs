//! The sections of a run.

/// Group of subjects that are measured together, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    /// Raw, Natter in memory, JetStream: throughput with a number of requests in flight.
    Core,
    /// Latency of the same at given rates.
    Latency,
    /// Systems that write to disk before they acknowledge.
    Durable,
    /// This build beside the build before, the program of which `--before` names.
    Before,
    /// Metrics, the observer and the change feed on, beside the same cluster without them.
    Watched,
    /// Growth of a replica's memory under updates at full rate.
    Memory,
    /// Against the number of replica managers.
    Replicas,
    /// Against the number of ratings.
    Data,
    /// Time until an update is readable everywhere.
    Convergence,
    /// Sessions on Natter and on JetStream KV while nodes fail: which promises are kept.
    Guarantees,
    /// Start of replicas: its time, and their memory.
    Start,
}

impl Section {
    /// All, in their order.
    pub(crate) const ALL: [Self; 11] = [
        Self::Core,
        Self::Durable,
        Self::Before,
        Self::Watched,
        Self::Memory,
        Self::Latency,
        Self::Convergence,
        Self::Replicas,
        Self::Data,
        Self::Guarantees,
        Self::Start,
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Latency => "latency",
            Self::Durable => "durable",
            Self::Before => "before",
            Self::Watched => "watched",
            Self::Memory => "memory",
            Self::Replicas => "replicas",
            Self::Data => "data",
            Self::Convergence => "convergence",
            Self::Guarantees => "guarantees",
            Self::Start => "start",
        }
    }

    /// Its title in reports.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Core => "Throughput",
            Self::Latency => "Latency at given rates",
            Self::Before => "Against the build before",
            Self::Watched => "Metrics, observer and change feed on, against off",
            Self::Memory => "Memory under updates at full rate",
            Self::Durable => "On disk before it is acknowledged",
            Self::Replicas => "Against the number of replicas",
            Self::Data => "Against the number of ratings",
            Self::Convergence => "Convergence lag",
            Self::Guarantees => "Guarantees while a node fails",
            Self::Start => "Start and memory",
        }
    }
}
