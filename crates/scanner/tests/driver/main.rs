//! The driver as its callers see it: whole archives in, reports out; in process and through a real child.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as loudly as the test")]

mod nested;
mod report;
mod step;
mod worker;

use std::io::Cursor;

use gate_core::coverage::{CoverageClass, LostReason};
use gate_core::digest::Sha256;
use gate_core::report::ContentReport;
use gate_scanner::{Options, ScanError};

/// Scans on a thread with a stack that the unoptimised parser can live with.
fn scan_with(bytes: &[u8], options: &Options) -> Result<ContentReport, ScanError> {
    std::thread::scope(|scope| {
        let work = || gate_scanner::scan(Cursor::new(bytes), Sha256::of(bytes), options, &|_| {});
        std::thread::Builder::new().stack_size(256 << 20).spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

/// Options under which an archive, and all within it, may unpack to so many bytes.
fn up_to(total_bytes: u64) -> Options {
    let mut options = Options::default();
    options.limits.total_bytes = total_bytes;
    options
}

fn scan(bytes: &[u8]) -> ContentReport {
    scan_with(bytes, &Options::default()).unwrap()
}

/// `class kind-or-reason-or-analyzer` of a file.
fn class(report: &ContentReport, path: &str) -> String {
    let rows: Vec<_> = report.coverage.iter().filter(|file| file.path == path).collect();
    let [file] = rows[..] else { panic!("{} rows for {path}: {:#?}", rows.len(), report.coverage) };
    match &file.class {
        CoverageClass::Analysed { analyzer } => format!("analysed {analyzer}"),
        CoverageClass::Inert { kind } => format!("inert {kind}"),
        CoverageClass::Opaque { kind } => format!("opaque {}", kind.as_str()),
        CoverageClass::Lost { reason, .. } => format!("lost {}", reason_name(*reason)),
    }
}

fn reason_name(reason: LostReason) -> String {
    serde_json::to_value(reason).unwrap().as_str().unwrap().to_owned()
}

/// Rules of the findings, in the report's order.
fn rules(report: &ContentReport) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.rule.as_str()).collect()
}
