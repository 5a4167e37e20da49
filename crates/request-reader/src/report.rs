//! The last step of a run: a status of the commit, with the counts and a link.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate_core::SCHEMA_VERSION;
use gate_core::outcome::Verdict;
use gate_core::ports::{Clock, Executions, Records, Secrets};
use gate_core::run::{self, Reported, RowDocument, RunDocument, RunId, RunKind};
use gate_core::step::StepError;
use gate_core::text::escape_to;
use serde::{Deserialize, Serialize};

use crate::github::{DESCRIPTION_CHARS, State, Status};
use crate::{Ports, ROWS_AT_ONCE, intake, select};

/// Whose status it is; a later one replaces it.
pub const CONTEXT: &str = "package-gate";

/// The answer of the step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// The run.
    pub run: RunId,
    /// GitHub's word: `success`, `failure` or `error`.
    pub state: String,
}

/// The most commits whose status one run changes.
pub const COMMITS: usize = 50;

/// Sets the status of a run's commit: the newest answers on the rows that this commit brought, whichever run gave them. A run that
/// decides rows again sets that of the commits which brought them, too: so a waiver turns the commit of its row green, and a retry
/// of an older row does not touch the commit that happens to be the newest.
///
/// # Errors
/// [`gate_core::step::ErrorName::Corrupt`] when the run was not read; whatever GitHub and the records fail with.
pub async fn report<R: Records, E: Executions, S: Secrets, C: Clock>(
    run: &RunId,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<ReportAnswer, StepError> {
    let document: RunDocument = run::read(ports.records, &run.document_key()).await?;
    for brought in commits_of_rows(&document, ports).await? {
        set_status(&brought, run, ports).await?;
    }
    let state = set_status(&document, run, ports).await?;
    let (state, at) = (state.as_str().to_owned(), ports.clock.now());
    let reported = Reported { schema_version: SCHEMA_VERSION, state: state.clone(), at };
    run::keep_document(ports.records, &run.reported_key(), &reported).await?;
    Ok(ReportAnswer { run: run.clone(), state })
}

/// Sets the status of the commit that `document` read; it leads to the page of `run`.
async fn set_status<R: Records, E: Executions, S: Secrets, C>(
    document: &RunDocument,
    run: &RunId,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<State, StepError> {
    let (state, description) = match &document.unreadable {
        Some(reason) => (State::Failure, format!("The request cannot be read: {}", reason.message)),
        None => describe(&counts(document, ports).await?),
    };
    let status = Status {
        state,
        description: escape_to(&description, DESCRIPTION_CHARS),
        link: ports.config.console_url.as_ref().map(|runs| format!("{runs}{run}/report.html")),
        context: CONTEXT,
    };
    ports.github.set_status(document.repository, &document.commit, &status).await?;
    tracing::info!(%run, commit = document.commit, state = state.as_str(), "a commit status was set");
    Ok(state)
}

/// The pushes that brought the rows of a run which decides again, but for its own commit.
async fn commits_of_rows<R: Records, E, S, C>(
    document: &RunDocument,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<Vec<RunDocument>, StepError> {
    if document.kind != RunKind::Again {
        return Ok(Vec::new());
    }
    let first_runs = document.lines.iter().map(async |line| {
        let row: RowDocument = run::read(ports.records, &document.run.row_key(*line)).await?;
        let first = select::readable(run::first_notice(ports.records, &row.key).await)?;
        Ok::<_, StepError>(first.map(|notice| notice.run))
    });
    let first_runs: Vec<_> = stream::iter(first_runs).buffer_unordered(ROWS_AT_ONCE).try_collect().await?;
    let first_runs: BTreeSet<RunId> = first_runs.into_iter().flatten().collect();
    let mut pushes = BTreeMap::new();
    for run in first_runs {
        let Some(push) = run::read_json::<RunDocument>(ports.records, &run.document_key()).await? else { continue };
        if push.kind == RunKind::Push && push.commit != document.commit {
            pushes.insert((push.read_at, push.commit.clone()), push);
        }
    }
    if pushes.len() > COMMITS {
        tracing::warn!(run = %document.run, commits = pushes.len(), "the statuses of the oldest commits stay as they are");
    }
    Ok(pushes.into_values().rev().take(COMMITS).collect())
}

/// How many rows ended in each verdict; none is a row without an answer.
type Counts = BTreeMap<Option<Verdict>, usize>;

async fn counts<R: Records, E: Executions, S: Secrets, C>(
    document: &RunDocument,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<Counts, StepError> {
    let runs = runs_of_commit(document, ports).await?;
    // All runs read the same file, so that a line is the same row in each.
    let mut rows = BTreeMap::<u64, &RunId>::new();
    let mut same_as = BTreeSet::new();
    for document in &runs {
        rows.extend(document.lines.iter().map(|line| (*line, &document.run)));
        same_as.extend(document.same_as.iter().copied());
    }
    let verdicts = rows.into_iter().map(async |(line, run)| {
        let row: RowDocument = run::read(ports.records, &run.row_key(line)).await?;
        let notice = select::readable(run::latest_notice(ports.records, &row.key).await)?;
        Ok::<_, StepError>((line, notice.map(|notice| notice.ended.outcome.verdict)))
    });
    let verdicts: BTreeMap<_, _> = stream::iter(verdicts).buffer_unordered(ROWS_AT_ONCE).try_collect().await?;
    let mut counts = Counts::new();
    let shared = same_as.iter().filter_map(|(_, first)| verdicts.get(first));
    for verdict in verdicts.values().chain(shared) {
        *counts.entry(*verdict).or_default() += 1;
    }
    Ok(counts)
}

/// The runs that read what this commit brought: all attempts at its push.
async fn runs_of_commit<R: Records, E: Executions, S, C>(
    document: &RunDocument,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<Vec<RunDocument>, StepError> {
    let first = RunId::of_commit(document.repository, &document.reference, &document.commit, 1);
    let newest = intake::newest_attempt(ports.executions, &first).await?.map_or(1, |(attempt, _)| attempt);
    let mut runs = Vec::new();
    for attempt in 1..=newest {
        runs.extend(run::read_json::<RunDocument>(ports.records, &first.attempt(attempt).document_key()).await?);
    }
    let is_there = runs.iter().any(|other| other.run == document.run);
    if document.kind == RunKind::Push && !is_there {
        runs.push(document.clone());
    }
    Ok(runs)
}

fn describe(counts: &Counts) -> (State, String) {
    let count = |verdict| counts.get(&verdict).copied().unwrap_or_default();
    let total: usize = counts.values().sum();
    let refused = count(Some(Verdict::Refused)) + count(Some(Verdict::Held)) + count(Some(Verdict::Invalid));
    let undecided = count(Some(Verdict::Failed)) + count(None);
    let state = match (refused, undecided) {
        (0, 0) => State::Success,
        (0, _) => State::Error,
        _ => State::Failure,
    };
    if total == 0 {
        return (state, "No new rows".to_owned());
    }
    let words = [
        (Some(Verdict::Approved), "approved"),
        (Some(Verdict::Refused), "refused"),
        (Some(Verdict::Held), "held"),
        (Some(Verdict::Failed), "failed"),
        (Some(Verdict::Invalid), "invalid"),
        (None, "without an answer"),
    ];
    let shown = words.iter().map(|(verdict, word)| (count(*verdict), word)).filter(|(count, _)| *count > 0);
    (state, shown.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Option<Verdict>; 6] = [
        Some(Verdict::Approved),
        Some(Verdict::Refused),
        Some(Verdict::Held),
        Some(Verdict::Failed),
        Some(Verdict::Invalid),
        None,
    ];

    #[test]
    fn a_commit_is_green_only_when_every_row_is_approved() {
        for verdict in ALL {
            let counts = Counts::from([(Some(Verdict::Approved), 1), (verdict, 1)]);
            let state = describe(&counts).0;
            let expected = match verdict {
                Some(Verdict::Approved) => State::Success,
                Some(Verdict::Refused | Verdict::Held | Verdict::Invalid) => State::Failure,
                Some(Verdict::Failed) | None => State::Error,
            };
            assert_eq!(state, expected, "{verdict:?}");
        }
        let both = Counts::from([(Some(Verdict::Refused), 1), (None, 2)]);
        assert_eq!(describe(&both), (State::Failure, "1 refused, 2 without an answer".to_owned()));
        assert_eq!(describe(&Counts::new()), (State::Success, "No new rows".to_owned()));
    }

    #[test]
    fn the_longest_description_fits() {
        let counts: Counts = ALL.into_iter().map(|verdict| (verdict, gate_core::request::MAX_ROWS)).collect();
        let (_, description) = describe(&counts);
        assert!(description.chars().count() <= DESCRIPTION_CHARS, "{description}");
    }
}
