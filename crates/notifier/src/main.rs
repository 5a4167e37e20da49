//! The Lambda function of Notify and of the end of a run: `{"task": "notify", "state": RowState}` in, `RowState` out;
//! `{"task": "summarise", "run": RunId}` in, `{"run", "mails"}` out; EventBridge's event about a row's execution that failed in,
//! `{"row"}` out.

use std::sync::Arc;

use gate_aws::function::{self, Settings, SystemClock, Unit, metric};
use gate_aws::{Aws, ConfigBucket};
use gate_core::advisory::AdvisoryDb;
use gate_core::policy::Policy;
use gate_core::report::ScannerVersion;
use gate_core::run::{Inputs, RowState};
use gate_core::step::StepError;
use gate_notifier::step::{Config, FailedRow, InForce, Input, Limits, Notifier, Rules, Summarised, Task};
use gate_notifier::{AssetRepository, Install};
use serde::Serialize;

struct Configured {
    bucket: ConfigBucket,
    scanners: Vec<ScannerVersion>,
}

struct Current(Arc<gate_aws::Rules>);

impl InForce for Configured {
    type Rules = Current;

    async fn rules(&self) -> Result<Current, StepError> {
        self.bucket.rules().await.map(Current)
    }

    async fn inputs(&self) -> Result<Inputs, StepError> {
        self.bucket.in_force(&self.scanners).await.map(|(_, inputs)| inputs)
    }
}

impl Rules for Current {
    fn policy(&self) -> &Policy {
        &self.0.policy
    }

    fn advisories(&self) -> Option<&AdvisoryDb> {
        self.0.advisories.as_ref()
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Notified(RowState),
    Summarised(Summarised),
    Failed(FailedRow),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::init();
    let mut settings = Settings::from_env();
    let bucket = settings.text("DATA_BUCKET");
    let config_bucket = settings.text("CONFIG_BUCKET");
    let topic = settings.text("VERDICT_TOPIC");
    let config = Config {
        console_url: settings.optional("CONSOLE_URL"),
        bucket,
        install: match settings.optional("INSTALL_INDEX_URL") {
            Some(index_url) => Install::Index(index_url),
            None => Install::Assets(AssetRepository {
                domain: settings.text("CODEARTIFACT_DOMAIN"),
                owner: settings.text("CODEARTIFACT_OWNER"),
                repository: settings.text("CODEARTIFACT_REPOSITORY"),
            }),
        },
        built_in: gate_scanner::version(),
        external: gate_aws::external_scanners(&mut settings),
        fetch_settings: {
            // The fetcher has the same two.
            let (index_url, max_bytes) = (settings.text("INDEX_URL"), settings.number("MAX_ARTIFACT_BYTES"));
            Inputs::fetch_settings(&index_url, max_bytes)
        },
        limits: Limits::default(),
    };
    if let Err(error) = settings.finish() {
        return function::refuse(error).await;
    }

    let aws = Aws::load().await;
    let (records, topic) = (aws.records(&config.bucket), aws.topic(&topic));
    let scanners = std::iter::once(&config.built_in).chain(&config.external).cloned().collect();
    let in_force = Configured { bucket: aws.config(&config_bucket), scanners };
    let notifier = Notifier {
        records: &records,
        outbox: &topic,
        subscriptions: &topic,
        clock: &SystemClock,
        in_force: &in_force,
        config: &config,
    };
    function::serve(async |input: Input| match input {
        Input::Task(Task::Notify { state }) => {
            let notified = notifier.notify(state).await?;
            undelivered(notified.undelivered);
            Ok(Answer::Notified(notified.state))
        }
        Input::Task(Task::Summarise { run }) => {
            let summarised = notifier.summarise(&run).await?;
            for (verdict, rows) in &summarised.verdicts {
                metric("Rows", count(*rows), Unit::Count, Some(("verdict", verdict.as_str())));
            }
            undelivered(summarised.undelivered);
            Ok(Answer::Summarised(summarised))
        }
        Input::Event(event) => {
            let failed = notifier.failed(&event).await?;
            undelivered(failed.undelivered);
            Ok(Answer::Failed(failed))
        }
    })
    .await
}

/// For the alarm on notices that reach nobody.
fn undelivered(requesters: usize) {
    metric("UndeliveredNotices", count(requesters), Unit::Count, None);
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
