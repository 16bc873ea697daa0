//! Kinds of faults, their durations, and the pairs that go together.

use std::fmt;
use std::ops::Range;

/// Something bad that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL to a replica in memory: what it had is gone, and another one comes.
    KillInMemory,
    /// SIGKILL to a durable replica, which starts again on its directory.
    KillDurable,
    /// SIGKILL to a frontend; another one comes.
    KillFrontend,
    /// SIGSTOP to a replica, for less than it takes to count as gone.
    FreezeReplicaBriefly,
    /// SIGSTOP to a replica, for longer than it takes to count as gone.
    FreezeReplicaForLong,
    /// SIGSTOP to a frontend, for less than it takes to count as gone.
    FreezeFrontendBriefly,
    /// SIGSTOP to a frontend, for longer than that.
    FreezeFrontendForLong,
    /// SIGKILL to one broker of the cluster, which starts again.
    KillBroker,
    /// SIGKILL to all brokers, which start again.
    KillAllBrokers,
    /// SIGSTOP to a broker: its clients hear nothing and cannot send.
    FreezeBroker,
    /// The route between two brokers is cut: each learns of it.
    CutRoute,
    /// The route between two brokers is blocked: neither learns of it, and waiting messages come late.
    BlockRoute,
    /// All routes of a broker are cut.
    IsolateBroker,
    /// The brokers lose some per cent of requests, replies, gossip and presence.
    LoseMessages,
    /// A process does not read while much is sent to it, until its broker closes the connection.
    SlowConsumer,
    /// A process's wall clock jumps, and jumps back.
    JumpClock,
    /// A durable replica's files may not grow.
    FullDisk,
    /// A replica is told to be OFFLINE.
    Offline,
    /// A replica draws its status at random.
    Arbitrary,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 19] = [
        Self::KillInMemory,
        Self::KillDurable,
        Self::KillFrontend,
        Self::FreezeReplicaBriefly,
        Self::FreezeReplicaForLong,
        Self::FreezeFrontendBriefly,
        Self::FreezeFrontendForLong,
        Self::KillBroker,
        Self::KillAllBrokers,
        Self::FreezeBroker,
        Self::CutRoute,
        Self::BlockRoute,
        Self::IsolateBroker,
        Self::LoseMessages,
        Self::SlowConsumer,
        Self::JumpClock,
        Self::FullDisk,
        Self::Offline,
        Self::Arbitrary,
    ];

    /// Returns the range of its duration, in milliseconds. It stays far below the 10 s after which the others stop
    /// waiting for an absent replica in memory: two of these at once are more than Natter promises to survive.
    pub(super) fn lasts_ms(self) -> Range<u64> {
        match self {
            Self::FreezeReplicaBriefly | Self::FreezeFrontendBriefly => 50..800,
            Self::FreezeReplicaForLong | Self::FreezeFrontendForLong => 2000..5000,
            Self::KillInMemory | Self::KillDurable | Self::KillFrontend => 0..2500,
            Self::KillBroker | Self::KillAllBrokers => 0..2500,
            Self::SlowConsumer => 300..2500,
            Self::FreezeBroker
            | Self::CutRoute
            | Self::BlockRoute
            | Self::IsolateBroker
            | Self::LoseMessages
            | Self::JumpClock
            | Self::FullDisk
            | Self::Offline
            | Self::Arbitrary => 1000..4500,
        }
    }

    /// Whether both may be there at the same time.
    ///
    /// The loss of a replica in memory is survived while each acknowledged update is held by another one. Where a frontend
    /// cannot see two replicas, one alone holds what it acknowledges, and says so: that one must not be lost.
    pub(super) fn goes_with(self, other: Self) -> bool {
        let spares_others = |fault| {
            matches!(
                fault,
                Self::KillFrontend
                    | Self::FreezeReplicaBriefly
                    | Self::FreezeFrontendBriefly
                    | Self::FreezeFrontendForLong
                    | Self::JumpClock
            )
        };
        // Faults of brokers exclude each other, as there is one cluster of them.
        let is_of_brokers = |fault| {
            matches!(
                fault,
                Self::KillBroker
                    | Self::KillAllBrokers
                    | Self::FreezeBroker
                    | Self::CutRoute
                    | Self::BlockRoute
                    | Self::IsolateBroker
            )
        };
        // A frozen broker takes no new configuration.
        let is_told_in_vain =
            [self, other].contains(&Self::LoseMessages) && [self, other].contains(&Self::FreezeBroker);
        self != other
            && !is_told_in_vain
            && !(is_of_brokers(self) && is_of_brokers(other))
            && (self != Self::KillInMemory || spares_others(other))
            && (other != Self::KillInMemory || spares_others(self))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillInMemory => "replica in memory killed",
            Self::KillDurable => "durable replica killed",
            Self::KillFrontend => "frontend killed",
            Self::FreezeReplicaBriefly => "replica frozen briefly",
            Self::FreezeReplicaForLong => "replica frozen for longer than presence lasts",
            Self::FreezeFrontendBriefly => "frontend frozen briefly",
            Self::FreezeFrontendForLong => "frontend frozen for longer than presence lasts",
            Self::KillBroker => "one broker killed",
            Self::KillAllBrokers => "all brokers killed",
            Self::FreezeBroker => "broker frozen",
            Self::CutRoute => "route cut",
            Self::BlockRoute => "route blocked",
            Self::IsolateBroker => "broker isolated",
            Self::LoseMessages => "messages lost",
            Self::SlowConsumer => "slow consumer",
            Self::JumpClock => "clock jumped",
            Self::FullDisk => "disk full",
            Self::Offline => "replica told to be OFFLINE",
            Self::Arbitrary => "replica of arbitrary status",
        })
    }
}
