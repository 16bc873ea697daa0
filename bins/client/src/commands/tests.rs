//! Command lines and their meanings.

use super::*;
use clap::CommandFactory;

fn parse(line: &[&str]) -> Result<ClientArgs, String> {
    let line = std::iter::once(&"client").chain(line).map(OsString::from);
    ClientArgs::read(line).map_err(|error| error.to_string())
}

fn movie(number: u32) -> MovieName {
    MovieName::Id(MovieId::new(number).unwrap())
}

#[test]
fn definition_is_sound() {
    ClientArgs::command().debug_assert();
}

#[test]
fn command_lines_of_the_design_mean_what_they_say() {
    let stars = Stars::try_from(4.5).unwrap();
    let search = |title: &str, limit| Command::Search { title: title.to_owned(), limit };
    for (line, user, command) in [
        (
            &["42", "create", "1", "4.5"][..],
            Some(42),
            Some(Command::Create { movie: movie(1), rating: stars, id: None }),
        ),
        (&["42", "update", "1", "4.5"], Some(42), Some(Command::Update { movie: movie(1), rating: stars, id: None })),
        (&["42", "delete", "1"], Some(42), Some(Command::Delete { movie: movie(1), id: None })),
        (&["42", "read", "1", "--json"], Some(42), Some(Command::Read { movie: movie(1) })),
        (&["--json", "42", "read", "1"], Some(42), Some(Command::Read { movie: movie(1) })),
        (&["42", "all"], Some(42), Some(Command::All { limit: None, after: 0 })),
        (&["42", "all", "--limit", "5", "--after", "7"], Some(42), Some(Command::All { limit: Some(5), after: 7 })),
        (&["average", "toy story"], None, Some(Command::Average { movie: MovieName::Title("toy story".to_owned()) })),
        (&["average", "1"], None, Some(Command::Average { movie: movie(1) })),
        (&["7", "average", "1"], Some(7), Some(Command::Average { movie: movie(1) })),
        (&["search", "toy story"], None, Some(search("toy story", 20))),
        (&["search", "42", "--limit", "3"], None, Some(search("42", 3))),
        (&["search", ""], None, Some(search("", 20))),
        (&["42", "search", "search"], Some(42), Some(search("search", 20))),
        (
            &["import", "r.csv", "--again"],
            None,
            Some(Command::Import {
                source: Source::File("r.csv".into()),
                again: true,
                dry_run: false,
                rejects: None,
                in_flight: 4096,
            }),
        ),
        (
            &["import", "-", "--in-flight", "100"],
            None,
            Some(Command::Import {
                source: Source::StandardInput,
                again: false,
                dry_run: false,
                rejects: None,
                in_flight: 100,
            }),
        ),
        (&["decode"], None, Some(Command::Decode)),
        (&["watch"], None, Some(Command::Watch { movie: None, of_user: None, count: None })),
        (&["42", "watch"], Some(42), Some(Command::Watch { movie: None, of_user: None, count: None })),
        (&["42"], Some(42), None),
        (&[], None, None),
        (&["42", "--new-session"], Some(42), None),
    ] {
        let args = parse(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert_eq!((args.user_id.map(UserId::get), args.command), (user, command), "{line:?}");
    }
}

#[test]
fn options_may_stand_anywhere() {
    for line in [
        ["--no-state", "--patience", "2s", "-s", "nats://a:1", "42", "read", "1"],
        ["42", "--no-state", "read", "--patience", "2s", "1", "-s", "nats://a:1"],
    ] {
        let args = parse(&line).unwrap();
        assert!(args.no_state && !args.new_session && !args.json);
        assert_eq!(args.patience, Duration::from_secs(2));
        assert_eq!(args.broker.server.as_deref(), Some("nats://a:1"));
    }
}

#[test]
fn wrong_lines_are_answered_in_words() {
    for (line, why) in [
        (&["0"][..], "0 is out of range"),
        (&["4294967296", "all"], "out of range"),
        (&["99999999999999999999999", "all"], "too large"),
        (&["serch", "x"], "neither a user's number nor one of the commands"),
        (&["42", "serch", "x"], "none of the commands create, update"),
        (&["42", "43"], "none of the commands"),
        (&["42", "create", "1"], "RATING"),
        (&["42", "create", "1", "4.3"], "one of 0.5, 1.0, 1.5"),
        (&["42", "create", "1", "NaN"], "one of 0.5"),
        (&["42", "create", "1", "-1"], "one of 0.5"),
        (&["42", "create", "", "4"], "the movie is empty"),
        (&["42", "read", "0"], "0 is out of range"),
        (&["42", "create", "1", "4", "--id", "x"], "--id"),
        (&["42", "all", "--limit", "0"], "--limit"),
        (&["search", "x", "--limit", "101"], "1..=100"),
        (&["42", "read", "1", "--timeout", "0s"], "zero"),
        (&["", "read", "1"], "the user is empty"),
        (&["create", "1", "4"], "`create` needs a user"),
        (&["delete", "1"], "`delete` needs a user: put its number before the command, like `client 42 delete"),
        (&["all", "--json"], "`all` needs a user"),
        (&["42", "import", "r.csv"], "`import` takes no user: leave out 42"),
        (&["42", "decode"], "`decode` takes no user"),
        (&["import", "r.csv", "--new-session"], "--new-session"),
        (&["42", "--json"], "--json needs a command"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(why), "{line:?}: {error}");
    }
}

#[test]
fn help_names_every_command() {
    let help = ClientArgs::command().render_help().to_string();
    let commands = ["create", "update", "delete", "read", "all", "average", "search", "import", "decode"];
    for word in commands.into_iter().chain(["--json", "[USER_ID]"]) {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn user_after_watch_is_the_one_that_rates_and_before_it_the_brokers() {
    for (line, of_user, of_broker) in [
        (&["watch", "--user", "42"][..], Some(42), None),
        (&["watch", "--movie", "watch", "--user=42"], Some(42), None),
        (&["--user", "ann", "watch", "--of-user", "42"], Some(42), Some("ann")),
        (&["--prefix", "watch", "--user", "ann", "watch", "--user", "42"], Some(42), Some("ann")),
        (&["--user", "42", "watch"], None, Some("42")),
    ] {
        let args = parse(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let Some(Command::Watch { of_user: found, .. }) = args.command else { panic!("{line:?}") };
        assert_eq!((found.map(UserId::get), args.broker.user.as_deref()), (of_user, of_broker), "{line:?}");
    }
    // Elsewhere it is the broker's user, wherever it stands.
    for line in [&["search", "watch", "--user", "ann"][..], &["status", "--watch", "--user", "ann"]] {
        assert_eq!(parse(line).unwrap().broker.user.as_deref(), Some("ann"), "{line:?}");
    }
    for (line, why) in [
        (&["watch", "--user", "ann"][..], "the broker's user stands before `watch`"),
        (&["watch", "--user", "0"], "0"),
        (&["42", "watch", "--user", "43"], "name either 42 or 43"),
        (&["watch", "--count", "0"], "0"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(why), "{line:?}: {error}");
    }
}
