//! The Lambda functions that reach the outside: a row (`RowState` in and out), and on a schedule the advisories.
//!
//! One program, two functions: the one with `ADVISORIES_URL` refreshes, the one with `INDEX_URL` fetches.

use std::sync::Arc;

use bytes::Bytes;
use gate_aws::function::{self, Settings, SystemClock};
use gate_aws::{Aws, ConfigBucket, S3Quarantine, S3Records};
use gate_core::digest::Sha256;
use gate_core::policy::Policy;
use gate_core::ports::Clock as _;
use gate_core::run::{Inputs, RowState};
use gate_core::step::{ErrorName, StepError};
use gate_fetcher::advisories::{AdvisoryStore, EXPORT_BYTES, ExportUrl, Refreshed, refresh};
use gate_fetcher::input::{Input, Output};
use gate_fetcher::step::{Ports, TIME, fetch, index_url};
use gate_fetcher::{Ceiling, Http, HttpDownloader, HttpLimits, IndexUrl, SimpleIndex};

/// What the function does.
enum Work {
    Rows { index: IndexUrl, max_bytes: u64, settings: Sha256 },
    Advisories(ExportUrl),
}

struct Function {
    work: Work,
    config: ConfigBucket,
    quarantine: Arc<S3Quarantine>,
    records: S3Records,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::init();
    let (data, config, work) = match configuration(Settings::from_env()) {
        Ok(configuration) => configuration,
        Err(error) => return function::refuse(error).await,
    };
    let aws = Aws::load().await;
    let function = Function {
        work,
        config: aws.config(&config),
        quarantine: Arc::new(aws.quarantine(&data)),
        records: aws.records(&data),
    };
    let function = &function;
    function::serve(|input: Input| async move {
        let policy = &function.config.policy().await?;
        match (input, &function.work) {
            (Input::Row(state), Work::Rows { index, max_bytes, settings }) => {
                function.fetch(state, policy, index, *max_bytes, *settings).await.map(Output::Row)
            }
            (Input::Scheduled(_), Work::Advisories(url)) => function.refresh(policy, url).await.map(Output::Advisories),
            _ => Err(StepError::new(ErrorName::BadInput, "this function has no settings for this input")),
        }
    })
    .await
}

fn configuration(mut settings: Settings) -> Result<(String, String, Work), StepError> {
    let (data, config) = (settings.text("DATA_BUCKET"), settings.text("CONFIG_BUCKET"));
    let advisories = settings.optional("ADVISORIES_URL");
    if let Some(url) = advisories {
        settings.finish()?;
        return Ok((data, config, Work::Advisories(ExportUrl::parse(&url)?)));
    }
    let (index, max_bytes) = (settings.text("INDEX_URL"), settings.number("MAX_ARTIFACT_BYTES"));
    settings.finish()?;
    let work = Work::Rows { index: index_url(&index)?, max_bytes, settings: Inputs::fetch_settings(&index, max_bytes) };
    Ok((data, config, work))
}

impl Function {
    async fn fetch(
        &self,
        state: RowState,
        policy: &Policy,
        index: &IndexUrl,
        max_bytes: u64,
        settings: Sha256,
    ) -> Result<RowState, StepError> {
        let http = client(policy, index.clone())?;
        let ceiling = Arc::new(Ceiling::new(max_bytes));
        let downloader = HttpDownloader::new(Arc::clone(&http), Arc::clone(&self.quarantine), &policy.limits);
        let ports = Ports {
            records: &self.records,
            index: &SimpleIndex::new(http),
            downloader: &downloader.below(Arc::clone(&ceiling)),
            quarantine: &*self.quarantine,
            clock: &SystemClock,
            policy,
            ceiling: &ceiling,
            time: TIME,
            settings,
        };
        fetch(state, &ports).await
    }

    async fn refresh(&self, policy: &Policy, url: &ExportUrl) -> Result<Refreshed, StepError> {
        refresh(url, &*client(policy, url.origin())?, &Store(&self.config), EXPORT_BYTES).await
    }
}

/// A new client for every call: no connection and no address that was judged for one row is used for another, and the policy
/// may have changed.
fn client(policy: &Policy, index: IndexUrl) -> Result<Arc<Http>, StepError> {
    let mut limits = HttpLimits::of_policy(&policy.limits);
    limits.total = limits.total.min(TIME);
    let client = Http::system(&policy.network, Some(index), limits);
    client.map(Arc::new).map_err(|failure| StepError::new(ErrorName::Configuration, failure.message))
}

struct Store<'a>(&'a ConfigBucket);

impl AdvisoryStore for Store<'_> {
    async fn keep(&self, zip: Bytes, sha256: &Sha256) -> Result<Refreshed, StepError> {
        let kept = self.0.keep_advisories(zip, sha256, SystemClock.now()).await?;
        Ok(Refreshed { sha256: kept.sha256, changed: kept.changed })
    }
}
