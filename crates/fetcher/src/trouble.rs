//! What an error of hyper, TLS or the operating system means for a requester.

use std::error::Error;
use std::io;
use std::time::Duration;

use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::Origin;
use gate_core::step::ErrorName;
use rustls::CertificateError;
use url::Url;

use crate::connect::NoSuchHost;
use crate::guard::Refusal;
use crate::retry::Trouble;
use crate::words;

/// The `Retry-After` from which on a caller is to wait for minutes, not for seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whose trouble it is. What a host that a row names cannot do is an answer about the row. What the operator's cannot do is a
/// fault of the system, unless it is about the file: the row is tried again, and the operator hears of it.
pub(crate) fn of_origin(origin: Origin, Trouble { failure, retry_after }: Trouble) -> Trouble {
    let failure = match origin {
        Origin::Row => failure,
        Origin::Index => of_operator(failure, retry_after),
    };
    Trouble { failure, retry_after }
}

fn of_operator(failure: Failure, retry_after: Option<Duration>) -> Failure {
    let (code, name) = match failure.code {
        FailureCode::Busy if retry_after.is_some_and(|wait| wait >= PATIENCE) => {
            (FailureCode::Busy, ErrorName::RateLimited)
        }
        FailureCode::Busy | FailureCode::Unreachable => (failure.code, ErrorName::Transient),
        FailureCode::Forbidden => (FailureCode::BadIndex, ErrorName::Denied),
        FailureCode::UnexpectedAnswer => (FailureCode::BadIndex, ErrorName::Configuration),
        _ => return failure,
    };
    Failure { code, ..failure }.with_name(name)
}

/// A request without an answer.
pub(crate) fn of_request(url: &Url, origin: Origin, error: &(dyn Error + 'static)) -> Failure {
    if let Some(refusal) = find::<Refusal>(error) {
        return refusal.clone().into();
    }
    if let Some(no_host) = find::<NoSuchHost>(error) {
        return words::unreachable(url, &no_host.to_string());
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return match tls {
            rustls::Error::InvalidCertificate(why) => words::certificate(url, certificate(why)),
            rustls::Error::NoCertificatesPresented => words::certificate(url, "it shows none"),
            _ => words::tls(url, "the TLS handshake failed"),
        };
    }
    if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        return words::not_http(url, origin, "its header cannot be read or is too large");
    }
    words::unreachable(url, find::<io::Error>(error).map_or("the connection broke off", io_reason))
}

/// A body that did not come to its end.
pub(crate) fn of_body(url: &Url, origin: Origin, error: &(dyn Error + 'static)) -> Failure {
    let io = find::<io::Error>(error);
    // hyper tells of a bad chunk by an io::Error of these kinds.
    let garbled = io.is_some_and(|io| matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData));
    if garbled || find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        return words::not_http(url, origin, "its body cannot be read");
    }
    words::broken_off(url, io.map_or("the connection was closed", io_reason))
}

fn io_reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "it refuses connections",
        io::ErrorKind::TimedOut => "it does not answer",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            "the connection broke off"
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => "there is no route to it",
        io::ErrorKind::NotFound => "its name has no address",
        _ => "the connection failed",
    }
}

fn certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another name",
        CertificateError::UnknownIssuer => "its issuer is unknown",
        CertificateError::Revoked => "it was revoked",
        _ => "it is not valid",
    }
}

/// The first error of a kind in the chain of causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // An io::Error's source is that of the error it holds, not that error.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
