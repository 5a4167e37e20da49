//! Why the gate could not decide. The names are API: Step Functions retries by them (invariant 8).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::step::{ErrorName, fault};

/// The name of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// The host does not exist, does not answer, or broke off.
    Unreachable,
    /// The host asked to come back later (429, 5xx).
    Busy,
    /// 404 or 410, or a version that the index does not have.
    NotFound,
    /// 401 or 403, of a host that a row names.
    Forbidden,
    /// Any other answer that is not the file.
    UnexpectedAnswer,
    /// The address is one that the gate may not connect to.
    AddressNotAllowed,
    /// Larger than the operator's limit.
    TooLarge,
    /// Slower than the operator's limit.
    TooSlow,
    /// The bytes are not the ones that the row or the index promised.
    DigestMismatch,
    /// Not an archive; the message says what it is.
    NotAnArchive,
    /// The configured index cannot be used: there is none, it refuses the gate, its certificate is not trusted, or what it
    /// answers is no page of an index. The operator must act.
    BadIndex,
    /// No file of the release can be used by the policy's targets.
    NoUsableFile,
    /// A scanner did not answer.
    ScannerUnavailable,
    /// The policy wants advisories and there are none.
    AdvisoriesUnavailable,
    /// The local store could not be read or written.
    Storage,
}

impl FailureCode {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Unreachable,
        Self::Busy,
        Self::NotFound,
        Self::Forbidden,
        Self::UnexpectedAnswer,
        Self::AddressNotAllowed,
        Self::TooLarge,
        Self::TooSlow,
        Self::DigestMismatch,
        Self::NotAnArchive,
        Self::BadIndex,
        Self::NoUsableFile,
        Self::ScannerUnavailable,
        Self::AdvisoriesUnavailable,
        Self::Storage,
    ];

    /// Whether the same request may end differently when it is tried again: by itself, or when the operator has mended what is
    /// theirs.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Busy
                | Self::TooSlow
                | Self::BadIndex
                | Self::ScannerUnavailable
                | Self::AdvisoriesUnavailable
                | Self::Storage
        )
    }

    /// The kebab-case name that outcomes carry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::NotFound => "not-found",
            Self::Forbidden => "forbidden",
            Self::UnexpectedAnswer => "unexpected-answer",
            Self::AddressNotAllowed => "address-not-allowed",
            Self::TooLarge => "too-large",
            Self::TooSlow => "too-slow",
            Self::DigestMismatch => "digest-mismatch",
            Self::NotAnArchive => "not-an-archive",
            Self::BadIndex => "bad-index",
            Self::NoUsableFile => "no-usable-file",
            Self::ScannerUnavailable => "scanner-unavailable",
            Self::AdvisoriesUnavailable => "advisories-unavailable",
            Self::Storage => "storage",
        }
    }
}

/// The gate could not decide: which kind, and one sentence that says what happened and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Its name.
    pub code: FailureCode,
    /// For the requester; untrusted text in it is not escaped yet.
    pub message: String,
    /// As what a step fails with it, where the code does not say that: a store that is not reached and one that denies access
    /// have one code. Most have none; see [`Failure::fault`].
    pub named: Option<ErrorName>,
}

impl Failure {
    /// A failure of this kind, in these words.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), named: None }
    }

    /// The same, which a step fails with under this name.
    #[must_use]
    pub fn with_name(self, name: ErrorName) -> Self {
        Self { named: Some(name), ..self }
    }

    /// The name of the fault of the system that it is. None for an answer about the row, which ends it with an outcome.
    #[must_use]
    pub fn fault(&self) -> Option<ErrorName> {
        self.named.or_else(|| fault(self.code))
    }
}
