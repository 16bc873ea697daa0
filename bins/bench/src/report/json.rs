//! The report as JSON: each round of each subject, and the targets.

use serde_json::{Value, json};

use crate::load::job::Load;
use crate::measurements::Results;
use crate::targets::targets;

/// Everything.
pub(crate) fn report(results: &Results) -> Value {
    let measurements: Vec<Value> = results
        .measurements
        .iter()
        .map(|measurement| {
            let (in_flight, per_second) = match measurement.load {
                Load::Closed { in_flight } => (Some(in_flight), None),
                Load::Open { per_second } => (None, Some(per_second)),
            };
            json!({
                "section": measurement.subject.section.name(),
                "name": measurement.subject.name,
                "title": measurement.subject.title,
                "in_flight": in_flight,
                "rate": per_second,
                "round": measurement.round,
                "answers_per_second": measurement.outcome.per_second(),
                "outcome": measurement.outcome,
                "processor_us_per_answer": measurement.processor_us,
                "resident_mib": measurement.resident_mib,
            })
        })
        .collect();
    let starts: Vec<Value> = results
        .starts
        .iter()
        .map(|start| {
            let (seconds, resident_mib) = (start.start.seconds, start.start.resident_mib);
            json!({ "ratings": start.ratings, "seconds": seconds, "resident_mib": resident_mib })
        })
        .collect();
    let growths: Vec<Value> = results
        .growths
        .iter()
        .map(|growth| json!({ "growth": growth, "bytes_per_update": growth.bytes_per_update() }))
        .collect();
    let targets: Vec<Value> = targets(results)
        .iter()
        .map(|target| {
            json!({ "what": target.what, "bound": target.bound, "measured": target.measured, "met": target.is_met() })
        })
        .collect();
    json!({
        "machine": results.machine,
        "measurements": measurements,
        "convergence": results.lags,
        "memory": growths,
        "guarantees": results.guarantees,
        "starts": starts,
        "missing": results.missing,
        "targets": targets,
    })
}
