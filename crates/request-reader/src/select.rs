//! Which rows belong to a run.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate_core::outcome::{Reason, RowOutcome, Verdict};
use gate_core::ports::Records;
use gate_core::run::{self, Inputs, Look, Notice, OutcomeDocument, RunId, RunKind};
use gate_core::step::{ErrorName, StepError};
use gate_core::text::escape;
use jiff::Timestamp;

use crate::ROWS_AT_ONCE;
use crate::request::{Candidate, Plan};

/// What rows are chosen by.
pub(crate) struct Choice<'a> {
    pub(crate) kind: RunKind,
    /// The run, if there is one yet: what it has ended itself still belongs to it, so that reading twice gives the same.
    pub(crate) run: Option<&'a RunId>,
    pub(crate) inputs: &'a Inputs,
    pub(crate) now: Timestamp,
}

/// A row that belongs to the run, and when it was last looked at.
pub(crate) struct Chosen {
    pub(crate) candidate: Candidate,
    pub(crate) look: Option<Look>,
}

/// The rows that belong to a run, in their order.
pub(crate) async fn choose(
    records: &impl Records,
    candidates: Vec<Candidate>,
    choice: &Choice<'_>,
) -> Result<Vec<Chosen>, StepError> {
    let judged = candidates.into_iter().map(async |candidate| {
        let notice = readable(run::latest_notice(records, &candidate.key).await)?;
        let may_need_look = choice.kind == RunKind::Again && notice.as_ref().is_some_and(is_open);
        let look = if may_need_look { readable(run::latest_look(records, &candidate.key).await)? } else { None };
        let belongs = belongs(&candidate, notice.as_ref(), look.as_ref(), choice);
        Ok::<_, StepError>(belongs.then_some(Chosen { candidate, look }))
    });
    let chosen: Vec<_> = stream::iter(judged).buffered(ROWS_AT_ONCE).try_collect().await?;
    Ok(chosen.into_iter().flatten().collect())
}

/// What can be read of one row's documents: one that cannot be must not stop the other rows. Its own row goes on to the step that
/// has to write there, and fails in it.
pub(crate) fn readable<T>(found: Result<Option<T>, StepError>) -> Result<Option<T>, StepError> {
    match found {
        Err(error) if error.name == ErrorName::Corrupt => {
            tracing::error!(error = %escape(&error.message), "a document of a row cannot be read");
            Ok(None)
        }
        found => found,
    }
}

fn belongs(candidate: &Candidate, notice: Option<&Notice>, look: Option<&Look>, choice: &Choice<'_>) -> bool {
    let is_own = |run: &RunId| choice.run == Some(run);
    // A row that nobody has an answer on is new; where it was lost, the next run that decides again finds it.
    let Some(notice) = notice else { return true };
    if is_own(&notice.run) {
        return true;
    }
    if !is_open(notice) {
        return false;
    }
    match &candidate.plan {
        Plan::Ends(reason) => !notice.says_the_same_as(&ended(candidate, reason)),
        Plan::Work(_) if was_ended_by_reading(notice) => true,
        Plan::Work(_) => {
            choice.kind == RunKind::Again
                && look.is_none_or(|look| is_own(&look.run) || look.is_stale(choice.inputs, choice.now))
        }
    }
}

/// Whether another answer may follow. An approved row changes only by a request that names something else.
fn is_open(notice: &Notice) -> bool {
    notice.ended.outcome.verdict != Verdict::Approved
}

/// Whether it was the other rows or the list of hosts that ended a row. Now that neither does, it is worked on.
fn was_ended_by_reading(notice: &Notice) -> bool {
    let outcome = &notice.ended.outcome;
    let code = outcome.reasons.first().map(|reason| reason.code.as_str());
    outcome.verdict == Verdict::Invalid && matches!(code, Some("conflict" | "source-host-not-allowed"))
}

/// How a row ends that is not worked on.
pub(crate) fn ended(candidate: &Candidate, reason: &Reason) -> OutcomeDocument {
    OutcomeDocument {
        schema_version: gate_core::SCHEMA_VERSION,
        outcome: RowOutcome {
            line: candidate.line,
            name: candidate.name.clone(),
            source: candidate.source.clone(),
            coordinates: None,
            verdict: Verdict::Invalid,
            reasons: vec![reason.clone()],
            artifacts: Vec::new(),
        },
        decision: None,
        inputs: None,
        again_at: None,
    }
}
