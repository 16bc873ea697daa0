//! Signals that a process ignores since its start stay ignored, as the shell and `nohup` mean it.

use natter_broker::signals::let_children_receive;
use natter_tests::harness::{Cluster, Encoding, World, data};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::signal::unix::SignalKind;

use crate::ROLES;

/// Shell lines that make a role ignore signals, and these signals.
const IGNORING: [(&str, &[Signal]); 3] = [
    ("set -- nohup \"$@\"", &[Signal::HUP]),
    // Setting by a shell without job control for `&`.
    ("trap '' INT QUIT", &[Signal::INT]),
    ("trap '' HUP INT", &[Signal::HUP, Signal::INT]),
];

fn send(cluster: &mut Cluster<'_>, name: &str, signal: Signal) {
    let id = cluster.member(name).process_id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    kill_process(id.unwrap(), signal).unwrap();
}

/// Returns the masks of signals that a process ignores, and of those that it has handlers for, as the system shows
/// them.
fn dispositions(cluster: &mut Cluster<'_>, name: &str) -> (u64, u64) {
    let id = cluster.member(name).process_id().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let mask = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    (mask("SigIgn:"), mask("SigCgt:"))
}

async fn answers(cluster: &Cluster<'_>) {
    for _ in 0..4 {
        let answer = cluster.wire.ask_in(Encoding::Json, "frontend.average", &json!({"movie_id": 1})).await.unwrap();
        assert!(answer.refusal.is_none(), "{answer:?}");
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn signals_ignored_at_the_start_stay_ignored_and_others_end_in_good_order() {
    for kind in [SignalKind::interrupt(), SignalKind::hangup()] {
        let_children_receive(kind).unwrap(); // however this test was started
    }
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let mut cluster = world.cluster("ratings").database(&database).empty().await;
    for (n, (prelude, _)) in IGNORING.iter().enumerate() {
        cluster.start_replica_after(prelude, &format!("r{n}"), &[]);
        cluster.start_frontend_after(prelude, &format!("f{n}"), &[]);
    }
    cluster.until_ready().await;
    for (n, (prelude, signals)) in IGNORING.iter().enumerate() {
        for name in [format!("r{n}"), format!("f{n}")] {
            let (ignored, handled) = dispositions(&mut cluster, &name);
            for signal in *signals {
                let bit = 1_u64 << (signal.as_raw() - 1);
                assert!(ignored & bit != 0 && handled & bit == 0, "{prelude}: {signal:?}: {ignored:x} {handled:x}");
                send(&mut cluster, &name, *signal);
            }
        }
    }
    // A process that handled a signal would be leaving by now.
    answers(&cluster).await;
    cluster.until_ready().await;
    cluster.assert_sound();
    // `nohup` and a script's `&` say nothing of the other signals.
    for (name, signal) in [("r0", Signal::INT), ("f0", Signal::INT), ("f1", Signal::HUP)] {
        cluster.member(name).expect_end();
        send(&mut cluster, name, signal);
        let ended = cluster.member(name).ended().await;
        assert_eq!(ended.code(), Some(0), "{name} ends with {ended}:\n{}", cluster.member(name).log_tail(20));
    }
    cluster.finish().await;
}

#[tokio::test]
async fn a_frontend_that_ends_while_a_request_waits_for_replicas_ends_in_good_order() {
    let world = World::new(ROLES).await;
    let database = data::write_small(world.directory());
    let plan = world.cluster("ratings").database(&database).frontend_arguments(&["-v"]);
    let mut cluster = plan.start(1, 2).await;
    cluster.pause_all_replicas();
    let wire = cluster.wire.clone();
    let rating = json!({"user_id": 77, "movie_id": 1, "rating": 4.5});
    let asked = tokio::spawn(async move { wire.ask_in(Encoding::MessagePack, "frontend.create", &rating).await });
    cluster.member("f1").until_logged("asks to accept").await;
    cluster.member("f1").expect_end();
    send(&mut cluster, "f1", Signal::TERM);
    let ended = cluster.member("f1").ended().await;
    assert_eq!(ended.code(), Some(0), "f1 ends with {ended}:\n{}", cluster.member("f1").log_tail(20));
    drop(asked.await);
    cluster.finish().await;
}
