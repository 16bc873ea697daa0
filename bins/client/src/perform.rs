//! One command: asked, and its reply as text for standard output.

use natter_common::edge::ReplyOf;
use natter_common::ids::{MovieId, ReplicaId, UserId};
use natter_common::rating::Movie;
use natter_common::request::{SEARCH_LIMIT_MAX, Update};
use serde::Serialize;

use crate::api::Client;
use crate::commands::{Command, MovieName};
use crate::error::{ClientError, ErrorName};
use crate::json::Answer;
use crate::show;
use crate::transport::Transport;

/// Maximum movies that an error lists.
const CHOICES_MAX: usize = 10;

/// Does what `command` says, for `user_id` where it concerns a user, and gives the text to print: with `json` one JSON
/// object `{value, label, replicas}`, else words for people; without the last line's end.
///
/// # Errors
///
/// Where it was not done, or where that is not known.
pub async fn perform<T: Transport>(
    client: &mut Client<T>,
    user_id: Option<UserId>,
    command: &Command,
    json: bool,
) -> Result<String, ClientError> {
    match (command, user_id) {
        (Command::Create { movie, rating, id }, Some(user_id)) => {
            let update = Update::Create { user_id, movie_id: found(client, movie).await?, rating: *rating };
            write(client, update, *id, json).await
        }
        (Command::Update { movie, rating, id }, Some(user_id)) => {
            let update = Update::Update { user_id, movie_id: found(client, movie).await?, rating: *rating };
            write(client, update, *id, json).await
        }
        (Command::Delete { movie, id }, Some(user_id)) => {
            let movie_id = found(client, movie).await?;
            write(client, Update::Delete { user_id, movie_id }, *id, json).await
        }
        (Command::Read { movie }, Some(user_id)) => {
            let movie_id = found(client, movie).await?;
            let reply = client.read(user_id, movie_id).await?;
            text(&reply, json, |reply| read_from(show::rating(reply), &reply.replicas))
        }
        (Command::All { limit, after }, Some(user_id)) => {
            let reply = client.all(user_id, *limit, *after).await?;
            text(&reply, json, |reply| {
                let summary = read_from(show::ratings_summary(user_id, reply), &reply.replicas);
                table(show::rating_rows(&reply.value.ratings), summary)
            })
        }
        (Command::Average { movie }, _) => {
            let movie_id = found(client, movie).await?;
            let reply = client.average(movie_id).await?;
            text(&reply, json, |reply| read_from(show::average(reply), &reply.replicas))
        }
        (Command::Search { title, limit }, _) => {
            let reply = client.search(title, *limit).await?;
            text(&reply, json, |reply| {
                let summary = read_from(show::movies_summary(title, *limit, reply), &reply.replicas);
                table(show::movie_rows(&reply.value.movies), summary)
            })
        }
        (_, _) => Err(ClientError::new(400, ErrorName::BadRequest, "this command is no single request of a user")),
    }
}

/// The movie that a person names: by its number, or by a part of its title that no other movie has. A whole title wins over
/// titles that it is a part of; the year may be left out.
///
/// # Errors
///
/// No movie has it in its title, or several have.
pub async fn found<T: Transport>(client: &mut Client<T>, movie: &MovieName) -> Result<MovieId, ClientError> {
    let title = match movie {
        MovieName::Id(movie_id) => return Ok(*movie_id),
        MovieName::Title(title) => title,
    };
    let movies = client.search(title, SEARCH_LIMIT_MAX).await?.value.movies;
    let wanted = title.trim().to_lowercase();
    let is_whole = |movie: &&Movie| {
        let title = movie.title.to_lowercase();
        let without_year = title.rsplit_once(" (").map_or(title.as_str(), |(name, _)| name);
        title == wanted || without_year == wanted
    };
    let whole: Vec<&Movie> = movies.iter().filter(is_whole).collect();
    match (&whole[..], &movies[..]) {
        ([movie], _) => Ok(movie.movie_id),
        ([], [movie]) => Ok(movie.movie_id),
        ([], []) => {
            let text = format!("no movie has \"{}\" in its title: `search` finds movies", show::clean(title));
            Err(ClientError::new(404, ErrorName::MovieNotFound, text))
        }
        _ => {
            let listed: Vec<String> = movies
                .iter()
                .take(CHOICES_MAX)
                .map(|movie| format!("{} {}", movie.movie_id, show::clean(&movie.title)))
                .collect();
            let more = if movies.len() > CHOICES_MAX { ", and others" } else { "" };
            let text = format!(
                "several movies have \"{}\" in their titles: name one by its number: {}{more}",
                show::clean(title),
                listed.join(", ")
            );
            Err(ClientError::new(400, ErrorName::BadRequest, text))
        }
    }
}

async fn write<T: Transport>(
    client: &mut Client<T>,
    update: Update,
    id: Option<natter_common::ids::UpdateId>,
    json: bool,
) -> Result<String, ClientError> {
    let id = match id {
        Some(id) => id,
        None => client.new_update_id(),
    };
    let reply = client.write(update, id).await?;
    text(&reply, json, |reply| {
        format!("{}  (written by {})", show::update(&update, reply), show::names(&reply.replicas))
    })
}

fn text<V: Serialize>(
    reply: &ReplyOf<V>,
    json: bool,
    words: impl FnOnce(&ReplyOf<V>) -> String,
) -> Result<String, ClientError> {
    if !json {
        return Ok(words(reply));
    }
    serde_json::to_string(&Answer::from(reply)).map_err(ClientError::bad_reply)
}

fn read_from(line: String, replicas: &[ReplicaId]) -> String {
    format!("{line}  (read from {})", show::names(replicas))
}

/// The rows, head first, and the summary below; an empty table is left out.
fn table(mut rows: Vec<String>, summary: String) -> String {
    if rows.len() == 1 {
        return summary;
    }
    rows.push(summary);
    rows.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeFrontend, client};
    use clap::Parser;

    async fn done(client: &mut Client<&FakeFrontend>, line: &str) -> Result<String, String> {
        let args =
            crate::commands::ClientArgs::try_parse_from(std::iter::once("client").chain(line.split(' '))).unwrap();
        perform(client, args.user_id, &args.command.unwrap(), args.json).await.map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn commands_answer_in_words() {
        let frontend = FakeFrontend::default();
        let mut client = client(&frontend);
        for (line, answer) in [
            ("42 read 1", "no rating: user 42 has not rated Toy Story (1995)  (read from r1)"),
            ("42 create 1 4.5", "user 42 rated Toy Story (1995): 4.5  (written by r1, r2)"),
            ("42 read 1", "user 42 rated Toy Story (1995): 4.5 on 2026-07-30  (read from r1)"),
            ("42 update 1 3", "user 42 now rates Toy Story (1995): 3.0  (written by r1, r2)"),
            ("average 1", "Toy Story (1995): 3.00 on average of 1 rating  (read from r1)"),
            (
                "42 all",
                "     movie  rating  date        title\n         1     3.0  2026-07-30  Toy Story (1995)\n\
                 1 rating by user 42  (read from r1)",
            ),
            ("42 delete 1", "user 42 no longer rates Toy Story (1995), which had 3.0  (written by r1, r2)"),
            ("42 all", "user 42 has no ratings  (read from r1)"),
            ("average 1", "Toy Story (1995): no ratings yet  (read from r1)"),
            (
                "search TOY",
                "     movie  average  ratings  title\n         1        -        0  Toy Story (1995)  [Animation, Comedy]\n\
                 \x20     3114        -        0  Toy Story 2 (1999)\n2 movies have \"TOY\" in their titles  (read from r1)",
            ),
            ("search xyz", "no movie has \"xyz\" in its title  (read from r1)"),
        ] {
            assert_eq!(done(&mut client, line).await.as_deref(), Ok(answer), "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn movie_is_named_by_its_number_or_a_part_of_its_title() {
        let frontend = FakeFrontend::default();
        let mut client = client(&frontend);
        let mut found = async |title: &str| {
            let movie = super::found(&mut client, &MovieName::Title(title.to_owned())).await;
            movie.map(MovieId::get).map_err(|error| error.to_string())
        };
        // It is a part of the second title too.
        assert_eq!(found("toy story").await, Ok(1));
        assert_eq!(found("Toy Story (1995)").await, Ok(1));
        assert_eq!(found("story 2").await, Ok(3114));
        let error = found("toy").await.unwrap_err();
        assert!(error.contains("1 Toy Story (1995), 3114 Toy Story 2 (1999)"), "{error}");
        let error = found("xyz").await.unwrap_err();
        assert!(error.contains("no movie has \"xyz\" in its title"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_told_and_teach_the_session() {
        let frontend = FakeFrontend::default();
        let mut client = client(&frontend);
        let error = done(&mut client, "42 update 1 3").await.unwrap_err();
        assert_eq!(error, "user 42 has not rated movie 1: check both numbers, or create it (RATING_NOT_FOUND)");
        let error = done(&mut client, "42 read 999").await.unwrap_err();
        assert!(error.ends_with("(MOVIE_NOT_FOUND)"), "{error}");
        done(&mut client, "42 create 1 3").await.unwrap();
        let mut other = crate::fake::client(&frontend);
        done(&mut other, "42 create 1 3").await.unwrap_err();
        assert_eq!(other.label(), client.label(), "the label of the refusal was not merged");
    }

    #[tokio::test(start_paused = true)]
    async fn json_is_one_object_of_value_label_replicas() {
        let frontend = FakeFrontend::default();
        let mut client = client(&frontend);
        for (line, user) in [("42 create 1 4.5 --json", true), ("42 read 7 --json", true), ("search toy --json", false)]
        {
            let text = done(&mut client, line).await.unwrap();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys.len(), 3, "{text}");
            assert!(keys.iter().all(|key| ["value", "label", "replicas"].contains(key)), "{text}");
            assert_eq!(value["value"]["user_id"] == 42, user);
        }
        let absent: serde_json::Value =
            serde_json::from_str(&done(&mut client, "42 read 7 --json").await.unwrap()).unwrap();
        assert!(absent["value"]["rating"].is_null());
    }
}
