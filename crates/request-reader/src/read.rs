//! The first step of a run: from a commit to the manifest of the rows that it is about.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate_core::SCHEMA_VERSION;
use gate_core::outcome::Reason;
use gate_core::ports::{Clock, Put, Records, Secrets};
use gate_core::run::{
    self, Delivery, Intake, Look, Noticed, RowDocument, RowItem, RowState, RunDocument, RunId, RunKind, keep_document,
};
use gate_core::step::{ErrorName, StepError};
use serde::{Deserialize, Serialize};

use crate::github::Blame;
use crate::request::{Candidate, Candidates, Content, Plan};
use crate::select::{Choice, Chosen, Part};
use crate::{Ports, ROWS_AT_ONCE, Rules, delivery, intake, request, select};

/// The answer of the step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAnswer {
    /// The run.
    pub run: RunId,
    /// How many items the manifest has; 0 when each of them has ended in an earlier attempt.
    pub rows: usize,
    /// Where it is.
    pub manifest: Manifest,
}

/// The address of the manifest, an array of [`RowItem`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The data bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// What was found in a request: its rows, or why there are none and who hears of that.
#[derive(Default)]
struct Found {
    items: Vec<RowItem>,
    lines: BTreeSet<u64>,
    same_as: Vec<(u64, u64)>,
    unreadable: Option<Reason>,
    told: BTreeSet<String>,
}

/// Reads the request of a run. Rows that cannot be worked on end here; the others are the manifest. The run's document is written
/// last: when it is there, the run has been read, and is not read again.
///
/// # Errors
/// [`ErrorName::RateLimited`], [`ErrorName::Denied`] and [`ErrorName::Transient`] of GitHub; [`ErrorName::BadInput`] when the run
/// is not of the delivery; whatever the records fail with.
pub async fn read<R: Records, E, S: Secrets, C: Clock>(
    intake: &Intake,
    ports: &Ports<'_, R, E, S, C>,
    rules: Rules<'_>,
) -> Result<ReadAnswer, StepError> {
    let Ports { records, .. } = *ports;
    let delivery = delivery::stored(records, &intake.delivery).await?;
    intake::check(intake, &delivery)?;
    let run = &intake.run;
    if let Some(document) = run::read_json::<RunDocument>(records, &run.document_key()).await? {
        if document.commit != delivery.commit {
            let message = format!("the run {run} is of another commit whose id begins alike");
            return Err(StepError::new(ErrorName::Corrupt, message));
        }
        keep_head(records, &document).await?;
        let items: Vec<RowItem> = run::read(records, &run.manifest_key()).await?;
        let rows = if all_ended(records, run, &items).await? { 0 } else { items.len() };
        return Ok(answer(run, rows, ports));
    }

    let read_at = ports.clock.now();
    let request = request::at_commit(ports.github, &ports.config.path, &delivery).await?;
    let unchanged = is_unchanged(records, intake, &delivery, request.blob.as_ref()).await?;
    let found = match request.content {
        Ok(_) if unchanged => Found { items: keep_manifest(records, run, Vec::new()).await?, ..Found::default() },
        Ok(content) => {
            let Candidates { rows, same_as } =
                request::candidates(records, &content.rows, delivery.repository, rules.policy).await?;
            let told = told(&delivery, &content, &rows, ports).await?;
            let choice = Choice { kind: intake.kind, run: Some(run), inputs: rules.inputs, now: read_at, told: &told };
            let chosen = select::choose(records, rows, &choice).await?;
            let (items, lines) = keep_rows(run, chosen, &told, ports).await?;
            let same_as = same_as.into_iter().filter(|(_, first)| lines.contains(first)).collect();
            Found { items, lines, same_as, ..Found::default() }
        }
        Err(reason) => {
            let told = if unchanged { BTreeSet::new() } else { author(&delivery, ports).await? };
            let items = keep_manifest(records, run, Vec::new()).await?;
            Found { items, unreadable: Some(reason), told, ..Found::default() }
        }
    };
    let document = RunDocument {
        schema_version: SCHEMA_VERSION,
        run: run.clone(),
        kind: intake.kind,
        repository: delivery.repository,
        full_name: delivery.full_name,
        reference: delivery.reference,
        commit: delivery.commit,
        blob: request.blob,
        read_at,
        unchanged,
        unreadable: found.unreadable,
        lines: found.lines.into_iter().collect(),
        same_as: found.same_as,
        told: found.told,
    };
    keep_document(records, &run.document_key(), &document).await?;
    keep_head(records, &document).await?;
    tracing::info!(%run, rows = found.items.len(), lines = document.lines.len(), "a request was read");
    Ok(answer(run, found.items.len(), ports))
}

/// Whether the file is the one that the last push of the branch had.
async fn is_unchanged(
    records: &impl Records,
    intake: &Intake,
    delivery: &Delivery,
    blob: Option<&String>,
) -> Result<bool, StepError> {
    if intake.kind != RunKind::Push {
        return Ok(false);
    }
    let head = run::latest_head(records, delivery.repository, &delivery.reference).await?;
    // An attempt that a person has started is of the same commit.
    let is_other = |other: &RunId| other.attempt(1) != intake.run.attempt(1);
    Ok(head.is_some_and(|head| is_other(&head.run) && head.blob.as_ref() == blob))
}

async fn keep_head(records: &impl Records, document: &RunDocument) -> Result<(), StepError> {
    if document.kind == RunKind::Push { run::keep_head(records, document).await } else { Ok(()) }
}

/// Whether every row of the manifest has an outcome in this run: what is left of an attempt at it is to tell them.
async fn all_ended(records: &impl Records, run: &RunId, items: &[RowItem]) -> Result<bool, StepError> {
    let prefix = format!("runs/{run}/outcomes/");
    let keys = records.list(&prefix).await?;
    let line = |key: &String| key.strip_prefix(&prefix)?.split_once('-')?.0.parse::<u64>().ok();
    let ended: BTreeSet<_> = keys.iter().filter_map(line).collect();
    for item in items {
        if !ended.contains(&line_of(run, item)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn answer<R, E, S, C>(run: &RunId, rows: usize, ports: &Ports<'_, R, E, S, C>) -> ReadAnswer {
    let manifest = Manifest { bucket: ports.config.bucket.clone(), key: run.manifest_key() };
    ReadAnswer { run: run.clone(), rows, manifest }
}

/// Writes the documents of all chosen rows, ends those that cannot be worked on or have their answer, and then writes the
/// manifest. Gives the manifest and the lines of the run.
async fn keep_rows<R: Records, E, S, C: Clock>(
    run: &RunId,
    chosen: Vec<Chosen>,
    told: &BTreeMap<u64, BTreeSet<String>>,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<(Vec<RowItem>, BTreeSet<u64>), StepError> {
    let Ports { records, .. } = *ports;
    let now = ports.clock.now();
    let kept = chosen.into_iter().map(async |Chosen { candidate, part, .. }| {
        let row = row_document(run, &candidate, told.get(&candidate.line).cloned().unwrap_or_default());
        keep_document(records, &run.row_key(row.line), &row).await?;
        let item = match (part, &candidate.plan) {
            (Part::Answered, Plan::Work(_)) => Some(item(records, run, &row).await?),
            (Part::Answered, Plan::Ends(reason)) => {
                select::readable(end(records, &row, &candidate, reason, now).await.map(Some))?;
                None
            }
            (Part::Heard, _) => {
                select::readable(hear(records, &row).await.map(Some))?;
                None
            }
        };
        Ok::<_, StepError>((candidate.line, item))
    });
    let kept: Vec<_> = stream::iter(kept).buffered(ROWS_AT_ONCE).try_collect().await?;
    let ended = kept.iter().filter(|(_, item)| item.is_none()).map(|(line, _)| *line);
    let mut lines: BTreeSet<u64> = ended.collect();
    let items = keep_manifest(records, run, kept.into_iter().filter_map(|(_, item)| item).collect()).await?;
    for item in &items {
        lines.insert(line_of(run, item)?);
    }
    Ok((items, lines))
}

/// Stores the manifest. One that an earlier try stored stays, and is the run's: its rows may be under way.
async fn keep_manifest(records: &impl Records, run: &RunId, items: Vec<RowItem>) -> Result<Vec<RowItem>, StepError> {
    match keep_document(records, &run.manifest_key(), &items).await? {
        Put::Created => Ok(items),
        Put::Exists => run::read(records, &run.manifest_key()).await,
    }
}

fn line_of(run: &RunId, item: &RowItem) -> Result<u64, StepError> {
    let line = item.execution.rsplit_once('-').and_then(|(_, line)| line.parse().ok());
    let line = line.filter(|line| run.row_key(*line) == item.state.row && run.execution(*line) == item.execution);
    line.ok_or_else(|| StepError::new(ErrorName::Corrupt, format!("the manifest of {run} has an item of another run")))
}

fn row_document(run: &RunId, candidate: &Candidate, told: BTreeSet<String>) -> RowDocument {
    RowDocument {
        schema_version: SCHEMA_VERSION,
        run: run.clone(),
        line: candidate.line,
        key: candidate.key.clone(),
        name: candidate.name.clone(),
        source: candidate.source.clone(),
        wanted: match &candidate.plan {
            Plan::Work(wanted) => Some(wanted.clone()),
            Plan::Ends(_) => None,
        },
        told,
    }
}

async fn item(records: &impl Records, run: &RunId, row: &RowDocument) -> Result<RowItem, StepError> {
    let key = run.row_key(row.line);
    let state = match select::readable(run::fetched(records, &row.key).await)? {
        Some((fetched, _)) => RowState::fetched_before(key, fetched),
        None => RowState::new(key),
    };
    Ok(RowItem { execution: run.execution(row.line), state })
}

async fn end(
    records: &impl Records,
    row: &RowDocument,
    candidate: &Candidate,
    reason: &Reason,
    now: jiff::Timestamp,
) -> Result<(), StepError> {
    let ended = select::ended(candidate, reason);
    run::keep_outcome(records, row, &ended).await?;
    let run = row.run.clone();
    let look = Look { schema_version: SCHEMA_VERSION, run, at: now, inputs: None, again_at: None };
    run::keep_notice(records, row, &ended, now).await?;
    run::keep_look(records, &row.key, &look).await
}

/// Writes down that the requesters of a row hear of the answer that it has.
async fn hear(records: &impl Records, row: &RowDocument) -> Result<(), StepError> {
    let Some(Noticed::News(notice) | Noticed::Known(notice)) = run::hear(records, row).await? else {
        return Ok(());
    };
    run::keep_outcome(records, row, &notice.ended.told_of(row)).await.map(|_| ())
}

/// The author of a commit whose request cannot be read, if they may be told.
async fn author<R, E, S: Secrets, C>(
    delivery: &Delivery,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<BTreeSet<String>, StepError> {
    let domains = &ports.config.mail_domains;
    if domains.is_empty() {
        return Ok(BTreeSet::new());
    }
    let author = ports.github.author(delivery.repository, &delivery.commit).await?;
    Ok(author.and_then(|address| domains.allowed(&address)).into_iter().collect())
}

/// Who is told of each row, by its line: the authors of its lines and the requesters of its cells, as far as they are within the
/// allowed domains.
async fn told<R, E, S: Secrets, C: Clock>(
    delivery: &Delivery,
    content: &Content,
    rows: &[Candidate],
    ports: &Ports<'_, R, E, S, C>,
) -> Result<BTreeMap<u64, BTreeSet<String>>, StepError> {
    let domains = &ports.config.mail_domains;
    if rows.is_empty() || domains.is_empty() {
        return Ok(BTreeMap::new());
    }
    let blame = blame(delivery, ports).await?;
    let lines = rows.iter().flat_map(|candidate| candidate.lines.iter().copied()).collect();
    let git_lines = request::git_lines(&content.bytes, &lines);
    let told = rows.iter().map(|candidate| {
        let authors = candidate.lines.iter().filter_map(|line| blame.author(*git_lines.get(line)?));
        let addresses = authors.chain(candidate.requesters.iter().map(String::as_str));
        (candidate.line, addresses.filter_map(|address| domains.allowed(address)).collect())
    });
    Ok(told.collect())
}

async fn blame<R, E, S: Secrets, C: Clock>(
    delivery: &Delivery,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<Blame, StepError> {
    let patience = ports.config.patience;
    let mut pause = patience.blame_pause;
    let is_young = ports.clock.now().duration_since(delivery.received_at) < patience.authors_within;
    for attempt in 1.. {
        match ports.github.blame(delivery.repository, &ports.config.path, &delivery.commit).await {
            Ok(blame) => return Ok(blame),
            Err(error) if !matches!(error.name, ErrorName::Transient | ErrorName::Corrupt) => return Err(error),
            // A list that is too long for its limit stays so: anybody can write a long address into a commit.
            Err(error) if error.name != ErrorName::Corrupt && attempt >= patience.blame_tries && is_young => {
                return Err(error);
            }
            Err(error) if error.name == ErrorName::Corrupt || attempt >= patience.blame_tries => {
                tracing::warn!(%error, "the authors of lines are unknown; their rows go to the default subscription");
                break;
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = pause.saturating_mul(2);
    }
    Ok(Blame::default())
}
