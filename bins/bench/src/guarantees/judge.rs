//! The verdict of the history checker, in figures.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use natter_simulation::history::{self, History, Kind, Outcome, Promise};
use serde::Serialize;

use super::plan::{Fault, Plan, System};

/// Number of errors and violations that are told in words.
const EXAMPLES_MAX: usize = 3;

/// Promises that have nothing to do with old values. Deletes and means do not occur.
const OTHERS: [Promise; 3] = [Promise::WellFormed, Promise::ThinAir, Promise::RefusedUnseen];

/// Counts that sessions keep beside the history.
#[derive(Debug, Default)]
pub(super) struct Tally {
    failed: Cell<u64>,
    reasons: RefCell<BTreeMap<String, u64>>,
}

impl Tally {
    /// Counts an attempt without an answer, for this reason.
    pub(super) fn failed(&self, reason: String) {
        self.failed.set(self.failed.get() + 1);
        *self.reasons.borrow_mut().entry(reason).or_default() += 1;
    }

    /// The most frequent reasons, in words.
    fn examples(&self) -> Vec<String> {
        let mut reasons: Vec<(String, u64)> = self.reasons.take().into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons.into_iter().take(EXAMPLES_MAX).map(|(reason, count)| format!("{count} attempts: {reason}")).collect()
    }
}

/// Result of checking one history.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Verdict {
    /// Operations of all sessions.
    pub(crate) operations: u64,
    /// Reads among them.
    pub(crate) reads: u64,
    /// Operations that were given up without an answer. The outcome of such a write is unknown.
    pub(crate) unanswered: u64,
    /// Reads of a value older than the session's own acknowledged write.
    pub(crate) read_your_writes: u64,
    /// Reads of a value older than one that the session had read.
    pub(crate) monotonic_reads: u64,
    /// Reads of a value older than one that the session knew of by way of other keys or sessions.
    pub(crate) causal_order: u64,
    /// Keys that show at the end a value older than an acknowledged write.
    pub(crate) lost_updates: u64,
    /// Violations of other kinds, as a value that no session wrote.
    pub(crate) others: u64,
    /// Longest time without an answer to any session, in milliseconds.
    pub(crate) silence_ms: f64,
    /// Longest time of one operation, all its attempts included, in milliseconds.
    pub(crate) wait_ms: f64,
    /// The first violations, in words.
    pub(crate) examples: Vec<String>,
}

impl Verdict {
    /// Has the project's checker judge a history.
    pub(crate) fn of(history: &History) -> Self {
        let verdict = history::check(history);
        let stale =
            |promises: &[Promise]| -> u64 { promises.iter().map(|promise| verdict.stale_reads(*promise) as u64).sum() };
        let told = |promise| verdict.violations.iter().filter(|violation| violation.promise == promise).count() as u64;
        // A cycle in the causal order is no read of an old value.
        let cycles = told(Promise::CausalOrder).saturating_sub(stale(&[Promise::CausalOrder]));
        // A session that goes back sees two writes in both orders: that is told already.
        let orders = if stale(&[Promise::MonotonicReads]) == 0 { told(Promise::Convergence) } else { 0 };
        let others: u64 = OTHERS.map(told).into_iter().sum();
        let operations = &history.operations;
        let count = |wanted: fn(&Outcome) -> bool| {
            operations.iter().filter(|operation| wanted(&operation.outcome)).count() as u64
        };
        let waits = operations.iter().map(|operation| operation.end_us - operation.start_us);
        Self {
            operations: operations.len() as u64,
            reads: operations.iter().filter(|operation| matches!(operation.kind, Kind::Read { .. })).count() as u64,
            unanswered: count(|outcome| !matches!(outcome, Outcome::Ok(_))),
            read_your_writes: stale(&[Promise::ReadYourWrites]),
            monotonic_reads: stale(&[Promise::MonotonicReads]),
            causal_order: stale(&[Promise::MonotonicWrites, Promise::WritesFollowReads, Promise::CausalOrder]),
            lost_updates: stale(&[Promise::NoLostUpdate]),
            others: others + cycles + orders,
            silence_ms: silence_us(history) as f64 / 1000.0,
            wait_ms: waits.max().unwrap_or(0) as f64 / 1000.0,
            examples: verdict.violations.iter().take(EXAMPLES_MAX).map(ToString::to_string).collect(),
        }
    }

    /// Number of all violations.
    pub(crate) fn violations(&self) -> u64 {
        self.read_your_writes + self.monotonic_reads + self.causal_order + self.lost_updates + self.others
    }
}

/// The longest time without an answer to any session, in microseconds: between two answers, or from the first request to
/// the first answer.
fn silence_us(history: &History) -> u64 {
    let answered = history.operations.iter().filter(|operation| matches!(operation.outcome, Outcome::Ok(_)));
    let mut times: Vec<u64> = answered.map(|operation| operation.end_us).collect();
    times.extend(history.operations.iter().map(|operation| operation.start_us).min());
    times.extend(history.operations.iter().map(|operation| operation.end_us).max());
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

/// A run, judged.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    /// The system.
    pub(crate) system: System,
    /// The fault of one of its nodes.
    pub(crate) fault: Fault,
    /// Number of the round, from 1.
    pub(crate) round: u32,
    /// Result of the history checker.
    pub(crate) verdict: Verdict,
    /// Whether all keys could be read at the end. If not, nothing is known of lost updates.
    pub(crate) is_read_back: bool,
    /// Attempts without an answer. Each was repeated, mostly at another node.
    pub(crate) failed_attempts: u64,
    /// The most frequent reasons of such attempts, and the first violation.
    pub(crate) examples: Vec<String>,
}

impl Judged {
    /// Verdict on one run, with its tally.
    pub(super) fn new(plan: Plan, round: u32, verdict: Verdict, tally: Tally, is_read_back: bool) -> Self {
        let (Plan { system, fault }, failed_attempts) = (plan, tally.failed.get());
        let examples = [tally.examples(), verdict.examples.iter().take(1).cloned().collect()].concat();
        Self { system, fault, round, verdict, is_read_back, failed_attempts, examples }
    }

    /// One line for people.
    pub(super) fn told(&self) -> String {
        let Verdict { operations, unanswered, read_your_writes, monotonic_reads, lost_updates, .. } = &self.verdict;
        format!(
            "round {} {}: {operations} operations, {unanswered} without an answer, violations: {read_your_writes} \
             read your writes, {monotonic_reads} monotonic reads, {} others; {lost_updates} lost updates; no answer for \
             {:.0} ms, a session waited {:.0} ms",
            self.round,
            Plan { system: self.system, fault: self.fault }.title(),
            self.verdict.causal_order + self.verdict.others,
            self.verdict.silence_ms,
            self.verdict.wait_ms
        )
    }

    /// Number of violations that are errors of the run: Natter's. Those of KV are results.
    pub(crate) fn broken(&self) -> u64 {
        match self.system {
            System::NatterTogether | System::Natter => self.verdict.violations(),
            System::KvDirect | System::KvLeader => 0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use natter_common::ids::{MovieId, UpdateId, UserId};
    use natter_common::rating::Stars;
    use natter_common::request::Update;
    use natter_simulation::history::{Cell as Value, Final, Operation, Row, Seen};

    fn key(movie: u32) -> (UserId, MovieId) {
        (UserId::new(1).unwrap(), MovieId::new(movie).unwrap())
    }

    fn id(n: u8) -> UpdateId {
        format!("{n:032x}").parse().unwrap()
    }

    fn by(n: u8) -> Value {
        Value { rating: Some(Stars::from_half_stars(n).unwrap()), update_id: Some(id(n)) }
    }

    fn done(session: &str, kind: Kind, at_ms: u64, outcome: Outcome) -> Operation {
        Operation { session: session.to_owned(), kind, start_us: at_ms * 1000, end_us: at_ms * 1000 + 500, outcome }
    }

    fn write(session: &str, n: u8, at_ms: u64) -> Operation {
        let (user_id, movie_id) = key(1);
        let request = Update::Update { user_id, movie_id, rating: by(n).rating.unwrap() };
        done(session, Kind::Write { request, id: Some(id(n)) }, at_ms, Outcome::Ok(Seen::Cell(by(n))))
    }

    fn read(session: &str, cell: Value, at_ms: u64) -> Operation {
        let (user_id, movie_id) = key(1);
        done(session, Kind::Read { user_id, movie_id }, at_ms, Outcome::Ok(Seen::Cell(cell)))
    }

    fn history(operations: Vec<Operation>, last: Value) -> History {
        let (user_id, movie_id) = key(1);
        let row = |cell| Row { user_id, movie_id, cell };
        let initial = vec![row(Value { rating: by(1).rating, update_id: None })];
        let state = Final { replica: "node 0".to_owned(), users: vec![user_id], rows: vec![row(last)], means: vec![] };
        History { initial, operations, finals: vec![state] }
    }

    #[test]
    fn a_read_older_than_the_sessions_own_write_is_counted_once() {
        let operations =
            vec![write("a", 2, 0), read("a", by(2), 1), write("a", 3, 2), read("a", by(2), 3), read("a", by(3), 4)];
        let verdict = Verdict::of(&history(operations, by(3)));
        assert_eq!((verdict.operations, verdict.reads, verdict.violations()), (5, 3, 1), "{verdict:?}");
        assert_eq!((verdict.read_your_writes, verdict.lost_updates), (1, 0));
        assert!(verdict.examples[0].contains("read your writes"), "{:?}", verdict.examples);
    }

    #[test]
    fn a_read_older_than_an_earlier_read_is_counted_once() {
        let operations = vec![write("a", 2, 0), write("a", 3, 2), read("b", by(3), 3), read("b", by(2), 4)];
        let verdict = Verdict::of(&history(operations, by(3)));
        assert_eq!((verdict.monotonic_reads, verdict.violations()), (1, 1), "{verdict:?}");
    }

    #[test]
    fn another_sessions_write_in_between_is_no_violation() {
        let operations = vec![write("a", 2, 0), write("b", 3, 1), read("a", by(3), 2), write("a", 4, 3)];
        let verdict = Verdict::of(&history(operations, by(4)));
        assert_eq!(verdict.violations(), 0, "{verdict:?}");
    }

    #[test]
    fn an_acknowledged_write_that_is_gone_at_the_end_is_lost() {
        let verdict = Verdict::of(&history(vec![write("a", 2, 0), write("a", 3, 1)], by(2)));
        assert_eq!((verdict.lost_updates, verdict.violations()), (1, 1), "{verdict:?}");
    }

    #[test]
    fn a_write_without_an_answer_may_be_there_at_the_end_or_not() {
        let unknown = |at_ms| Operation { outcome: Outcome::Unknown, ..write("a", 3, at_ms) };
        for last in [by(2), by(3)] {
            let verdict = Verdict::of(&history(vec![write("a", 2, 0), unknown(1)], last));
            assert_eq!((verdict.unanswered, verdict.violations()), (1, 0), "{verdict:?}");
        }
    }

    #[test]
    fn silence_is_the_longest_time_without_an_answer_to_any_session() {
        let operations = vec![write("a", 2, 0), read("b", by(2), 40), read("a", by(2), 10), read("b", by(2), 95)];
        let verdict = Verdict::of(&history(operations, by(2)));
        assert_eq!((verdict.silence_ms, verdict.wait_ms), (55.0, 0.5));
    }

    /// Verdict on a run with this many read-your-writes violations.
    pub(crate) fn judged(system: System, fault: Fault, round: u32, read_your_writes: u64) -> Judged {
        let verdict =
            Verdict { operations: 1000, reads: 500, read_your_writes, silence_ms: 12.0, ..Verdict::default() };
        Judged::new(Plan { system, fault }, round, verdict, Tally::default(), true)
    }

    #[test]
    fn only_what_a_system_promises_is_an_error_of_the_run() {
        assert_eq!(judged(System::Natter, Fault::None, 1, 3).broken(), 3);
        assert_eq!(judged(System::KvDirect, Fault::None, 1, 3).broken(), 0);
    }
}
