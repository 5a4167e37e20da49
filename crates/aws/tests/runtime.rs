//! The loop against Lambda's runtime interface: this program starts itself again as a function, plays the service, and reads
//! what the function answered and logged.
//!
//! It is a program and not a list of tests because a function takes everything from its environment and writes to stdout.

#![allow(clippy::unwrap_used, reason = "clippy does not see that this is a test")]

use std::collections::VecDeque;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use gate_aws::function::{self, Settings, Unit};
use gate_core::step::{ErrorName, StepError};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// What must appear in no answer and no log.
const PAYLOAD: &str = "hunter2";

#[derive(Deserialize)]
struct Input {
    ask: String,
    payload: String,
}

async fn handle(input: Input) -> Result<Value, StepError> {
    if let Some(name) = ErrorName::parse(&input.ask) {
        return Err(StepError::new(name, "the reason"));
    }
    assert!(input.ask != "panic", "the payload is {}", input.payload);
    function::metric("Handled", 1.0, Unit::Count, Some(("Kind", "test")));
    Ok(json!({"length": input.payload.len()}))
}

async fn be_a_function() -> Result<(), lambda_runtime::Error> {
    function::init();
    let mut settings = Settings::from_env();
    settings.text("DATA_BUCKET");
    settings.number::<u64>("MAX_ARTIFACT_BYTES");
    if let Err(error) = settings.finish() {
        return function::refuse(error).await;
    }
    function::serve(handle).await
}

/// One answer of the function: `response` or `error`, and the body.
type Answer = (String, Value);

#[derive(Clone)]
struct Service {
    events: Arc<Mutex<VecDeque<String>>>,
    answers: mpsc::UnboundedSender<Answer>,
}

async fn next(State(service): State<Service>) -> Response {
    let event = service.events.lock().unwrap().pop_front();
    let Some(event) = event else { return std::future::pending().await };
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", "00000000-0000-0000-0000-000000000001"),
        ("Lambda-Runtime-Deadline-Ms", "4102444800000"),
        ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:000000000000:function:gate-test"),
    ];
    (headers, event).into_response()
}

async fn answered(Path((_, kind)): Path<(String, String)>, State(service): State<Service>, body: String) -> Response {
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    service.answers.send((kind, body)).unwrap();
    (axum::http::StatusCode::ACCEPTED, "{}").into_response()
}

/// The function's answers to these events, and the lines of its log.
async fn run(environment: &[(&str, &str)], events: &[Value]) -> (Vec<Answer>, Vec<Value>) {
    let (answers, mut received) = mpsc::unbounded_channel();
    let queue = events.iter().map(Value::to_string).collect();
    let service = Service { events: Arc::new(Mutex::new(queue)), answers };
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(answered))
        .with_state(service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });

    let log = tempfile::tempdir().unwrap();
    let file = |name| std::fs::File::create(log.path().join(name)).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", &address)
        .env("AWS_LAMBDA_FUNCTION_NAME", "gate-test")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("LOG_LEVEL", "trace")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .spawn()
        .unwrap();
    let mut all = Vec::new();
    while all.len() < events.len() {
        let answer = tokio::time::timeout(Duration::from_secs(30), received.recv()).await;
        let Ok(Some(answer)) = answer else { break };
        all.push(answer);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    server.abort();
    let read = |name| std::fs::read_to_string(log.path().join(name)).unwrap();
    assert_eq!(read("stderr"), "");
    let stdout = read("stdout");
    assert!(!stdout.contains(PAYLOAD), "{stdout}");
    (all, stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

async fn every_answer_has_the_form_that_the_state_machines_know() {
    let event = |ask: &str| json!({"ask": ask, "payload": PAYLOAD});
    let mut events = vec![event("work"), event("panic"), event("work"), json!({"ask": PAYLOAD}), json!([PAYLOAD])];
    events.extend(ErrorName::ALL.map(|name| event(name.as_str())));
    let environment = [("STACK_NAME", "gate"), ("DATA_BUCKET", "data"), ("MAX_ARTIFACT_BYTES", "1")];
    let (answers, log) = run(&environment, &events).await;
    assert_eq!(answers.len(), events.len());

    let work = ("response".to_owned(), json!({"length": 7}));
    assert_eq!((&answers[0], &answers[2]), (&work, &work), "a panic is not the end of the function");
    let mut expected = vec!["ok", "Gate.Corrupt", "ok", "Gate.BadInput", "Gate.BadInput"];
    expected.extend(ErrorName::ALL.map(ErrorName::as_str));
    for ((kind, body), name) in answers.iter().zip(&expected).filter(|(_, name)| **name != "ok") {
        assert_eq!((kind.as_str(), &body["errorType"]), ("error", &json!(name)));
        assert!(!body.to_string().contains(PAYLOAD), "{body}");
    }

    let outcomes: Vec<&str> = log.iter().filter_map(|line| line["outcome"].as_str()).collect();
    assert_eq!(outcomes, expected, "one line for each invocation");
    for line in log.iter().filter(|line| line.get("outcome").is_some()) {
        assert_eq!(
            (&line["request_id"], &line["function"]),
            (&json!("00000000-0000-0000-0000-000000000001"), &json!("gate-test"))
        );
        assert!(line["duration_ms"].is_u64());
    }
    let panics: Vec<_> = log.iter().filter_map(|line| line["place"].as_str()).collect();
    assert!(matches!(panics[..], [place] if place.contains("runtime.rs:")), "{panics:?}");
    let handled: Vec<_> = log.iter().filter(|line| line["Handled"] == 1.0 && line["_aws"].is_object()).collect();
    assert_eq!(handled.len(), 2);
    assert!(handled.iter().all(|line| line["Stack"] == "gate"), "{handled:?}");
}

async fn a_function_that_lacks_settings_says_which() {
    let (answers, _) = run(&[("DATA_BUCKET", ""), ("MAX_ARTIFACT_BYTES", PAYLOAD)], &[json!({}), json!([])]).await;
    assert_eq!(answers.len(), 2);
    for (kind, body) in answers {
        assert_eq!((kind.as_str(), &body["errorType"]), ("error", &json!("Gate.Configuration")));
        let message = body["errorMessage"].as_str().unwrap();
        for name in ["STACK_NAME", "DATA_BUCKET", "MAX_ARTIFACT_BYTES"] {
            assert!(message.contains(name), "{message}");
        }
        assert!(!message.contains(PAYLOAD));
    }
}

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        return be_a_function().await;
    }
    every_answer_has_the_form_that_the_state_machines_know().await;
    a_function_that_lacks_settings_says_which().await;
    Ok(())
}
