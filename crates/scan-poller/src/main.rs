//! The Lambda function of Scan and Decide: `{"task": "start" | "poll" | "decide", "state": RowState}` in, `RowState` out.

// The futures of the SDK, nested in those of the steps, are deeper types than the compiler takes by default.
#![recursion_limit = "256"]

use gate_aws::Aws;
use gate_aws::function::{self, Settings, SystemClock};
use gate_core::run::RowState;
use gate_scan_poller::row::{Ports, decide, poll, start};
use jiff::SignedDuration;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    task: Task,
    state: RowState,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Task {
    Start,
    Poll,
    Decide,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::init();
    let mut settings = Settings::from_env();
    let data = settings.text("DATA_BUCKET");
    let config = settings.text("CONFIG_BUCKET");
    let patience = SignedDuration::from_secs(settings.number("SCAN_SECONDS"));
    let external = gate_aws::external_scanners(&mut settings);
    if let Err(error) = settings.finish() {
        return function::refuse(error).await;
    }

    if !external.is_empty() {
        tracing::warn!(
            "EXTERNAL_SCANNERS switches Amazon CodeGuru Security on, which ended on 2025-11-20: without a private endpoint that \
             speaks its API, every row fails as \"scanner unavailable\""
        );
    }

    let aws = Aws::load().await;
    let (records, quarantine, config) = (aws.records(&data), aws.quarantine(&data), aws.config(&config));
    let external: Vec<_> = external.iter().map(|_| aws.code_guru(quarantine.clone())).collect();
    let built_in = gate_scanner::version();
    let ports = Ports {
        quarantine: &quarantine,
        records: &records,
        built_in: &built_in,
        external: &external,
        clock: &SystemClock,
    };
    function::serve(async |Input { task, state }| match task {
        Task::Start => start(state, &ports).await,
        Task::Poll => poll(state, patience, &ports).await,
        Task::Decide => {
            let rules = config.rules().await?;
            decide(state, &rules.policy, rules.advisories.as_ref(), &ports).await
        }
    })
    .await
}
