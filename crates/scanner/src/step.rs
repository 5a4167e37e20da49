//! The Scanner function: one artifact of quarantine in, what the built-in scanner says of it among the records.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::time::{Duration, Instant};

use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ledger;
use gate_core::ports::{ArtifactReader as _, Quarantine, Records};
use gate_core::report::ContentReport;
use gate_core::step::{ErrorName, StepError};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::worker::Worker;

/// How long an artifact may take from the call on, both of its scans together: less than the 900 seconds that a Lambda function
/// has at most, so that an artifact that takes too long gets a report which says so.
pub const TIME: Duration = Duration::from_secs(780);

/// What the row machine asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The key of the row's document. A report does not depend on it: it says in the execution's history for whom this is.
    pub row: String,
    /// What to scan.
    pub artifact: Sha256,
}

/// The answer: there is nothing left to scan of this artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// As in the [`Task`].
    pub artifact: Sha256,
}

/// Where the step works.
#[derive(Debug)]
pub struct Ports<'a, Q, R> {
    /// The artifacts.
    pub quarantine: &'a Q,
    /// The reports.
    pub records: &'a R,
    /// What runs a scan.
    pub worker: &'a Worker,
    /// The largest artifact that is taken, in bytes.
    pub max_bytes: u64,
    /// How long an artifact may take, see [`TIME`].
    pub time: Duration,
}

/// Makes sure that the built-in scanner has said what it can of an artifact: a stored report stands; otherwise the bytes go into
/// a file without a name, hashed on the way, and a child scans that file. The file ends with this call, however it ends.
///
/// As in `gate_scan_poller::examine`, a report that lost a file because an analyzer died
/// is believed only when a second scan does no better, as far as there is time for one. That an artifact is no archive is kept as
/// [`ledger::unscannable`].
///
/// # Errors
/// Nothing is stored then. [`ErrorName::BadInput`] for an artifact above the limit, which the fetcher never lets in;
/// [`ErrorName::Corrupt`] for one that is not in quarantine; [`ErrorName::Transient`] when its bytes are damaged, which takes
/// them out of quarantine, or when a store or the temporary space fails; [`ErrorName::ScannerUnavailable`] when no child can work.
pub async fn scan_artifact<Q: Quarantine, R: Records>(task: &Task, ports: &Ports<'_, Q, R>) -> Result<Done, StepError> {
    let begun = Instant::now();
    let (artifact, version) = (task.artifact, crate::version());
    let done = Done { artifact };
    if ledger::report(ports.records, &artifact, &version).await?.is_some()
        || ledger::unscannable(ports.records, &artifact, &version).await?.is_some()
    {
        return Ok(done);
    }
    let file = ports.download(&artifact).await?;
    let mut report = match ports.scan(&file, &artifact, begun).await {
        Ok(report) => report,
        Err(failure) if ledger::keep_unscannable(ports.records, &artifact, &version, &failure).await? => {
            return Ok(done);
        }
        Err(failure) if failure.code == FailureCode::DigestMismatch => return Err(ports.damaged(&artifact).await?),
        Err(failure) => return Err(failure.into()),
    };
    if report.lost_an_analyzer() && begun.elapsed() < ports.time {
        let again = ports.scan(&file, &artifact, begun).await?;
        if again.is_more_complete_than(&report) {
            report = again;
        }
    }
    ledger::keep_report(ports.records, &report).await?;
    Ok(done)
}

impl<Q: Quarantine, R: Records> Ports<'_, Q, R> {
    /// The artifact in a file without a name, which no crash can leave behind.
    async fn download(&self, artifact: &Sha256) -> Result<File, StepError> {
        let size = self.quarantine.size(artifact).await?.ok_or_else(|| {
            let message = format!("{artifact} is not in quarantine any more; the row must be fetched again");
            StepError::new(ErrorName::Corrupt, message)
        })?;
        if size > self.max_bytes {
            let message = format!("{artifact} has {size} bytes, and at most {} are taken here", self.max_bytes);
            return Err(StepError::new(ErrorName::BadInput, message));
        }
        let mut file = tempfile::tempfile().map_err(|error| no_space(&error))?;
        let mut bytes = self.quarantine.open(artifact).await?;
        let (mut hasher, mut received) = (sha2::Sha256::new(), 0_u64);
        while let Some(chunk) = bytes.next().await? {
            received = received.saturating_add(chunk.len() as u64);
            if received > size {
                return Err(self.damaged(artifact).await?);
            }
            hasher.update(&chunk);
            file.write_all(&chunk).map_err(|error| no_space(&error))?;
        }
        if Sha256::finish(hasher) != *artifact {
            return Err(self.damaged(artifact).await?);
        }
        file.rewind().map_err(|error| no_space(&error))?;
        Ok(file)
    }

    /// One scan, in what is left of the time.
    async fn scan(&self, file: &File, artifact: &Sha256, begun: Instant) -> Result<ContentReport, Failure> {
        let unavailable = |why: String| Failure::new(FailureCode::ScannerUnavailable, why);
        let (file, digest) = (file.try_clone().map_err(|error| unavailable(error.to_string()))?, *artifact);
        let worker = self.worker.clone().for_at_most(self.time.saturating_sub(begun.elapsed()));
        let scanned = tokio::task::spawn_blocking(move || worker.scan(&file, &digest)).await;
        scanned.unwrap_or_else(|_| Err(unavailable("the scanner's supervisor panicked".to_owned())))
    }

    /// Takes damaged bytes out of the way.
    async fn damaged(&self, artifact: &Sha256) -> Result<StepError, Failure> {
        let message = if self.quarantine.discard_damaged(artifact).await? {
            format!(
                "the stored bytes of {artifact} were damaged and have been set aside; the row must be fetched again"
            )
        } else {
            format!("the stored bytes of {artifact} did not arrive whole; try again")
        };
        Ok(StepError::new(ErrorName::Transient, message))
    }
}

fn no_space(error: &io::Error) -> StepError {
    StepError::new(ErrorName::Transient, format!("the function's temporary space could not be used: {error}"))
}
