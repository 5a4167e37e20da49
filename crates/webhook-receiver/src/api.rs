//! The receiver behind an Amazon API Gateway HTTP API (payload format 2.0).

use aws_lambda_events::encodings::Body;
use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use gate_core::ports::{Clock, Records, Secrets};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{Answer, Receiver, Request};

/// What the function is invoked with.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Event {
    /// A request.
    Request(Box<ApiGatewayV2httpRequest>),
    /// Something else, such as a request with headers that HTTP does not allow. It is answered: a function that fails raises
    /// an alarm, and what anybody can send must not.
    Other(IgnoredAny),
}

/// Answers one event.
pub async fn answer<R: Records, S: Secrets, C: Clock>(receiver: &Receiver<R, S, C>, event: &Event) -> Answer {
    let Event::Request(request) = event else { return Answer::Unreadable };
    let body = request.body.as_deref().unwrap_or_default();
    receiver.receive(Request { headers: &request.headers, body, is_base64: request.is_base64_encoded }).await
}

/// The answer as the API gives it to the caller.
#[must_use]
pub fn response(answer: Answer) -> ApiGatewayV2httpResponse {
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = answer.status().into();
    if answer.status() != 204 {
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.body = Some(Body::Text(serde_json::json!({ "message": answer.message() }).to_string()));
    }
    response
}
