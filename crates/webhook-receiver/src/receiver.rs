//! The one request that this answers, in the order of its checks.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gate_core::ports::{Clock, Put, Records, Secrets};
use gate_core::route::Route;
use gate_core::run::{Delivery, keep_document};
use gate_core::step::StepError;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::answer::Answer;
use crate::push::{NoPush, Push};
use crate::secret::SigningSecrets;
use crate::signature::Signature;

/// The largest body in bytes: what a function can be handed at once (Lambda quotas, synchronous payload of 6 MB). GitHub sends
/// up to 25 MB; the reconciler finds what does not fit.
pub const MAX_BODY_BYTES: usize = 6 << 20;

/// After how long a request is given up with 503. GitHub waits for 10 s, of which a cold start takes its part.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(7);

/// The most characters of a delivery id that are kept; GitHub's have 36.
const MAX_DELIVERY_ID: usize = 64;

/// A request, as an HTTP API hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Names in any case. Repeated ones are repeated, or joined with commas.
    pub headers: &'a HeaderMap,
    /// The body, perhaps in base64.
    pub body: &'a str,
    /// Whether it is in base64.
    pub is_base64: bool,
}

/// Turns requests into deliveries.
pub struct Receiver<R, S, C> {
    records: R,
    secrets: SigningSecrets<S, C>,
    routes: Vec<Route>,
}

impl<R: Records, S: Secrets, C: Clock> Receiver<R, S, C> {
    /// A receiver that stores into `records` what is signed with the secret `secret_name` and goes to one of `routes`.
    pub fn new(records: R, secrets: S, clock: C, secret_name: impl Into<String>, routes: Vec<Route>) -> Self {
        Self { records, secrets: SigningSecrets::new(secrets, clock, secret_name.into()), routes }
    }

    /// Looks at the secret before the first request.
    ///
    /// # Errors
    /// [`ErrorName::Configuration`](gate_core::step::ErrorName::Configuration) when it must not be used: the function does
    /// not start then. Whatever the store fails with: later requests may find it well again.
    pub async fn check_secret(&self) -> Result<(), StepError> {
        self.secrets.current(false).await.map(drop)
    }

    /// Answers one request within [`ANSWER_WITHIN`]. Never a success unless the push is stored or needs no storing.
    pub async fn receive(&self, request: Request<'_>) -> Answer {
        let delivery_id = delivery_id(request.headers);
        let answer = match tokio::time::timeout(ANSWER_WITHIN, self.answer(request, delivery_id)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::error!(delivery_id, error_name = %error.name, %error, "the push could not be stored");
                return Answer::Unavailable;
            }
            Err(_) => {
                tracing::error!(delivery_id, seconds = ANSWER_WITHIN.as_secs(), "the push could not be stored in time");
                return Answer::Unavailable;
            }
        };
        // Anybody can make as many of these as they like: the metric counts them, and the API's access log has the address.
        if answer == Answer::Unauthorized {
            tracing::debug!(status = answer.status(), "a request was not signed");
        } else {
            tracing::info!(delivery_id, status = answer.status(), "{}", answer.message());
        }
        answer
    }

    fn watches(&self, repository: u64, reference: &str) -> bool {
        self.routes.iter().any(|route| route.repository == repository && route.reference() == reference)
    }

    async fn answer(&self, request: Request<'_>, delivery_id: Option<&str>) -> Result<Answer, StepError> {
        let body = match raw_body(request) {
            Ok(body) => body,
            Err(answer) => return Ok(answer),
        };
        let Some(signature) = Signature::of(request.headers) else { return Ok(Answer::Unauthorized) };
        if !self.secrets.fit(&signature, &body).await? {
            return Ok(Answer::Unauthorized);
        }
        if !is_json(request.headers) {
            return Ok(Answer::NotJsonType);
        }
        match request.headers.get("x-github-event").map(http::HeaderValue::as_bytes) {
            Some(b"push") => {}
            Some(b"ping") => return Ok(Answer::Pong),
            _ => return Ok(Answer::OtherEvent),
        }
        let push = match Push::read(&body) {
            Ok(push) => push,
            Err(NoPush::NotJson) => return Ok(Answer::NotJson),
            Err(NoPush::NotAPush) => return Ok(Answer::NotAPush),
        };
        if !self.watches(push.repository.id, &push.reference) {
            return Ok(Answer::NotWatched);
        }
        if !push.leaves_a_commit() {
            return Ok(Answer::NothingToRead);
        }
        let Some((full_name, commit)) = push.name_and_commit() else { return Ok(Answer::NotAPush) };
        let delivery = Delivery {
            schema_version: gate_core::SCHEMA_VERSION,
            repository: push.repository.id,
            full_name: full_name.to_owned(),
            reference: push.reference.clone(),
            commit: commit.to_owned(),
            delivery_id: delivery_id.map(ToOwned::to_owned),
            received_at: self.secrets.now(),
        };
        Ok(match keep_document(&self.records, &delivery.key(), &delivery).await? {
            Put::Created => Answer::Accepted,
            Put::Exists => Answer::AcceptedBefore,
        })
    }
}

/// The bytes that were signed.
fn raw_body(request: Request<'_>) -> Result<Cow<'_, [u8]>, Answer> {
    let body = request.body.as_bytes();
    if !request.is_base64 {
        return if body.len() <= MAX_BODY_BYTES { Ok(Cow::Borrowed(body)) } else { Err(Answer::TooLarge) };
    }
    if body.len() > MAX_BODY_BYTES.div_ceil(3) * 4 {
        return Err(Answer::TooLarge);
    }
    // A flag that lies leaves no bytes that could have been signed.
    let body = STANDARD.decode(body).map_err(|_| Answer::Unauthorized)?;
    if body.len() <= MAX_BODY_BYTES { Ok(Cow::Owned(body)) } else { Err(Answer::TooLarge) }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// GitHub's id of the delivery, for tracing. Nobody signs it, so it is kept only in the form of one.
fn delivery_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-github-delivery")?.to_str().ok()?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    ((1..=MAX_DELIVERY_ID).contains(&id.len()) && id.bytes().all(plain)).then_some(id)
}
