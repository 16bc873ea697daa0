//! The dashboard for Grafana: its form, and that a real cluster exports all metrics and labels that its queries name.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::conventions::{file, names_in};
use super::scrape::Scrape;

/// Labels that Prometheus adds to each sample.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];
/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
/// Form of dashboards that Grafana reads without migration: that of its releases 10 and 11. Later ones migrate it.
const SCHEMA_VERSION: u64 = 39;
/// Units of Grafana that the dashboard uses.
const UNITS: [&str; 5] = ["ops", "percentunit", "reqps", "s", "short"];
/// The reference to the data source that a person chooses after the import.
const CHOSEN: &str = "${datasource}";

/// The dashboard.
pub(crate) struct Dashboard(Value);

impl Dashboard {
    pub(crate) fn read() -> Self {
        Self(serde_json::from_str(&file("docs/grafana.json")).expect("a JSON document"))
    }

    fn panels(&self) -> &[Value] {
        self.0["panels"].as_array().unwrap()
    }

    /// Each query with the legend of its curves.
    fn queries(&self) -> Vec<(&str, &str)> {
        let targets = self.panels().iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        targets.map(|target| (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap())).collect()
    }

    /// Grafana imports it: a version that it reads, a variable for the data source that each panel and query uses, known
    /// kinds and units, ids of their own and a grid without overlaps.
    pub(crate) fn check_form(&self) {
        let Self(dashboard) = self;
        assert_eq!(dashboard["schemaVersion"], SCHEMA_VERSION);
        // An id is that of one installation: with it, an import fails or replaces another dashboard.
        assert!(dashboard["id"].is_null() && dashboard["uid"].is_string() && dashboard["title"].is_string());
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let of_source: Vec<&Value> = variables.iter().filter(|variable| variable["type"] == "datasource").collect();
        assert_eq!(of_source.len(), 1, "{variables:?}");
        assert_eq!((&of_source[0]["name"], &of_source[0]["query"]), (&json!("datasource"), &json!("prometheus")));
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeMap::new());
        for panel in self.panels() {
            let title = panel["title"].as_str().expect("a title");
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: the id is there twice");
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap_or_else(|| panic!("{title}: no {name}"));
            let (x, y, width, height) = (side("x"), side("y"), side("w"), side("h"));
            assert!(x + width <= COLUMNS && width > 0 && height > 0, "{title}: is wider than the grid");
            for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                let other = cells.insert(cell, title);
                assert_eq!(other, None, "{title} and another panel overlap");
            }
            if panel["type"] == "row" {
                continue;
            }
            assert_eq!(panel["type"], "timeseries", "{title}");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_else(|| panic!("{title}: no unit"));
            assert!(UNITS.contains(&unit), "{title}: {unit} is no unit");
            let source = json!({"type": "prometheus", "uid": CHOSEN});
            let targets = panel["targets"].as_array().unwrap_or_else(|| panic!("{title}: no queries"));
            let names: BTreeSet<&str> = targets.iter().filter_map(|target| target["refId"].as_str()).collect();
            assert!(names.len() == targets.len() && !names.is_empty(), "{title}: {names:?}");
            let sources = targets.iter().chain([panel]).map(|part| &part["datasource"]);
            sources.for_each(|used| assert_eq!(used, &source, "{title}: another data source"));
        }
        for (query, _) in self.queries() {
            let rest = query.replace("$__rate_interval", "");
            assert!(!rest.contains('$'), "{query}: a variable that Grafana does not define");
        }
    }

    /// Every metric that a query names is there, with all labels that the query and its legend name, and with the values
    /// that the query asks for.
    pub(crate) fn check_against(&self, scrape: &Scrape) {
        let samples = samples(scrape);
        let queries = self.queries();
        assert!(queries.len() > 20, "{queries:?}");
        for (query, legend) in queries {
            let names = names_in(query);
            assert!(!names.is_empty(), "{query}");
            let by = grouped_by(query);
            let shown: BTreeSet<&str> = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).collect();
            for name in names {
                let of_metric: Vec<_> = samples.iter().filter(|(sample, _)| sample == &name).collect();
                assert!(!of_metric.is_empty(), "the dashboard asks for {name}, which is not there");
                let has = |label: &str| of_metric.iter().all(|(_, labels)| labels.contains_key(label));
                for label in by.iter().chain(&shown) {
                    assert!(has(label) || OF_PROMETHEUS.contains(label), "{query}: {name} has no label {label}");
                }
                for (label, value) in selected(query, name) {
                    let is_there = of_metric.iter().any(|(_, labels)| labels.get(label) == Some(&value));
                    assert!(is_there, "{query}: no {name} has {label} {value}");
                }
            }
            // Without an aggregation all labels are left.
            let is_aggregated = query.contains("sum");
            let has_all = !is_aggregated || shown.is_subset(&by);
            assert!(has_all, "{query}: the legend shows a label that the sum drops: {legend}");
        }
    }

    /// The tool of Prometheus parses all queries, where it is there.
    pub(crate) async fn check_with_promtool(&self, folder: &std::path::Path) {
        let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
        for (n, (query, _)) in self.queries().into_iter().enumerate() {
            let query = json!(query.replace("$__rate_interval", "1m"));
            rules += &format!("  - record: natter:query_{n}\n    expr: {query}\n");
        }
        let path = folder.join("rules.yaml");
        std::fs::write(&path, rules).unwrap();
        let mut command = Command::new("promtool");
        command.args(["check", "rules"]).arg(&path).stdin(Stdio::null()).kill_on_drop(true);
        let output = match command.output().await {
            Ok(output) => output,
            Err(error) => return println!("skipped: no promtool (Debian package prometheus): {error}"),
        };
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "promtool: {told}");
    }
}

/// All samples: the name and the labels.
fn samples(scrape: &Scrape) -> Vec<(&str, BTreeMap<&str, &str>)> {
    let lines = scrape.text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| match line.split_once('{') {
            Some((name, rest)) => (name, pairs(rest.rsplit_once('}').unwrap().0).collect()),
            None => (line.split(' ').next().unwrap(), BTreeMap::new()),
        })
        .collect()
}

/// Label and value of `label="value",other!="value"`. The values have neither quotes nor commas.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|pair| pair.split_once('=')).map(|(label, value)| {
        (label.trim().trim_end_matches('!'), value.trim_start_matches('~').trim().trim_matches('"'))
    })
}

/// Labels and values in the selectors of a metric in a query.
fn selected<'q>(query: &'q str, name: &str) -> Vec<(&'q str, &'q str)> {
    let selectors = query.split(name).skip(1).filter_map(|rest| rest.strip_prefix('{')?.split('}').next());
    selectors.flat_map(pairs).collect()
}

/// Labels by which a query groups.
fn grouped_by(query: &str) -> BTreeSet<&str> {
    let lists = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',')).map(str::trim).collect()
}
