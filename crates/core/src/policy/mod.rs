//! `policy.toml`: the rules that InfoSec writes. Parsed, then validated; a policy with any fault decides nothing.

mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::coordinates::{PackageName, normalize};
use crate::coverage::OpaqueKind;
use crate::digest::Sha256;
use crate::finding::Category;
use crate::severity::Severity;

/// The policy that applies when none is given.
pub const BUILT_IN: &str = include_str!("../../../../examples/policy.toml");

/// A valid policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Of the file's bytes.
    pub sha256: Sha256,
    /// A finding at or above this refuses, unless its category has a threshold of its own.
    pub refuse_at: Severity,
    /// Thresholds of single categories.
    pub thresholds: BTreeMap<Category, Severity>,
    /// The most that a finding in tests, examples and documentation can weigh.
    pub supporting_files_at_most: Severity,
    /// Whether a verdict may be reached without advisories.
    pub advisories: Advisories,
    /// Analyzers that a content report must name.
    pub required_analyzers: BTreeSet<String>,
    /// Kinds of opaque file that a human must look at.
    pub hold_opaque: BTreeSet<OpaqueKind>,
    /// What to do with a yanked release.
    pub yanked: Yanked,
    /// Days since the upload before a release is approved; 0 asks for none.
    pub cool_down_days: u32,
    /// Hosts that a row's URL may name; empty means any.
    pub source_hosts: BTreeSet<String>,
    /// What wheels must run on.
    pub targets: Targets,
    /// Caps on what is fetched.
    pub limits: FetchLimits,
    /// What the operator allows beyond public addresses.
    pub network: Vec<NetworkRule>,
    /// Findings that a named person has accepted.
    pub waivers: Vec<Waiver>,
}

/// Everything that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The key, dotted, e.g. `limits.file_bytes` or `waivers[2].expires`; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", crate::text::escape(&self.key))?;
        }
        let lines: Vec<_> = self.message.lines().map(crate::text::escape).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Faults {}

impl Policy {
    /// Reads and validates a policy. Keys that are absent have their value of [`BUILT_IN`], except `schema_version` and
    /// `refuse_at`, which every policy must state.
    ///
    /// # Errors
    /// All faults at once.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        read::policy(text)
    }

    /// The policy that applies when none is given.
    ///
    /// # Errors
    /// None: a test reads it.
    pub fn built_in() -> Result<Self, Faults> {
        Self::parse(BUILT_IN)
    }

    /// The severity from which a finding of this category refuses.
    #[must_use]
    pub fn threshold(&self, category: Category) -> Severity {
        self.thresholds.get(&category).copied().unwrap_or(self.refuse_at)
    }

    /// Whether a row's URL may name this host.
    #[must_use]
    pub fn allows_source_host(&self, host: &str) -> bool {
        self.source_hosts.is_empty() || self.source_hosts.contains(&host.to_ascii_lowercase())
    }
}

impl Waiver {
    /// Whether it names one of these rules for this package, version or artifact, and has not expired on this day.
    #[must_use]
    pub fn covers(&self, rules: &[&str], name: &str, version: Option<&str>, artifacts: &[Sha256], today: Date) -> bool {
        let bytes_or_version = match (&self.version, &self.sha256) {
            (Some(wanted), None) => version.is_some_and(|version| same_version(wanted, version)),
            (None, Some(wanted)) => artifacts == [*wanted],
            _ => false,
        };
        rules.contains(&self.rule.as_str())
            && self.package.normalized() == normalize(name)
            && bytes_or_version
            && today <= self.expires
    }
}

fn same_version(a: &str, b: &str) -> bool {
    match (a.parse::<pep440_rs::Version>(), b.parse::<pep440_rs::Version>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Whether a verdict may be reached without advisories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advisories {
    /// No advisories, no verdict: the row fails.
    Required,
    /// Without them the verdict stands and says loudly that none were consulted.
    BestEffort,
}

/// What to do with a release that its author has withdrawn (PEP 592).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Yanked {
    /// A human must look.
    Hold,
    /// A note.
    Note,
}

/// When an sdist is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SdistPolicy {
    /// Only for a release without any wheel for the targets.
    Fallback,
    /// Always, beside the wheels.
    Always,
    /// Never.
    Never,
}

/// The interpreters and machines that users have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// CPython versions, `3.10`.
    pub python: Vec<String>,
    /// Machines as in platform tags, `x86_64`, `aarch64`.
    pub machines: Vec<String>,
    /// The oldest glibc among the users' machines, `2.34`: wheels that need a newer one are not taken.
    pub glibc: String,
    /// When an sdist is taken.
    pub sdist: SdistPolicy,
}

/// Caps on what is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files of one request.
    pub request_bytes: u64,
    /// Seconds that one file may take.
    pub file_seconds: u64,
    /// Bytes per second below which a download is given up, measured over 30 seconds.
    pub min_bytes_per_second: u64,
}

/// A host that may be reached at addresses that are not public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRule {
    /// The host, as in a URL.
    pub host: String,
    /// Where it may be.
    pub cidrs: Vec<IpNet>,
    /// Ports besides 443.
    #[serde(default)]
    pub ports: Vec<u16>,
}

/// A finding that a named person has accepted, for one package, until a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// The finding's rule id, or an advisory's id or alias.
    pub rule: String,
    /// The package.
    pub package: PackageName,
    /// The version it holds for; either this or `sha256` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The artifact it holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// Who accepted it.
    pub approver: String,
    /// Why.
    pub reason: String,
    /// The last day on which it holds (UTC).
    pub expires: Date,
}
