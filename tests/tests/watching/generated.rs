//! Completions and man pages.

use std::process::{Command, Stdio};

use crate::ROLES;

fn client(arguments: &[&str]) -> String {
    let output = Command::new(ROLES).arg("client").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_completes_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("client.bash");
    std::fs::write(&script, client(&["completions", "bash"])).unwrap();
    let complete = |words: &str, current: &str, before: &str| {
        let program = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _client client '{current}' '{before}'; \
             echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        match Command::new("bash").args(["-c", &program]).output() {
            Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
            Err(error) => {
                println!("skipped: no bash: {error}");
                None
            }
        }
    };
    let Some(commands) = complete("client st", "st", "client") else { return };
    assert_eq!(commands.trim(), "status");
    let options = complete("client tap --f", "--f", "tap").unwrap();
    assert_eq!(options.trim(), "--follow");
}

#[test]
fn man_pages_are_written_for_the_program_and_each_command() {
    let page = client(&["man"]);
    assert!(page.contains(".TH client 1") && page.contains("Exit status"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    client(&["man", folder.path().to_str().unwrap()]);
    for name in ["client.1", "client-tap.1", "client-status.1", "client-import.1"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}
