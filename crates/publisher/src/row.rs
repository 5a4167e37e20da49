//! The Publish step of the row machine: the pointers of a state in, the outcome's pointer out.

use gate_core::advisory::AdvisoryDb;
use gate_core::failure::FailureCode;
use gate_core::ledger;
use gate_core::outcome::{Reason, Verdict};
use gate_core::ports::{Clock, PackageRepository, Quarantine, Records};
use gate_core::run::{self, FetchedDocument, Inputs, OutcomeDocument, RowDocument, RowState};
use gate_core::step::{ErrorName, StepError};

use crate::step::{Outcome, Ports, ToPublish, publish};

/// Publishes the set of a row if it is approved, whatever the state says, and ends the row.
///
/// A set that is not whole in quarantine any more, because its time there ran out or its bytes were damaged, sends the row back
/// to Fetch. One that a scanner in use has not reported on, because it was switched on after the decision, sends it back to Scan.
///
/// # Errors
/// When a store or the repository cannot be read or written, or a document is missing.
pub async fn publish_row<Q: Quarantine, R: Records, P: PackageRepository, C: Clock>(
    state: RowState,
    ports: &Ports<'_, Q, R, P, C>,
) -> Result<RowState, StepError> {
    let row: RowDocument = run::read(ports.records, &state.row).await?;
    let wanted = row.wanted()?;
    let key = state.fetched.as_deref().ok_or_else(|| {
        StepError::new(ErrorName::Corrupt, format!("line {} of {} was not fetched", row.line, row.run))
    })?;
    let fetched: FetchedDocument = run::read(ports.records, key).await?;
    for file in &fetched.files {
        if ports.quarantine.size(&file.sha256).await?.is_none() {
            return Ok(RowState::new(state.row));
        }
    }
    let inputs = Inputs::of(ports.policy, ports.advisories.map(AdvisoryDb::sha256), ports.scanners);
    let mut decision = match publish(ToPublish { wanted, files: &fetched.files }, ports).await {
        Ok(Outcome::Published(decision) | Outcome::NotPublished(decision)) => *decision,
        Err(failure) if failure.code == FailureCode::DigestMismatch => return Ok(RowState::new(state.row)),
        Err(failure) if failure.code == FailureCode::ScannerUnavailable => {
            return Ok(RowState::fetched_before(state.row, key));
        }
        // The repository's answer about this set, for example that it takes no file of this size.
        Err(failure) if failure.fault().is_none() => {
            let reason = Reason::of_failure(&failure);
            let mut outcome = OutcomeDocument::of_reason(&row, Verdict::Failed, reason, None);
            outcome.inputs = Some(inputs);
            let key = run::keep_outcome(ports.records, &row, &outcome).await?;
            return Ok(state.ended(key));
        }
        Err(failure) => return Err(failure.into()),
    };
    let notes: Vec<_> = fetched.notes.into_iter().filter(|note| !decision.notes.contains(note)).collect();
    decision.notes.extend(notes);
    let key = ledger::keep_decision(ports.records, wanted, &decision).await?;
    let outcome = OutcomeDocument::of_decision(&row, &decision, key, ports.policy, inputs);
    let key = run::keep_outcome(ports.records, &row, &outcome).await?;
    Ok(state.ended(key))
}
