//! Programs that ask frontends. A client shows no presence: its inbox tells it from others.

use super::{Micros, SECOND};

/// Maximum clients with a line of their own. Further ones share a line.
const CLIENTS_MAX: usize = 5;
/// Time after its last message for which a client keeps its line.
const KEPT: Micros = 60 * SECOND;
/// Name of the line that further clients share.
pub(super) const OTHERS: &str = "other clients";

#[derive(Debug)]
struct Client {
    inbox: String,
    seen: Micros,
}

/// Clients by number.
#[derive(Debug, Default)]
pub(super) struct Clients {
    places: [Option<Client>; CLIENTS_MAX],
}

impl Clients {
    /// The name of the client with this reply subject.
    pub(super) fn name_of(&mut self, reply: Option<&str>, now: Micros) -> String {
        let Some(reply) = reply else { return OTHERS.to_owned() };
        let inbox = reply.rsplit_once('.').map_or(reply, |(inbox, _)| inbox);
        let known = self.places.iter().position(|place| place.as_ref().is_some_and(|client| client.inbox == inbox));
        let Some(position) = known.or_else(|| self.places.iter().position(Option::is_none)) else {
            return OTHERS.to_owned();
        };
        match &mut self.places[position] {
            Some(client) => client.seen = now,
            free => *free = Some(Client { inbox: inbox.to_owned(), seen: now }),
        }
        format!("client {}", position + 1)
    }

    pub(super) fn expire(&mut self, now: Micros) {
        for place in &mut self.places {
            place.take_if(|client| client.seen + KEPT < now);
        }
    }
}
