//! Processors for processes.

use std::str::FromStr;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Assignment of processes to processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pin {
    /// Wherever the system puts them.
    #[default]
    Free,
    /// The load generator has the first processor for itself, all else the others.
    Apart,
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "free" => Ok(Self::Free),
            "apart" => Ok(Self::Apart),
            _ => Err("use free or apart".to_owned()),
        }
    }
}

impl Pin {
    /// Returns its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Apart => "apart",
        }
    }

    /// Starts the load generator: a process inherits the processors of the thread that starts it.
    pub(crate) fn for_load<T>(self, start: impl FnOnce() -> T) -> T {
        self.on(|place| place == 0, start)
    }

    /// Keeps this thread, and all processes that it starts, off the load generator's processor.
    pub(crate) fn keep_apart(self) {
        if self == Self::Apart
            && let Ok(all) = sched_getaffinity(None)
            && all.count() > 1
        {
            // Where the system refuses, processes run anywhere.
            let _ = sched_setaffinity(None, &part_of(&all, |place| place != 0));
        }
    }

    fn on<T>(self, wanted: impl Fn(usize) -> bool, start: impl FnOnce() -> T) -> T {
        let all = match (self, sched_getaffinity(None)) {
            (Self::Apart, Ok(all)) if all.count() > 1 => all,
            _ => return start(),
        };
        let _ = sched_setaffinity(None, &part_of(&all, wanted));
        let started = start();
        let _ = sched_setaffinity(None, &all);
        started
    }
}

/// Returns the processors of `all` whose position is wanted.
fn part_of(all: &CpuSet, wanted: impl Fn(usize) -> bool) -> CpuSet {
    let mut part = CpuSet::new();
    let available = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
    for (_, cpu) in available.enumerate().filter(|(place, _)| wanted(*place)) {
        part.set(cpu);
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_processor_is_apart_from_the_others() {
        let mut all = CpuSet::new();
        for cpu in [2, 5, 7] {
            all.set(cpu);
        }
        let (first, others) = (part_of(&all, |place| place == 0), part_of(&all, |place| place != 0));
        assert!(first.is_set(2) && first.count() == 1);
        assert!(others.is_set(5) && others.is_set(7) && others.count() == 2);
    }
}
