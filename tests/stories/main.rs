//! Stories: a request goes in, and verdicts, files, mails and an installable index come out of the real program.
//!
//! Each story has its own world: an output folder, and a Python index over TLS on loopback, which the policy's
//! `[network] allow` lists. That is the only door that tests have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on ends there")]

mod archives;
mod asking;
mod coherence;
mod external;
mod publishing;
mod requests;
mod urls;
mod world;
