//! Plots of the results.

use std::path::Path;

use anyhow::{Context, Result};

use super::svg::{Bar, Line, bars, lines};
use super::tables::load_text;
use crate::catalogue::{Asked, SIZES, Subject};
use crate::load::job::Load;
use crate::measurements::Results;
use crate::section::Section;

const ANSWERS: &str = "answers/s: median, and from the least to the greatest of all rounds";

/// Writes a file for each plot that there are figures for; gives their names.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<Vec<String>> {
    let failed = || format!("plots can't be written into {}", folder.display());
    std::fs::create_dir_all(folder).with_context(failed)?;
    let mut names = Vec::new();
    for (name, svg) in plots(results) {
        std::fs::write(folder.join(&name), svg).with_context(failed)?;
        names.push(name);
    }
    Ok(names)
}

/// Files' names and contents.
fn plots(results: &Results) -> Vec<(String, String)> {
    let mut plots = Vec::new();
    for section in [Section::Core, Section::Durable] {
        for load in loads(results, section) {
            let bars_of: Vec<Bar> = subjects(results, section)
                .filter_map(|subject| {
                    let figure = results.throughput(section, &subject.name, load)?;
                    Some(Bar { name: subject.title.clone(), figure, colour: colour(subject.asked) })
                })
                .collect();
            if let Load::Closed { in_flight } = load {
                let title = format!("{}, {}", section.title(), load_text(load));
                plots.push((format!("{}-{in_flight}.svg", section.name()), bars(&title, ANSWERS, &bars_of)));
            }
        }
    }
    plots.extend(latency(results));
    let replicas = [1, 2, 3, 5, 8].map(|n| (f64::from(n), n.to_string(), n.to_string()));
    plots.extend(against(results, Section::Replicas, &replicas));
    // By order of magnitude.
    let sizes = SIZES.map(|(ratings, text)| ((ratings as f64).log10(), text.to_owned(), format!("{text} ratings")));
    plots.extend(against(results, Section::Data, &sizes));
    plots
}

/// Latencies of Natter and others at each rate, the median and the 99th percentile.
fn latency(results: &Results) -> Vec<(String, String)> {
    let section = Section::Latency;
    let loads = loads(results, section);
    let rate = |load: &Load| match load {
        Load::Open { per_second } => *per_second,
        Load::Closed { in_flight } => *in_flight as f64,
    };
    let places: Vec<(f64, String)> = loads.iter().map(|load| (rate(load).log10(), load_text(*load))).collect();
    let plot = |name: &str, title: &str, quantile: fn(&crate::load::job::Latency) -> f64| {
        let of = |subject: &Subject| Line {
            name: subject.title.clone(),
            points: loads
                .iter()
                .filter_map(|load| {
                    Some((rate(load).log10(), results.latency_ms(section, &subject.name, *load, quantile)?))
                })
                .collect(),
        };
        let lines_of: Vec<Line> = subjects(results, section).map(of).collect();
        (!lines_of.is_empty()).then(|| {
            let unit = "milliseconds from the intended time: median, and from the least to the greatest of all rounds";
            (format!("{name}.svg"), lines(title, unit, &places, &lines_of))
        })
    };
    let medians = plot("latency-p50", "Latency, half are faster", |latency| latency.p50_us);
    let slow = plot("latency-p99", "Latency, 99 of 100 are faster", |latency| latency.p99_us);
    medians.into_iter().chain(slow).collect()
}

/// Throughput of reads and updates against something: its place on the axis, the ending of the subject's name, its name.
fn against(results: &Results, section: Section, steps: &[(f64, String, String)]) -> Option<(String, String)> {
    let load = loads(results, section).pop()?;
    let line = |word: &str| {
        let points = steps.iter().filter_map(|(place, ending, _)| {
            Some((*place, results.throughput(section, &format!("{word}-{ending}"), load)?))
        });
        Line { name: format!("{word}s"), points: points.collect() }
    };
    let places: Vec<(f64, String)> = steps.iter().map(|(place, _, name)| (*place, name.clone())).collect();
    let title = format!("{}, {}", section.title(), load_text(load));
    Some((format!("{}.svg", section.name()), lines(&title, ANSWERS, &places, &["read", "update"].map(line))))
}

fn subjects(results: &Results, section: Section) -> impl Iterator<Item = &Subject> {
    let mut seen: Vec<&str> = Vec::new();
    let subjects = results.measurements.iter().map(|measurement| &measurement.subject);
    subjects.filter(move |subject| {
        let is_new = subject.section == section && !seen.contains(&subject.name.as_str());
        if is_new {
            seen.push(&subject.name);
        }
        is_new
    })
}

fn loads(results: &Results, section: Section) -> Vec<Load> {
    let of_section = results.measurements.iter().filter(|measurement| measurement.subject.section == section);
    let mut loads: Vec<Load> = of_section.map(|measurement| measurement.load).collect();
    loads.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    loads.dedup();
    loads
}

fn colour(asked: Asked) -> usize {
    match asked {
        Asked::Natter { .. } | Asked::Batch { .. } => 0,
        Asked::Kv(_) | Asked::Valkey(_) => 1,
        Asked::Echo | Asked::EchoOfRead | Asked::Request => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::RAW;
    use crate::measurements::tests::measured;

    #[test]
    fn there_is_a_plot_for_each_load_and_none_without_figures() {
        let loads = [1, 512].map(|in_flight| Load::Closed { in_flight });
        let measurements = loads.into_iter().flat_map(|load| [measured(RAW, load, 1, 9), measured("read", load, 1, 8)]);
        let results = Results { measurements: measurements.collect(), ..Results::default() };
        let folder = tempfile::tempdir().unwrap();
        let names = write(&results, folder.path()).unwrap();
        assert_eq!(names, ["core-1.svg", "core-512.svg"]);
        let svg = std::fs::read_to_string(folder.path().join("core-512.svg")).unwrap();
        assert!(svg.contains("512 in flight") && svg.contains(">read</text>"));
    }
}
