//! Messages of several subscriptions in an order in which causes come before their effects.
//!
//! The connection brings messages in the right order, but each subscription is read by itself. Messages that were read
//! together are merged again: each subscription keeps its order, no reply comes before its request, no request of a
//! frontend before the request of the client that causes it, and no replica says that it holds a record before the gossip that
//! brings it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::message::{Heard, What};
use natter_common::edge::ClientRequest;
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::messages::{Replies, Reply};
use natter_common::request::Query;
use natter_common::wire::decode;

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
    /// A record in gossip, which others hold from then on.
    Record(ReplicaId, u64),
}

/// Merges messages, each with the number of its subscription.
pub(crate) fn in_causal_order(messages: Vec<(usize, Heard)>) -> Vec<Heard> {
    if messages.len() < 2 {
        return messages.into_iter().map(|(_, message)| message).collect();
    }
    let mut ordered = Vec::with_capacity(messages.len());
    let mut ahead: HashMap<Link, usize> = HashMap::new();
    for link in messages.iter().flat_map(|(_, message)| gives(message)) {
        *ahead.entry(link).or_default() += 1;
    }
    let has_records = ahead.keys().any(|link| matches!(link, Link::Record(..)));
    let mut queues: BTreeMap<usize, VecDeque<(Vec<Link>, Heard)>> = BTreeMap::new();
    for (source, message) in messages {
        let mut links = needs(&message);
        if has_records {
            links.extend(held(&message));
        }
        queues.entry(source).or_default().push_back((links, message));
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
        What::Gossip(gossip) => {
            links.push(Link::Gossip(gossip.id.clone()));
            links.extend(gossip.records.iter().map(|record| Link::Record(record.i.clone(), record.seq)));
        }
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

/// Records that a replica confirms to hold.
fn held(message: &Heard) -> Vec<Link> {
    let What::Answer = message.what else { return Vec::new() };
    // A reply to a client has another form, and names no record.
    let Ok(Replies { replies, .. }) = decode::<Replies>(&message.payload) else { return Vec::new() };
    let records = |reply: Reply| match reply {
        Reply::Held { records, .. } => records,
        _ => Vec::new(),
    };
    replies
        .into_iter()
        .flat_map(|numbered| records(numbered.reply))
        .map(|record| Link::Record(record.i, record.seq))
        .collect()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use natter_common::clock::Stamp;
    use natter_common::messages::{Gossip, NumberedReply, Replicas};
    use natter_common::record::Record;
    use natter_common::timestamp::Timestamp;
    use natter_common::value::Digest;
    use natter_common::wire::encode;
    use tokio::time::Instant;

    use super::*;

    fn heard(subject: &str, payload: Vec<u8>, what: What) -> Heard {
        let (at, wall) = (Instant::now(), SystemTime::now());
        Heard { at, wall, subject: subject.to_owned(), reply: None, error: None, payload: payload.into(), what }
    }

    #[test]
    fn replica_holds_a_record_after_the_gossip_that_brings_it() {
        let (a, b) = (ReplicaId::new("a").unwrap(), ReplicaId::new("b").unwrap());
        let record = Record {
            id: UpdateId::from_stamp(Stamp::ZERO, 1),
            i: a.clone(),
            seq: 1,
            prev: Timestamp::new(),
            request: None,
            retires: Timestamp::new(),
            stamp: Stamp::ZERO,
            copies: 2,
            deleted: None,
        };
        let held = Reply::Held { records: vec![record.name()], clock: Stamp::ZERO };
        let replies = Replies { id: b, replies: vec![NumberedReply { n: 1, reply: held }] };
        let gossip = Gossip {
            id: a,
            replica_timestamp: Replicas::default(),
            value_timestamp: Replicas::default(),
            digest: Digest(0),
            records: vec![Arc::new(record)],
        };
        let messages = vec![
            (0, heard("_INBOX.x.1", encode(&replies).unwrap(), What::Answer)),
            (0, heard("_INBOX.y", vec![0x80], What::Answer)),
            (1, heard("ratings.gossip.a", Vec::new(), What::Gossip(Box::new(gossip)))),
        ];
        let ordered: Vec<String> = in_causal_order(messages).into_iter().map(|message| message.subject).collect();
        assert_eq!(ordered, ["ratings.gossip.a", "_INBOX.x.1", "_INBOX.y"]);
    }
}
