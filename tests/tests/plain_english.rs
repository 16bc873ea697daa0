//! Openings that no sentence of a comment has: they make the reader look for the subject. Doc comments of arguments are the
//! programs' help, so this covers help, too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};

const OPENERS: [&str; 8] =
    ["Who", "Whom", "Whose", "What", "So many", "By how many", "After so long", "At least so often"];
/// Folders that hold no source of this project.
const FOREIGN: [&str; 2] = ["target", "node_modules"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Paragraphs of comments, each with the number of its first line. A list item is a paragraph.
fn paragraphs(source: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in (1..).zip(source.lines()) {
        let code = line.trim_start();
        let Some(comment) = code.strip_prefix("//") else {
            is_open = false;
            if let Some((before, comment)) = code.split_once(" // ")
                && !before.contains('"')
            {
                all.push((number, comment.to_owned()));
            }
            continue;
        };
        let text = comment.trim_start_matches(['/', '!']).trim();
        let item = text.strip_prefix("- ").or_else(|| text.strip_prefix("* "));
        match all.last_mut() {
            Some((_, paragraph)) if is_open && item.is_none() && !text.is_empty() => {
                paragraph.push(' ');
                paragraph.push_str(text);
            }
            _ => all.push((number, item.unwrap_or(text).to_owned())),
        }
        is_open = !text.is_empty();
    }
    all
}

fn sentences(paragraph: &str) -> impl Iterator<Item = &str> {
    paragraph.split(". ").flat_map(|part| part.split("? ")).map(str::trim)
}

fn opener(sentence: &str) -> Option<&'static str> {
    OPENERS.into_iter().find(|opener| {
        let rest = sentence.strip_prefix(opener);
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    })
}

#[test]
fn sentences_of_comments_and_help_begin_with_their_subject() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    sources(root, &mut files);
    assert!(files.len() > 100, "only {} files found: does the test still read the sources?", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap().display().to_string();
        for (line, paragraph) in paragraphs(&fs::read_to_string(&file).unwrap()) {
            let openers = sentences(&paragraph).filter(|sentence| opener(sentence).is_some());
            wrong.extend(openers.map(|sentence| format!("{name}:{line}: {sentence}")));
        }
    }
    assert!(wrong.is_empty(), "{} sentences begin with one of {OPENERS:?}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn opener_is_found_at_the_beginning_of_a_sentence_only() {
    let source = "/// Number of rows.\n/// What is\n/// missing. Who asked?\nlet a = 1; // So many rows.\n// Whatever, Whole, what.\n";
    let found: Vec<_> = paragraphs(source)
        .iter()
        .flat_map(|(_, paragraph)| sentences(paragraph).filter_map(opener).collect::<Vec<_>>())
        .collect();
    assert_eq!(found, ["What", "Who", "So many"]);
}
