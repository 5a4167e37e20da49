//! Stored reports and decisions: where each lies among the [`Records`], and the rule that nothing stored is ever changed.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::SCHEMA_VERSION;
use crate::decision::Decision;
use crate::digest::Sha256;
use crate::failure::{Failure, FailureCode};
use crate::outcome::Verdict;
use crate::ports::{Put, Records};
use crate::report::{ContentReport, ScannerVersion};
use crate::request::Wanted;

/// The prefix of all decisions.
pub const DECISIONS: &str = "decisions/";

/// The report of an artifact by a scanner and its rules, if one is stored.
///
/// A report that cannot be read, or that is about other bytes, counts as absent: the artifact is scanned again.
///
/// # Errors
/// When the store cannot be read.
pub async fn report(
    records: &impl Records,
    artifact: &Sha256,
    scanner: &ScannerVersion,
) -> Result<Option<ContentReport>, Failure> {
    let report: Option<ContentReport> = get(records, &report_key(artifact, scanner)).await?;
    Ok(report.filter(|report| {
        report.schema_version == SCHEMA_VERSION && report.artifact == *artifact && report.scanner == *scanner
    }))
}

/// Keeps a report. One that is stored already stays.
///
/// # Errors
/// When the store cannot be written.
pub async fn keep_report(records: &impl Records, report: &ContentReport) -> Result<(), Failure> {
    put(records, &report_key(&report.artifact, &report.scanner), report).await.map(drop)
}

/// The newest decision on a row, if there is one.
///
/// # Errors
/// When the store cannot be read.
pub async fn latest_decision(records: &impl Records, wanted: &Wanted) -> Result<Option<Decision>, Failure> {
    match records.list(&row_prefix(wanted)).await?.last() {
        Some(key) => decision(records, key).await,
        None => Ok(None),
    }
}

/// One stored decision; none when the key is free or the record is of another schema.
///
/// # Errors
/// When the store cannot be read.
pub async fn decision(records: &impl Records, key: &str) -> Result<Option<Decision>, Failure> {
    let decision: Option<Decision> = get(records, key).await?;
    Ok(decision.filter(|decision| decision.schema_version == SCHEMA_VERSION))
}

/// Appends a decision, unless the newest one says the same. The record is written once and never changed.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn keep_decision(records: &impl Records, wanted: &Wanted, decision: &Decision) -> Result<(), Failure> {
    let prefix = row_prefix(wanted);
    loop {
        let keys = records.list(&prefix).await?;
        if let Some(key) = keys.last()
            && let Some(newest) = get::<Decision>(records, key).await?
            && newest.says_the_same_as(decision)
        {
            return Ok(());
        }
        let last = keys.last().and_then(|key| key.strip_prefix(&prefix)?.strip_suffix(".json")?.parse::<u32>().ok());
        let next = last.map_or(1, |last| last + 1);
        if put(records, &format!("{prefix}{next:06}.json"), decision).await? == Put::Created {
            return Ok(());
        }
    }
}

/// Whether a decision is a verdict, so that its row stands against a later row in conflict with it.
#[must_use]
pub fn is_verdict(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Approved | Verdict::Refused | Verdict::Held)
}

fn report_key(artifact: &Sha256, scanner: &ScannerVersion) -> String {
    format!("reports/{artifact}/{}-{}-{}.json", scanner.name, scanner.version, scanner.rules)
}

/// All decisions on one request: the same name from the same source, whatever line it stands on.
fn row_prefix(wanted: &Wanted) -> String {
    let key = Sha256::of(format!("{}\n{}", wanted.name.normalized(), wanted.source).as_bytes());
    format!("{DECISIONS}{}/", key.short())
}

async fn get<T: DeserializeOwned>(records: &impl Records, key: &str) -> Result<Option<T>, Failure> {
    Ok(records.get(key).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

async fn put<T: Serialize>(records: &impl Records, key: &str, value: &T) -> Result<Put, Failure> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::new(FailureCode::Storage, format!("{key} could not be written as JSON: {error}")))?;
    records.put_new(key, &bytes).await
}
