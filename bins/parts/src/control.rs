//! One part under valgrind, from both sides.
//!
//! Code that valgrind watches takes 50 times as long, counted or not. If a setup takes long, valgrind begins to watch
//! after it: the part says that it is [`READY`], `callgrind_control` has valgrind look, and a line lets it go on.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

const READY: &str = "set up";

/// Runs a part in a process of its own, and gives what valgrind said. A slow one calls [`wait_for_counting`].
pub(crate) fn run(name: &str, slow: bool) -> Result<String> {
    let program = std::env::current_exe().context("where this program is")?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*parts::measured*"]);
    if slow {
        valgrind.arg("--instr-atstart=no");
    }
    valgrind.arg(program).args(["--run", name]);
    valgrind.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        valgrind.spawn().context("valgrind cannot be run: install it (Debian: apt-get install valgrind)")?;
    let begun = if slow { begin_counting(&mut child) } else { Ok(()) };
    if begun.is_err() {
        // It waits for a line that will not come. Where it cannot be ended, it has ended.
        let _ = child.kill();
    }
    let output = child.wait_with_output().context("waiting for valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    begun.with_context(|| format!("{name}: {said}"))?;
    if !output.status.success() {
        bail!("{name}: {said}");
    }
    Ok(said)
}

fn begin_counting(valgrind: &mut Child) -> Result<()> {
    let pid = valgrind.id().to_string();
    let (Some(output), Some(input)) = (valgrind.stdout.take(), valgrind.stdin.as_mut()) else {
        bail!("valgrind has no pipes");
    };
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).context("reading what the part says")?;
    ensure!(line.trim_end() == READY, "it said {line:?} where it is set up");
    let control = Command::new("callgrind_control").arg("--instr=on").arg(pid).output();
    let control = control.context("callgrind_control, which comes with valgrind, cannot be run")?;
    ensure!(control.status.success(), "callgrind_control: {}", String::from_utf8_lossy(&control.stderr));
    input.write_all(b"\n").context("letting it go on")
}

/// Tells that a slow part is set up, and waits until valgrind counts.
pub(crate) fn wait_for_counting() -> Result<()> {
    println!("{READY}");
    stdout().flush()?;
    stdin().read_line(&mut String::new()).context("waiting for a line")?;
    Ok(())
}
