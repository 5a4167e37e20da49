//! Metrics as lines of the log: CloudWatch's embedded metric format, so that a metric costs no call.

use std::io::Write as _;
use std::sync::OnceLock;

use gate_core::ports::Clock as _;
use serde_json::{Map, Value, json};

use super::SystemClock;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "PackageGate";

/// The dimension of every metric: two stacks in one region count for themselves.
const STACK: &str = "Stack";

/// The value of [`STACK`].
static OF_STACK: OnceLock<String> = OnceLock::new();

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

/// Says which stack the metrics of this process are of; [`super::Settings::from_env`] does. The first name stays.
pub(super) fn count_for(stack: &str) {
    OF_STACK.get_or_init(|| stack.to_owned());
}

/// Writes one metric to the log, with the dimension `Stack`. A value that is no finite number is left out. The further dimension
/// takes a word out of a short list, such as a verdict: every new value is a new metric, which costs money.
pub fn metric(name: &'static str, value: f64, unit: Unit, dimension: Option<(&'static str, &str)>) {
    let stack = OF_STACK.get().map_or("", String::as_str);
    if let Some(line) = line(stack, name, value, unit, dimension, SystemClock.now().as_millisecond()) {
        // A metric that cannot be written is no reason to fail a step.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// One document of the embedded metric format; `at` is in milliseconds since 1970.
pub(super) fn line(
    stack: &str,
    name: &str,
    value: f64,
    unit: Unit,
    dimension: Option<(&str, &str)>,
    at: i64,
) -> Option<Value> {
    let value = serde_json::Number::from_f64(value)?;
    let further = dimension.filter(|(key, _)| *key != name && *key != STACK);
    let dimensions: Vec<_> = [Some((STACK, stack)), further]
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, dimension_value(value)))
        .collect();
    let keys: Vec<&str> = dimensions.iter().map(|(key, _)| *key).collect();
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
    root.extend(dimensions.into_iter().map(|(key, value)| (key.to_owned(), Value::String(value))));
    root.insert(name.to_owned(), Value::Number(value));
    Some(Value::Object(root))
}

/// ASCII without controls, not empty, not too long: otherwise CloudWatch drops the metric.
fn dimension_value(text: &str) -> String {
    let plain: String =
        text.trim().chars().take(DIMENSION_CHARS).map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
    if plain.is_empty() { "none".to_owned() } else { plain }
}
