use std::time::Duration;

use super::*;
use crate::api::Settings;
use crate::fake::{FakeFrontend, Mishap, client};
use crate::memory::Memory;

async fn talk(frontend: &FakeFrontend, input: &str, manner: Manner) -> String {
    let mut client = client(frontend);
    let mut output = Vec::new();
    Menu::new(&mut client, UserId::new(42).unwrap(), input.as_bytes(), &mut output, manner).run().await.unwrap();
    String::from_utf8(output).unwrap()
}

async fn scripted(frontend: &FakeFrontend, input: &str) -> String {
    talk(frontend, input, Manner::Scripted).await
}

#[tokio::test(start_paused = true)]
async fn a_scripted_session_reads_as_a_transcript() {
    let transcript = scripted(&FakeFrontend::default(), "2\n1\n4.5\n3\n1\n8\n").await;
    assert_eq!(
        transcript,
        "\
ratings of user 42

1 average  2 create  3 read  4 update  5 delete  6 all  7 search  8 quit
> 2
movie (number or part of the title, Enter: back): 1
rating (0.5 to 5.0, Enter: back): 4.5
asking: create user=42 movie=1 rating=4.5 prev={}
user 42 rated Toy Story (1995): 4.5
served by r1, r2; label {r1:1}

1 average  2 create  3 read  4 update  5 delete  6 all  7 search  8 quit
> 3
movie (number or part of the title, Enter: back): 1
asking: read user=42 movie=1 prev={r1:1}
user 42 rated Toy Story (1995): 4.5 on 2026-07-30
served by r1; label {r1:1}

1 average  2 create  3 read  4 update  5 delete  6 all  7 search  8 quit
> 8
"
    );
}

#[tokio::test(start_paused = true)]
async fn a_movie_is_found_by_a_part_of_its_title() {
    let transcript = scripted(&FakeFrontend::default(), "create\ntoy\nstory 2\n3\nread\n\"300\"\nxyz\n\nq\n").await;
    for part in [
        "asking: search title=\"toy\" prev={}",
        "      3114        -        0  Toy Story 2 (1999)\n2 movies have \"toy\" in their titles\n\
         which one (number, or more of the title, Enter: back): story 2\n",
        "movie 3114: Toy Story 2 (1999)\n",
        "user 42 rated Toy Story 2 (1999): 3.0\n",
        "asking: search title=\"300\" prev={r1:1}\nno movie has \"300\" in its title\n",
        "no movie has \"xyz\" in its title\n",
    ] {
        assert!(transcript.contains(part), "{part}\n---\n{transcript}");
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_input_is_answered_and_asked_again() {
    let transcript =
        scripted(&FakeFrontend::default(), "9\nx\u{1b}[2J\n2\n0\n99999999999999\n1\n9\nfive\n5\n\n8\n").await;
    for part in [
        "\"9\" is none of the choices: answer with a number from 1 to 8\n",
        "0 is out of range: use an integer from 1 to 4294967295\nmovie (",
        "99999999999999 is out of range",
        "a rating is one of 0.5, 1.0, 1.5, ... 5.0\nrating (0.5 to 5.0, Enter: back): five\na rating is",
        "user 42 rated Toy Story (1995): 5.0\n",
    ] {
        assert!(transcript.contains(part), "{part}\n---\n{transcript}");
    }
    assert!(!transcript.contains('\u{1b}'));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_input_ends_the_menu_wherever_it_comes() {
    for input in ["", "2", "2\n", "2\n1\n", "2\n1\n9\n", "7\n", "3\ntoy\n", "1\n1"] {
        let transcript = scripted(&FakeFrontend::default(), input).await;
        assert!(transcript.ends_with('\n'), "{input:?}: {transcript}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_line_goes_back() {
    let frontend = FakeFrontend::default();
    scripted(&frontend, "1\n\n2\n\n2\n1\n\n4\n\n5\n\n7\n\n\n8\n").await;
    assert_eq!(frontend.asked(), []);
}

#[tokio::test(start_paused = true)]
async fn every_choice_asks_its_question() {
    let frontend = FakeFrontend::default();
    scripted(&frontend, "2\n1\n4\n4\n1\n3\n1\n1\n6\n7\ntoy\n5\n1\n8\nnever read\n").await;
    let asked: Vec<_> = frontend.asked().into_iter().map(|(operation, _)| operation.name()).collect();
    assert_eq!(asked, ["create", "update", "average", "all", "search", "delete"]);
}

#[tokio::test(start_paused = true)]
async fn errors_are_sentences_and_the_menu_goes_on() {
    let stale = Mishap::Error(504, "STALE: no");
    let mishaps = [Mishap::NoFrontend, Mishap::Error(503, "UNAVAILABLE: all replicas are OFFLINE"), stale];
    let frontend = FakeFrontend::with(mishaps);
    let settings = Settings { patience: Duration::ZERO, ..Settings::default() };
    let mut client = Client::new(&frontend, Memory::unkept(), settings);
    let mut output = Vec::new();
    let input = &b"6\n6\n6\nnew\n5\n1\n8\n"[..];
    let menu = Menu::new(&mut client, UserId::new(42).unwrap(), input, &mut output, Manner::Scripted);
    assert_eq!(menu.run().await.unwrap(), MenuEnd::Quit);
    let transcript = String::from_utf8(output).unwrap();
    for part in [
        "not done: no frontend serves the prefix \"ratings\" at nats://fake:4222: none runs there, or those that run hear no \
         replica; start `frontend`, `replica` or all with `cluster`, or name another cluster with --prefix or --server \
         (NO_FRONTEND)\n",
        "not done: all replicas are OFFLINE (UNAVAILABLE)\n",
        "answer `new` instead of a number\n",
        "a new session: nothing seen yet\n",
        "not done: user 42 has not rated movie 1: check both numbers, or create it (RATING_NOT_FOUND)\n",
    ] {
        assert!(transcript.contains(part), "{part}\n---\n{transcript}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_in_doubt_is_told() {
    let frontend = FakeFrontend::with((0..50).map(|_| Mishap::Lost { executed: false }));
    let transcript = scripted(&frontend, "2\n1\n4\n8\n").await;
    assert!(transcript.contains("may still take effect\n3 read shows whether it took effect\n"), "{transcript}");
}

#[tokio::test(start_paused = true)]
async fn a_person_gets_long_tables_in_parts_and_a_script_does_not() {
    let frontend = FakeFrontend::default();
    frontend.rate_many(42, 100);
    let transcript = talk(&frontend, "6\n\nq\n8\n", Manner::Interactive).await;
    assert!(transcript.contains("-- 40 of 102 lines, Enter: more, q: enough -- served by r1"), "{transcript}");
    assert!(transcript.contains("Movie 39\n") && !transcript.contains("Movie 41\n"));
    let transcript = scripted(&frontend, "6\n8\n").await;
    assert!(transcript.contains("Movie 100\n100 ratings by user 42\n"), "{transcript}");
}

#[tokio::test(start_paused = true)]
async fn long_lines_and_bytes_that_are_no_text_do_no_harm() {
    let mut input = vec![b'x'; 1 << 20];
    input.extend(b"\n\xff\xfe\n3\r\n1\r\n8\n");
    let frontend = FakeFrontend::default();
    let mut client = client(&frontend);
    let mut output = Vec::new();
    let user_id = UserId::new(42).unwrap();
    Menu::new(&mut client, user_id, &input[..], &mut output, Manner::Scripted).run().await.unwrap();
    let transcript = String::from_utf8(output).unwrap();
    assert!(transcript.len() < 20_000);
    assert!(transcript.contains("no rating: user 42 has not rated Toy Story (1995)"), "{transcript}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_leaves_ends_the_menu_quietly() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let frontend = FakeFrontend::default();
    let mut client = client(&frontend);
    let menu = Menu::new(&mut client, UserId::new(42).unwrap(), &b"6\n"[..], Closed, Manner::Scripted);
    assert!(menu.run().await.is_ok());
}
