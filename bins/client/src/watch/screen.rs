//! The state of the cluster on one screen.

use std::time::Duration;

use super::line::timestamp;
use super::names::Names;
use super::status::{ReplicaRow, Snapshot};
use natter_common::counted::counted;

/// Width from which a process has one line, in columns.
const WIDE: usize = 72;

/// The lines, none longer than `width` where that is given.
pub fn lines(snapshot: &Snapshot, names: &Names, width: Option<usize>) -> Vec<String> {
    let mut lines = head(snapshot);
    let is_wide = width.is_none_or(|width| width >= WIDE);
    lines.push(String::new());
    if is_wide {
        wide(snapshot, names, &mut lines);
    } else {
        narrow(snapshot, names, &mut lines);
    }
    lines.extend(snapshot.hidden.iter().cloned());
    match width {
        Some(width) => lines.iter().map(|line| line.chars().take(width).collect()).collect(),
        None => lines,
    }
}

fn head(snapshot: &Snapshot) -> Vec<String> {
    let cluster = snapshot.cluster.as_ref().map_or_else(|| "cluster".to_owned(), |id| format!("cluster {id}"));
    let (frontends, replicas) =
        (counted(snapshot.frontends.len(), "frontend"), counted(snapshot.replicas.len(), "replica"));
    let since = time_of_day(&snapshot.since);
    let state = match snapshot.converged {
        Some(true) => format!("converged, at least since {since}"),
        Some(false) => format!("not converged, at least since {since}"),
        None => "no replica shows itself".to_owned(),
    };
    let newest = match &snapshot.newest_update {
        Some(time) => format!("newest update: {time}"),
        None => "no update yet".to_owned(),
    };
    vec![format!("{cluster}, prefix {}: {frontends}, {replicas}", snapshot.prefix), state, newest]
}

fn wide(snapshot: &Snapshot, names: &Names, lines: &mut Vec<String>) {
    lines.push(format!("{:<12} {:<10} {:>8}  has seen", "frontend", "status", "uptime"));
    for row in &snapshot.frontends {
        let (name, status) = (names.of(&row.id), row.status.to_string());
        lines.push(format!("{name:<12} {status:<10} {:>8}  {}", uptime(row.uptime_ms), timestamp(&row.prev, names)));
    }
    lines.push(String::new());
    let columns = ("status", "uptime", "behind", "log", "digest");
    lines.push(format!(
        "{:<12} {:<10} {:>8} {:>14} {:>6}  {:<16}  has applied",
        "replica", columns.0, columns.1, columns.2, columns.3, columns.4
    ));
    for row in &snapshot.replicas {
        let (name, status, digest) = (names.of(&row.id), row.status.to_string(), digest(row));
        let (uptime, behind, log) = (uptime(row.uptime_ms), behind(row), row.log_length);
        let applied = timestamp(&row.value_timestamp, names);
        lines.push(format!(
            "{name:<12} {status:<10} {uptime:>8} {behind:>14} {log:>6}  {digest:<16}  {applied}{}",
            more(row, names)
        ));
    }
}

fn narrow(snapshot: &Snapshot, names: &Names, lines: &mut Vec<String>) {
    for row in &snapshot.frontends {
        lines.push(format!("{} {}, up {}", names.of(&row.id), row.status, uptime(row.uptime_ms)));
        lines.push(format!("  seen {}", timestamp(&row.prev, names)));
    }
    for row in &snapshot.replicas {
        lines.push(format!("{} {}, up {}", names.of(&row.id), row.status, uptime(row.uptime_ms)));
        lines.push(format!("  behind {}, log {}", behind(row), row.log_length));
        lines.push(format!("  digest {}", digest(row)));
        lines.push(format!("  has {}{}", timestamp(&row.value_timestamp, names), more(row, names)));
    }
}

/// Records that are held and not applied, and records that are lost.
fn more(row: &ReplicaRow, names: &Names) -> String {
    let mut text = String::new();
    if row.replica_timestamp != row.value_timestamp {
        text = format!(", holds {}", timestamp(&row.replica_timestamp, names));
    }
    if row.lost > 0 {
        text += &format!(", {} lost", row.lost);
    }
    text
}

fn behind(row: &ReplicaRow) -> String {
    match row.lag_ms {
        Some(ms) => format!("{}, {}", row.lag_records, uptime(ms)),
        None => "-".to_owned(),
    }
}

fn digest(row: &ReplicaRow) -> String {
    row.digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string())
}

/// `12:03:04` of an RFC 3339 time.
fn time_of_day(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

/// A duration in the unit that suits it.
fn uptime(ms: u64) -> String {
    let seconds = Duration::from_millis(ms).as_secs();
    match seconds {
        0..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
