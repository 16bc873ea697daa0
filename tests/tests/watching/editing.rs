//! The client at a terminal: editing, history, completion, progress lines, narrow terminals.

use std::process::Command;

use natter_tests::harness::{PseudoTerminal, World};

use crate::ROLES;

const MOVIE: &str = "movie (number or part of the title, Enter: back): ";
const STARS: &str = "rating (0.5 to 5.0, Enter: back): ";
const LEFT: &str = "\u{1b}[D";
const UP: &str = "\u{1b}[A";
const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";
/// The colour of the progress line.
const CYAN: &str = "\u{1b}[36m";
const BACKSPACE: &str = "\u{7f}";

/// The client with a number of a user and these arguments, and colours unless `NO_COLOR` is set to a text.
fn client(world: &World, arguments: &[&str], no_color: &str) -> Command {
    let mut command = world.role("client");
    command.args(arguments).args(["--server", &world.broker.url()]);
    if no_color.is_empty() {
        command.env_remove("NO_COLOR")
    } else {
        command.env("NO_COLOR", no_color)
    };
    command
}

/// Types at a terminal, beside the test's runtime.
async fn at_terminal(typing: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(typing).await.unwrap();
}

#[tokio::test]
async fn menu_in_a_terminal_edits_lines_completes_them_and_keeps_their_history() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 2).await;
    let start = client(&world, &["42"], "1");
    at_terminal(move || {
        let Some(mut menu) = PseudoTerminal::start(80, 40, &start) else { return };
        menu.until_last_line(">");
        // Words are edited in their middle, and completed.
        menu.type_keys(&format!("cxr{LEFT}{BACKSPACE}"));
        menu.until_last_line("> cr");
        menu.type_keys("\t");
        // The cursor is in the middle: nothing is completed there.
        menu.type_keys("\u{5}\t");
        menu.until_last_line("> create");
        menu.type_keys("\r");
        // A title, by one of its parts.
        menu.until_last_line(MOVIE.trim_end());
        menu.type_keys("manji\t");
        menu.until_last_line(&format!("{MOVIE}Jumanji (1995)"));
        menu.type_keys("\r");
        menu.until_last_line(STARS.trim_end());
        menu.type_keys("4\t");
        menu.until("the ratings from 4 on", |screen| screen.contains("4.0  4.5"));
        menu.type_keys("5\r");
        menu.until_shown("user 42 rated Jumanji (1995): 4.5");
        menu.until_last_line(">");
        // Ctrl-c clears a line, and goes back from an empty one.
        menu.type_keys("nonsense");
        menu.until_last_line("> nonsense");
        menu.type_keys(CTRL_C);
        menu.until_last_line(">");
        menu.type_keys("3\r");
        menu.until_last_line(MOVIE.trim_end());
        menu.type_keys(CTRL_C);
        menu.until_last_line(">");
        // The history of each question is its own.
        menu.type_keys(&format!("{UP}\r"));
        menu.until_last_line(MOVIE.trim_end());
        menu.type_keys(&format!("{UP}\r"));
        menu.until_shown("user 42 rated Jumanji (1995): 4.5 on ");
        menu.until_last_line(">");
        menu.type_keys(CTRL_D);
        let (status, written) = menu.ended();
        assert_eq!(status, Some(0), "{written}");
        // With NO_COLOR there are escapes for the cursor, but none for colours.
        assert!(!written.contains(CYAN) && !written.contains("is none of the choices"), "{written}");

        // The next run has it too.
        let Some(mut menu) = PseudoTerminal::start(80, 40, &start) else { return };
        menu.until_last_line(">");
        menu.type_keys(&format!("{UP}{UP}"));
        menu.until_last_line("> create");
        // Ctrl-c drops what was typed ahead.
        menu.type_keys(CTRL_C);
        menu.until_last_line(">");
        menu.type_keys(CTRL_D);
        assert_eq!(menu.ended().0, Some(0));
    })
    .await;
    cluster.finish().await;
}

#[tokio::test]
async fn narrow_terminal_shows_messages_and_progress_around_a_line_that_is_typed() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 1).await;
    let start = client(&world, &["42", "--patience", "3s", "-v"], "");
    let (typed, is_typed) = tokio::sync::oneshot::channel();
    let (stopped, is_stopped) = std::sync::mpsc::channel();
    let typing = tokio::task::spawn_blocking(move || {
        let Some(mut menu) = PseudoTerminal::start(40, 30, &start) else { return };
        menu.until_last_line(">");
        menu.type_keys("read");
        menu.until_last_line("> read");
        // The broker goes: the log says so above the line, which stays as it was typed.
        typed.send(()).unwrap();
        is_stopped.recv().unwrap();
        menu.until("a message above the line", |screen| {
            let screen = screen.trim_end();
            screen.contains("WARN") && screen.ends_with("\n> read")
        });
        menu.type_keys("\r");
        menu.until("the prompt, over two lines", |screen| screen.trim_end().ends_with("Enter: back):"));
        // Completion without a cluster leaves the line alone.
        menu.type_keys("7\t");
        menu.until("what was typed", |screen| screen.trim_end().ends_with("back): 7"));
        menu.type_keys("\r");
        menu.until_shown("waiting for an answer");
        let screen = menu.until_shown("not done:");
        assert!(!screen.contains("waiting for an answer"), "{screen}");
        menu.until_last_line(">");
        menu.type_keys("8\r");
        let (status, written) = menu.ended();
        assert_eq!(status, Some(0), "{written}");
        assert!(written.contains(CYAN), "the progress line has its colour: {written}");
    });
    // Without the program `script`, there is no terminal.
    if is_typed.await.is_ok() {
        world.broker.kill().await;
        stopped.send(()).unwrap();
    }
    typing.await.unwrap();
    world.broker.start().await;
    cluster.finish().await;
}

#[tokio::test]
async fn command_that_takes_long_has_a_progress_line_on_a_terminal_only_and_leaves_nothing_of_it() {
    let world = World::new(ROLES).await;
    let commands = [
        client(&world, &["average", "1", "--patience", "2s"], ""),
        client(&world, &["average", "1", "--patience", "2s"], "1"),
        client(&world, &["average", "1", "--patience", "2s", "--json"], ""),
    ];
    let piped = world.run("client", &["average", "1", "--patience", "2s"]).await;
    let piped = String::from_utf8_lossy(&piped.stderr).into_owned();
    assert!(!piped.contains('\u{1b}') && !piped.contains("waiting") && piped.contains("error: no frontend"), "{piped}");
    at_terminal(move || {
        let running = commands.map(|command| PseudoTerminal::start(40, 30, &command));
        let [Some(coloured), Some(plain), Some(json)] = running else { return };
        for (running, is_coloured) in [(coloured, true), (plain, false)] {
            let screen = running.until_shown("error: no frontend");
            assert!(!screen.contains("waiting for an answer"), "{screen}");
            let (status, written) = running.ended();
            assert_eq!(status, Some(5), "{written}");
            assert!(written.contains("waiting for an answer"), "{written}");
            assert_eq!(written.contains(CYAN), is_coloured, "{written}");
        }
        let (_, written) = json.ended();
        assert!(!written.contains("waiting") && !written.contains('\u{1b}'), "{written}");
    })
    .await;
}
