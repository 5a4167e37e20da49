//! The scheduled task that keeps the advisories fresh: an export replaces the one in use when it can be read, and not before.

use std::future::Future;
use std::io::Cursor;

use bytes::Bytes;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::Origin;
use gate_core::step::{ErrorName, StepError};
use gate_core::text::escape_to;
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use crate::http::Http;
use crate::index_url::IndexUrl;
use crate::retry::Trouble;
use crate::words;

/// The most bytes of an export: ten times that of Python's in 2026.
pub const EXPORT_BYTES: u64 = 256 << 20;

/// The most characters of what is wrong with an export.
const FAULT_CHARS: usize = 300;

/// Where the export lies that decisions consult.
pub trait AdvisoryStore: Send + Sync {
    /// Puts this zip, which has this digest and can be read, in the place of the one in use. Doing it twice is as good as once.
    fn keep(&self, zip: Bytes, sha256: &Sha256) -> impl Future<Output = Result<Refreshed, StepError>> + Send;
}

/// What became of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refreshed {
    /// Of the export that is in use now.
    pub sha256: Sha256,
    /// Whether it is another one than before.
    pub changed: bool,
}

/// The address of an export. It is the operator's, as the index's is, and so is trust in where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportUrl {
    url: Url,
    origin: IndexUrl,
}

impl ExportUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`ErrorName::Configuration`] when it is none, or holds credentials. The text itself is not repeated.
    pub fn parse(text: &str) -> Result<Self, StepError> {
        let bad = |why: &str| {
            StepError::new(
                ErrorName::Configuration,
                format!("ADVISORIES_URL cannot be used: {why}; give one like https://HOST/PyPI/all.zip"),
            )
        };
        let url = Url::parse(text.trim()).map_err(|_| bad("it is not a URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it holds a user name or a password"));
        }
        let mut origin = url.clone();
        origin.set_query(None);
        origin.set_path("/");
        let origin = IndexUrl::parse(origin.as_str()).map_err(|why| bad(&why.to_string()))?;
        Ok(Self { url, origin })
    }

    /// What [`Http`] is to be configured with as its index, so that it may go where the operator points.
    #[must_use]
    pub fn origin(&self) -> IndexUrl {
        self.origin.clone()
    }
}

/// Fetches the export, reads it whole, and puts it into use.
///
/// # Errors
/// Nothing has changed then. [`ErrorName::Transient`] or [`ErrorName::RateLimited`] when the host cannot be reached or asks for
/// patience; [`ErrorName::Denied`] when it refuses; [`ErrorName::Configuration`] when it answers with something else than a file
/// of at most `most` bytes; [`ErrorName::AdvisoriesUnavailable`] when the file is no
/// export of Python's advisories, or one with a hole; whatever the store fails with.
pub async fn refresh(
    url: &ExportUrl,
    http: &Http,
    store: &impl AdvisoryStore,
    most: u64,
) -> Result<Refreshed, StepError> {
    let limits = http.limits();
    let deadline = Instant::now() + limits.total;
    let zip = limits
        .retry
        .run(deadline, || get(&url.url, http, most, deadline))
        .await
        .map_err(|failure| step_error(&failure))?;
    let (zip, sha256) = read(zip).await?;
    store.keep(zip, &sha256).await
}

async fn get(url: &Url, http: &Http, most: u64, deadline: Instant) -> Result<Bytes, Trouble> {
    let mut answer = http.get(url, Origin::Index, "*/*", deadline).await?;
    let too_large = || words::export_too_large(url, most);
    if answer.content_length().is_some_and(|length| length > most) {
        return Err(too_large().into());
    }
    let mut zip = Vec::new();
    while let Some(chunk) = answer.body.next().await? {
        if (zip.len() + chunk.len()) as u64 > most {
            return Err(too_large().into());
        }
        zip.extend_from_slice(&chunk);
    }
    Ok(zip.into())
}

/// An export that decisions can consult, and its digest. It takes a second of processor time, so a thread of its own.
async fn read(zip: Bytes) -> Result<(Bytes, Sha256), StepError> {
    let reading = tokio::task::spawn_blocking(move || {
        let sha256 = Sha256::of(&zip);
        gate_advisories::read_zip(Cursor::new(&zip), sha256).map(|_| (zip, sha256))
    });
    match reading.await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(unusable(&escape_to(&format!("{error:#}"), FAULT_CHARS))),
        Err(_) => Err(unusable("reading it stopped")),
    }
}

fn unusable(why: &str) -> StepError {
    StepError::new(
        ErrorName::AdvisoriesUnavailable,
        format!("the advisories from ADVISORIES_URL cannot be used: {why}; those in use stay"),
    )
}

fn step_error(failure: &Failure) -> StepError {
    let name = match failure.code {
        FailureCode::TooSlow => ErrorName::Transient,
        _ => failure.fault().unwrap_or(ErrorName::Configuration),
    };
    let why = escape_to(&failure.message, FAULT_CHARS);
    StepError::new(name, format!("the advisories could not be fetched: {why}; those in use stay"))
}
