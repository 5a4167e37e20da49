//! What an error of an AWS service means to the gate.
//!
//! Every call goes through [`Fault::of`]. The words of a fault name the service, the operation, the error code and the request
//! id. They never hold the service's own message: it may quote what was sent.

use std::fmt;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use gate_core::failure::{Failure, FailureCode};
use gate_core::step::{ErrorName, StepError};

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Not sent, not answered in time, broken off, damaged on its way, or not understood; 5xx.
    Unavailable,
    /// Too many requests within seconds.
    Throttled,
    /// The session's credentials have run out. The next attempt gets new ones.
    Expired,
    /// The credentials or the key are refused, or the role lacks a permission.
    Denied,
    /// 404: the caller knows whether that is an answer.
    NotFound,
    /// 409 or 412: the thing is there already, or is being changed. An upload that is gone was completed, by a try whose answer
    /// was lost, or aborted.
    Conflict,
    /// A quota of the account is used up.
    Quota,
    /// The request is not one that the service takes.
    Invalid,
}

/// The waits, in seconds, from which on a throttled caller is to wait for minutes, not for seconds.
const PATIENCE_SECONDS: u64 = 60;

/// The most characters of an error code or a request id that are repeated.
const WORD_CHARS: usize = 64;

/// One failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// `service:Operation`, as in an IAM policy.
    pub(crate) call: &'static str,
    /// Of which kind it is.
    pub(crate) kind: Kind,
    /// The error code of the service, e.g. `NoSuchKey`; none when no answer came.
    pub(crate) code: Option<String>,
    /// The status of the answer; none when no answer came.
    pub(crate) status: Option<u16>,
    request_id: Option<String>,
    retry_after: Option<u64>,
}

impl Fault {
    /// Reads the error of one call; `call` is `service:Operation`.
    pub(crate) fn of<E>(call: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata,
    {
        let response = error.raw_response();
        let status = response.map(|response| response.status().as_u16());
        let code = error.code().and_then(word);
        let kind = match error {
            SdkError::ConstructionFailure(_) => Kind::Invalid,
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => Kind::Unavailable,
            // An answer that could not be read: its status may still say something.
            SdkError::ResponseError(_) => status.filter(|status| *status >= 300).map_or(Kind::Unavailable, by_status),
            _ => code.as_deref().and_then(by_code).or(status.map(by_status)).unwrap_or(Kind::Unavailable),
        };
        let retry_after = response.and_then(|response| response.headers().get("retry-after")?.trim().parse().ok());
        Self { call, kind, code, status, request_id: error.request_id().and_then(word), retry_after }
    }

    /// A fault of a service that answered well but not with what its model promises; `what` is a fixed text.
    pub(crate) fn unexpected(call: &'static str, what: &'static str) -> Self {
        Self {
            call,
            kind: Kind::Unavailable,
            code: Some(what.to_owned()),
            status: None,
            request_id: None,
            retry_after: None,
        }
    }

    /// Whether the service gave this error code.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// The name under which a step fails with it.
    pub(crate) fn name(&self) -> ErrorName {
        match self.kind {
            Kind::Unavailable | Kind::Expired | Kind::Conflict => ErrorName::Transient,
            Kind::Throttled if self.retry_after.is_some_and(|seconds| seconds >= PATIENCE_SECONDS) => {
                ErrorName::RateLimited
            }
            Kind::Throttled => ErrorName::Transient,
            // Executions that end make room again.
            Kind::Quota if self.is("ExecutionLimitExceeded") => ErrorName::RateLimited,
            Kind::Denied => ErrorName::Denied,
            // CodeArtifact answers so to a token that has expired, and about a version that another call has just made.
            Kind::NotFound if self.call.contains("codeartifact:") => ErrorName::Transient,
            Kind::Quota | Kind::NotFound | Kind::Invalid => ErrorName::Configuration,
        }
    }

    /// For a port over a store: [`FailureCode::Storage`], with which a step fails under the fault's own name.
    pub(crate) fn storage(&self) -> Failure {
        Failure::new(FailureCode::Storage, self.to_string()).with_name(self.name())
    }

    /// For a port over a scanner: [`FailureCode::ScannerUnavailable`], whatever the reason. It is never a clean report.
    pub(crate) fn scanner(&self) -> Failure {
        Failure::new(FailureCode::ScannerUnavailable, self.to_string())
    }
}

impl fmt::Display for Fault {
    /// `s3:PutObject was denied (AccessDenied, 403, request 4F2A). The role needs the permission, or the key must allow it.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, remedy) = match self.kind {
            Kind::Unavailable => ("gave no usable answer", "Try again."),
            Kind::Throttled => ("was throttled", "Try again later."),
            Kind::Expired => ("was refused because the credentials have expired", "Try again."),
            Kind::Denied => ("was denied", "The role needs the permission, or the key must allow it."),
            Kind::NotFound => ("did not find what it is for", "Check the name in the configuration."),
            Kind::Conflict => ("met another change", "Try again."),
            Kind::Quota => ("met a quota of the account", "Ask for a higher quota."),
            Kind::Invalid => ("is not accepted as it was sent", "Check the configuration."),
        };
        write!(f, "{} {what}", self.call)?;
        let mut parts = Vec::new();
        parts.extend(self.code.clone());
        parts.extend(self.status.map(|status| status.to_string()));
        parts.extend(self.request_id.as_ref().map(|id| format!("request {id}")));
        if !parts.is_empty() {
            write!(f, " ({})", parts.join(", "))?;
        }
        write!(f, ". {remedy}")
    }
}

impl From<Fault> for StepError {
    fn from(fault: Fault) -> Self {
        Self::new(fault.name(), fault.to_string())
    }
}

/// A word that a service gave, if it is one that can be repeated in a log.
fn word(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '=' | '+');
    (!text.is_empty() && text.len() <= WORD_CHARS && text.chars().all(plain)).then(|| text.to_owned())
}

/// The kind of an error code.
///
/// Source: the service models of s3, secretsmanager, states, sns, codeartifact and codeguru-security in botocore, the common
/// errors that every AWS API lists, and S3's list of error responses.
fn by_code(code: &str) -> Option<Kind> {
    Some(match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthorizationError"
        | "AuthorizationErrorException"
        | "AllAccessDisabled"
        | "DecryptionFailure"
        | "DisabledException"
        | "EncryptionFailure"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "InvalidSignatureException"
        | "KMS.DisabledException"
        | "KMS.KMSInvalidStateException"
        | "KMS.NotFoundException"
        | "KMSAccessDenied"
        | "KMSDisabled"
        | "KMSInvalidState"
        | "KMSNotFound"
        | "KMSOptInRequired"
        | "KmsAccessDeniedException"
        | "KmsInvalidStateException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "NotSignedUp"
        | "OptInRequired"
        | "SignatureDoesNotMatch"
        | "UnauthorizedAccess"
        | "UnrecognizedClientException" => Kind::Denied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "TokenRefreshRequired" => Kind::Expired,
        "BandwidthLimitExceeded"
        | "KMS.ThrottlingException"
        | "KMSThrottling"
        | "KmsThrottlingException"
        | "LimitExceededException"
        | "PriorRequestNotComplete"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "Throttled"
        | "ThrottledException"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException" => Kind::Throttled,
        "ExecutionLimitExceeded"
        | "FilterPolicyLimitExceeded"
        | "ServiceQuotaExceededException"
        | "SubscriptionLimitExceeded" => Kind::Quota,
        "ExecutionDoesNotExist"
        | "NoSuchBucket"
        | "NoSuchKey"
        | "NoSuchVersion"
        | "NotFound"
        | "NotFoundException"
        | "ResourceNotFoundException"
        | "StateMachineDoesNotExist" => Kind::NotFound,
        "ConditionalRequestConflict"
        | "ConflictException"
        | "ExecutionAlreadyExists"
        | "NoSuchUpload"
        | "OperationAborted"
        | "PreconditionFailed"
        | "StateMachineDeleting" => Kind::Conflict,
        "BadDigest"
        | "IncompleteBody"
        | "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServerException"
        | "InternalServiceError"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "XAmzContentSHA256Mismatch" => Kind::Unavailable,
        _ => return None,
    })
}

/// The kind of a status whose error code says nothing.
fn by_status(status: u16) -> Kind {
    match status {
        401 | 403 => Kind::Denied,
        402 => Kind::Quota,
        404 | 410 => Kind::NotFound,
        408 | 500.. => Kind::Unavailable,
        409 | 412 => Kind::Conflict,
        429 => Kind::Throttled,
        300.. => Kind::Invalid,
        _ => Kind::Unavailable,
    }
}

#[cfg(test)]
mod ports;
#[cfg(test)]
mod tests;
