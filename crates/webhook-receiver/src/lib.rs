//! GitHub push to verified delivery.
//!
//! Anybody on the internet may call this. So a body is capped, its signature is checked over the raw bytes, and only then is
//! it read; what comes out is one small document for a push to a branch that is watched, stored once, and nothing else. What
//! the push changed is not taken from it: GitHub cuts those lists, and request-reader compares the file itself.

mod answer;
pub mod api;
mod push;
mod receiver;
mod secret;
mod signature;

pub use answer::Answer;
pub use receiver::{ANSWER_WITHIN, MAX_BODY_BYTES, Receiver, Request};
pub use secret::{FRESH_EVERY, MIN_SECRET_BYTES};
