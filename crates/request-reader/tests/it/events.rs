//! The inputs under `events/`, which `sam local invoke` uses, too.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use gate_core::run::{Delivery, RunId, RunKind};
use gate_request_reader::Task;
use serde_json::Value;

const START: &str = include_str!("../../../../events/request-reader-start.json");
const READ: &str = include_str!("../../../../events/request-reader-read.json");
const REPORT: &str = include_str!("../../../../events/request-reader-report.json");
const RECONCILE: &str = include_str!("../../../../events/reconciler.json");

/// The members of AWS's samples: "Amazon S3 user guide, EventBridge event structure" and "EventBridge user guide, events from
/// scheduled rules".
const EVENT: [&str; 9] = ["account", "detail", "detail-type", "id", "region", "resources", "source", "time", "version"];
const CREATED: [&str; 7] = ["bucket", "object", "reason", "request-id", "requester", "source-ip-address", "version"];
const OBJECT: [&str; 5] = ["etag", "key", "sequencer", "size", "version-id"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn members(value: &Value) -> Vec<&str> {
    let mut members: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    members
}

#[test]
fn events_are_what_aws_sends() {
    for text in [START, RECONCILE] {
        assert_eq!(members(&json(text)), EVENT);
        let event: EventBridgeEvent = serde_json::from_str(text).unwrap();
        assert!(event.time.is_some() && event.resources.is_some_and(|resources| resources.len() == 1));
    }
    let event = json(START);
    assert_eq!(members(&event["detail"]), CREATED);
    assert_eq!(members(&event["detail"]["object"]), OBJECT);
    assert_eq!(members(&event["detail"]["bucket"]), ["name"]);
    assert_eq!(event["resources"][0], format!("arn:aws:s3:::{}", event["detail"]["bucket"]["name"].as_str().unwrap()));
}

#[test]
fn events_are_about_one_push() {
    let (repository, reference) = (123_456, "refs/heads/main");
    let commit = "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c";
    let run = RunId::of_commit(repository, reference, commit, 1);
    let key = format!("inbox/{repository}/{}.json", Delivery::digest(repository, reference, commit));
    let Ok(Task::Start(created)) = Task::parse(json(START)) else { panic!("another task") };
    assert_eq!(created.key, key);
    let Ok(Task::Read(intake)) = Task::parse(json(READ)) else { panic!("another task") };
    assert_eq!((&intake.run, intake.kind, &intake.delivery), (&run, RunKind::Push, &key));
    assert_eq!(Task::parse(json(REPORT)), Ok(Task::Report(run)));
    assert_eq!(Task::parse(json(RECONCILE)), Ok(Task::Reconcile));
}
