//! Data sets for the tests.

use std::path::{Path, PathBuf};

/// Movies with all that is awkward in MovieLens' files, and a few ratings: few enough to know each by heart.
const MOVIES: &str = "movieId,title,genres\r\n\
    1,Toy Story (1995),Adventure|Animation|Children|Comedy|Fantasy\r\n\
    2,Jumanji (1995),Adventure|Children|Fantasy\r\n\
    3,\"American President, The (1995)\",Comedy|Drama|Romance\r\n\
    5,Le fabuleux destin d'Amélie Poulain (2001),Comedy|Romance\r\n\
    7,100% Wolf (2020),Animation\r\n\
    8,100 Girls (2000),Comedy\r\n\
    9,Snake_Eyes (1998),Action\r\n\
    10,Snake Eyes (1998),Action\r\n\
    193609,Untitled (2018),(no genres listed)\r\n\
    4294967295,\"Last Film, The (2024)\",Drama\r\n";

const RATINGS: &str = "userId,movieId,rating,timestamp\r\n\
    1,1,4.0,964982703\r\n\
    1,2,3.5,964982704\r\n\
    1,3,0.5,964982705\r\n\
    2,1,5.0,964982706\r\n\
    42,1,4.5,1704067200\r\n\
    42,4294967295,1.0,1704067201\r\n\
    4294967295,2,2.5,1704067202\r\n";

/// Writes the small data set into a folder of `directory`, and gives the folder.
pub fn write_small(directory: &Path) -> PathBuf {
    write(directory, "small", MOVIES, RATINGS)
}

/// The small data set with one more rating.
pub fn write_other(directory: &Path) -> PathBuf {
    write(directory, "other", MOVIES, &format!("{RATINGS}7,7,3.0,1704067203\r\n"))
}

fn write(directory: &Path, name: &str, movies: &str, ratings: &str) -> PathBuf {
    let folder = directory.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("movies.csv"), movies).unwrap();
    std::fs::write(folder.join("ratings.csv"), ratings).unwrap();
    folder
}
