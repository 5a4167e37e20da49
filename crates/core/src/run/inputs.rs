//! What a verdict depends on, and when a row is to be decided again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RunId;
use crate::digest::Sha256;
use crate::policy::Policy;
use crate::report::ScannerVersion;

/// All that a verdict depends on besides the row's own bytes; when it changes, rows that are not approved are decided again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Of the policy.
    pub policy: Sha256,
    /// Of the advisory export, if there is one.
    pub advisories: Option<Sha256>,
    /// Name, version and rules of each scanner, the built-in one first. Empty when nothing was scanned.
    pub scanners: Vec<String>,
    /// Of what a fetch goes by, see [`Inputs::fetch_settings`]. None for a verdict on what was fetched before.
    pub fetch: Option<Sha256>,
}

impl Inputs {
    /// What a row depends on that ended before anything was scanned: the policy's limits, hosts and targets, and what a fetch
    /// goes by.
    #[must_use]
    pub fn of_fetch(policy: &Policy, fetch_settings: Sha256) -> Self {
        Self { policy: policy.sha256, advisories: None, scanners: Vec::new(), fetch: Some(fetch_settings) }
    }

    /// The digest of what the operator sets for a fetch besides the policy: the index's address, and the most bytes of a file
    /// that the functions take.
    #[must_use]
    pub fn fetch_settings(index_url: &str, max_artifact_bytes: u64) -> Sha256 {
        Sha256::of(format!("{index_url}\n{max_artifact_bytes}").as_bytes())
    }

    /// The same with what a fetch goes by: all that is in force.
    #[must_use]
    pub fn with_fetch(self, fetch_settings: Sha256) -> Self {
        Self { fetch: Some(fetch_settings), ..self }
    }

    /// What a verdict on a fetched set depends on.
    #[must_use]
    pub fn of(policy: &Policy, advisories: Option<Sha256>, scanners: &[ScannerVersion]) -> Self {
        let name = |scanner: &ScannerVersion| format!("{}-{}-{}", scanner.name, scanner.version, scanner.rules);
        Self { policy: policy.sha256, advisories, scanners: scanners.iter().map(name).collect(), fetch: None }
    }
}

/// When a row was last decided, and by what. The reconciler goes by the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// What it was decided by; none when it ended before that.
    pub inputs: Option<Inputs>,
    /// When time alone may change the outcome.
    pub again_at: Option<Timestamp>,
}

impl Look {
    /// Whether something that the verdict depends on has changed since, or its time has come.
    #[must_use]
    pub fn is_stale(&self, inputs: &Inputs, now: Timestamp) -> bool {
        let changed = |decided_by: &Inputs| {
            let Inputs { policy, advisories, scanners, fetch } = decided_by;
            *policy != inputs.policy
                || (!scanners.is_empty() && (advisories, scanners) != (&inputs.advisories, &inputs.scanners))
                || (fetch.is_some() && *fetch != inputs.fetch)
        };
        self.inputs.as_ref().is_some_and(changed) || self.again_at.is_some_and(|again_at| again_at <= now)
    }
}
