//! The documents: what they name is there, and what they show is true.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this crate is nothing but test code")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use natter_common::change::Change;
use natter_common::edge::{BatchReplyOf, ClientRequest, ErrorBody, decode_request};
use natter_common::messages::{
    Acknowledgement, ConfirmRequest, Gossip, LogPage, Presence, QueryRequest, Replies, Requests, SnapshotReply,
    SnapshotRequest, StatusReply, UpdateRequest,
};
use natter_common::rating::{Average, Movies, Rating, Ratings};
use natter_common::subjects::Operation;
use natter_tests::harness::{Encoding, World};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The roles, which cargo builds before the tests.
const ROLES: &str = env!("CARGO_BIN_EXE_roles");
const DOCUMENTS: [&str; 16] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/ARCHITECTURE.md",
    "docs/BENCHMARKS.md",
    "docs/INSPECTING.md",
    "docs/LESSONS.md",
    "docs/METRICS.md",
    "docs/OBSERVER.md",
    "docs/PERFORMANCE.md",
    "docs/PROTOCOL.md",
    "docs/REPLICA_PROTOCOL.md",
    "docs/RUNNING.md",
    "docs/TESTING.md",
    "docs/WATCHING.md",
    "examples/README.md",
];
/// Programs of Natter, and where their options are defined.
const PROGRAMS: [(&str, &[&str]); 8] = [
    ("bench", &["bins/bench/src/arguments.rs"]),
    ("client", &["bins/client/src/commands.rs", "broker/src/options.rs"]),
    ("cluster", &["bins/cluster/src/arguments.rs", "bins/cluster/src/demo/arguments.rs", "broker/src/options.rs"]),
    ("dataset", &["bins/dataset/src/main.rs", "bins/dataset/src/export.rs", "broker/src/options.rs"]),
    ("frontend", &["bins/frontend/src/lib.rs", "broker/src/metrics/options.rs", "broker/src/options.rs"]),
    ("observer", &["bins/observer/src/lib.rs", "broker/src/options.rs"]),
    ("parts", &["bins/parts/src/main.rs"]),
    ("replica", &["bins/replica/src/lib.rs", "broker/src/metrics/options.rs", "broker/src/options.rs"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of one language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info == language, String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take().filter(|(wanted, _)| *wanted).map(|(_, text)| text)),
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The text outside of fenced blocks.
fn prose(document: &str) -> String {
    let mut inside = false;
    let outside = document.lines().filter(|line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// Returns the texts between single backticks.
fn code_spans(prose: &str) -> Vec<String> {
    prose.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// The commands in the shell blocks of a document.
fn commands(document: &str) -> Vec<String> {
    let lines: Vec<String> = blocks(document, "sh").iter().flat_map(|block| block.lines().map(str::to_owned)).collect();
    lines.into_iter().filter(|line| !line.trim().is_empty()).collect()
}

/// A command as its program and arguments. Knows what the documents use: quotes, `VARIABLE=…`, a trailing `&`, and
/// `cargo run … --bin NAME --` or `cargo run … -p natter-NAME --`.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty() && word != "&");
    if words.starts_with(&["cargo".to_owned(), "run".to_owned()]) {
        let named = ["--bin", "-p"].iter().find_map(|option| words.iter().position(|word| word == option));
        let program = words[named.expect("a named program") + 1].trim_start_matches("natter-").to_owned();
        let arguments = words.iter().position(|word| word == "--").map_or(words.len(), |at| at + 1);
        words = std::iter::once(program).chain(words[arguments..].iter().cloned()).collect();
    }
    words
}

#[test]
fn the_example_in_the_contract_is_the_file() {
    let contract = read("docs/PROTOCOL.md");
    assert_eq!(blocks(&contract, "python"), [read("examples/python/rate.py")]);
    // Another test compares this with what each example prints.
    let printed = blocks(&read("examples/README.md"), "text").pop().unwrap();
    assert!(blocks(&contract, "text").contains(&printed), "the contract shows another output");
}

/// `just` is a convenience: the commands of its quick check are those that CONTRIBUTING shows.
#[test]
fn the_quick_check_is_the_same_for_just_and_by_hand() {
    let justfile = read("justfile");
    let recipe = justfile.lines().skip_while(|line| *line != "quick:").skip(1);
    let recipe: Vec<&str> = recipe.map_while(|line| line.strip_prefix("    ")).collect();
    let shown = blocks(&read("CONTRIBUTING.md"), "sh");
    assert!(recipe.len() > 2, "only {recipe:?} found");
    assert!(shown.iter().any(|block| block.lines().eq(recipe.iter().copied())), "CONTRIBUTING.md has not {recipe:?}");
}

#[test]
fn files_that_the_documents_name_are_there() {
    let top: BTreeSet<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "target")
        .collect();
    let is_path = |span: &str| {
        let first = span.split('/').next().unwrap_or_default();
        top.contains(first) && span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    let mut named = 0;
    for name in DOCUMENTS {
        let text = prose(&read(name));
        for path in code_spans(&text).into_iter().filter(|span| is_path(span)) {
            assert!(root().join(&path).exists(), "{name} names {path}, which is not there");
            assert_eq!(path.ends_with('/'), root().join(&path).is_dir(), "{name}: {path}: folders end with /");
            named += 1;
        }
        // Links, with the folder of the document as their base.
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, section) =
                target.split_once('#').map_or((target, None), |(file, section)| (file, Some(section)));
            let base = root().join(name);
            let path = if file.is_empty() { base } else { base.parent().unwrap().join(file) };
            // A picture has no sections, and is no text.
            let linked = std::fs::read(&path).unwrap_or_else(|error| panic!("{name} links {target}: {error}"));
            if let Some(section) = section {
                let linked = String::from_utf8(linked).unwrap();
                let found = prose(&linked).lines().any(|line| line.starts_with('#') && anchor(line) == section);
                assert!(found, "{name} links {target}: there is no such section");
            }
            named += 1;
        }
    }
    assert!(named > 80, "only {named} found: does the test still read the documents?");
}

/// A heading's anchor, as forges make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn short_file_names_are_those_of_files() {
    fn collect(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("target") && !entry.ends_with(".git") {
                collect(&entry, names);
            } else if let Some(name) = entry.file_name().and_then(|name| name.to_str()) {
                names.insert(name.to_owned());
            }
        }
    }
    let mut names = BTreeSet::new();
    collect(&root(), &mut names);
    for name in DOCUMENTS {
        for span in code_spans(&prose(&read(name))) {
            let is_file = span.strip_suffix(".rs").is_some_and(|stem| !stem.is_empty() && !stem.contains(['/', ' ']));
            assert!(!is_file || names.contains(&span), "{name} names {span}, which is nowhere");
        }
    }
}

/// Whether a source file defines a function of this name.
fn defines(source: &str, function: &str) -> bool {
    source
        .match_indices(&format!("fn {function}"))
        .any(|(at, found)| source[at + found.len()..].starts_with(['(', '<']))
}

/// The functions that a text names with their brackets, as `name()`.
fn functions_named(text: &str) -> Vec<String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let ends = text.match_indices("()").map(|(end, _)| &text[..end]);
    let names = ends.map(|before| before[before.trim_end_matches(is_of_name).len()..].to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn functions_on_the_way_of_an_update_are_in_their_files() {
    let document = read("docs/ARCHITECTURE.md");
    let section = document.split("\n## ").find(|section| section.starts_with("The way of an update")).unwrap();
    let (mut path, mut steps, mut known) = (String::new(), 0, BTreeSet::new());
    for row in section.lines().filter(|line| line.starts_with("| ") && line.contains("()")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        steps += 1;
        assert_eq!(cells[1], steps.to_string(), "{row}");
        // An empty cell stands for the file of the row before.
        path = cells[3].split('`').nth(1).map_or(path, str::to_owned);
        let source = read(&path);
        for function in functions_named(cells[4]) {
            assert!(defines(&source, &function), "step {steps}: {path} has no function {function}");
            known.insert(function);
        }
    }
    assert!(steps > 20, "only {steps} found");
    let named_elsewhere = section.lines().filter(|line| !line.starts_with("| ")).collect::<Vec<_>>().join("\n");
    let paths = code_spans(&prose(section)).into_iter().filter(|span| span.ends_with(".rs"));
    let sources: Vec<String> = paths.map(|path| read(&path)).collect();
    for function in functions_named(&named_elsewhere) {
        let is_there = known.contains(&function) || sources.iter().any(|source| defines(source, &function));
        assert!(is_there, "no file that the section names has a function {function}");
    }
}

#[test]
fn hard_cases_in_the_table_have_their_transcripts() {
    let document = read("docs/ARCHITECTURE.md");
    let document = document.split("\n## ").find(|section| section.starts_with("Hard cases")).unwrap();
    let numbers =
        document.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).map(|(first, _)| first);
    let numbers: Vec<&str> = numbers.filter(|first| first.len() == 2 && first.parse::<u8>().is_ok()).collect();
    let folder = std::fs::read_dir(root().join("simulation/tests/transcripts")).unwrap();
    let files: Vec<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for number in &numbers {
        let found = files.iter().any(|name| name.starts_with(&format!("case_{number}_")));
        assert!(found, "there is no transcript of case {number}");
    }
    assert!(numbers.len() > 10, "only {numbers:?} found");
}

/// The options that a source file defines by clap's `long`.
fn options_defined(source: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::from(["--help".to_owned(), "--version".to_owned()]);
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        let is_long = line.starts_with("#[arg(") && line.split([',', '(', ')', ' ']).any(|part| part == "long");
        if !is_long {
            continue;
        }
        let field = lines.find(|line| !line.trim().starts_with(['#', '/']) && line.contains(':')).unwrap_or_default();
        let field = field.trim();
        let field =
            ["pub(crate) ", "pub(super) ", "pub "].iter().fold(field, |rest, word| rest.trim_start_matches(word));
        options.insert(format!("--{}", field.split(':').next().unwrap().replace('_', "-")));
    }
    options
}

/// An option as it is defined, without the value after its `=`.
fn without_value(option: &str) -> &str {
    option.split_once('=').map_or(option, |(name, _)| name)
}

#[test]
fn options_that_the_documents_name_are_defined() {
    let defined =
        |files: &[&str]| -> BTreeSet<String> { files.iter().flat_map(|file| options_defined(&read(file))).collect() };
    let all: BTreeSet<String> = PROGRAMS.iter().flat_map(|(_, files)| defined(files)).collect();
    let mut used = 0;
    for name in DOCUMENTS {
        let document = read(name);
        for command in commands(&document) {
            let words = words(&command);
            let Some((_, files)) = PROGRAMS.iter().find(|(program, _)| *program == words[0]) else {
                let known = ["bash", "cargo", "echo", "export", "grep", "nats", "nats-server", "sort", "tail"];
                assert!(known.contains(&words[0].as_str()), "{name}: what is {:?}?", words[0]);
                continue;
            };
            let defined = defined(files);
            for option in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                assert!(defined.contains(without_value(option)), "{name}: {command}: {} has no {option}", words[0]);
                used += 1;
            }
        }
        let spans = code_spans(&prose(&document));
        let ours = spans.iter().filter(|span| !span.contains("cargo ") && !span.starts_with("nats "));
        for option in ours.flat_map(|span| span.split(' ')).filter(|word| word.starts_with("--")) {
            assert!(all.contains(without_value(option)), "{name} names {option}, which no program has");
            used += 1;
        }
    }
    assert!(used > 12, "only {used} found: does the test still read the documents?");
}

/// Words that the glossary has another one for. A title or a genre may have them.
const NOT_IN_THE_GLOSSARY: [&str; 2] = ["film", "replica manager"];

/// All source files of Natter's own programs and libraries, but tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !["tests", "sample", "target"].contains(&name) {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

#[test]
fn one_word_stands_for_one_thing() {
    let architecture = read("docs/ARCHITECTURE.md");
    let glossary = architecture.split("\n## ").find(|section| section.starts_with("Glossary")).unwrap();
    let rows = glossary.lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(rows, 2 + 20, "twenty words, below the head of the table");
    for name in DOCUMENTS {
        // The glossary itself may say which words it stands for.
        let text = read(name).replace(glossary, "").to_lowercase();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in NOT_IN_THE_GLOSSARY {
            assert!(!text.contains(word), "{name} says {word:?}");
        }
    }
    let mut files = Vec::new();
    ["bins", "broker", "common", "database", "processes"]
        .iter()
        .for_each(|folder| sources(&root().join(folder), &mut files));
    assert!(files.len() > 100, "only {} found", files.len());
    let mut strings = 0;
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        // Texts in quotes are for people, and so are the comments that clap shows.
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//") && line.contains('"')) {
            let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
            strings += quoted.len();
            for word in NOT_IN_THE_GLOSSARY {
                let says = quoted.iter().any(|text| text.contains(word));
                assert!(!says, "{} says {word:?}: {line}", path.display());
            }
        }
    }
    assert!(strings > 1000, "only {strings} found");
    for program in ["client", "frontend", "replica"] {
        let output = Command::new(ROLES).args([program, "--help"]).stdin(Stdio::null()).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap().to_lowercase();
        for word in NOT_IN_THE_GLOSSARY {
            assert!(!help.contains(word), "{program} --help says {word:?}");
        }
    }
}

/// Checks that the patch with the seeded bugs applies to the current code.
#[test]
fn the_patch_with_the_bugs_fits() {
    let patch = std::fs::File::open(root().join("simulation/bugs/seeded.patch")).unwrap();
    let mut command = Command::new("patch");
    command.args(["--dry-run", "--batch", "--forward", "--strip=1"]).current_dir(root()).stdin(patch);
    match command.output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => println!("skipped: no patch program ({error})"),
    }
}

#[test]
fn options_are_those_that_help_shows() {
    for program in ["client", "frontend", "replica"] {
        let (_, files) = PROGRAMS.iter().find(|(name, _)| *name == program).unwrap();
        let output = Command::new(ROLES).args([program, "--help"]).stdin(Stdio::null()).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        for option in options_defined(&read(files[files.len() - 1])) {
            assert!(help.contains(&option), "{program} --help has no {option}");
        }
    }
}

/// Whether a value is a message of this type, with all its fields and no others.
fn is<T: Serialize + DeserializeOwned>(value: &Value) -> bool {
    serde_json::from_value::<T>(value.clone()).is_ok_and(|message| serde_json::to_value(message).unwrap() == *value)
}

/// Whether a value is a client's reply around this type.
fn is_reply<T: Serialize + DeserializeOwned>(value: &Value) -> bool {
    let keys: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys == BTreeSet::from(["value", "label", "replicas", "cluster"]) && is::<T>(&value["value"])
}

/// Whether a value is a client's batch, every operation of which is understood.
fn is_batch(value: &Value) -> bool {
    let batch = decode_request(Operation::Batch, None, &Encoding::Json.encode(value));
    matches!(batch, Ok(ClientRequest::Batch(batch)) if batch.operations.iter().all(Result::is_ok))
}

#[test]
fn messages_in_the_contract_are_messages() {
    let mut count = 0;
    let contract = read("docs/PROTOCOL.md") + &read("docs/REPLICA_PROTOCOL.md");
    for block in blocks(&contract, "json") {
        for value in serde_json::Deserializer::from_str(&block).into_iter::<Value>() {
            let value = value.unwrap_or_else(|error| panic!("{error} in\n{block}"));
            let known = [
                is::<Rating>(&value) || is::<Ratings>(&value) || is::<Average>(&value) || is::<Movies>(&value),
                is_reply::<Rating>(&value) || is::<Change>(&value),
                is_batch(&value) || is::<BatchReplyOf<Rating>>(&value),
                is::<ErrorBody>(&value) || is::<Presence>(&value) || is::<StatusReply>(&value),
                is::<Requests<UpdateRequest>>(&value) || is::<Requests<QueryRequest>>(&value),
                is::<Requests<ConfirmRequest>>(&value) || is::<Replies>(&value),
                is::<Gossip>(&value)
                    || is::<LogPage>(&value)
                    || is::<Acknowledgement>(&value)
                    || is::<SnapshotRequest>(&value)
                    || is::<SnapshotReply>(&value),
            ];
            assert!(known.contains(&true), "this is no message of Natter's:\n{value}");
            count += 1;
        }
    }
    assert!(count > 18, "only {count} found");
}

/// Commands for a running cluster: those of the client, and those of the nats CLI where there is one.
#[tokio::test]
async fn commands_for_a_running_cluster_work() {
    let world = World::new(ROLES).await;
    let cluster = world.cluster("ratings").start(1, 3).await;
    let replica = cluster.id_of("r1").await;
    let has_nats = Command::new("nats").arg("--version").output().is_ok();
    if !has_nats {
        println!("skipped: no nats CLI on PATH; its requests are sent without it");
    }
    // `client decode`, for the nats CLI's --translate.
    let decode = format!("{ROLES} client decode");
    let (mut clients, mut requests) = (0, 0);
    for command in commands(&read("docs/RUNNING.md")) {
        let words: Vec<String> =
            words(&command).iter().map(|word| word.replace(".ID.", &format!(".{replica}."))).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            // Without a command it is the menu.
            ["client", arguments @ ..] if arguments.len() > 1 => {
                let output = world.run("client", arguments).await;
                assert!(output.status.success(), "{command}: {output:?}");
                clients += 1;
            }
            ["nats", "req", subject, payload] => {
                let rest = subject.strip_prefix("ratings.").unwrap();
                let answer = cluster.wire.send(rest, payload.as_bytes().to_vec(), Encoding::Json).await.unwrap();
                assert!(answer.ok().is_object(), "{command}");
                if has_nats {
                    let output = nats(&world, &words[1..]).await;
                    let text = String::from_utf8_lossy(&output.stdout);
                    assert!(output.status.success() && text.contains('{'), "{command}: {output:?}");
                }
                requests += 1;
            }
            ["nats", "sub", subject, "--translate", "client decode"] if has_nats => {
                let output = nats(&world, &["sub", subject, "--count", "3", "--translate", &decode]).await;
                let text = String::from_utf8_lossy(&output.stdout);
                let shown = text.matches("{\"").count();
                assert!(output.status.success() && shown >= 3, "{command}: {output:?}");
            }
            ["nats", "micro", arguments @ ..] if has_nats => {
                let output = nats(&world, &[&["micro"], arguments].concat()).await;
                let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
                let shown = text.contains("frontend") || text.contains("\"value\"");
                assert!(output.status.success() && shown, "{command}: {output:?}");
            }
            ["nats", "sub" | "micro", ..] if !has_nats => {}
            ["nats", ..] => panic!("{command}: not tried by this test"),
            ["nats-server", "-c", file] => assert!(root().join(file).is_file(), "{command}"),
            _ => {}
        }
    }
    assert!(clients >= 5 && requests >= 5, "only {clients} and {requests} found");
    cluster.finish().await;
}

async fn nats(world: &World, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new("nats");
    command.args(["--server", &world.broker.url()]).args(arguments).env("HOME", world.directory());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(Duration::from_secs(30), output).await.expect("ends by itself").unwrap()
}
