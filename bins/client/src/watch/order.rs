//! Messages of several subscriptions in an order in which causes come before their effects.
//!
//! The connection brings messages in the right order, but each subscription is read by itself. Messages that were read
//! together are merged again: each subscription keeps its order, no reply comes before its request, and no request of a
//! frontend before the request of the client that causes it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::message::{Heard, What};
use natter_common::edge::ClientRequest;
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::request::Query;

/// Something that one message makes possible and another one needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Link {
    /// A request whose replies go to this subject.
    Reply(String),
    /// A client's request with this id.
    Client(UpdateId),
    /// A frontend's request to accept this id.
    Accept(UpdateId),
    /// A client's query, as text: it has no id.
    Query(String),
    /// Gossip of this replica, which others acknowledge.
    Gossip(ReplicaId),
}

/// Merges messages, each with the number of its subscription.
pub(crate) fn in_causal_order(messages: Vec<(usize, Heard)>) -> Vec<Heard> {
    if messages.len() < 2 {
        return messages.into_iter().map(|(_, message)| message).collect();
    }
    let mut ordered = Vec::with_capacity(messages.len());
    let mut ahead: HashMap<Link, usize> = HashMap::new();
    let mut queues: BTreeMap<usize, VecDeque<(Vec<Link>, Heard)>> = BTreeMap::new();
    for (source, message) in messages {
        for link in gives(&message) {
            *ahead.entry(link).or_default() += 1;
        }
        queues.entry(source).or_default().push_back((needs(&message), message));
    }
    loop {
        let heads = || queues.iter().filter_map(|(source, queue)| Some((*source, queue.front()?)));
        let free = |needs: &[Link]| needs.iter().all(|link| ahead.get(link).is_none_or(|count| *count == 0));
        let next = heads().filter(|(_, (needs, _))| free(needs)).max_by_key(|(_, (_, message))| depth(message));
        // A message whose cause stands behind it in another subscription came before that.
        let next = next.or_else(|| heads().min_by_key(|(_, (_, message))| depth(message))).map(|(source, _)| source);
        let Some((_, message)) = next.and_then(|source| queues.get_mut(&source)?.pop_front()) else { return ordered };
        for link in gives(&message) {
            if let Some(count) = ahead.get_mut(&link) {
                *count = count.saturating_sub(1);
            }
        }
        ordered.push(message);
    }
}

/// Position of a message in the way of a request: of those that may come next, the one that is furthest comes first.
fn depth(message: &Heard) -> u8 {
    match message.what {
        What::Answer => 4,
        What::Acknowledgement(..) => 3,
        What::Gossip(_) | What::Changed(_) => 2,
        What::Asked(..) => 0,
        _ => 1,
    }
}

fn gives(message: &Heard) -> Vec<Link> {
    let mut links: Vec<Link> = message.reply.iter().cloned().map(Link::Reply).collect();
    match &message.what {
        What::Asked(_, request) => links.extend(of_client(request)),
        What::Updates(_, requests) => links.extend(requests.iter().map(|request| Link::Accept(request.id))),
        What::Gossip(gossip) => links.push(Link::Gossip(gossip.id.clone())),
        _ => {}
    }
    links
}

fn needs(message: &Heard) -> Vec<Link> {
    match &message.what {
        What::Answer => vec![Link::Reply(message.subject.clone())],
        What::Updates(_, requests) => requests.iter().map(|request| Link::Client(request.id)).collect(),
        What::Confirms(_, requests) => requests.iter().map(|request| Link::Client(request.id)).collect(),
        What::Acknowledgement(to, _) => vec![Link::Gossip(to.clone())],
        What::Queries(_, requests) => requests.iter().map(|query| link_of(&query.request)).collect(),
        What::Gossip(gossip) => gossip.records.iter().map(|record| Link::Accept(record.id)).collect(),
        What::Changed(change) => vec![Link::Accept(change.update_id), Link::Gossip(change.record.i.clone())],
        _ => Vec::new(),
    }
}

fn of_client(request: &ClientRequest) -> Option<Link> {
    match request {
        ClientRequest::Update { id, .. } => id.map(Link::Client),
        ClientRequest::Query { request, .. } => Some(link_of(request)),
        ClientRequest::Batch(_) => None,
    }
}

fn link_of(query: &Query) -> Link {
    Link::Query(format!("{query:?}"))
}
