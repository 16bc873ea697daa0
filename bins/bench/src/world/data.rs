//! The data sets that replica managers start from, made once each.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use natter_database::dataset::{Plan, generate};

use crate::progress::tell;

/// Seed of data sets, the same in every run.
const SEED: u64 = 1;
/// Ratings of a user, on average: about as many as in MovieLens' ml-latest-small and ml-32m.
const RATINGS_PER_USER: u64 = 160;
/// Movies, as in the small data set of MovieLens and in the large one.
const MOVIES_FEW: u32 = 9_742;
const MOVIES_MANY: u32 = 87_585;

/// Returns the number of users in a data set with this number of ratings.
pub(crate) fn users(ratings: u64) -> u32 {
    u32::try_from(ratings / RATINGS_PER_USER).unwrap_or(u32::MAX).max(1)
}

fn movies(ratings: u64) -> u32 {
    if ratings < 1_000_000 { MOVIES_FEW } else { MOVIES_MANY }
}

/// Returns the SQLite file with this number of ratings, in `folder`. Makes it where it is missing.
pub(crate) async fn file(folder: &Path, ratings: u64) -> Result<PathBuf> {
    let (users, movies) = (users(ratings), movies(ratings));
    let path = folder.join(format!("bench-{users}-{movies}-{ratings}-{SEED}.sqlite"));
    if path.exists() {
        return Ok(path);
    }
    if ratings >= 1_000_000 {
        tell(&format!("making a data set of {ratings} ratings, which takes a while"));
    }
    std::fs::create_dir_all(folder).with_context(|| format!("the folder {} can't be made", folder.display()))?;
    let (plan, to) = (Plan::new(users, movies, ratings, SEED)?, path.clone());
    tokio::task::spawn_blocking(move || generate(&plan, &to, false, &mut |_| {})).await??;
    Ok(path)
}
