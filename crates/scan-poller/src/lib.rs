//! The Scan step: from an artifact to its content report, by way of start, poll and collect.

pub mod row;
mod turn;

use std::time::Duration;

use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ledger;
use gate_core::ports::{Records, ScanState, Scanner};
use gate_core::report::{ContentReport, ScannerVersion};

/// How long to wait for a scanner.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between the first two polls; each wait is twice the one before it.
    pub first: Duration,
    /// The longest wait between two polls.
    pub longest: Duration,
    /// From the start until the scanner counts as unavailable.
    pub total: Duration,
}

/// The report of an artifact: the stored one if this scanner with these rules has made it before, else a new one, which is
/// then stored.
///
/// Within one process a scanner scans an artifact for one caller at a time, and the others get that report. Two processes may
/// both have it scanned; the report that is stored first is the one that both get.
///
/// An analyzer may die for want of time or memory on a machine that is busy, and a stored report holds the package for good.
/// So a report that lost a file that way is believed only when a second scan does no better; see [`Patience::total`], which
/// each of the two may take.
///
/// # Errors
/// [`FailureCode::ScannerUnavailable`] when the scanner does not finish within [`Patience::total`] or answers for another
/// artifact; whatever the scanner or the store fails with. Nothing is stored then.
pub async fn examine(
    scanner: &impl Scanner,
    records: &impl Records,
    artifact: &Sha256,
    patience: Patience,
) -> Result<ContentReport, Failure> {
    let version = scanner.version();
    if let Some(report) = ledger::report(records, artifact, &version).await? {
        return Ok(report);
    }
    let _turn = turn::take(artifact, &version).await;
    if let Some(report) = ledger::report(records, artifact, &version).await? {
        return Ok(report);
    }
    let mut report = scan(scanner, &version, artifact, patience).await?;
    if report.lost_an_analyzer() {
        let again = scan(scanner, &version, artifact, patience).await?;
        if again.is_more_complete_than(&report) {
            report = again;
        }
    }
    let stored_before = ledger::keep_report(records, &report).await?;
    Ok(stored_before.unwrap_or(report))
}

/// One start, the polls, and the collected report.
async fn scan(
    scanner: &impl Scanner,
    version: &ScannerVersion,
    artifact: &Sha256,
    patience: Patience,
) -> Result<ContentReport, Failure> {
    let unavailable = |message: String| Failure::new(FailureCode::ScannerUnavailable, message);
    let mut scan = scanner.start(artifact).await?;
    let finished = async {
        let mut wait = patience.first;
        while scanner.poll(&mut scan).await? == ScanState::Running {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(patience.longest);
        }
        Ok(())
    };
    tokio::time::timeout(patience.total, finished).await.map_err(|_| {
        unavailable(format!(
            "the scanner '{}' did not finish within {} s; try again later",
            version.name,
            patience.total.as_secs()
        ))
    })??;
    let report = scanner.collect(scan).await?;
    if report.artifact != *artifact || report.scanner != *version {
        return Err(unavailable(format!(
            "the scanner '{}' answered for another artifact or by other rules",
            version.name
        )));
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
