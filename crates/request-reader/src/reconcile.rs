//! The schedule: whatever was lost or not finished is started again, and rows whose verdict may be another by now are decided
//! again.

use std::collections::{BTreeMap, BTreeSet};

use gate_core::SCHEMA_VERSION;
use gate_core::digest::Sha256;
use gate_core::ports::{Clock, ExecutionStatus, Executions, Put, Records, Secrets};
use gate_core::route::Route;
use gate_core::run::{
    Delivery, Intake, Look, RETRY_FOR, RunDocument, RunId, RunKind, keep_document, latest_head, read_json,
};
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
/// How long a run that was read and does not come to its end is restarted.
pub const RESTART_FOR: SignedDuration = RETRY_FOR;

/// What one tick of the schedule did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// How many deliveries had been lost. The head of a branch that was not read before is none.
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
    /// The run.
    pub run: RunId,
    /// Of the rows, of what they were last decided by and of what they are decided by now.
    pub change: Sha256,
    /// How often this change was tried.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
}

/// Restarts what did not come to its end, and looks at every watched branch.
pub async fn reconcile<R: Records, E: Executions, S: Secrets, C: Clock>(
    ports: &Ports<'_, R, E, S, C>,
    rules: Rules<'_>,
) -> Reconciled {
    let mut done = Reconciled::default();
    if let Err(fault) = restart(ports, &mut done).await {
        tracing::error!(%fault, "the runs that did not finish are not known");
        done.faults.push(fault);
    }
    for route in &ports.config.routes {
        if let Err(fault) = reconcile_branch(route, ports, rules, &mut done).await {
            tracing::error!(repository = route.repository, branch = route.branch, %fault, "a branch was not reconciled");
            done.faults.push(fault);
        }
    }
    done
}

/// Restarts the runs that were read and did not come to their end, whatever their branch is at by now: what they have found out is
/// told by nobody else. A run that was not even read is another's work: of the branch's head, or of the next change.
async fn restart<R: Records, E: Executions, S, C: Clock>(
    ports: &Ports<'_, R, E, S, C>,
    done: &mut Reconciled,
) -> Result<(), StepError> {
    let since = ports.clock.now().checked_sub(RESTART_FOR).unwrap_or(Timestamp::MIN);
    let names = ports.executions.unfinished(since).await?;
    let runs: BTreeSet<RunId> =
        names.into_iter().filter_map(|name| Some(RunId::try_from(name).ok()?.attempt(1))).collect();
    for run in runs {
        if let Err(fault) = restart_run(&run, ports, done).await {
            tracing::error!(%run, %fault, "a run was not restarted");
            done.faults.push(fault);
        }
    }
    Ok(())
}

async fn restart_run<R: Records, E: Executions, S, C: Clock>(
    run: &RunId,
    ports: &Ports<'_, R, E, S, C>,
    done: &mut Reconciled,
) -> Result<(), StepError> {
    let Ports { records, executions, .. } = *ports;
    let Some(document) = read_json::<RunDocument>(records, &run.document_key()).await? else { return Ok(()) };
    let is_of = |route: &Route| route.repository == document.repository && route.reference() == document.reference;
    if !ports.config.routes.iter().any(is_of) || records.get(&run.reported_key()).await?.is_some() {
        return Ok(());
    }
    let Some((attempt, ExecutionStatus::Unfinished)) = intake::newest_attempt(executions, run).await? else {
        return Ok(());
    };
    // Each pause is twice the one before it.
    let lasted = ports.clock.now().duration_since(document.read_at);
    let is_due = lasted >= START_WITHIN.saturating_mul(2_i32.saturating_pow(attempt - 1));
    if !is_due || lasted > RESTART_FOR {
        return Ok(());
    }
    let delivery = Delivery::key_of(document.repository, &document.reference, &document.commit);
    let intake = Intake { run: document.run, kind: document.kind, delivery };
    start(run.attempt(attempt.saturating_add(1)), &intake, ports, done).await
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
        let is_known = latest_head(ports.records, route.repository, &route.reference()).await?.is_some();
        done.lost += u32::from(is_known);
        return Ok(());
    };
    if let Some(intake) = unfinished(&delivery, ports).await? {
        match intake {
            Unfinished::Waits => {}
            Unfinished::Starts(execution) => {
                let intake = Intake { run: intake::run_of(&delivery), kind: RunKind::Push, delivery: delivery.key() };
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

/// None when the push of a delivery was read and is not under way: see [`restart`] for what is then left of it.
async fn unfinished<R: Records, E: Executions, S, C: Clock>(
    delivery: &Delivery,
    ports: &Ports<'_, R, E, S, C>,
) -> Result<Option<Unfinished>, StepError> {
    let run = intake::run_of(delivery);
    let newest = intake::newest_attempt(ports.executions, &run).await?;
    let was_read = ports.records.get(&run.document_key()).await?.is_some();
    Ok(match newest {
        Some((_, ExecutionStatus::Succeeded)) => None,
        Some((_, ExecutionStatus::Running)) => Some(Unfinished::Waits),
        _ if was_read => None,
        Some((attempt, ExecutionStatus::Unfinished)) => {
            Some(Unfinished::Starts(run.attempt(attempt.saturating_add(1))))
        }
        None => {
            let waited = ports.clock.now().duration_since(delivery.received_at);
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
        Some(newest) => intake::newest_attempt(executions, &newest.run).await?.map(|(_, status)| status),
        None => None,
    };
    if status == Some(ExecutionStatus::Running) {
        return Ok(());
    }
    let request = request::at_commit(ports.github, &ports.config.path, delivery).await?;
    let Ok(content) = request.content else { return Ok(()) };
    let Candidates { rows, .. } =
        request::candidates(records, &content.rows, delivery.repository, rules.policy).await?;
    let told = BTreeMap::new();
    let choice = Choice { kind: RunKind::Again, run: None, inputs: rules.inputs, now: ports.clock.now(), told: &told };
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
    let why = Sha256::of(format!("{change}\n{attempt}").as_bytes());
    let run = RunId::of_change(delivery.repository, &delivery.reference, &why);
    let at = ports.clock.now();
    let mark = Again { schema_version: SCHEMA_VERSION, run: run.clone(), change, attempt, at };
    if keep_document(records, &next, &mark).await? == Put::Exists {
        // Another tick is at it.
        return Ok(());
    }
    let intake = Intake { run: run.clone(), kind: RunKind::Again, delivery: delivery.key() };
    start(run, &intake, ports, done).await
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
        .map(|Chosen { candidate, look, .. }| Row {
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
