//! A text sequence diagram: a column for each process, a row for each step, time downwards.

use std::collections::BTreeSet;

use super::names::Names;
use super::trace::{Step, Trace};
use natter_common::ids::ReplicaId;

/// Width of a column, in characters.
const COLUMN: usize = 12;

/// The diagram, without the last line's end.
pub fn draw(trace: &Trace, names: &Names) -> String {
    let lanes = lanes(&trace.steps);
    let mut lines = Vec::new();
    let head: String = lanes.iter().map(|lane| format!("{:<COLUMN$}", fit(short(names, &lane.id)))).collect();
    lines.push(format!("{:>8}  {}", "ms", head.trim_end()));
    for Step { at, line } in &trace.steps {
        let ms = format!("{:.2}", at.as_secs_f64() * 1000.0);
        let took = line.took.map(|took| format!(" ({})", super::line::milliseconds(took))).unwrap_or_default();
        lines.push(format!("{ms:>8}  {} {}: {}{took}", row(&lanes, &line.from, &line.to), line.kind, line.text));
    }
    for wait in &trace.waits {
        lines.push(format!("{} {}", short(names, &wait.process), wait.text));
    }
    lines.join("\n")
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    part: Part,
    id: String,
}

/// The part of a process, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Client,
    Frontend,
    Replica,
}

/// Processes in the order of their columns.
fn lanes(steps: &[Step]) -> Vec<Lane> {
    let mut lanes = BTreeSet::new();
    for line in steps.iter().map(|step| &step.line) {
        let (from, to) = match line.kind {
            "request" => (Part::Client, Part::Frontend),
            "answer" => (Part::Frontend, Part::Client),
            "accept?" | "confirm?" | "query" => (Part::Frontend, Part::Replica),
            "reply" => (Part::Replica, Part::Frontend),
            _ if line.to == "client" => (Part::Frontend, Part::Client),
            _ => (Part::Replica, Part::Replica),
        };
        for (part, id) in [(from, &line.from), (to, &line.to)] {
            if id != "all" && !lanes.iter().any(|lane: &Lane| lane.id == *id) {
                lanes.insert(Lane { part, id: id.clone() });
            }
        }
    }
    lanes.into_iter().collect()
}

/// A row of lanes with an arrow from one to another, or to all replicas.
fn row(lanes: &[Lane], from: &str, to: &str) -> String {
    let place = |id: &str| lanes.iter().position(|lane| lane.id == id);
    let mut cells = vec![' '; lanes.len() * COLUMN];
    for lane in 0..lanes.len() {
        cells[lane * COLUMN] = '|';
    }
    let Some(start) = place(from) else { return cells.into_iter().collect() };
    let ends: Vec<usize> = match to {
        "all" => (0..lanes.len()).filter(|lane| *lane != start && lanes[*lane].part == Part::Replica).collect(),
        word => place(word).into_iter().collect(),
    };
    for end in ends.iter().copied() {
        let (left, right) = (start.min(end) * COLUMN, start.max(end) * COLUMN);
        for cell in cells.iter_mut().take(right).skip(left + 1) {
            if *cell == ' ' || *cell == '|' {
                *cell = '-';
            }
        }
        match end.cmp(&start) {
            std::cmp::Ordering::Greater => cells[right - 1] = '>',
            std::cmp::Ordering::Less => cells[left + 1] = '<',
            std::cmp::Ordering::Equal => cells[left] = '*',
        }
    }
    cells.into_iter().collect()
}

fn short<'a>(names: &Names, word: &'a str) -> std::borrow::Cow<'a, str> {
    match ReplicaId::known(word) {
        Ok(id) => names.of(&id).to_owned().into(),
        Err(_) => word.into(),
    }
}

fn fit(text: std::borrow::Cow<'_, str>) -> String {
    text.chars().take(COLUMN - 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_go_from_sender_to_receiver_and_to_all_replicas() {
        let lane = |part, id: &str| Lane { part, id: id.to_owned() };
        let replicas = [lane(Part::Replica, "r1"), lane(Part::Replica, "r2")];
        let lanes = [&[lane(Part::Client, "client"), lane(Part::Frontend, "f1")][..], &replicas].concat();
        assert_eq!(row(&lanes, "client", "f1"), "|---------->|           |           |           ");
        assert_eq!(row(&lanes, "r2", "f1"), "|           |<----------------------|           ");
        assert_eq!(row(&lanes, "r1", "all"), "|           |           |---------->|           ");
        assert_eq!(row(&lanes, "r1", "r1"), "|           |           *           |           ");
    }
}
