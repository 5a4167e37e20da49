//! What every function shares: its settings, its loop, its log and its metrics.

mod log;
mod metric;
mod serve;
mod settings;
#[cfg(test)]
mod tests;

use gate_core::ports::Clock;
use jiff::Timestamp;

pub use log::init;
pub use metric::{NAMESPACE, Unit, metric};
pub use serve::{refuse, serve};
pub use settings::Settings;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
