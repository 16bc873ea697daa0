//! The numbered menu: for a terminal, and for input from a pipe.
//!
//! Input lines are bounded, wrong input is answered by a sentence, and the end of the input ends the menu. In a terminal,
//! lines are edited ([`crate::editor`]), and `completions` helps with them.

mod completions;

use std::io::{self, Write};

use natter_common::edge::{MoviesReply, ReplyOf};
use natter_common::ids::{MovieId, UserId};
use natter_common::rating::Stars;
use natter_common::request::{ALL_LIMIT_DEFAULT, Query, SEARCH_LIMIT_DEFAULT, Update};
use tokio::io::AsyncBufRead;

use self::completions::Asking;
use crate::api::Client;
use crate::commands::{parse_movie, parse_stars, parse_title};
use crate::editor::{LineEditor, Typed};
use crate::error::ClientError;
use crate::lines::read_line;
use crate::requests::{Asked, Question};
use crate::show;
use crate::terminal::Progress;
use crate::transport::Transport;

/// Number of table rows shown at a time to a person at a terminal.
const ROWS_AT_A_TIME: usize = 20;

const CHOICES: &str = "1 average  2 create  3 read  4 update  5 delete  6 all  7 search  8 quit";

/// The manner in which the menu talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// With a person at a terminal, who sees what they type: long tables come in parts.
    Interactive,
    /// With a script: what was read is repeated behind its prompt, so that the transcript reads well.
    Scripted,
}

/// The menu of one user.
pub struct Menu<'a, T, R, W> {
    client: &'a mut Client<T>,
    user_id: UserId,
    input: R,
    output: W,
    manner: Manner,
    editor: Option<LineEditor>,
}

/// Reason for the end of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MenuEnd {
    /// The user quit.
    Quit,
    /// The input is at its end, or nobody reads the output any more.
    EndOfInput,
}

/// Why the menu stops.
enum Stop {
    End(MenuEnd),
    /// Standard input or output failed.
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

type Step<V> = Result<V, Stop>;

impl<'a, T: Transport, R: AsyncBufRead + Unpin, W: Write> Menu<'a, T, R, W> {
    /// For `user_id`, over `client`.
    pub fn new(client: &'a mut Client<T>, user_id: UserId, input: R, output: W, manner: Manner) -> Self {
        Self { client, user_id, input, output, manner, editor: None }
    }

    /// Reads lines by this editor instead of the input, where there is one.
    #[must_use]
    pub fn with_editor(self, editor: Option<LineEditor>) -> Self {
        Self { editor, ..self }
    }

    /// Until the user quits or the input ends. Nobody reading the output any more is an end too.
    ///
    /// # Errors
    ///
    /// Where the input can't be read or the output can't be written.
    pub async fn run(mut self) -> io::Result<MenuEnd> {
        match self.converse().await {
            Err(Stop::Failed(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Err(Stop::End(end)) => Ok(end),
            _ => Ok(MenuEnd::EndOfInput),
        }
    }

    async fn converse(&mut self) -> Step<()> {
        self.say(&format!("ratings of user {}", self.user_id))?;
        loop {
            self.say(&format!("\n{CHOICES}"))?;
            let choice = self.ask(Asking::Choice, "> ").await?;
            match choice.to_lowercase().as_str() {
                "" => {}
                "1" | "average" => self.average().await?,
                "2" | "create" => self.create().await?,
                "3" | "read" => self.read().await?,
                "4" | "update" => self.update().await?,
                "5" | "delete" => self.delete().await?,
                "6" | "all" => self.all().await?,
                "7" | "search" => self.search().await?,
                "8" | "q" | "quit" | "exit" => return Err(Stop::End(MenuEnd::Quit)),
                "new" => {
                    self.client.start_new_session();
                    self.say("a new session: nothing seen yet")?;
                }
                other => {
                    let other = show::clean(other);
                    self.say(&format!("\"{other}\" is none of the choices: answer with a number from 1 to 8"))?;
                }
            }
        }
    }

    async fn average(&mut self) -> Step<()> {
        let Some(movie_id) = self.movie().await? else { return Ok(()) };
        self.announce(&Question::Query(Query::Average { movie_id }))?;
        let progress = self.progress();
        let answer = self.client.average(movie_id).await;
        drop(progress);
        self.tell(answer, |reply| vec![show::average(reply)]).await
    }

    async fn create(&mut self) -> Step<()> {
        let Some(movie_id) = self.movie().await? else { return Ok(()) };
        let Some(rating) = self.stars().await? else { return Ok(()) };
        self.write(Update::Create { user_id: self.user_id, movie_id, rating }).await
    }

    async fn update(&mut self) -> Step<()> {
        let Some(movie_id) = self.movie().await? else { return Ok(()) };
        let Some(rating) = self.stars().await? else { return Ok(()) };
        self.write(Update::Update { user_id: self.user_id, movie_id, rating }).await
    }

    async fn delete(&mut self) -> Step<()> {
        let Some(movie_id) = self.movie().await? else { return Ok(()) };
        self.write(Update::Delete { user_id: self.user_id, movie_id }).await
    }

    async fn write(&mut self, update: Update) -> Step<()> {
        let id = self.client.new_update_id();
        self.announce(&Question::Update(update, id))?;
        let progress = self.progress();
        let answer = self.client.write(update, id).await;
        drop(progress);
        self.tell(answer, |reply| vec![show::update(&update, reply)]).await
    }

    async fn read(&mut self) -> Step<()> {
        let Some(movie_id) = self.movie().await? else { return Ok(()) };
        self.announce(&Question::Query(Query::Read { user_id: self.user_id, movie_id }))?;
        let progress = self.progress();
        let answer = self.client.read(self.user_id, movie_id).await;
        drop(progress);
        self.tell(answer, |reply| vec![show::rating(reply)]).await
    }

    async fn all(&mut self) -> Step<()> {
        let user_id = self.user_id;
        self.announce(&Question::Query(Query::All { user_id, limit: ALL_LIMIT_DEFAULT, after: 0 }))?;
        let progress = self.progress();
        let answer = self.client.all(user_id, None, 0).await;
        drop(progress);
        self.tell(answer, |reply| table(show::rating_rows(&reply.value.ratings), show::ratings_summary(user_id, reply)))
            .await
    }

    async fn search(&mut self) -> Step<()> {
        loop {
            let title = self.ask(Asking::Movie, "part of the title (Enter: back): ").await?;
            if title.is_empty() {
                return Ok(());
            }
            match parse_title(&title) {
                Ok(title) => {
                    let answer = self.find(&title).await?;
                    return self.tell(answer, |reply| found(&title, reply)).await;
                }
                Err(reason) => self.say(&reason)?,
            }
        }
    }

    async fn find(&mut self, title: &str) -> Step<Result<MoviesReply, ClientError>> {
        let query = Query::Search { title: title.to_owned(), limit: SEARCH_LIMIT_DEFAULT };
        self.announce(&Question::Query(query))?;
        let _progress = self.progress();
        Ok(self.client.search(title, SEARCH_LIMIT_DEFAULT).await)
    }

    /// A movie by number or by a part of its title; `None` where the user goes back.
    async fn movie(&mut self) -> Step<Option<MovieId>> {
        let mut prompt = "movie (number or part of the title, Enter: back): ";
        loop {
            let answer = self.ask(Asking::Movie, prompt).await?;
            if answer.is_empty() {
                return Ok(None);
            }
            if answer.bytes().all(|byte| byte.is_ascii_digit()) {
                match parse_movie(&answer) {
                    Ok(movie_id) => return Ok(Some(movie_id)),
                    Err(reason) => self.say(&reason)?,
                }
                continue;
            }
            // Quoted, a title may be all digits.
            let title = answer.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&answer);
            if let Err(reason) = parse_title(title) {
                self.say(&reason)?;
                continue;
            }
            let reply = match self.find(title).await? {
                Ok(reply) => reply,
                Err(error) => {
                    self.say_error(&error)?;
                    return Ok(None);
                }
            };
            match reply.value.movies.as_slice() {
                [movie] => {
                    let line = format!("movie {}: {}", movie.movie_id, show::clean(&movie.title));
                    self.say(&line)?;
                    return Ok(Some(movie.movie_id));
                }
                [] => self.say(&show::movies_summary(title, SEARCH_LIMIT_DEFAULT, &reply))?,
                _ => {
                    self.say_rows(found(title, &reply)).await?;
                    prompt = "which one (number, or more of the title, Enter: back): ";
                }
            }
        }
    }

    /// A rating; `None` where the user goes back.
    async fn stars(&mut self) -> Step<Option<Stars>> {
        loop {
            let answer = self.ask(Asking::Stars, "rating (0.5 to 5.0, Enter: back): ").await?;
            if answer.is_empty() {
                return Ok(None);
            }
            match parse_stars(&answer) {
                Ok(stars) => return Ok(Some(stars)),
                Err(reason) => self.say(&reason)?,
            }
        }
    }

    fn announce(&mut self, question: &Question) -> Step<()> {
        let line = format!("asking: {} prev={}", Asked(question), self.client.label());
        self.say(&line)?;
        self.output.flush()?; // an answer may take a while
        Ok(())
    }

    /// A progress line, for a person who waits for an answer.
    fn progress(&self) -> Progress {
        match self.manner {
            Manner::Interactive => Progress::begin("waiting for an answer"),
            Manner::Scripted => Progress::default(),
        }
    }

    async fn tell<V>(
        &mut self,
        answer: Result<ReplyOf<V>, ClientError>,
        rows: impl FnOnce(&ReplyOf<V>) -> Vec<String>,
    ) -> Step<()> {
        match answer {
            Ok(reply) => {
                self.say_rows(rows(&reply)).await?;
                self.say(&format!("served by {}; label {}", show::names(&reply.replicas), reply.label))
            }
            Err(error) => self.say_error(&error),
        }
    }

    fn say_error(&mut self, error: &ClientError) -> Step<()> {
        self.say(&format!("not done: {}", show::clean(&error.to_string())))?;
        if error.doubtful.is_some() {
            self.say("3 read shows whether it took effect")?;
        }
        if error.wants_new_session() {
            self.say("to go on without what this session has seen, answer `new` instead of a number")?;
        }
        Ok(())
    }

    /// A long table in parts, for a person.
    async fn say_rows(&mut self, rows: Vec<String>) -> Step<()> {
        let total = rows.len();
        for (n, row) in rows.into_iter().enumerate() {
            let pause = self.manner == Manner::Interactive && n > 0 && n % ROWS_AT_A_TIME == 0 && total - n > 2;
            let prompt = format!("-- {n} of {total} lines, Enter: more, q: enough -- ");
            if pause && self.ask(Asking::More, &prompt).await? == "q" {
                return Ok(());
            }
            self.say(&row)?;
        }
        Ok(())
    }

    fn say(&mut self, line: &str) -> Step<()> {
        writeln!(self.output, "{line}")?;
        Ok(())
    }

    /// Asks for a line, without the blanks around it.
    async fn ask(&mut self, asking: Asking, prompt: &str) -> Step<String> {
        if self.editor.is_some() {
            return self.ask_by_editor(asking, prompt).await;
        }
        write!(self.output, "{prompt}")?;
        self.output.flush()?;
        let line = read_line(&mut self.input).await?;
        // At the end of the input, the prompt's line is still open.
        let open = self.manner == Manner::Scripted || line.is_none();
        if open {
            writeln!(self.output, "{}", show::clean(line.as_deref().unwrap_or_default().trim()))?;
            self.output.flush()?;
        }
        line.map(|line| line.trim().to_owned()).ok_or(Stop::End(MenuEnd::EndOfInput))
    }

    /// Asks for a line that is edited in the terminal. Ctrl-c clears the line; where it is empty, ctrl-c goes back.
    async fn ask_by_editor(&mut self, asking: Asking, prompt: &str) -> Step<String> {
        self.output.flush()?;
        loop {
            let Some(editor) = &mut self.editor else { return Err(Stop::End(MenuEnd::EndOfInput)) };
            let complete = async |text: String| completions::find(asking, &text, self.client).await;
            match editor.line(prompt, asking.history(), complete).await? {
                Typed::Line(line) => return Ok(line.trim().to_owned()),
                Typed::End => return Err(Stop::End(MenuEnd::Quit)),
                Typed::Cleared { was_empty: false } => {}
                Typed::Cleared { was_empty: true } => match asking {
                    Asking::Choice => {
                        self.say("ctrl-d or 8 ends the menu")?;
                        self.output.flush()?;
                    }
                    Asking::More => return Ok("q".to_owned()),
                    Asking::Movie | Asking::Stars => return Ok(String::new()),
                },
            }
        }
    }
}

fn found(title: &str, reply: &MoviesReply) -> Vec<String> {
    table(show::movie_rows(&reply.value.movies), show::movies_summary(title, SEARCH_LIMIT_DEFAULT, reply))
}

/// The rows, head first, and the summary below; an empty table is left out.
fn table(mut rows: Vec<String>, summary: String) -> Vec<String> {
    if rows.len() == 1 {
        rows.clear();
    }
    rows.push(summary);
    rows
}

#[cfg(test)]
mod tests;
