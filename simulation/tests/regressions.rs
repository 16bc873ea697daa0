//! Faults that the simulation found in the protocol cores, each with the seed that showed it.
//!
//! A seed shows the same only while the simulation draws the same; afterwards it is one more history.
#![allow(clippy::panic, reason = "test code")]

use natter_simulation::simulation::run::run;

fn holds(seed: u64) {
    if let Err(failure) = run(seed, true) {
        panic!("{failure}");
    }
}

macro_rules! regressions {
    ($($name:ident: $seed:literal)*) => {
        $(
            #[test]
            fn $name() {
                holds($seed);
            }
        )*
    };
}

regressions! {
    a_snapshot_reflects_what_its_taker_accepted_and_had_not_applied: 1_027_080
    retiring_forgets_no_later_update_that_others_show: 1_014_401
    a_newcomer_that_holds_a_retirement_and_lacks_what_it_retires_takes_a_snapshot: 1_004_587
    a_snapshot_given_to_somebody_who_died_makes_room_for_another: 1_018_119
    a_retired_one_of_which_more_is_held_counts_as_far_as_the_snapshot_reflects: 1_020_443
    somebody_retired_who_is_there_after_all_is_in_the_timestamps_again: 1_038_112
    a_request_does_not_wait_for_somebody_who_is_retired_meanwhile: 1_018_409
    a_snapshot_knows_the_executed_updates_of_the_retired: 30_247
    an_accepted_update_is_not_stamped_again_when_its_acceptor_has_died: 40_019_644
    a_refusal_waits_for_one_who_is_cut_off_and_may_have_heard_of_the_update: 60_009_038
    what_came_to_nobody_does_not_keep_a_refusal_from_being_certain: 60_029_903
    nobody_is_retired_while_one_who_is_awaited_has_none_of_its_updates: 30_379_019
    a_newcomer_believes_a_retirement_that_others_have_applied: 117_692_489_575_961_899
    a_frontend_whose_clock_is_ahead_keeps_to_the_clock_of_replicas_while_an_update_lasts: 679
    a_record_that_the_log_needs_is_not_forgotten_at_a_start: 72_011_159
    a_replica_that_starts_while_its_clock_is_ahead_remembers_the_updates_of_the_last_minute: 713_035
    a_replica_that_starts_among_clocks_that_are_ahead_remembers_the_updates_of_the_last_minute: 600_016_817
    an_id_taken_for_old_by_a_clock_that_was_ahead_is_excused_till_its_answer_is_there: 117_706_633_342_813_726
    a_log_that_begins_again_where_its_origin_was_retired_lets_nothing_go: 900_015_128
    a_replica_that_comes_up_during_a_look_up_makes_no_update_fresh: 900_113_894
    what_a_frontend_hears_again_meanwhile_is_not_missed_all_the_while: 1_000_323_031
    a_delete_accepted_twice_explains_a_create_that_it_took_away: 1_100_109_243
    a_label_with_the_clock_of_an_update_accepted_in_the_same_turn_is_not_refused: 1_100_129_768
    a_frontend_need_not_know_of_a_replica_that_serves_since_just_now: 1_100_169_839
    a_frontend_that_has_listened_for_three_intervals_by_its_clock_waits_for_no_others: 1_400_043_537
    a_frontend_takes_fewer_copies_for_enough_in_the_millisecond_in_which_it_has_listened: 1_400_067_176
    an_update_is_not_sent_to_and_fro_between_one_who_holds_a_stamp_that_is_ahead_and_one_who_does_not: 1_400_455_961
    a_frontend_that_wakes_after_a_pause_asks_nothing_more_for_requests_whose_time_is_over: 1_400_567_414
    the_word_of_the_broker_may_come_after_a_last_presence_of_the_same_turn: 1_600_955_155
    the_word_of_the_broker_may_come_before_a_presence_of_the_same_turn: 1_800_047_637
    an_update_acknowledged_when_its_only_holder_had_just_died_is_excused_as_lost: 20_029_753
    a_log_whose_pages_hold_nothing_but_what_is_retired_here_is_read_on: 110_147_466
    a_replica_that_leaves_before_it_was_heard_supersedes_no_earlier_life: 120_057_475
    a_refusal_is_not_certain_while_an_acceptor_that_may_not_subscribe_is_cut_off: 120_060_636
    a_refusal_beside_a_replica_that_died_just_now_is_told_as_uncertain: 130_010_956
    a_refusal_beside_a_replica_that_left_a_follower_alone_is_told_as_uncertain: 130_023_204
    what_is_retired_while_a_snapshot_is_merged_does_not_come_back_with_it: 200_107_519
    an_id_made_by_a_clock_that_was_ahead_counts_as_one_without_a_stamp: 200_034_362
    a_session_whose_ids_were_made_by_a_clock_that_was_ahead_may_see_a_retry_win: 200_078_029
    a_label_with_the_clock_of_a_replica_that_has_not_answered_yet_is_not_refused: 300_309_212
    a_record_that_was_acknowledged_by_one_replica_alone_may_be_lost_with_it: 400_218_652
    a_local_replica_that_holds_another_record_of_an_update_is_not_asked_without_end: 110_001_107
}
