//! Transcripts: executions that break a careless design, each as a text that reads as a worked example. The language of
//! their commands is in `natter_simulation::simulation::transcript`.
//!
//! After a deliberate change, `TRANSCRIPTS=write cargo test -p natter-simulation --test transcripts` writes what is
//! observed now into the files below `tests/transcripts/`: read the difference before you keep it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::path::Path;

use natter_simulation::simulation::transcript::perform;

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(format!("{name}.txt"));
    let expected = std::fs::read_to_string(&path).unwrap();
    let observed = perform(expected.trim());
    if std::env::var("TRANSCRIPTS").is_ok_and(|value| value == "write") {
        std::fs::write(&path, &observed).unwrap();
    } else if observed != expected {
        let line = observed.lines().zip(expected.lines()).take_while(|(now, then)| now == then).count();
        panic!("{name}.txt differs from line {}; now it would be:\n\n{observed}", line + 1);
    }
    assert!(!observed.contains("BROKEN"), "an invariant was broken in {name}:\n\n{observed}");
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*
    };
}

transcripts! {
    a_lost_update_is_told_when_another_frontend_asks
    labels_shrink_after_updates_too
    a_partial_partition_loses_nothing
    a_copied_directory_converges_with_no_write_lost
    a_former_id_holds_nothing_up
    a_replica_returns_from_its_disk
    a_replica_that_answers_clients_shows_nothing_before_its_commit
    a_replica_that_answers_clients_dies_with_its_frontend
    a_read_during_a_commit_sees_what_is_on_disk
    a_commit_that_ends_tells_all_that_waited_for_it
    an_acceptor_dies_whose_gossip_is_lost
    case_01_a_label_names_one_record_that_enough_hold
    case_02_a_refusal_rests_on_what_is_held_and_brings_its_label
    case_03_a_retry_keeps_its_stamp
    case_04_a_retry_through_another_frontend_has_the_same_stamp
    case_05_a_joiner_does_not_wait_for_a_ghost
    case_06_the_clock_of_a_label_covers_earlier_records
    case_07_a_record_after_a_gap_is_not_held
    case_08_a_late_retry_changes_nothing
    case_09_a_snapshot_has_deletion_markers_and_executed_ids
    case_10_two_sides_apart_for_longer_than_forget_after
    case_11_a_snapshot_of_a_moving_value
    case_12_a_deletion_marker_and_a_slow_clock
    case_13_what_depends_on_a_lost_record_is_never_shown
    case_14_an_old_directory
    case_15_replicas_in_memory_that_come_and_go
    case_16_pulls_do_not_breed
    case_17_a_prev_made_up_by_a_client_reaches_nobody_else
    case_18_a_paused_acceptor_wakes
    case_19_the_last_one_goes_on_alone_and_says_so
    case_20_frontends_with_wrong_clocks_by_turns
    case_21_a_delete_that_loses_takes_nothing_away
    case_22_a_delete_comes_after_what_it_took_away
}
