//! Which files of a release are taken: for every target the wheel that an installer would take there, else the sdist.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use gate_core::coordinates::PackageName;
use gate_core::digest::Sha256;
use gate_core::evidence::IndexFile;
use gate_core::failure::{Failure, FailureCode};
use gate_core::policy::{SdistPolicy, Targets};
use gate_core::source::DistributionFilename;
use pep440_rs::{Version, VersionSpecifiers};

use crate::tags::{Rank, Target, targets};

/// The set of files that a release leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Sorted by file name; each has a SHA-256 from the index.
    pub files: Vec<IndexFile>,
    /// Targets without a wheel, one sentence for each interpreter.
    pub uncovered: Vec<String>,
    /// Whether an sdist is among the files.
    pub sdist: bool,
}

/// How many versions a message suggests.
const SUGGESTIONS: usize = 5;

/// Whether it is yanked, how well its tags suit, its build tag; the lowest is preferred.
type Preference = (bool, Rank, Reverse<(u64, String)>);

/// A file of the project whose name says what it is.
struct Candidate<'a> {
    file: &'a IndexFile,
    name: DistributionFilename,
}

impl<'a> Candidate<'a> {
    fn of(file: &'a IndexFile, project: &str) -> Option<Self> {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '!');
        if !file.filename.chars().all(safe) {
            return None;
        }
        let name = DistributionFilename::parse(&file.filename)?;
        (name.name == project).then_some(Self { file, name })
    }

    /// Where an installer on the target would place this wheel; the lowest is taken. Yanked files come last (PEP 592), a
    /// higher build number first (PEP 427).
    fn preference(&self, target: &Target) -> Option<Preference> {
        let rank = target.rank(self.name.tags.as_deref()?)?;
        offered_to(self.file, target.minor)
            .then(|| (self.file.yanked.is_some(), rank, Reverse(build(&self.file.filename))))
    }
}

/// Whether a page lists any distribution of the project.
pub(crate) fn lists(files: &[IndexFile], name: &PackageName) -> bool {
    let project = name.normalized();
    files.iter().any(|file| Candidate::of(file, &project).is_some())
}

/// The build tag of a wheel: its number, and the rest. No build tag sorts before every other.
fn build(filename: &str) -> (u64, String) {
    let parts: Vec<_> = filename.split('-').collect();
    let [_, _, build, _, _, _] = parts[..] else { return (0, String::new()) };
    let digits = build.len() - build.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    // One more, so that an explicit 0 is above no build tag at all.
    (build[..digits].parse::<u64>().unwrap_or(0).saturating_add(1), build[digits..].to_owned())
}

/// Whether an installer offers the file to CPython 3.`minor`. A specifier that cannot be read is ignored, as pip does.
fn offered_to(file: &IndexFile, minor: u32) -> bool {
    let Some(specifiers) = file.requires_python.as_deref().and_then(|text| text.parse::<VersionSpecifiers>().ok())
    else {
        return true;
    };
    // A late patch release: users of 3.12 do not run 3.12.0.
    specifiers.contains(&Version::new([3, u64::from(minor), 99]))
}

/// The files of a release that the policy's targets need.
///
/// # Errors
/// `NotFound` when the index does not list the version, `NoUsableFile` when nothing in it suits, `BadIndex` when a file that
/// is needed has no SHA-256.
pub fn select(
    files: &[IndexFile],
    name: &PackageName,
    version: &Version,
    policy: &Targets,
) -> Result<Selection, Failure> {
    let release = release(files, name, version)?;
    let targets = usable_targets(policy)?;
    let mut taken: BTreeMap<&str, &IndexFile> = BTreeMap::new();
    let mut uncovered: Vec<&Target> = Vec::new();
    for target in &targets {
        let best = release.iter().filter_map(|wheel| Some((wheel.preference(target)?, wheel.file)));
        match best.min_by(|(a, _), (b, _)| a.cmp(b)) {
            Some((_, file)) => {
                taken.insert(&file.filename, file);
            }
            None => uncovered.push(target),
        }
    }
    let no_wheel = taken.is_empty();
    let want_sdist = match policy.sdist {
        SdistPolicy::Always => true,
        SdistPolicy::Fallback => no_wheel,
        SdistPolicy::Never => false,
    };
    let sdist = if want_sdist { best_sdist(&release, &targets) } else { None };
    if let Some(sdist) = sdist {
        taken.insert(&sdist.filename, sdist);
    }
    if taken.is_empty() {
        let has_sdist = best_sdist(&release, &targets).is_some();
        return Err(no_usable_file(name, version, &targets, has_sdist));
    }
    let files: Vec<_> = taken.into_values().cloned().collect();
    if let Some(file) = files.iter().find(|file| file.sha256.is_none()) {
        return Err(no_digest(file));
    }
    Ok(Selection { files, uncovered: sentences(&uncovered, policy), sdist: sdist.is_some() })
}

/// The one file of a release whose digest the index gives as `digest`, whatever machine it is for: the row asks for it.
///
/// # Errors
/// `NotFound` when the index does not list the version, `DigestMismatch` when no file of it has the digest.
pub fn select_pinned(
    files: &[IndexFile],
    name: &PackageName,
    version: &Version,
    digest: &Sha256,
) -> Result<IndexFile, Failure> {
    let release = release(files, name, version)?;
    let pinned = release.iter().find(|candidate| candidate.file.sha256.as_ref() == Some(digest));
    pinned.map(|candidate| candidate.file.clone()).ok_or_else(|| {
        Failure::new(
            FailureCode::DigestMismatch,
            format!(
                "no file of {name} {version} on the index has the SHA-256 {digest} that the row pins; correct the sha256 \
                 column or leave it empty"
            ),
        )
    })
}

/// The newest version that the specifiers allow, is no pre-release, is not yanked and has a file for a target.
#[must_use]
pub fn newest_matching(
    files: &[IndexFile],
    name: &PackageName,
    specifiers: &VersionSpecifiers,
    policy: &Targets,
) -> Option<Version> {
    let project = name.normalized();
    let targets = targets(policy);
    let usable = |candidate: &Candidate<'_>| {
        if candidate.name.is_wheel() {
            targets.iter().any(|target| candidate.preference(target).is_some())
        } else {
            policy.sdist != SdistPolicy::Never && targets.iter().any(|target| offered_to(candidate.file, target.minor))
        }
    };
    files
        .iter()
        .filter(|file| file.yanked.is_none() && file.sha256.is_some())
        .filter_map(|file| Candidate::of(file, &project))
        .filter(|candidate| !candidate.name.version.any_prerelease() && specifiers.contains(&candidate.name.version))
        .filter(usable)
        .map(|candidate| candidate.name.version)
        .max()
}

fn release<'a>(files: &'a [IndexFile], name: &PackageName, version: &Version) -> Result<Vec<Candidate<'a>>, Failure> {
    let project = name.normalized();
    let all: Vec<_> = files.iter().filter_map(|file| Candidate::of(file, &project)).collect();
    if !all.iter().any(|candidate| candidate.name.version == *version) {
        return Err(no_version(name, version, &all));
    }
    Ok(all.into_iter().filter(|candidate| candidate.name.version == *version).collect())
}

/// A `.tar.gz` before a `.zip`, not yanked before yanked; only one that some target may install.
fn best_sdist<'a>(release: &[Candidate<'a>], targets: &[Target]) -> Option<&'a IndexFile> {
    release
        .iter()
        .filter(|candidate| !candidate.name.is_wheel())
        .map(|candidate| candidate.file)
        .filter(|file| targets.iter().any(|target| offered_to(file, target.minor)))
        .min_by_key(|file| (file.yanked.is_some(), !file.filename.ends_with(".tar.gz")))
}

fn usable_targets(policy: &Targets) -> Result<Vec<Target>, Failure> {
    let targets = targets(policy);
    if targets.is_empty() {
        return Err(Failure::new(
            FailureCode::NoUsableFile,
            "the policy names no target that wheels can be chosen for; [targets] needs python such as \"3.12\", machines and \
             glibc such as \"2.34\"",
        ));
    }
    Ok(targets)
}

/// `no wheel for CPython 3.13 on aarch64`; the machines of one interpreter in one sentence, none named when it is all.
fn sentences(uncovered: &[&Target], policy: &Targets) -> Vec<String> {
    let mut by_python: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for target in uncovered {
        by_python.entry(target.minor).or_default().insert(&target.machine);
    }
    let all: BTreeSet<_> = policy.machines.iter().map(String::as_str).collect();
    let sentence = |(minor, machines): (u32, BTreeSet<&str>)| {
        if machines == all {
            format!("no wheel for CPython 3.{minor}")
        } else {
            let machines: Vec<_> = machines.into_iter().collect();
            format!("no wheel for CPython 3.{minor} on {}", machines.join(" and "))
        }
    };
    by_python.into_iter().map(sentence).collect()
}

fn no_version(name: &PackageName, version: &Version, all: &[Candidate<'_>]) -> Failure {
    let versions: BTreeSet<_> = all
        .iter()
        .filter(|candidate| candidate.file.yanked.is_none())
        .map(|candidate| &candidate.name.version)
        .collect();
    let stable: Vec<_> = versions.iter().rev().filter(|version| !version.any_prerelease()).collect();
    let shown: Vec<_> = if stable.is_empty() { versions.iter().rev().collect() } else { stable };
    let shown: Vec<_> = shown.into_iter().take(SUGGESTIONS).map(ToString::to_string).collect();
    let remedy = if shown.is_empty() {
        "it lists no wheel or source distribution of it at all".to_owned()
    } else {
        format!("the newest are {}", shown.join(", "))
    };
    Failure::new(FailureCode::NotFound, format!("the index has no version {version} of {name}; {remedy}"))
}

fn no_usable_file(name: &PackageName, version: &Version, targets: &[Target], has_sdist: bool) -> Failure {
    let pythons: BTreeSet<_> = targets.iter().map(|target| target.minor).collect();
    let pythons: Vec<_> = pythons.into_iter().map(|minor| format!("3.{minor}")).collect();
    let remedy = if has_sdist {
        "it has a source distribution, which the policy does not take (targets.sdist); ask for another version"
    } else {
        "ask for another version"
    };
    Failure::new(
        FailureCode::NoUsableFile,
        format!(
            "{name} {version} has no file that CPython {} can install on the policy's machines; {remedy}",
            pythons.join(", ")
        ),
    )
}

fn no_digest(file: &IndexFile) -> Failure {
    Failure::new(
        FailureCode::BadIndex,
        format!(
            "the index gives no SHA-256 for {}, so nobody could tell whether its bytes are the right ones; ask the operator \
             for an index that does",
            file.filename
        ),
    )
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
