//! The commands in a pseudo-terminal, by the program `script`.

use std::process::Stdio;

use natter_tests::harness::{DEADLINE, World};

use crate::ROLES;

/// Runs a client command in a terminal of so many columns. `None` where there is no program `script`.
async fn in_terminal(world: &World, columns: u32, no_color: &str, arguments: &str) -> Option<String> {
    let line = format!("stty cols {columns} rows 40; exec {ROLES} client {arguments} --server {}", world.broker.url());
    let mut command = tokio::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.env("NO_COLOR", no_color).env("TERM", "xterm").stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(DEADLINE, command.output()).await.expect("ends by itself") {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            println!("skipped: no program `script`: {error}");
            None
        }
    }
}

#[tokio::test]
async fn terminal_gets_colours_unless_no_color_is_set_and_lines_that_fit() {
    let world = World::new(ROLES).await;
    let cluster = world.small_cluster(1, 2).await;
    let (plain, coloured, narrow, piped) = tokio::join!(
        in_terminal(&world, 80, "1", "tap --duration 2s"),
        in_terminal(&world, 80, "", "tap --duration 2s"),
        in_terminal(&world, 40, "", "status"),
        world.run("client", &["tap", "--duration", "2s"]),
    );
    let piped = String::from_utf8(piped.stdout).unwrap();
    assert!(
        piped.contains("listens to") && piped.contains("heartbeats of f1 r1 r2") && !piped.contains('\u{1b}'),
        "{piped}"
    );
    if let (Some(plain), Some(coloured), Some(narrow)) = (plain, coloured, narrow) {
        assert!(plain.contains("listens to") && !plain.contains('\u{1b}'), "{plain}");
        assert!(coloured.contains("listens to") && coloured.contains("\u{1b}["), "{coloured}");
        assert!(narrow.contains("r1 ACTIVE, up ") && narrow.contains("converged"), "{narrow}");
        for line in narrow.lines() {
            // A progress line stood there before.
            let line = line.rsplit("\u{1b}[2K").next().unwrap_or(line);
            assert!(line.trim_end().chars().count() <= 40, "{line:?}");
        }
    }
    cluster.finish().await;
}
