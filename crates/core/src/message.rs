//! Every sentence about a verdict that a person reads, and the code beside it. `docs/reasons.md` lists the codes, which a story
//! holds to these.

use jiff::Timestamp;

use crate::coordinates::Coordinates;
use crate::coverage::{LostReason, OpaqueKind};
use crate::outcome::Reason;
use crate::request::Problem;
use crate::severity::Severity;

/// Codes that are not a category of findings, a failure, or a problem of a row; with what each means.
pub const CODES: &[(&str, &str)] = &[
    ("no-finding", "approved: nothing at or above the threshold was found, and no file was lost"),
    ("unknown-severity", "held: a finding carries no severity that is known"),
    ("nothing-examined", "held: the report lists no file"),
    ("analyzer-missing", "held: an analyzer that the policy requires did not run"),
    ("report-mismatch", "held: the report is not of these bytes, or of another version"),
    ("lost-limit", "held: a file is larger, deeper or more numerous than an analyzer's limit"),
    ("lost-analyzer-died", "held: an analyzer died on a file, or ran out of time or memory"),
    ("lost-undecodable", "held: a file is not in the encoding that it claims"),
    ("lost-unparsable", "held: a file does not follow the grammar of its kind"),
    ("lost-encrypted", "held: a file is encrypted"),
    ("lost-unknown-method", "held: a file is packed by a method that cannot be read"),
    ("opaque-native", "held, where the policy says so: native code"),
    ("opaque-python-bytecode", "held, where the policy says so: compiled Python"),
    ("opaque-wasm", "held, where the policy says so: WebAssembly"),
    ("opaque-java", "held, where the policy says so: Java classes"),
    ("opaque-model", "held, where the policy says so: a model without opcodes"),
    ("opaque-other-source", "held, where the policy says so: source in a language that no analyzer reads"),
    ("opaque-unknown-binary", "held, where the policy says so: binary data of no known kind"),
    ("yanked", "held, where the policy says so: the author has withdrawn the release"),
    ("cool-down", "held: the release is younger than the policy's cool-down"),
    ("dependency-url", "held: an installer would fetch a dependency from a URL, past the approved packages"),
    ("over-function-limit", "held: within the policy's limits, but more than the gate's functions can take"),
    ("published-in-part", "held: the version is published with fewer files, and the repository adds none to it"),
    ("withdrawn-by-hand", "held: a person has withdrawn the version from the repository"),
    ("more", "as many further reasons as it says"),
    ("coordinates-taken", "invalid: other bytes are published under this name and version"),
    ("conflict", "invalid: other rows ask for the same package from elsewhere"),
    ("same-as", "note: an identical row stands earlier in the file"),
    ("advisories-not-consulted", "note: no advisories were given, so known vulnerabilities were not looked for"),
    ("moving-source", "note: the URL may lead to other bytes tomorrow; the verdict is about the digest"),
    ("pinned-elsewhere", "note: development, documentation or example files pin a version with a known vulnerability"),
    ("dependency-missing", "note: a dependency is neither approved nor requested; the row to add"),
    ("dependency-refused", "note: a dependency was requested and is not approved"),
    ("dependency-unreadable", "note: a dependency is written in a way that cannot be read"),
    ("waived", "note: a finding at or above the threshold was accepted by a named person"),
    ("withdrawn", "note: an earlier approval was withdrawn"),
    ("unknown-age", "note: the index does not say when the release was uploaded"),
];

/// The verdict `approved`. `opaque` files can run and were listed, not read.
#[must_use]
pub fn no_finding(threshold: Severity, opaque: u64) -> Reason {
    let rest = match opaque {
        0 => "every file was checked".to_owned(),
        1 => "1 file that can run is of a kind that no analyzer reads, and the rest was checked".to_owned(),
        n => format!("{n} files that can run are of kinds that no analyzer reads, and the rest was checked"),
    };
    Reason::new("no-finding", &format!("nothing of severity {threshold} or worse was found; {rest}"))
}

/// A group of findings that refuse: one rule, in one or more places.
#[must_use]
pub fn refusing(
    category: &str,
    severity: Severity,
    rule: &str,
    title: &str,
    place: Option<&str>,
    more: usize,
    remedy: &str,
) -> Reason {
    let place = match (place, more) {
        (None, _) => String::new(),
        (Some(place), 0) => format!(" in {place}"),
        (Some(place), more) => format!(" in {place} and {more} more"),
    };
    let stop = if title.ends_with(['.', '!', '?']) { "" } else { "." };
    Reason::new(category, &format!("{severity}: {title} ({rule}){place}{stop} {remedy}"))
}

/// A finding whose severity nobody knows.
#[must_use]
pub fn unknown_severity(rule: &str) -> Reason {
    Reason::new(
        "unknown-severity",
        &format!("the finding {rule} carries no severity that is known, so it cannot be judged; InfoSec must look"),
    )
}

/// A report without files.
#[must_use]
pub fn nothing_examined(filename: &str) -> Reason {
    Reason::new(
        "nothing-examined",
        &format!("{filename} could not be checked: the scanner looked at no file; InfoSec must look"),
    )
}

/// A required analyzer that did not run.
#[must_use]
pub fn analyzer_missing(filename: &str, analyzer: &str) -> Reason {
    Reason::new(
        "analyzer-missing",
        &format!(
            "{filename} could not be checked: the policy requires the analyzer '{analyzer}', which did not run; InfoSec must look"
        ),
    )
}

/// A report of other bytes or of another version.
#[must_use]
pub fn report_mismatch(filename: &str) -> Reason {
    Reason::new(
        "report-mismatch",
        &format!("the scanner's report is not about the bytes of {filename}; the package could not be checked"),
    )
}

/// Files that could not be checked.
#[must_use]
pub fn lost(reason: LostReason, place: &str, detail: &str, more: usize) -> Reason {
    let (code, why) = match reason {
        LostReason::Limit => ("lost-limit", "is beyond a limit"),
        LostReason::AnalyzerDied => ("lost-analyzer-died", "stopped the analyzer"),
        LostReason::Undecodable => ("lost-undecodable", "is not in the encoding that it claims"),
        LostReason::Unparsable => ("lost-unparsable", "does not follow the grammar of its kind"),
        LostReason::Encrypted => ("lost-encrypted", "is encrypted"),
        LostReason::UnknownMethod => ("lost-unknown-method", "is packed by a method that cannot be read"),
    };
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    Reason::new(code, &format!("could not be checked: {place}{more} {why}: {detail}; InfoSec must look"))
}

/// The code of an opaque kind that the policy holds; a waiver may name it.
#[must_use]
pub fn opaque_code(kind: OpaqueKind) -> &'static str {
    match kind {
        OpaqueKind::Native => "opaque-native",
        OpaqueKind::PythonBytecode => "opaque-python-bytecode",
        OpaqueKind::Wasm => "opaque-wasm",
        OpaqueKind::Java => "opaque-java",
        OpaqueKind::Model => "opaque-model",
        OpaqueKind::OtherSource => "opaque-other-source",
        OpaqueKind::UnknownBinary => "opaque-unknown-binary",
    }
}

/// Files of a kind that the policy holds.
#[must_use]
pub fn opaque(kind: OpaqueKind, place: &str, more: usize) -> Reason {
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Reason::new(
        opaque_code(kind),
        &format!(
            "could not be checked: {place}{more} can run and no analyzer reads its kind ({}); the policy wants a human to look",
            kind.as_str()
        ),
    )
}

/// A yanked release.
#[must_use]
pub fn yanked(filename: &str, why: &str) -> Reason {
    let why = if why.is_empty() { String::new() } else { format!(" ('{why}')") };
    Reason::new("yanked", &format!("the author has withdrawn {filename}{why}; ask for another version"))
}

/// The code of [`cool_down`].
pub const COOL_DOWN: &str = "cool-down";

/// A release that is too young.
#[must_use]
pub fn cool_down(filename: &str, until: Timestamp) -> Reason {
    Reason::new(
        COOL_DOWN,
        &format!(
            "{filename} is younger than the policy's cool-down, which ends at {until}; it cannot be approved before"
        ),
    )
}

/// An unknown age under a cool-down.
#[must_use]
pub fn unknown_age(filename: &str) -> Reason {
    Reason::new(
        "unknown-age",
        &format!("the index does not say when {filename} was uploaded, so the cool-down could not be applied"),
    )
}

/// The verdict cannot be reached without advisories.
#[must_use]
pub fn advisories_required() -> Reason {
    Reason::new(
        "advisories-unavailable",
        "the policy requires advisories and none were given; the gate's operator must supply an OSV export",
    )
}

/// The verdict was reached without advisories.
#[must_use]
pub fn advisories_not_consulted() -> Reason {
    Reason::new(
        "advisories-not-consulted",
        "NO ADVISORIES WERE CONSULTED: known vulnerabilities were not looked for; the gate's operator must supply an OSV export",
    )
}

/// Pins in files that are not installed.
#[must_use]
pub fn pinned_elsewhere(place: &str, pin: &str, ids: &str) -> Reason {
    Reason::new(
        "pinned-elsewhere",
        &format!(
            "{place} pins {pin}, which has known vulnerabilities ({ids}); installing the package does not bring it, so this refuses nothing"
        ),
    )
}

/// A finding or doubt that a waiver covers.
#[must_use]
pub fn waived(rule: &str, approver: &str, reason: &str, expires: &str) -> Reason {
    Reason::new("waived", &format!("{rule} was accepted by {approver} until {expires}: {reason}"))
}

/// How many reasons were left out.
#[must_use]
pub fn more(count: usize) -> Reason {
    Reason::new("more", &format!("{count} further reasons are in the report"))
}

/// Other rows ask for the same package from elsewhere.
#[must_use]
pub fn conflict(name: &str, lines: &[u64]) -> Reason {
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    Reason::new(
        "conflict",
        &format!(
            "the request asks for '{name}' from more than one source or with more than one sha256 (see line {}); keep one of the rows",
            lines.join(", ")
        ),
    )
}

/// The code of [`file_over_function_limit`] and [`set_over_function_limit`].
pub const OVER_FUNCTION_LIMIT: &str = "over-function-limit";

/// A file that the policy allows and that is larger than the gate's functions can take; `most` is a size with its unit.
#[must_use]
pub fn file_over_function_limit(file: &str, most: &str) -> Reason {
    Reason::new(
        OVER_FUNCTION_LIMIT,
        &format!(
            "could not be checked: {file} is larger than {most}, the most that the gate's functions can take; the operator \
             may check it with 'gate check', or raise MaxArtifactMiB, and then the row is decided again"
        ),
    )
}

/// A set of more files than one version of a package may have where the gate publishes.
#[must_use]
pub fn set_over_function_limit(files: usize, most: usize) -> Reason {
    Reason::new(
        OVER_FUNCTION_LIMIT,
        &format!(
            "the release has {files} files for the policy's targets, and the gate can publish at most {most} of one \
             version; pin one file by its sha256, or ask the operator for fewer targets"
        ),
    )
}

/// Other bytes are published under these coordinates.
#[must_use]
pub fn coordinates_taken(coordinates: &Coordinates) -> Reason {
    Reason::new(
        "coordinates-taken",
        &format!(
            "{coordinates} is already published with other bytes, which are never overwritten; ask for another version"
        ),
    )
}

/// What is published lacks `missing` files of a set of `files`, and the repository adds none.
#[must_use]
pub fn published_in_part(coordinates: &Coordinates, missing: &[String], files: usize) -> Reason {
    let without = match missing {
        [] => "files of it".to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    };
    let pin = if missing.len() < files { "pin one of the other files by its sha256, or " } else { "" };
    Reason::new(
        "published-in-part",
        &format!(
            "{coordinates} is already published without {without}, and the repository adds no file to a published version; \
             {pin}ask the owner of the repository to delete the version, so that it can be published whole"
        ),
    )
}

/// A person has withdrawn what is published under these coordinates.
#[must_use]
pub fn withdrawn_by_hand(coordinates: &Coordinates) -> Reason {
    Reason::new(
        "withdrawn-by-hand",
        &format!(
            "a person has withdrawn {coordinates} from the repository, and the gate does not bring it back; ask InfoSec or the \
             owner of the repository why, or ask for another version"
        ),
    )
}

/// The row shares the outcome of an earlier one.
#[must_use]
pub fn same_as(line: u64) -> Reason {
    Reason::new("same-as", &format!("this row is the same request as line {line}, and shares its outcome"))
}

/// A problem of a row.
#[must_use]
pub fn invalid(line: u64, problem: &Problem) -> Reason {
    Reason::new(problem.code, &format!("line {line}, {problem}"))
}

/// A URL that may lead elsewhere tomorrow.
#[must_use]
pub fn moving_source(kind: &str, digest: &str) -> Reason {
    Reason::new(
        "moving-source",
        &format!("the URL names {kind}, whose bytes change; this verdict is about the bytes with SHA-256 {digest}"),
    )
}

/// A dependency that is neither approved nor requested.
#[must_use]
pub fn dependency_missing(requirement: &str, row: Option<&str>) -> Reason {
    let remedy = match row {
        Some(row) => format!("add the row: {row}"),
        None => "add a row for it".to_owned(),
    };
    Reason::new(
        "dependency-missing",
        &format!("it needs '{requirement}', which is neither approved nor requested; {remedy}"),
    )
}

/// A dependency that was asked for and is not approved.
#[must_use]
pub fn dependency_refused(requirement: &str, line: u64, verdict: &str) -> Reason {
    Reason::new(
        "dependency-refused",
        &format!(
            "it needs '{requirement}', which line {line} asks for and which is {verdict}; an installation will fail"
        ),
    )
}

/// A dependency that an installer would fetch from elsewhere.
#[must_use]
pub fn dependency_url(filename: &str, requirement: &str) -> Reason {
    let requirement = crate::text::escape_to(requirement, 200);
    Reason::new(
        "dependency-url",
        &format!(
            "{filename} needs '{requirement}', which an installer would fetch from that URL, past the approved packages"
        ),
    )
}

/// A dependency that cannot be read.
#[must_use]
pub fn dependency_unreadable(requirement: &str, why: &str) -> Reason {
    let requirement = crate::text::escape_to(requirement, 200);
    Reason::new("dependency-unreadable", &format!("its dependency '{requirement}' cannot be followed: {why}"))
}

/// An approval that no longer holds.
#[must_use]
pub fn withdrawn(coordinates: &Coordinates) -> Reason {
    Reason::new("withdrawn", &format!("{coordinates} was published before and has been withdrawn from the index"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_in_part_names_what_it_lacks_and_what_can_be_had() {
        let coordinates = Coordinates::pypi("Flask", &"3.0.3".parse().unwrap());
        let says = |missing: &[&str], files| {
            let missing: Vec<_> = missing.iter().map(|name| (*name).to_owned()).collect();
            published_in_part(&coordinates, &missing, files).message
        };
        for (missing, files, without, pins) in [
            (&["a.whl"][..], 2, " without a.whl, ", true),
            (&["a.whl", "b.whl"], 3, " without a.whl and 1 more, ", true),
            (&["a.whl", "b.whl", "c.whl"], 3, " without a.whl and 2 more, ", false),
            (&["a.whl"], 1, " without a.whl, ", false),
        ] {
            let message = says(missing, files);
            assert!(message.starts_with("pkg:pypi/flask@3.0.3 is already published"), "{message}");
            assert!(message.contains(without), "{message}");
            assert_eq!(message.contains("pin one of the other files"), pins, "{message}");
            assert!(message.contains("ask the owner of the repository"), "{message}");
        }
    }
}
