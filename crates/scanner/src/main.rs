//! The Lambda function that scans: `{"row", "artifact"}` in, `{"artifact"}` out. Its children are the same program.

use std::process::ExitCode;

use gate_aws::Aws;
use gate_aws::function::{self, Settings};
use gate_core::step::{ErrorName, StepError};
use gate_scanner::step::{Ports, TIME, Task, scan_artifact};
use gate_scanner::worker::{Worker, WorkerLimits, child_main, confinement, hide_this_process};

/// The argument under which this program is a child.
const SCAN_WORKER: &str = "scan-worker";

/// On Linux the running program itself, even if its file has been replaced since.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// A child inherits nothing of the function, and must not do anything before its limits are set.
fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().is_some_and(|first| first == SCAN_WORKER) {
        return child_main(args);
    }
    function::init();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function ended");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), lambda_runtime::Error> {
    let configuration = match configuration(Settings::from_env()) {
        Ok(configuration) => configuration,
        Err(error) => return function::refuse(error).await,
    };
    if let Err(error) = hide_this_process() {
        let message = format!("the function's process cannot be hidden from its children: {error}");
        return function::refuse(StepError::new(ErrorName::Configuration, message)).await;
    }
    let Configuration { data, max_bytes, limits } = configuration;
    tracing::info!(landlock = confinement(), memory = limits.memory, stack = limits.stack, "children");
    let aws = Aws::load().await;
    let (quarantine, records) = (aws.quarantine(&data), aws.records(&data));
    let worker = Worker::new(THIS_PROGRAM, [SCAN_WORKER], limits);
    let ports = Ports { quarantine: &quarantine, records: &records, worker: &worker, max_bytes, time: TIME };
    let ports = &ports;
    function::serve(|task: Task| Box::pin(async move { scan_artifact(&task, ports).await })).await
}

struct Configuration {
    data: String,
    max_bytes: u64,
    limits: WorkerLimits,
}

fn configuration(mut settings: Settings) -> Result<Configuration, StepError> {
    let data = settings.text("DATA_BUCKET");
    let max_bytes = settings.number("MAX_ARTIFACT_BYTES");
    // Set by Lambda: all the memory that there is, in MiB.
    let memory: u64 = settings.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
    settings.finish()?;
    Ok(Configuration { data, max_bytes, limits: WorkerLimits::default().within(memory.saturating_mul(1 << 20)) })
}
