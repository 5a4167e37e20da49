//! Which dependencies of approved packages an installation would miss, and the rows that would bring them.

use std::collections::{BTreeMap, BTreeSet};

use gate_core::coordinates::Format;
use gate_core::dependency::{self, Missing, Requirement, Requirements, satisfies};
use gate_core::message;
use gate_core::outcome::{Reason, Verdict};
use gate_core::policy::Policy;
use gate_core::ports::PackageIndex;
use gate_core::report::DistributionKind;
use gate_fetcher::newest_matching;
use gate_publisher::directory::DirectoryRepository;
use pep440_rs::Version;

use crate::pipeline::RowEnd;

/// Adds a note to each approved row for each dependency that is not approved.
pub(crate) async fn note(
    ends: &mut [RowEnd],
    repository: &DirectoryRepository,
    index: &impl PackageIndex,
    policy: &Policy,
) {
    let approved = approved(repository);
    let requested: Vec<_> = ends.iter().filter_map(requested).collect();
    let metadata: BTreeMap<String, Vec<String>> = ends.iter().filter_map(metadata).collect();
    for end in ends.iter_mut().filter(|end| end.outcome.verdict == Verdict::Approved) {
        let Requirements { applicable, problems } = requirements(end, &metadata, policy);
        let mut notes: Vec<Reason> =
            problems.iter().map(|(line, why)| message::dependency_unreadable(line, &why.to_string())).collect();
        for Missing { name, specifiers, .. } in dependency::missing(&applicable, &approved) {
            let written = format!("{name} {specifiers}");
            let asked = requested.iter().find(|(asked, version, ..)| *asked == name && satisfies(version, &specifiers));
            if let Some((_, _, line, verdict)) = asked {
                notes.push(message::dependency_refused(written.trim(), *line, verdict.as_str()));
                continue;
            }
            let row = suggestion(&name, &specifiers, index, policy).await;
            notes.push(message::dependency_missing(written.trim(), row.as_deref()));
            end.rows_to_add.extend(row);
        }
        end.outcome.reasons.extend(notes);
    }
}

/// Every published release.
fn approved(repository: &DirectoryRepository) -> Vec<(String, Version)> {
    let names = repository.projects(Format::Pypi).unwrap_or_default();
    let releases = names.iter().flat_map(|name| repository.releases(Format::Pypi, name).unwrap_or_default());
    releases.filter_map(|release| Some((release.coordinates.name, release.coordinates.version.parse().ok()?))).collect()
}

/// What a row that is not approved asked for.
fn requested(end: &RowEnd) -> Option<(String, Version, u64, Verdict)> {
    let wanted = end.wanted.as_ref().filter(|_| end.outcome.verdict != Verdict::Approved)?;
    Some((wanted.name.normalized(), wanted.source.claimed_version()?, end.outcome.line, end.outcome.verdict))
}

/// What an installation of the row's set needs; for an sdist also what building it needs.
fn requirements(end: &RowEnd, metadata: &BTreeMap<String, Vec<String>>, policy: &Policy) -> Requirements {
    let mut lines: Vec<String> = Vec::new();
    for distribution in end.reports.iter().filter_map(|(_, report)| report.distribution.as_ref()) {
        lines.extend(distribution.requires_dist.iter().cloned());
        if distribution.kind == DistributionKind::Sdist {
            // PEP 518: without a [build-system] table, setuptools builds it.
            let default = ["setuptools".to_owned()];
            let build =
                if distribution.build_requires.is_empty() { &default[..] } else { &distribution.build_requires };
            lines.extend(build.iter().cloned());
        }
    }
    lines.sort();
    lines.dedup();
    let mut found = dependency::applicable(&lines, &policy.targets, &[]);
    // `other[extra]` needs what the extra of `other` needs, too: followed where this run has the metadata of `other`.
    let mut followed = BTreeSet::new();
    let mut next = 0;
    while let Some(Requirement { name, extras, .. }) = found.applicable.get(next).cloned() {
        next += 1;
        if let Some(lines) = metadata.get(&name).filter(|_| !extras.is_empty())
            && followed.insert((name, extras.clone()))
        {
            found.applicable.extend(dependency::applicable(lines, &policy.targets, &extras).applicable);
        }
    }
    found
}

/// The dependencies of an approved row, by its name.
fn metadata(end: &RowEnd) -> Option<(String, Vec<String>)> {
    let wanted = end.wanted.as_ref().filter(|_| end.outcome.verdict == Verdict::Approved)?;
    let distributions = end.reports.iter().filter_map(|(_, report)| report.distribution.as_ref());
    Some((
        wanted.name.normalized(),
        distributions.flat_map(|distribution| distribution.requires_dist.clone()).collect(),
    ))
}

async fn suggestion(
    name: &str,
    specifiers: &pep440_rs::VersionSpecifiers,
    index: &impl PackageIndex,
    policy: &Policy,
) -> Option<String> {
    let package = name.parse().ok()?;
    let files = index.files(&package).await.ok()?;
    let version = newest_matching(&files, &package, specifiers, &policy.targets)?;
    Some(format!("{name},pkg:pypi/{name}@{version}"))
}
