//! The figures: as a table for people, as JSON for programs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::corpus::SetCounts;
use crate::machine::Machine;
use crate::measure::{Cost, median};
use crate::work::Seen;

/// Of bench.json: `schema_version`, and `figures`, each with its `id`, and the `commit` and the time (`taken_at`) that it was taken
/// at. `tests/aws/bench/result.py` adds the figures of the AWS half. A file of another schema is begun anew.
const SCHEMA_VERSION: u32 = 2;

/// What this program has to say.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) machine: Machine,
    pub(crate) runs: u16,
    pub(crate) peers: BTreeMap<&'static str, &'static str>,
    pub(crate) corpus: Vec<SetCounts>,
    pub(crate) figures: Vec<Figure>,
}

/// One comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    what: &'static str,
    measured: Vec<Measured>,
    targets: Vec<Target>,
    taken_at: Timestamp,
}

impl Figure {
    /// A figure that was taken just now.
    pub(crate) fn new(id: &'static str, what: &'static str, measured: Vec<Measured>, targets: Vec<Target>) -> Self {
        let now = Timestamp::now();
        Self { id, what, measured, targets, taken_at: now.round(Unit::Second).unwrap_or(now) }
    }
}

impl Document {
    /// Puts these figures into bench.json in place of those with the same ids; the others stay, with the commit and the time of
    /// their own.
    pub(crate) fn merge_into(&self, path: &Path) -> Result<()> {
        let stored = match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context(path.display().to_string()),
        };
        let merged = self.merged(stored.as_deref().map(serde_json::from_slice).transpose().unwrap_or_default())?;
        // A run that is stopped leaves the file whole.
        let mut file = tempfile::NamedTempFile::new_in(path.parent().context("no folder")?)?;
        serde_json::to_writer_pretty(&mut file, &merged)?;
        writeln!(file)?;
        file.persist(path)?;
        Ok(())
    }

    fn merged(&self, stored: Option<Value>) -> Result<Value> {
        let is_ours = |stored: &Value| stored["schema_version"] == SCHEMA_VERSION && stored["figures"].is_array();
        let mut document = match stored.filter(is_ours) {
            Some(Value::Object(document)) => document,
            _ => Map::new(),
        };
        let mut figures = match document.remove("figures") {
            Some(Value::Array(figures)) => figures,
            _ => Vec::new(),
        };
        figures.retain(|figure| self.figures.iter().all(|ours| figure["id"] != ours.id));
        for figure in &self.figures {
            let mut entry = serde_json::to_value(figure)?;
            entry["commit"] = self.machine.commit.as_str().into();
            entry["runs"] = self.runs.into();
            figures.push(entry);
        }
        figures.sort_by_key(|figure| figure["id"].as_str().unwrap_or_default().to_owned());
        document.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
        document.insert("machine".to_owned(), serde_json::to_value(&self.machine)?);
        document.insert("peers".to_owned(), serde_json::to_value(&self.peers)?);
        document.insert("corpus".to_owned(), serde_json::to_value(&self.corpus)?);
        document.insert("figures".to_owned(), figures.into());
        Ok(document.into())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(commit: &str, ids: &[&'static str]) -> Document {
        let machine = Machine {
            cores: 2,
            cpu: "cpu".to_owned(),
            system: "system".to_owned(),
            commit: commit.to_owned(),
            rustc: "rustc".to_owned(),
        };
        let figures = ids.iter().map(|id| Figure::new(id, "what", Vec::new(), Vec::new())).collect();
        Document { machine, runs: 3, peers: BTreeMap::new(), corpus: Vec::new(), figures }
    }

    fn commits(path: &Path) -> Vec<(String, String)> {
        let read: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let figures = read["figures"].as_array().unwrap().iter();
        figures
            .map(|figure| {
                figure["taken_at"].as_str().unwrap().parse::<Timestamp>().unwrap();
                let text = |name: &str| figure[name].as_str().unwrap().to_owned();
                (text("id"), text("commit"))
            })
            .collect()
    }

    #[test]
    fn each_half_replaces_its_own_figures_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.json");
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(id, commit)| ((*id).to_owned(), (*commit).to_owned())).collect()
        };
        document("one", &["P1", "P2"]).merge_into(&path).unwrap();
        assert_eq!(commits(&path), pairs(&[("P1", "one"), ("P2", "one")]));

        // What the other half has added, as result.py writes it.
        let mut read: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let other = json!({"id": "P4", "commit": "two", "taken_at": "2026-11-20T10:00:00Z", "functions": "sam build"});
        read["figures"].as_array_mut().unwrap().push(other.clone());
        std::fs::write(&path, read.to_string()).unwrap();

        document("three", &["P2", "P8"]).merge_into(&path).unwrap();
        assert_eq!(commits(&path), pairs(&[("P1", "one"), ("P2", "three"), ("P4", "two"), ("P8", "three")]));
        let read: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read["figures"][2], other);
        assert_eq!(read["machine"].get("commit"), None, "a commit is a figure's");
    }

    #[test]
    fn a_file_of_another_form_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.json");
        for other in ["", "{", "[]", r#"{"schema_version": 1, "figures": [{"id": "P4"}]}"#, r#"{"schema_version": 2}"#]
        {
            std::fs::write(&path, other).unwrap();
            document("one", &["P1"]).merge_into(&path).unwrap();
            assert_eq!(commits(&path), [("P1".to_owned(), "one".to_owned())], "{other}");
        }
    }
}
