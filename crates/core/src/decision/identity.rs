//! Whether a set is what its row asks for.

use pep440_rs::Version;

use super::{Case, Examined};
use crate::coordinates::{Coordinates, normalize};
use crate::finding::{Category, Finding};
use crate::report::{Distribution, DistributionKind};
use crate::severity::{Confidence, Severity};
use crate::source::{DistributionFilename, Source};

/// The coordinates that every file of the set agrees on, or what disagrees.
///
/// A URL that leads to no Python distribution is a generic asset; its version is the beginning of its digest.
pub(super) fn coordinates(case: &Case<'_>) -> Result<Coordinates, Vec<Finding>> {
    if let (Source::Url(_) | Source::File(_), [file]) = (case.source, case.files)
        && file.report.distribution.is_none()
    {
        return Ok(Coordinates::generic(case.name, &file.sha256));
    }
    // A scan that was given up may not have come to the metadata: that is a doubt, and no mismatch.
    if case.files.iter().any(|file| file.report.distribution.is_none() && file.report.lost().next().is_some()) {
        return Err(Vec::new());
    }
    let claimed = case.source.claimed_version();
    let mut mismatches = Vec::new();
    let mut agreed: Option<Version> = None;
    for file in case.files {
        match version_of(case, file, claimed.as_ref().or(agreed.as_ref())) {
            Ok(version) => agreed = Some(version),
            Err(title) => mismatches.push(mismatch(title)),
        }
    }
    match agreed {
        Some(version) if mismatches.is_empty() => Ok(Coordinates::pypi(case.name.as_str(), &version)),
        _ => Err(mismatches),
    }
}

fn version_of(case: &Case<'_>, file: &Examined, expected: Option<&Version>) -> Result<Version, String> {
    let filename = &file.filename;
    let Some(Distribution { kind, name, version, .. }) = &file.report.distribution else {
        return Err(format!("{filename} is not a Python distribution: it has no metadata"));
    };
    if normalize(name) != case.name.normalized() {
        return Err(format!("{filename} calls itself '{name}' and the row asks for '{}'", case.name));
    }
    let parsed: Version = version
        .parse()
        .map_err(|_| format!("{filename} calls itself version '{version}', which is no version (PEP 440)"))?;
    if let Some(expected) = expected
        && parsed != *expected
    {
        return Err(format!("{filename} calls itself version '{version}' and {expected} was asked for"));
    }
    let named = DistributionFilename::parse(filename)
        .ok_or_else(|| format!("'{filename}' is not the name of a wheel or an sdist"))?;
    if named.name != normalize(name)
        || named.version != parsed
        || named.is_wheel() != (*kind == DistributionKind::Wheel)
    {
        return Err(format!("the name of {filename} does not say what its metadata says: '{name}' {version}"));
    }
    Ok(parsed)
}

fn mismatch(title: String) -> Finding {
    Finding {
        rule: "coordinates-mismatch".to_owned(),
        title,
        severity: Severity::High,
        confidence: Confidence::High,
        category: Category::Identity,
        cwe: Some(345),
        location: None,
        snippet: None,
        remedy: "Ask for the package by the name and version that it has, from a source that you trust.".to_owned(),
        references: Vec::new(),
    }
}
