//! A whole run: section by section, and in a section round by round, all subjects in turn.

mod machine;
pub(crate) mod worlds;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::BenchArgs;
use crate::bench::Bench;
use crate::catalogue::{self, Subject, World};
use crate::guarantees::plan;
use crate::load::handle::Generator;
use crate::load::job::Load;
use crate::measurements::{Measurement, Results};
use crate::progress::{Progress, minutes, tell};
use crate::report::{json, plots, tables};
use crate::section::Section;
use crate::special::{self, PEAK};
use crate::world::broker::{self, Broker};
use crate::world::{usage, valkey};
use worlds::Worlds;

/// Does what the command line says.
pub(crate) async fn run(arguments: BenchArgs) -> Result<()> {
    if arguments.list {
        print!("{}", list(&arguments));
        return Ok(());
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let whole = async {
        let mut bench = Bench::start(arguments).await?;
        bench.measure_all().await?;
        bench.finish().await
    };
    tokio::select! {
        ended = whole => ended,
        _ = terminate.recv() => bail!("interrupted"),
        _ = interrupt.recv() => bail!("interrupted"),
    }
}

/// All subjects that are asked for, a line each.
fn list(arguments: &BenchArgs) -> String {
    let mut text = String::new();
    for section in Section::ALL.into_iter().filter(|section| arguments.wants_section(*section)) {
        let subjects = catalogue::subjects(arguments, section);
        if section == Section::Guarantees {
            for plan in plan::wanted(arguments) {
                text += &format!("{:<32} {}\n", format!("{}/{}", section.name(), plan.name()), plan.title());
            }
        } else if subjects.is_empty() && special::measurements(arguments, section) > 0 {
            text += &format!("{:<32} {}\n", section.name(), section.title());
        }
        for subject in subjects {
            text += &format!("{:<32} {}\n", format!("{}/{}", section.name(), subject.name), subject.title);
        }
    }
    text
}

impl Bench {
    async fn start(arguments: BenchArgs) -> Result<Self> {
        let all = Section::ALL.iter().map(|section| count(&arguments, *section)).sum();
        if all == 0 {
            bail!("there is nothing to measure: --list shows what there is");
        }
        if let Some(program) = arguments.before.as_deref().filter(|program| !program.is_file()) {
            bail!("--before names {}, which is no file: name the program bench of an earlier build", program.display());
        }
        let (binary, version) = broker::find().await?;
        let folder = tempfile::Builder::new().prefix("natter-bench-").tempdir()?;
        let generator = arguments.pin.for_load(Generator::start)?;
        arguments.pin.keep_apart();
        let mut broker = Broker::start(binary.clone()).await?;
        broker.start_echo(folder.path()).await?;
        let results = Results { machine: machine::describe(&arguments, version), ..Results::default() };
        Ok(Self { arguments, binary, generator, broker, results, progress: Progress::of(all), folder })
    }

    async fn measure_all(&mut self) -> Result<()> {
        for section in Section::ALL {
            let subjects = self.possible(catalogue::subjects(&self.arguments, section));
            if !subjects.is_empty() {
                tell(&format!("=== {} ({} subjects)", section.title(), subjects.len()));
                self.section(&subjects).await?;
            } else if special::measurements(&self.arguments, section) > 0 {
                tell(&format!("=== {}", section.title()));
                special::measure(self, section).await?;
            }
        }
        Ok(())
    }

    /// Leaves out subjects whose program is missing on this machine, and notes that.
    fn possible(&mut self, mut subjects: Vec<Subject>) -> Vec<Subject> {
        let of_valkey = |subject: &Subject| subject.world == World::Valkey;
        if valkey::find().is_some() || !subjects.iter().any(of_valkey) {
            return subjects;
        }
        for subject in subjects.iter().filter(|subject| of_valkey(subject)) {
            self.progress.leave_out(subject.loads.len() * self.arguments.rounds(subject.section) as usize);
            let missing = format!("{}/{}: {}", subject.section.name(), subject.name, valkey::MISSING);
            tell(&format!("not measured: {missing}"));
            self.results.missing.push(missing);
        }
        subjects.retain(|subject| !of_valkey(subject));
        subjects
    }

    async fn section(&mut self, subjects: &[Subject]) -> Result<()> {
        let mut worlds = Worlds::start(self, subjects).await?;
        self.prepare(&worlds, subjects).await?;
        let subjects = &self.with_half_of_best(&worlds, subjects).await?[..];
        let mut loads: Vec<Load> = subjects.iter().flat_map(|subject| subject.loads.clone()).collect();
        loads.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
        loads.dedup();
        let rounds = subjects.first().map_or(0, |subject| self.arguments.rounds(subject.section));
        for round in 1..=rounds {
            for load in &loads {
                let of_load: Vec<&Subject> = subjects.iter().filter(|subject| subject.loads.contains(load)).collect();
                // Each round begins with another one, so that none always comes after the same.
                for turn in 0..of_load.len() {
                    let subject = of_load[(turn + round as usize - 1) % of_load.len()];
                    self.measure(&mut worlds, subject, *load, round).await?;
                }
            }
        }
        worlds.stop().await;
        Ok(())
    }

    /// Adds half of the best load to all subjects of the section of watched clusters: that of the first subject with the
    /// same requests.
    async fn with_half_of_best(&mut self, worlds: &Worlds, subjects: &[Subject]) -> Result<Vec<Subject>> {
        let (mut subjects, mut halves) = (subjects.to_vec(), BTreeMap::new());
        for subject in subjects.iter_mut().filter(|subject| subject.section == Section::Watched) {
            let per_second = match halves.get(&subject.asked) {
                Some(per_second) => *per_second,
                None => {
                    let (server, target) = worlds.target(subject, self.broker.url())?;
                    let best = self.generator.measure(self.job(subject.section, server, target, PEAK, 0)).await?;
                    let half = (best.per_second() / 2.0).round().max(1.0);
                    halves.insert(subject.asked, half);
                    half
                }
            };
            subject.loads.push(Load::Open { per_second });
        }
        Ok(subjects)
    }

    /// Has the load generator find the keys of all subjects, so that no measurement has that in it.
    async fn prepare(&mut self, worlds: &Worlds, subjects: &[Subject]) -> Result<()> {
        for subject in subjects {
            let (server, target) = worlds.target(subject, self.broker.url())?;
            let load = subject.loads.first().copied().unwrap_or(Load::Closed { in_flight: 1 });
            let prepared = self.generator.prepare(self.job(subject.section, server, target, load, 0)).await;
            prepared.with_context(|| format!("{}/{}", subject.section.name(), subject.name))?;
        }
        Ok(())
    }

    async fn measure(&mut self, worlds: &mut Worlds, subject: &Subject, load: Load, round: u32) -> Result<()> {
        let (server, target) = worlds.target(subject, self.broker.url())?;
        let job = self.job(subject.section, server, target, load, round);
        let processes = [vec![("load", self.generator.id())], worlds.processes(subject, &mut self.broker)].concat();
        let before = processor_seconds(&processes);
        let measured = self.generator.measure(job).await;
        worlds.check(subject)?;
        let outcome = measured.with_context(|| format!("{}/{}", subject.section.name(), subject.name))?;
        let after = processor_seconds(&processes);
        let answers = outcome.answers_in_all.max(1) as f64;
        let processor_us = after
            .into_iter()
            .filter_map(|(what, seconds)| Some((what, (seconds - before.get(what)?) * 1e6 / answers)))
            .collect();
        let said = format!(
            "round {round} {}, {}: {}/s, p50 {:.2} ms, p99 {:.2} ms{}",
            subject.title,
            tables::load_text(load),
            tables::grouped(outcome.per_second() as u64),
            outcome.latency.p50_us / 1000.0,
            outcome.latency.p99_us / 1000.0,
            if outcome.errors > 0 { format!(", {} WRONG", outcome.errors) } else { String::new() }
        );
        self.progress.done(&said, self.each(subject.section));
        let (subject, resident_mib) = (subject.clone(), resident_mib(&processes));
        self.results.measurements.push(Measurement { subject, load, round, outcome, processor_us, resident_mib });
        Ok(())
    }

    /// Stops what still runs, and tells what came out.
    async fn finish(self) -> Result<()> {
        let Self { arguments, broker, results, progress, generator, .. } = self;
        drop(generator);
        broker.stop().await;
        print!("{}", tables::report(&results));
        if let Some(path) = &arguments.json {
            let text = serde_json::to_string_pretty(&json::report(&results))?;
            std::fs::write(path, text + "\n").with_context(|| format!("{} can't be written", path.display()))?;
        }
        if let Some(folder) = &arguments.plots {
            tell(&format!("plots in {}: {}", folder.display(), plots::write(&results, folder)?.join(", ")));
        }
        tell(&format!("done after {}", minutes(progress.elapsed())));
        let (errors, examples) = results.errors();
        if errors > 0 {
            bail!("{errors} answers were wrong or did not come:\n  {}", examples.join("\n  "));
        }
        Ok(())
    }
}

/// Returns the number of measurements in a section.
fn count(arguments: &BenchArgs, section: Section) -> usize {
    // Half of the best load is added when that is known.
    let added = usize::from(section == Section::Watched);
    let loads: usize = catalogue::subjects(arguments, section).iter().map(|subject| subject.loads.len() + added).sum();
    loads * arguments.rounds(section) as usize + special::measurements(arguments, section)
}

/// Returns the resident memory of the largest process of each kind, in MiB.
fn resident_mib(processes: &[(&'static str, Option<u32>)]) -> BTreeMap<&'static str, f64> {
    let mut largest = BTreeMap::new();
    for (what, id) in processes {
        if let Some(mib) = id.and_then(usage::resident_mib) {
            let so_far = largest.entry(*what).or_insert(mib);
            *so_far = mib.max(*so_far);
        }
    }
    largest
}

/// Returns the processor time of the processes of each kind together, in seconds.
fn processor_seconds(processes: &[(&'static str, Option<u32>)]) -> BTreeMap<&'static str, f64> {
    let mut sums = BTreeMap::new();
    for (what, id) in processes {
        if let Some(seconds) = id.and_then(usage::processor_seconds) {
            *sums.entry(*what).or_insert(0.0) += seconds;
        }
    }
    sums
}
