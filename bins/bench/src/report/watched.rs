//! The table of clusters that are watched.

use super::tables::{grouped, in_order, load_text, milliseconds, ratio, spread, table};
use crate::load::job::{Load, Outcome};
use crate::measurements::{Measurement, Results};
use crate::section::Section;
use crate::statistics::Spread;

/// The table; empty where nothing of it was measured.
pub(super) fn table_of(results: &Results) -> String {
    let section = Section::Watched;
    let head = [
        "",
        "load",
        "answers/s",
        "p99 ms",
        "failed",
        "processor µs an answer",
        "answers/s to not watched",
        "p99 to it",
        "processor time to it",
    ];
    let rows: Vec<Vec<String>> = in_order(results, section)
        .into_iter()
        .map(|(subject, load)| {
            let name = subject.name.as_str();
            let of = |figure: &dyn Fn(&Measurement) -> Option<f64>| {
                Spread::of(results.of(section, name, load).filter_map(figure))
            };
            let names = beside(name).map(|off| (name, off));
            let throughput = names.and_then(|names| results.ratio(section, names, load, Outcome::per_second));
            let p99 = names.and_then(|names| results.ratio(section, names, load, |outcome| outcome.latency.p99_us));
            let processor = names.and_then(|names| results.processor_ratio(section, names, load));
            let load_name = match load {
                Load::Open { .. } => format!("half of the best, {}", load_text(load)),
                Load::Closed { .. } => load_text(load),
            };
            vec![
                subject.title.clone(),
                load_name,
                spread(results.throughput(section, name, load), |figure| grouped(figure.round() as u64)),
                spread(results.latency_ms(section, name, load, |latency| latency.p99_us), milliseconds),
                spread(of(&|measurement| Some(measurement.outcome.refused_percent())), |figure| {
                    format!("{figure:.1} %")
                }),
                spread(of(&Measurement::processor_us_of_system), |figure| format!("{figure:.2}")),
                spread(throughput, ratio),
                spread(p99, ratio),
                spread(processor, fine_ratio),
            ]
        })
        .collect();
    table(section.title(), &head, &rows)
}

/// The subject that is not watched; `None` for that one itself.
fn beside(name: &str) -> Option<&str> {
    name.split_once('-').map(|(kind, _)| kind)
}

/// A ratio of which hundredths count.
fn fine_ratio(figure: f64) -> String {
    format!("{figure:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurements::tests::measured;

    #[test]
    fn watched_cluster_is_compared_with_one_that_is_not() {
        let load = Load::Open { per_second: 500.0 };
        let in_section = |name, answers, processor_us| {
            let mut measurement = measured(name, load, 1, answers);
            measurement.subject.section = Section::Watched;
            measurement.processor_us = [("replica", processor_us), ("load", 7.0)].into();
            measurement
        };
        let measurements = vec![in_section("read", 100, 10.0), in_section("read-metrics", 90, 10.1)];
        let text = table_of(&Results { measurements, ..Results::default() });
        let row = text.lines().last().unwrap();
        for expected in ["half of the best, 500/s", " 90 ", "10.10", "0.90", "1.11", "1.010"] {
            assert!(row.contains(expected), "{expected} is missing:\n{text}");
        }
        assert_eq!((beside("update"), beside("update-all")), (None, Some("update")));
    }
}
