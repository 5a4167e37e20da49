//! What a distribution needs besides itself: its `Requires-Dist` lines, read for the policy's targets.

mod marker;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};

use crate::coordinates::normalize;
use crate::policy::Targets;
use marker::{Environment, Marker};

/// The most bytes of one `Requires-Dist` line.
pub const LINE_BYTES: usize = 16 * 1024;

/// Another package that a distribution needs on at least one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Normalised (PEP 503).
    pub name: String,
    /// Its optional parts that are wanted too, normalised.
    pub extras: Vec<String>,
    /// Which versions will do; empty means any.
    pub specifiers: VersionSpecifiers,
    /// The whole line as written. Untrusted text: escape it before showing it.
    pub raw: String,
}

/// What the lines of one distribution come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Those that apply, in the order of the lines, each once.
    pub applicable: Vec<Requirement>,
    /// The lines that cannot be read or followed, with the reason. What they need is not known, so they approve nothing.
    pub problems: Vec<(String, Problem)>,
}

/// Why a `Requires-Dist` line cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// More than [`LINE_BYTES`].
    #[error("it is longer than {LINE_BYTES} bytes")]
    TooLong,
    /// More nested parentheses than any real marker has.
    #[error("its marker has more than {} nested parentheses", marker::DEPTH)]
    TooDeep,
    /// The name or the list of extras is not one.
    #[error("it does not begin with a package name (PEP 508)")]
    Name,
    /// A version specifier is not one.
    #[error("its version specifier is not valid (PEP 440)")]
    Specifier,
    /// The part after the semicolon is not a marker.
    #[error("its environment marker is not valid (PEP 508)")]
    Marker,
    /// `name @ URL`: an installer would fetch it past the approved index.
    #[error("it names a URL, which an installer would fetch past the approved index")]
    Url,
}

/// The requirements among these `Requires-Dist` lines that apply on at least one target, with these extras asked for.
///
/// Targets are CPython on Linux. Where a target leaves a marker open (patch release, kernel), the requirement applies.
#[must_use]
pub fn applicable(lines: &[String], targets: &Targets, extras: &[String]) -> Requirements {
    let extras: Vec<String> = extras.iter().map(|extra| normalize(extra)).collect();
    let mut out = Requirements::default();
    let mut seen = BTreeSet::new();
    for line in lines {
        match read(line, targets, &extras) {
            Ok(Some(requirement)) => {
                let key = (requirement.name.clone(), requirement.extras.clone(), requirement.specifiers.to_string());
                if seen.insert(key) {
                    out.applicable.push(requirement);
                }
            }
            Ok(None) => {}
            Err(problem) => out.problems.push((line.clone(), problem)),
        }
    }
    out
}

/// One line; nothing if its marker excludes every target.
fn read(line: &str, targets: &Targets, extras: &[String]) -> Result<Option<Requirement>, Problem> {
    if line.len() > LINE_BYTES {
        return Err(Problem::TooLong);
    }
    if let (_, Some(marker)) = split_marker(line) {
        let marker = Marker::parse(marker)?;
        let applies = targets.python.iter().any(|python| {
            targets.machines.iter().any(|machine| marker.applies(&Environment { python, machine, extras }))
        });
        if !applies {
            return Ok(None);
        }
    }
    parse(line).map(Some)
}

/// One line, whatever its marker says.
///
/// # Errors
/// The line is not a requirement, or names a URL.
pub fn parse(line: &str) -> Result<Requirement, Problem> {
    if line.len() > LINE_BYTES {
        return Err(Problem::TooLong);
    }
    let head = split_marker(line).0.trim();
    let end = head.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
    let (name, rest) = head.split_at(end.unwrap_or(head.len()));
    let (extras, rest) = split_extras(rest.trim_start())?;
    if !is_name(name) {
        return Err(Problem::Name);
    }
    let rest = rest.trim();
    if rest.starts_with('@') {
        return Err(Problem::Url);
    }
    let list = match rest.strip_prefix('(') {
        Some(inner) => inner.strip_suffix(')').ok_or(Problem::Specifier)?,
        None => rest,
    };
    let specifiers = list
        .split(',')
        .filter(|one| !one.trim().is_empty())
        .map(|one| VersionSpecifier::from_str(one).map_err(|_| Problem::Specifier))
        .collect::<Result<VersionSpecifiers, _>>()?;
    Ok(Requirement { name: normalize(name), extras, specifiers, raw: line.to_owned() })
}

/// The line before and after the semicolon. A URL may hold one itself, so after `@` only one behind white space counts.
fn split_marker(line: &str) -> (&str, Option<&str>) {
    let semicolon = line.find(';');
    let at = line.find('@').filter(|at| semicolon.is_none_or(|semicolon| *at < semicolon));
    let position = match at {
        None => semicolon,
        Some(_) => line
            .match_indices(';')
            .map(|(position, _)| position)
            .find(|position| line[..*position].ends_with(char::is_whitespace)),
    };
    match position {
        Some(position) => (&line[..position], Some(&line[position + 1..])),
        None => (line, None),
    }
}

/// `[a, b]` and what follows.
fn split_extras(text: &str) -> Result<(Vec<String>, &str), Problem> {
    let Some(inner) = text.strip_prefix('[') else { return Ok((Vec::new(), text)) };
    let (list, rest) = inner.split_once(']').ok_or(Problem::Name)?;
    if list.trim().is_empty() {
        return Ok((Vec::new(), rest));
    }
    let extra = |one: &str| {
        let one = one.trim();
        if is_name(one) { Ok(normalize(one)) } else { Err(Problem::Name) }
    };
    Ok((list.split(',').map(extra).collect::<Result<_, _>>()?, rest))
}

/// The grammar of a name: letters, digits, `.`, `_` and `-`, a letter or digit at both ends (PEP 508).
fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// A requirement that nothing available satisfies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Normalised (PEP 503).
    pub name: String,
    /// Which versions would do; empty means any.
    pub specifiers: VersionSpecifiers,
    /// Versions of that package that are available and will not do, oldest first.
    pub found: Vec<Version>,
}

/// The requirements that none of the available versions satisfies, in the order of `requirements`, each once.
///
/// Each requirement is asked by itself: that one version satisfies two of them at once is the installer's question.
#[must_use]
pub fn missing(requirements: &[Requirement], available: &[(String, Version)]) -> Vec<Missing> {
    let mut versions: BTreeMap<String, BTreeSet<&Version>> = BTreeMap::new();
    for (name, version) in available {
        versions.entry(normalize(name)).or_default().insert(version);
    }
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for Requirement { name, specifiers, .. } in requirements {
        let found = versions.get(name);
        let satisfied = found.is_some_and(|found| found.iter().any(|version| satisfies(version, specifiers)));
        if !satisfied && seen.insert((name, specifiers.to_string())) {
            let found = found.into_iter().flatten().copied().cloned().collect();
            out.push(Missing { name: name.clone(), specifiers: specifiers.clone(), found });
        }
    }
    out
}

/// Whether an installer without `--pre` takes this version: a pre-release only if a specifier names one (PEP 440, "Handling
/// of pre-releases"; `!=` does not count).
#[must_use]
pub fn satisfies(version: &Version, specifiers: &VersionSpecifiers) -> bool {
    let names_one = |specifier: &VersionSpecifier| {
        specifier.any_prerelease() && !matches!(specifier.operator(), Operator::NotEqual | Operator::NotEqualStar)
    };
    (!version.any_prerelease() || specifiers.iter().any(names_one))
        && specifiers.iter().all(|specifier| admits(specifier, version))
}

/// One specifier, without the rule of pre-releases. `==1.2.*` compares the release padded with zeros (PEP 440, "Version
/// matching"): 1 is 1.0 there and does not match, which `pep440_rs` takes for a match.
fn admits(specifier: &VersionSpecifier, version: &Version) -> bool {
    let digits = specifier.version().release().len();
    if specifier.operator().is_star() && version.release().len() < digits {
        let padded = version.release().iter().copied().chain(std::iter::repeat(0)).take(digits);
        return specifier.contains(&version.clone().with_release(padded));
    }
    specifier.contains(version)
}

/// The version that a requirement fixes by `==` or `===`; `==1.*` fixes none.
#[must_use]
pub fn exact_pin(requirement: &Requirement) -> Option<Version> {
    let pins = |specifier: &&VersionSpecifier| matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual);
    requirement.specifiers.iter().find(pins).map(|specifier| specifier.version().clone())
}
