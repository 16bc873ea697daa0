//! `dataset import`: a folder of CSV files becomes one SQLite file, which needs no load.

use std::path::Path;

use crate::base::Description;
use crate::create::create;
use crate::error::DataError;
use crate::movielens::{self, Folder};
use crate::progress::Progress;

/// Imports the MovieLens folder into a new file; `replace` says whether an existing file may go.
pub fn import(
    folder: &Path,
    file: &Path,
    replace: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Description, DataError> {
    if !folder.exists() {
        return Err(DataError::NotFound { path: folder.display().to_string() });
    }
    let folder = Folder::at(folder)?;
    create(file, replace, progress, |builder, progress| movielens::read(&folder, builder, progress))
}
