//! Reads the source on a thread of its own, ahead of what is sent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};

use tokio::sync::mpsc::Sender;

use super::rows::{Line, Place, Rows};
use super::{ImportError, Source};

/// Lines that were read together.
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    /// The place after them.
    pub(super) end: Place,
    /// The columns of the source.
    pub(super) columns: &'static [&'static str],
}

/// Reads the source from a place on, in chunks of these sizes at first and then of `size`, until nobody takes them.
pub(super) fn read(
    source: &Source,
    from: Place,
    sizes: &[u64],
    size: usize,
    to: &Sender<Lines>,
) -> Result<(), ImportError> {
    let unreadable = |error| ImportError::Unreadable { source_name: source.to_string(), error };
    let header = |error| ImportError::Header { source_name: source.to_string(), error };
    match source {
        Source::File(path) => {
            let file = File::open(path).map_err(unreadable)?;
            let mut rows = Rows::open(BufReader::with_capacity(1 << 17, file)).map_err(unreadable)?.map_err(header)?;
            if from != Place::default() {
                rows.reader().seek(SeekFrom::Start(from.bytes)).map_err(unreadable)?;
                rows.go_on_at(from);
            }
            read_rows(rows, sizes, size, to).map_err(unreadable)
        }
        // Opened once: what was read of a pipe is gone.
        Source::Stream(path) => {
            let file = BufReader::with_capacity(1 << 17, File::open(path).map_err(unreadable)?);
            read_rows(Rows::open(file).map_err(unreadable)?.map_err(header)?, &[], size, to).map_err(unreadable)
        }
        Source::StandardInput => {
            read_rows(Rows::open(io::stdin().lock()).map_err(unreadable)?.map_err(header)?, &[], size, to)
                .map_err(unreadable)
        }
    }
}

fn read_rows<R: BufRead>(mut rows: Rows<R>, sizes: &[u64], usual: usize, to: &Sender<Lines>) -> io::Result<()> {
    let mut sizes = sizes.iter().map(|size| *size as usize);
    loop {
        let size = sizes.next().unwrap_or(usual);
        let mut lines = Vec::with_capacity(size);
        while lines.len() < size {
            match rows.next()? {
                Some(line) => lines.push(line),
                None => break,
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        let read = Lines { lines, end: rows.place(), columns: rows.columns() };
        if to.blocking_send(read).is_err() {
            return Ok(());
        }
    }
}
