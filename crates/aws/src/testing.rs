//! Clients whose answers are written down, for tests.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::primitives::SdkBody;

/// A client of one SDK crate that answers by these rules, the first that matches, and never tries again.
macro_rules! client {
    ($sdk:ident, $rules:expr) => {{
        let mut answers =
            aws_smithy_mocks::MockResponseInterceptor::new().rule_mode(aws_smithy_mocks::RuleMode::MatchAny);
        for rule in $rules.iter() {
            answers = answers.with_rule(rule);
        }
        let config = $sdk::Config::builder()
            .behavior_version($sdk::config::BehaviorVersion::latest())
            .region($sdk::config::Region::new("eu-west-1"))
            .credentials_provider($sdk::config::Credentials::new("id", "secret", None, None, "test"))
            .retry_config($sdk::config::retry::RetryConfig::disabled())
            .http_client(aws_smithy_mocks::create_mock_http_client())
            .interceptor(answers);
        $sdk::Client::from_conf(config.build())
    }};
}
pub(crate) use client;

/// The configuration of a client of one SDK crate for an endpoint on loopback, with the HTTP client that ships; it never tries
/// again.
macro_rules! loopback {
    ($sdk:ident, $endpoint:expr) => {
        $sdk::Config::builder()
            .behavior_version($sdk::config::BehaviorVersion::latest())
            .region($sdk::config::Region::new("eu-west-1"))
            .credentials_provider($sdk::config::Credentials::new("id", "secret", None, None, "test"))
            .retry_config($sdk::config::retry::RetryConfig::disabled())
            .endpoint_url($endpoint)
            .build()
    };
}
pub(crate) use loopback;

/// An answer of this status, with headers and a body.
pub(crate) fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_owned()));
    for (name, value) in headers {
        response.headers_mut().insert(*name, *value);
    }
    response
}

/// An error of a service that speaks JSON. The message stands for what must not be repeated.
pub(crate) fn json_error(status: u16, code: &str) -> HttpResponse {
    answer(status, &[("x-amzn-requestid", "req-1")], &format!(r#"{{"__type":"{code}","message":"PAYLOAD"}}"#))
}

/// An error of a service that speaks XML inside `ErrorResponse` (SNS).
pub(crate) fn query_error(status: u16, code: &str) -> HttpResponse {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>PAYLOAD</Message></Error>\
         <RequestId>req-1</RequestId></ErrorResponse>"
    );
    answer(status, &[("x-amzn-requestid", "req-1")], &body)
}

/// An error of S3; no code for an answer without a body.
pub(crate) fn xml_error(status: u16, code: Option<&str>) -> HttpResponse {
    let body = code.map(|code| format!("<Error><Code>{code}</Code><Message>PAYLOAD</Message></Error>"));
    answer(status, &[("x-amz-request-id", "req-1")], &body.unwrap_or_default())
}
