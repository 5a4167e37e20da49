//! What the function is called with: one program serves the row machine and the schedule that refreshes the advisories.

use gate_core::run::RowState;
use serde::{Deserialize, Serialize};

use crate::advisories::Refreshed;

/// The input, told by its shape.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// From the row machine.
    Row(RowState),
    /// From EventBridge, on its schedule.
    Scheduled(Scheduled),
}

/// What counts of a scheduled event of EventBridge: that it is one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Scheduled {
    /// The member that EventBridge and its Scheduler both set.
    #[serde(rename = "detail-type")]
    pub detail_type: ScheduledEvent,
}

/// See [`Scheduled::detail_type`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ScheduledEvent {
    /// The only word.
    #[serde(rename = "Scheduled Event")]
    ScheduledEvent,
}

/// The answer to an [`Input`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Output {
    /// Where the row is now.
    Row(RowState),
    /// What is in use now.
    Advisories(Refreshed),
}

#[cfg(test)]
mod tests {
    use gate_core::run::Status;

    use super::*;

    #[test]
    fn the_events_are_told_apart() {
        let row: Input = serde_json::from_str(include_str!("../../../events/fetcher.json")).unwrap();
        assert!(matches!(row, Input::Row(RowState { status: Status::New, .. })), "{row:?}");
        let schedule: Input = serde_json::from_str(include_str!("../../../events/advisories.json")).unwrap();
        assert_eq!(schedule, Input::Scheduled(Scheduled { detail_type: ScheduledEvent::ScheduledEvent }));
    }

    #[test]
    fn anything_else_is_no_input() {
        for other in [
            "{}",
            "null",
            "[]",
            r#"{"detail-type": "Object Created", "source": "aws.s3", "detail": {}}"#,
            r#"{"row": "runs/a/rows/000001.json"}"#,
            r#"{"row": "runs/a/rows/000001.json", "status": "unheard-of"}"#,
            r#"{"row": "runs/a/rows/000001.json", "status": "new", "more": 1}"#,
        ] {
            assert!(serde_json::from_str::<Input>(other).is_err(), "{other}");
        }
    }

    #[test]
    fn answers_have_no_wrapper() {
        let state = RowState::new("runs/a/rows/000001.json");
        let text = serde_json::to_string(&Output::Row(state.clone())).unwrap();
        assert_eq!(serde_json::from_str::<RowState>(&text).unwrap(), state);
        let refreshed = Refreshed { sha256: gate_core::digest::Sha256::of(b""), changed: true };
        let value = serde_json::to_value(Output::Advisories(refreshed)).unwrap();
        assert_eq!(value, serde_json::json!({"sha256": gate_core::digest::Sha256::of(b""), "changed": true}));
    }
}
