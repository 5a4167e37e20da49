//! A function's loop: one invocation after another, each with one line in the log.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt as _;
use gate_core::step::{ErrorName, StepError};
use gate_core::text::escape;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Answers invocations until the environment ends.
///
/// A [`StepError`] becomes the invocation's error, whose `errorType` is the [`ErrorName`]: the state machines retry by it. An
/// input that is no `I` is [`ErrorName::BadInput`]; a panic is [`ErrorName::Corrupt`]. Neither message repeats the input.
///
/// The last line of each invocation in the log has `request_id`, `function`, `outcome` (`ok`, or the error's name) and
/// `duration_ms`.
///
/// # Errors
/// When Lambda's runtime interface cannot be reached.
pub async fn serve<I, O, F>(handler: impl Fn(I) -> F) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
    F: Future<Output = Result<O, StepError>>,
{
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    // The service is made without the runtime's own tracing layer: it would log each error a second time.
    Runtime::new(service_fn(|event| invoke(&handler, &function, event))).run().await
}

/// Answers every invocation with this error: for a function that cannot begin, so that its caller reads the reason.
///
/// # Errors
/// As for [`serve`].
pub async fn refuse(error: StepError) -> Result<(), lambda_runtime::Error> {
    serve(|_: Value| std::future::ready(Err::<Value, _>(error.clone()))).await
}

/// What Lambda is told.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StepError);

impl From<Refusal> for Diagnostic {
    fn from(Refusal(error): Refusal) -> Self {
        Self { error_type: error.name.as_str().to_owned(), error_message: escape(&error.message).into_owned() }
    }
}

pub(super) async fn invoke<I, O, F>(
    handler: impl Fn(I) -> F,
    function: &str,
    event: LambdaEvent<Value>,
) -> Result<O, Refusal>
where
    I: DeserializeOwned,
    F: Future<Output = Result<O, StepError>>,
{
    let begun = Instant::now();
    let answer = match serde_json::from_value(event.payload) {
        Ok(input) => {
            let answer = AssertUnwindSafe(async { handler(input).await }).catch_unwind().await;
            answer.unwrap_or_else(|_| {
                Err(StepError::new(ErrorName::Corrupt, "the function panicked; its log says where"))
            })
        }
        Err(error) => Err(bad_input(&error)),
    };
    let request_id = event.context.request_id;
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    match &answer {
        Ok(_) => tracing::info!(request_id, function, outcome = "ok", duration_ms, "invocation"),
        Err(error) => {
            let (outcome, message) = (error.name.as_str(), escape(&error.message));
            if error.name.is_retried() {
                tracing::warn!(request_id, function, outcome, error = %message, duration_ms, "invocation");
            } else {
                tracing::error!(request_id, function, outcome, error = %message, duration_ms, "invocation");
            }
        }
    }
    answer.map_err(Refusal)
}

/// Only the sentences of serde that name our own types are repeated: the others quote the input.
fn bad_input(error: &serde_json::Error) -> StepError {
    let text = error.to_string();
    let own = ["missing field", "data did not match any variant"];
    let what = if own.iter().any(|start| text.starts_with(start)) { text } else { "another form".to_owned() };
    StepError::new(ErrorName::BadInput, format!("the input is none that this function takes: {what}"))
}
