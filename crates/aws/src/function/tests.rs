use std::io::Write;
use std::sync::{Arc, Mutex};

use gate_core::step::{ErrorName, StepError};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde::Deserialize;
use serde_json::{Value, json};

use super::metric::line;
use super::serve::{Refusal, invoke};
use super::*;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin(&self, level: &str) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        tracing::subscriber::set_default(log::subscriber(level, move || log.clone()))
    }

    fn lines(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    number: u64,
}

fn event(payload: Value) -> LambdaEvent<Value> {
    let mut context = Context::default();
    "req-1".clone_into(&mut context.request_id);
    LambdaEvent::new(payload, context)
}

async fn double(input: Input) -> Result<u64, StepError> {
    assert!(input.number < 100, "the payload is {}", input.number);
    Ok(2 * input.number)
}

#[test]
fn the_error_type_is_the_name_for_every_name() {
    for name in ErrorName::ALL {
        let told = Diagnostic::from(Refusal(StepError::new(name, "what\u{202e} happened")));
        assert_eq!((told.error_type.as_str(), told.error_message.as_str()), (name.as_str(), "what\\u{202e} happened"));
    }
}

#[tokio::test]
async fn each_invocation_ends_in_one_line_without_its_payload() {
    let log = Log::default();
    let _guard = log.begin("info");
    assert_eq!(invoke(double, "gate-test", event(json!({"number": 21}))).await.unwrap(), 42);
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for (key, value) in [("request_id", "req-1"), ("function", "gate-test"), ("outcome", "ok"), ("level", "INFO")] {
        assert_eq!(lines[0][key], value, "{lines:?}");
    }
    assert!(lines[0]["duration_ms"].is_u64(), "{lines:?}");
    // The time may have these digits.
    let mut line = lines[0].clone();
    line.as_object_mut().unwrap().retain(|key, _| key != "timestamp" && key != "duration_ms");
    assert!(!line.to_string().contains("42") && !line.to_string().contains("21"), "{line}");

    for name in ErrorName::ALL {
        let fail = async |_: Value| Err::<(), _>(StepError::new(name, "why\n\u{202e}"));
        invoke(fail, "gate-test", event(json!({}))).await.unwrap_err();
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((&lines[0]["outcome"], &lines[0]["error"]), (&json!(name.as_str()), &json!("why\\n\\u{202e}")));
        assert_eq!(lines[0]["level"], if name.is_retried() { "WARN" } else { "ERROR" });
    }
}

#[tokio::test]
async fn an_input_of_another_form_is_bad_and_is_not_repeated() {
    let log = Log::default();
    let _guard = log.begin("trace");
    for (payload, says) in [
        (json!({}), "missing field `number`"),
        (json!({"number": "hunter2"}), "another form"),
        (json!({"number": 1, "hunter2": 2}), "another form"),
        (json!("hunter2"), "another form"),
        (json!(null), "another form"),
    ] {
        let Refusal(error) = invoke(double, "gate-test", event(payload)).await.unwrap_err();
        assert_eq!(error.name, ErrorName::BadInput);
        assert!(error.message.contains(says) && !error.message.contains("hunter2"), "{error}");
    }
    assert!(!format!("{:?}", log.lines()).contains("hunter2"));
}

#[tokio::test]
async fn a_panic_is_an_error_whose_message_is_not_the_panics() {
    let log = Log::default();
    let _guard = log.begin("trace");
    let Refusal(error) = invoke(double, "gate-test", event(json!({"number": 123_456}))).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Corrupt);
    assert!(!error.message.contains("123456") && !format!("{:?}", log.lines()).contains("123456"), "{error}");
    // A handler may also panic before it makes its future.
    let early = |input: Input| {
        assert!(input.number < 100, "the payload is {}", input.number);
        double(input)
    };
    assert!(invoke(early, "gate-test", event(json!({"number": 123_456}))).await.is_err());
    assert_eq!(invoke(early, "gate-test", event(json!({"number": 1}))).await.unwrap(), 2, "the next one is served");
}

#[test]
fn the_level_is_that_of_the_gates_own_crates() {
    let shown = |level: &str| {
        let log = Log::default();
        let _guard = log.begin(level);
        tracing::debug!(target: "aws_smithy_runtime::client::orchestrator", "the whole answer");
        tracing::info!(target: "hyper_util::client", "a connection");
        tracing::warn!(target: "aws_config", "no region");
        tracing::error!(target: "lambda_runtime::layers::panic", "the panic's message");
        tracing::trace!(target: "gate_core::run", "trace");
        tracing::debug!(target: "gate_fetcher", "debug");
        tracing::info!(target: "gate_aws::function", "info");
        let messages = log.lines();
        messages.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for level in ["info", "INFO", "", "of no kind", "info,aws_smithy_runtime=trace"] {
        assert_eq!(shown(level), ["no region", "info"], "{level}");
    }
    assert_eq!(shown("error"), ["no region"]);
    assert_eq!(shown("trace"), ["no region", "trace", "debug", "info"]);
}

/// CloudWatch's embedded metric format, as its specification gives it: what `_aws` must have, that every name it refers to is a
/// member of the root, and the lengths of names.
fn check_metric(line: &Value) {
    let root = line.as_object().unwrap();
    let aws = root["_aws"].as_object().unwrap();
    assert!(aws.len() == 2, "{aws:?}");
    assert!(aws["Timestamp"].as_i64().unwrap() > 1_500_000_000_000, "milliseconds");
    for directive in aws["CloudWatchMetrics"].as_array().unwrap() {
        let mut keys: Vec<_> = directive.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["Dimensions", "Metrics", "Namespace"]);
        assert!((1..=1024).contains(&directive["Namespace"].as_str().unwrap().len()));
        let sets = directive["Dimensions"].as_array().unwrap();
        assert!(!sets.is_empty());
        for key in sets.iter().flat_map(|set| set.as_array().unwrap()) {
            let value = root[key.as_str().unwrap()].as_str().unwrap();
            assert!(
                (1..=1024).contains(&value.len()) && value.is_ascii() && !value.contains(char::is_control),
                "{value}"
            );
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            assert!(root[metric["Name"].as_str().unwrap()].is_f64());
            assert!(["Count", "Bytes", "Milliseconds", "Seconds"].contains(&metric["Unit"].as_str().unwrap()));
        }
    }
}

#[test]
fn a_metric_is_one_line_of_the_embedded_metric_format() {
    let now = SystemClock.now().as_millisecond();
    for unit in [Unit::Count, Unit::Bytes, Unit::Milliseconds, Unit::Seconds] {
        for value in ["approved", "", " ", "a\nb\u{202e}", &"x".repeat(1023), &"x".repeat(1024), &"x".repeat(1025)] {
            let line = line(value, "RowsDecided", 1.5, unit, Some(("Verdict", value)), now).unwrap();
            check_metric(&line);
            assert!(!line.to_string().contains('\n'));
        }
    }
    let line_without = line("gate", "RowsDecided", 3.0, Unit::Count, None, now).unwrap();
    check_metric(&line_without);
    assert_eq!(line_without["RowsDecided"], json!(3.0));
    for no_number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(line("gate", "RowsDecided", no_number, Unit::Count, None, now), None);
    }
    let same_name = line("gate", "Rows", 1.0, Unit::Count, Some(("Rows", "x")), now).unwrap();
    check_metric(&same_name);
}

#[test]
fn every_metric_is_of_a_stack() {
    let now = SystemClock.now().as_millisecond();
    for (further, keys, verdict) in [
        (None, json!([["Stack"]]), None),
        (Some(("verdict", "held")), json!([["Stack", "verdict"]]), Some("held")),
        (Some(("Rows", "x")), json!([["Stack"]]), None),
        (Some(("Stack", "another")), json!([["Stack"]]), None),
    ] {
        for stack in ["gate", "gate-2"] {
            let line = line(stack, "Rows", 1.0, Unit::Count, further, now).unwrap();
            assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], keys, "the alarms name these");
            assert_eq!((line["Stack"].as_str(), line["verdict"].as_str()), (Some(stack), verdict));
        }
    }
}
