//! The fetcher against hosts that misbehave. Every server is on loopback, which `[network] allow` lists: there is no other door.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, like tests"
)]

mod advisories;
mod answers;
mod ceiling;
mod index;
mod limits;
mod network;
mod operator;
mod redirects;
mod rows;
mod step;
mod tls;
mod world;
