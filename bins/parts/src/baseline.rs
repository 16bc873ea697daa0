//! The baseline: instructions of each part, in a file of a name, a tab and a number a line, below a line of titles.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::part::Part;

/// The first line of the file.
const TITLES: &str = "part\tinstructions";

/// Instructions by the parts' names.
pub(crate) type Baseline = BTreeMap<String, u64>;

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Baseline> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// Writes these counts into the file. Parts that were not counted keep what the file says of them, and parts that there are
/// no more are left out.
pub(crate) fn renew(path: &Path, counted: Baseline) -> Result<()> {
    let mut baseline = if path.exists() { read(path)? } else { Baseline::new() };
    baseline.extend(counted);
    std::fs::write(path, text(&baseline)).with_context(|| format!("{} can't be written", path.display()))
}

fn parse(text: &str) -> Result<Baseline> {
    let mut lines = text.lines();
    if lines.next() != Some(TITLES) {
        bail!("the first line is not {TITLES:?}, with a tab between the two");
    }
    let row = |line: &str| {
        let (name, number) = line.split_once('\t')?;
        Some((name.to_owned(), number.parse::<u64>().ok()?))
    };
    lines.map(|line| row(line).with_context(|| format!("{line:?} is not a part, a tab and a number"))).collect()
}

/// In the order of the parts, so that a change shows as the lines that changed.
fn text(baseline: &Baseline) -> String {
    let known = Part::all().filter_map(|part| Some((part.name, baseline.get(part.name)?)));
    let rows: String = known.map(|(name, number)| format!("{name}\t{number}\n")).collect();
    format!("{TITLES}\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "an update at its acceptor";

    #[test]
    fn the_baseline_has_all_parts_that_are_always_counted() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.tsv");
        let baseline = read(&path).unwrap();
        for part in Part::all().filter(|part| !part.slow) {
            assert!(baseline.contains_key(part.name), "{} is missing", part.name);
        }
        assert_eq!(text(&baseline), std::fs::read_to_string(&path).unwrap(), "as --renew writes it");
    }

    #[test]
    fn renewing_keeps_parts_that_were_not_counted_and_drops_unknown_ones() {
        let folder = std::env::temp_dir().join(format!("natter-parts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("instructions.tsv");
        renew(&path, Baseline::from([(FIRST.to_owned(), 7)])).unwrap();
        let with_others = format!("{TITLES}\nno part any more\t5\nmerging timestamps of 3\t9\n{FIRST}\t7\n");
        std::fs::write(&path, with_others).unwrap();
        renew(&path, Baseline::from([(FIRST.to_owned(), 8)])).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(text, format!("{TITLES}\n{FIRST}\t8\nmerging timestamps of 3\t9\n"));
    }

    #[test]
    fn a_file_of_another_kind_is_refused_with_its_line() {
        assert!(parse("| part | instructions |\n").is_err());
        let error = parse(&format!("{TITLES}\nmerging\tmany\n")).unwrap_err().to_string();
        assert!(error.contains("merging") && error.contains("a tab and a number"), "{error}");
    }
}
