//! The Scan and Decide steps of the row machine. The built-in scanner is a function of its own, which the machine calls for each
//! artifact that [`start`] names; external scanners are started here and polled until they are done.

use std::collections::BTreeSet;

use gate_core::SCHEMA_VERSION;
use gate_core::advisory::AdvisoryDb;
use gate_core::decision::{Case, Examined, decide as weigh};
use gate_core::digest::Sha256;
use gate_core::outcome::{Reason, Verdict};
use gate_core::policy::Policy;
use gate_core::ports::{Clock, Quarantine, Records, ScanState, Scanner};
use gate_core::report::ScannerVersion;
use gate_core::run::{self, FetchedDocument, Inputs, OutcomeDocument, RowDocument, RowState, Status};
use gate_core::step::{ErrorName, StepError};
use gate_core::{ledger, message};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Seconds before the first poll of an external scan; each wait is twice the one before it.
pub const FIRST_WAIT: u32 = 5;
/// The longest wait between two polls, in seconds.
pub const LONGEST_WAIT: u32 = 60;

/// A scanner whose scans outlive the function that started them.
pub trait External: Scanner<Scan: Serialize + DeserializeOwned + Clone + Sync> {}

impl<S: Scanner<Scan: Serialize + DeserializeOwned + Clone + Sync>> External for S {}

/// Where the steps look.
#[derive(Debug)]
pub struct Ports<'a, Q, R, E, C> {
    /// The artifacts.
    pub quarantine: &'a Q,
    /// Reports, decisions and the documents of the run.
    pub records: &'a R,
    /// The built-in scanner's rules.
    pub built_in: &'a ScannerVersion,
    /// The external scanners, each of which must report on everything.
    pub external: &'a [E],
    /// The time.
    pub clock: &'a C,
}

impl<Q, R, E: External, C> Ports<'_, Q, R, E, C> {
    /// Whose reports a verdict needs: the built-in scanner first.
    #[must_use]
    pub fn scanners(&self) -> Vec<ScannerVersion> {
        std::iter::once(self.built_in.clone()).chain(self.external.iter().map(Scanner::version)).collect()
    }
}

/// External scans under way: `runs/RUN/scans/LINE-DIGEST.json`, by the set that they are of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scans<S> {
    schema_version: u32,
    started_at: Timestamp,
    scans: Vec<Started<S>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Started<S> {
    scanner: String,
    artifact: Sha256,
    scan: S,
}

/// Says which artifacts the built-in scanner has to look at, and starts the external scanners on what they have not reported on.
///
/// An artifact that is not in quarantine any more and still has to be scanned sends the row back to Fetch. A second call finds
/// the scans of the first.
///
/// # Errors
/// When a store cannot be read or written, a scanner cannot be started, or a document is missing.
pub async fn start<Q: Quarantine, R: Records, E: External, C: Clock>(
    state: RowState,
    ports: &Ports<'_, Q, R, E, C>,
) -> Result<RowState, StepError> {
    let row: RowDocument = run::read(ports.records, &state.row).await?;
    let artifacts: BTreeSet<Sha256> =
        fetched(ports.records, &state).await?.files.iter().map(|file| file.sha256).collect();
    let mut unscanned = Vec::new();
    let mut missing: Vec<(&E, Sha256)> = Vec::new();
    for artifact in &artifacts {
        let before = (unscanned.len(), missing.len());
        if ledger::report(ports.records, artifact, ports.built_in).await?.is_none() {
            // There is nothing to decide on, whatever others say of it.
            if ledger::unscannable(ports.records, artifact, ports.built_in).await?.is_some() {
                continue;
            }
            unscanned.push(*artifact);
        }
        for scanner in ports.external {
            if ledger::report(ports.records, artifact, &scanner.version()).await?.is_none() {
                missing.push((scanner, *artifact));
            }
        }
        if before != (unscanned.len(), missing.len()) && ports.quarantine.size(artifact).await?.is_none() {
            return Ok(RowState::new(state.row));
        }
    }
    if missing.is_empty() {
        return Ok(RowState { status: Status::Scanned, unscanned, scans: None, wait_seconds: 0, ..state });
    }
    let set: String = artifacts.iter().map(ToString::to_string).collect();
    let key = format!("runs/{}/scans/{:06}-{}.json", row.run, row.line, Sha256::of(set.as_bytes()).short());
    if run::read_json::<Scans<E::Scan>>(ports.records, &key).await?.is_none() {
        let mut scans = Vec::with_capacity(missing.len());
        for (scanner, artifact) in missing {
            let scan = scanner.start(&artifact).await?;
            scans.push(Started { scanner: scanner.version().name, artifact, scan });
        }
        let started = Scans { schema_version: SCHEMA_VERSION, started_at: ports.clock.now(), scans };
        run::keep_document(ports.records, &key, &started).await?;
    }
    Ok(RowState { status: Status::Scanning, unscanned, scans: Some(key), wait_seconds: FIRST_WAIT, ..state })
}

/// Asks the external scanners that have not reported yet, and keeps the reports of those that are done.
///
/// # Errors
/// [`ErrorName::ScanTimedOut`] when a scan is still under way `patience` after its start; [`ErrorName::ScannerUnavailable`] when
/// a scanner cannot be asked or failed; whatever a store fails with.
pub async fn poll<Q: Quarantine, R: Records, E: External, C: Clock>(
    state: RowState,
    patience: SignedDuration,
    ports: &Ports<'_, Q, R, E, C>,
) -> Result<RowState, StepError> {
    let corrupt = |what: String| StepError::new(ErrorName::Corrupt, what);
    let key = state.scans.as_deref().ok_or_else(|| corrupt(format!("{} has no scan under way", state.row)))?;
    let started: Scans<E::Scan> = run::read(ports.records, key).await?;
    let mut running = Vec::new();
    for Started { scanner: name, artifact, scan } in &started.scans {
        let scanner = ports.external.iter().find(|scanner| scanner.version().name == *name).ok_or_else(|| {
            StepError::new(ErrorName::Configuration, format!("the scanner '{name}' was switched off while it worked"))
        })?;
        let version = scanner.version();
        if ledger::report(ports.records, artifact, &version).await?.is_some() {
            continue;
        }
        let mut scan = scan.clone();
        match scanner.poll(&mut scan).await? {
            ScanState::Running => running.push(name.as_str()),
            ScanState::Done => {
                let report = scanner.collect(scan).await?;
                if report.artifact != *artifact || report.scanner != version {
                    let message = format!("the scanner '{name}' answered for another artifact or by other rules");
                    return Err(StepError::new(ErrorName::ScannerUnavailable, message));
                }
                ledger::keep_report(ports.records, &report).await?;
            }
        }
    }
    let Some(name) = running.first() else {
        return Ok(RowState { status: Status::Scanned, unscanned: Vec::new(), wait_seconds: 0, ..state });
    };
    let waited = ports.clock.now().duration_since(started.started_at);
    if waited >= patience {
        let message = format!("the scanner '{name}' did not finish within {} s", patience.as_secs());
        return Err(StepError::new(ErrorName::ScanTimedOut, message));
    }
    let wait_seconds = (state.wait_seconds.max(FIRST_WAIT) * 2).min(LONGEST_WAIT);
    Ok(RowState { status: Status::Scanning, unscanned: Vec::new(), wait_seconds, ..state })
}

/// Decides on the set of a row: an approved one goes on to Publish, which decides for itself; every other verdict ends the row.
///
/// # Errors
/// [`ErrorName::AdvisoriesUnavailable`] when the policy requires advisories and there are none; [`ErrorName::Corrupt`] when a
/// report is missing; whatever a store fails with.
pub async fn decide<Q: Quarantine, R: Records, E: External, C: Clock>(
    state: RowState,
    policy: &Policy,
    advisories: Option<&AdvisoryDb>,
    ports: &Ports<'_, Q, R, E, C>,
) -> Result<RowState, StepError> {
    let row: RowDocument = run::read(ports.records, &state.row).await?;
    let wanted = row.wanted()?;
    let (fetched, scanners) = (fetched(ports.records, &state).await?, ports.scanners());
    let inputs = Inputs::of(policy, advisories.map(AdvisoryDb::sha256), &scanners);
    let mut files = Vec::with_capacity(fetched.files.len());
    for run::FetchedFile { filename, sha256, size, evidence } in fetched.files {
        let Some(report) = ledger::merged_report(ports.records, &sha256, &scanners).await? else {
            let Some(failure) = ledger::unscannable(ports.records, &sha256, ports.built_in).await? else {
                let message = format!("not every scanner has reported on {sha256}; redrive from Scan");
                return Err(StepError::new(ErrorName::Corrupt, message));
            };
            let mut outcome = OutcomeDocument::of_reason(&row, Verdict::Failed, Reason::of_failure(&failure), None);
            outcome.inputs = Some(inputs);
            let key = run::keep_outcome(ports.records, &row, &outcome).await?;
            return Ok(state.ended(key));
        };
        files.push(Examined { filename, sha256, size, evidence, report });
    }
    let (name, source, now) = (&wanted.name, &wanted.source, ports.clock.now());
    let mut decision = weigh(&Case { name, source, files: &files, advisories, policy, now });
    decision.notes.extend(fetched.notes);
    match decision.verdict {
        Verdict::Approved => {
            return Ok(RowState { status: Status::Approved, unscanned: Vec::new(), outcome: None, ..state });
        }
        Verdict::Failed => {
            let message = message::advisories_required().message;
            return Err(StepError::new(ErrorName::AdvisoriesUnavailable, message));
        }
        Verdict::Refused | Verdict::Held | Verdict::Invalid => {}
    }
    let key = ledger::keep_decision(ports.records, wanted, &decision).await?;
    let outcome = OutcomeDocument::of_decision(&row, &decision, key, policy, inputs);
    let key = run::keep_outcome(ports.records, &row, &outcome).await?;
    Ok(state.ended(key))
}

async fn fetched(records: &impl Records, state: &RowState) -> Result<FetchedDocument, StepError> {
    let missing = || StepError::new(ErrorName::Corrupt, format!("{} was not fetched", state.row));
    run::read(records, state.fetched.as_deref().ok_or_else(missing)?).await
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
