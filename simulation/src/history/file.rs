//! A history as JSON lines: one `{"initial": row}`, `{"operation": operation}` or `{"final": state}` a line.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::operation::{Final, History, Operation, Row};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Initial(Row),
    Operation(Operation),
    Final(Final),
}

/// Writes a history.
pub fn write(history: &History, out: &mut dyn Write) -> io::Result<()> {
    let initial = history.initial.iter().cloned().map(Line::Initial);
    let operations = history.operations.iter().cloned().map(Line::Operation);
    for line in initial.chain(operations).chain(history.finals.iter().cloned().map(Line::Final)) {
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Reads what [`write()`] wrote. Fails with [`io::ErrorKind::InvalidData`], naming the line, for anything else.
pub fn read(input: &mut dyn BufRead) -> io::Result<History> {
    let mut history = History::default();
    for (n, text) in input.lines().enumerate() {
        let text = text?;
        if text.trim().is_empty() {
            continue;
        }
        let line = serde_json::from_str(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {error}", n + 1)))?;
        match line {
            Line::Initial(row) => history.initial.push(row),
            Line::Operation(operation) => history.operations.push(operation),
            Line::Final(state) => history.finals.push(state),
        }
    }
    Ok(history)
}
