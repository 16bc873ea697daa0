//! Resources that processes use, as Linux tells. A value that it does not tell is unknown, which stops no measurement.

use std::fs;

/// The unit of processor time in `/proc`: hundredths of a second on all of Linux' platforms.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time that a process has used, in seconds.
pub(crate) fn processor_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    seconds_in(&stat)
}

/// Reads the seconds after the name, which is in parentheses and may contain anything. User and system time are the
/// 14th and 15th fields.
fn seconds_in(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) as f64 / TICKS_PER_SECOND)
}

/// Memory that a process has resident, in MiB.
pub(crate) fn resident_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kib_in(&status, "VmRSS:").map(|kib| kib / 1024.0)
}

fn kib_in(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The one child of a guard, once it is there.
pub(crate) fn child_below_guard(guard: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_what_the_system_writes() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 99 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(seconds_in(stat), Some(3.0));
        assert_eq!(seconds_in("nothing"), None);
        let status = "Name:\tx\nVmHWM:\t  999 kB\nVmRSS:\t  2048 kB\n";
        assert_eq!(kib_in(status, "VmRSS:"), Some(2048.0));
    }

    #[test]
    fn this_process_uses_something() {
        if cfg!(target_os = "linux") {
            let own = std::process::id();
            assert!(resident_mib(own).is_some_and(|mib| mib > 0.1) && processor_seconds(own).is_some());
        }
    }
}
