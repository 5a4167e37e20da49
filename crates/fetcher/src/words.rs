//! The sentences of a failed fetch: what happened, where, and what to do. Hosts and index texts in them are not escaped yet.

use std::time::Duration;

use gate_core::coordinates::PackageName;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::Origin;
use gate_core::step::ErrorName;
use url::Url;

use crate::index::KNOWN_PROJECT;

/// What can be done about a host that the operator chose.
const CHECK_SETTINGS: &str =
    "the gate's operator must look at it, and check the address that the gate is configured with";

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

/// An answer that is no file, and what whoever named the host can do about it.
fn unexpected(origin: Origin, what: &str, remedy: &str) -> Failure {
    let remedy = match origin {
        Origin::Row => remedy,
        Origin::Index => CHECK_SETTINGS,
    };
    Failure::new(FailureCode::UnexpectedAnswer, format!("{what}; {remedy}"))
}

pub(crate) fn not_http(url: &Url, origin: Origin, why: &str) -> Failure {
    let what = format!("{} did not answer in the way of HTTP/1.1 ({why})", host(url));
    unexpected(origin, &what, "check the URL")
}

/// The failure that a status other than 200 and a redirect is.
pub(crate) fn status(url: &Url, origin: Origin, status: http::StatusCode, retry_after: Option<Duration>) -> Failure {
    let host = host(url);
    let number = status.as_u16();
    match number {
        404 | 410 => {
            let remedy = match origin {
                Origin::Row => "check the URL in a browser",
                Origin::Index => "tell the gate's operator, whose index or settings name it",
            };
            Failure::new(FailureCode::NotFound, format!("{host} has no such file (status {number}); {remedy}"))
        }
        401 | 403 => {
            let remedy = match origin {
                Origin::Row => "use a URL that needs no sign-in",
                Origin::Index => "the gate's operator must see to it that the gate may read there",
            };
            Failure::new(
                FailureCode::Forbidden,
                format!("{host} does not give the file to the gate (status {number}); {remedy}"),
            )
        }
        429 | 500..=599 => {
            let later = match retry_after {
                Some(wait) => format!("try again in {}", duration(wait)),
                None => "try again later".to_owned(),
            };
            Failure::new(FailureCode::Busy, format!("{host} cannot answer now (status {number}); {later}"))
        }
        _ => {
            let what = format!("{host} answered with status {number} where 200 was expected");
            unexpected(origin, &what, "check the URL in a browser")
        }
    }
}

pub(crate) fn redirects(url: &Url, origin: Origin, most: usize) -> Failure {
    let what = format!("{} redirects more than {most} times", host(url));
    unexpected(origin, &what, "give the URL that the redirects end at")
}

pub(crate) fn bad_redirect(url: &Url, origin: Origin) -> Failure {
    let what = format!("{} redirects to something that is not a URL", host(url));
    unexpected(origin, &what, "give the URL of the file itself")
}

pub(crate) fn redirected(failure: &Failure, from: &Url) -> Failure {
    Failure::new(failure.code, format!("{} redirects: {}", host(from), failure.message))
}

pub(crate) fn encoded(url: &Url, origin: Origin, encoding: &str) -> Failure {
    let encoding = gate_core::text::escape_to(encoding, 40);
    let what = format!("{} sent the file encoded as '{encoding}' although it was asked for the plain bytes", host(url));
    unexpected(origin, &what, "use another host")
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
        format!("the index page at {} is larger than {}; {CHECK_SETTINGS}", host(url), size(cap)),
    )
}

/// The index's address, as the operator may give it.
const INDEX_REMEDY: &str = "the gate's operator must check the index URL";

pub(crate) fn no_index() -> Failure {
    Failure::new(FailureCode::BadIndex, "no Python index is configured; give --index-url, or set PIP_INDEX_URL")
}

pub(crate) fn no_such_project(url: &Url, name: &PackageName) -> Failure {
    Failure::new(
        FailureCode::NotFound,
        format!("the index at {} has no project '{name}'; check the spelling", host(url)),
    )
}

/// An index that does not have the project, and shows nothing else either.
pub(crate) fn no_projects(url: &Url, name: &PackageName) -> Failure {
    Failure::new(
        FailureCode::BadIndex,
        format!(
            "the index at {} shows neither '{name}' nor '{KNOWN_PROJECT}' nor a list of its projects; {INDEX_REMEDY}",
            host(url)
        ),
    )
}

pub(crate) fn index_denies(url: &Url, name: &PackageName) -> Failure {
    Failure::new(
        FailureCode::BadIndex,
        format!(
            "the index at {} refuses to show '{name}' to the gate; its operator must give an index that it may read \
             ('gate check' takes a user name and password in --index-url, the functions on AWS take none)",
            host(url)
        ),
    )
    .with_name(ErrorName::Denied)
}

pub(crate) fn bad_page(url: &Url, why: &str) -> Failure {
    Failure::new(
        FailureCode::BadIndex,
        format!("the index page from {} cannot be read: {why}; {INDEX_REMEDY}", host(url)),
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
