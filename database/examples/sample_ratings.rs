//! Writes the sample's `ratings.csv` to standard output, for the movies of its `movies.csv`:
//! `cargo run -p natter-database --example sample_ratings > ratings.csv`.

use std::io::{self, BufWriter, Write};

use natter_database::dataset::sample_plan;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut output = BufWriter::new(io::stdout().lock());
    writeln!(output, "userId,movieId,rating,timestamp")?;
    sample_plan()?
        .for_each(|key, stars, timestamp| writeln!(output, "{},{},{stars},{timestamp}", key.user_id, key.movie_id))?;
    output.flush()?;
    Ok(())
}
