//! One document of the OSV schema (https://ossf.github.io/osv-schema/), reduced to what a decision needs.

use std::borrow::Cow;
use std::str::FromStr as _;

use cvss::Cvss;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::MapAccess;

use super::RecordFault;
use super::affected::{Affected, Event, Range};
use super::lenient::{List, Read, Shape, Text, objects};
use crate::coordinates::normalize;
use crate::severity::Severity;

/// The most https references that are kept of one record.
pub(super) const REFERENCES: usize = 5;
/// Characters that are kept of a title.
const TITLE_CHARS: usize = 400;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    modified: Text<'a>,
    #[serde(borrow)]
    withdrawn: Text<'a>,
    #[serde(borrow)]
    aliases: List<Cow<'a, str>>,
    #[serde(borrow)]
    summary: Text<'a>,
    #[serde(borrow)]
    details: Text<'a>,
    #[serde(borrow)]
    severity: List<Rating<'a>>,
    #[serde(borrow)]
    affected: List<Entry<'a>>,
    #[serde(borrow)]
    references: List<Reference<'a>>,
    #[serde(borrow)]
    database_specific: Read<Specific<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rating<'a> {
    #[serde(borrow)]
    score: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry<'a> {
    #[serde(borrow)]
    package: Read<Package<'a>>,
    #[serde(borrow)]
    severity: List<Rating<'a>>,
    #[serde(borrow)]
    versions: List<Cow<'a, str>>,
    #[serde(borrow)]
    ranges: List<Span<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Package<'a> {
    #[serde(borrow)]
    ecosystem: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Span<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    events: List<Bounds<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Bounds<'a> {
    #[serde(borrow)]
    introduced: Text<'a>,
    #[serde(borrow)]
    fixed: Text<'a>,
    #[serde(borrow)]
    last_affected: Text<'a>,
    #[serde(borrow)]
    limit: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reference<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Specific<'a> {
    #[serde(borrow)]
    severity: Text<'a>,
    #[serde(borrow)]
    cwe_ids: List<Cow<'a, str>>,
}

objects!(Document, Rating, Entry, Package, Span, Bounds, Reference, Specific);

/// A record, without the versions that it is about.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: Box<str>,
    pub(super) aliases: Vec<Box<str>>,
    pub(super) title: Box<str>,
    /// Whether the title is the record's own summary, written to be one.
    pub(super) summarised: bool,
    /// The worst that it gives; nothing if it gives none that can be read.
    pub(super) severity: Option<Severity>,
    pub(super) cwe: Option<u32>,
    /// https only, the ones that explain first, at most [`REFERENCES`].
    pub(super) references: Vec<Box<str>>,
}

/// What one document holds.
pub(super) struct Parsed {
    pub(super) modified: Option<Timestamp>,
    /// Nothing when the record was withdrawn.
    pub(super) record: Option<(Record, Vec<(String, Affected)>)>,
}

/// Reads one document. The packages are those of the Python index, by their normalised names.
pub(super) fn parse(json: &[u8]) -> Result<Parsed, RecordFault> {
    let document: Read<Document<'_>> = serde_json::from_slice(json)
        .map_err(|error| RecordFault::Json { line: error.line(), column: error.column() })?;
    let document = document.get().ok_or(RecordFault::NoObject)?;
    let id = document.id.get().filter(|id| !id.trim().is_empty()).ok_or(RecordFault::NoId)?;
    let timestamp = |text: Text<'_>| text.get().and_then(|text| text.parse::<Timestamp>().ok());
    let modified = timestamp(document.modified);
    if timestamp(document.withdrawn).is_some() {
        return Ok(Parsed { modified, record: None });
    }
    if document.affected.is_odd() {
        return Err(RecordFault::Affected);
    }
    let mut severity = worst(document.severity);
    let mut affected = Vec::new();
    for entry in document.affected.get().unwrap_or_default() {
        let entry = entry.get().ok_or(RecordFault::Affected)?;
        let package = match entry.package {
            Read::Is(package) => package,
            // About a source repository, not about a package.
            Read::Absent => continue,
            Read::Odd => return Err(RecordFault::Affected),
        };
        let of_python = package.ecosystem.get().is_none_or(|ecosystem| {
            ecosystem.split(':').next().is_some_and(|ecosystem| ecosystem.eq_ignore_ascii_case("pypi"))
        });
        if !of_python {
            continue;
        }
        let name = package.name.get().ok_or(RecordFault::Affected)?;
        severity = severity.max(worst(entry.severity));
        affected.push((normalize(name.trim()), versions_of(entry.versions, entry.ranges)));
    }
    let specific = document.database_specific.get().unwrap_or_default();
    let word = specific.severity.get().map(|word| Severity::from_word(&word)).filter(|word| *word != Severity::Unknown);
    let (title, summarised) = title(document.summary.get().as_deref(), document.details.get().as_deref());
    let record = Record {
        id: id.trim().into(),
        aliases: texts(document.aliases).map(|alias| alias.trim().into()).collect(),
        summarised,
        title,
        severity: severity.max(word),
        cwe: texts(specific.cwe_ids).find_map(|id| id.trim().strip_prefix("CWE-")?.parse().ok()),
        references: references(document.references),
    };
    Ok(Parsed { modified, record: Some((record, affected)) })
}

fn texts<'a>(list: List<Cow<'a, str>>) -> impl Iterator<Item = Cow<'a, str>> {
    list.get().unwrap_or_default().into_iter().filter_map(Read::get)
}

fn worst(ratings: List<Rating<'_>>) -> Option<Severity> {
    let scores = ratings.get().unwrap_or_default().into_iter().filter_map(|rating| rating.get()?.score.get());
    scores.filter_map(|score| rate(&score)).max()
}

/// A CVSS vector of any version, or a word; the type that the record gives beside it is not needed.
fn rate(score: &str) -> Option<Severity> {
    let score = score.trim();
    let severity = match Cvss::from_str(score.trim_matches(['(', ')'])) {
        Ok(vector) => Severity::from_cvss_score(vector.score()),
        Err(_) => Severity::from_word(score),
    };
    Some(severity).filter(|severity| *severity != Severity::Unknown)
}

fn versions_of(versions: List<Cow<'_, str>>, ranges: List<Span<'_>>) -> Affected {
    let mut out = Affected { open: versions.is_odd() || ranges.is_odd(), ..Affected::default() };
    let mut listed = String::new();
    for version in versions.get().unwrap_or_default() {
        match version {
            Read::Is(version) if !version.contains('\n') => {
                if !listed.is_empty() {
                    listed.push('\n');
                }
                listed.push_str(&version);
            }
            _ => out.open = true,
        }
    }
    out.versions = listed.into_boxed_str();
    for range in ranges.get().unwrap_or_default() {
        let Read::Is(range) = range else {
            out.open = true;
            continue;
        };
        // Commits of a source repository: no version can be compared with them.
        if range.kind.get().is_some_and(|kind| kind == "GIT") {
            continue;
        }
        match bounds(range.events) {
            Some(bounds) => out.ranges.push(Range(bounds)),
            None => out.open = true,
        }
    }
    if out.versions.is_empty() && out.ranges.is_empty() {
        out.open = true;
    }
    out
}

/// Nothing if one of the events is of no known kind, or there is none.
fn bounds(events: List<Bounds<'_>>) -> Option<Vec<(Event, Box<str>)>> {
    let mut out = Vec::new();
    for event in events.get()? {
        let event = event.get()?;
        let kinds = [
            (Event::Introduced, event.introduced),
            (Event::Fixed, event.fixed),
            (Event::LastAffected, event.last_affected),
            (Event::Limit, event.limit),
        ];
        let before = out.len();
        for (kind, bound) in kinds {
            match bound {
                Read::Is(bound) => out.push((kind, bound.trim().into())),
                Read::Odd => return None,
                Read::Absent => {}
            }
        }
        if out.len() == before {
            return None;
        }
    }
    (!out.is_empty()).then_some(out)
}

/// The summary (true), or the first line of the details that is no heading.
fn title(summary: Option<&str>, details: Option<&str>) -> (Box<str>, bool) {
    let cut = |text: &str| text.chars().take(TITLE_CHARS).collect::<String>().into();
    match summary.map(str::trim).filter(|summary| !summary.is_empty()) {
        Some(summary) => (cut(summary), true),
        None => {
            let mut lines = details.unwrap_or_default().lines().map(str::trim);
            let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
            (cut(line.unwrap_or("an advisory without a description")), false)
        }
    }
}

/// The advisory itself first, then its fix, then what else there is.
fn references(list: List<Reference<'_>>) -> Vec<Box<str>> {
    let mut found: Vec<(u8, Box<str>)> = Vec::new();
    for reference in list.get().unwrap_or_default() {
        let Some(reference) = reference.get() else { continue };
        let Some(url) = reference.url.get().filter(|url| url.starts_with("https://")) else { continue };
        let rank = match reference.kind.get().as_deref() {
            Some("ADVISORY") => 0,
            Some("FIX") => 1,
            _ => 2,
        };
        found.push((rank, (&*url).into()));
    }
    found.sort_by_key(|(rank, _)| *rank);
    found.truncate(REFERENCES);
    found.into_iter().map(|(_, url)| url).collect()
}
