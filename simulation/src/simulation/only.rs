//! The part of a seed's plan that is kept: a failing run is made smaller by leaving things out, and the text of that
//! repeats it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::kind::Kind;
use super::plan::Plan;

/// The part of a plan that is kept. `None`: as the seed decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Other chances under the same plan.
    pub salt: u64,
    /// Number of replicas.
    pub replicas: Option<usize>,
    /// Number of frontends.
    pub frontends: Option<usize>,
    /// Number of sessions.
    pub sessions: Option<usize>,
    /// Number of operations that a session begins.
    pub operations: Option<u64>,
    /// Time during which there are faults, in microseconds.
    pub until: Option<u64>,
    /// Number of faults.
    pub strikes: Option<u64>,
    /// Faults that are left out, by their number from 1.
    pub skip: BTreeSet<u64>,
    /// The kinds of trouble that there are.
    pub faults: Option<BTreeSet<Kind>>,
}

impl Only {
    /// Leaves the rest out of a plan.
    pub fn apply(&self, plan: &mut Plan) {
        plan.replicas = self.replicas.unwrap_or(plan.replicas).min(plan.replicas);
        plan.frontends = self.frontends.unwrap_or(plan.frontends).min(plan.frontends);
        plan.sessions = self.sessions.unwrap_or(plan.sessions).min(plan.sessions);
        plan.operations_max = self.operations.unwrap_or(plan.operations_max);
        plan.faulty_us = self.until.unwrap_or(plan.faulty_us).min(plan.faulty_us);
        plan.strikes_max = self.strikes.unwrap_or(plan.strikes_max);
        plan.skipped.clone_from(&self.skip);
        let Some(faults) = &self.faults else { return };
        plan.faults.retain(|kind| faults.contains(kind));
        let weather = &mut plan.weather;
        for (kind, permille) in [
            (Kind::Loss, &mut weather.loss_permille),
            (Kind::Slow, &mut weather.slow_permille),
            (Kind::Duplicates, &mut weather.duplicate_permille),
            (Kind::Disk, &mut plan.durable_permille),
        ] {
            if !faults.contains(&kind) {
                *permille = 0;
            }
        }
        weather.reorder &= faults.contains(&Kind::Reorder);
        if !faults.contains(&Kind::Ahead) {
            plan.ahead_ms = 0;
        }
        plan.silent_always &= faults.contains(&Kind::Silence);
        if !faults.contains(&Kind::Raise) {
            plan.raised_ms_max = 0;
        }
        plan.any_ids &= faults.contains(&Kind::Ids);
        if !faults.contains(&Kind::Skew) {
            plan.skew_ms_max = 0;
        }
    }
}

fn list<T>(items: impl IntoIterator<Item = T>, name: impl Fn(T) -> String) -> String {
    items.into_iter().map(name).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |name: &str, value: Option<u64>| value.map(|value| format!("{name}={value}"));
        let parts = [
            number("salt", (self.salt > 0).then_some(self.salt)),
            number("replicas", self.replicas.map(|n| n as u64)),
            number("frontends", self.frontends.map(|n| n as u64)),
            number("sessions", self.sessions.map(|n| n as u64)),
            number("operations", self.operations),
            number("until", self.until),
            number("strikes", self.strikes),
            (!self.skip.is_empty()).then(|| format!("skip={}", list(&self.skip, u64::to_string))),
            self.faults.as_ref().map(|faults| format!("faults={}", list(faults, |kind| kind.name().to_owned()))),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut only = Self::default();
        for part in text.split_whitespace() {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not name=value"))?;
            let number = || value.parse::<u64>().map_err(|error| format!("{part:?}: {error}"));
            match name {
                "salt" => only.salt = number()?,
                "replicas" => only.replicas = Some(number()? as usize),
                "frontends" => only.frontends = Some(number()? as usize),
                "sessions" => only.sessions = Some(number()? as usize),
                "operations" => only.operations = Some(number()?),
                "until" => only.until = Some(number()?),
                "strikes" => only.strikes = Some(number()?),
                "skip" => {
                    let numbers: Result<_, _> = value.split(',').map(str::parse).collect();
                    only.skip = numbers.map_err(|error| format!("{part:?}: {error}"))?;
                }
                "faults" => {
                    let kind = |name: &str| Kind::ALL.iter().find(|(_, other)| *other == name).map(|(kind, _)| *kind);
                    let names = value.split(',').filter(|name| !name.is_empty());
                    let kinds: Option<_> = names.map(kind).collect();
                    only.faults = Some(kinds.ok_or_else(|| format!("{part:?}: no such kind of fault"))?);
                }
                _ => return Err(format!("{part:?}: there is no such setting")),
            }
        }
        Ok(only)
    }
}
