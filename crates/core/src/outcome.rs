//! What a row ended in, and the document that `gate check --json` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::failure::FailureCode;

/// Every row ends in exactly one of these (invariant 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Published, or ready to be.
    Approved,
    /// A finding at or above the threshold, or a hostile archive.
    Refused,
    /// The same bytes would give the same doubt again: a human must look.
    Held,
    /// The gate could not decide; trying again may cure it, or there is nothing to decide on.
    Failed,
    /// The row cannot be read or may not be asked for.
    Invalid,
}

impl Verdict {
    /// The lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
        }
    }
}

/// Why: a stable code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// Kebab-case and stable; the list is in `docs/reasons.md`.
    pub code: String,
    /// One sentence: what, why, and the remedy. Control and bidirectional characters are escaped.
    pub message: String,
}

impl Reason {
    /// A reason; the message is escaped here, so that no reason can carry a control character anywhere.
    #[must_use]
    pub fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: crate::text::escape(message).into_owned() }
    }

    /// The reason that a failure is.
    #[must_use]
    pub fn of_failure(failure: &crate::failure::Failure) -> Self {
        Self::new(FailureCode::as_str(failure.code), &failure.message)
    }

    /// Whether it is a failure that trying the same row again may cure.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        FailureCode::ALL.into_iter().any(|code| code.is_retryable() && code.as_str() == self.code)
    }
}

/// One file of the set that a row leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeArtifact {
    /// What users download it as.
    pub filename: String,
    /// Of its bytes.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
}

/// The end of one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowOutcome {
    /// The line of the file that the row begins on, 1-based.
    pub line: u64,
    /// The `name` cell as written, control and bidirectional characters escaped.
    pub name: String,
    /// The `source` cell as written, escaped likewise.
    pub source: String,
    /// What users install, as a purl; absent when it never became known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why; the first is the one that decided. Notes follow.
    pub reasons: Vec<Reason>,
    /// The set of files, in the order of their names; empty when nothing was fetched.
    pub artifacts: Vec<OutcomeArtifact>,
}

/// What `gate check --json` prints, and what a run leaves in the output folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckDocument {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// One element a row, in the file's order.
    pub rows: Vec<RowOutcome>,
    /// Of the policy that decided.
    pub policy_sha256: Sha256,
    /// Of the advisory export that was consulted; absent when none was, which every reader should notice.
    pub advisories_sha256: Option<Sha256>,
    /// Name, version and rules of the scanner.
    pub scanner: crate::report::ScannerVersion,
}

impl CheckDocument {
    /// The exit status of `gate check`: 0 all approved, 1 some refused or held, 2 some failed or invalid.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let code = |verdict| match verdict {
            Verdict::Approved => 0,
            Verdict::Refused | Verdict::Held => 1,
            Verdict::Failed | Verdict::Invalid => 2,
        };
        self.rows.iter().map(|row| code(row.verdict)).max().unwrap_or(0)
    }
}
