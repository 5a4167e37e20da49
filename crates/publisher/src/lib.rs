//! Publishing: the step that proves for itself that a set is approved, and the repositories that it publishes to.

pub mod directory;
pub mod media;
mod row;
#[cfg(test)]
mod row_tests;
pub mod simple;
mod step;
#[cfg(test)]
mod tests;

pub use row::publish_row;
pub use step::{Outcome, Ports, ToPublish, publish};
