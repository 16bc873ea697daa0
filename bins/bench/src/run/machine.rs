//! Description of the machine of a run.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::arguments::BenchArgs;
use crate::measurements::Machine;

/// Returns the properties of the machine, "unknown" for those that the system does not tell.
pub(crate) fn describe(arguments: &BenchArgs, nats_server: String) -> Machine {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let unknown = || "unknown".to_owned();
    Machine {
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        processor: processor_name(&cpuinfo).unwrap_or_else(unknown),
        kernel: Some(kernel.trim().to_owned()).filter(|text| !text.is_empty()).unwrap_or_else(unknown),
        nats_server,
        commit: commit().unwrap_or_else(unknown),
        unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        connections: arguments.connections,
        pin: arguments.pin.name(),
        before: arguments.before.as_ref().map(|path| path.display().to_string()),
        release: !cfg!(debug_assertions),
    }
}

fn processor_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The commit of the working copy in which it is run; with a mark where files differ from it.
fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name_where_the_system_tells_it() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nmodel name\t: another\n";
        assert_eq!(processor_name(text).as_deref(), Some("Some CPU @ 2.00GHz"));
        assert_eq!(processor_name(""), None);
    }
}
