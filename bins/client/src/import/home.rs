//! The cluster that a file is imported into, and the place of the journal: it belongs to that cluster, not to an address.

use std::path::{Path, PathBuf};

use natter_common::cluster::ClusterId;
use serde::{Deserialize, Serialize};

use super::{ImportError, JournalError};
use crate::api::Client;
use crate::error::ErrorName;
use crate::state::{self, State};
use crate::transport::Transport;

/// The cluster of an import, and its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// The cluster that answers, if it has a name.
    pub cluster: Option<ClusterId>,
    /// Its journal; `None` to keep none.
    pub journal: Option<PathBuf>,
}

/// The cluster into which a file was imported last, at one address.
#[derive(PartialEq, Serialize, Deserialize)]
struct Pointer {
    cluster: ClusterId,
}

/// Finds out which cluster answers, and where its journal of a file is. Tells where that is another cluster than the last
/// time.
///
/// # Errors
///
/// Where there is no answer.
pub async fn find_home<T: Transport>(
    client: &mut Client<T>,
    state: Option<State>,
    file: &Path,
    notify: fn(&str),
) -> Result<Home, ImportError> {
    let Some(state) = state else { return Ok(Home::default()) };
    let name = journal_name(file);
    let pointer = state.at_address(&name);
    // A broken one is as good as none: only a sentence is lost.
    let before = state::read::<Pointer>(&pointer).ok().flatten().map(|pointer| pointer.cluster);
    let cluster = match client.find_cluster(None, before.as_ref()).await {
        Err(error) if error.name == ErrorName::Stale => {
            // It answers, but it is another one.
            client.find_cluster(None, None).await.map_err(ImportError::not_begun)?
        }
        found => {
            let found = found.map_err(ImportError::not_begun)?;
            if let (Some(before), Some(now)) = (&before, &found)
                && before != now
            {
                go_on_under(&state, &name, before, now);
            }
            found
        }
    };
    let Some(cluster) = cluster else {
        notify("an import that is interrupted does not go on later: the frontends name no cluster");
        return Ok(Home::default());
    };
    let journal = state.in_cluster(&cluster, &name);
    if let Some(before) = before.filter(|before| *before != cluster && !journal.exists()) {
        notify(&format!(
            "cluster {cluster} answers here, and not cluster {before}, into which this file was imported before: it is \
             imported from its beginning"
        ));
    }
    let kept = state::make_directory_of(&journal).and_then(|()| {
        state::make_directory_of(&pointer)?;
        state::write(&pointer, &Pointer { cluster: cluster.clone() })
    });
    kept.map_err(|error| ImportError::Journal {
        source_name: file.display().to_string(),
        error: JournalError::State(error.to_string()),
    })?;
    Ok(Home { cluster: Some(cluster), journal: Some(journal) })
}

/// The cluster has another name since it met another one: its journal goes with it.
fn go_on_under(state: &State, name: &str, before: &ClusterId, now: &ClusterId) {
    let (old, new) = (state.in_cluster(before, name), state.in_cluster(now, name));
    if old.exists() && !new.exists() && state::make_directory_of(&new).is_ok() {
        // One that stays behind costs a look at each rating.
        let _ = std::fs::rename(old, new);
    }
}

/// The name of the journal of a file, which tells apart files of one name in different folders.
fn journal_name(file: &Path) -> String {
    // A file that is not there is told of when it is read.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let name = state::plain(&file.file_stem().unwrap_or_default().to_string_lossy());
    let hash = state::hash(file.as_os_str().as_encoded_bytes().iter().copied());
    format!("{name}-{hash:016x}.import")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_in_different_folders_are_told_apart() {
        let (a, b) = (journal_name(Path::new("/x/ratings.csv")), journal_name(Path::new("/y/ratings.csv")));
        assert!(a != b && a.starts_with("ratings-") && a.ends_with(".import"), "{a} {b}");
    }
}
