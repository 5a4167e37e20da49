//! The request reader against a GitHub on loopback and ports in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, like tests"
)]

mod events;
mod github;
mod read;
mod reconcile;
mod report;
mod start;
mod world;
