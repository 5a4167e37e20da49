//! The function's event, `events/webhook-receiver.json`: what an HTTP API hands over (payload format 2.0), around a push.
//!
//! Its body is signed with the secret of the tests. Whoever changes the body finds the new signature in the message of the
//! first test.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use common::*;
use gate_webhook_receiver::Answer;
use gate_webhook_receiver::api::{self, Event};
use serde_json::Value;

fn sample() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/webhook-receiver.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

async fn receive(world: &World, event: &Value) -> Value {
    let event: Event = serde_json::from_value(event.clone()).unwrap();
    serde_json::to_value(api::response(api::answer(&world.receiver, &event).await)).unwrap()
}

#[test]
fn the_sample_is_signed_with_the_secret_of_the_tests() {
    let event = sample();
    let body = event["body"].as_str().unwrap();
    assert_eq!(event["headers"]["x-hub-signature-256"], signature(SECRET, body.as_bytes()));
    assert_eq!(event["headers"]["content-length"], body.len().to_string());
}

#[tokio::test]
async fn the_sample_is_accepted_once_and_then_known() {
    let world = World::new();
    for message in [Answer::Accepted, Answer::AcceptedBefore].map(Answer::message) {
        let response = receive(&world, &sample()).await;
        assert_eq!(response["statusCode"], 202);
        assert_eq!(response["headers"]["content-type"], "application/json");
        let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        assert_eq!(body, serde_json::json!({ "message": message }));
    }
    assert_eq!(world.inbox().await.len(), 1);
}

/// The members of the sample in AWS's documentation ("Create AWS Lambda proxy integrations for HTTP APIs", format 2.0).
#[test]
fn the_sample_has_every_documented_member() {
    let event = sample();
    for pointer in [
        "/version",
        "/routeKey",
        "/rawPath",
        "/rawQueryString",
        "/cookies",
        "/headers",
        "/queryStringParameters",
        "/requestContext/accountId",
        "/requestContext/apiId",
        "/requestContext/authentication/clientCert/clientCertPem",
        "/requestContext/authentication/clientCert/subjectDN",
        "/requestContext/authentication/clientCert/issuerDN",
        "/requestContext/authentication/clientCert/serialNumber",
        "/requestContext/authentication/clientCert/validity/notBefore",
        "/requestContext/authentication/clientCert/validity/notAfter",
        "/requestContext/authorizer/jwt/claims",
        "/requestContext/authorizer/jwt/scopes",
        "/requestContext/domainName",
        "/requestContext/domainPrefix",
        "/requestContext/http/method",
        "/requestContext/http/path",
        "/requestContext/http/protocol",
        "/requestContext/http/sourceIp",
        "/requestContext/http/userAgent",
        "/requestContext/requestId",
        "/requestContext/routeKey",
        "/requestContext/stage",
        "/requestContext/time",
        "/requestContext/timeEpoch",
        "/body",
        "/pathParameters",
        "/isBase64Encoded",
        "/stageVariables",
    ] {
        assert!(event.pointer(pointer).is_some_and(|member| !member.is_null()), "{pointer}");
    }
    let typed: ApiGatewayV2httpRequest = serde_json::from_value(event.clone()).unwrap();
    assert_eq!(typed.body.as_deref(), event["body"].as_str());
    assert_eq!(typed.headers.len(), event["headers"].as_object().unwrap().len());
    assert!(typed.request_context.authentication.is_some() && typed.request_context.authorizer.is_some());
}

/// An HTTP API passes on what anybody sends it.
#[tokio::test]
async fn odd_events_are_answered() {
    let world = World::new();
    let changed = |pointer: &str, member: &str, value: Value| {
        let mut event = sample();
        event.pointer_mut(pointer).unwrap()[member] = value;
        event
    };
    let mut bare = sample();
    for member in ["cookies", "body", "pathParameters", "stageVariables", "queryStringParameters"] {
        bare.as_object_mut().unwrap().remove(member);
    }
    for (event, status) in [
        (changed("/headers", "user-agent", "a\u{7f}".into()), 400),
        (changed("/headers", "a b", "c".into()), 400),
        (Value::Null, 400),
        (serde_json::json!({}), 400),
        (changed("", "isBase64Encoded", true.into()), 401),
        (bare, 401),
        (changed("/headers", "x-hub-signature-256", "".into()), 401),
    ] {
        let response = receive(&world, &event).await;
        assert_eq!(response["statusCode"], status, "{}", event["headers"]);
    }
    assert!(world.inbox().await.is_empty());
    let response = receive(&world, &changed("/headers", "user-agent", "naïve".into())).await;
    assert_eq!(response["statusCode"], 202);
}

/// RFC 9110, 15.3.5: such an answer has no content.
#[test]
fn what_is_left_alone_is_answered_without_a_body() {
    for answer in Answer::ALL {
        let response = serde_json::to_value(api::response(answer)).unwrap();
        assert_eq!(response.get("body").is_none(), response["statusCode"] == 204, "{answer:?}");
        assert_eq!(response["isBase64Encoded"], false);
    }
}
