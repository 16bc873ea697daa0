//! Grounds to take part in the queue group: with how many places, or not at all.

use async_nats::Client;
use natter_broker::connection::Siblings;
use tokio::time::Instant;

use crate::ghosts::{Ghosts, Vitals};
use crate::hearing::{Hearing, PAUSED_AFTER};
use crate::sides::{Change, Side, Sides};

/// The state of replicas and connections, as far as it is known here.
#[derive(Debug)]
pub(crate) struct Attendance {
    siblings: Siblings,
    hearing: Hearing,
    ghosts: Ghosts,
    sides: Sides,
    ticked: Instant,
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
    pub(crate) fn start(siblings: Siblings, client: (String, &Client), entrance: (String, &Client)) -> Self {
        let now = Instant::now();
        Self {
            siblings,
            hearing: Hearing::start(now),
            ghosts: Ghosts::default(),
            sides: Sides::start(now),
            ticked: now,
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
        if now - std::mem::replace(&mut self.ticked, now) > PAUSED_AFTER {
            self.sides.begin_anew(now);
        }
    }

    /// A replica showed itself.
    pub(crate) fn heard_replica(&mut self, replica: &str) {
        let now = Instant::now();
        self.hearing.heard(now);
        self.sides.heard(Side::Replicas, replica, now);
    }

    /// A replica showed itself on the connection that clients come in by.
    pub(crate) fn overheard_replica(&mut self, replica: &str) {
        self.sides.heard(Side::Entrance, replica, Instant::now());
    }

    /// The connection to the replicas stands again.
    pub(crate) fn connected(&mut self) {
        let now = Instant::now();
        self.hearing.connected(now);
        self.sides.begin_anew(now);
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
        self.sides.begin_anew(Instant::now());
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

    /// Whether to connect to the replicas through another server of the broker now.
    pub(crate) fn takes_a_hop(&mut self, now: Instant) -> bool {
        self.siblings.have_a_choice() && self.hearing.takes_a_hop(now)
    }

    /// The change that is due now, because the connection to the replicas hears others than the other connection does.
    pub(crate) fn leaves_a_side(&mut self, now: Instant) -> Option<Change> {
        if !self.siblings.have_a_choice() {
            return None;
        }
        let alive = [self.replicas.vitals.changed(), self.entrance.vitals.changed()];
        let change = self.sides.change(alive, fastrand::bool(), now)?;
        if change == Change::Exchange {
            self.siblings.exchange(&self.replicas.name, &self.entrance.name);
        }
        if change != Change::Hop(Side::Replicas) {
            // The server that is cut off keeps the place, and answers here all the same.
            self.ghosts.suspect(std::future::pending());
        }
        Some(change)
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
