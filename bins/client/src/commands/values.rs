//! Values of arguments, or why the text is none.

use std::convert::Infallible;
use std::ffi::OsString;

use clap::Parser;
use natter_common::edge::TITLE_BYTES_MAX;
use natter_common::ids::{MovieId, UserId};
use natter_common::rating::Stars;

use super::{COMMANDS, ClientArgs, Command, MovieName};
use crate::import::Source;

pub(super) fn parse_source(text: &str) -> Result<Source, Infallible> {
    Ok(Source::of(text))
}

pub(super) fn parse_user(text: &str) -> Result<UserId, String> {
    match text.parse::<u64>() {
        Ok(number) => UserId::try_from(number).map_err(|error| error.to_string()),
        Err(_) if text.is_empty() => Err("the user is empty: write its number, like 42".to_owned()),
        Err(_) if text.bytes().all(|b| b.is_ascii_digit()) => Err(format!("{text} is too large")),
        Err(_) => Err(format!("this is neither a user's number nor one of the commands {COMMANDS}")),
    }
}

pub(super) fn refuse_command(_: &str) -> Result<Infallible, String> {
    Err(format!("this is none of the commands {COMMANDS}"))
}

/// A movie's number, or why the text is none.
pub(crate) fn parse_movie(text: &str) -> Result<MovieId, String> {
    match text.parse::<u64>() {
        Ok(number) => MovieId::try_from(number).map_err(|error| error.to_string()),
        Err(_) => Err("a movie is named by its number, from 1 to 4294967295; `search` finds it".to_owned()),
    }
}

/// A movie's number, or a part of its title; digits are always a number.
pub(super) fn parse_movie_name(text: &str) -> Result<MovieName, String> {
    if text.is_empty() {
        return Err("the movie is empty: write its number, or a part of its title".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return parse_movie(text).map(MovieName::Id);
    }
    parse_title(text).map(MovieName::Title)
}

/// A rating, with the reason where it is none.
pub(crate) fn parse_stars(text: &str) -> Result<Stars, String> {
    const SCALE: &str = "a rating is one of 0.5, 1.0, 1.5, ... 5.0";
    let number: f64 = text.trim().parse().map_err(|_| SCALE.to_owned())?;
    Stars::try_from(number).map_err(|_| SCALE.to_owned())
}

/// A part of a title, or why it can't be searched for. An empty one finds all movies.
pub(crate) fn parse_title(text: &str) -> Result<String, String> {
    if text.len() > TITLE_BYTES_MAX {
        return Err(format!("a part of the title has at most {TITLE_BYTES_MAX} bytes"));
    }
    Ok(text.to_owned())
}

pub(super) fn parse_user_of_watch(text: &str) -> Result<UserId, String> {
    match text.parse::<u64>() {
        Ok(number) => UserId::try_from(number).map_err(|error| error.to_string()),
        Err(_) => Err("write the number of a user, like 42; the broker's user stands before `watch`".to_owned()),
    }
}

/// The command line with each `--user` after the word `watch` written as `--of-user`. There it is the user that rates; the
/// option of all commands is the broker's user.
pub(super) fn with_own_user_of_watch(given: Vec<OsString>) -> Vec<OsString> {
    // The word may be a value of another option, so the line up to it must be one of the command.
    let is_command = |place: &usize| {
        let parsed = ClientArgs::try_parse_from(&given[..=*place]);
        given[*place] == "watch" && parsed.is_ok_and(|args| matches!(args.command, Some(Command::Watch { .. })))
    };
    let Some(place) = (1..given.len()).find(is_command) else { return given };
    let renamed = given.iter().enumerate().map(|(n, word)| match word.to_str() {
        Some("--user") if n > place => "--of-user".into(),
        Some(text) if n > place => match text.strip_prefix("--user=") {
            Some(user) => format!("--of-user={user}").into(),
            None => word.clone(),
        },
        _ => word.clone(),
    });
    renamed.collect()
}
