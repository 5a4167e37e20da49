//! From a push to rows: the function behind `inbox/`, the first and the last step of the intake machine, and the reconciler.
//!
//! - [`start`]: a stored delivery becomes a named execution of the intake machine.
//! - [`read`]: the request at that commit becomes a manifest of rows that are new, changed, or to be decided again.
//! - [`report`]: the commit gets a status with the counts.
//! - [`reconcile`]: what was lost or not finished is started again, and so are rows whose verdict may be another by now.
//!
//! All steps are idempotent: what they store is stored once, and what they start is named by what it does.

mod config;
mod delivery;
mod github;
mod intake;
mod mail;
mod read;
mod reconcile;
mod report;
mod request;
mod select;
mod start;
mod task;
mod words;

pub use config::{BadPath, Config, Patience, RequestPath};
pub use github::{Address, BadAddress, Blame, DESCRIPTION_CHARS, File, GitHub, Limits, Repository, State, Status};
pub use mail::MailDomains;
pub use read::{Manifest, ReadAnswer, read};
pub use reconcile::{AGAIN_ATTEMPTS, Again, RESTART_FOR, Reconciled, START_WITHIN, reconcile};
pub use report::{COMMITS, CONTEXT, ReportAnswer, report};
pub use start::{StartAnswer, start};
pub use task::{Created, Task};
pub use words::CODES;

use gate_core::policy::Policy;
use gate_core::run::Inputs;

/// How many rows are looked up or written at once.
pub const ROWS_AT_ONCE: usize = 32;

/// What the steps work with, whatever the row.
#[derive(Debug)]
pub struct Ports<'a, R, E, S, C> {
    /// The data bucket.
    pub records: &'a R,
    /// The intake machine.
    pub executions: &'a E,
    /// GitHub.
    pub github: &'a GitHub<S>,
    /// The time.
    pub clock: &'a C,
    /// What the operator has set.
    pub config: &'a Config,
}

/// By what rows are judged.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// All that a verdict depends on, the policy's digest included.
    pub inputs: &'a Inputs,
}
