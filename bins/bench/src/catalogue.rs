//! All that is measured with the load generator, by section.

use crate::arguments::BenchArgs;
use crate::load::job::{KvOperation, Load};
use crate::section::Section;
use crate::world::cluster::ClusterPlan;
use crate::world::jetstream::{JetStreamPlan, Storage};

/// The name of the raw subject in each section.
pub(crate) const RAW: &str = "raw";
/// The name of raw requests by the client library's own means.
pub(crate) const CLIENT: &str = "raw-client";

/// What has to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum World {
    /// The broker and the raw responder, which always run.
    Raw,
    /// A cluster of Natter on the same broker.
    Cluster(ClusterPlan),
    /// JetStream servers, with a bucket.
    JetStream(JetStreamPlan, Storage),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// The raw responder.
    Echo,
    /// The raw responder, by the client library's own `request`.
    Request,
    /// A frontend: so many reads among 100 requests, the others updates.
    Natter {
        /// How many.
        reads_percent: u8,
    },
    /// A frontend: batches of updates, of so many.
    Batch {
        /// How many.
        size: usize,
    },
    /// A bucket.
    Kv(KvOperation),
}

/// One thing that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// Where it belongs.
    pub(crate) section: Section,
    /// Its name there.
    pub(crate) name: String,
    /// What it is, for people.
    pub(crate) title: String,
    /// What has to run.
    pub(crate) world: World,
    /// What is asked.
    pub(crate) asked: Asked,
    /// When; each is measured by itself.
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

    fn plan(&self, frontends: u8) -> ClusterPlan {
        ClusterPlan { frontends, replicas: 3, ratings: self.arguments.ratings, sync: None }
    }
}

const MIXES: [(&str, &str, u8); 4] = [
    ("read", "Natter read", 100),
    ("update", "Natter update, held by 2", 0),
    ("mix95", "Natter 95 % reads, 5 % updates", 95),
    ("mix50", "Natter 50 % reads, 50 % updates", 50),
];

/// How many updates a batch has, and how many batches are in flight: more make it no faster.
const BATCH: (usize, Load) = (1000, Load::Closed { in_flight: 4 });

fn core(list: &mut List<'_>, full: &[Load], most: &[Load]) {
    let quick = list.arguments.quick;
    list.add(
        CLIENT,
        "the same by the client's own request()",
        World::Raw,
        Asked::Request,
        if quick { most } else { full },
    );
    for frontends in [1, 2] {
        let world = World::Cluster(list.plan(frontends));
        for (name, title, reads_percent) in MIXES {
            let asked = Asked::Natter { reads_percent };
            match (quick, frontends, name) {
                (false, 1, _) | (true, 1, "read" | "update") => list.add(name, title, world, asked, full),
                (true, 1, "mix95") => list.add(name, title, world, asked, most),
                (false, ..) => {
                    list.add(&format!("{name}-2fe"), &format!("{title}, 2 frontends"), world, asked, full);
                }
                (true, ..) => {}
            }
        }
    }
    let (size, load) = BATCH;
    let title = format!("Natter updates in batches of {size}, held by 2, until applied by all");
    list.add("batch", &title, World::Cluster(list.plan(1)), Asked::Batch { size }, &[load]);
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
}

fn durable(list: &mut List<'_>, loads: &[Load]) {
    let update = Asked::Natter { reads_percent: 0 };
    for sync in ["full", "normal"] {
        if list.arguments.quick && sync == "normal" {
            continue;
        }
        let world = World::Cluster(ClusterPlan { sync: Some(sync), ..list.plan(1) });
        let title = format!("Natter update, held by 2, --sync {sync}");
        list.add(&format!("update-{sync}"), &title, world, update, loads);
    }
    let world = World::JetStream(JetStreamPlan { servers: 3, sync_always: true }, Storage::File);
    let title = "JetStream KV R3 file put, sync_interval: always";
    list.add("kv-r3-always-put", title, world, Asked::Kv(KvOperation::Put), loads);
}

fn latency(list: &mut List<'_>, loads: &[Load]) {
    let world = World::Cluster(list.plan(1));
    for (name, title, reads_percent) in MIXES {
        list.add(name, title, world, Asked::Natter { reads_percent }, loads);
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

/// How many ratings there are in the section about that.
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
        for subject in &full {
            let raw = full.iter().find(|raw| raw.is_raw() && raw.section == subject.section).unwrap();
            let is_batch = matches!(subject.asked, Asked::Batch { .. });
            let has_raw = subject.loads.iter().all(|load| raw.loads.contains(load));
            assert!(has_raw != is_batch, "{}", subject.name);
        }
    }

    #[test]
    fn only_leaves_what_is_named_and_raw() {
        let names: Vec<_> = all(&["--only", "core/read"]).into_iter().map(|subject| subject.name).collect();
        assert_eq!(names, ["raw", "read"]);
    }

    #[test]
    fn quick_is_a_part_of_all() {
        let (full, quick) = (all(&[]), all(&["--quick"]));
        assert!(quick.len() * 3 < full.len());
        for subject in quick {
            let found = full.iter().any(|other| other.section == subject.section && other.name == subject.name);
            assert!(found, "{}", subject.name);
        }
    }
}
