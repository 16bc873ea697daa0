//! `cluster --console`: verbs from a pipe change a real cluster.

use rustix::process::Signal;

use crate::support::{Place, REMAINS, Running, text, until};

const CONSOLE: [&str; 3] = ["--port", "0", "--console"];

/// The state letter of a process, as the system shows it: `T` for a stopped one.
fn state_of(id: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().chars().next().unwrap()
}

/// Runs the client against this cluster, and gives what it wrote.
fn client(place: &Place, cluster: &Running<'_>, arguments: &[&str]) -> (bool, String) {
    let url = cluster.url();
    let output = place.run(&[&["client"], arguments, &["--no-state", "--server", &url]].concat(), "");
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn verbs_from_a_pipe_are_answered_by_one_line_each() {
    let place = Place::new();
    let verbs = "kill r2\nadd replica\nSTATUS\n\nrestart r2\nadd frontend\npause f1\nkill f1\noffline r1\nstatus\nhelp\n\
                 kill r7\nkill r2 r3\nresume r3\nkil r2\nkill\nkill f1\noffline f2\ncut\nquit\nstatus\n";
    let output = place.run(&[&CONSOLE[..], &["1", "3"]].concat(), verbs);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}\n{told}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 11, "{said}\n{told}");
    assert_eq!(lines[0], "replica r2 is killed");
    assert_eq!(lines[1], "replica r4 is added and serves: r4 (ACTIVE)");
    assert_eq!(lines[2], "r1 (ACTIVE), r2 (killed), r3 (ACTIVE), f1 (ACTIVE), r4 (ACTIVE)");
    assert_eq!(lines[3], "replica r2 is restarted and serves: r2 (ACTIVE)");
    assert_eq!(lines[4], "frontend f2 is added and serves: f2 (ACTIVE)");
    assert_eq!(lines[5..7], ["frontend f1 is paused", "frontend f1 is killed"]);
    assert!(lines[7].starts_with("replica r1-") && lines[7].ends_with(" is OFFLINE (mode offline)"), "{}", lines[7]);
    assert!(lines[8].contains("f1 (killed), r4 (ACTIVE), f2 (ACTIVE)"), "{}", lines[8]);
    assert!(lines[9].contains("kill NAME") && lines[9].contains("add frontend"), "{}", lines[9]);
    assert_eq!(lines[10], "the cluster ends");
    let reasons: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("not done: ")).collect();
    assert_eq!(reasons.len(), 8, "{told}");
    assert_eq!(reasons[0], "no process is named \"r7\": write one of r1, r2, r3, f1, r4, f2");
    assert!(reasons[1].starts_with("\"r3\" is too much"), "{}", reasons[1]);
    assert_eq!(reasons[2], "replica r3 is not paused");
    assert!(reasons[3].starts_with("\"kil\" is no verb"), "{}", reasons[3]);
    assert!(reasons[4].starts_with("`kill` needs a name: write one of r1,"), "{}", reasons[4]);
    assert_eq!(reasons[5], "frontend f1 does not run: `restart f1` starts it again");
    assert!(reasons[6].contains("has no mode"), "{}", reasons[6]);
    assert!(reasons[7].contains("--sites 2"), "{}", reasons[7]);
    assert!(!told.contains("the others go on"), "a killed process counts as a failure: {told}");
    place.assert_nothing_left();
}

#[test]
#[cfg(target_os = "linux")]
fn paused_replica_stands_still_and_catches_up_when_it_is_resumed() {
    let place = Place::new();
    let mut cluster = place.start(&[&CONSOLE[..], &["1", "3"]].concat());
    let paused = place.member("replica", "r2");
    cluster.say("pause r2\n");
    cluster.until_said("replica r2 is paused");
    until("r2 is stopped", || state_of(paused) == 'T');
    let (is_done, said) = client(&place, &cluster, &["42", "create", "1", "4.5"]);
    assert!(is_done, "{said}");
    cluster.say("resume r2\noffline r1\noffline r3\n");
    cluster.until_said("replica r2 goes on");
    assert_ne!(state_of(paused), 'T');
    until("both others are OFFLINE", || {
        std::fs::read_to_string(place.path("said")).unwrap().matches("is OFFLINE").count() == 2
    });
    let (is_done, said) = client(&place, &cluster, &["42", "read", "1"]);
    assert!(is_done && said.contains("4.5") && said.contains("r2-"), "{said}");
    // The end comes while one is paused again, and while another one is gone.
    cluster.say("pause r2\nkill r3\n");
    cluster.until_said("replica r3 is killed");
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0), "{}", cluster.told());
    place.assert_nothing_left();
}

#[test]
#[cfg(target_os = "linux")]
fn killed_launcher_leaves_no_paused_process_behind() {
    let place = Place::new();
    let mut cluster = place.start(&[&CONSOLE[..], &["1", "1"]].concat());
    cluster.say("pause r1\npause f1\n");
    cluster.until_said("frontend f1 is paused");
    cluster.signal(Signal::KILL);
    cluster.wait();
    place.assert_nothing_left_within(REMAINS);
}

#[test]
#[cfg(target_os = "linux")]
fn console_in_a_terminal_completes_verbs_and_keeps_messages_apart_from_the_line() {
    use crate::pseudo_terminal::PseudoTerminal;
    use crate::support::signal_to;

    let place = Place::new();
    let command = place.command(&[&CONSOLE[..], &["1", "2"]].concat());
    let Some(mut console) = PseudoTerminal::start(120, 50, &command) else { return };
    console.until_last_line("cluster>");
    console.type_keys("pau\tr2\r");
    console.until_shown("replica r2 is paused");
    console.type_keys("res\t");
    // Two verbs begin so: both are shown.
    console.until("both verbs", |screen| screen.contains("restart") && screen.trim_end().ends_with("cluster> res"));
    console.type_keys("ume r\t2\r");
    console.until_shown("replica r2 goes on");
    console.until_last_line("cluster>");
    // A process ends while a line is typed.
    console.type_keys("stat");
    console.until_last_line("cluster> stat");
    signal_to(place.member("replica", "r2"), Signal::KILL);
    console.until("the message above the line", |screen| {
        screen.contains("replica r2 was ended by signal 9") && screen.trim_end().ends_with("\ncluster> stat")
    });
    console.type_keys("\t\r");
    console.until_shown("r2 (ended)");
    console.until_last_line("cluster>");
    // Ctrl-c clears a line and ends nothing; the history has the lines before.
    for (keys, line) in
        [("quit", "cluster> quit"), ("\u{3}", "cluster>"), ("\u{1b}[A", "cluster> status"), ("\u{3}", "cluster>")]
    {
        console.type_keys(keys);
        console.until_last_line(line);
    }
    console.type_keys("\u{4}");
    let (status, written) = console.ended();
    assert_eq!(status, Some(0), "{written}");
    let history = std::fs::read_to_string(place.path("state/history/console.txt")).unwrap();
    assert!(history.contains("pause r2\n") && !history.contains("quit"), "{history}");
}
