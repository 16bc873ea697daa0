//! A session does one thing after the other: else "before" means nothing.

use std::collections::HashMap;

use crate::history::{History, Promise, Verdict, Violation};

pub(in crate::history) fn check(history: &History, verdict: &mut Verdict) {
    let mut last = HashMap::new();
    for operation in &history.operations {
        let before = last.insert(operation.session.as_str(), operation);
        let overlaps = before.is_some_and(|before| before.end_us > operation.start_us);
        if overlaps || operation.end_us < operation.start_us {
            verdict.add(Violation {
                promise: Promise::WellFormed,
                text: "an operation began before the one before it had ended, or ended before it began".to_owned(),
                story: before.into_iter().chain([operation]).map(ToString::to_string).collect(),
            });
        }
    }
}
