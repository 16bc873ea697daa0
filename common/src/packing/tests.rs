use super::*;
use crate::clock::Stamp;
use crate::ids::UpdateId;
use crate::replica_manager::Input;
use crate::request::{Query, Update};
use crate::timestamp::Timestamp;

fn id(name: &str) -> ReplicaId {
    ReplicaId::new(name).unwrap()
}

fn update(n: u64) -> UpdateRequest {
    let (user_id, movie_id) = (7.try_into().unwrap(), 1.try_into().unwrap());
    UpdateRequest {
        n,
        id: UpdateId::from_stamp(Stamp(n), n),
        prev: Timestamp::new(),
        proven: true,
        unheard: Vec::new(),
        request: Update::Delete { user_id, movie_id },
        stamp: Stamp(n),
        copies: 2,
        fresh: true,
        wait_ms: 100,
    }
}

fn packed(outputs: Vec<frontend::Output>, bytes_max: usize) -> Vec<PackedRequests> {
    let mut packer = RequestPacker::default();
    for output in outputs {
        assert!(packer.push(output, bytes_max).is_none());
    }
    packer.take()
}

fn unpacked(message: &PackedRequests) -> Vec<Input> {
    let mut inputs = Vec::new();
    unpack_requests(message.kind, message.payload.as_ref().unwrap(), &Arc::from("subject"), &mut inputs).unwrap();
    inputs
}

#[test]
fn message_names_the_updates_in_it_and_no_others() {
    let requests = [("a", 1), ("b", 2), ("a", 3), ("a", 7), ("b", 9), ("a", 12)];
    let outputs = requests.map(|(replica, n)| frontend::Output::Update(id(replica), update(n)));
    // Room for three that share all but their rows.
    let bytes_max = update(1).bytes_alone() + 2 * update(1).bytes_as_row();
    let messages = packed(outputs.to_vec(), bytes_max);
    let sent: Vec<_> = messages.iter().map(|message| (message.replica.as_str(), message.numbers.clone())).collect();
    assert_eq!(sent, [("a", 1..8), ("b", 2..10), ("a", 12..13)]);
    let Input::Update(to, request) = &unpacked(&messages[0])[2] else { panic!("an update") };
    assert_eq!((to.n, &*to.subject, request), (7, "subject", &update(7)));
}

#[test]
fn messages_leave_by_kind_and_hold_all_requests_of_a_turn() {
    let confirm = |n| ConfirmRequest { n, id: update(n).id, acceptor: Some(id("a")), wait_ms: 5 };
    let query = |n| {
        let request = Query::Read { user_id: 7.try_into().unwrap(), movie_id: 1.try_into().unwrap() };
        QueryRequest { n, prev: Timestamp::new(), proven: true, unheard: Vec::new(), request, wait_ms: 5 }
    };
    let outputs = vec![
        frontend::Output::Query(id("a"), query(1)),
        frontend::Output::Confirm(id("a"), confirm(2)),
        frontend::Output::Update(id("a"), update(3)),
        frontend::Output::Query(id("a"), query(4)),
        frontend::Output::Confirm(id("a"), confirm(5)),
    ];
    let messages = packed(outputs, 1 << 20);
    let kinds: Vec<_> = messages.iter().map(|message| (message.kind, message.numbers.clone())).collect();
    assert_eq!(kinds, [(RequestKind::Update, 3..4), (RequestKind::Confirm, 0..0), (RequestKind::Query, 0..0)]);
    assert!(matches!(&unpacked(&messages[1])[..], [Input::Confirm(_, a), Input::Confirm(_, b)]
        if (a, b) == (&confirm(2), &confirm(5))));
    assert!(matches!(&unpacked(&messages[2])[..], [Input::Query(_, a), Input::Query(_, b)]
        if (a, b) == (&query(1), &query(4))));
}

#[test]
fn what_is_no_request_is_given_back() {
    let mut packer = RequestPacker::default();
    let output = frontend::Output::Answer(7, Err(crate::edge::FrontendError::Unavailable));
    assert!(matches!(packer.push(output, 1 << 20), Some(frontend::Output::Answer(7, _))));
    assert!(packer.take().is_empty());
}

#[test]
fn replies_to_one_message_share_a_message_up_to_its_size() {
    let to = |subject: &str, n| ReplyTo { subject: Arc::from(subject), n };
    let mut packer = ReplyPacker::default();
    for n in 1..=5 {
        packer.push(to("x", n), Reply::NotHeld);
        packer.push(to("y", n), Reply::Behind);
    }
    let messages = packer.take(&id("a"), 1 << 20);
    let numbers = |replies: &Replies| replies.replies.iter().map(|reply| reply.n).collect::<Vec<_>>();
    let sent: Vec<_> = messages.iter().map(|(subject, replies)| (&**subject, numbers(replies))).collect();
    assert_eq!(sent, [("x", vec![1, 2, 3, 4, 5]), ("y", vec![1, 2, 3, 4, 5])]);
    for n in 1..=5 {
        packer.push(to("x", n), Reply::NotHeld);
    }
    let messages = packer.take(&id("a"), 1);
    let sent: Vec<_> = messages.iter().map(|(_, replies)| numbers(replies)).collect();
    assert_eq!(sent, [vec![1], vec![2], vec![3], vec![4], vec![5]], "a reply that is larger goes alone");
}
