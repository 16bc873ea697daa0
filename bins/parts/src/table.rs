//! Counting, and the comparison with the baseline.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::baseline::{self, Baseline};
use crate::control;
use crate::part::Part;

/// Maximum excess of a part over the baseline, in percent.
const MORE_PERCENT_MAX: u64 = 10;

/// Counts `parts` and prints them as a table. With `check`, fails where one takes too much more than that file says, or is
/// not in it. With `renew`, writes the counts into that file.
pub(crate) fn count(
    parts: impl Iterator<Item = &'static Part>,
    check: Option<&Path>,
    renew: Option<&Path>,
) -> Result<()> {
    let known = check.map(baseline::read).transpose()?;
    let mut counts = Baseline::new();
    let mut problems = Vec::new();
    println!("| part | instructions |");
    println!("| --- | --- |");
    for part in parts {
        let counted = instructions(part)?;
        println!("| {} | {} |", part.name, thousands(counted));
        counts.insert(part.name.to_owned(), counted);
        let Some(known) = &known else { continue };
        match known.get(part.name) {
            Some(before) if counted * 100 > before * (100 + MORE_PERCENT_MAX) => {
                problems.push(format!("{}: {counted} instructions, {before} before", part.name));
            }
            Some(_) => {}
            None => problems.push(format!("{}: {counted} instructions, not in the baseline", part.name)),
        }
    }
    if let Some(path) = renew {
        baseline::renew(path, counts)?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "more than {MORE_PERCENT_MAX} % over the baseline:\n{}\nMake it cheaper, or, where it is worth that much, renew the \
         baseline with --renew and say why in the commit",
        problems.join("\n")
    )
}

/// Returns the instructions of one repetition of the part.
fn instructions(part: &Part) -> Result<u64> {
    let said = control::run(part.name, part.slow)?;
    let collected = said.lines().find_map(|line| line.split("Collected :").nth(1));
    let collected = collected.and_then(|number| number.trim().parse::<u64>().ok()).filter(|number| *number > 0);
    Ok(collected.with_context(|| format!("{}: valgrind counted nothing: {said}", part.name))? / part.times)
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        (0..digits.len()).rev().step_by(3).map(|last| &digits[last.saturating_sub(2)..=last]).collect();
    groups.into_iter().rev().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([7, 999, 1000, 1_234_567].map(thousands), ["7", "999", "1,000", "1,234,567"]);
    }
}
