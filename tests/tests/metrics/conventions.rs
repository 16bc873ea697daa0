//! Conventions of Prometheus for names and texts, and the document.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::scrape::Scrape;

/// Words in names that are no base unit.
const NOT_BASE_UNITS: [&str; 8] =
    ["milliseconds", "ms", "microseconds", "minutes", "hours", "kilobytes", "megabytes", "percent"];

/// A file of the project.
pub(crate) fn file(path: &str) -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Each metric has a help line and a type, its name has the ending of its type, and no sample is without both.
pub(crate) fn check(scrape: &Scrape) {
    let mut known = BTreeSet::new();
    let mut lines = scrape.text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && help.starts_with(char::is_uppercase), "{name}: {help:?} is no sentence");
            let of_type = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type after the help");
            let (typed, kind) = of_type.split_once(' ').unwrap();
            assert_eq!(typed, name);
            assert!(name.starts_with("natter_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(
                !name.split('_').any(|word| NOT_BASE_UNITS.contains(&word)),
                "{name} has a unit that is no base unit"
            );
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert_eq!(kind == "histogram", name.ends_with("_duration_seconds"), "{name} is a {kind}");
            assert!(known.insert(name), "{name} is there twice");
            continue;
        }
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(known.contains(base_of(name)) || known.contains(name), "{line}: no help and no type");
    }
    assert!(known.len() > 30, "{known:?}");
}

/// The metric that a sample of a histogram belongs to.
fn base_of(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// Checks with the tool of Prometheus, where it is there.
pub(crate) async fn check_with_promtool(scrape: &Scrape) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) => return println!("skipped: no promtool (Debian package prometheus): {error}"),
    };
    child.stdin.take().unwrap().write_all(scrape.text.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.is_empty(), "promtool: {told}");
}

/// Names of metrics in a text.
pub(crate) fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("natter_")).collect()
}

/// The document names every metric, and no other.
pub(crate) fn check_document(scrape: &Scrape) {
    let document = file("docs/METRICS.md");
    let documented = names_in(&document);
    let exported: BTreeSet<&str> = scrape.names().into_iter().collect();
    assert_eq!(documented, exported, "docs/METRICS.md and the metrics differ");
}
