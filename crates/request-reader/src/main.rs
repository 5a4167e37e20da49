//! The Lambda functions around a request: starter, first and last step of the intake machine, and reconciler.
//!
//! One program, two functions: the reconciler has the same settings and another role.

use gate_aws::function::{self, Settings, SystemClock, Unit};
use gate_aws::{Aws, ConfigBucket, S3Records, SecretsManager, StateMachine};
use gate_core::digest::Sha256;
use gate_core::policy::Policy;
use gate_core::report::ScannerVersion;
use gate_core::route::Route;
use gate_core::run::Inputs;
use gate_core::step::{ErrorName, StepError};
use gate_request_reader::{
    Address, Config, GitHub, Limits, MailDomains, Patience, Ports, ReadAnswer, Reconciled, ReportAnswer, RequestPath,
    Rules, StartAnswer, Task, read, reconcile, report, start,
};
use serde::Serialize;
use serde_json::Value;

/// Where the request is, unless the operator says otherwise.
const REQUEST_PATH: &str = "external-package-request.csv";

struct Environment {
    config_bucket: String,
    secret: String,
    address: Address,
    machine: String,
    scanners: Vec<ScannerVersion>,
    fetch_settings: Sha256,
    config: Config,
}

struct Function {
    records: S3Records,
    executions: StateMachine,
    github: GitHub<SecretsManager>,
    secrets: SecretsManager,
    secret: String,
    rules: ConfigBucket,
    scanners: Vec<ScannerVersion>,
    /// Of what the fetcher goes by: rows that ended in a fetch are decided again when it changes.
    fetch_settings: Sha256,
    config: Config,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Output {
    Start(StartAnswer),
    Read(ReadAnswer),
    Report(ReportAnswer),
    Reconcile(Reconciled),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::init();
    let Environment { config_bucket, secret, address, machine, scanners, fetch_settings, config } =
        match environment(Settings::from_env()) {
            Ok(environment) => environment,
            Err(error) => return function::refuse(error).await,
        };
    let aws = Aws::load().await;
    let secrets = aws.secrets();
    let github = match GitHub::new(address, secrets.clone(), secret.clone(), Limits::default()) {
        Ok(github) => github,
        Err(error) => return function::refuse(error).await,
    };
    let function = Function {
        records: aws.records(&config.bucket),
        executions: aws.executions(&machine),
        github,
        secrets,
        secret,
        rules: aws.config(&config_bucket),
        scanners,
        fetch_settings,
        config,
    };
    let function = &function;
    // Boxed, here and below: as one type, all that a step may wait for is too deep for the compiler.
    function::serve(|input: Value| Box::pin(function.answer(input))).await
}

impl Function {
    async fn answer(&self, input: Value) -> Result<Output, StepError> {
        let Self { records, executions, github, config, .. } = self;
        let ports = Ports { records, executions, github, clock: &SystemClock, config };
        match Task::parse(input)? {
            Task::Start(created) => Box::pin(start(&created, records, executions, config)).await.map(Output::Start),
            Task::Read(intake) => {
                let (policy, inputs) = Box::pin(self.in_force()).await?;
                let rules = Rules { policy: &policy, inputs: &inputs };
                Box::pin(read(&intake, &ports, rules)).await.map(Output::Read)
            }
            Task::Report(run) => Box::pin(report(&run, &ports)).await.map(Output::Report),
            Task::Reconcile => {
                if self.secrets.is_placeholder(&self.secret).await {
                    tracing::warn!(secret = self.secret, "the access token is still to be put into Secrets Manager");
                    return Ok(Output::Reconcile(Reconciled::default()));
                }
                let (policy, inputs) = Box::pin(self.in_force()).await?;
                let rules = Rules { policy: &policy, inputs: &inputs };
                let done = Box::pin(reconcile(&ports, rules)).await;
                let gap = if done.lost > 0 { 1.0 } else { 0.0 };
                function::metric("ReconcilerGap", gap, Unit::Count, None);
                done.complete()?;
                Ok(Output::Reconcile(done))
            }
        }
    }

    /// The policy, and all that verdicts depend on now.
    async fn in_force(&self) -> Result<(Policy, Inputs), StepError> {
        let (policy, inputs) = self.rules.in_force(&self.scanners).await?;
        Ok((policy, inputs.with_fetch(self.fetch_settings)))
    }
}

fn environment(mut settings: Settings) -> Result<Environment, StepError> {
    let bucket = settings.text("DATA_BUCKET");
    let config_bucket = settings.text("CONFIG_BUCKET");
    let secret = settings.text("ACCESS_TOKEN_SECRET");
    let machine = settings.text("INTAKE_MACHINE");
    let address = settings.text("GITHUB_API");
    let address = Address::parse(&address).inspect_err(|bad| {
        if !address.is_empty() {
            settings.fault("GITHUB_API", &bad.to_string());
        }
    });
    let routes = settings.text("ROUTES");
    let routes = Route::parse_list(&routes).unwrap_or_else(|bad| {
        if !routes.is_empty() {
            settings.fault("ROUTES", &bad.to_string());
        }
        Vec::new()
    });
    let path = settings.optional("REQUEST_PATH").unwrap_or_else(|| REQUEST_PATH.to_owned());
    let path = RequestPath::parse(&path).inspect_err(|bad| settings.fault("REQUEST_PATH", &bad.to_string()));
    let mail_domains = MailDomains::new(settings.list("ALLOWED_MAIL_DOMAINS"));
    let console_url = settings.optional("CONSOLE_URL");
    let external = gate_aws::external_scanners(&mut settings);
    // The fetcher has the same two.
    let (index_url, max_bytes) = (settings.text("INDEX_URL"), settings.number("MAX_ARTIFACT_BYTES"));
    settings.finish()?;
    let configuration = |bad: &dyn std::fmt::Display| StepError::new(ErrorName::Configuration, bad.to_string());
    Ok(Environment {
        config_bucket,
        secret,
        address: address.map_err(|bad| configuration(&bad))?,
        machine,
        scanners: std::iter::once(gate_scanner::version()).chain(external).collect(),
        fetch_settings: Inputs::fetch_settings(&index_url, max_bytes),
        config: Config {
            bucket,
            routes,
            path: path.map_err(|bad| configuration(&bad))?,
            mail_domains,
            console_url,
            patience: Patience::default(),
        },
    })
}
