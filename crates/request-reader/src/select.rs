//! Which rows belong to a run.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Who asks for each row, by its line.
    pub(crate) told: &'a BTreeMap<u64, BTreeSet<String>>,
}

/// A row that belongs to the run.
pub(crate) struct Chosen {
    pub(crate) candidate: Candidate,
    pub(crate) part: Part,
    /// When it was last looked at.
    pub(crate) look: Option<Look>,
}

/// What a row has to do with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It gets an answer.
    Answered,
    /// It has its answer, of which somebody has not heard who asks for it now.
    Heard,
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
        let part = part(&candidate, notice.as_ref(), look.as_ref(), choice);
        Ok::<_, StepError>(part.map(|part| Chosen { candidate, part, look }))
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

/// None when the row is no part of the run.
fn part(candidate: &Candidate, notice: Option<&Notice>, look: Option<&Look>, choice: &Choice<'_>) -> Option<Part> {
    // A row that nobody has an answer on is new; where it was lost, the next run that decides again finds it.
    let Some(notice) = notice else { return Some(Part::Answered) };
    if choice.run == Some(&notice.run) || is_open(notice) && may_end_otherwise(candidate, notice, look, choice) {
        return Some(Part::Answered);
    }
    let is_heard = notice.also.iter().any(|hearing| choice.run == Some(&hearing.run) && hearing.line == candidate.line);
    let asks = || choice.told.get(&candidate.line).is_some_and(|told| !notice.strangers(told).is_empty());
    (is_heard || choice.kind == RunKind::Push && asks()).then_some(Part::Heard)
}

fn may_end_otherwise(candidate: &Candidate, notice: &Notice, look: Option<&Look>, choice: &Choice<'_>) -> bool {
    let is_own = |run: &RunId| choice.run == Some(run);
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
