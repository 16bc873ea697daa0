//! The real program with tiny settings, against real brokers and processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn bench(arguments: &[&str], scratch: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(arguments).env("TMPDIR", scratch).stdin(Stdio::null());
    command.output().unwrap()
}

/// The least that is measured of everything.
const TINY: [&str; 10] =
    ["--rounds", "1", "--measure", "100ms", "--warm-up", "20ms", "--in-flight", "1,8", "--ratings", "1000"];

#[test]
fn a_short_run_measures_everything_beside_raw_requests_and_leaves_nothing_behind() {
    let (scratch, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (json, plots) = (out.path().join("bench.json"), out.path().join("plots"));
    let only =
        "core/read,core/update,core/mix95,core/kv-r3-memory-put,core/kv-r3-memory-direct-get,latency/mix50,convergence";
    let files = ["--json", json.to_str().unwrap(), "--plots", plots.to_str().unwrap(), "--rates", "200"];
    let output = bench(&[&TINY[..], &["--only", only], &files].concat(), scratch.path());
    let (report, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{report}");

    for expected in
        ["### Throughput", "### Latency at given rates", "### Convergence lag", "### Targets", "| raw request-reply"]
    {
        assert!(report.contains(expected), "{expected} is missing:\n{report}");
    }
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let measurements = told["measurements"].as_array().unwrap();
    // raw and five subjects with 1 and 8 in flight; raw and one at a rate.
    assert_eq!(measurements.len(), 6 * 2 + 2, "{said}");
    for measurement in measurements {
        let outcome = &measurement["outcome"];
        assert!(outcome["answers"].as_u64().unwrap() > 0, "{measurement:#}");
        assert_eq!(outcome["errors"], 0, "{measurement:#}");
        assert!(measurement["processor_us_per_answer"]["load"].is_number(), "{measurement:#}");
    }
    let compared = |name: &str| {
        let of = measurements.iter().filter(|measurement| measurement["name"] == name);
        of.map(|measurement| measurement["outcome"]["compared"].as_u64().unwrap()).sum::<u64>()
    };
    assert!(compared("read") > 0 && compared("mix95") > 0, "reads are compared with what was written");
    assert!(told["convergence"][0]["samples"].as_u64().unwrap() > 0, "{:#}", told["convergence"]);
    assert!(plots.join("core-8.svg").is_file() && plots.join("latency-p99.svg").is_file());

    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_list_starts_nothing_and_an_empty_choice_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let output = bench(&["--list", "--only", "replicas"], scratch.path());
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(output.status.success() && names.len() == 11 && names.contains(&"replicas/update-8"), "{text}");

    let output = bench(&["--only", "core/nothing"], scratch.path());
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--list"), "{output:?}");
}
