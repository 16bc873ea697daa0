//! Credentials that expire, and are renewed in their file.

use std::time::{Duration, Instant};

use natter_tests::harness::{Accounts, DEADLINE, Session, Wire, World, data};
use serde_json::json;

use crate::ROLES;

/// Longer than it takes to start the roles on a busy machine.
const FIRST_TERM: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(3600);
/// More connections than the roles need in this test, and far fewer than without a pause between them.
const CONNECTIONS_MAX: u64 = 120;

#[tokio::test]
async fn roles_come_back_with_renewed_credentials_and_replicas_in_memory_keep_their_ratings() {
    let accounts = Accounts::new();
    let world = World::with_broker_configuration(ROLES, &accounts.configuration()).await;
    let (roles, ours) = (world.path("roles.creds"), world.path("ours.creds"));
    accounts.write_credentials(&ours, LONG);
    let client = async_nats::ConnectOptions::with_credentials_file(&ours).await.unwrap();
    let wire = Wire::over(client.connect(world.broker.url()).await.unwrap(), "ratings");

    accounts.write_credentials(&roles, FIRST_TERM);
    let database = data::write_small(world.directory());
    let credentials = ["--creds", roles.to_str().unwrap()];
    let plan = world.cluster("ratings").database(&database);
    let mut members = vec![
        plan.start_member("replica", "r1", &credentials),
        plan.start_member("replica", "r2", &credentials),
        plan.start_member("frontend", "f1", &credentials),
    ];
    let mut session = Session::new(&wire);
    let rating = json!({"user_id": 77, "movie_id": 1, "rating": 4.5});
    until_answered(&mut session, "create", &rating).await;

    for member in &members {
        member.until_logged("still no connection to the broker").await;
    }
    accounts.write_credentials(&roles, LONG);
    let renewed = Instant::now();
    let read = until_answered(&mut session, "read", &json!({"user_id": 77, "movie_id": 1})).await;
    assert_eq!(read["value"]["rating"], 4.5, "{read}");
    println!("served again {:?} after the credentials were renewed", renewed.elapsed());
    for member in &mut members {
        member.until_logged("connected to the broker again").await;
        assert!(member.is_running(), "{}", member.log_tail(20));
    }
    let connections = world.broker.connections_so_far().await;
    println!("{connections} connections");
    assert!(connections < CONNECTIONS_MAX, "{connections} connections of four that were expelled");
}

/// Asks until there is an answer.
async fn until_answered(session: &mut Session, operation: &str, map: &serde_json::Value) -> serde_json::Value {
    let begun = Instant::now();
    loop {
        match session.try_ask(operation, map.clone(), Duration::from_millis(500)).await {
            Ok(answer) if answer.refusal.is_none() => return answer.body,
            Ok(answer) if answer.error().0 == "409 RATING_EXISTS" => return answer.body, // an earlier attempt did it
            _ => assert!(begun.elapsed() < DEADLINE, "{operation} is not answered"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
