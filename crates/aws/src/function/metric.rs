//! Metrics as lines of the log: CloudWatch's embedded metric format, so that a metric costs no call.

use std::io::Write as _;

use gate_core::ports::Clock as _;
use serde_json::{Map, Value, json};

use super::SystemClock;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "PackageGate";

/// The most characters of a dimension's value (CloudWatch API, `Dimension`).
const DIMENSION_CHARS: usize = 1024;

/// What a metric counts (CloudWatch API, `MetricDatum`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// CloudWatch's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Bytes => "Bytes",
            Self::Milliseconds => "Milliseconds",
            Self::Seconds => "Seconds",
        }
    }
}

/// Writes one metric to the log. A value that is no finite number is left out. The dimension takes a word out of a short list,
/// such as a verdict: every new value is a new metric, which costs money.
pub fn metric(name: &'static str, value: f64, unit: Unit, dimension: Option<(&'static str, &str)>) {
    if let Some(line) = line(name, value, unit, dimension, SystemClock.now().as_millisecond()) {
        // A metric that cannot be written is no reason to fail a step.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// One document of the embedded metric format; `at` is in milliseconds since 1970.
pub(super) fn line(name: &str, value: f64, unit: Unit, dimension: Option<(&str, &str)>, at: i64) -> Option<Value> {
    let value = serde_json::Number::from_f64(value)?;
    let dimension = dimension.filter(|(key, _)| *key != name).map(|(key, value)| (key, dimension_value(value)));
    let keys: Vec<&str> = dimension.iter().map(|(key, _)| *key).collect();
    let mut root = Map::new();
    root.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": at,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [keys],
                "Metrics": [{"Name": name, "Unit": unit.as_str()}],
            }],
        }),
    );
    root.extend(dimension.map(|(key, value)| (key.to_owned(), Value::String(value))));
    root.insert(name.to_owned(), Value::Number(value));
    Some(Value::Object(root))
}

/// ASCII without controls, not empty, not too long: otherwise CloudWatch drops the metric.
fn dimension_value(text: &str) -> String {
    let plain: String =
        text.trim().chars().take(DIMENSION_CHARS).map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
    if plain.is_empty() { "none".to_owned() } else { plain }
}
