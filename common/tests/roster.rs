//! Members of a roster: which are present, gone, dead and forgotten.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use natter_common::clock::Now;
use natter_common::ids::ReplicaId;
use natter_common::messages::Replicas;
use natter_common::presence::{Presence, Status};
use natter_common::roster::{Change, LOST_AFTER_MS, MEMBERS_MAX, PRESENCE_INTERVAL_MS, Roster};

const FORGET_AFTER_MS: u64 = 60_000;

fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

fn presence(name: &str, status: Status, durable: bool) -> Presence {
    Presence { status, ..Presence::of_the_past(id(name), durable) }
}

fn in_memory(name: &str) -> Presence {
    presence(name, Status::Active, false)
}

/// Lets time pass as a process does that is never paused.
fn pass(roster: &mut Roster, from_ms: u64, until_ms: u64) -> Vec<String> {
    let ticks = (from_ms..=until_ms).step_by(100);
    ticks.flat_map(|now_ms| roster.tick(now_ms, true)).map(|id| id.to_string()).collect()
}

fn names<'a>(members: impl Iterator<Item = (&'a ReplicaId, &'a natter_common::roster::Member)>) -> Vec<&'a str> {
    members.map(|(id, _)| id.as_str()).collect()
}

#[test]
fn presence_says_what_changed() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    let mut heard = |status| roster.heard(presence("a", status, true), 0);
    assert_eq!(heard(Status::Left), Change::None, "who was never there cannot leave");
    assert_eq!(heard(Status::Joining), Change::Joined);
    assert_eq!(heard(Status::Joining), Change::None);
    assert_eq!(heard(Status::Active), Change::Status);
    assert_eq!(heard(Status::Left), Change::Left);
    assert_eq!(heard(Status::Left), Change::None);
    assert_eq!(heard(Status::Active), Change::Joined);
}

#[test]
fn who_serves_is_up_and_who_is_there_is_present() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    for (name, status) in [
        ("a", Status::Active),
        ("b", Status::Overloaded),
        ("c", Status::Offline),
        ("d", Status::Joining),
        ("e", Status::Active),
    ] {
        roster.heard(presence(name, status, false), 0);
    }
    roster.heard(presence("e", Status::Left, false), 0);
    assert_eq!(names(roster.up()), ["a", "b"]);
    assert_eq!(names(roster.present()), ["a", "b", "c", "d"]);
    assert_eq!(names(roster.all()), ["a", "b", "c", "d", "e"]);
    roster.unreachable(&id("a"));
    assert_eq!(names(roster.up()), ["b"]);
    let a = roster.get(&id("a")).unwrap();
    assert!(!a.has_ended() && !a.is_present() && !a.is_up(), "its connection may be back soon");
    pass(&mut roster, 100, LOST_AFTER_MS);
    assert!(roster.get(&id("a")).unwrap().has_ended(), "nobody listened there for long");
    roster.heard(in_memory("a"), LOST_AFTER_MS);
    let a = roster.get(&id("a")).unwrap();
    assert!(!a.has_ended() && a.is_present() && a.is_up());
    assert!(roster.get(&id("x")).is_none());
}

#[test]
fn who_kept_all_in_memory_has_died_when_it_left_or_could_not_be_reached_for_long() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    let mut has_died = |name: &str, status, durable, unreachable: bool| {
        roster.heard(presence(name, Status::Active, durable), 0);
        roster.heard(presence(name, status, durable), 0);
        if unreachable {
            roster.unreachable(&id(name));
            assert_eq!(roster.get(&id(name)).unwrap().has_died(), status == Status::Left && !durable);
            pass(&mut roster, 100, LOST_AFTER_MS);
        }
        roster.get(&id(name)).unwrap().has_died()
    };
    assert!(!has_died("a", Status::Active, false, false));
    assert!(has_died("b", Status::Left, false, false));
    assert!(has_died("c", Status::Active, false, true));
    assert!(!has_died("d", Status::Left, true, false) && !has_died("e", Status::Active, true, true));
}

#[test]
fn nobody_is_counted_as_dead_for_the_time_in_which_this_process_was_cut_off() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    roster.heard(in_memory("a"), 0);
    roster.unreachable(&id("a"));
    roster.disconnected();
    roster.connected(2 * LOST_AFTER_MS);
    roster.tick(2 * LOST_AFTER_MS + 100, true);
    assert!(!roster.get(&id("a")).unwrap().has_died(), "it may have been back meanwhile");
    pass(&mut roster, 2 * LOST_AFTER_MS + 200, 3 * LOST_AFTER_MS);
    assert!(roster.get(&id("a")).unwrap().has_died());
}

#[test]
fn what_a_member_has_applied_is_what_it_showed_last() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    roster.heard(in_memory("a"), 0);
    assert!(roster.get(&id("a")).unwrap().value_timestamp().is_none());
    let shown = Replicas { replicas: [(id("x"), 3)].into_iter().collect() };
    roster.heard(Presence { value_timestamp: Some(shown.clone()), ..in_memory("a") }, 0);
    assert_eq!(roster.get(&id("a")).unwrap().value_timestamp(), Some(&shown.replicas));
}

#[test]
fn offline_is_there_but_was_not_heard() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    roster.heard(in_memory("a"), 100);
    roster.heard(presence("a", Status::Offline, false), 700);
    let member = roster.get(&id("a")).unwrap();
    assert_eq!((member.seen_ms, member.heard_ms), (700, 100));
    roster.heard(in_memory("a"), 900);
    let member = roster.get(&id("a")).unwrap();
    assert_eq!((member.seen_ms, member.heard_ms), (900, 900));
}

#[test]
fn a_pause_is_longer_than_a_presence_interval() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    roster.heard(in_memory("a"), 0);
    for now_ms in [500, 1000, 1500] {
        assert_eq!(roster.tick(now_ms, true), []);
    }
    assert_eq!(roster.tick(1500 + PRESENCE_INTERVAL_MS, true), [id("a")], "no pause");
    roster.heard(in_memory("a"), 2000);
    pass(&mut roster, 2100, 3500);
    assert_eq!(roster.tick(3501 + PRESENCE_INTERVAL_MS, true), [], "a pause");
    assert_eq!(pass(&mut roster, 4100, 5501), NOBODY);
    assert_eq!(pass(&mut roster, 5502, 5502), ["a"]);
}

const NOBODY: [&str; 0] = [];

#[test]
fn who_could_not_listen_for_long_takes_nobodys_silence_for_an_end() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    roster.heard(in_memory("a"), 0);
    assert!(pass(&mut roster, 0, 1000).is_empty());
    // Too much to read: time passes, and what came is not heard.
    for now_ms in (1100..3000).step_by(100) {
        assert!(roster.tick(now_ms, false).is_empty());
    }
    assert!(roster.tick(3000, true).is_empty(), "it may have shown itself meanwhile");
    assert!(pass(&mut roster, 3100, 4500).is_empty());
    assert_eq!(pass(&mut roster, 4600, 4700), ["a"], "silent for three intervals, while listened to");
}

#[test]
fn the_dead_are_those_nobody_can_bring_back() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    roster.heard(in_memory("a"), 0);
    roster.heard(in_memory("b"), 0);
    assert!(!roster.may_somebody_return(0) && roster.dead(0).is_empty());
    roster.unreachable(&id("a"));
    // It may come back, for a while.
    assert!(roster.may_somebody_return(LOST_AFTER_MS - 1) && roster.dead(LOST_AFTER_MS - 1).is_empty());
    assert!(!roster.may_somebody_return(LOST_AFTER_MS));
    assert_eq!(roster.dead(LOST_AFTER_MS), [id("a")]);
    // While somebody else may bring what it had, it counts not as dead.
    roster.heard(presence("b", Status::Offline, false), 0);
    assert!(roster.may_somebody_return(LOST_AFTER_MS) && roster.dead(LOST_AFTER_MS).is_empty());
    roster.heard(in_memory("b"), 0);
    roster.heard(presence("c", Status::Active, true), 0);
    assert_eq!(roster.dead(LOST_AFTER_MS), [id("a")]);
    roster.unreachable(&id("c"));
    assert!(roster.may_somebody_return(10 * LOST_AFTER_MS), "who is durable is waited for");
}

#[test]
fn who_is_gone_for_long_is_awaited_no_more_and_later_forgotten() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    roster.heard(in_memory("a"), 0);
    assert!(!roster.is_forgotten(&id("a"), 10 * FORGET_AFTER_MS), "it is there");
    assert!(roster.is_forgotten(&id("x"), 0), "nobody knows it");
    roster.unreachable(&id("a"));
    assert!(!roster.is_forgotten(&id("a"), FORGET_AFTER_MS) && roster.is_forgotten(&id("a"), FORGET_AFTER_MS + 1));
    pass(&mut roster, 100, FORGET_AFTER_MS);
    assert!(roster.get(&id("a")).is_some());
    pass(&mut roster, FORGET_AFTER_MS + 100, FORGET_AFTER_MS + 100);
    assert!(roster.get(&id("a")).is_none());
}

#[test]
fn what_the_dead_had_may_yet_have_to_be_given_up_before_they_are_forgotten() {
    let mut roster = Roster::new(1_000, 0);
    roster.heard(in_memory("a"), 0);
    roster.unreachable(&id("a"));
    pass(&mut roster, 100, 2 * LOST_AFTER_MS);
    assert!(roster.get(&id("a")).is_some());
    pass(&mut roster, 2 * LOST_AFTER_MS + 100, 2 * LOST_AFTER_MS + 100);
    assert!(roster.get(&id("a")).is_none());
}

#[test]
fn one_whose_later_life_is_there_is_not_awaited_but_while_it_shows_itself() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    roster.heard(presence("a", Status::Active, true), 0);
    assert!(!roster.supersede(&id("a"), &id("b"), PRESENCE_INTERVAL_MS), "it may run: the other one has a copy");
    assert!(roster.supersede(&id("a"), &id("b"), 2 * PRESENCE_INTERVAL_MS), "it is silent");
    assert!(!roster.supersede(&id("a"), &id("b"), 2 * PRESENCE_INTERVAL_MS), "no news");
    let member = roster.get(&id("a")).unwrap();
    assert!(!member.is_present() && member.is_superseded() && member.has_died());
    assert!(!roster.may_somebody_return(0) && roster.is_forgotten(&id("a"), 0));
    roster.heard(presence("a", Status::Active, true), 3 * PRESENCE_INTERVAL_MS);
    assert!(!roster.get(&id("a")).unwrap().is_superseded(), "it shows itself after all");
}

#[test]
fn those_of_an_earlier_life_are_awaited_and_not_there() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    roster.heard(in_memory("a"), 0);
    let now = Now { monotonic_ms: 0, wall_ms: 1_000_000_000 };
    roster.remember(id("a"), true, now.wall_ms, now);
    roster.remember(id("b"), true, now.wall_ms, now);
    roster.remember(id("c"), true, now.wall_ms - FORGET_AFTER_MS - 1, now);
    assert_eq!((names(roster.present()), names(roster.all())), (vec!["a"], vec!["a", "b"]));
    assert_eq!(roster.get(&id("a")).unwrap().presence.durable, Some(false), "what it shows itself counts");
    assert!(roster.may_somebody_return(0));
    assert_eq!(roster.heard(presence("b", Status::Active, true), 5), Change::Joined);
}

#[test]
fn a_replica_that_runs_on_beside_a_copy_of_its_directory_is_a_holder_again() {
    let by = id("copy");
    let original = id("a");
    // As its presence comes, at which time it would have run for so long.
    for uptime_of in [|at_ms: u64| 5_000 + at_ms, |_| 0] {
        let mut roster = Roster::new(10_000, 0);
        let shows = |roster: &mut Roster, uptime_ms, at_ms| {
            let presence = Presence { uptime_ms, ..in_memory("a") };
            roster.heard(presence, at_ms);
            roster.get(&original).unwrap().is_holder()
        };
        assert!(shows(&mut roster, uptime_of(0), 0));
        assert!(!roster.supersede(&original, &by, 200));
        assert!(!roster.get(&original).unwrap().is_holder(), "the two may be one");
        // A message that was under way at its end proves nothing, however late it comes.
        assert!(!shows(&mut roster, uptime_of(500), 500));
        assert!(!roster.supersede(&original, &by, 700));
        assert!(shows(&mut roster, uptime_of(1_000), 1_000), "it ran when the copy was there");
        for at_ms in (1_200..9_000).step_by(500) {
            assert!(
                !roster.supersede(&original, &by, at_ms),
                "a copy that it outlived is no later life, even in silence"
            );
            assert!(roster.get(&original).unwrap().is_holder());
        }
        // A later life of its own is.
        assert!(roster.supersede(&original, &id("later"), 9_000));
        assert!(!roster.get(&original).unwrap().is_holder());
    }
}

#[test]
fn somebody_new_takes_the_place_of_one_that_is_gone_and_held_nothing() {
    let mut roster = Roster::new(FORGET_AFTER_MS, 0);
    for n in 0..MEMBERS_MAX {
        assert_eq!(roster.heard(in_memory(&format!("m{n:03}")), n as u64), Change::Joined);
    }
    assert_eq!(roster.heard(in_memory("new"), 500), Change::Refused, "all are there");
    let held = |name: &str| Presence {
        replica_timestamp: Some(Replicas { replicas: [(id("x"), 1)].into_iter().collect() }),
        ..in_memory(name)
    };
    // Gone: one that held something, and two that did not.
    roster.heard(held("m001"), 1);
    for gone in ["m001", "m005", "m003"] {
        roster.unreachable(&id(gone));
    }
    for (new, evicted) in [("new1", "m003"), ("new2", "m005"), ("new3", "m001")] {
        assert_eq!(roster.heard(in_memory(new), 500), Change::Joined);
        assert!(roster.get(&id(evicted)).is_none(), "{evicted}");
    }
    assert_eq!(roster.heard(in_memory("new4"), 500), Change::Refused);
    let implausible = Presence { version: "v".repeat(1000), ..in_memory("m002") };
    assert_eq!(roster.heard(implausible, 500), Change::Refused);
}
