//! The content report: what one scanner found in one artifact. It depends on the bytes alone and is kept by their digest.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::coverage::{CoverageClass, CoverageCounts, FileCoverage, LostReason};
use crate::digest::Sha256;
use crate::finding::Finding;

/// Findings and coverage of one artifact by one scanner and rule set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentReport {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The artifact.
    pub artifact: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// Who looked, and by which rules.
    pub scanner: ScannerVersion,
    /// What the archive says that it is; absent when it is no Python distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Exact versions that its files name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// By severity, worst first, then by place.
    pub findings: Vec<Finding>,
    /// The analyzers that ran, by name; the policy may require some.
    pub analyzers: Vec<String>,
    /// Every file, in the archive's order.
    pub coverage: Vec<FileCoverage>,
}

impl ContentReport {
    /// How many files are in each coverage class.
    #[must_use]
    pub fn counts(&self) -> CoverageCounts {
        CoverageCounts::of(&self.coverage)
    }

    /// This report, and what another scanner says of the same bytes: its findings, its name among the analyzers, and the
    /// files that it lost. The rest is this scanner's word.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.findings.extend(other.findings);
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self.coverage
            .extend(other.coverage.into_iter().filter(|file| matches!(file.class, CoverageClass::Lost { .. })));
        self.analyzers.extend(other.analyzers);
        self.analyzers.push(other.scanner.name);
        self
    }

    /// Whether it may owe a lost file to a machine that was busy, so that another scan may do better.
    #[must_use]
    pub fn lost_an_analyzer(&self) -> bool {
        self.lost().any(|file| matches!(file.class, CoverageClass::Lost { reason: LostReason::AnalyzerDied, .. }))
    }

    /// Whether it looked at more files of the same bytes than another; at as many, whether it lost fewer. A scan that gave up
    /// early lists a single lost one.
    #[must_use]
    pub fn is_more_complete_than(&self, other: &Self) -> bool {
        let completeness = |report: &Self| {
            let lost = report.lost().count();
            (report.coverage.len() - lost, Reverse(lost))
        };
        completeness(self) > completeness(other)
    }

    /// The files that should have been checked and were not.
    pub fn lost(&self) -> impl Iterator<Item = &FileCoverage> {
        self.coverage.iter().filter(|file| matches!(file.class, CoverageClass::Lost { .. }))
    }
}

/// A scanner and its rules; another version means that stored reports are not used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ScannerVersion {
    /// `built-in`, later `codeguru-security`, `inspector`, `snyk`.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// A digest over all rules and tables.
    pub rules: String,
}

/// Which kind of Python distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DistributionKind {
    /// Copied into place by an installer.
    Wheel,
    /// Built on the user's machine, which runs its code.
    Sdist,
}

/// A Python distribution's own metadata (core metadata, PEP 566 and 643).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// Wheel or sdist.
    pub kind: DistributionKind,
    /// As written in `Name`.
    pub name: String,
    /// As written in `Version`.
    pub version: String,
    /// As written in `Requires-Python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    /// Each `Requires-Dist`, as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires_dist: Vec<String>,
    /// What `pyproject.toml` needs to build an sdist, as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_requires: Vec<String>,
    /// Each `Tag` of a wheel, e.g. `cp312-cp312-manylinux_2_17_x86_64`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// An exact version of another package, named in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Pin {
    /// As written.
    pub name: String,
    /// As written.
    pub version: String,
    /// The file that names it.
    pub path: String,
    /// Whether it is part of the installed metadata (`Requires-Dist`), so that its advisories count.
    pub installed: bool,
}
