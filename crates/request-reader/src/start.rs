//! A stored delivery becomes an execution of the intake machine. An EventBridge target cannot name an execution, so this does.

use gate_core::ports::{Executions, Records, Started};
use gate_core::route::Route;
use gate_core::run::{Intake, RunId, RunKind};
use gate_core::step::StepError;
use serde::Serialize;

use crate::config::Config;
use crate::delivery;
use crate::intake;
use crate::task::Created;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StartAnswer {
    /// The run of the delivery; none when the event is about something else.
    pub run: Option<RunId>,
    /// Whether it was started now. An event that comes twice starts nothing the second time.
    pub started: bool,
}

/// Starts the run of a stored delivery. Objects of other buckets, other keys, and deliveries of branches that are not watched are
/// passed over.
///
/// # Errors
/// [`gate_core::step::ErrorName::Corrupt`] when the delivery cannot be read; whatever the ports fail with.
pub async fn start(
    created: &Created,
    records: &impl Records,
    executions: &impl Executions,
    config: &Config,
) -> Result<StartAnswer, StepError> {
    let nothing = StartAnswer { run: None, started: false };
    let is_delivery =
        created.bucket == config.bucket && created.key.starts_with("inbox/") && created.key.ends_with(".json");
    if !is_delivery {
        tracing::info!("an object that is no delivery was passed over");
        return Ok(nothing);
    }
    let delivery = delivery::stored(records, &created.key).await?;
    let is_watched = |route: &Route| route.repository == delivery.repository && route.reference() == delivery.reference;
    if !config.routes.iter().any(is_watched) {
        tracing::warn!(repository = delivery.repository, "a delivery of a branch that is not watched was passed over");
        return Ok(nothing);
    }
    let run = intake::run_of(&delivery);
    let input = Intake { run: run.clone(), kind: RunKind::Push, delivery: created.key.clone() };
    let started = intake::start(executions, &run, &input).await?;
    Ok(StartAnswer { run: Some(run), started: started == Started::Now })
}
