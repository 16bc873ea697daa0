//! Histories as files: JSON lines, and the formats of public checkers.

use std::process::Command;

use natter_simulation::history::{Outcome, file, formats};

use crate::model::{Plan, history};
use crate::tale::{NOTHING, Tale, by, create, exists};

#[test]
fn a_history_comes_back_from_json_lines_as_it_was() {
    let plan = Plan { sessions: 3, operations: 200, users: 2, movies: 3, replicas: 2, nameless: true };
    let history = history(7, &plan);
    let mut bytes = Vec::new();
    file::write(&history, &mut bytes).unwrap();
    assert_eq!(file::read(&mut &bytes[..]).unwrap(), history);
    assert!(file::read(&mut &b"{\"operation\": 1}\n"[..]).unwrap_err().to_string().starts_with("line 1: "));
}

fn tale() -> Tale {
    let tale = Tale::new().creates("a", 1, 1).does("a", create(2, 2), Outcome::Unknown).updates("a", 1, 3);
    tale.does("b", create(1, 4), exists()).reads("b", 1, by(3)).reads("b", 2, by(2)).reads("c", 2, NOTHING)
}

#[test]
fn plume_reads_one_event_a_line() {
    let text = formats::plume(&tale().history);
    let expected = "r(0,0,0,0)\nw(0,1,0,0)\nw(0,3,0,1)\nr(0,3,1,2)\nr(1,2,1,3)\nr(1,0,2,4)\nw(1,2,3,5)\nw(0,11,4,-1)\n";
    assert_eq!(text, expected);
}

#[test]
fn awdit_reads_transactions_between_dashes() {
    let text = formats::awdit(&tale().history);
    let expected =
        "w 0 0\nw 1 0\n=====\nr 0 0\nw 0 1\n-----\nw 0 3\n=====\nr 0 3\n-----\nr 1 2\n=====\nr 1 0\n=====\nw 1 2\n";
    assert_eq!(text, expected);
}

#[test]
fn dbcop_reads_transactions_in_brackets() {
    let text = formats::dbcop(&tale().history);
    let expected = "[k0==? k0:=1]\n[k0:=3]\n---\n[k0==3]\n[k1==2]\n---\n[k1==?]\n---\n[k1:=2]\n---\n[k0:=11]!\n";
    assert_eq!(text, expected);
}

#[test]
fn the_program_tells_good_from_bad_by_its_exit_status() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let plume = folder.path().join("plume.txt");
        let program = env!("CARGO_BIN_EXE_check_history");
        let output = Command::new(program).arg(&path).arg("--plume").arg(&plume).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), std::fs::read_to_string(plume).ok())
    };
    let bytes = |tale: Tale| {
        let mut bytes = Vec::new();
        file::write(&tale.history, &mut bytes).unwrap();
        bytes
    };
    let (status, text, _) = run("bad", b"no JSON");
    assert_eq!((status, text.as_str()), (Some(2), ""));
    let (status, text, plume) = run("good", &bytes(tale()));
    assert_eq!((status, plume), (Some(0), Some(formats::plume(&tale().history))), "{text}");
    let (status, text, _) = run("wrong", &bytes(tale().reads("b", 1, NOTHING)));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.starts_with("monotonic reads: "), "{text}");
}
