//! `dataset`: imports, generates, exports and fingerprints the data sets that replicas start from.

mod export;
mod interrupt;
mod progress_line;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use natter_database::dataset::{Plan, generate, import, verify};
use natter_database::{DataSource, Description, Store};

use crate::progress_line::ProgressLine;

/// Makes and checks the data sets that replicas start from (`replica --database PATH`).
///
/// Results go to standard output, progress to standard error.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes one SQLite file, which needs no load, of a folder in MovieLens' layout.
    Import {
        /// The folder, with movies.csv and ratings.csv.
        dir: PathBuf,
        /// The file to make.
        file: PathBuf,
        /// Replace the file if it exists.
        #[arg(long)]
        force: bool,
    },
    /// Makes a SQLite file of synthetic movies and ratings: the same for the same numbers and seed.
    Generate {
        /// Number of users, with ids from 1.
        #[arg(long, value_name = "U", default_value_t = 610)]
        users: u32,
        /// Number of movies, with ids from 1.
        #[arg(long, value_name = "M", default_value_t = 10_000)]
        movies: u32,
        /// Number of ratings, each of another user and movie.
        #[arg(long, value_name = "R", default_value_t = 100_000)]
        ratings: u64,
        /// Seed; another seed gives other ratings.
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
        /// The file to make.
        file: PathBuf,
        /// Replace the file if it exists.
        #[arg(long)]
        force: bool,
    },
    /// Writes the ratings of a replica that runs, or of a replica's directory, as a data set: a backup, from which a new
    /// cluster can be started.
    Export(Box<export::Export>),
    /// Shows what a data set is known by, and how much there is in it.
    Fingerprint {
        /// A folder in MovieLens' layout or a SQLite file; without it, the sample.
        path: Option<PathBuf>,
        /// Read a SQLite file from end to end, and check that its counts and fingerprint are right.
        #[arg(long)]
        verify: bool,
    },
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    interrupt::watch();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dataset: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let mut line = ProgressLine::new();
    let mut progress = |progress| line.show(progress);
    let description = match command {
        Command::Import { dir, file, force } => import(&dir, &file, force, &mut progress),
        Command::Generate { users, movies, ratings, seed, file, force } => {
            Plan::new(users, movies, ratings, seed).and_then(|plan| generate(&plan, &file, force, &mut progress))
        }
        Command::Fingerprint { path, verify: is_thorough } => match DataSource::at(path.as_deref()) {
            Ok(DataSource::SqliteFile(path)) if is_thorough => verify(Path::new(&path), &mut progress),
            // CSV files are read from end to end in any case.
            source => source.and_then(|source| Store::open(&source)).map(|store| store.description()),
        },
        Command::Export(export) => return run_export(*export),
    };
    line.clear();
    print(&description?)
}

fn run_export(export: export::Export) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    write_out(&runtime.block_on(export.run())?)
}

fn print(description: &Description) -> anyhow::Result<()> {
    let counts = description.counts;
    let text = format!(
        "fingerprint {}\nmovies      {}\nusers       {}\nratings     {}\n",
        description.fingerprint, counts.movies, counts.users, counts.ratings
    );
    write_out(&text)
}

fn write_out(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}
