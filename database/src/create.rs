//! Makes the SQLite file of a data set: whole, or not at all.

use std::path::Path;

use crate::base::{self, Description};
use crate::builder::Builder;
use crate::error::DataError;
use crate::partial::Partial;
use crate::progress::Progress;

/// Makes the file at `path` with the content that `build` gives; `replace` says whether an existing file may go.
///
/// It is written under another name beside it, which is removed if anything fails, and renamed when it is on the disk.
pub(crate) fn create(
    path: &Path,
    replace: bool,
    progress: &mut dyn FnMut(Progress),
    build: impl FnOnce(&mut Builder<'_>, &mut dyn FnMut(Progress)) -> Result<(), DataError>,
) -> Result<Description, DataError> {
    let unwritable = |reason| DataError::Unwritable { path: path.display().to_string(), reason };
    let exists = || DataError::Exists { path: path.display().to_string() };
    if !replace && path.exists() {
        return Err(exists());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = Partial::file(folder).map_err(unwritable)?;
    let connection = base::connect()?;
    base::attach_new(&connection, file.path())?;
    let mut builder = Builder::new(&connection)?;
    build(&mut builder, progress)?;
    progress(Progress { doing: "counting users", ratings: builder.ratings(), fraction: 1.0 });
    let description = builder.finish()?;
    // Closed before it is synced, so that everything is in the file.
    drop(connection);
    file.sync_all().map_err(unwritable)?;
    if replace {
        file.persist(path).map_err(unwritable)?;
    } else {
        file.persist_new(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(),
            _ => unwritable(error),
        })?;
    }
    Ok(description)
}
