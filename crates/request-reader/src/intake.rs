//! Executions of the intake machine.

use gate_core::ports::{ExecutionStatus, Executions, Started};
use gate_core::run::{Delivery, Intake, RunId, RunKind};
use gate_core::step::{ErrorName, StepError};

/// Starts an execution for a run: under the run's own name, or that of a later attempt at it.
pub(crate) async fn start(
    executions: &impl Executions,
    execution: &RunId,
    intake: &Intake,
) -> Result<Started, StepError> {
    let input = serde_json::to_string(intake)
        .map_err(|error| StepError::new(ErrorName::Corrupt, format!("the intake could not be written: {error}")))?;
    let started = executions.start(execution.as_str(), &input).await?;
    tracing::info!(run = %intake.run, %execution, now = started == Started::Now, "a run was started");
    Ok(started)
}

/// The run of a delivery's commit.
pub(crate) fn run_of(delivery: &Delivery) -> RunId {
    RunId::of_commit(delivery.repository, &delivery.reference, &delivery.commit, 1)
}

/// The newest attempt at a run that was ever started, and where it is. Attempts are numbered without gaps, so that doubling and
/// halving finds it.
pub(crate) async fn newest_attempt(
    executions: &impl Executions,
    run: &RunId,
) -> Result<Option<(u32, ExecutionStatus)>, StepError> {
    let mut newest = None;
    let mut absent = 1_u32;
    loop {
        match executions.status(run.attempt(absent).as_str()).await? {
            Some(status) => newest = Some((absent, status)),
            None => break,
        }
        let Some(next) = absent.checked_mul(2) else { break };
        absent = next;
    }
    let Some((mut present, _)) = newest else { return Ok(None) };
    while absent - present > 1 {
        let middle = present + (absent - present) / 2;
        match executions.status(run.attempt(middle).as_str()).await? {
            Some(status) => (present, newest) = (middle, Some((middle, status))),
            None => absent = middle,
        }
    }
    Ok(newest)
}

/// Checks that a run is of this delivery and kind: a mistyped input must not read one request under another's name.
pub(crate) fn check(intake: &Intake, delivery: &Delivery) -> Result<(), StepError> {
    // A person may have given it another number; which change it is about is not known.
    let (expected, left_out) = match intake.kind {
        RunKind::Push => (run_of(delivery), 1),
        RunKind::Again => {
            let any = gate_core::digest::Sha256::of(b"");
            (RunId::of_change(delivery.repository, &delivery.reference, &any), 2)
        }
    };
    let head = |run: &RunId| run.as_str().rsplitn(left_out + 1, '-').nth(left_out).map(str::to_owned);
    if head(&intake.run) == head(&expected) {
        return Ok(());
    }
    Err(StepError::new(
        ErrorName::BadInput,
        format!("the run {} is not of the delivery {}", intake.run, intake.delivery),
    ))
}
