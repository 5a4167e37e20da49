//! The Fetch step of the row machine: a row's pointer in, the pointer to what was fetched out.

use std::time::Duration;

use gate_core::SCHEMA_VERSION;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::message;
use gate_core::outcome::{Reason, Verdict};
use gate_core::policy::Policy;
use gate_core::ports::{Clock, Downloader, PackageIndex, Quarantine, Records};
use gate_core::run::{
    self, FetchedDocument, FetchedFile, Inputs, MAX_FILES, OutcomeDocument, RowDocument, RowState, Status,
};
use gate_core::source::Source;
use gate_core::step::{ErrorName, StepError};

use crate::download::Ceiling;
use crate::index_url::IndexUrl;
use crate::row::{Fetched, check_source_host, fetch_row};
use crate::words;

/// How long all files of a row may take: less than the 900 seconds that a Lambda function has at most, so that the row ends
/// with a reason and not with a time-out.
pub const TIME: Duration = Duration::from_secs(840);

/// Where the step works.
#[derive(Debug)]
pub struct Ports<'a, R, I, D, Q, C> {
    /// The documents of the run.
    pub records: &'a R,
    /// The index that a purl is looked up on.
    pub index: &'a I,
    /// Keeps what it fetches in `quarantine`, files up to `ceiling`.
    pub downloader: &'a D,
    /// The artifacts.
    pub quarantine: &'a Q,
    /// The time.
    pub clock: &'a C,
    /// The policy in force.
    pub policy: &'a Policy,
    /// The largest file that the functions take.
    pub ceiling: &'a Ceiling,
    /// How long all files may take, see [`TIME`].
    pub time: Duration,
    /// Of the index and the ceiling: [`Inputs::fetch_settings`].
    pub settings: Sha256,
}

/// Fetches the set of a row. Afterwards the row is `fetched`, or ended with an outcome: `invalid` when the policy does not let a
/// row name its host, `held` when a file or the set is more than the functions can take, `failed` for every other answer. It is
/// decided again when the policy or the settings of a fetch change.
///
/// A second call fetches nothing that is in quarantine, and gives the same state.
///
/// # Errors
/// [`ErrorName::BadInput`] when the row is not new; [`ErrorName::Corrupt`] when its document cannot be read; what
/// [`Failure::fault`] calls a fault of the system: one of a store, or of the configured index.
pub async fn fetch<R, I, D, Q, C>(state: RowState, ports: &Ports<'_, R, I, D, Q, C>) -> Result<RowState, StepError>
where
    R: Records,
    I: PackageIndex,
    D: Downloader,
    Q: Quarantine,
    C: Clock,
{
    if state.status != Status::New {
        let message = format!("Fetch takes rows that are 'new', and this one is '{}'", state.status.as_str());
        return Err(StepError::new(ErrorName::BadInput, message));
    }
    let Ports { records, index, downloader, quarantine, policy, .. } = ports;
    let row: RowDocument = run::read(*records, &state.row).await?;
    let wanted = row.wanted()?;
    if let Err(reason) = check_source_host(&wanted.source, policy) {
        return ports.end(state, &row, Verdict::Invalid, reason).await;
    }
    let fetches = fetch_row(&wanted.source, wanted.sha256.as_ref(), policy, *index, *downloader, *quarantine);
    let fetched =
        tokio::time::timeout(ports.time, fetches).await.unwrap_or_else(|_| Err(words::out_of_time(ports.time)));
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(failure) => return ports.fail(state, &row, failure).await,
    };
    if let Some(reason) = ports.over_function_limit(&fetched) {
        return ports.end(state, &row, Verdict::Held, reason).await;
    }
    let key = ports.keep(&row, &wanted.source, fetched).await?;
    Ok(RowState { status: Status::Fetched, fetched: Some(key), ..RowState::new(state.row) })
}

impl<R: Records, I, D, Q, C: Clock> Ports<'_, R, I, D, Q, C> {
    async fn keep(&self, row: &RowDocument, source: &Source, fetched: Fetched) -> Result<String, StepError> {
        let from_quarantine = fetched.artifacts.iter().all(|artifact| !artifact.downloaded);
        let files = fetched.artifacts.into_iter().map(|artifact| FetchedFile {
            filename: artifact.filename,
            sha256: artifact.digest,
            size: artifact.size,
            evidence: artifact.evidence,
        });
        let document = FetchedDocument { schema_version: SCHEMA_VERSION, files: files.collect(), notes: fetched.notes };
        // Bytes that lie there already say nothing of the URL beside them. What this very row has fetched from it before does.
        if from_quarantine
            && matches!(source, Source::Url(_))
            && let Some((key, before)) = run::fetched(self.records, &row.key).await?
            && bytes_of(&before).eq(bytes_of(&document))
        {
            return Ok(key);
        }
        run::keep_fetched(self.records, &row.key, &document).await
    }

    /// Why the set cannot go through the functions, if so.
    fn over_function_limit(&self, fetched: &Fetched) -> Option<Reason> {
        if fetched.artifacts.len() > MAX_FILES {
            return Some(message::set_over_function_limit(fetched.artifacts.len(), MAX_FILES));
        }
        // Files that were stored when the ceiling was higher.
        let file = fetched.artifacts.iter().find(|artifact| artifact.size > self.ceiling.bytes())?;
        Some(self.file_over_function_limit(&file.filename))
    }

    fn file_over_function_limit(&self, file: &str) -> Reason {
        message::file_over_function_limit(file, &words::size(self.ceiling.bytes()))
    }

    async fn fail(&self, state: RowState, row: &RowDocument, failure: Failure) -> Result<RowState, StepError> {
        if let Some(name) = failure.fault() {
            return Err(StepError::new(name, gate_core::text::escape(&failure.message)));
        }
        if failure.code == FailureCode::TooLarge
            && let Some(file) = self.ceiling.passed_by()
        {
            return self.end(state, row, Verdict::Held, self.file_over_function_limit(file)).await;
        }
        let again_at = run::retry_at(self.records, &row.key, failure.code, self.clock.now()).await?;
        let mut outcome = OutcomeDocument::of_reason(row, Verdict::Failed, Reason::of_failure(&failure), again_at);
        outcome.inputs = Some(Inputs::of_fetch(self.policy, self.settings));
        Ok(state.ended(run::keep_outcome(self.records, row, &outcome).await?))
    }

    async fn end(
        &self,
        state: RowState,
        row: &RowDocument,
        verdict: Verdict,
        reason: Reason,
    ) -> Result<RowState, StepError> {
        let mut outcome = OutcomeDocument::of_reason(row, verdict, reason, None);
        outcome.inputs = Some(Inputs::of_fetch(self.policy, self.settings));
        Ok(state.ended(run::keep_outcome(self.records, row, &outcome).await?))
    }
}

fn bytes_of(document: &FetchedDocument) -> impl Iterator<Item = (&str, &Sha256)> {
    document.files.iter().map(|file| (file.filename.as_str(), &file.sha256))
}

/// The index of a function, from its environment. There is no pip here whose index could be asked for, and no place for a
/// password: an environment variable is not one.
///
/// # Errors
/// [`ErrorName::Configuration`] when it is no index, or holds credentials. The text itself is not repeated.
pub fn index_url(text: &str) -> Result<IndexUrl, StepError> {
    let bad = |why: &str| {
        StepError::new(
            ErrorName::Configuration,
            format!("INDEX_URL cannot be used: {why}; give one like https://HOST/simple/"),
        )
    };
    let index = IndexUrl::parse(text).map_err(|why| bad(&why.to_string()))?;
    if index.has_credentials() {
        return Err(bad("it holds a user name or a password, and functions have none towards package hosts"));
    }
    Ok(index)
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
