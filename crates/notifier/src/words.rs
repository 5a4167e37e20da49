//! What a verdict means and what to do next, in the words of somebody who has never seen the gate.

use std::collections::BTreeSet;

use gate_core::coordinates::PackageName;
use gate_core::coverage::{LostReason, OpaqueKind};
use gate_core::failure::FailureCode;
use gate_core::finding::Category;
use gate_core::message;
use gate_core::outcome::{Reason, RowOutcome, Verdict};
use gate_core::report::ScannerVersion;
use gate_core::source::Source;
use pep440_rs::Version;

use crate::plain;
use crate::view::{AssetRepository, RowView, RunView};

/// All verdicts, in the order in which they are shown.
pub const VERDICTS: [Verdict; 5] =
    [Verdict::Approved, Verdict::Refused, Verdict::Held, Verdict::Failed, Verdict::Invalid];

/// The most files of one package whose download is shown; a release has one for each machine, and users need one of them.
const ASSETS_SHOWN: usize = 3;

/// The most policies or scanners that are named in one sentence.
const NAMED: usize = 3;

/// The verdict as a heading.
#[must_use]
pub fn title(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approved => "Approved",
        Verdict::Refused => "Refused",
        Verdict::Held => "Held",
        Verdict::Failed => "Failed",
        Verdict::Invalid => "Invalid",
    }
}

/// What the verdict means, in one or two sentences.
#[must_use]
pub fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approved => {
            "Nothing was found that the policy refuses, and every file that the gate can read was read."
        }
        Verdict::Refused => "Something was found that the policy does not let in. Nothing of it was published.",
        Verdict::Held => {
            "The gate could not settle this by itself: a human must look. It was not found to be vulnerable, and nothing of it was published."
        }
        Verdict::Failed => {
            "The gate could not decide, because it could not get or examine the package. This says nothing about its safety. Nothing of it was published."
        }
        Verdict::Invalid => "The row cannot be read, or may not be asked for. Nothing of it was published.",
    }
}

/// The verdict in a few words, for the head of a list.
#[must_use]
pub fn in_short(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approved => "ready to install",
        Verdict::Refused => "the policy does not let them in",
        Verdict::Held => "could not be settled; a human must look",
        Verdict::Failed => "the gate could not decide; this says nothing about their safety",
        Verdict::Invalid => "the row must be corrected",
    }
}

/// The reasons of a row that led to its verdict, and those that only inform. The first reason always decided.
#[must_use]
pub fn why_and_notes<'a>(row: &RowView<'a>) -> (Vec<&'a Reason>, Vec<&'a Reason>) {
    let outcome = row.outcome;
    let decided = row.decision.filter(|decision| decision.verdict == outcome.verdict);
    let is_note = |reason: &Reason| {
        let known = message::CODES.iter().any(|(code, means)| *code == reason.code && means.starts_with("note"));
        known || decided.is_some_and(|decision| !decision.reasons.contains(reason))
    };
    let (notes, why): (Vec<_>, Vec<_>) =
        outcome.reasons.iter().enumerate().partition(|(at, reason)| *at > 0 && is_note(reason));
    let reasons = |list: Vec<(usize, &'a Reason)>| list.into_iter().map(|(_, reason)| reason).collect();
    (reasons(why), reasons(notes))
}

/// By what these rows were decided: `the policy 98f238f77cd56a0d and the scanner built-in 0.1.0`. A row may have been decided
/// long before the run that tells of it; for rows without a decision it is what is in force at the end of the run.
#[must_use]
pub fn decided_by<'a>(run: &RunView<'_>, rows: impl IntoIterator<Item = &'a RowView<'a>>) -> String {
    let (mut policies, mut scanners) = (BTreeSet::new(), BTreeSet::new());
    let name = |scanner: &ScannerVersion| plain::shown(&format!("{} {}", scanner.name, scanner.version), 120);
    for decision in rows.into_iter().filter_map(|row| row.decision) {
        policies.insert(decision.policy_sha256.short());
        scanners.extend(decision.files.iter().map(|file| name(&file.scanner)));
    }
    if policies.is_empty() {
        policies.insert(run.document.policy_sha256.short());
    }
    if scanners.is_empty() {
        scanners.insert(name(&run.document.scanner));
    }
    format!("{} and {}", named("policy", policies), named("scanner", scanners))
}

/// `the policy a`, `the policies a, b`, or how many there are.
fn named(what: &str, names: BTreeSet<String>) -> String {
    let number = plain::count(names.len(), what);
    let (_, plural) = number.split_once(' ').unwrap_or_default();
    match names.len() {
        1..=NAMED => format!("the {plural} {}", names.into_iter().collect::<Vec<_>>().join(", ")),
        _ => number,
    }
}

/// What a requester reads when the gate could not finish a row because of a fault of its own. `again` says whether it tries
/// again by itself.
#[must_use]
pub fn fault(code: FailureCode, again: bool) -> String {
    let what = match code {
        FailureCode::ScannerUnavailable => {
            "a scanner that must look at the package could not be reached, or did not finish in time"
        }
        FailureCode::AdvisoriesUnavailable => {
            "the policy requires advisories and there are none, so known vulnerabilities could not be looked for"
        }
        _ => "the gate could not finish its work on the package because of a fault of its own",
    };
    let next = match again {
        true => "it is tried again by itself",
        false => "it is tried again when they have cured it: ask them when",
    };
    format!("{what}; the gate's operators have been told, and {next}")
}

/// What the requester does next; none when there is nothing to do. `add` is a row of the request to ask with instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextStep {
    /// One or two sentences.
    pub text: String,
    /// A CSV line to put in the request, `VERSION` where the requester chooses one.
    pub row: Option<String>,
}

/// What the requester of a row does next; none for an approved row.
#[must_use]
pub fn next_step(row: &RowView<'_>) -> Option<NextStep> {
    let outcome = row.outcome;
    let line = outcome.line;
    let step = |text: String| Some(NextStep { text, row: None });
    match outcome.verdict {
        Verdict::Approved => None,
        Verdict::Refused => Some(refused(row)),
        Verdict::Held | Verdict::Failed if row.again_at.is_some() => step(format!(
            "There is nothing to do now: the gate tries it again by itself, from {} on, and writes again if the outcome changes.",
            row.again_at.map(plain::when).unwrap_or_default()
        )),
        Verdict::Held if outcome.reasons.iter().any(|reason| reason.code == message::OVER_FUNCTION_LIMIT) => step(
            "Ask the gate's operator; the row can stay as it is, and is decided again when the limit has changed."
                .to_owned(),
        ),
        Verdict::Held => step(
            "Ask InfoSec to look at it, and quote the name and the SHA-256. Asking again with the same bytes ends the same way."
                .to_owned(),
        ),
        Verdict::Failed if outcome.reasons.first().is_some_and(Reason::is_retryable) => step(
            "The row can stay as it is: trying again later may help. Tell the gate's operator if it keeps failing."
                .to_owned(),
        ),
        Verdict::Failed => step(format!(
            "Trying again as it is will not help: do what the reason says, and change line {line} of the request if it is at fault."
        )),
        Verdict::Invalid => step(format!("Correct line {line} of the request and ask again.")),
    }
}

fn refused(row: &RowView<'_>) -> NextStep {
    let line = row.outcome.line;
    let refusing = || row.decision.iter().flat_map(|decision| &decision.findings).filter(|weighed| weighed.refuses);
    if refusing().any(|weighed| weighed.finding.category == Category::Malware) {
        let text = format!(
            "Do not install it from anywhere else. Check the spelling of its name, remove line {line} from the request, and tell InfoSec if it was installed before."
        );
        return NextStep { text, row: None };
    }
    let fixed = row.fixed_version.as_ref().filter(|version| version.parse::<Version>().is_ok());
    let asked = row_of(row.outcome, fixed.map_or("VERSION", String::as_str));
    let text = match fixed {
        Some(version) if refusing().all(|weighed| weighed.finding.category == Category::Advisory) => format!(
            "Version {version} has none of these known vulnerabilities. Ask for it: replace line {line} of the request by the row below."
        ),
        Some(version) => format!(
            "Version {version} has none of the known vulnerabilities; whether it has the other findings, only its own check can tell. Ask for it: replace line {line} of the request by the row below."
        ),
        None => format!(
            "Ask for a release without these findings: replace line {line} of the request. If there is none, ask InfoSec whether the findings can be waived."
        ),
    };
    NextStep { text, row: asked }
}

/// The row that asks for another release of the same package; none unless the name is one that a row may carry.
fn row_of(outcome: &RowOutcome, version: &str) -> Option<String> {
    let name: PackageName = outcome.name.parse().ok()?;
    let on_index = outcome.coordinates.as_deref().is_some_and(|purl| purl.starts_with("pkg:pypi/"))
        || matches!(outcome.source.parse(), Ok(Source::Pypi { .. }));
    Some(match on_index {
        true => format!("{name},pkg:pypi/{}@{version}", name.normalized()),
        false => format!("{name},URL-OF-ANOTHER-RELEASE"),
    })
}

/// What users would install: the name and version of the coordinates, or none while they are unknown.
#[must_use]
pub fn coordinates(outcome: &RowOutcome) -> Option<(&str, &str)> {
    let (_, rest) = outcome.coordinates.as_deref()?.strip_prefix("pkg:")?.split_once('/')?;
    rest.rsplit_once('@')
}

/// What a requester can type after `pip install`, for an approved distribution.
#[must_use]
pub fn pip_requirement(outcome: &RowOutcome) -> Option<String> {
    let is_pypi = outcome.coordinates.as_deref().is_some_and(|purl| purl.starts_with("pkg:pypi/"));
    if outcome.verdict != Verdict::Approved || !is_pypi {
        return None;
    }
    let (name, version) = coordinates(outcome)?;
    // Coordinates are normalised; whatever a shell could read otherwise is not offered for pasting into one.
    let plain = |text: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let has_epoch = version.split_once('!').is_some_and(|(epoch, rest)| plain(epoch) && plain(rest));
    match plain(name) {
        true if plain(version) => Some(format!("{name}=={version}")),
        true if has_epoch => Some(format!("'{name}=={version}'")),
        _ => None,
    }
}

/// The command that installs these requirements from the approved index.
#[must_use]
pub fn pip_install(index_url: &str, requirements: &str) -> String {
    format!("pip install --index-url {} {requirements}", plain::shown(index_url, 400))
}

/// The commands that download the files of an approved distribution from a repository of assets and install it, and how many
/// files they leave out; none when it cannot be installed, or a shell could read a name in them otherwise.
#[must_use]
pub fn asset_install(repository: &AssetRepository, outcome: &RowOutcome) -> Option<(Vec<String>, usize)> {
    let requirement = pip_requirement(outcome)?;
    let (name, version) = coordinates(outcome)?;
    let AssetRepository { domain, owner, repository } = repository;
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'));
    if ![domain, owner, repository, name, version].into_iter().all(plain) {
        return None;
    }
    let shown = outcome.artifacts.iter().map(|artifact| &artifact.filename).filter(|filename| plain(filename));
    let mut lines: Vec<_> = shown
        .take(ASSETS_SHOWN)
        .map(|file| {
            format!(
                "aws codeartifact get-package-version-asset --domain {domain} --domain-owner {owner} \
                 --repository {repository} --format generic --namespace gate --package {name} \
                 --package-version {version} --asset {file} {file}"
            )
        })
        .collect();
    let left_out = outcome.artifacts.len() - lines.len();
    lines.push(format!("pip install --no-index --find-links . {requirement}"));
    Some((lines, left_out))
}

/// The version to show: the coordinates', else the one that the source names, else the short digest of a lone file.
#[must_use]
pub fn version(outcome: &RowOutcome) -> Option<String> {
    if let Some((_, version)) = coordinates(outcome) {
        return Some(plain::shown(version, 64));
    }
    if let Some(version) = outcome.source.parse::<Source>().ok().and_then(|source| source.claimed_version()) {
        return Some(plain::shown(&version.to_string(), 64));
    }
    match &outcome.artifacts[..] {
        [file] => Some(file.sha256.short()),
        _ => None,
    }
}

/// A category of findings, for people.
#[must_use]
pub fn category(category: Category) -> &'static str {
    match category {
        Category::Advisory => "known vulnerability",
        Category::Archive => "hostile or ambiguous archive",
        Category::Code => "risky code",
        Category::Identity => "not the package that was asked for",
        Category::InstallTime => "code that runs on installation",
        Category::Malware => "pattern of malicious packages",
        Category::Pickle => "data whose loading runs code",
        Category::Secret => "credential",
    }
}

/// Why a file could not be checked, for people.
#[must_use]
pub fn lost(reason: LostReason) -> &'static str {
    match reason {
        LostReason::Limit => "beyond a limit",
        LostReason::AnalyzerDied => "the analyzer stopped on it",
        LostReason::Undecodable => "not in the encoding that it claims",
        LostReason::Unparsable => "does not follow the grammar of its kind",
        LostReason::Encrypted => "encrypted",
        LostReason::UnknownMethod => "packed by an unknown method",
    }
}

/// A kind of file that can run and that nothing here reads, for people.
#[must_use]
pub fn opaque(kind: OpaqueKind) -> &'static str {
    match kind {
        OpaqueKind::Native => "native code",
        OpaqueKind::PythonBytecode => "compiled Python",
        OpaqueKind::Wasm => "WebAssembly",
        OpaqueKind::Java => "Java classes",
        OpaqueKind::Model => "model without opcodes",
        OpaqueKind::OtherSource => "source in another language",
        OpaqueKind::UnknownBinary => "binary data of no known kind",
    }
}

#[cfg(test)]
mod tests {
    use gate_core::digest::Sha256;
    use gate_core::outcome::OutcomeArtifact;

    use super::*;

    #[test]
    fn assets_are_downloaded_by_commands_that_a_shell_reads_as_they_stand() {
        let repository = |domain: &str| AssetRepository {
            domain: domain.to_owned(),
            owner: "111122223333".to_owned(),
            repository: "approved".to_owned(),
        };
        let file = |n: usize| OutcomeArtifact {
            filename: format!("six-1.16.0-{n}-py3-none-any.whl"),
            sha256: Sha256::of(b""),
            size: 1,
        };
        for (files, left_out) in [(2, 0), (3, 0), (4, 1)] {
            let outcome = RowOutcome {
                line: 2,
                name: "six".to_owned(),
                source: "pkg:pypi/six@1.16.0".to_owned(),
                coordinates: Some("pkg:pypi/six@1.16.0".to_owned()),
                verdict: Verdict::Approved,
                reasons: Vec::new(),
                artifacts: (0..files).map(file).collect(),
            };
            let (lines, rest) = asset_install(&repository("gate"), &outcome).unwrap();
            assert_eq!((lines.len(), rest), (files.min(ASSETS_SHOWN) + 1, left_out));
            assert!(
                lines[0].ends_with("--asset six-1.16.0-0-py3-none-any.whl six-1.16.0-0-py3-none-any.whl"),
                "{lines:?}"
            );
            assert_eq!(lines.last().unwrap(), "pip install --no-index --find-links . six==1.16.0");
            assert_eq!(asset_install(&repository("gate; rm"), &outcome), None);
            assert_eq!(asset_install(&repository("gate"), &RowOutcome { verdict: Verdict::Refused, ..outcome }), None);
        }
    }
}
