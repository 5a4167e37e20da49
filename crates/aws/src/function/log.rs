//! The log: one JSON object a line, on stdout.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The levels that `LOG_LEVEL` may have.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Begins to log, at the level in `LOG_LEVEL` (`info` when it is absent or unknown). To be called once, before anything else.
///
/// The level is that of the gate's own crates. What other crates log below a warning is left out at any level, because the SDK
/// writes whole answers at `trace`, and a secret is one of them. A panic is logged with its place and without its message, which
/// may quote what was being read.
pub fn init() {
    let level = std::env::var("LOG_LEVEL").unwrap_or_default();
    // A second call leaves the first log in place.
    let _ = tracing::subscriber::set_global_default(subscriber(&level, std::io::stdout));
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}

pub(super) fn subscriber<W>(level: &str, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter(level))
        .with_writer(writer)
        .finish()
}

fn filter(level: &str) -> EnvFilter {
    let level = level.to_ascii_lowercase();
    let level = LEVELS.into_iter().find(|known| *known == level).unwrap_or("info");
    // The runtime logs an error and a panic's message a second time. The SDK warns of an endpoint variable that is empty.
    let others = "warn,lambda_runtime=off,aws_config::default_provider::endpoint_url=error";
    EnvFilter::new(format!("{others},gate={level}"))
}
