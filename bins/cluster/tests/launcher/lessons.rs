//! `cluster demo` and `docs/LESSONS.md`: every command of the page runs, and observes what the page shows.

use std::collections::BTreeSet;
use std::process::Output;
use std::thread;

use crate::support::{Place, text};

const PAGE: &str = include_str!("../../../../docs/LESSONS.md");

/// A command of the page, and the output that the page shows below it.
struct Lesson {
    arguments: Vec<String>,
    shown: String,
}

fn lessons() -> Vec<Lesson> {
    let mut lessons = Vec::<Lesson>::new();
    let mut pieces = PAGE.split("```");
    pieces.next();
    while let Some(fenced) = pieces.next() {
        let (language, body) = fenced.split_once('\n').unwrap();
        match language {
            "sh" => lessons.extend(body.lines().map(|line| {
                let arguments = line.strip_prefix("cluster ").unwrap_or_else(|| panic!("no command: {line}"));
                Lesson { arguments: arguments.split_whitespace().map(str::to_owned).collect(), shown: String::new() }
            })),
            _ => lessons.last_mut().unwrap().shown = body.to_owned(),
        }
        pieces.next().unwrap();
    }
    lessons
}

/// Words of an output that are the same in every run.
fn words(text: &str) -> BTreeSet<&str> {
    let tokens = text.split(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)));
    tokens.filter(|word| word.len() >= 4 && word.chars().all(|c| c.is_ascii_alphabetic())).collect()
}

/// Runs a command of the page without pauses. Standard input is at its end, so that nothing waits for Enter.
fn run(arguments: &[String]) -> Output {
    let place = Place::new();
    let has_scene = arguments.len() > 1;
    // A page at any free port, as other tests may have one too.
    let mut line: Vec<&str> =
        arguments.iter().map(|word| if word == "--observe" { "--observe=127.0.0.1:0" } else { word }).collect();
    if has_scene && !arguments.iter().any(|word| ["--speed", "--step"].contains(&word.as_str())) {
        line.extend(["--speed", "0"]);
    }
    let output = place.run(&line, "");
    place.assert_nothing_left();
    output
}

#[test]
fn commands_of_the_lessons_observe_what_the_page_shows() {
    let lessons = lessons();
    let scenes: BTreeSet<&str> =
        lessons.iter().filter_map(|lesson| lesson.arguments.last()).map(String::as_str).collect();
    for scene in ["update", "behind", "concurrent", "delete", "loss", "partition", "offline", "snapshot"] {
        assert!(scenes.contains(scene), "the page has no lesson {scene}");
    }
    // Each has a cluster of its own and waits for most of its time.
    thread::scope(|scope| {
        let runs: Vec<_> = lessons.iter().map(|lesson| (lesson, scope.spawn(|| run(&lesson.arguments)))).collect();
        for (lesson, output) in runs {
            let output = output.join().unwrap();
            let (said, told) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(0), "{:?}: {said}\n{told}", lesson.arguments);
            let found = words(&said);
            let shown = words(&lesson.shown);
            let missing: Vec<&&str> = shown.difference(&found).collect();
            assert!(missing.is_empty(), "{:?} does not print {missing:?}, but:\n{said}", lesson.arguments);
            assert!(!lesson.shown.is_empty() || lesson.arguments.len() > 2, "{:?} shows nothing", lesson.arguments);
        }
    });
}

#[test]
fn unknown_scene_is_one_error_that_lists_the_scenes() {
    let place = Place::new();
    let output = place.run(&["demo", "sunset"], "");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert_eq!(told.matches("error:").count(), 1, "{told}");
    for scene in ["update", "behind", "concurrent", "delete", "loss", "partition", "offline", "snapshot"] {
        assert!(told.contains(scene), "{scene}: {told}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn scene_that_cannot_have_its_page_fails_with_a_sentence() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let observe = format!("--observe={}", taken.local_addr().unwrap());
    let output = place.run(&["demo", "--speed", "0", &observe, "update"], "");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("error: scene update: the observer") && told.contains("in use"), "{told}");
    place.assert_nothing_left();
}
