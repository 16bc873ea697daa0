//! Real processes: a nats-server on a free port, the roles as child processes, and requests made by hand.
//!
//! - [`BrokerCluster`]: several brokers with routes between them; [`Forwarder`]: a route that can be cut
//! - [`Accounts`]: credentials with an expiry
//! - [`World`]: the broker of a test, its folder, and how the roles are run
//! - [`Cluster`]: the frontends and replicas under one prefix; [`Member`]: one of them
//! - [`Observer`]: what they show on presence and gossip; waiting is asking it, never sleeping
//! - [`Wire`]: requests in MessagePack or JSON, made from plain maps and not from the system's own types; [`Session`]: the
//!   same with a label that goes along
//! - [`Load`]: clients that go on asking while something happens, and check what they read
//! - [`Ledger`]: clients that retry until they are answered, and what was acknowledged to them
//! - [`PseudoTerminal`]: a program as a person at a terminal sees it
//! - [`data`]: data sets for the tests
//!
//! Every process ends with the test, also with a failed one; then the last lines of every log are printed.

mod accounts;
mod broker;
mod broker_cluster;
mod cluster;
pub mod data;
mod forwarder;
mod ledger;
mod load;
mod member;
mod observer;
mod pseudo_terminal;
pub mod tools;
mod wire;
mod world;

pub use accounts::Accounts;
pub use broker::Broker;
pub use broker_cluster::{BrokerCluster, BrokerPlan};
pub use cluster::{Cluster, ClusterPlan};
pub use forwarder::{Forwarder, Way};
pub use ledger::{Clients, Compare, Ledger, Mark};
pub use load::{Failure, Load, LoadReport};
pub use member::{Member, ResidentSet};
pub use observer::{MADE_UP, Member as Shown, Observer, Seen};
pub use pseudo_terminal::PseudoTerminal;
pub use wire::{Answer, Encoding, Refusal, Session, Silence, Wire, update_id_above, update_id_v4, update_id_v7};
pub use world::World;

use std::path::Path;
use std::time::{Duration, Instant};

/// No wait of a test is longer than this, on however busy a machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Interval of looks at a file that a test waits for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until a log is so.
async fn until_file_has(path: &Path, what: &str, is_so: impl Fn(&str) -> bool) {
    let started = Instant::now();
    loop {
        let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        if is_so(&text) {
            return;
        }
        let tail: Vec<&str> = text.lines().rev().take(20).collect();
        assert!(started.elapsed() < DEADLINE, "{} never tells of {what}; last lines first:\n{tail:#?}", path.display());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether a process is frozen, as the system sees it.
fn is_frozen(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The state follows the program's name, which may have blanks.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
