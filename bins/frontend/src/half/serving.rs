//! Service of clients: a place in the queue group while replicas are heard, and while the broker permits everything.

use std::time::Duration;

use async_nats::connection::State;
use natter_broker::access::{self, AccessError, RETRY, RETRY_LIMIT};
use natter_broker::publisher::within;
use natter_broker::role::RoleError;
use natter_common::clock::Now;
use natter_common::frontend::{Frontend, Input};
use natter_common::messages::Presence;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::Half;
use crate::inbox::Inbox;
use crate::line;
use crate::permits::Hindered;

/// Time for a command to a connection. It waits where the connection is lost and much is to be sent.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

impl Half {
    /// Checks what the broker permits, subscribes anew what it took away, and stops or resumes serving by that. Appends what
    /// the core has to know.
    pub async fn check_permits(&mut self, core: &mut Frontend, now: Now, inputs: &mut Vec<Input>) {
        let checked = timeout(RETRY_LIMIT, self.try_permits(&core.presence(now), inputs)).await;
        match checked.unwrap_or(Err(AccessError::Silent { role: "frontend" }.into())) {
            Ok(()) => {
                if self.permits.are_complete() {
                    info!(frontend = %core.id(), "the broker permits everything again: goes on");
                }
            }
            Err(RoleError::Access(error)) if error.is_refusal() => {
                if self.permits.lack(error.to_string()) {
                    let every_s = RETRY.as_secs();
                    warn!(frontend = %core.id(), "stops serving, keeps its state and tries again every {every_s} s: {error}");
                }
                self.stop_serving(core);
                let hindered = Hindered::by(error.denials(), &self.subjects);
                self.clients.give_up(hindered, &error.to_string(), core.cluster(), &mut self.outbox.publisher).await;
            }
            // The broker did not answer: nothing is known of its permissions.
            Err(_) => self.permits.remain_unknown(),
        }
    }

    async fn try_permits(&mut self, presence: &Presence, inputs: &mut Vec<Input>) -> Result<(), RoleError> {
        let client = self.outbox.publisher.client().clone();
        let has_lost = self.permits.lost_subscriptions();
        if has_lost {
            self.inbox = Inbox::subscribe(&client, &self.subjects, self.outbox.replies()).await?;
        }
        let mut needs = line::needs(&self.subjects, presence);
        self.permits.add_refused(&mut needs);
        access::check(&client, &mut self.events, &self.entrance, &needs).await?;
        if has_lost {
            // Messages that replicas sent meanwhile are lost.
            inputs.extend([Input::Disconnected, Input::Connected]);
            if self.clients.places() > 0 {
                self.clients.renew_place(&self.service, &self.subjects).await?;
            }
        }
        Ok(())
    }

    /// Takes no more requests of clients until [`Half::attend`] finds that it can serve.
    pub fn stop_serving(&mut self, core: &mut Frontend) {
        self.clients.keep_places(0);
        core.stop_serving();
    }

    /// Takes part in the queue group while replicas are heard, and only then: requests that are handed to a frontend which
    /// hears none are lost to the others. To be called at each tick.
    ///
    /// # Errors
    ///
    /// The broker refuses a place in the queue group.
    pub async fn attend(&mut self, core: &mut Frontend, clock: Now) -> Result<(), RoleError> {
        self.show(core);
        self.outbox.ask_about_the_silent().await;
        let now = Instant::now();
        self.attendance.tick(now);
        if !self.permits.suffice() {
            return Ok(());
        }
        if self.attendance.takes_a_hop(now) {
            warn!(frontend = %core.id(), "hears no replica: tries another server of the broker");
            let _ = within(COMMAND_TIMEOUT, self.outbox.publisher.client().force_reconnect()).await;
        }
        match (self.clients.places(), self.attendance.places(now)) {
            (taken, 0) => {
                let is_ready = core.is_ready(clock);
                if taken > 0 {
                    self.stop_serving(core);
                }
                if (taken > 0 || is_ready) && self.attendance.says_deaf() {
                    warn!(frontend = %core.id(), "hears no replica: takes no requests until it does");
                }
            }
            (0, _) if self.attendance.has_served() => {
                self.take_places(1).await?;
                self.serve(core);
            }
            (0, _) if core.is_ready(clock) => self.open_entrance(core).await?,
            (0, _) => {}
            (taken, wanted) if taken < wanted => self.take_places(wanted).await?,
            (_, wanted) => self.clients.keep_places(wanted),
        }
        Ok(())
    }

    async fn take_places(&mut self, places: usize) -> Result<(), RoleError> {
        while self.clients.places() < places && self.entrance.connection_state() == State::Connected {
            match within(COMMAND_TIMEOUT, self.clients.take_place(&self.service, &self.subjects)).await {
                Ok(taken) => taken?,
                Err(_) => break, // the connection takes nothing now: tried again at the next tick
            }
        }
        Ok(())
    }

    /// Serves clients for the first time, once the broker is known to hear it.
    async fn open_entrance(&mut self, core: &mut Frontend) -> Result<(), RoleError> {
        self.clients.take_place(&self.service, &self.subjects).await?;
        let needs = line::entrance_needs(&self.subjects, core.id());
        access::check(&self.entrance, &mut self.entrance_events, self.outbox.publisher.client(), &needs).await?;
        self.serve(core);
        Ok(())
    }

    fn serve(&mut self, core: &mut Frontend) {
        if self.clients.places() == 0 {
            return; // its connection takes nothing now: tried again at the next tick
        }
        core.serve();
        let again = if self.attendance.serves() { " again" } else { "" };
        info!(frontend = %core.id(), "serves{again}");
    }
}
