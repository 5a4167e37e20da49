//! The Lambda function of Publish: `RowState` in, `RowState` out.

use gate_aws::Aws;
use gate_aws::function::{self, Settings, SystemClock};
use gate_core::run::RowState;
use gate_publisher::{Ports, publish_row};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::init();
    let mut settings = Settings::from_env();
    let data = settings.text("DATA_BUCKET");
    let config = settings.text("CONFIG_BUCKET");
    let domain = settings.text("CODEARTIFACT_DOMAIN");
    let owner = settings.text("CODEARTIFACT_OWNER");
    let repository = settings.text("CODEARTIFACT_REPOSITORY");
    let external = gate_aws::external_scanners(&mut settings);
    if let Err(error) = settings.finish() {
        return function::refuse(error).await;
    }

    let aws = Aws::load().await;
    let (records, quarantine, config) = (aws.records(&data), aws.quarantine(&data), aws.config(&config));
    let repository = aws.code_artifact(&domain, &owner, &repository);
    let scanners: Vec<_> = std::iter::once(gate_scanner::version()).chain(external).collect();
    function::serve(async |state: RowState| {
        let rules = config.rules().await?;
        let ports = Ports {
            quarantine: &quarantine,
            records: &records,
            repository: &repository,
            clock: &SystemClock,
            scanners: &scanners,
            advisories: rules.advisories.as_ref(),
            policy: &rules.policy,
        };
        publish_row(state, &ports).await
    })
    .await
}
