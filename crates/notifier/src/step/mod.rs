//! The tasks of the function: to write down how a row ended ([`Notifier::notify`]), to do so for a row whose execution failed
//! ([`Notifier::failed`]), and to tell everybody when a run is over ([`Notifier::summarise`]).
//!
//! A notice is a ledger record, once a row and outcome; a mail is a digest of notices, once a run and requester. A verdict
//! stands while the row cannot be decided again: its requesters hear of a change, not of an outage. Besides the documents of
//! [`gate_core::run`] these tasks write, once each:
//!
//! | key | holds |
//! |---|---|
//! | `runs/RUN/mails/KEY.json` | what a mail told to whom, written after the mail was sent |
//! | `runs/RUN/report.html` | the page of the run |
//! | `runs/RUN/report-000012-DIGEST.html` | the page of one row that ended after its run |

mod ending;
mod failed;
mod mailing;
mod notify;
mod paper;
mod summarise;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use gate_core::advisory::AdvisoryDb;
use gate_core::digest::Sha256;
use gate_core::outcome::Verdict;
use gate_core::policy::Policy;
use gate_core::report::ScannerVersion;
use gate_core::run::{Inputs, RowState, RunId};
use gate_core::step::StepError;
use serde::{Deserialize, Serialize};

use crate::view::Install;

pub use failed::{Execution, ExecutionEvent};
pub use mailing::Told;

/// How many rows are worked on at the same time.
pub const ROWS_AT_ONCE: usize = 32;

/// The input of the function.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// From a state machine.
    Task(Task),
    /// From EventBridge.
    Event(Box<ExecutionEvent>),
}

/// What a state machine asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "lowercase", deny_unknown_fields)]
pub enum Task {
    /// The row machine: a row has ended.
    Notify {
        /// The row.
        state: RowState,
    },
    /// The intake machine: every row has ended, or nothing more will come of it.
    Summarise {
        /// The run.
        run: RunId,
    },
}

/// The policy and the advisories. They are read when a page or a mail needs them: a notice in the ledger does not wait for them.
pub trait InForce: Send + Sync {
    /// What is read.
    type Rules: Rules;
    /// Reads them.
    fn rules(&self) -> impl Future<Output = Result<Self::Rules, StepError>> + Send;
    /// Says what verdicts depend on, without reading the advisories.
    fn inputs(&self) -> impl Future<Output = Result<Inputs, StepError>> + Send;
}

/// See [`InForce`].
pub trait Rules: Send + Sync {
    /// The policy.
    fn policy(&self) -> &Policy;
    /// The advisories, if there are any.
    fn advisories(&self) -> Option<&AdvisoryDb>;
}

/// What the operator has set.
#[derive(Clone, Debug)]
pub struct Config {
    /// What `RUN/report.html` is appended to for a link that does not expire: the console's address of `runs/` in the data
    /// bucket. Without one, mails name the object.
    pub console_url: Option<String>,
    /// The data bucket's name.
    pub bucket: String,
    /// How users get what is approved.
    pub install: Install,
    /// The built-in scanner, by whose rules rows are decided.
    pub built_in: ScannerVersion,
    /// The external scanners that must report as well.
    pub external: Vec<ScannerVersion>,
    /// See [`Inputs::fetch_settings`]: a row that did not come to its end may depend on it.
    pub fetch_settings: Sha256,
    /// What is too much for one run.
    pub limits: Limits,
}

impl Config {
    /// Where a person finds a page of a run.
    fn page_at(&self, run: &RunId, page: &str) -> String {
        match &self.console_url {
            Some(console_url) => format!("{console_url}{run}/{page}"),
            None => format!("s3://{}/runs/{run}/{page}", self.bucket),
        }
    }
}

/// What is too much for one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Findings that are held in memory and shown: 100,000 are about 100 MB. Rows beyond are shown without theirs.
    pub findings: usize,
    /// Files of packages whose coverage is held in memory and shown: 250,000 are about 50 MB. Rows beyond are shown with the
    /// counts alone.
    pub covered_files: u64,
    /// Rows whose content reports are read.
    pub rows_with_reports: usize,
    /// Addresses that are looked after: a topic has at most 200 filter policies (Amazon SNS endpoints and quotas).
    pub addresses: usize,
    /// Mails for others to the default address; the rest of them is one mail. SNS disables a mail subscription above 10 mails
    /// a second (Amazon SNS endpoints and quotas), and there are two more.
    pub forwarded: usize,
    /// How long the end of a run waits for the failure events of its rows, which say why: EventBridge delivers them within
    /// seconds, and the run may end before them.
    pub failure_events: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            findings: 100_000,
            covered_files: 250_000,
            rows_with_reports: 1_000,
            addresses: 200,
            forwarded: 6,
            failure_events: Duration::from_secs(20),
        }
    }
}

/// The answer of [`Notifier::summarise`]; `verdicts` and `undelivered` are for metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summarised {
    /// The run.
    pub run: RunId,
    /// How many mails were sent for it, by this call and by earlier ones.
    pub mails: usize,
    /// How many rows ended in each verdict.
    #[serde(skip)]
    pub verdicts: BTreeMap<Verdict, usize>,
    /// How many requesters this call has not reached, and nobody for them: the default address gets their mails, and nothing
    /// reaches it either; or the mail was refused for good.
    #[serde(skip)]
    pub undelivered: usize,
}

/// The answer of [`Notifier::notify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    /// The row, told.
    pub state: RowState,
    /// As in [`Summarised`], when the run was over already.
    pub undelivered: usize,
}

/// The answer of [`Notifier::failed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedRow {
    /// The key of the row's document.
    pub row: String,
    /// As in [`Notified`].
    #[serde(skip)]
    pub undelivered: usize,
}

/// The step, over its ports.
#[derive(Debug)]
pub struct Notifier<'a, R, O, S, C, F> {
    /// The documents of runs.
    pub records: &'a R,
    /// Where mails go.
    pub outbox: &'a O,
    /// Who gets them.
    pub subscriptions: &'a S,
    /// The time.
    pub clock: &'a C,
    /// The policy and the advisories.
    pub in_force: &'a F,
    /// What the operator has set.
    pub config: &'a Config,
}
