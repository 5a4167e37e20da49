//! Publishing: the step that proves for itself that a set is approved, and the repositories that it publishes to.

pub mod directory;
pub mod media;
pub mod simple;
mod step;
#[cfg(test)]
mod tests;

pub use step::{FileToPublish, Outcome, Ports, ToPublish, publish};
