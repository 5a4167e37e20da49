//! Builders and in-memory ports for tests. Behind the feature `testing`; nothing that ships turns it on.

mod memory;

pub use memory::{FixedClock, MemoryQuarantine, MemoryRecords};

use crate::SCHEMA_VERSION;
use crate::coverage::{CoverageClass, FileCoverage};
use crate::decision::Examined;
use crate::digest::Sha256;
use crate::evidence::Evidence;
use crate::finding::{Category, FileRole, Finding, Location};
use crate::report::{ContentReport, Distribution, DistributionKind, ScannerVersion};
use crate::severity::{Confidence, Severity};

/// The scanner of all reports made here.
#[must_use]
pub fn scanner() -> ScannerVersion {
    ScannerVersion { name: "built-in".to_owned(), version: "0.0.0".to_owned(), rules: "test".to_owned() }
}

/// A clean and complete report of these bytes, which are no distribution.
#[must_use]
pub fn clean_report(bytes: &[u8]) -> ContentReport {
    ContentReport {
        schema_version: SCHEMA_VERSION,
        artifact: Sha256::of(bytes),
        size: bytes.len() as u64,
        scanner: scanner(),
        distribution: None,
        pins: Vec::new(),
        findings: Vec::new(),
        analyzers: ["archive", "install-time", "notebook", "pickle", "python", "secrets"].map(str::to_owned).to_vec(),
        coverage: vec![FileCoverage {
            path: "pkg/__init__.py".to_owned(),
            size: 3,
            class: CoverageClass::Analysed { analyzer: "python".to_owned() },
        }],
    }
}

/// A pure wheel of this name and version, cleanly scanned.
#[must_use]
pub fn wheel(name: &str, version: &str) -> Examined {
    let filename = format!("{}-{version}-py3-none-any.whl", name.replace('-', "_"));
    let mut report = clean_report(filename.as_bytes());
    report.distribution = Some(Distribution {
        kind: DistributionKind::Wheel,
        name: name.to_owned(),
        version: version.to_owned(),
        requires_python: None,
        requires_dist: Vec::new(),
        build_requires: Vec::new(),
        tags: vec!["py3-none-any".to_owned()],
    });
    Examined { filename, sha256: report.artifact, size: report.size, evidence: Evidence::default(), report }
}

/// A finding of category [`Category::Code`] in the library file `pkg/a.py`.
#[must_use]
pub fn finding(rule: &str, severity: Severity) -> Finding {
    Finding {
        rule: rule.to_owned(),
        title: format!("what {rule} finds"),
        severity,
        confidence: Confidence::High,
        category: Category::Code,
        cwe: Some(78),
        location: Some(Location {
            path: "pkg/a.py".to_owned(),
            line: Some(7),
            column: Some(1),
            role: FileRole::Library,
            installed: true,
        }),
        snippet: Some("the line".to_owned()),
        remedy: "Ask for another version.".to_owned(),
        references: Vec::new(),
    }
}
