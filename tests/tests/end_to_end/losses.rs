//! An acknowledged update whose only holder dies: more losses than the fault tolerance covers, and every role tells of
//! it.

use std::process::Output;
use std::time::{Duration, Instant};

use natter_tests::harness::{Cluster, DEADLINE, Encoding, World};
use serde_json::{Value, json};

use crate::ROLES;

fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the header `Natter-Lost` of the answer to a read with this label, once there is an answer.
async fn lost_header(cluster: &Cluster<'_>, label: &Value) -> Option<String> {
    let started = Instant::now();
    loop {
        let read = json!({"user_id": 7, "movie_id": 2, "prev": label});
        let payload = Encoding::MessagePack.encode(&read);
        let reply = cluster.wire.client().request(cluster.wire.subject("frontend.read"), payload.into()).await.unwrap();
        let header = |name: &str| reply.headers.as_ref().and_then(|headers| headers.get(name)).map(ToString::to_string);
        match header("Nats-Service-Error") {
            None => return header("Natter-Lost"),
            Some(error) => assert!(error.starts_with("STALE") && started.elapsed() < DEADLINE, "{error}"),
        }
    }
}

#[tokio::test]
async fn an_acknowledged_update_that_is_lost_is_told_by_logs_status_header_and_client() {
    let world = World::new(ROLES).await;
    let mut cluster = world.small_cluster(1, 2).await;
    assert!(world.run("client", &["7", "create", "1", "5"]).await.status.success());
    // The update is acknowledged by one replica alone, as the other one is OFFLINE, and dies with it.
    let (r1, r2) = (cluster.id_of("r1").await, cluster.id_of("r2").await);
    cluster.set_mode(&r2, Some("offline"), Encoding::Json).await;
    cluster.until_shows("r2", "OFFLINE").await;
    let created = object(&world.run("client", &["7", "create", "2", "4", "--json"]).await);
    assert_eq!(created["replicas"], json!([r1]), "{created}");
    let label = created["label"].clone();
    cluster.member("r1").kill().await;
    cluster.set_mode(&r2, Some("measured"), Encoding::Json).await;

    // STALE as long as the replica may come back, and then without the update: the client says so, once.
    let began = Instant::now();
    let read = loop {
        let read = world.run("client", &["7", "read", "2", "--json"]).await;
        if read.status.success() {
            break read;
        }
        let error = object(&read);
        assert_eq!((read.status.code(), &error["name"]), (Some(6), &json!("STALE")), "{read:?}");
        assert!(began.elapsed() < DEADLINE, "{read:?}");
    };
    println!("answered without the lost update after {:?}: {}", began.elapsed(), told(&read));
    assert_eq!(object(&read)["value"]["rating"], Value::Null);
    assert!(told(&read).contains("are lost") && told(&read).contains(&format!("{r1}:")), "{read:?}");
    let kept = object(&world.run("client", &["7", "read", "1", "--json"]).await);
    assert_eq!(kept["value"]["rating"], 5.0, "what two replicas held is there");

    // The log of the frontend and of the replica, and the replica's status.
    cluster.member("f1").until_logged("LOST").await;
    cluster.member("r2").until_logged("LOST").await;
    let status = cluster.set_mode(&r2, None, Encoding::Json).await;
    assert_eq!(status["lost"], 1, "{status}\n{}", cluster.member("r2").log_tail(10));
    // Each answer to a session that names the update has the header, also from a frontend that was started later.
    let header = lost_header(&cluster, &label).await;
    assert_eq!(header.as_deref(), label_entry(&label, &r1).as_deref());
    cluster.start_frontend("f2", &[]);
    cluster.until_shows("f2", "ACTIVE").await;
    cluster.member("f1").terminate();
    cluster.member("f1").ended().await;
    let header = lost_header(&cluster, &label).await;
    assert_eq!(header.as_deref(), label_entry(&label, &r1).as_deref());
    // The client has left the update out of the session: it waits for nothing, says nothing more, and goes on.
    let began = Instant::now();
    let again = world.run("client", &["7", "read", "2", "--json"]).await;
    assert!(again.status.success() && told(&again).is_empty(), "{again:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(world.run("client", &["7", "create", "2", "3"]).await.status.success());
    cluster.finish().await;
}

fn label_entry(label: &Value, id: &str) -> Option<String> {
    Some(format!("{id}:{}", label["replicas"][id].as_u64()?))
}
