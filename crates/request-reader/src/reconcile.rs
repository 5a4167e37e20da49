//! The schedule: whatever was lost or not finished is started again, and rows whose verdict may be another by now are decided
//! again.

use gate_core::SCHEMA_VERSION;
use gate_core::digest::Sha256;
use gate_core::ports::{Clock, ExecutionStatus, Executions, Put, Records, Secrets};
use gate_core::route::Route;
use gate_core::run::{Delivery, Intake, Look, RunDocument, RunId, RunKind, keep_document, read_json};
use gate_core::step::{ErrorName, StepError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::request::{Candidates, Plan};
use crate::select::{Choice, Chosen};
use crate::{Ports, Rules, delivery, intake, request, select};

/// How long a delivery may wait for its execution before it counts as lost.
pub const START_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// How often the same rows are decided again by the same inputs when the run does not finish.
pub const AGAIN_ATTEMPTS: u32 = 5;

/// What one tick of the schedule did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// How many deliveries had been lost.
    pub lost: u32,
    /// The executions that were started.
    pub started: Vec<RunId>,
    /// What went wrong with single branches. The others were looked at all the same.
    #[serde(skip)]
    pub faults: Vec<StepError>,
}

impl Reconciled {
    /// Whether every branch was looked at.
    ///
    /// # Errors
    /// The first fault.
    pub fn complete(&self) -> Result<(), StepError> {
        self.faults.first().map_or(Ok(()), |fault| Err(fault.clone()))
    }
}

/// That rows of a branch were to be decided again: `again/REPOSITORY/REF/000001.json`, newest last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The name of the execution, and of the run unless it goes on with another.
    pub run: RunId,
    /// The run that was read and did not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<RunId>,
    /// Of the rows, of what they were last decided by and of what they are decided by now.
    pub change: Sha256,
    /// How often this change was tried.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
}

/// Looks at every watched branch.
pub async fn reconcile<R: Records, E: Executions, S: Secrets, C: Clock>(
    ports: &Ports<'_, R, E, S, C>,
    rules: Rules<'_>,
) -> Reconciled {
    let mut done = Reconciled::default();
    for route in &ports.config.routes {
        if let Err(fault) = reconcile_branch(route, ports, rules, &mut done).await {
            tracing::error!(repository = route.repository, branch = route.branch, %fault, "a branch was not reconciled");
            done.faults.push(fault);
        }
    }
    done
}

async fn reconcile_branch<R: Records, E: Executions, S: Secrets, C: Clock>(
    route: &Route,
    ports: &Ports<'_, R, E, S, C>,
    rules: Rules<'_>,
    done: &mut Reconciled,
) -> Result<(), StepError> {
    let Some(commit) = ports.github.branch_head(route.repository, &route.branch).await? else {
        tracing::warn!(repository = route.repository, branch = route.branch, "a watched branch does not exist");
        return Ok(());
    };
    let Some(delivery) = delivered(route, &commit, ports).await? else {
        done.lost += 1;
        return Ok(());
    };
    if let Some(intake) = unfinished(&delivery, ports).await? {
        match intake {
            Unfinished::Waits => {}
            // The run stays the one that its first attempt began: what that one has answered is told by nobody else.
            Unfinished::Starts(execution) => {
                let intake =
                    Intake { run: intake::run_of(&delivery, 1), kind: RunKind::Push, delivery: delivery.key() };
                start(execution, &intake, ports, done).await?;
            }
        }
        return Ok(());
    }
    decide_again(&delivery, ports, rules, done).await
}

/// The delivery of a commit, if it had arrived. Otherwise it is stored now, and its S3 event starts the run as any other's.
async fn delivered<R: Records, E, S: Secrets, C: Clock>(
    route: &Route,
    commit: &str,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<Option<Delivery>, StepError> {
    let Ports { records, .. } = *ports;
    let mut made = Delivery {
        schema_version: SCHEMA_VERSION,
        repository: route.repository,
        full_name: String::new(),
        reference: route.reference(),
        commit: commit.to_owned(),
        delivery_id: None,
        received_at: ports.clock.now(),
    };
    let key = made.key();
    if records.get(&key).await?.is_none() {
        // The branch moves before GitHub delivers the push.
        tokio::time::sleep(ports.config.patience.arrive_within).await;
        if records.get(&key).await?.is_none() {
            made.full_name = ports.github.repository(route.repository).await?.full_name;
            if keep_document(records, &key, &made).await? == Put::Created {
                tracing::warn!(repository = route.repository, commit, "a push had not arrived");
                return Ok(None);
            }
        }
    }
    delivery::stored(records, &key).await.map(Some)
}

/// What a push without an end needs.
enum Unfinished {
    /// Time.
    Waits,
    /// The execution of this name.
    Starts(RunId),
}

/// None when the push of a delivery was worked on to its end.
async fn unfinished<R: Records, E: Executions, S, C: Clock>(
    delivery: &Delivery,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<Option<Unfinished>, StepError> {
    let newest = intake::newest_attempt(ports.executions, delivery).await?;
    let (attempt, status) = newest.map_or((1, None), |(attempt, status)| (attempt, Some(status)));
    let has_summary = ports.records.get(&intake::run_of(delivery, 1).summary_key()).await?.is_some();
    Ok(match status {
        Some(ExecutionStatus::Succeeded) => None,
        Some(ExecutionStatus::Running) => Some(Unfinished::Waits),
        _ if has_summary => None,
        Some(ExecutionStatus::Unfinished) => {
            Some(Unfinished::Starts(intake::run_of(delivery, attempt.saturating_add(1))))
        }
        None => {
            let waited = ports.clock.now().duration_since(delivery.received_at);
            let run = intake::run_of(delivery, attempt);
            Some(if waited > START_WITHIN { Unfinished::Starts(run) } else { Unfinished::Waits })
        }
    })
}

/// Starts a run for the rows that are to be decided again, unless one is under way.
async fn decide_again<R: Records, E: Executions, S: Secrets, C: Clock>(
    delivery: &Delivery,
    ports: &Ports<'_, R, E, S, C>,
    rules: Rules<'_>,
    done: &mut Reconciled,
) -> Result<(), StepError> {
    let Ports { records, executions, .. } = *ports;
    let (next, newest) = marks(records, delivery).await?;
    let status = match &newest {
        Some(newest) => executions.status(newest.run.as_str()).await?,
        None => None,
    };
    if status == Some(ExecutionStatus::Running) {
        return Ok(());
    }
    if let Some(newest) = &newest
        && status != Some(ExecutionStatus::Succeeded)
        && let Some(intake) = untold(records, newest).await?
    {
        if status.is_none() && newest.continues.is_some() {
            return start(newest.run.clone(), &intake, ports, done).await;
        }
        if status.is_some() && newest.attempt < AGAIN_ATTEMPTS {
            let (change, attempt) = (newest.change, newest.attempt + 1);
            return start_again(change, attempt, &next, Some(intake), delivery, ports, done).await;
        }
    }
    let request = request::at_commit(ports.github, &ports.config.path, delivery).await?;
    let Ok(content) = request.content else { return Ok(()) };
    let Candidates { rows, .. } =
        request::candidates(records, &content.rows, delivery.repository, rules.policy).await?;
    let choice = Choice { kind: RunKind::Again, run: None, inputs: rules.inputs, now: ports.clock.now() };
    let chosen = select::choose(records, rows, &choice).await?;
    if chosen.is_empty() {
        return Ok(());
    }
    let change = change(&chosen, rules)?;
    let attempt = match (newest.filter(|newest| newest.change == change), status) {
        (None, _) => 1,
        // It was written down and not started.
        (Some(newest), None) => {
            let intake = Intake { run: newest.run.clone(), kind: RunKind::Again, delivery: delivery.key() };
            return start(newest.run, &intake, ports, done).await;
        }
        (Some(newest), Some(ExecutionStatus::Unfinished)) if newest.attempt < AGAIN_ATTEMPTS => newest.attempt + 1,
        (Some(newest), _) => {
            tracing::error!(run = %newest.run, attempt = newest.attempt, "rows were decided again and are as they were");
            return Ok(());
        }
    };
    start_again(change, attempt, &next, None, delivery, ports, done).await
}

/// The run of a mark, if it was read and its digests were not sent: they are the only ones that tell what it has found out.
async fn untold(records: &impl Records, mark: &Again) -> Result<Option<Intake>, StepError> {
    let run = mark.continues.as_ref().unwrap_or(&mark.run);
    let Some(document) = read_json::<RunDocument>(records, &run.document_key()).await? else { return Ok(None) };
    if records.get(&run.summary_key()).await?.is_some() {
        return Ok(None);
    }
    let delivery = Delivery::key_of(document.repository, &document.reference, &document.commit);
    Ok(Some(Intake { run: document.run, kind: RunKind::Again, delivery }))
}

/// Writes down that a change is tried once more, and starts an execution for it: of a run of its own, or of one that it goes on
/// with.
async fn start_again<R: Records, E: Executions, S: Secrets, C: Clock>(
    change: Sha256,
    attempt: u32,
    mark_key: &str,
    continued: Option<Intake>,
    delivery: &Delivery,
    ports: &Ports<'_, R, E, S, C>,
    done: &mut Reconciled,
) -> Result<(), StepError> {
    let why = Sha256::of(format!("{change}\n{attempt}").as_bytes());
    let run = RunId::of_change(delivery.repository, &delivery.reference, &why);
    let continues = continued.as_ref().map(|intake| intake.run.clone());
    let at = ports.clock.now();
    let mark = Again { schema_version: SCHEMA_VERSION, run: run.clone(), continues, change, attempt, at };
    if keep_document(ports.records, mark_key, &mark).await? == Put::Exists {
        // Another tick is at it.
        return Ok(());
    }
    let own = || Intake { run: run.clone(), kind: RunKind::Again, delivery: delivery.key() };
    start(run.clone(), &continued.unwrap_or_else(own), ports, done).await
}

/// Starts an execution of the intake machine.
async fn start<R, E: Executions, S, C>(
    execution: RunId,
    intake: &Intake,
    ports: &Ports<'_, R, E, S, C>,
    done: &mut Reconciled,
) -> Result<(), StepError> {
    intake::start(ports.executions, &execution, intake).await?;
    done.started.push(execution);
    Ok(())
}

/// The next free key of a branch's marks, and the newest mark.
async fn marks(records: &impl Records, delivery: &Delivery) -> Result<(String, Option<Again>), StepError> {
    let reference = Sha256::of(delivery.reference.as_bytes()).short();
    let prefix = format!("again/{}/{reference}/", delivery.repository);
    let number = |key: &String| key.strip_prefix(&prefix)?.strip_suffix(".json")?.parse::<u32>().ok();
    let last = records.list(&prefix).await?.iter().filter_map(number).max();
    let newest = match last {
        Some(last) => read_json(records, &format!("{prefix}{last:06}.json")).await?,
        None => None,
    };
    Ok((format!("{prefix}{:06}.json", last.map_or(1, |last| last.saturating_add(1))), newest))
}

/// What makes two runs of this kind the same: the rows, how they end if they are not worked on, what they were last decided by,
/// and what they would be decided by now.
fn change(chosen: &[Chosen], rules: Rules<'_>) -> Result<Sha256, StepError> {
    #[derive(Serialize)]
    struct Row<'a> {
        key: String,
        ends: Option<&'a str>,
        look: Option<&'a Look>,
    }
    let mut rows: Vec<_> = chosen
        .iter()
        .map(|Chosen { candidate, look }| Row {
            key: candidate.key.to_string(),
            ends: match &candidate.plan {
                Plan::Work(_) => None,
                Plan::Ends(reason) => Some(reason.code.as_str()),
            },
            look: look.as_ref(),
        })
        .collect();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let bytes = serde_json::to_vec(&(rows, rules.inputs))
        .map_err(|error| StepError::new(ErrorName::Corrupt, format!("rows could not be written as JSON: {error}")))?;
    Ok(Sha256::of(&bytes))
}
