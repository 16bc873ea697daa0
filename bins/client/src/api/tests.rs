use super::*;
use crate::fake::{FakeFrontend, Mishap, client};
use natter_common::clock::Stamp;
use natter_common::ids::ReplicaId;

use crate::transport::TransportError;

mod sessions;

const TIMEOUT: Mishap = Mishap::Error(504, "TIMEOUT: no answer within 2000 ms: retry it with the same id");
const STALE: Mishap = Mishap::Error(504, "STALE: within 2000 ms no reachable replica held all: try again");

fn user() -> UserId {
    UserId::new(42).unwrap()
}

fn movie(number: u32) -> MovieId {
    MovieId::new(number).unwrap()
}

fn stars() -> Stars {
    Stars::try_from(4.5).unwrap()
}

fn label(replica: &str, count: u64) -> Label {
    Label { replicas: [(ReplicaId::new(replica).unwrap(), count)].into_iter().collect(), clock: Stamp(count) }
}

fn prevs(frontend: &FakeFrontend) -> Vec<String> {
    frontend.asked().iter().map(|(_, request)| request.prev().to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_request_carries_what_the_session_has_seen() {
    let frontend = FakeFrontend::default();
    let mut client = client(&frontend);
    client.create(user(), movie(1), stars()).await.unwrap();
    client.create(user(), movie(1), stars()).await.unwrap_err();
    client.delete(user(), movie(1)).await.unwrap();
    client.read(user(), movie(1)).await.unwrap();
    assert_eq!(prevs(&frontend), ["{}", "{r1:1}", "{r1:1}", "{r1:2}"]);
    let stamps: Vec<_> = frontend.ids().iter().map(|id| id.stamp().unwrap()).collect();
    assert!(stamps.is_sorted() && stamps[0] < stamps[1], "{stamps:?}");
}

#[tokio::test(start_paused = true)]
async fn an_update_is_retried_under_its_id_and_done_once() {
    let frontend = FakeFrontend::with([Mishap::Lost { executed: true }, TIMEOUT, Mishap::NoFrontend]);
    let mut client = client(&frontend);
    let reply = client.create(user(), movie(1), stars()).await.unwrap();
    let ids = frontend.ids();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| Some(*id) == reply.value.update_id), "{ids:?}");
    assert_eq!(client.label(), &label("r1", 1));
    assert_eq!(client.pending(), None);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_the_doubt_is_told() {
    let frontend = FakeFrontend::with((0..100).map(|_| Mishap::Lost { executed: false }));
    let mut client = client(&frontend);
    let begun = Instant::now();
    let error = client.create(user(), movie(1), stars()).await.unwrap_err();
    assert_eq!(error.name, ErrorName::NoAnswer);
    assert_eq!(error.doubtful, frontend.ids().first().copied());
    assert!(begun.elapsed() <= Settings::PATIENCE_DEFAULT, "{:?}", begun.elapsed());
    assert_eq!(error.attempts, 4);
    assert!(error.to_string().contains("may still take effect"), "{error}");
    let error = client.read(user(), movie(1)).await.unwrap_err();
    assert_eq!(error.doubtful, None);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_outlives_the_reason_that_follows_it() {
    let gone = (0..100).map(|_| Mishap::Error(503, "UNAVAILABLE: all are gone"));
    let frontend = FakeFrontend::with(std::iter::once(TIMEOUT).chain(gone));
    let error = client(&frontend).create(user(), movie(1), stars()).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Unavailable);
    assert_eq!(error.doubtful, frontend.ids().first().copied());
    // Refused at last, and still in doubt.
    let frontend = FakeFrontend::with([TIMEOUT, Mishap::Error(409, "RATING_EXISTS: x")]);
    let error = client(&frontend).create(user(), movie(1), stars()).await.unwrap_err();
    assert!(error.name == ErrorName::RatingExists && error.doubtful.is_some(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reason_is_not_hidden_by_a_last_attempt_that_was_cut_short() {
    for (header, name) in [
        ("STALE: x", ErrorName::Stale),
        ("TIMEOUT: x", ErrorName::Timeout),
        ("UNAVAILABLE: all replicas are OFFLINE", ErrorName::Unavailable),
        ("OVERLOADED: x", ErrorName::Overloaded),
        ("NOT_ENOUGH_REPLICAS: x", ErrorName::NotEnoughReplicas),
    ] {
        let frontend = FakeFrontend::with(
            std::iter::once(Mishap::Error(503, header)).chain((0..100).map(|_| Mishap::Lost { executed: false })),
        );
        let error = client(&frontend).create(user(), movie(1), stars()).await.unwrap_err();
        assert_eq!(error.name, name);
        assert!(error.doubtful.is_some() && error.attempts > 2, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_told_at_once_and_waited_for() {
    thread_local!(static TOLD: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) });
    let notify = |line: &str| TOLD.with_borrow_mut(|told| told.push(line.to_owned()));
    let absent = [Mishap::NoFrontend, Mishap::NoFrontend, Mishap::Error(503, "UNAVAILABLE: all replicas are OFFLINE")];
    let frontend = FakeFrontend::with(absent);
    let settings = Settings { notify, ..Settings::default() };
    let mut client = Client::new(&frontend, Memory::unkept(), settings);
    client.create(user(), movie(1), stars()).await.unwrap();
    let told = TOLD.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("no frontend serves the prefix \"ratings\" at nats://fake:4222: none runs there"),
        "{told:?}"
    );
    assert_eq!(told[1], "all replicas are OFFLINE (UNAVAILABLE): trying again");
}

#[tokio::test(start_paused = true)]
async fn without_patience_there_is_one_attempt_and_its_reason() {
    for (mishap, name, doubt) in [
        (Mishap::Error(503, "UNAVAILABLE: x"), ErrorName::Unavailable, false),
        (Mishap::NoFrontend, ErrorName::NoFrontend, false),
        (TIMEOUT, ErrorName::Timeout, true),
        (Mishap::Lost { executed: false }, ErrorName::NoAnswer, true),
    ] {
        let frontend = FakeFrontend::with([mishap]);
        let settings = Settings { patience: Duration::ZERO, ..Settings::default() };
        let mut client = Client::new(&frontend, Memory::unkept(), settings);
        let error = client.create(user(), movie(1), stars()).await.unwrap_err();
        assert_eq!((&error.name, error.attempts, error.doubtful.is_some()), (&name, 1, doubt));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waiting_cannot_mend_ends_at_once() {
    for (mishap, why) in [
        (Mishap::Error(400, "BAD_REQUEST: rating: no"), "rating: no (BAD_REQUEST)"),
        (Mishap::Error(409, "RATING_EXISTS: it is there"), "it is there (RATING_EXISTS)"),
        (Mishap::Error(404, "MOVIE_NOT_FOUND: no movie 1"), "no movie 1 (MOVIE_NOT_FOUND)"),
        (Mishap::TooLarge, "the request is larger than the broker allows (TOO_LARGE)"),
    ] {
        let frontend = FakeFrontend::with([mishap]);
        let begun = Instant::now();
        let error = client(&frontend).create(user(), movie(1), stars()).await.unwrap_err();
        assert_eq!(error.to_string(), why);
        assert_eq!((begun.elapsed(), error.attempts, error.doubtful), (Duration::ZERO, 1, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_passing_staleness_is_waited_out() {
    let frontend = FakeFrontend::default();
    let mut client = client(&frontend);
    client.create(user(), movie(1), stars()).await.unwrap();
    let frontend = FakeFrontend::with([STALE]);
    (&frontend).request(Operation::Create, create_payload(), Duration::ZERO).await.unwrap(); // takes the mishap
    (&frontend).request(Operation::Create, create_payload(), Duration::ZERO).await.unwrap();
    let mut client = client_with(&frontend, &label("r1", 1));
    assert_eq!(client.read(user(), movie(1)).await.unwrap().value.rating, Some(stars()));
}

#[tokio::test(start_paused = true)]
async fn retired_replicas_leave_the_label_after_updates_as_after_reads() {
    let mut frontend = FakeFrontend::default();
    frontend.retired = label("old", 3).replicas;
    for is_update in [true, false] {
        let mut seen = label("old", 3);
        seen.replicas.set(&ReplicaId::new("other").unwrap(), 1);
        let mut client = client_with(&frontend, &seen);
        if is_update {
            client.create(user(), movie(1), stars()).await.unwrap();
        } else {
            client.read(user(), movie(1)).await.unwrap();
        }
        let ids: Vec<&str> = client.label().replicas.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["other", "r1"]);
    }
}

fn client_with<'a>(frontend: &'a FakeFrontend, label: &Label) -> Client<&'a FakeFrontend> {
    let mut memory = Memory::unkept();
    memory.learn(label, &Timestamp::new(), None).unwrap();
    Client::new(frontend, memory, Settings::default())
}

fn create_payload() -> Bytes {
    let id = UpdateId::from_stamp(Stamp::new(1, 0), 7);
    let update = Update::Create { user_id: user(), movie_id: movie(1), rating: stars() };
    Question::Update(update, id).encode(&Label::new(), None).unwrap().into()
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_cluster_cannot_know_is_told_so_and_does_not_loop() {
    let frontend = FakeFrontend::with([STALE]);
    let mut client = client_with(&frontend, &label("gone", 9));
    let error = client.read(user(), movie(1)).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Stale);
    assert!(error.text.contains("{gone:9}") && error.text.contains("was the cluster started anew"), "{error}");
    assert!(error.wants_new_session());
    let operations: Vec<_> = frontend.asked().into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(operations, [Operation::Read, Operation::All], "one request and one look without `prev`");
    assert_eq!(prevs(&frontend), ["{gone:9}", "{}"]);
    client.start_new_session();
    assert!(client.read(user(), movie(1)).await.is_ok());
}

#[test]
fn an_answer_without_what_other_sessions_have_seen_says_why() {
    let [ours, theirs] = ["aaa", "bbb"].map(|id| ClusterId::new(id).unwrap());
    let told = left_out(Some(&ours), Some(&theirs));
    assert!(told.contains("belong to cluster aaa, but cluster bbb answers"), "{told}");
    for (ours, theirs) in [(Some(&ours), Some(&ours)), (Some(&ours), None), (None, Some(&theirs))] {
        assert!(left_out(ours, theirs).starts_with("other sessions of this machine have seen more"));
    }
}

#[tokio::test(start_paused = true)]
async fn overload_is_given_time() {
    let frontend = FakeFrontend::with((0..3).map(|_| Mishap::Error(503, "OVERLOADED: later")));
    let begun = Instant::now();
    client(&frontend).read(user(), movie(1)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(350) && begun.elapsed() <= Duration::from_millis(700));
}

#[tokio::test(start_paused = true)]
async fn all_ratings_come_by_pages() {
    let frontend = FakeFrontend::default();
    frontend.rate_many(42, 2_500);
    let mut client = client(&frontend);
    for (limit, after, count, next, pages) in
        [(None, 0, 2_500, None, 3), (Some(1_500), 0, 1_500, Some(1_500), 2), (Some(3), 2_490, 3, Some(2_493), 1)]
    {
        let before = frontend.asked().len();
        let reply = client.all(user(), limit, after).await.unwrap();
        assert_eq!(reply.value.ratings.len(), count);
        assert!(reply.value.ratings.is_sorted_by_key(|rating| rating.movie_id));
        assert_eq!((reply.value.total, reply.value.next.map(MovieId::get)), (2_500, next));
        assert_eq!(frontend.asked().len() - before, pages);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_leaves_an_update_in_doubt() {
    struct Garbage;
    impl Transport for Garbage {
        async fn request(
            &self,
            _: Operation,
            _: Bytes,
            _: Duration,
        ) -> Result<crate::transport::Response, TransportError> {
            Ok(crate::transport::Response { body: Bytes::from_static(b"\xdd\xff\xff\xff\xff"), ..Default::default() })
        }

        fn place(&self) -> String {
            String::new()
        }
    }
    let mut client = Client::new(Garbage, Memory::unkept(), Settings::default());
    let error = client.create(user(), movie(1), stars()).await.unwrap_err();
    assert_eq!(error.name, ErrorName::BadReply);
    assert!(error.doubtful.is_some());
}
