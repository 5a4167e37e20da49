//! The state of the row machine: what each of its functions takes and gives back.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

/// The most files of one set: what one version of a package may have in CodeArtifact (its fixed quota of assets, less the
/// record that the gate adds). It also bounds the state: 149 digests are 10 KB.
pub const MAX_FILES: usize = 149;

/// Where a row is. Every function of the row machine takes one and gives one back; the machine looks at `status` alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowState {
    /// The key of the [`RowDocument`](super::RowDocument).
    pub row: String,
    /// What has been done.
    pub status: Status,
    /// The key of the [`FetchedDocument`](super::FetchedDocument).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<String>,
    /// Artifacts that the built-in scanner has no report on yet.
    #[serde(default)]
    pub unscanned: Vec<Sha256>,
    /// The key of the document on external scans under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scans: Option<String>,
    /// Seconds to wait before the next poll.
    #[serde(default)]
    pub wait_seconds: u32,
    /// The key of the [`OutcomeDocument`](super::OutcomeDocument).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// What has been done for a row. Step Functions goes by these words; whatever it does not know is never published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing yet: Fetch is next.
    New,
    /// The set is in quarantine: Scan is next.
    Fetched,
    /// An external scan is under way: wait, then poll.
    Scanning,
    /// Every report is there: Decide is next.
    Scanned,
    /// Approved and not published yet: Publish is next.
    Approved,
    /// There is an outcome: Notify is next.
    Ended,
    /// The notice is in the ledger: nothing is next.
    Told,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::New, Self::Fetched, Self::Scanning, Self::Scanned, Self::Approved, Self::Ended, Self::Told];

    /// The word that the state machine compares with.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Fetched => "fetched",
            Self::Scanning => "scanning",
            Self::Scanned => "scanned",
            Self::Approved => "approved",
            Self::Ended => "ended",
            Self::Told => "told",
        }
    }
}

impl RowState {
    /// A row that has to be fetched.
    #[must_use]
    pub fn new(row: impl Into<String>) -> Self {
        Self {
            row: row.into(),
            status: Status::New,
            fetched: None,
            unscanned: Vec::new(),
            scans: None,
            wait_seconds: 0,
            outcome: None,
        }
    }

    /// A row whose set was fetched before.
    #[must_use]
    pub fn fetched_before(row: impl Into<String>, fetched: impl Into<String>) -> Self {
        Self { fetched: Some(fetched.into()), status: Status::Fetched, ..Self::new(row) }
    }

    /// The same row, ended.
    #[must_use]
    pub fn ended(self, outcome: impl Into<String>) -> Self {
        Self { status: Status::Ended, outcome: Some(outcome.into()), unscanned: Vec::new(), ..self }
    }
}
