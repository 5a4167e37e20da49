//! Notify, the failure notice and the end of a run, over ports in memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod again;
mod events;
mod failed;
mod faults;
mod limits;
mod mails;
mod notify;
mod summarise;
mod world;
