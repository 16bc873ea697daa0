//! Subjects that are measured with the load generator, by section.

use crate::arguments::BenchArgs;
use crate::load::job::{KvOperation, Load, ValkeyOperation};
use crate::section::Section;
use crate::world::cluster::ClusterPlan;
use crate::world::jetstream::{JetStreamPlan, Storage};
use crate::world::watching::Watched;

/// The name of the raw subject in each section.
pub(crate) const RAW: &str = "raw";
/// The ending of the names of subjects of the build before.
pub(crate) const BEFORE: &str = "-before";
/// The name of raw requests by the client library's own means.
pub(crate) const CLIENT: &str = "raw-client";

/// System that must run for a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum World {
    /// The broker and the raw responder, which always run.
    Raw,
    /// A cluster of Natter on the same broker.
    Cluster(ClusterPlan),
    /// JetStream servers, with a bucket.
    JetStream(JetStreamPlan, Storage),
    /// A primary of Valkey, and two replicas of it.
    Valkey,
}

/// Request that a subject measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// The raw responder.
    Echo,
    /// The raw responder, in messages as long as those of a read.
    EchoOfRead,
    /// The raw responder, by the client library's own `request`.
    Request,
    /// A frontend: a mix of reads and updates.
    Natter {
        /// Reads among 100 requests.
        reads_percent: u8,
    },
    /// A frontend: batches of updates.
    Batch {
        /// Updates in a batch.
        size: usize,
    },
    /// A bucket.
    Kv(KvOperation),
    /// Valkey's primary.
    Valkey(ValkeyOperation),
}

/// One thing that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// Its section.
    pub(crate) section: Section,
    /// Its name there.
    pub(crate) name: String,
    /// Its title in reports.
    pub(crate) title: String,
    /// The system that must run.
    pub(crate) world: World,
    /// The request.
    pub(crate) asked: Asked,
    /// Loads, each measured by itself.
    pub(crate) loads: Vec<Load>,
}

impl Subject {
    /// Whether it is raw request-reply.
    pub(crate) fn is_raw(&self) -> bool {
        self.asked == Asked::Echo
    }
}

/// The subjects of a section that are asked for; the raw one first, where there is any.
pub(crate) fn subjects(arguments: &BenchArgs, section: Section) -> Vec<Subject> {
    let full_loads: Vec<Load> = match section {
        Section::Latency => arguments.rates.iter().map(|rate| Load::Open { per_second: f64::from(*rate) }).collect(),
        _ => arguments.in_flight().into_iter().map(|in_flight| Load::Closed { in_flight }).collect(),
    };
    let most: Vec<Load> = full_loads.last().copied().into_iter().collect();
    let mut list = List { arguments, section, subjects: Vec::new() };
    match section {
        Section::Core => core(&mut list, &full_loads, &most),
        Section::Durable => durable(&mut list, if arguments.quick { &most } else { &full_loads }),
        Section::Latency if !arguments.quick => latency(&mut list, &full_loads),
        Section::Before => before(&mut list, if arguments.quick { &most } else { &full_loads }),
        // A short run has time for it only where it is asked for.
        Section::Watched if !arguments.quick || !arguments.only.is_empty() => watched(&mut list, &most),
        Section::Replicas if !arguments.quick => replicas(&mut list, &most),
        Section::Data if !arguments.quick => data(&mut list, &most),
        _ => {}
    }
    list.with_raw()
}

struct List<'a> {
    arguments: &'a BenchArgs,
    section: Section,
    subjects: Vec<Subject>,
}

impl List<'_> {
    fn add(&mut self, name: &str, title: &str, world: World, asked: Asked, loads: &[Load]) {
        if self.arguments.wants(self.section, name) {
            let (name, title, loads) = (name.to_owned(), title.to_owned(), loads.to_vec());
            self.subjects.push(Subject { section: self.section, name, title, world, asked, loads });
        }
    }

    /// Puts raw requests first, under all loads that others have.
    fn with_raw(mut self) -> Vec<Subject> {
        if matches!(self.section, Section::Before | Section::Watched) {
            return self.subjects; // they are compared with each other
        }
        let mut loads: Vec<Load> = Vec::new();
        // A batch is not compared with single requests.
        let compared = self.subjects.iter().filter(|subject| !matches!(subject.asked, Asked::Batch { .. }));
        for load in compared.flat_map(|subject| &subject.loads) {
            if !loads.contains(load) {
                loads.push(*load);
            }
        }
        if !loads.is_empty() {
            let (name, title) = (RAW.to_owned(), "raw request-reply".to_owned());
            let raw = Subject { section: self.section, name, title, world: World::Raw, asked: Asked::Echo, loads };
            self.subjects.insert(0, raw);
        }
        self.subjects
    }

    /// Three replicas in memory, `count` of which also answer clients. There is no separate frontend.
    fn together(&self, count: u8) -> ClusterPlan {
        ClusterPlan { together: count, ..self.plan(0) }
    }

    /// Separate frontends, and three replicas in memory.
    fn plan(&self, frontends: u8) -> ClusterPlan {
        let ratings = self.arguments.ratings;
        ClusterPlan { frontends, together: 0, replicas: 3, ratings, sync: None, before: false, watched: Watched::NOT }
    }
}

const MIXES: [(&str, &str, u8); 4] = [
    ("read", "Natter read", 100),
    ("update", "Natter update, held by 2", 0),
    ("mix95", "Natter 95 % reads, 5 % updates", 95),
    ("mix50", "Natter 50 % reads, 50 % updates", 50),
];

/// Number of updates in a batch, and of batches in flight: more make it no faster.
pub(crate) const BATCH: (usize, Load) = (1000, Load::Closed { in_flight: 4 });

fn core(list: &mut List<'_>, full: &[Load], most: &[Load]) {
    let quick = list.arguments.quick;
    if !quick {
        list.add(CLIENT, "the same by the client's own request()", World::Raw, Asked::Request, full);
    }
    let title = "raw request-reply, with messages as long as those of a read";
    list.add("raw-read", title, World::Raw, Asked::EchoOfRead, if quick { most } else { full });
    let kinds = [
        (list.together(1), "-together-1", ", one replica --frontend"),
        (list.together(3), "-together-3", ", three replica --frontend"),
        (list.plan(1), "", ""),
        (list.plan(2), "-2fe", ", 2 frontends"),
    ];
    for (plan, ending, text) in kinds {
        for (name, title, reads_percent) in MIXES {
            let loads = match (quick, ending, name) {
                (false, ..) | (true, "-together-1", "read" | "update") => full,
                (true, _, "mix50") | (true, "-2fe", _) => continue,
                (true, ..) => most,
            };
            let (name, title) = (format!("{name}{ending}"), format!("{title}{text}"));
            list.add(&name, &title, World::Cluster(plan), Asked::Natter { reads_percent }, loads);
        }
        if ending != "-2fe" {
            batch(list, plan, &format!("batch{ending}"), text);
        }
    }
    for (servers, storage) in [(3, Storage::Memory), (3, Storage::File), (1, Storage::Memory), (1, Storage::File)] {
        let world = World::JetStream(JetStreamPlan { servers, sync_always: false }, storage);
        for (word, text, operation) in [
            ("put", "put", KvOperation::Put),
            ("direct-get", "direct get", KvOperation::DirectGet),
            ("get", "get", KvOperation::Get),
        ] {
            let storage = storage.name();
            let (name, title) =
                (format!("kv-r{servers}-{storage}-{word}"), format!("JetStream KV R{servers} {storage} {text}"));
            match (quick, name.as_str()) {
                (true, "kv-r3-memory-put" | "kv-r3-memory-direct-get") => {
                    list.add(&name, &title, world, Asked::Kv(operation), most);
                }
                (true, _) => {}
                (false, _) => list.add(&name, &title, world, Asked::Kv(operation), full),
            }
        }
    }
    valkey(list, if quick { most } else { full });
}

/// Other stores that a user might pick in place of a bucket.
fn valkey(list: &mut List<'_>, loads: &[Load]) {
    let (set, get) = (Asked::Valkey(ValkeyOperation::Set), Asked::Valkey(ValkeyOperation::Get));
    list.add("valkey-set-wait", "Valkey SET and WAIT 1, two replicas, in memory", World::Valkey, set, loads);
    list.add("valkey-get", "Valkey GET at the primary", World::Valkey, get, loads);
}

fn batch(list: &mut List<'_>, plan: ClusterPlan, name: &str, text: &str) {
    let (size, load) = BATCH;
    let title = format!("Natter updates in batches of {size}, held by 2, until applied by all{text}");
    list.add(name, &title, World::Cluster(plan), Asked::Batch { size }, &[load]);
}

fn durable(list: &mut List<'_>, loads: &[Load]) {
    let update = Asked::Natter { reads_percent: 0 };
    for sync in ["full", "normal"] {
        if list.arguments.quick && sync == "normal" {
            continue;
        }
        for (plan, ending, text) in
            [(list.together(1), "-together-1", ", one replica --frontend"), (list.plan(1), "", "")]
        {
            let world = World::Cluster(ClusterPlan { sync: Some(sync), ..plan });
            let title = format!("Natter update, held by 2, --sync {sync}{text}");
            list.add(&format!("update-{sync}{ending}"), &title, world, update, loads);
        }
    }
    let world = World::JetStream(JetStreamPlan { servers: 3, sync_always: true }, Storage::File);
    let title = "JetStream KV R3 file put, sync_interval: always";
    list.add("kv-r3-always-put", title, world, Asked::Kv(KvOperation::Put), loads);
}

fn latency(list: &mut List<'_>, loads: &[Load]) {
    let world = World::Cluster(list.plan(1));
    let together = World::Cluster(list.together(1));
    for (name, title, reads_percent) in MIXES {
        let (asked, title_together) = (Asked::Natter { reads_percent }, format!("{title}, one replica --frontend"));
        list.add(&format!("{name}-together-1"), &title_together, together, asked, loads);
        list.add(name, title, world, asked, loads);
    }
    let world = World::JetStream(JetStreamPlan { servers: 3, sync_always: false }, Storage::Memory);
    list.add("kv-r3-memory-put", "JetStream KV R3 memory put", world, Asked::Kv(KvOperation::Put), loads);
    let direct = Asked::Kv(KvOperation::DirectGet);
    list.add("kv-r3-memory-direct-get", "JetStream KV R3 memory direct get", world, direct, loads);
}

fn replicas(list: &mut List<'_>, loads: &[Load]) {
    for replicas in [1, 2, 3, 5, 8] {
        let world = World::Cluster(ClusterPlan { replicas, ..list.plan(1) });
        for (name, title, reads_percent) in &MIXES[..2] {
            let title = format!("{title}, {replicas} replica{}", if replicas == 1 { "" } else { "s" });
            list.add(
                &format!("{name}-{replicas}"),
                &title,
                world,
                Asked::Natter { reads_percent: *reads_percent },
                loads,
            );
        }
    }
}

/// Separate frontends and replicas, of this build and of the build before; nothing without `--before`.
fn before(list: &mut List<'_>, loads: &[Load]) {
    if list.arguments.before.is_none() {
        return;
    }
    // With one request in flight processes mostly wait, so their processor time says little.
    let loads: Vec<Load> = loads.iter().copied().filter(|load| *load != Load::Closed { in_flight: 1 }).collect();
    let now = list.plan(1);
    let builds = [(now, "", ", this build"), (ClusterPlan { before: true, ..now }, BEFORE, ", the build before")];
    for (name, title, reads_percent) in &MIXES[..3] {
        for (plan, ending, text) in builds {
            let (name, title) = (format!("{name}{ending}"), format!("{title}{text}"));
            list.add(&name, &title, World::Cluster(plan), Asked::Natter { reads_percent: *reads_percent }, &loads);
        }
    }
    batch(list, list.together(1), "batch-together-1", ", one replica --frontend");
    for (plan, ending, text) in builds {
        batch(list, plan, &format!("batch{ending}"), text);
    }
}

/// The ending of the name of a cluster without anything that watches it, which is measured a second time.
pub(crate) const AGAIN: &str = "-again";

/// The same clusters, watched and not watched. The one that is not watched is measured twice, which shows how exact the
/// ratios are. Half of its best load is added when that is known.
fn watched(list: &mut List<'_>, loads: &[Load]) {
    let off = list.together(1);
    for (kind, what, reads_percent) in [("read", "read", 100), ("update", "update, held by 2", 0)] {
        let mut add = |ending: &str, text: &str, watched| {
            let (name, title) = (format!("{kind}{ending}"), format!("Natter {what}, {text}"));
            let world = World::Cluster(ClusterPlan { watched, ..off });
            list.add(&name, &title, world, Asked::Natter { reads_percent }, loads);
        };
        let not = Watched::NOT;
        add("", "not watched", not);
        add(AGAIN, "not watched, measured again", not);
        add("-metrics", "--metrics", Watched { metrics: true, ..not });
        add("-observer", "observer with an open page", Watched { observer: true, ..not });
        // Reads change nothing.
        if kind == "update" {
            add("-changes", "--changes", Watched { changes: true, ..not });
        }
        add("-all", "all three", Watched { metrics: true, observer: true, changes: true });
    }
}

/// Numbers of ratings in the section about data sets.
pub(crate) const SIZES: [(u64, &str); 3] = [(100_000, "100k"), (1_000_000, "1m"), (32_000_000, "32m")];

fn data(list: &mut List<'_>, loads: &[Load]) {
    for (ratings, text) in SIZES {
        let world = World::Cluster(ClusterPlan { ratings, ..list.plan(1) });
        for (name, title, reads_percent) in &MIXES[..2] {
            let title = format!("{title}, {text} ratings");
            list.add(&format!("{name}-{text}"), &title, world, Asked::Natter { reads_percent: *reads_percent }, loads);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::collections::BTreeSet;

    fn all(line: &[&str]) -> Vec<Subject> {
        let arguments = BenchArgs::parse_from(std::iter::once(&"bench").chain(line));
        Section::ALL.into_iter().flat_map(|section| subjects(&arguments, section)).collect()
    }

    #[test]
    fn names_are_unique_and_each_section_has_its_raw_requests() {
        let full = all(&[]);
        let names: BTreeSet<_> = full.iter().map(|subject| (subject.section, &subject.name)).collect();
        assert_eq!(names.len(), full.len());
        for subject in full.iter().filter(|subject| subject.section != Section::Watched) {
            let raw = full.iter().find(|raw| raw.is_raw() && raw.section == subject.section).unwrap();
            let is_batch = matches!(subject.asked, Asked::Batch { .. });
            let has_raw = subject.loads.iter().all(|load| raw.loads.contains(load));
            assert!(has_raw != is_batch, "{}", subject.name);
        }
    }

    #[test]
    fn each_watched_cluster_has_one_beside_it_that_is_not() {
        let list: Vec<Subject> = all(&[]).into_iter().filter(|subject| subject.section == Section::Watched).collect();
        let plans = |kind: &str| -> Vec<(bool, bool, bool)> {
            let of_kind = list.iter().filter(|subject| subject.name.split('-').next() == Some(kind));
            let watched = of_kind.map(|subject| match subject.world {
                World::Cluster(plan) => plan.watched,
                other => panic!("{other:?}"),
            });
            watched.map(|it| (it.metrics, it.observer, it.changes)).collect()
        };
        let (not, metrics, observer) = ((false, false, false), (true, false, false), (false, true, false));
        assert_eq!(plans("read"), [not, not, metrics, observer, (true, true, true)]);
        assert_eq!(plans("update"), [not, not, metrics, observer, (false, false, true), (true, true, true)]);
        assert!(all(&["--quick"]).iter().all(|subject| subject.section != Section::Watched));
    }

    #[test]
    fn only_leaves_what_is_named_and_raw() {
        let names: Vec<_> = all(&["--only", "core/read"]).into_iter().map(|subject| subject.name).collect();
        assert_eq!(names, ["raw", "read"]);
    }

    #[test]
    fn replicas_that_answer_clients_are_measured_without_a_separate_frontend() {
        let of = |name: &str| match all(&[]).into_iter().find(|subject| subject.name == name).unwrap().world {
            World::Cluster(plan) => (plan.frontends, plan.together, plan.replicas),
            other => panic!("{other:?}"),
        };
        for name in ["read-together-1", "update-together-1", "mix95-together-1", "batch-together-1"] {
            assert_eq!(of(name), (0, 1, 3), "{name}");
        }
        for name in ["read-together-3", "update-together-3", "mix95-together-3", "batch-together-3"] {
            assert_eq!(of(name), (0, 3, 3), "{name}");
        }
        assert_eq!(of("read"), (1, 0, 3));
    }

    #[test]
    fn each_subject_of_the_build_before_has_one_of_this_build_beside_it() {
        let is_before = |subject: &Subject| matches!(subject.world, World::Cluster(plan) if plan.before);
        assert!(!all(&[]).iter().any(is_before), "there is no build to compare with");
        let list = all(&["--before", "old/bench"]);
        let names: Vec<&str> = list.iter().filter(|subject| is_before(subject)).map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["read-before", "update-before", "mix95-before", "batch-before"]);
        for before in list.iter().filter(|subject| is_before(subject)) {
            let name = before.name.strip_suffix(BEFORE).unwrap();
            let now = list.iter().find(|subject| subject.section == Section::Before && subject.name == name).unwrap();
            assert!(now.loads == before.loads && now.asked == before.asked && !is_before(now), "{name}");
        }
    }

    #[test]
    fn quick_is_a_part_of_all() {
        let (full, quick) = (all(&[]), all(&["--quick"]));
        assert!(quick.len() * 2 < full.len());
        for subject in quick {
            let found = full.iter().any(|other| other.section == subject.section && other.name == subject.name);
            assert!(found, "{}", subject.name);
        }
    }
}
