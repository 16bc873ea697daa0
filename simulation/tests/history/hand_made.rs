//! One history for each way to break a promise, and its like that breaks none.

use natter_simulation::history::{Outcome, Promise, Reason, Seen};

use crate::tale::{NOTHING, Tale, by, create, delete, exists, gone, not_found, row, update};

#[test]
fn a_session_that_reads_what_it_wrote_is_accepted() {
    Tale::new().creates("a", 1, 1).reads("a", 1, by(1)).updates("a", 1, 2).reads("a", 1, by(2)).is_accepted();
}

#[test]
fn a_session_that_does_not_see_its_write_is_told() {
    Tale::new().creates("a", 1, 1).reads("a", 1, NOTHING).first_breaks(Promise::ReadYourWrites);
    Tale::new().initial(1, 8).updates("a", 1, 1).reads("a", 1, by(1)).is_accepted();
    let tale = Tale::new().creates("a", 1, 1).updates("a", 1, 2);
    tale.clone().reads("a", 1, by(1)).first_breaks(Promise::ReadYourWrites);
    tale.lists("a", vec![]).first_breaks(Promise::ReadYourWrites);
}

#[test]
fn a_session_may_see_a_concurrent_write_instead_of_its_own_but_not_then_its_own_again() {
    let tale = Tale::new().initial(1, 8).updates("a", 1, 1).updates("b", 1, 2).reads("a", 1, by(2));
    tale.is_accepted();
    tale.reads("a", 1, by(1)).first_breaks(Promise::MonotonicReads);
}

#[test]
fn each_stale_read_counts_once_for_the_simplest_promise_that_it_breaks() {
    // The second read of session a breaks two promises: a wrote the newer value, and had read the older one before.
    let tale = Tale::new().creates("a", 1, 1).reads("a", 1, by(1)).updates("a", 1, 2).reads("a", 1, by(1));
    // A read of the newer value afterwards is right.
    let tale = tale.reads("a", 1, by(2)).reads("b", 1, by(2)).reads("b", 1, by(1)).reads("b", 1, by(2));
    let tale = tale.ends(vec![row(1, by(1))]);
    let verdict = tale.verdict();
    let promises = [Promise::ReadYourWrites, Promise::MonotonicReads, Promise::NoLostUpdate, Promise::CausalOrder];
    assert_eq!(promises.map(|promise| verdict.stale_reads(promise)), [1, 1, 1, 0], "{verdict}");
    assert!(verdict.count() > 3, "a read may break several promises: {verdict}");
}

#[test]
fn a_session_that_reads_backwards_is_told() {
    let tale = Tale::new().creates("a", 1, 1).updates("a", 1, 2).reads("b", 1, by(2));
    tale.is_accepted();
    tale.reads("b", 1, by(1)).first_breaks(Promise::MonotonicReads);
    let tale = Tale::new().creates("a", 1, 1).reads("b", 1, by(1));
    tale.reads("b", 1, NOTHING).first_breaks(Promise::MonotonicReads);
}

#[test]
fn a_reader_behind_is_accepted() {
    Tale::new().creates("a", 1, 1).updates("a", 1, 2).reads("b", 1, by(1)).reads("c", 1, NOTHING).is_accepted();
}

#[test]
fn who_sees_a_sessions_later_write_sees_its_earlier_one() {
    let tale = Tale::new().creates("a", 1, 1).creates("a", 2, 2).reads("b", 2, by(2));
    tale.clone().reads("b", 1, by(1)).is_accepted();
    tale.reads("b", 1, NOTHING).first_breaks(Promise::MonotonicWrites);
}

#[test]
fn who_sees_a_write_sees_what_its_session_had_read() {
    let tale = Tale::new().creates("a", 1, 1).reads("b", 1, by(1)).creates("b", 2, 2).reads("c", 2, by(2));
    tale.clone().reads("c", 1, by(1)).is_accepted();
    tale.reads("c", 1, NOTHING).first_breaks(Promise::WritesFollowReads);
}

#[test]
fn a_chain_over_three_sessions_is_causal_order() {
    let tale = Tale::new().creates("a", 1, 1).reads("b", 1, by(1)).creates("b", 2, 2);
    let tale = tale.reads("c", 2, by(2)).creates("c", 3, 3).reads("d", 3, by(3));
    tale.clone().reads("d", 1, by(1)).is_accepted();
    tale.reads("d", 1, NOTHING).first_breaks(Promise::CausalOrder);
}

#[test]
fn a_page_is_one_read_of_many_keys() {
    let tale = Tale::new().creates("a", 1, 1).creates("a", 2, 2);
    tale.clone().lists("b", vec![row(1, by(1))]).is_accepted();
    tale.clone().lists("b", vec![row(1, by(1)), row(2, by(2))]).is_accepted();
    tale.lists("b", vec![row(2, by(2))]).first_breaks(Promise::MonotonicWrites);
}

#[test]
fn two_sessions_that_see_concurrent_writes_in_two_orders_do_not_converge() {
    let tale =
        Tale::new().initial(1, 8).updates("a", 1, 1).updates("b", 1, 2).reads("c", 1, by(1)).reads("c", 1, by(2));
    tale.clone().reads("d", 1, by(1)).reads("d", 1, by(2)).is_accepted();
    tale.reads("d", 1, by(2)).reads("d", 1, by(1)).first_breaks(Promise::Convergence);
}

#[test]
fn orders_that_contradict_each_other_over_two_keys_do_not_converge() {
    let tale = Tale::new().initial(1, 8).initial(2, 8);
    let tale = tale.updates("a", 1, 1).updates("a", 2, 2).updates("b", 2, 3).updates("b", 1, 4);
    let tale = tale.reads("c", 1, by(4)).reads("c", 1, by(1));
    tale.clone().reads("d", 2, by(3)).reads("d", 2, by(2)).is_accepted();
    let tale = tale.reads("d", 2, by(2)).reads("d", 2, by(3));
    tale.breaks(Promise::Convergence);
    let story = tale.verdict().violations[0].story.join("\n");
    assert!(story.contains("which loses"), "{story}");
}

#[test]
fn a_value_that_nobody_wrote_is_told() {
    Tale::new().creates("a", 1, 1).reads("b", 1, by(2)).first_breaks(Promise::ThinAir);
    let mut other = by(1);
    other.rating = by(3).rating;
    Tale::new().creates("a", 1, 1).reads("b", 1, other).first_breaks(Promise::ThinAir);
    Tale::new().creates("a", 1, 1).reads("b", 2, by(1)).first_breaks(Promise::ThinAir);
    Tale::new().reads("b", 1, by(1)).creates("a", 1, 1).first_breaks(Promise::ThinAir);
}

#[test]
fn what_was_refused_is_never_seen() {
    let tale = Tale::new().initial(1, 8).does("a", create(1, 1), exists());
    tale.is_accepted();
    tale.reads("b", 1, by(1)).first_breaks(Promise::RefusedUnseen);
    let other = Outcome::Refused(Reason::Other);
    Tale::new().does("a", create(1, 1), other).reads("b", 1, by(1)).first_breaks(Promise::RefusedUnseen);
}

#[test]
fn an_update_without_an_answer_may_be_seen_or_not() {
    let tale = Tale::new().does("a", create(1, 1), Outcome::Unknown);
    tale.clone().reads("a", 1, NOTHING).reads("b", 1, NOTHING).ends(vec![]).is_accepted();
    tale.clone().reads("a", 1, NOTHING).reads("b", 1, by(1)).reads("a", 1, by(1)).is_accepted();
    tale.reads("b", 1, by(1)).reads("b", 1, NOTHING).first_breaks(Promise::MonotonicReads);
}

#[test]
fn what_a_session_does_next_need_not_follow_an_update_without_an_answer() {
    let tale = Tale::new().does("a", create(1, 1), Outcome::Unknown).creates("a", 2, 2);
    tale.reads("b", 2, by(2)).reads("b", 1, NOTHING).reads("c", 1, by(1)).is_accepted();
}

#[test]
fn an_update_without_an_answer_follows_what_its_session_did_before() {
    let tale = Tale::new().creates("a", 2, 2).does("a", create(1, 1), Outcome::Unknown).reads("b", 1, by(1));
    tale.clone().reads("b", 2, by(2)).is_accepted();
    tale.reads("b", 2, NOTHING).breaks(Promise::MonotonicWrites);
}

#[test]
fn a_retry_that_is_answered_is_the_same_update() {
    let tale = Tale::new().does("a", create(1, 1), Outcome::Unknown).reads("a", 1, NOTHING).creates("a", 1, 1);
    tale.clone().reads("a", 1, by(1)).ends(vec![row(1, by(1))]).is_accepted();
    tale.clone().reads("a", 1, NOTHING).first_breaks(Promise::ReadYourWrites);
    tale.ends(vec![]).first_breaks(Promise::NoLostUpdate);
    Tale::new().creates("a", 1, 1).creates("a", 2, 1).first_breaks(Promise::WellFormed);
}

#[test]
fn an_acknowledged_update_is_there_at_the_end() {
    let tale = Tale::new().creates("a", 1, 1).updates("a", 1, 2);
    tale.clone().ends(vec![row(1, by(2))]).is_accepted();
    tale.clone().ends(vec![row(1, by(1))]).first_breaks(Promise::NoLostUpdate);
    tale.ends(vec![]).first_breaks(Promise::NoLostUpdate);
    let tale = Tale::new().initial(1, 8).updates("a", 1, 1).updates("b", 1, 2);
    tale.clone().ends(vec![row(1, by(1))]).is_accepted();
    tale.clone().ends(vec![row(1, by(2))]).is_accepted();
    tale.reads("c", 1, by(1)).reads("c", 1, by(2)).ends(vec![row(1, by(1))]).breaks(Promise::Convergence);
}

#[test]
fn replicas_hold_the_same_at_the_end() {
    let tale = Tale::new().initial(1, 8).updates("a", 1, 1).updates("b", 1, 2).ends(vec![row(1, by(1))]);
    tale.clone().ends(vec![row(1, by(1))]).is_accepted();
    tale.ends(vec![row(1, by(2))]).first_breaks(Promise::Convergence);
}

#[test]
fn what_was_deleted_stays_dead() {
    let tale = Tale::new().creates("a", 1, 1).deletes("a", 1, 9, by(1));
    tale.clone().reads("b", 1, by(1)).reads("b", 1, gone(9)).reads("b", 1, NOTHING).is_accepted();
    tale.clone().reads("b", 1, gone(9)).reads("b", 1, by(1)).breaks(Promise::DeletesStayDead);
    tale.clone().ends(vec![row(1, by(1))]).breaks(Promise::DeletesStayDead);
    tale.clone().ends(vec![row(1, gone(9))]).ends(vec![]).is_accepted();
    // Neither session ever learns the delete's id.
    let tale = tale.reads("b", 1, by(1)).reads("b", 1, NOTHING);
    tale.clone().creates("b", 2, 2).reads("c", 2, by(2)).reads("c", 1, NOTHING).is_accepted();
    tale.creates("b", 2, 2).reads("c", 2, by(2)).reads("c", 1, by(1)).breaks(Promise::DeletesStayDead);
}

#[test]
fn a_delete_reads_what_it_takes_away() {
    let tale = Tale::new().creates("a", 1, 1).updates("a", 1, 2);
    tale.clone().deletes("a", 1, 9, by(2)).is_accepted();
    tale.clone().deletes("a", 1, 9, by(1)).first_breaks(Promise::ReadYourWrites);
    // A session that sees the delete sees what it took away, and what came before that.
    let tale = tale.creates("a", 2, 3).updates("a", 1, 4).deletes("b", 1, 9, by(4));
    tale.clone().reads("c", 1, gone(9)).reads("c", 2, by(3)).is_accepted();
    tale.reads("c", 1, gone(9)).reads("c", 2, NOTHING).first_breaks(Promise::CausalOrder);
}

#[test]
fn a_delete_that_took_nothing_away_has_read_nothing() {
    let tale = Tale::new().creates("a", 1, 1).creates("a", 2, 2).deletes("b", 1, 9, gone(9));
    tale.clone().reads("b", 2, NOTHING).reads("b", 1, by(1)).ends(vec![row(1, by(1)), row(2, by(2))]).is_accepted();
    Tale::new().deletes("b", 1, 9, gone(9)).first_breaks(Promise::ThinAir);
}

#[test]
fn a_refusal_tells_whether_a_rating_is_there() {
    let tale = Tale::new().creates("a", 1, 1);
    tale.clone().does("a", create(1, 2), exists()).is_accepted();
    tale.clone().does("b", update(1, 2), not_found()).is_accepted();
    tale.clone().does("a", update(1, 2), not_found()).first_breaks(Promise::ReadYourWrites);
    tale.clone().reads("b", 1, by(1)).does("b", delete(1, 9), not_found()).first_breaks(Promise::MonotonicReads);
    Tale::new().does("a", create(1, 1), exists()).first_breaks(Promise::ThinAir);
    let tale = tale.deletes("b", 1, 9, by(1));
    tale.clone().does("a", update(1, 2), not_found()).is_accepted();
    tale.does("b", create(1, 2), exists()).first_breaks(Promise::ReadYourWrites);
}

#[test]
fn a_create_finds_nothing_and_an_update_something() {
    Tale::new().creates("a", 1, 1).creates("b", 1, 2).is_accepted();
    Tale::new().creates("a", 1, 1).creates("a", 1, 2).first_breaks(Promise::ReadYourWrites);
    Tale::new().updates("a", 1, 1).first_breaks(Promise::ThinAir);
}

#[test]
fn a_mean_is_that_of_the_ratings() {
    let tale = Tale::new().initial(1, 8).updates("a", 1, 4);
    tale.clone().averages("a", 1, 2.0, 1).is_accepted();
    tale.clone().averages("a", 1, 4.0, 1).first_breaks(Promise::Averages);
    tale.clone().averages("b", 1, 4.0, 1).is_accepted();
    tale.averages("b", 1, 4.1, 1).first_breaks(Promise::Averages);
    Tale::new().averages("b", 1, 0.0, 0).is_accepted();
}

#[test]
fn a_session_that_sees_the_consequence_of_what_it_does_later_is_told() {
    let tale = Tale::new().reads("a", 1, by(1)).creates("a", 2, 2).reads("b", 2, by(2)).creates("b", 1, 1);
    let verdict = tale.verdict();
    assert!(verdict.breaks(Promise::CausalOrder) && verdict.breaks(Promise::ThinAir), "{verdict}");
}

#[test]
fn a_session_that_does_two_things_at_once_is_no_session() {
    let mut tale = Tale::new().creates("a", 1, 1).reads("a", 1, by(1));
    tale.history.operations[1].start_us = 2;
    tale.first_breaks(Promise::WellFormed);
}

#[test]
fn a_write_whose_session_never_learned_its_id_is_no_thin_air() {
    let mut tale = Tale::new().does("a", create(1, 1), Outcome::Unknown).reads("b", 1, by(1));
    if let natter_simulation::history::Kind::Write { id, .. } = &mut tale.history.operations[0].kind {
        *id = None;
    }
    tale.is_accepted();
    tale.reads("b", 1, by(2)).first_breaks(Promise::ThinAir);
    Tale::new().does("a", create(1, 1), Outcome::Ok(Seen::Done)).reads("b", 1, by(1)).is_accepted();
}

#[test]
fn a_delete_whose_id_only_the_frontend_knows_is_no_thin_air() {
    let nameless = |session: &str, tale: Tale| {
        let mut tale = tale.deletes(session, 1, 9, by(1));
        if let Some(natter_simulation::history::Kind::Write { id, .. }) =
            tale.history.operations.last_mut().map(|operation| &mut operation.kind)
        {
            *id = None;
        }
        tale
    };
    let tale = nameless("a", Tale::new().creates("a", 1, 1));
    tale.clone().reads("b", 1, gone(9)).is_accepted();
    tale.clone().reads("b", 1, gone(9)).reads("b", 1, by(1)).breaks(Promise::DeletesStayDead);
    tale.clone().reads("b", 1, gone(9)).reads("b", 1, gone(8)).first_breaks(Promise::ThinAir);
    let tale = nameless("b", tale);
    tale.clone().reads("c", 1, gone(9)).reads("c", 1, gone(8)).ends(vec![]).is_accepted();
    tale.ends(vec![row(1, by(1))]).breaks(Promise::DeletesStayDead);
}
