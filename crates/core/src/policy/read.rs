//! From TOML to a valid [`Policy`], collecting every fault.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Fault, Faults, FetchLimits, NetworkRule, Policy, SdistPolicy, Targets, Waiver};
use crate::SCHEMA_VERSION;
use crate::digest::Sha256;
use crate::finding::Category;
use crate::severity::Severity;

/// Analyzers that exist, so that a misspelt one is a fault and not a package held for ever.
const ANALYZERS: [&str; 6] = ["archive", "install-time", "notebook", "pickle", "python", "secrets"];

/// A table whose keys are taken one by one; what is left at the end is unknown.
struct Section {
    path: String,
    table: Table,
}

impl Section {
    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value, or none with a fault when it has another type, or none when it is absent.
    fn take<T: DeserializeOwned>(&mut self, key: &str, faults: &mut Vec<Fault>) -> Option<T> {
        let value = self.table.remove(key)?;
        match value.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                let message = error.to_string().trim().replace('\n', " ");
                faults.push(Fault { key: self.key(key), message });
                None
            }
        }
    }

    fn section(&mut self, key: &str, faults: &mut Vec<Fault>) -> Self {
        Self { path: self.key(key), table: self.take(key, faults).unwrap_or_default() }
    }

    fn finish(self, faults: &mut Vec<Fault>) {
        for key in self.table.keys() {
            faults.push(Fault {
                key: self.key(key),
                message: "the key is unknown; remove it or mend its spelling".to_owned(),
            });
        }
    }
}

pub(super) fn policy(text: &str) -> Result<Policy, Faults> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        Faults(vec![Fault { key: String::new(), message: format!("this is not TOML: {error}") }])
    })?;
    let mut faults = Vec::new();
    let mut root = Section { path: String::new(), table };

    match root.take::<u32>("schema_version", &mut faults) {
        Some(SCHEMA_VERSION) => {}
        Some(other) => faults.push(Fault {
            key: "schema_version".to_owned(),
            message: format!("{other} is not known; this gate reads version {SCHEMA_VERSION}"),
        }),
        None => missing(&mut faults, "schema_version"),
    }
    let refuse_at = match severity(&mut root, "refuse_at", &mut faults) {
        None => {
            missing(&mut faults, "refuse_at");
            Severity::Info
        }
        Some(severity) => severity,
    };

    let mut section = root.section("thresholds", &mut faults);
    let mut thresholds = BTreeMap::new();
    let always_refuse = [Category::Archive, Category::Identity];
    for category in Category::ALL.into_iter().filter(|category| !always_refuse.contains(category)) {
        if let Some(at) = severity(&mut section, category.as_str(), &mut faults) {
            thresholds.insert(category, at);
        }
    }
    section.finish(&mut faults);

    let mut section = root.section("weights", &mut faults);
    let supporting_files_at_most =
        severity(&mut section, "supporting_files_at_most", &mut faults).unwrap_or(Severity::Low);
    section.finish(&mut faults);

    let mut section = root.section("advisories", &mut faults);
    let advisories = section.take("mode", &mut faults).unwrap_or(super::Advisories::BestEffort);
    section.finish(&mut faults);

    let mut section = root.section("scanners", &mut faults);
    let required_analyzers: BTreeSet<String> = section
        .take("required", &mut faults)
        .unwrap_or_else(|| ["archive", "install-time", "pickle", "python", "secrets"].map(str::to_owned).into());
    for unknown in required_analyzers.iter().filter(|name| !ANALYZERS.contains(&name.as_str())) {
        let message = format!("there is no analyzer '{unknown}'; there are {}", ANALYZERS.join(", "));
        faults.push(Fault { key: "scanners.required".to_owned(), message });
    }
    section.finish(&mut faults);

    let mut section = root.section("opaque", &mut faults);
    let hold_opaque = section.take("hold", &mut faults).unwrap_or_default();
    section.finish(&mut faults);

    let mut section = root.section("releases", &mut faults);
    let yanked = section.take("yanked", &mut faults).unwrap_or(super::Yanked::Hold);
    let cool_down_days = section.take("cool_down_days", &mut faults).unwrap_or(0);
    if cool_down_days > 3650 {
        let message = format!("{cool_down_days} days is more than ten years");
        faults.push(Fault { key: "releases.cool_down_days".to_owned(), message });
    }
    section.finish(&mut faults);

    let mut section = root.section("sources", &mut faults);
    let source_hosts: BTreeSet<String> = section.take("hosts", &mut faults).unwrap_or_default();
    for host in source_hosts.iter().filter(|host| !is_host(host)) {
        faults.push(bad_host("sources.hosts", host));
    }
    section.finish(&mut faults);

    let section = root.section("targets", &mut faults);
    let targets = targets(section, &mut faults);
    let section = root.section("limits", &mut faults);
    let limits = limits(section, &mut faults);

    let mut section = root.section("network", &mut faults);
    let network: Vec<NetworkRule> = list(&mut section, "allow", &mut faults);
    for (at, rule) in network.iter().enumerate() {
        let key = format!("network.allow[{at}]");
        if !is_host(&rule.host) {
            faults.push(bad_host(&format!("{key}.host"), &rule.host));
        }
        if rule.cidrs.is_empty() {
            faults.push(Fault {
                key: format!("{key}.cidrs"),
                message: "name at least one network, such as 10.20.0.0/16".to_owned(),
            });
        }
    }
    section.finish(&mut faults);

    let waivers: Vec<Waiver> = list(&mut root, "waivers", &mut faults);
    for (at, waiver) in waivers.iter().enumerate() {
        check_waiver(&format!("waivers[{at}]"), waiver, &mut faults);
    }
    root.finish(&mut faults);

    if !faults.is_empty() {
        faults.sort();
        return Err(Faults(faults));
    }
    Ok(Policy {
        sha256: Sha256::of(text.as_bytes()),
        refuse_at,
        thresholds,
        supporting_files_at_most,
        advisories,
        required_analyzers,
        hold_opaque,
        yanked,
        cool_down_days,
        source_hosts,
        targets,
        limits,
        network,
        waivers,
    })
}

fn missing(faults: &mut Vec<Fault>, key: &str) {
    if !faults.iter().any(|fault| fault.key == key) {
        faults
            .push(Fault { key: key.to_owned(), message: "the key is missing; every policy must state it".to_owned() });
    }
}

/// A threshold: `unknown` is no severity to refuse at, since nothing would be refused below it.
fn severity(section: &mut Section, key: &str, faults: &mut Vec<Fault>) -> Option<Severity> {
    let word: String = section.take(key, faults)?;
    match Severity::from_word(&word) {
        known if known != Severity::Unknown && known.as_str() == word => Some(known),
        _ => {
            let message = format!("'{word}' is not a severity; write info, low, medium, high or critical");
            faults.push(Fault { key: section.key(key), message });
            None
        }
    }
}

/// An array of tables, each read on its own, so that one bad element does not hide the faults of the next.
fn list<T: DeserializeOwned>(section: &mut Section, key: &str, faults: &mut Vec<Fault>) -> Vec<T> {
    let values: Vec<Value> = section.take(key, faults).unwrap_or_default();
    let path = section.key(key);
    let read = values.into_iter().enumerate().filter_map(|(at, value)| {
        value
            .try_into()
            .map_err(|error: toml::de::Error| {
                let message = error.to_string().trim().replace('\n', " ");
                faults.push(Fault { key: format!("{path}[{at}]"), message });
            })
            .ok()
    });
    read.collect()
}

fn targets(mut section: Section, faults: &mut Vec<Fault>) -> Targets {
    let python: Vec<String> =
        section.take("python", faults).unwrap_or_else(|| ["3.10", "3.11", "3.12", "3.13"].map(str::to_owned).to_vec());
    let machines: Vec<String> =
        section.take("machines", faults).unwrap_or_else(|| ["x86_64", "aarch64"].map(str::to_owned).to_vec());
    let glibc: String = section.take("glibc", faults).unwrap_or_else(|| "2.34".to_owned());
    let sdist = section.take("sdist", faults).unwrap_or(SdistPolicy::Fallback);
    let two_numbers = |text: &str, major: u32| {
        text.split_once('.').is_some_and(|(a, b)| a.parse() == Ok(major) && b.parse::<u8>().is_ok())
    };
    if python.is_empty() || !python.iter().all(|version| two_numbers(version, 3)) {
        let message = "name at least one CPython version, such as \"3.12\"".to_owned();
        faults.push(Fault { key: section.key("python"), message });
    }
    if machines.is_empty() || !machines.iter().all(|machine| matches!(machine.as_str(), "x86_64" | "aarch64")) {
        let message = "name at least one of \"x86_64\" and \"aarch64\"".to_owned();
        faults.push(Fault { key: section.key("machines"), message });
    }
    if !two_numbers(&glibc, 2) {
        faults.push(Fault { key: section.key("glibc"), message: "write a version such as \"2.34\"".to_owned() });
    }
    section.finish(faults);
    Targets { python, machines, glibc, sdist }
}

fn limits(mut section: Section, faults: &mut Vec<Fault>) -> FetchLimits {
    let mut number = |key: &str, default: u64| {
        let value = section.take::<u64>(key, faults).unwrap_or(default);
        if value == 0 {
            faults.push(Fault {
                key: section.key(key),
                message: "0 would let nothing through; write a number above it".to_owned(),
            });
        }
        value
    };
    let limits = FetchLimits {
        file_bytes: number("file_bytes", 2 << 30),
        request_bytes: number("request_bytes", 10 << 30),
        file_seconds: number("file_seconds", 1800),
        min_bytes_per_second: number("min_bytes_per_second", 1024),
    };
    section.finish(faults);
    limits
}

fn check_waiver(key: &str, waiver: &Waiver, faults: &mut Vec<Fault>) {
    let mut fault = |key: String, message: &str| faults.push(Fault { key, message: message.to_owned() });
    if waiver.version.is_some() == waiver.sha256.is_some() {
        fault(key.to_owned(), "give either a version or a sha256");
    }
    for (field, text) in [("rule", &waiver.rule), ("approver", &waiver.approver), ("reason", &waiver.reason)] {
        if text.trim().is_empty() {
            fault(format!("{key}.{field}"), "it is empty; a waiver says who accepted what, and why");
        }
    }
}

fn bad_host(key: &str, host: &str) -> Fault {
    let message = format!("'{host}' is not a host name; write it in lower case, without scheme, port or path");
    Fault { key: key.to_owned(), message }
}

/// A lower-case host name or address, as it stands in a URL.
fn is_host(text: &str) -> bool {
    url::Host::parse(text).is_ok_and(|host| host.to_string() == text)
}
