//! Notices that a file is no longer the one that was opened.
//!
//! On Unix a deleted file lives on for a process that has it open: SQLite would go on writing, and all that would be
//! lost.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use natter_common::value::ValueError;

/// A file that is in use, as it was when it was first looked at.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    identity: (u64, u64),
}

impl Watched {
    /// Notes which file is at `path`.
    pub(crate) fn new(path: PathBuf) -> Result<Self, ValueError> {
        match path.metadata() {
            Ok(metadata) => Ok(Self { identity: identity(&metadata), path }),
            Err(_) => Err(gone(&path)),
        }
    }

    /// Returns the length of the file, in bytes. Fails where another is in its place, or none.
    pub(crate) fn bytes(&self) -> Result<u64, ValueError> {
        match self.path.metadata() {
            Ok(metadata) if identity(&metadata) == self.identity => Ok(metadata.len()),
            _ => Err(gone(&self.path)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn gone(path: &Path) -> ValueError {
    let path = path.display();
    ValueError {
        doing: "looking after its files",
        reason: format!("{path} was deleted or replaced while it was in use"),
    }
}

/// Device and inode.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Elsewhere a file that is open cannot be deleted or replaced.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}
