//! Completions for the answers to the menu's questions.

use std::time::Duration;

use natter_common::edge::TITLE_BYTES_MAX;
use natter_common::request::SEARCH_LIMIT_MAX;

use crate::api::Client;
use crate::editor::{Candidate, Completion};
use crate::show;
use crate::transport::Transport;

/// Choices by their names.
const CHOICES: [&str; 9] = ["average", "create", "read", "update", "delete", "all", "search", "new", "quit"];
const RATINGS: [&str; 10] = ["0.5", "1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0", "4.5", "5.0"];
/// Maximum time to look for titles. The tab key waits for less, and finds them at its next stroke.
const TITLES_WAIT: Duration = Duration::from_secs(2);

/// A question of the menu, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// One of the choices.
    Choice,
    /// A movie by its number or a part of its title.
    Movie,
    /// A rating.
    Stars,
    /// Whether more of a table is shown.
    More,
}

impl Asking {
    /// Name of the history of such answers.
    pub(super) fn history(self) -> Option<&'static str> {
        match self {
            Self::Choice => Some("choices"),
            Self::Movie => Some("movies"),
            Self::Stars => Some("ratings"),
            Self::More => None,
        }
    }
}

/// Ways to go on with `text`. Where the cluster does not answer, there are no titles.
pub(super) async fn find<T: Transport>(asking: Asking, text: &str, client: &Client<T>) -> Completion {
    match asking {
        Asking::Choice => Completion::of_words(text, CHOICES),
        Asking::Stars => Completion::of_words(text, RATINGS),
        Asking::More => Completion::default(),
        Asking::Movie => {
            let part = text.trim_start();
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if is_number || part.len() > TITLE_BYTES_MAX {
                return Completion::default();
            }
            let titles = client.suggested_titles(part, TITLES_WAIT).await.unwrap_or_default();
            Completion { start: text.len() - part.len(), candidates: candidates(part, titles) }
        }
    }
}

/// Titles that begin with `part`, else those that contain it. Where there may be more titles, a last candidate says so and
/// leaves the text as it is.
fn candidates(part: &str, titles: Vec<String>) -> Vec<Candidate> {
    let is_cut = titles.len() >= SEARCH_LIMIT_MAX as usize;
    // A title that would play with the terminal is named by its number.
    let mut titles: Vec<String> = titles.into_iter().filter(|title| show::clean(title) == *title).collect();
    let begun = part.to_lowercase();
    let begins = |title: &String| title.to_lowercase().starts_with(&begun);
    if titles.iter().any(begins) {
        titles.retain(begins);
    }
    titles.sort();
    titles.dedup();
    let mut candidates: Vec<Candidate> = titles.iter().map(|title| title.as_str().into()).collect();
    if is_cut {
        let shown = "(and others: type more of the title)".to_owned();
        candidates.push(Candidate { shown, text: part.to_owned() });
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeFrontend, Mishap, client};

    async fn texts(asking: Asking, text: &str, frontend: &FakeFrontend) -> Vec<String> {
        let client = client(frontend);
        let completion = find(asking, text, &client).await;
        completion.candidates.into_iter().map(|candidate| candidate.text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_completed_by_their_kind() {
        let frontend = FakeFrontend::default();
        for (asking, text, expected) in [
            (Asking::Choice, "c", &["create"][..]),
            (Asking::Choice, "A", &["average", "all"]),
            (Asking::Stars, "4", &["4.0", "4.5"]),
            (Asking::Movie, "toy", &["Toy Story (1995)", "Toy Story 2 (1999)"]),
            (Asking::Movie, "story 2", &["Toy Story 2 (1999)"]),
            (Asking::Movie, " JUM", &["Jumanji (1995)"]),
            (Asking::Movie, "12", &[]),
            (Asking::Movie, "xyz", &[]),
            (Asking::More, "", &[]),
        ] {
            assert_eq!(texts(asking, text, &frontend).await, expected, "{asking:?} {text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn titles_are_asked_for_once_and_without_a_trace_in_the_session() {
        let frontend = FakeFrontend::with([Mishap::NoFrontend, Mishap::Error(503, "UNAVAILABLE: no")]);
        for _ in 0..2 {
            assert_eq!(texts(Asking::Movie, "toy", &frontend).await, [] as [&str; 0]);
        }
        let client = client(&frontend);
        assert_eq!(find(Asking::Movie, "toy", &client).await.candidates.len(), 2);
        assert!(client.pending().is_none() && *client.label() == natter_common::label::Label::new());
    }

    #[test]
    fn candidates_of_many_titles_say_that_there_are_others() {
        let titles: Vec<String> = (0..SEARCH_LIMIT_MAX).map(|number| format!("The Movie {number}")).collect();
        let candidates = candidates("mov", titles);
        assert_eq!(candidates.len(), SEARCH_LIMIT_MAX as usize + 1);
        assert_eq!(candidates.last().map(|it| it.text.as_str()), Some("mov"));
    }

    #[test]
    fn titles_that_would_play_with_the_terminal_are_left_out() {
        assert_eq!(candidates("", vec!["a\u{1b}[2J".to_owned(), "b".to_owned()]), ["b".into()]);
    }
}
