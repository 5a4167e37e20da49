//! The sentences of a failed fetch: what happened, where, and what to do. Hosts and index texts in them are not escaped yet.

use std::time::Duration;

use gate_core::failure::{Failure, FailureCode};
use url::Url;

/// The host of a URL, as a message names it. Never the whole URL: its path or query may hold a token.
pub(crate) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or("an unnamed host")
}

/// A number of bytes in the largest unit that keeps it readable: `2 GiB`, `1.5 MiB`, `512 bytes`.
pub(crate) fn size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            return match tenths % 10 {
                0 => format!("{} {name}", tenths / 10),
                tenth => format!("{}.{tenth} {name}", tenths / 10),
            };
        }
    }
    format!("{bytes} bytes")
}

pub(crate) fn duration(duration: Duration) -> String {
    if duration >= Duration::from_secs(1) {
        format!("{} seconds", duration.as_secs())
    } else {
        format!("{} milliseconds", duration.as_millis())
    }
}

pub(crate) fn unreachable(url: &Url, why: &str) -> Failure {
    Failure::new(FailureCode::Unreachable, format!("{} could not be reached ({why}); try again later", host(url)))
}

pub(crate) fn broken_off(url: &Url, why: &str) -> Failure {
    Failure::new(
        FailureCode::Unreachable,
        format!("{} broke off before the whole file had arrived ({why}); try again later", host(url)),
    )
}

pub(crate) fn certificate(url: &Url, why: &str) -> Failure {
    Failure::new(
        FailureCode::UnexpectedAnswer,
        format!(
            "the certificate of {} is not trusted ({why}); its owner must renew it, or the operator must add the company's \
             certificate authority to the system's trust store",
            host(url)
        ),
    )
}

pub(crate) fn tls(url: &Url, why: &str) -> Failure {
    Failure::new(
        FailureCode::UnexpectedAnswer,
        format!(
            "no secure connection to {} was possible ({why}); it must offer TLS 1.2 or newer on this port",
            host(url)
        ),
    )
}

pub(crate) fn not_http(url: &Url, why: &str) -> Failure {
    Failure::new(
        FailureCode::UnexpectedAnswer,
        format!("{} did not answer in the way of HTTP/1.1 ({why}); check the URL", host(url)),
    )
}

/// The failure that a status other than 200 and a redirect is.
pub(crate) fn status(url: &Url, status: http::StatusCode, retry_after: Option<Duration>) -> Failure {
    let host = host(url);
    let number = status.as_u16();
    match number {
        404 | 410 => Failure::new(
            FailureCode::NotFound,
            format!("{host} has no such file (status {number}); check the URL in a browser"),
        ),
        401 | 403 => Failure::new(
            FailureCode::Forbidden,
            format!("{host} does not give the file to the gate (status {number}); use a URL that needs no sign-in"),
        ),
        429 | 500..=599 => {
            let later = match retry_after {
                Some(wait) => format!("try again in {}", duration(wait)),
                None => "try again later".to_owned(),
            };
            Failure::new(FailureCode::Busy, format!("{host} cannot answer now (status {number}); {later}"))
        }
        _ => Failure::new(
            FailureCode::UnexpectedAnswer,
            format!("{host} answered with status {number} where 200 was expected; check the URL in a browser"),
        ),
    }
}

pub(crate) fn redirects(url: &Url, most: usize) -> Failure {
    Failure::new(
        FailureCode::UnexpectedAnswer,
        format!("{} redirects more than {most} times; give the URL that the redirects end at", host(url)),
    )
}

pub(crate) fn bad_redirect(url: &Url) -> Failure {
    Failure::new(
        FailureCode::UnexpectedAnswer,
        format!("{} redirects to something that is not a URL; give the URL of the file itself", host(url)),
    )
}

pub(crate) fn redirected(failure: &Failure, from: &Url) -> Failure {
    Failure::new(failure.code, format!("{} redirects: {}", host(from), failure.message))
}

pub(crate) fn encoded(url: &Url, encoding: &str) -> Failure {
    let encoding = gate_core::text::escape_to(encoding, 40);
    Failure::new(
        FailureCode::UnexpectedAnswer,
        format!(
            "{} sent the file encoded as '{encoding}' although it was asked for the plain bytes; use another host",
            host(url)
        ),
    )
}

pub(crate) fn too_slow_rate(url: &Url, bytes_per_second: u64, window: Duration) -> Failure {
    Failure::new(
        FailureCode::TooSlow,
        format!(
            "{} sent less than {} a second over {} (limits.min_bytes_per_second in the policy); try again later",
            host(url),
            size(bytes_per_second),
            duration(window)
        ),
    )
}

pub(crate) fn too_slow_total(url: &Url, total: Duration) -> Failure {
    Failure::new(
        FailureCode::TooSlow,
        format!(
            "the download from {} took longer than {} (limits.file_seconds in the policy); try again later, or ask the \
             operator for more time",
            host(url),
            duration(total)
        ),
    )
}

pub(crate) fn file_too_large(url: &Url, cap: u64) -> Failure {
    Failure::new(
        FailureCode::TooLarge,
        format!(
            "the file at {} is larger than {}, the most that one file may be (limits.file_bytes in the policy); ask the \
             operator to raise it",
            host(url),
            size(cap)
        ),
    )
}

/// A file as a message names it: by its host, since the path may hold a token.
pub(crate) fn file_at(url: &Url) -> String {
    format!("the file at {}", host(url))
}

pub(crate) fn file_over_ceiling(url: &Url, bytes: u64) -> Failure {
    Failure::new(
        FailureCode::TooLarge,
        format!("{} is larger than {}, the most that can be taken here", file_at(url), size(bytes)),
    )
}

/// A row whose set did not arrive in the time that the function has.
pub(crate) fn out_of_time(time: Duration) -> Failure {
    Failure::new(
        FailureCode::TooSlow,
        format!("the files of this row did not arrive within {}; try again later", duration(time)),
    )
}

pub(crate) fn request_too_large(url: &Url, cap: u64) -> Failure {
    Failure::new(
        FailureCode::TooLarge,
        format!(
            "with the file at {} the files of this request are larger than {}, the most that one request may fetch \
             (limits.request_bytes in the policy); split the request or ask the operator to raise it",
            host(url),
            size(cap)
        ),
    )
}

pub(crate) fn page_too_large(url: &Url, cap: u64) -> Failure {
    Failure::new(
        FailureCode::TooLarge,
        format!("the index page at {} is larger than {}; check the index URL", host(url), size(cap)),
    )
}

pub(crate) fn export_too_large(url: &Url, cap: u64) -> Failure {
    Failure::new(
        FailureCode::TooLarge,
        format!("the advisories at {} are larger than {}; check the address", host(url), size(cap)),
    )
}

pub(crate) fn not_an_archive(url: &Url, what: &str) -> Failure {
    Failure::new(
        FailureCode::NotAnArchive,
        format!(
            "{} sent {what}, not a zip, wheel or tar.gz archive; give the URL of the archive itself, and one that needs no \
             sign-in",
            host(url)
        ),
    )
}

pub(crate) fn digest_mismatch(
    url: &Url,
    expected: &gate_core::digest::Sha256,
    found: &gate_core::digest::Sha256,
) -> Failure {
    Failure::new(
        FailureCode::DigestMismatch,
        format!(
            "the bytes from {} have the SHA-256 {found}, but {expected} was promised; do not use them before you know why",
            host(url)
        ),
    )
}

pub(crate) fn no_trust_store(why: &str) -> Failure {
    Failure::new(
        FailureCode::Storage,
        format!(
            "the system's trust store holds no usable certificate ({why}); install the ca-certificates package or point \
             SSL_CERT_FILE at a bundle"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable_and_never_rounded_up() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (2 * 1024 * 1024 - 1, "1.9 MiB"),
            (2 << 30, "2 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
