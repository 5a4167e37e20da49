//! The figures: as a table for people, as JSON for programs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::corpus::SetCounts;
use crate::machine::Machine;
use crate::measure::{Cost, median};
use crate::work::Seen;

/// What bench.json holds.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    pub(crate) schema_version: u32,
    pub(crate) machine: Machine,
    pub(crate) runs: u16,
    pub(crate) peers: BTreeMap<&'static str, &'static str>,
    pub(crate) corpus: Vec<SetCounts>,
    pub(crate) figures: Vec<Figure>,
}

/// One comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    id: &'static str,
    what: &'static str,
    measured: Vec<Measured>,
    targets: Vec<Target>,
}

impl Figure {
    pub(crate) fn new(id: &'static str, what: &'static str, measured: Vec<Measured>, targets: Vec<Target>) -> Self {
        Self { id, what, measured, targets }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Ours,
    Peer,
    Floor,
}

/// One contender's runs.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    role: Role,
    name: String,
    /// The median of user and system time, seconds.
    pub(crate) cpu_s: f64,
    cpu_s_of_each_run: Vec<f64>,
    /// The median.
    wall_s: f64,
    /// The largest of all runs.
    peak_bytes: u64,
    /// What it saw, where it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Seen>,
}

impl Measured {
    pub(crate) fn of(role: Role, name: String, costs: &[Cost]) -> Self {
        let cpu: Vec<_> = costs.iter().map(|cost| cost.cpu_s).collect();
        Self {
            role,
            name,
            cpu_s: median(cpu.clone()),
            cpu_s_of_each_run: cpu,
            wall_s: median(costs.iter().map(|cost| cost.wall_s).collect()),
            peak_bytes: costs.iter().map(|cost| cost.peak_bytes).max().unwrap_or_default(),
            seen: costs.last().and_then(|cost| serde_json::from_str(&cost.output).ok()),
        }
    }
}

/// What a figure should be.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    what: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    ok: bool,
}

impl Target {
    pub(crate) fn at_most(what: &'static str, value: f64, limit: f64) -> Self {
        Self { what, value, at_most: Some(limit), at_least: None, ok: value <= limit }
    }

    pub(crate) fn at_least(what: &'static str, value: f64, limit: f64) -> Self {
        Self { what, value, at_most: None, at_least: Some(limit), ok: value >= limit }
    }
}

/// A word on what is going on, for whoever waits.
pub(crate) fn note(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}

pub(crate) fn print(document: &Document, path: &Path) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let Machine { cores, cpu, system, commit, rustc } = &document.machine;
    writeln!(out, "{cores} cores of {cpu}, {system}, {rustc}, commit {commit}")?;
    let peers: Vec<_> = document.peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
    writeln!(out, "{}; medians of {} runs in turn", peers.join(", "), document.runs)?;
    for SetCounts { set, counts } in &document.corpus {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let (zips, all, python) = (mb(counts.zip_bytes), mb(counts.bytes), mb(counts.python_bytes));
        write!(out, "set {:5} {zips:5.1} MB of zips, {all:6.1} MB in {:6} files; ", set.name(), counts.files)?;
        writeln!(out, "{:5} .py, {python:5.1} MB, {} lines", counts.python_files, counts.python_lines)?;
    }
    for figure in &document.figures {
        writeln!(out, "\n{}  {}", figure.id, figure.what)?;
        writeln!(out, "  {:5}  {:52} {:>9} {:>9} {:>8}", "", "", "CPU s", "wall s", "peak MB")?;
        for Measured { role, name, cpu_s, wall_s, peak_bytes, seen, .. } in &figure.measured {
            let role = match role {
                Role::Ours => "ours",
                Role::Peer => "peer",
                Role::Floor => "floor",
            };
            let peak = *peak_bytes as f64 / 1e6;
            writeln!(out, "  {role:5}  {name:52} {cpu_s:9.4} {wall_s:9.4} {peak:8.1}")?;
            // What is not read costs nothing.
            if let Some(Seen { lost: lost @ 1.., files, .. }) = seen {
                writeln!(out, "         of {files} files {lost} were not read to the end")?;
            }
        }
        for Target { what, value, at_most, at_least, ok } in &figure.targets {
            let (sign, limit) = match (at_most, at_least) {
                (Some(limit), _) => ("<=", limit),
                (_, Some(limit)) => (">=", limit),
                _ => continue,
            };
            writeln!(out, "  {:5}  {what:32} {value:8.2}  ({sign} {limit})", if *ok { "ok" } else { "OVER" })?;
        }
    }
    Ok(writeln!(out, "\n{}", path.display())?)
}
