//! Grounds to take part in the queue group: with how many places, or not at all.

use async_nats::Client;
use natter_broker::connection::{Pair, Siblings};
use tokio::time::Instant;

use crate::ghosts::{Ghosts, Vitals};
use crate::hearing::Hearing;

/// The connection that clients come in by, among the two.
const ENTRANCE: usize = 1;

/// The state of replicas and connections, as far as it is known here.
#[derive(Debug)]
pub(crate) struct Attendance {
    siblings: Siblings,
    hearing: Hearing,
    ghosts: Ghosts,
    /// Keeps the two connections on the side of most servers of the broker.
    pair: Option<Pair>,
    /// The connection to the replicas.
    replicas: Watched,
    /// The connection that clients come in by.
    entrance: Watched,
    has_served: bool,
    said_deaf: bool,
}

/// A connection.
#[derive(Debug)]
struct Watched {
    name: String,
    vitals: Vitals,
    /// Whether it broke after it had been silent.
    fell_silent: bool,
}

impl Watched {
    fn start(name: String, client: &Client, now: Instant) -> Self {
        Self { name, vitals: Vitals::of(client, now), fell_silent: false }
    }
}

impl Attendance {
    /// Nothing is known yet of these two connections, given with their names.
    pub(crate) fn start(
        siblings: Siblings,
        pair: Option<Pair>,
        client: (String, &Client),
        entrance: (String, &Client),
    ) -> Self {
        let now = Instant::now();
        Self {
            siblings,
            hearing: Hearing::start(now),
            ghosts: Ghosts::default(),
            pair,
            replicas: Watched::start(client.0, client.1, now),
            entrance: Watched::start(entrance.0, entrance.1, now),
            has_served: false,
            said_deaf: false,
        }
    }

    /// Time passes, and everything that came by now was heard.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.replicas.vitals.tick(now);
        self.entrance.vitals.tick(now);
        self.hearing.tick(now);
        while let Some(departure) = self.pair.as_mut().and_then(Pair::next_departure) {
            if let Some(pair) = self.pair.as_ref().filter(|_| departure.connection == ENTRANCE) {
                // The server that was left keeps the place until it and this frontend are together again.
                self.ghosts.suspect(pair.until_reached(departure));
            }
        }
    }

    /// A replica showed itself.
    pub(crate) fn heard_replica(&mut self) {
        self.hearing.heard(Instant::now());
    }

    /// The connection to the replicas stands again.
    pub(crate) fn connected(&mut self) {
        self.hearing.connected(Instant::now());
        Self::moved(&mut self.replicas, &self.siblings, &mut self.ghosts);
    }

    /// The connection to the replicas is lost.
    pub(crate) fn disconnected(&mut self) {
        let now = Instant::now();
        self.hearing.disconnected(now);
        self.replicas.fell_silent = self.replicas.vitals.are_silent(now);
    }

    /// The connection that clients come in by stands again.
    pub(crate) fn entrance_connected(&mut self) {
        Self::moved(&mut self.entrance, &self.siblings, &mut self.ghosts);
    }

    /// The connection that clients come in by is lost.
    pub(crate) fn entrance_disconnected(&mut self) {
        self.entrance.fell_silent = self.entrance.vitals.are_silent(Instant::now());
    }

    /// A connection stands again, perhaps at another server as the one before may be frozen.
    fn moved(connection: &mut Watched, siblings: &Siblings, ghosts: &mut Ghosts) {
        if std::mem::take(&mut connection.fell_silent) {
            let (siblings, name) = (siblings.clone(), connection.name.clone());
            ghosts.suspect(async move { siblings.server_that_was_left(&name).await });
        }
    }

    /// The connection that clients come in by is about to be closed.
    pub(crate) fn end(&mut self) {
        self.pair = None;
    }

    /// Whether to connect to the replicas through another server of the broker now.
    pub(crate) fn takes_a_hop(&mut self, now: Instant) -> bool {
        let are_together = self.pair.as_ref().is_some_and(Pair::is_whole);
        self.siblings.have_a_choice() && self.hearing.takes_a_hop(are_together, now)
    }

    /// Number of places that the frontend should have in the queue group: none while it hears no replica.
    pub(crate) fn places(&self, now: Instant) -> usize {
        if self.hearing.is_deaf(now) { 0 } else { self.ghosts.places() }
    }

    /// The frontend serves. Returns whether it did before.
    pub(crate) fn serves(&mut self) -> bool {
        self.said_deaf = false;
        std::mem::replace(&mut self.has_served, true)
    }

    /// Whether the frontend served at any time.
    pub(crate) fn has_served(&self) -> bool {
        self.has_served
    }

    /// Whether the log is to be told now that no replica is heard.
    pub(crate) fn says_deaf(&mut self) -> bool {
        !std::mem::replace(&mut self.said_deaf, true)
    }
}
