//! Notices of frontends and replicas: their loudness, their words, and which of them others can cause as often as they
//! like.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::sync::Arc;

use natter_common::clock::Stamp;
use natter_common::frontend;
use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
use natter_common::messages::{Mode, Status};
use natter_common::rating::Stars;
use natter_common::record::{Record, RecordRef};
use natter_common::replica_manager::{Loudness, Notice};
use natter_common::request::Update;
use natter_common::timestamp::Timestamp;
use natter_common::value::Digest;

fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

fn timestamp(entries: &[(&str, u64)]) -> Timestamp {
    entries.iter().map(|(origin, count)| (id(origin), *count)).collect()
}

fn record(request: Option<Update>) -> Arc<Record> {
    Arc::new(Record {
        id: UpdateId::from_stamp(Stamp::ZERO, 0),
        i: id("a"),
        seq: 3,
        prev: timestamp(&[("b", 2)]),
        request,
        retires: timestamp(&[("c", 5)]),
        stamp: Stamp::new(7, 1),
        copies: 2,
        deleted: None,
    })
}

fn create() -> Arc<Record> {
    let (user_id, movie_id) = (UserId::new(1).unwrap(), MovieId::new(2).unwrap());
    record(Some(Update::Create { user_id, movie_id, rating: Stars::from_half_stars(9).unwrap() }))
}

#[test]
fn what_a_replica_manager_tells_is_loud_in_its_measure_and_moderate_where_others_cause_it() {
    let end = "update_id=00000000-0000-7000-8000-000000000000 prev={b:2} stamp=7+1";
    let (peer, at) = (id("b"), timestamp(&[("a", 1)]));
    let missing = RecordRef { i: id("a"), seq: 4 };
    let applied = |stands| Notice::Applied { record: create(), stands, value_timestamp: timestamp(&[("a", 3)]) };
    for (notice, loudness, kind, text) in [
        (
            Notice::Accepted(create()),
            Loudness::Debug,
            None,
            format!("accepted a:3 CREATE user=1 movie=2 rating=4.5 {end}"),
        ),
        (Notice::Held(record(None)), Loudness::Debug, None, format!("holds a:3 RETIRE {{c:5}} {end}")),
        (applied(true), Loudness::Debug, None, "applied a:3 (stands) value_timestamp={a:3}".to_owned()),
        (
            applied(false),
            Loudness::Debug,
            None,
            "applied a:3 (a greater stamp stands) value_timestamp={a:3}".to_owned(),
        ),
        (Notice::Waiting { missing: missing.clone() }, Loudness::Debug, None, "a request waits for a:4".to_owned()),
        (Notice::Pulled { from: peer.clone() }, Loudness::Debug, None, "pulls records from b".to_owned()),
        (
            Notice::Status { status: Status::Active, mode: Mode::Measured },
            Loudness::Info,
            None,
            "is ACTIVE (mode measured)".to_owned(),
        ),
        (
            Notice::CaughtUp { target: at.clone() },
            Loudness::Info,
            None,
            "has caught up with {a:1} and serves".to_owned(),
        ),
        (Notice::PeerJoined(peer.clone()), Loudness::Info, Some("replicas that came"), "replica b is there".to_owned()),
        (Notice::PeerGone(peer.clone()), Loudness::Info, Some("replicas that went"), "replica b is gone".to_owned()),
        (
            Notice::ForeignDataset { peer: peer.clone(), dataset: "x".to_owned() },
            Loudness::Warning,
            Some("replicas with another data set"),
            "replica b started from another data set (x) and is ignored".to_owned(),
        ),
        (
            Notice::Dropped { record: missing, reason: "why", count: 2 },
            Loudness::Warning,
            Some("dropped records"),
            "dropped a:4 (2 of its message): why".to_owned(),
        ),
        (Notice::SnapshotBegins { from: peer.clone() }, Loudness::Info, None, "loads the snapshot of b".to_owned()),
        (
            Notice::SnapshotProgress { rows: 1, of: 2 },
            Loudness::Info,
            None,
            "has 1 of about 2 rows of the snapshot".to_owned(),
        ),
        (
            Notice::SnapshotBroken { from: peer.clone(), reason: "why".to_owned() },
            Loudness::Info,
            None,
            "begins the snapshot anew: b says: why".to_owned(),
        ),
        (
            Notice::SnapshotLoaded { rows: 5, value_timestamp: at.clone() },
            Loudness::Info,
            None,
            "has loaded a snapshot of 5 rows at {a:1}".to_owned(),
        ),
        (Notice::Retired { id: peer.clone(), count: 5 }, Loudness::Info, None, "replica b is gone for good".to_owned()),
        (
            Notice::Lost { origin: peer.clone(), after: 2, until: 5 },
            Loudness::Error,
            None,
            "LOST records b:3 to b:5: b is gone".to_owned(),
        ),
        (
            Notice::ClaimedLost { origin: peer.clone(), after: 2, until: 5 },
            Loudness::Error,
            Some("lost records that sessions name"),
            "LOST records b:3 to b:5, which a session says".to_owned(),
        ),
        (
            Notice::Diverged { peer, value_timestamp: at, ours: Digest(1), theirs: Digest(2) },
            Loudness::Error,
            Some("replicas that diverged"),
            "DIVERGED from replica b: both have applied {a:1}, but the digest here is 0000000000000001".to_owned(),
        ),
    ] {
        assert_eq!((notice.loudness(), notice.kind_caused_by_others()), (loudness, kind), "{notice}");
        assert!(notice.to_string().starts_with(&text), "{notice}");
    }
}

#[test]
fn a_frontend_warns_of_its_clock_and_tells_of_single_requests_only_who_follows_them() {
    use frontend::Notice;
    let update = UpdateId::from_stamp(Stamp::ZERO, 0);
    for (notice, is_warning, is_detail, kind, text) in [
        (Notice::ReplicaJoined(id("a")), false, false, Some("replicas that came"), "replica a is there"),
        (Notice::ReplicaGone(id("a")), false, false, Some("replicas that went"), "replica a is gone"),
        (Notice::Retried { silent: id("a") }, false, true, None, "replica a is silent"),
        (Notice::ClockAhead { ahead_ms: 7 }, true, false, None, "the clock here is 7 ms ahead"),
        (Notice::StampedAgain(update), false, true, None, "update 00000000-0000-7000"),
    ] {
        assert_eq!((notice.is_warning(), notice.is_detail()), (is_warning, is_detail), "{notice}");
        assert_eq!(notice.kind_caused_by_others(), kind, "{notice}");
        assert!(notice.to_string().starts_with(text), "{notice}");
    }
}
