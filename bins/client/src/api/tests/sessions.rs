//! Sessions that go on in later runs: in the cluster that they belong to, and in no other.

use std::cell::RefCell;
use std::path::Path;

use super::*;
use crate::state::{STATE_VARIABLE, SessionStore};

thread_local!(static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

/// A run of the program: at one of two addresses, by one of two users or by none.
fn run<'a>(
    frontend: &'a FakeFrontend,
    root: &Path,
    user: Option<u32>,
    server: &str,
    is_new: bool,
) -> Client<&'a FakeFrontend> {
    let environment = [(STATE_VARIABLE, root.as_os_str())].into_iter().collect();
    let user_id = user.map(|user| UserId::new(user).unwrap());
    let store = SessionStore::locate(&environment, &[server.to_owned()], "ratings", user_id).unwrap();
    let (memory, complaints) = Memory::open(store, is_new);
    assert!(complaints.is_empty(), "{complaints:?}");
    let notify = |line: &str| TOLD.with_borrow_mut(|told| told.push(line.to_owned()));
    Client::new(frontend, memory, Settings { notify, ..Settings::default() })
}

const HERE: &str = "nats://localhost:4222";
const THERE: &str = "nats://far:4222";

#[tokio::test(start_paused = true)]
async fn a_later_run_goes_on_at_whatever_address() {
    let root = tempfile::tempdir().unwrap();
    let frontend = FakeFrontend::default();
    frontend.serve("c1", &[]);
    run(&frontend, root.path(), Some(42), HERE, false).create(user(), movie(1), stars()).await.unwrap();
    let begun = frontend.asked().len();
    assert_eq!(begun, 1, "with nothing kept, there is nothing to look for");
    for server in ["nats://127.0.0.1:4222", THERE, THERE] {
        let mut client = run(&frontend, root.path(), Some(42), server, false);
        client.read(user(), movie(1)).await.unwrap();
        assert_eq!(client.label(), &label("r1", 1));
    }
    // At an address that it does not know, a run asks first who is there.
    assert_eq!(prevs(&frontend)[begun..], ["{r1:1}", "{}", "{r1:1}", "{r1:1}"]);
    let claims: Vec<_> = frontend.asked().iter().map(|(_, request)| request.cluster().cloned()).collect();
    assert_eq!(claims[1].as_ref().map(ClusterId::as_str), Some("c1"));
    assert_eq!(claims[2], None);
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_stale_at_once_and_only_a_new_session_of_that_user_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let frontend = FakeFrontend::default();
    frontend.serve("c1", &[]);
    for user in [42, 7] {
        let user_id = UserId::new(user).unwrap();
        run(&frontend, root.path(), Some(user), HERE, false).create(user_id, movie(1), stars()).await.unwrap();
    }
    let frontend = FakeFrontend::default();
    frontend.serve("c2", &[]);
    let begun = Instant::now();
    let error = run(&frontend, root.path(), Some(42), HERE, false).read(user(), movie(1)).await.unwrap_err();
    assert_eq!((error.name.clone(), error.attempts, begun.elapsed()), (ErrorName::Stale, 1, Duration::ZERO));
    assert!(error.text.starts_with("this session belongs to cluster c1, but cluster c2 serves the prefix"), "{error}");
    assert!(error.wants_new_session());
    // A new session is kept in its place.
    run(&frontend, root.path(), Some(42), HERE, true).create(user(), movie(1), stars()).await.unwrap();
    run(&frontend, root.path(), Some(42), HERE, false).read(user(), movie(1)).await.unwrap();
    // The other user's is as it was, and so is what was seen of the first cluster.
    let error = run(&frontend, root.path(), Some(7), HERE, false).read(user(), movie(1)).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Stale);
    let frontend = FakeFrontend::default();
    frontend.serve("c1", &[]);
    run(&frontend, root.path(), Some(42), THERE, false).read(user(), movie(1)).await.unwrap();
    assert_eq!(prevs(&frontend), ["{}", "{r1:1}"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_where_its_cluster_has_met_another_one() {
    let root = tempfile::tempdir().unwrap();
    let frontend = FakeFrontend::default();
    frontend.serve("c2", &[]);
    run(&frontend, root.path(), Some(42), HERE, false).create(user(), movie(1), stars()).await.unwrap();
    frontend.serve("c1", &["c2"]);
    for server in [HERE, THERE, HERE] {
        let mut client = run(&frontend, root.path(), Some(42), server, false);
        client.read(user(), movie(1)).await.unwrap();
        assert_eq!(client.label(), &label("r1", 1));
    }
    let claims: Vec<_> = frontend.asked().iter().filter_map(|(_, request)| request.cluster().cloned()).collect();
    assert_eq!(claims.iter().map(ClusterId::as_str).collect::<Vec<_>>(), ["c2", "c1", "c1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_session_of_a_user_fails_no_command_of_no_user() {
    let root = tempfile::tempdir().unwrap();
    let frontend = FakeFrontend::default();
    frontend.serve("c1", &[]);
    run(&frontend, root.path(), Some(42), HERE, false).create(user(), movie(1), stars()).await.unwrap();
    // The label of user 42 goes along, and is not added to the session of no particular user.
    run(&frontend, root.path(), None, HERE, false).average(movie(1)).await.unwrap();
    assert_eq!(prevs(&frontend).last().map(String::as_str), Some("{r1:1}"));
    assert_eq!(TOLD.take(), [""; 0]);
    // It is stale: told, and answered without it, at once.
    let frontend = FakeFrontend::with([STALE]);
    frontend.serve("c1", &[]);
    let begun = Instant::now();
    run(&frontend, root.path(), None, HERE, false).average(movie(1)).await.unwrap();
    assert_eq!((prevs(&frontend), begun.elapsed()), (vec!["{r1:1}".to_owned(), "{}".to_owned()], Duration::ZERO));
    assert!(TOLD.take()[0].starts_with("other sessions of this machine have seen more"));
    // So is one of a cluster that is gone.
    frontend.serve("c2", &[]);
    run(&frontend, root.path(), None, HERE, false).search("toy", 5).await.unwrap();
    assert_eq!(TOLD.take().len(), 1);
    run(&frontend, root.path(), None, HERE, false).search("toy", 5).await.unwrap();
    assert_eq!(TOLD.take().len(), 0);
}
