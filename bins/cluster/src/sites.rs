//! Two sites (`--sites 2`): each has a broker of its own, and the route between the two passes through a relay in the
//! launcher, so that it can be cut and healed.
//!
//! Members of a site know the broker of that site only, and the brokers tell nobody of each other. So a cut is a real
//! partition. Members belong to the sites by turns: r1 and f1 to site 1, r2 and f2 to site 2, r3 to site 1.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use natter_processes::nats_server::NatsServer;

use crate::error::ClusterError;
use crate::relay::Relay;

/// Name of the brokers' cluster.
const NAME: &str = "natter";
/// Address that the brokers tell of themselves, on which no process listens: the relay is the only way.
const NOWHERE: &str = "127.0.0.1:9";
/// Maximum time for the brokers to connect.
const PATIENCE: Duration = Duration::from_secs(30);

/// A site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// The first one, or the only one.
    One,
    /// The second one.
    Two,
}

impl Site {
    /// The site of the member of this number, where there are two.
    pub(crate) fn of(number: u8) -> Self {
        if number.is_multiple_of(2) { Self::Two } else { Self::One }
    }

    /// Its place in lists.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::One => 0,
            Self::Two => 1,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "site {}", self.index() + 1)
    }
}

/// Arguments that make a nats-server one of the brokers. `way_out` is the port by which it reaches the other one.
pub(crate) fn route_arguments(way_out: Option<u16>) -> Vec<OsString> {
    let listen = ["--cluster", "nats://127.0.0.1:-1", "--cluster_name", NAME];
    let advertise = ["--cluster_advertise", NOWHERE, "--no_advertise"];
    let mut arguments: Vec<OsString> = listen.into_iter().chain(advertise).map(OsString::from).collect();
    arguments
        .extend(way_out.into_iter().flat_map(|port| ["--routes".into(), format!("nats://127.0.0.1:{port}").into()]));
    arguments
}

/// The link between the two sites.
#[derive(Debug)]
pub(crate) struct Link(Relay);

impl Link {
    /// A way to this server.
    pub(crate) async fn to(server: &NatsServer) -> Result<Self, ClusterError> {
        let cannot_start = |source| ClusterError::Start { what: "the link between the sites".to_owned(), source };
        let unknown = || cannot_start(std::io::Error::other("nats-server did not tell its port for routes"));
        let port = server.route_port().ok_or_else(unknown)?;
        Ok(Self(Relay::start(port).await.map_err(cannot_start)?))
    }

    /// Port by which the other server is reached.
    pub(crate) fn port(&self) -> u16 {
        self.0.port()
    }

    /// Whether it is cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.is_cut()
    }

    /// Lets no byte pass. Completes when all connections are broken.
    pub(crate) async fn cut(&self) {
        self.0.cut().await;
    }

    /// Lets bytes pass again, and waits until the brokers have a connection; tells whether they have.
    pub(crate) async fn heal(&self) -> bool {
        self.0.heal();
        self.0.connected(PATIENCE).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_belong_to_the_sites_by_turns() {
        let sites: Vec<String> = (1..=4).map(|number| Site::of(number).to_string()).collect();
        assert_eq!(sites, ["site 1", "site 2", "site 1", "site 2"]);
    }
}
