//! One request to GitHub: with the token, without redirects, and with limits on time and size.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gate_core::ports::Secrets;
use gate_core::step::{ErrorName, StepError};
use gate_core::text::escape_to;
use gate_fetcher::{BUFFER_BYTES, HEADER_FIELDS, USER_AGENT, native_roots};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::address::Address;

/// The version of the REST API that this was written against.
const API_VERSION: &str = "2022-11-28";

/// The longest that a connection takes.
const CONNECT: Duration = Duration::from_secs(10);

/// How long, how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One request from its start to the end of its answer; a refreshed token included.
    pub seconds: Duration,
    /// The most bytes of a JSON answer.
    pub json_bytes: usize,
    /// The most bytes of an answer of GraphQL.
    pub graphql_bytes: usize,
}

impl Default for Limits {
    /// A minute; 4 MiB, of which a listed file of 1 MB takes 1.4; and 16 MiB, 1.6 KiB for each line of a full request.
    fn default() -> Self {
        Self { seconds: Duration::from_secs(60), json_bytes: 4 << 20, graphql_bytes: 16 << 20 }
    }
}

pub(super) struct Client<S> {
    address: Address,
    client: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    secrets: S,
    secret: String,
    patience: Duration,
}

pub(super) enum Answer {
    Body(Vec<u8>),
    /// 404, or 409 of a repository without a commit. GitHub answers 404 also for what the token cannot see.
    Missing,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl<S: Secrets> Client<S> {
    pub(super) fn new(address: Address, secrets: S, secret: String, patience: Duration) -> Result<Self, StepError> {
        let configuration = |why: String| StepError::new(ErrorName::Configuration, format!("no TLS: {why}"));
        let roots = native_roots().map_err(|failure| configuration(failure.message))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| configuration(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        http.set_nodelay(true);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls);
        let https = if address.is_plain() { https.https_or_http() } else { https.https_only() };
        let client = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // A frozen function finds its connections closed.
            .pool_idle_timeout(Duration::from_secs(10))
            .http1_max_buf_size(BUFFER_BYTES)
            .http1_max_headers(HEADER_FIELDS)
            .build(https.enable_http1().wrap_connector(http));
        Ok(Self { address, client, secrets, secret, patience })
    }

    /// Asks for a resource of the REST API. A success has its body, of at most `at_most` bytes; a redirect is an error, because
    /// it would carry the token elsewhere.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &[String],
        query: &[(&str, &str)],
        accept: &'static str,
        body: Option<&Value>,
        at_most: usize,
    ) -> Result<Answer, StepError> {
        let url = self.address.resource(path, query);
        let reply = self.authorized(&method, &url, accept, body, at_most).await?;
        judge(reply, &method, &url)
    }

    /// Asks GraphQL.
    pub(super) async fn graphql(&self, query: &Value, at_most: usize) -> Result<Vec<u8>, StepError> {
        let url = self.address.graphql();
        let reply = self.authorized(&Method::POST, &url, "application/json", Some(query), at_most).await?;
        match judge(reply, &Method::POST, &url)? {
            Answer::Body(body) => Ok(body),
            Answer::Missing => {
                let message = format!("there is no GraphQL at {}", url.path());
                Err(StepError::new(ErrorName::Configuration, message))
            }
        }
    }

    /// A refused token is fetched once more: it may have been rotated since it was cached.
    async fn authorized(
        &self,
        method: &Method,
        url: &Url,
        accept: &'static str,
        body: Option<&Value>,
        at_most: usize,
    ) -> Result<Reply, StepError> {
        let deadline = Instant::now() + self.patience;
        let body = body.map(|body| Bytes::from(body.to_string()));
        for fresh in [false, true] {
            let token = self.secrets.current(&self.secret, fresh).await?;
            let request = request(method, url, accept, body.clone(), &token)?;
            let reply = match timeout_at(deadline, self.exchange(request, url, at_most)).await {
                Ok(reply) => reply?,
                Err(_) => {
                    let seconds = self.patience.as_secs();
                    return Err(transient(url, &format!("it did not answer within {seconds} s")));
                }
            };
            if reply.status != StatusCode::UNAUTHORIZED {
                return Ok(reply);
            }
        }
        let message =
            "GitHub refuses the access token, also after it was fetched anew; store a valid one in its secret";
        Err(StepError::new(ErrorName::Denied, message))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, url: &Url, at_most: usize) -> Result<Reply, StepError> {
        let answer = self.client.request(request).await.map_err(|error| transient(url, &causes(&error)))?;
        let (parts, incoming) = answer.into_parts();
        let body = match Limited::new(incoming, at_most).collect().await {
            Ok(body) => body.to_bytes().to_vec(),
            Err(error) if error.is::<LengthLimitError>() => {
                let message = format!("GitHub's answer about {} is larger than {at_most} bytes", url.path());
                return Err(StepError::new(ErrorName::Corrupt, message));
            }
            Err(error) => return Err(transient(url, &causes(error.as_ref()))),
        };
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

fn request(
    method: &Method,
    url: &Url,
    accept: &'static str,
    body: Option<Bytes>,
    token: &SecretString,
) -> Result<Request<Full<Bytes>>, StepError> {
    let configuration = |message: &str| StepError::new(ErrorName::Configuration, message);
    let uri: Uri = url.as_str().parse().map_err(|_| configuration("GitHub's address is not a URL"))?;
    let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret().trim()))
        .map_err(|_| configuration("the access token in the secret has characters that no token has"))?;
    authorization.set_sensitive(true);
    let has_body = body.is_some();
    let mut request = Request::new(Full::new(body.unwrap_or_default()));
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::AUTHORIZATION, authorization);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert("x-github-api-version", HeaderValue::from_static(API_VERSION));
    if has_body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(request)
}

/// What GitHub's answer means (its REST guides: "Troubleshooting" and "Rate limits for the REST API").
fn judge(reply: Reply, method: &Method, url: &Url) -> Result<Answer, StepError> {
    let Reply { status, headers, body } = reply;
    let path = url.path();
    match status.as_u16() {
        200..=299 => Ok(Answer::Body(body)),
        404 | 409 => Ok(Answer::Missing),
        429 => Err(rate_limited(&headers)),
        403 if is_rate_limit(&headers, &body) => Err(rate_limited(&headers)),
        403 => {
            let said = said(&body);
            let message = format!("GitHub does not let this access token {method} {path}{said}; see its permissions");
            Err(StepError::new(ErrorName::Denied, message))
        }
        408 | 500..=599 => Err(transient(url, &format!("it answered {status}"))),
        300..=399 => {
            let message = format!("GitHub sends {method} {path} elsewhere; give its API's own address");
            Err(StepError::new(ErrorName::Configuration, message))
        }
        _ => {
            let message = format!("GitHub answered {status} to {method} {path}{}", said(&body));
            Err(StepError::new(ErrorName::Configuration, message))
        }
    }
}

/// The primary limit says how much remains; the secondary one says so in words, with or without `Retry-After`.
fn is_rate_limit(headers: &HeaderMap, body: &[u8]) -> bool {
    headers.contains_key(header::RETRY_AFTER)
        || headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0")
        || said(body).to_ascii_lowercase().contains("rate limit")
}

fn rate_limited(headers: &HeaderMap) -> StepError {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let when = match (number("retry-after"), number("x-ratelimit-reset")) {
        (Some(seconds), _) => format!(" for {seconds} s"),
        (None, Some(reset)) => format!(" until {reset} s after 1970"),
        (None, None) => String::new(),
    };
    StepError::new(ErrorName::RateLimited, format!("GitHub asks for patience{when}: its rate limit is reached"))
}

/// The error that GraphQL gives in an answer with status 200.
pub(super) fn graphql_error(error: &Value) -> StepError {
    let text = |name: &str| escape_to(error[name].as_str().unwrap_or_default(), 200);
    let (kind, message) = (text("type"), text("message"));
    match kind.as_str() {
        "RATE_LIMITED" => rate_limited(&HeaderMap::new()),
        "FORBIDDEN" | "INSUFFICIENT_SCOPES" => StepError::new(
            ErrorName::Denied,
            format!("GitHub does not let this access token read the authors of lines: {message}"),
        ),
        _ => {
            StepError::new(ErrorName::Transient, format!("GitHub did not list the authors of lines: {kind} {message}"))
        }
    }
}

/// What an error's JSON says, for operators.
fn said(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let message = json.as_ref().and_then(|json| json["message"].as_str());
    message.map(|message| format!(": {}", escape_to(message, 200))).unwrap_or_default()
}

fn transient(url: &Url, why: &str) -> StepError {
    let host = url.host_str().unwrap_or_default();
    StepError::new(ErrorName::Transient, format!("GitHub ({host}) could not be asked about {}: {why}", url.path()))
}

/// An error with what caused it: hyper's own text says little.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    escape_to(&all.collect::<Vec<_>>().join(": "), 300)
}
