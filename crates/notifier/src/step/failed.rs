//! A row whose execution failed.

use gate_core::digest::Sha256;
use gate_core::failure::FailureCode;
use gate_core::outcome::Verdict;
use gate_core::ports::{Clock, Outbox, Records, Subscriptions};
use gate_core::run::{self, Inputs, Noticed, RowDocument, RowState, Status};
use gate_core::step::{ErrorName, StepError};
use jiff::Timestamp;
use serde::Deserialize;

use super::{FailedRow, InForce, Notifier, ending};

/// The `detail-type` of the event.
const DETAIL_TYPE: &str = "Step Functions Execution Status Change";

/// EventBridge's event about an execution, as far as it is needed (Step Functions Developer Guide, "EventBridge for Step
/// Functions execution status changes").
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ExecutionEvent {
    /// `Step Functions Execution Status Change`.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    /// `aws.states`.
    pub source: String,
    /// The execution.
    pub detail: Execution,
}

/// An execution that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: String,
    /// In milliseconds since 1970.
    #[serde(default)]
    pub stop_date: Option<i64>,
    /// The input, as JSON in a text; none when it is too large for the event.
    #[serde(default)]
    pub input: Option<String>,
    /// The name of the error, if there is one.
    #[serde(default)]
    pub error: Option<String>,
}

impl<R: Records, O: Outbox, S: Subscriptions, C: Clock, F: InForce> Notifier<'_, R, O, S, C, F> {
    /// Ends a row whose execution failed, timed out or was aborted. If its run is over already, its requesters hear of it at
    /// once. A row that has an answer keeps it: an event that comes after a redrive has ended the row changes nothing, nor does
    /// one about a Notify step that failed after its notice was stored, which is told of here.
    ///
    /// # Errors
    /// [`ErrorName::BadInput`] when the event is not about a row's execution that did not finish; whatever a port fails with.
    pub async fn failed(&self, event: &ExecutionEvent) -> Result<FailedRow, StepError> {
        let state = row_of(event)?;
        let answer = |undelivered| Ok(FailedRow { row: state.row.clone(), undelivered });
        // The row ended while it was read, and only its Notify step did not run.
        if state.status == Status::Ended && state.outcome.is_some() {
            return answer(self.notify(state.clone()).await?.undelivered);
        }
        let row: RowDocument = run::read(self.records, &state.row).await?;
        let stopped = event.detail.stop_date.and_then(|date| Timestamp::from_millisecond(date).ok());
        let is_later = |at| stopped.is_some_and(|stopped| at >= stopped);
        if let Some(notice) = run::latest_notice(self.records, &row.key).await? {
            if notice.hearers(&row).is_some() {
                return answer(self.tell_late(&row, Noticed::News(Box::new(notice))).await?.undelivered);
            }
            // Another run has published or decided it meanwhile.
            if notice.ended.outcome.verdict == Verdict::Approved || is_later(notice.at) {
                return answer(0);
            }
        }
        let look = run::latest_look(self.records, &row.key).await?;
        if look.is_some_and(|look| look.run == row.run || is_later(look.at)) {
            return answer(0);
        }
        let error = event.detail.error.as_deref().and_then(ErrorName::parse);
        let code = error.map_or(FailureCode::Storage, ErrorName::failure_code);
        let noticed = ending::fail(self.records, &row, code, self.inputs().await, self.clock.now()).await?;
        answer(self.tell_late(&row, noticed).await?.undelivered)
    }

    /// What is in force; none when that cannot be known now, for which no notice waits. A policy with faults is not in force, and
    /// whatever replaces it is a change.
    async fn inputs(&self) -> Option<Inputs> {
        match self.in_force.inputs().await {
            Ok(inputs) => Some(inputs.with_fetch(self.config.fetch_settings)),
            Err(error) if error.name == ErrorName::Configuration => {
                Some(Inputs { policy: Sha256::of(b""), advisories: None, scanners: Vec::new(), fetch: None })
            }
            Err(_) => None,
        }
    }
}

/// The state that the execution began with.
fn row_of(event: &ExecutionEvent) -> Result<RowState, StepError> {
    let bad = |why: &str| StepError::new(ErrorName::BadInput, format!("the event is not about a failed row: {why}"));
    let Execution { status, input, .. } = &event.detail;
    if event.source != "aws.states" || event.detail_type != DETAIL_TYPE {
        return Err(bad("it is not of Step Functions"));
    }
    if !matches!(&**status, "FAILED" | "TIMED_OUT" | "ABORTED") {
        return Err(bad("the execution did not fail"));
    }
    let input = input.as_deref().ok_or_else(|| bad("it has no input"))?;
    serde_json::from_str(input).map_err(|_| bad("its input is not the state of a row"))
}
