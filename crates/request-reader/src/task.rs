//! Which input is which.

use gate_core::run::{Intake, RunId};
use gate_core::step::{ErrorName, StepError};
use serde::Deserialize;
use serde_json::Value;

/// What the function is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// An object was created: [`crate::start`].
    Start(Created),
    /// The first step of a run: [`crate::read`].
    Read(Intake),
    /// The last step of a run: [`crate::report`].
    Report(RunId),
    /// The schedule: [`crate::reconcile`].
    Reconcile,
}

/// The part of an EventBridge event "Object Created" of Amazon S3 that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The bucket's name.
    pub bucket: String,
    /// The object's key; in these events it is not URL-encoded.
    pub key: String,
}

#[derive(Deserialize)]
#[serde(tag = "task", rename_all = "lowercase", deny_unknown_fields)]
enum Step {
    Read { intake: Intake },
    Report { run: RunId },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event {
    detail_type: String,
    source: String,
    detail: Value,
}

#[derive(Deserialize)]
struct Detail {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
}

impl Task {
    /// Reads the input of the function.
    ///
    /// # Errors
    /// [`ErrorName::BadInput`] when it is none of the four.
    pub fn parse(input: Value) -> Result<Self, StepError> {
        if input.get("task").is_some() {
            return match serde_json::from_value(input) {
                Ok(Step::Read { intake }) => Ok(Self::Read(intake)),
                Ok(Step::Report { run }) => Ok(Self::Report(run)),
                Err(_) => Err(bad("its task is neither read with an intake nor report with a run")),
            };
        }
        let event: Event = serde_json::from_value(input).map_err(|_| bad("it is no event, and names no task"))?;
        match (event.source.as_str(), event.detail_type.as_str()) {
            ("aws.s3", "Object Created") => {
                let detail = serde_json::from_value(event.detail);
                let Detail { bucket, object } = detail.map_err(|_| bad("it names no bucket or no object"))?;
                Ok(Self::Start(Created { bucket: bucket.name, key: object.key }))
            }
            ("aws.events", "Scheduled Event") => Ok(Self::Reconcile),
            _ => Err(bad("it is an event of another kind")),
        }
    }
}

/// The input is not repeated: what it is, nobody knows.
fn bad(why: &str) -> StepError {
    StepError::new(ErrorName::BadInput, format!("this function cannot do anything with its input: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_is_no_task_is_bad_input() {
        let read = json!({"run": "r", "kind": "push", "delivery": "inbox/1/a.json"});
        for input in [
            json!(null),
            json!([]),
            json!({}),
            json!("read"),
            json!({"task": "write"}),
            json!({"task": 1}),
            json!({"task": "read"}),
            json!({"task": "read", "intake": read, "more": 1}),
            json!({"task": "read", "intake": {"run": "a/b", "kind": "push", "delivery": "d"}}),
            json!({"task": "read", "intake": {"run": "r", "kind": "pull", "delivery": "d"}}),
            json!({"task": "report", "run": ""}),
            json!({"source": "aws.s3", "detail-type": "Object Deleted", "detail": {}}),
            json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}}}),
            json!({"source": "other", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": {"key": "k"}}}),
            json!({"source": "other", "detail-type": "Scheduled Event", "detail": {}}),
        ] {
            let error = Task::parse(input.clone()).unwrap_err();
            assert_eq!(error.name, ErrorName::BadInput, "{input}");
        }
        assert!(matches!(Task::parse(json!({"task": "read", "intake": read})), Ok(Task::Read(_))));
    }
}
