//! The decision: made anew for every row from content reports, coordinates, advisories, evidence, policy and time.
//!
//! [`decide`] is the only place where something becomes approved. It starts from "not approved": a set is approved only when
//! every report is there, is complete, belongs to the asked bytes and coordinates, and nothing refuses or holds it.

mod doubts;
mod findings;
mod identity;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SCHEMA_VERSION;
use crate::advisory::AdvisoryDb;
use crate::coordinates::{Coordinates, Format, PackageName};
use crate::coverage::CoverageCounts;
use crate::digest::Sha256;
use crate::evidence::Evidence;
use crate::finding::Finding;
use crate::message;
use crate::outcome::{OutcomeArtifact, Reason, Verdict};
use crate::policy::{Advisories, Policy, Waiver};
use crate::report::{ContentReport, ScannerVersion};
use crate::severity::Severity;
use crate::source::Source;

/// The most reasons of a verdict; the report has all findings.
pub const MAX_REASONS: usize = 20;

/// One fetched file of a row's set and what was found in it.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What users would download it as.
    pub filename: String,
    /// Of the bytes that were fetched.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    /// What the index said.
    pub evidence: Evidence,
    /// The content report.
    pub report: ContentReport,
}

/// All that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The row's name.
    pub name: &'a PackageName,
    /// The row's source.
    pub source: &'a Source,
    /// The whole set, in the order of the file names.
    pub files: &'a [Examined],
    /// The advisories, if there are any to consult.
    pub advisories: Option<&'a AdvisoryDb>,
    /// The policy.
    pub policy: &'a Policy,
    /// The time.
    pub now: Timestamp,
}

/// A verdict with all that it rests on; stored, shown and explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The row's name, as written.
    pub name: String,
    /// The row's source, in its normal form.
    pub source: String,
    /// What users would install; absent when the archives do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<Coordinates>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why; the first is the one that decided.
    pub reasons: Vec<Reason>,
    /// What else a reader should know; changes no verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Reason>,
    /// The set.
    pub files: Vec<DecidedFile>,
    /// Every finding, as the policy weighs it, worst first.
    pub findings: Vec<Weighed>,
    /// Of the policy.
    pub policy_sha256: Sha256,
    /// The advisory export that was consulted.
    pub advisories: Option<Consulted>,
    /// When.
    pub decided_at: Timestamp,
}

/// One file of the set, as decided on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecidedFile {
    /// What users would download it as.
    pub filename: String,
    /// Of its bytes.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    /// What the index said.
    pub evidence: Evidence,
    /// Who scanned it, by which rules.
    pub scanner: ScannerVersion,
    /// How many files are in each coverage class.
    pub coverage: CoverageCounts,
}

/// An advisory export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consulted {
    /// Of the export.
    pub sha256: Sha256,
    /// How many records.
    pub records: u64,
    /// When its newest record was modified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
}

/// A finding as the policy weighs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Weighed {
    /// The file of the set that it is in; absent when it is about the coordinates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// As the scanner or the advisory says it.
    pub finding: Finding,
    /// Its severity after the policy's weights.
    pub weight: Severity,
    /// Whether it refuses the row.
    pub refuses: bool,
    /// Why it weighs less than it says, if it does: a waiver, or the kind of file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

impl Case<'_> {
    /// The first waiver that covers one of these rules for these files and has not expired.
    fn waiver(&self, rules: &[&str], version: Option<&str>, files: &[Sha256]) -> Option<&Waiver> {
        let today = self.now.to_zoned(jiff::tz::TimeZone::UTC).date();
        self.policy.waivers.iter().find(|waiver| waiver.covers(rules, self.name.as_str(), version, files, today))
    }
}

/// Decides.
///
/// A finding at or above its threshold refuses; a doubt that the same bytes would raise again holds; advisories that the policy
/// requires and that are not there fail; only what is left is approved. An empty set is held: nothing was examined.
#[must_use]
pub fn decide(case: &Case<'_>) -> Decision {
    let identity = identity::coordinates(case);
    let coordinates = identity.as_ref().ok().cloned();
    // The version of a generic asset is a short digest, for which somebody may find other bytes: only a whole one is waived.
    let version = coordinates
        .as_ref()
        .filter(|coordinates| coordinates.format == Format::Pypi)
        .map(|coordinates| coordinates.version.as_str());

    let mut weighing = findings::Weighing::new(case, version);
    if let Err(mismatches) = identity {
        weighing.add_all(mismatches);
    }
    for file in case.files {
        weighing.add_content(file);
    }
    if let (Some(advisories), Some(coordinates)) = (case.advisories, &coordinates) {
        weighing.add_advisories(advisories, coordinates);
    }
    let findings::Weighing { mut findings, mut notes, .. } = weighing;
    findings.sort_by(|a, b| {
        let key = |weighed: &Weighed| (std::cmp::Reverse((weighed.refuses, weighed.weight)), weighed.finding.category);
        key(a).cmp(&key(b))
    });

    let mut doubts = doubts::of(case, version, &mut notes);
    doubts.extend(
        findings
            .iter()
            .filter(|weighed| weighed.weight == Severity::Unknown)
            .map(|weighed| message::unknown_severity(&weighed.finding.rule)),
    );

    let refusals = findings::reasons(&findings);
    let (verdict, mut reasons) = if !refusals.is_empty() {
        (Verdict::Refused, refusals)
    } else if doubts.is_empty() && coordinates.is_none() {
        (Verdict::Held, vec![message::nothing_examined(case.name.as_str())])
    } else if !doubts.is_empty() {
        (Verdict::Held, doubts)
    } else if case.advisories.is_none() && case.policy.advisories == Advisories::Required {
        (Verdict::Failed, vec![message::advisories_required()])
    } else {
        let opaque = case.files.iter().map(|file| file.report.counts().opaque).sum();
        (Verdict::Approved, vec![message::no_finding(case.policy.refuse_at, opaque)])
    };
    if reasons.len() > MAX_REASONS {
        let left_out = reasons.split_off(MAX_REASONS - 1).len();
        reasons.push(message::more(left_out));
    }
    if case.advisories.is_none() && verdict != Verdict::Failed {
        notes.push(message::advisories_not_consulted());
    }
    if let (Some(kind), [file]) = (case.source.moving(), case.files) {
        notes.push(message::moving_source(kind, &file.sha256.to_string()));
    }

    Decision {
        schema_version: SCHEMA_VERSION,
        name: case.name.to_string(),
        source: case.source.to_string(),
        coordinates,
        verdict,
        reasons,
        notes,
        files: case.files.iter().map(DecidedFile::from).collect(),
        findings,
        policy_sha256: case.policy.sha256,
        advisories: case.advisories.map(Consulted::from),
        decided_at: case.now,
    }
}

impl Decision {
    /// Whether this is the same verdict for the same bytes and reasons as another, whenever each was reached.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let files = |decision: &Self| -> Vec<_> {
            decision.files.iter().map(|file| (file.filename.clone(), file.sha256)).collect()
        };
        self.verdict == other.verdict
            && self.coordinates == other.coordinates
            && self.reasons == other.reasons
            && self.notes == other.notes
            && files(self) == files(other)
    }

    /// When time alone may change a held verdict: the end of the policy's cool-down, if that is what holds it.
    #[must_use]
    pub fn cools_down_at(&self, policy: &Policy) -> Option<Timestamp> {
        let cooling =
            self.verdict == Verdict::Held && self.reasons.iter().any(|reason| reason.code == message::COOL_DOWN);
        let wait = SignedDuration::from_hours(24 * i64::from(policy.cool_down_days));
        let uploads = self.files.iter().filter_map(|file| file.evidence.upload_time);
        uploads.max().filter(|_| cooling)?.checked_add(wait).ok()
    }

    /// The set, as an outcome lists it.
    #[must_use]
    pub fn artifacts(&self) -> Vec<OutcomeArtifact> {
        let artifact = |file: &DecidedFile| OutcomeArtifact {
            filename: crate::text::escape(&file.filename).into_owned(),
            sha256: file.sha256,
            size: file.size,
        };
        self.files.iter().map(artifact).collect()
    }
}

impl From<&Examined> for DecidedFile {
    fn from(file: &Examined) -> Self {
        Self {
            filename: file.filename.clone(),
            sha256: file.sha256,
            size: file.size,
            evidence: file.evidence.clone(),
            scanner: file.report.scanner.clone(),
            coverage: file.report.counts(),
        }
    }
}

impl From<&AdvisoryDb> for Consulted {
    fn from(db: &AdvisoryDb) -> Self {
        Self { sha256: db.sha256(), records: db.records(), newest: db.newest() }
    }
}
