//! The report as tables, in Markdown: they read as text too, and go into documents as they are.

use super::{guarantees, watched};
use crate::catalogue::{Asked, BEFORE, Subject, World};
use crate::load::job::{KvOperation, Load, Outcome};
use crate::measurements::{Growth, Kind, Machine, Results};
use crate::section::Section;
use crate::statistics::Spread;
use crate::targets::{Bound, Target, targets};

/// Text in place of a missing figure.
pub(super) const NONE: &str = "–";

/// Everything.
pub(crate) fn report(results: &Results) -> String {
    let mut text = machine(&results.machine);
    for section in Section::ALL {
        text += &match section {
            Section::Watched => watched::table_of(results),
            _ => section_table(results, section),
        };
    }
    text += &growth_table(results);
    text += &lag_table(results);
    text += &guarantees::table_of(results);
    text += &start_table(results);
    text += &processor_table(results);
    text += &target_table(&targets(results));
    for missing in &results.missing {
        text += &format!("\nNot measured: {missing}\n");
    }
    text
}

fn machine(machine: &Machine) -> String {
    let before = machine.before.as_ref().map_or_else(String::new, |path| format!("; the build before is {path}"));
    let build = if machine.release { "" } else { ", NOT a release build" };
    format!(
        "{} processors ({}), Linux {}, nats-server {}, commit {}{build}; {} connections, pinned {}{before}\n",
        machine.processors,
        machine.processor,
        machine.kernel,
        machine.nats_server,
        machine.commit,
        machine.connections,
        machine.pin
    )
}

/// A table with its title; empty where it has no rows.
pub(super) fn table(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(n, width)| if n == 0 { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) })
        .collect();
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("\n### {title}\n\n{}{}{rows}", line(&head), line(&rule))
}

fn section_table(results: &Results, section: Section) -> String {
    let is_open = section == Section::Latency;
    let mut head = vec!["", "load", "answers/s", "p50 ms", "p99 ms"];
    head.extend(match section {
        Section::Latency => &["refused"][..],
        Section::Before => &["to the build before", "processor time to it"],
        _ => &["to raw", "to KV"],
    });
    let mut rows = Vec::new();
    for (subject, load) in in_order(results, section) {
        let name = subject.name.as_str();
        let raw = (!subject.is_raw()).then(|| results.to_raw(section, name, load)).flatten();
        let kv = kv_beside(subject).and_then(|kv| results.ratio(section, (name, kv), load, Outcome::per_second));
        let mut row = vec![
            subject.title.clone(),
            load_text(load),
            spread(results.throughput(section, name, load), |figure| grouped(figure.round() as u64)),
            spread(results.latency_ms(section, name, load, |latency| latency.p50_us), milliseconds),
            spread(results.latency_ms(section, name, load, |latency| latency.p99_us), milliseconds),
        ];
        if is_open {
            let refused = results.of(section, name, load).map(|measurement| measurement.outcome.refused_percent());
            row.push(spread(Spread::of(refused), |figure| format!("{figure:.1} %")));
        } else if section == Section::Before {
            let before = before_of(name);
            let beside = before.as_deref().map(|before| (name, before));
            let throughput = beside.and_then(|names| results.ratio(section, names, load, Outcome::per_second));
            let processor = beside.and_then(|names| results.processor_ratio(section, names, load));
            row.extend([spread(throughput, ratio), spread(processor, ratio)]);
        } else {
            row.extend([spread(raw, ratio), spread(kv, ratio)]);
        }
        rows.push(row);
    }
    table(section.title(), &head, &rows)
}

/// Subjects and loads as they were measured: all subjects under one load, then the next.
pub(super) fn in_order(results: &Results, section: Section) -> Vec<(&Subject, Load)> {
    let mut seen: Vec<(&Subject, Load)> = Vec::new();
    for measurement in results.measurements.iter().filter(|measurement| measurement.subject.section == section) {
        let is_new =
            !seen.iter().any(|(subject, load)| subject.name == measurement.subject.name && *load == measurement.load);
        if is_new {
            seen.push((&measurement.subject, measurement.load));
        }
    }
    seen
}

/// The bucket that a subject of Natter is compared with.
fn kv_beside(subject: &Subject) -> Option<&'static str> {
    match (subject.section, subject.asked) {
        (Section::Durable, Asked::Natter { .. }) => Some("kv-r3-always-put"),
        (Section::Core | Section::Latency, Asked::Natter { reads_percent: 100 }) => Some("kv-r3-memory-direct-get"),
        (Section::Core | Section::Latency, Asked::Natter { reads_percent: 0 }) => Some("kv-r3-memory-put"),
        (
            _,
            Asked::Kv(KvOperation::Put | KvOperation::Get | KvOperation::DirectGet)
            | Asked::Echo
            | Asked::EchoOfRead
            | Asked::Request
            | Asked::Valkey(_)
            | Asked::Natter { .. }
            | Asked::Batch { .. },
        ) => None,
    }
}

/// The subject of the build before that one of this build is compared with.
fn before_of(name: &str) -> Option<String> {
    let kind = name.strip_suffix("-together-1").unwrap_or(name);
    (!name.ends_with(BEFORE)).then(|| format!("{kind}{BEFORE}"))
}

fn growth_table(results: &Results) -> String {
    let kinds = [Kind::Separate, Kind::Together, Kind::Before];
    let measured = kinds.into_iter().filter(|kind| results.growths.iter().any(|growth| growth.kind == *kind));
    let rows: Vec<Vec<String>> = measured
        .map(|kind| {
            let of = |figure: &dyn Fn(&Growth) -> Option<f64>| {
                Spread::of(results.growths.iter().filter(|growth| growth.kind == kind).filter_map(figure))
            };
            let mib = |figure: f64| format!("{figure:.0}");
            let largest = |growth: &Growth, side: fn(&(f64, f64)) -> f64| {
                growth.resident_mib.iter().map(side).max_by(f64::total_cmp)
            };
            vec![
                kind.title().to_owned(),
                spread(of(&|growth| Some(growth.updates.per_second())), |figure| grouped(figure.round() as u64)),
                spread(of(&|growth| Some(growth.updates.seconds)), |figure| format!("{figure:.1}")),
                spread(of(&|growth| largest(growth, |(before, _)| *before)), mib),
                spread(of(&|growth| largest(growth, |(_, after)| *after)), mib),
                spread(results.growth(kind), |figure| format!("{figure:.0}")),
                spread(results.growth_ratio(kind).filter(|_| kind != Kind::Before), ratio),
            ]
        })
        .collect();
    let head =
        ["", "updates/s", "seconds", "resident MiB at first", "at the end", "bytes an update", "to the build before"];
    table(Section::Memory.title(), &head, &rows)
}

fn lag_table(results: &Results) -> String {
    let figure =
        |of: &dyn Fn(&crate::load::job::Lag) -> f64| spread(Spread::of(results.lags.iter().map(of)), milliseconds);
    let (Some(first), Some(rate)) =
        (results.lags.first(), Spread::of(results.lags.iter().map(|lag| lag.updates.per_second())))
    else {
        return String::new();
    };
    let rows = [
        (
            "an update, acknowledged",
            figure(&|lag| lag.updates.latency.p50_us / 1000.0),
            figure(&|lag| lag.updates.latency.p99_us / 1000.0),
        ),
        (
            "from then until readable everywhere",
            figure(&|lag| lag.lag.p50_us / 1000.0),
            figure(&|lag| lag.lag.p99_us / 1000.0),
        ),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(what, p50, p99)| vec![what.to_owned(), p50, p99]).collect();
    let title = format!(
        "Convergence lag at {} updates/s ({} updates looked for in a round)",
        grouped(rate.median as u64),
        first.samples
    );
    table(&title, &["", "p50 ms", "p99 ms"], &rows)
}

fn start_table(results: &Results) -> String {
    let mut sizes: Vec<u64> = results.starts.iter().map(|start| start.ratings).collect();
    sizes.dedup();
    let rows: Vec<Vec<String>> = sizes
        .into_iter()
        .map(|size| {
            let of = || results.starts.iter().filter(move |start| start.ratings == size).map(|start| start.start);
            let seconds = Spread::of(of().map(|start| start.seconds));
            let resident = Spread::of(of().filter_map(|start| start.resident_mib));
            let used = results.measurements.iter().filter_map(|measurement| match measurement.subject.world {
                World::Cluster(plan) if measurement.subject.section == Section::Data && plan.ratings == size => {
                    measurement.resident_mib.get("replica").copied()
                }
                _ => None,
            });
            let used = Spread::of(used);
            let mib = |figure: f64| format!("{figure:.0}");
            vec![
                grouped(size),
                spread(seconds, |figure| format!("{figure:.1}")),
                spread(resident, mib),
                spread(used, mib),
            ]
        })
        .collect();
    table(
        Section::Start.title(),
        &["ratings", "seconds until it serves", "resident MiB then", "after reads and updates"],
        &rows,
    )
}

fn processor_table(results: &Results) -> String {
    const WHAT: [&str; 8] = ["load", "broker", "echo", "frontend", "replica", "observer", "jetstream", "valkey"];
    let mut rows = Vec::new();
    for (subject, load) in Section::ALL.iter().flat_map(|section| in_order(results, *section)) {
        // With one request in flight processes mostly wait.
        if load == (Load::Closed { in_flight: 1 }) {
            continue;
        }
        let figure = |what: &str| {
            let of = results.of(subject.section, &subject.name, load);
            spread(
                Spread::of(of.filter_map(|measurement| measurement.processor_us.get(what).copied()))
                    .map(|spread| spread.median_only()),
                |figure| format!("{figure:.1}"),
            )
        };
        let mut row = vec![format!("{}/{}", subject.section.name(), subject.name), load_text(load)];
        row.extend(WHAT.iter().map(|what| figure(what)));
        rows.push(row);
    }
    let head =
        ["", "load", "load generator", "broker", "echo", "frontends", "replicas", "observer", "JetStream", "Valkey"];
    table("Processor time of an answer, in microseconds", &head, &rows)
}

fn target_table(targets: &[Target]) -> String {
    let rows: Vec<Vec<String>> = targets
        .iter()
        .map(|target| {
            let bound = match target.bound {
                Bound::AtLeast(bound) => format!("at least {bound}"),
                Bound::AtMost(bound) => format!("at most {bound}"),
            };
            let verdict = match target.is_met() {
                Some(true) => "met",
                Some(false) => "missed",
                None => "not measured",
            };
            vec![target.what.to_owned(), bound, spread(target.measured, ratio), verdict.to_owned()]
        })
        .collect();
    table("Targets", &["what", "target", "measured", ""], &rows)
}

/// `512 in flight`, `5,000/s`.
pub(crate) fn load_text(load: Load) -> String {
    match load {
        Load::Closed { in_flight } => format!("{in_flight} in flight"),
        Load::Open { per_second } => format!("{}/s", grouped(per_second.round() as u64)),
    }
}

/// `median [least–greatest]`, or only the median where all are equal.
pub(super) fn spread(spread: Option<Spread>, text: impl Fn(f64) -> String) -> String {
    let Some(spread) = spread else { return NONE.to_owned() };
    let (median, min, max) = (text(spread.median), text(spread.min), text(spread.max));
    if min == max { median } else { format!("{median} [{min}–{max}]") }
}

pub(super) fn milliseconds(figure: f64) -> String {
    match figure {
        figure if figure < 1.0 => format!("{figure:.3}"),
        figure if figure < 100.0 => format!("{figure:.2}"),
        figure => format!("{figure:.0}"),
    }
}

pub(super) fn ratio(figure: f64) -> String {
    if figure < 10.0 { format!("{figure:.2}") } else { format!("{figure:.1}") }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::RAW;
    use crate::measurements::tests::measured;

    #[test]
    fn a_table_tells_medians_spreads_ratios_and_targets() {
        let load = Load::Closed { in_flight: 512 };
        let rounds = [(1, 100_000, 92_000), (2, 110_000, 99_000), (3, 90_000, 90_000)];
        let measurements = rounds
            .into_iter()
            .flat_map(|(round, raw, read)| {
                [measured(RAW, load, round, raw), measured("read-together-1", load, round, read)]
            })
            .collect();
        let text = report(&Results { measurements, ..Results::default() });
        for expected in [
            "### Throughput",
            "| 100,000 [90,000–110,000] |",
            "92,000 [90,000–99,000]",
            "0.92 [0.90–1.00]",
            "at least 0.8 |",
            "|          met |",
            "not measured",
            "core/read-together-1",
        ] {
            assert!(text.contains(expected), "{expected} is missing:\n{text}");
        }
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| raw")).collect();
        assert!(rows[0].contains('–'), "raw is not compared with itself: {rows:?}");
    }

    #[test]
    fn figures_have_as_many_digits_as_anyone_reads() {
        assert_eq!([milliseconds(0.3456), milliseconds(12.345), milliseconds(234.5)], ["0.346", "12.35", "234"]);
        assert_eq!([ratio(0.876), ratio(12.34)], ["0.88", "12.3"]);
        assert_eq!([grouped(7), grouped(1_234_567)], ["7", "1,234,567"]);
    }
}
