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
    let only = "core/read,core/update,core/mix95,core/mix95-together-1,core/update-together-3,core/batch-together-1,\
                core/kv-r3-memory-put,core/kv-r3-memory-direct-get,latency/mix50,convergence";
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
    // raw and seven subjects with 1 and 8 in flight; batches; raw and one at a rate.
    assert_eq!(measurements.len(), 8 * 2 + 1 + 2, "{said}");
    for measurement in measurements {
        let outcome = &measurement["outcome"];
        // A batch may end after the time that counts.
        let is_batch = measurement["name"] == "batch-together-1";
        let counted = if is_batch { "answers_in_all" } else { "answers" };
        assert!(outcome[counted].as_u64().unwrap() > 0, "{measurement:#}");
        assert_eq!(outcome["errors"], 0, "{measurement:#}");
        assert!(measurement["processor_us_per_answer"]["load"].is_number(), "{measurement:#}");
    }
    let compared = |name: &str| {
        let of = measurements.iter().filter(|measurement| measurement["name"] == name);
        of.map(|measurement| measurement["outcome"]["compared"].as_u64().unwrap()).sum::<u64>()
    };
    for name in ["read", "mix95", "mix95-together-1"] {
        assert!(compared(name) > 0, "{name}: reads are compared with what was written");
    }
    for measurement in measurements.iter().filter(|it| it["name"].as_str().unwrap().contains("-together-")) {
        let of = &measurement["processor_us_per_answer"];
        assert!(of["replica"].is_number() && of["frontend"].is_null(), "no separate frontend: {measurement:#}");
    }
    assert!(told["convergence"][0]["samples"].as_u64().unwrap() > 0, "{:#}", told["convergence"]);
    assert!(plots.join("core-8.svg").is_file() && plots.join("latency-p99.svg").is_file());

    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn an_earlier_build_is_measured_beside_this_one() {
    let (scratch, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let json = out.path().join("bench.json");
    let only = "before/update,before/update-before,memory";
    // The earlier build is this one again.
    let options = ["--before", env!("CARGO_BIN_EXE_bench"), "--only", only, "--json", json.to_str().unwrap()];
    let output = bench(&[&TINY[..], &options].concat(), scratch.path());
    let (report, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{report}");
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let names: Vec<&str> = told["measurements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|measurement| measurement["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "with 8 in flight: {names:?}");
    assert!(names.contains(&"update") && names.contains(&"update-before"), "{names:?}");
    let memory = told["memory"].as_array().unwrap();
    let kinds: Vec<&str> = memory.iter().map(|growth| growth["growth"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["separate", "together", "before"]);
    for growth in memory {
        assert_eq!(growth["growth"]["resident_mib"].as_array().unwrap().len(), 3, "{growth:#}");
        assert!(growth["growth"]["updates"]["answers_in_all"].as_u64().unwrap() >= 4000, "{growth:#}");
        assert!(cfg!(not(target_os = "linux")) || growth["bytes_per_update"].is_number(), "{growth:#}");
    }
    assert!(
        report.contains("the build before is") && report.contains("### Memory under updates at full rate"),
        "{report}"
    );
}

#[test]
fn sessions_on_natter_and_on_a_bucket_are_judged_by_the_history_checker() {
    let (scratch, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let json = out.path().join("bench.json");
    let only = "guarantees/natter-together-kill,guarantees/kv-leader";
    let options = ["--measure", "300ms", "--only", only, "--json", json.to_str().unwrap()];
    let output = bench(&options, scratch.path());
    let (report, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{report}");
    for row in ["| Natter, three replica --frontend | SIGKILL of a node |", "| JetStream KV R3, leader gets     |"] {
        assert!(report.contains(row), "{row} is missing:\n{report}");
    }
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    for judged in told["guarantees"].as_array().unwrap() {
        let verdict = &judged["verdict"];
        assert!(verdict["operations"].as_u64().unwrap() > 8 && judged["is_read_back"] == true, "{judged:#}");
        assert_eq!((&verdict["lost_updates"], &verdict["others"]), (&Value::from(0), &Value::from(0)), "{judged:#}");
        assert!(verdict["silence_ms"].as_f64().unwrap() > 0.0, "{judged:#}");
    }
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn an_earlier_build_that_is_not_there_is_told_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let output = bench(&["--quick", "--before", "/nowhere/bench"], scratch.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("/nowhere/bench, which is no file"), "{said}");
}

#[test]
fn a_list_starts_nothing_and_an_empty_choice_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let output = bench(&["--list", "--only", "replicas"], scratch.path());
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(output.status.success() && names.len() == 11 && names.contains(&"replicas/update-8"), "{text}");

    let output = bench(&["--list", "--only", "guarantees"], scratch.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() == 12 && text.contains("guarantees/kv-direct-stop "), "{text}");

    let output = bench(&["--only", "core/nothing"], scratch.path());
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--list"), "{output:?}");
}
