//! The inputs in `events/`.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use gate_core::run::{RowState, RunId, Status};
use gate_notifier::step::{Input, Task};
use serde_json::Value;

const NOTIFY: &str = include_str!("../../../../events/notifier-notify.json");
const SUMMARISE: &str = include_str!("../../../../events/notifier-summarise.json");
const FAILED: &str = include_str!("../../../../events/notifier-failed.json");

#[test]
fn the_tasks_are_inputs() {
    let input: Input = serde_json::from_str(NOTIFY).unwrap();
    let Input::Task(Task::Notify { state }) = input else { panic!("{input:?}") };
    assert_eq!(state.status, Status::Ended);
    let input: Input = serde_json::from_str(SUMMARISE).unwrap();
    let Input::Task(Task::Summarise { run }) = input else { panic!("{input:?}") };
    assert_eq!(state.row, run.row_key(2));
    assert!(state.outcome.unwrap().starts_with(&format!("runs/{run}/outcomes/000002-")));
}

#[test]
fn the_event_is_one_of_eventbridge_and_an_input() {
    let event: EventBridgeEvent<Value> = serde_json::from_str(FAILED).unwrap();
    assert_eq!((&*event.source, &*event.detail_type), ("aws.states", "Step Functions Execution Status Change"));
    let input: Input = serde_json::from_str(FAILED).unwrap();
    let Input::Event(own) = input else { panic!("{input:?}") };
    assert_eq!(own.detail.stop_date, event.detail["stopDate"].as_i64());
    assert_eq!(event.time.unwrap().timestamp() * 1_000, own.detail.stop_date.unwrap() / 1_000 * 1_000);
    assert_eq!(own.detail.error.as_deref(), event.detail["error"].as_str());
    let state: RowState = serde_json::from_str(&own.detail.input.unwrap()).unwrap();
    let name = event.detail["name"].as_str().unwrap();
    let run = RunId::try_from(name.rsplit_once('-').unwrap().0.to_owned()).unwrap();
    assert_eq!((run.execution(2), run.row_key(2)), (name.to_owned(), state.row));
}

/// The members of the documented sample (Step Functions Developer Guide, "EventBridge for Step Functions execution status
/// changes"), and those of `DescribeExecution` that the event has had since redriving began.
#[test]
fn the_event_has_every_documented_member() {
    let event: Value = serde_json::from_str(FAILED).unwrap();
    for name in ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"] {
        assert!(event.get(name).is_some(), "{name}");
    }
    for name in [
        "executionArn",
        "stateMachineArn",
        "name",
        "status",
        "startDate",
        "stopDate",
        "input",
        "inputDetails",
        "output",
        "outputDetails",
        "stateMachineVersionArn",
        "stateMachineAliasArn",
        "redriveCount",
        "redriveDate",
        "redriveStatus",
        "redriveStatusReason",
        "error",
        "cause",
    ] {
        assert!(event["detail"].get(name).is_some(), "{name}");
    }
}

#[test]
fn what_is_no_task_and_no_event_is_no_input() {
    for bad in [
        "{}",
        r#"{"task":"publish","state":{"row":"r","status":"ended"}}"#,
        r#"{"task":"notify"}"#,
        r#"{"task":"notify","state":{"row":"r","status":"unheard-of"}}"#,
        r#"{"task":"summarise","run":"a/b"}"#,
        r#"{"task":"summarise","run":"a","more":1}"#,
    ] {
        assert!(serde_json::from_str::<Input>(bad).is_err(), "{bad}");
    }
}
