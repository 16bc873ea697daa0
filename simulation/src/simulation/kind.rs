//! Kinds of faults.

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A replica manager crashes.
    Crash,
    /// A replica manager dies in the middle of sending.
    MidSending,
    /// A replica manager leaves.
    Leave,
    /// A replica manager joins.
    Join,
    /// A replica manager stands still.
    Pause,
    /// Links lose everything.
    Cut,
    /// A replica manager's mode is set.
    Status,
    /// A frontend crashes.
    FrontendCrash,
    /// A frontend stands still.
    FrontendPause,
    /// A clock jumps.
    Jump,
    /// Clocks are wrong.
    Skew,
    /// Messages are lost.
    Loss,
    /// Messages take long.
    Slow,
    /// Messages arrive twice.
    Duplicates,
    /// Messages overtake each other.
    Reorder,
    /// The directory of a replica manager is copied, and both go on.
    Copy,
    /// A directory restarts again and again.
    Restless,
    /// All replica managers are started anew, from their directories or with nothing.
    Anew,
    /// Replica managers keep their state on disks.
    Disk,
    /// Clients make ids that carry no stamp.
    Ids,
    /// Wall clocks are ahead by minutes to an hour, and right again later.
    Ahead,
    /// Sessions send a label whose clock is later than any that they were given.
    Raise,
    /// A bystander listens, so that the broker does not say that nobody does.
    Silence,
    /// A bystander answers requests.
    Answers,
    /// A bystander sends old messages again.
    Repeats,
    /// The broker takes a permission away.
    Denial,
}

impl Kind {
    /// All of them, each with its name.
    pub const ALL: [(Self, &'static str); 26] = [
        (Self::Crash, "crash"),
        (Self::MidSending, "mid-sending"),
        (Self::Leave, "leave"),
        (Self::Join, "join"),
        (Self::Pause, "pause"),
        (Self::Cut, "cut"),
        (Self::Status, "status"),
        (Self::FrontendCrash, "frontend-crash"),
        (Self::FrontendPause, "frontend-pause"),
        (Self::Jump, "jump"),
        (Self::Skew, "skew"),
        (Self::Loss, "loss"),
        (Self::Slow, "slow"),
        (Self::Duplicates, "duplicates"),
        (Self::Reorder, "reorder"),
        (Self::Copy, "copy"),
        (Self::Restless, "restless"),
        (Self::Anew, "anew"),
        (Self::Disk, "disk"),
        (Self::Ids, "ids"),
        (Self::Ahead, "ahead"),
        (Self::Raise, "raise"),
        (Self::Silence, "silence"),
        (Self::Answers, "answers"),
        (Self::Repeats, "repeats"),
        (Self::Denial, "denial"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}
