//! The names under which a step fails. They are API: the state machines retry by them (invariant 8), and a test holds the
//! two together.
//!
//! A step of the row machine ends in one of two ways. A final answer about the row, such as 404, is an *outcome* and ends the
//! row's execution well. A fault of the system is a [`StepError`]: it is retried, then fails the execution, raises the alarm
//! and waits for a redrive.

use std::fmt;

use crate::failure::{Failure, FailureCode};

/// What a step can fail with; `errorType` of the function, `ErrorEquals` of the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorName {
    /// A service did not answer, throttled, or is between two states. Trying again soon helps.
    Transient,
    /// A peer asked for patience of minutes: the rate limit of GitHub or of a scanner.
    RateLimited,
    /// A scanner cannot be reached or answers with faults.
    ScannerUnavailable,
    /// A scan did not end within its time. Trying again starts no new scan, so it is not retried.
    ScanTimedOut,
    /// The policy requires advisories and there are none yet.
    AdvisoriesUnavailable,
    /// A credential is refused, or a role lacks a permission. An operator must act.
    Denied,
    /// The function's configuration or the policy object has faults. An operator must act.
    Configuration,
    /// A stored document is missing or contradicts another. A developer must look.
    Corrupt,
    /// The input is none that the function knows.
    BadInput,
}

impl ErrorName {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Transient,
        Self::RateLimited,
        Self::ScannerUnavailable,
        Self::ScanTimedOut,
        Self::AdvisoriesUnavailable,
        Self::Denied,
        Self::Configuration,
        Self::Corrupt,
        Self::BadInput,
    ];

    /// The name that Step Functions sees.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "Gate.Transient",
            Self::RateLimited => "Gate.RateLimited",
            Self::ScannerUnavailable => "Gate.ScannerUnavailable",
            Self::ScanTimedOut => "Gate.ScanTimedOut",
            Self::AdvisoriesUnavailable => "Gate.AdvisoriesUnavailable",
            Self::Denied => "Gate.Denied",
            Self::Configuration => "Gate.Configuration",
            Self::Corrupt => "Gate.Corrupt",
            Self::BadInput => "Gate.BadInput",
        }
    }

    /// The error with this name, as an execution's record gives it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.as_str() == name)
    }

    /// Whether a state machine tries again by itself.
    #[must_use]
    pub fn is_retried(self) -> bool {
        matches!(self, Self::Transient | Self::RateLimited | Self::ScannerUnavailable | Self::AdvisoriesUnavailable)
    }

    /// What the requester reads when the execution has failed under this name.
    #[must_use]
    pub fn failure_code(self) -> FailureCode {
        match self {
            Self::ScannerUnavailable | Self::ScanTimedOut => FailureCode::ScannerUnavailable,
            Self::AdvisoriesUnavailable => FailureCode::AdvisoriesUnavailable,
            _ => FailureCode::Storage,
        }
    }
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault of the system. The message is for operators: it goes to logs and to the execution's history, so it holds no
/// secret and no file content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// What the state machine goes by.
    pub name: ErrorName,
    /// One sentence: what happened, where, and the remedy if there is one.
    pub message: String,
}

impl StepError {
    /// A fault of this name, in these words.
    pub fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Self { name, message: message.into() }
    }
}

/// Whether a failure is a fault of the system, which the state machine retries and a person may redrive, and of which name.
/// None for an answer about the row: that ends the row with an outcome. [`Failure::fault`] also goes by what is known besides the
/// code.
#[must_use]
pub fn fault(code: FailureCode) -> Option<ErrorName> {
    match code {
        FailureCode::Storage => Some(ErrorName::Transient),
        FailureCode::ScannerUnavailable => Some(ErrorName::ScannerUnavailable),
        FailureCode::AdvisoriesUnavailable => Some(ErrorName::AdvisoriesUnavailable),
        FailureCode::BadIndex => Some(ErrorName::Configuration),
        FailureCode::Unreachable
        | FailureCode::Busy
        | FailureCode::NotFound
        | FailureCode::Forbidden
        | FailureCode::UnexpectedAnswer
        | FailureCode::AddressNotAllowed
        | FailureCode::TooLarge
        | FailureCode::TooSlow
        | FailureCode::DigestMismatch
        | FailureCode::NotAnArchive
        | FailureCode::NoUsableFile => None,
    }
}

/// For steps in which every failure is a fault: those that touch stores alone.
impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::new(failure.fault().unwrap_or(ErrorName::Transient), failure.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_read_back() {
        for name in ErrorName::ALL {
            assert_eq!(ErrorName::parse(name.as_str()), Some(name));
            assert!(name.as_str().starts_with("Gate."));
        }
        assert_eq!(ErrorName::parse("States.Timeout"), None);
    }

    #[test]
    fn what_is_a_fault_comes_back_as_a_failure_that_is_tried_again() {
        for code in FailureCode::ALL {
            if let Some(name) = fault(code) {
                // A requester cannot tell one fault of the operator's from another.
                let told = if code == FailureCode::BadIndex { FailureCode::Storage } else { code };
                assert_eq!(name.failure_code(), told);
                assert!(code.is_retryable(), "{code:?}");
            }
        }
        for name in ErrorName::ALL {
            assert!(name.failure_code().is_retryable(), "{name}");
        }
    }

    #[test]
    fn a_failure_that_knows_its_name_fails_a_step_under_it() {
        for code in FailureCode::ALL {
            let failure = Failure::new(code, "why");
            assert_eq!(failure.fault(), fault(code));
            assert_eq!(StepError::from(failure.clone()).name, fault(code).unwrap_or(ErrorName::Transient));
            for name in ErrorName::ALL {
                let failure = failure.clone().with_name(name);
                assert_eq!((failure.fault(), failure.code, failure.message.as_str()), (Some(name), code, "why"));
                assert_eq!(StepError::from(failure), StepError::new(name, "why"));
            }
        }
    }
}
