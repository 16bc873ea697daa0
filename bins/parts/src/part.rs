//! Parts of Natter whose instructions are counted.

use anyhow::{Context, Result};

use crate::{frontend, replica, timestamps};

/// One part of Natter, set up and run.
pub(crate) struct Part {
    /// Name in the table.
    pub(crate) name: &'static str,
    /// Number of times that the counted code does what the name says.
    pub(crate) times: u64,
    /// Whether it takes minutes to set up: valgrind then looks at nothing before [`crate::control`] has it count.
    pub(crate) slow: bool,
    run: fn() -> Result<()>,
}

const fn part(name: &'static str, times: u64, run: fn() -> Result<()>) -> Part {
    Part { name, times, slow: false, run }
}

const fn slow(name: &'static str, times: u64, run: fn() -> Result<()>) -> Part {
    Part { slow: true, ..part(name, times, run) }
}

/// Number of earlier updates. The cost of a request must not depend on it.
const MANY: u64 = 10_000_000;

const PARTS: &[Part] = &[
    part("an update at its acceptor", replica::ROUNDS, || replica::acceptor(1, replica::QUICK)),
    part("an update at its acceptor, of 100 in a message", replica::ROUNDS * 100, || {
        replica::acceptor(100, replica::QUICK)
    }),
    slow("an update at its acceptor, of 100, after 10,000,000 updates", replica::ROUNDS * 100, || {
        replica::acceptor(100, MANY)
    }),
    part("an update at another replica", replica::ROUNDS, || replica::other(1)),
    part("an update at another replica, of 100 in a message", replica::ROUNDS * 100, || replica::other(100)),
    part("a read at a replica", replica::ROUNDS, || replica::read(1, replica::QUICK)),
    part("a read at a replica, of 100 in a message", replica::ROUNDS * 100, || replica::read(100, replica::QUICK)),
    slow("a read at a replica, of 100, after 10,000,000 updates", replica::ROUNDS * 100, || replica::read(100, MANY)),
    part("a chunk of a snapshot, for each row", replica::CHUNK_ROWS, replica::snapshot),
    part("an update at the frontend", frontend::ROUNDS, || frontend::update(1)),
    part("an update at the frontend, of 100 together", frontend::ROUNDS * 100, || frontend::update(100)),
    part("an update of a batch of 1,000 at the frontend", frontend::ROUNDS * frontend::BATCH, frontend::batch),
    part("a read at the frontend", frontend::ROUNDS, || frontend::read(1)),
    part("a read at the frontend, of 100 together", frontend::ROUNDS * 100, || frontend::read(100)),
    part("merging timestamps of 3", timestamps::ROUNDS, || timestamps::merge(3)),
    part("merging timestamps of 10", timestamps::ROUNDS, || timestamps::merge(10)),
    part("merging timestamps of 50", timestamps::ROUNDS, || timestamps::merge(50)),
    part("comparing timestamps of 3", timestamps::ROUNDS, || timestamps::compare(3)),
    part("comparing timestamps of 10", timestamps::ROUNDS, || timestamps::compare(10)),
    part("comparing timestamps of 50", timestamps::ROUNDS, || timestamps::compare(50)),
];

impl Part {
    /// All of them, in the order of the table.
    pub(crate) fn all() -> impl Iterator<Item = &'static Part> {
        PARTS.iter()
    }
}

/// Sets one part up and runs it.
pub(crate) fn run(name: &str) -> Result<()> {
    let part = Part::all().find(|part| part.name == name).with_context(|| format!("there is no part {name:?}"))?;
    (part.run)()
}
