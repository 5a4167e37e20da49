//! Published vulnerabilities and known malicious packages: an export of OSV records, and what it says about one version.
//!
//! What cannot be read never makes a version look safe: a document that is no record stops the load and is named, a record
//! whose versions cannot be evaluated counts for every version, and one without a severity counts as high.

mod affected;
mod lenient;
mod osv;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use jiff::Timestamp;
use pep440_rs::Version;
use sha2::Digest as _;
use url::Url;

use crate::coordinates::normalize;
use crate::digest::Sha256;
use crate::finding::{Category, Finding};
use crate::severity::{Confidence, Severity};
use crate::text::{escape, escape_to};
use affected::{Affected, Match};
use osv::{REFERENCES, Record};

/// The most bytes of one record.
pub const RECORD_BYTES: usize = 8 * 1024 * 1024;
/// The most characters of a finding's title.
const TITLE_CHARS: usize = 200;

/// The records of one export that are about Python packages, by package.
pub struct AdvisoryDb {
    sha256: Sha256,
    records: u64,
    withdrawn: u64,
    newest: Option<Timestamp>,
    all: Vec<Record>,
    /// By normalised name: indexes into `all`, with the versions of that package.
    by_name: HashMap<String, Vec<(usize, Affected)>>,
    /// The worst severity that any record gives for an id or alias.
    rated: HashMap<Box<str>, Severity>,
}

/// Why an export cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportFault {
    /// A document is not a record.
    #[error("{document}: {fault}")]
    Document {
        /// Its name, escaped.
        document: String,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// There is nothing in it.
    #[error("there is no advisory record in it")]
    Empty,
    /// It is of another ecosystem.
    #[error("none of its {0} records is in force for a Python package")]
    OtherEcosystem(u64),
}

/// Why a document is not a record that can be consulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// More than [`RECORD_BYTES`].
    #[error("it is larger than {RECORD_BYTES} bytes")]
    TooLong,
    /// Not JSON.
    #[error("it is not valid JSON (line {line}, column {column})")]
    Json {
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
    /// JSON, and not an object.
    #[error("it is not an OSV record: no JSON object")]
    NoObject,
    /// It cannot be named.
    #[error("it is not an OSV record: it has no id")]
    NoId,
    /// It cannot be told which packages it is about.
    #[error("its list of affected packages cannot be read")]
    Affected,
}

/// Gathers the records of an export.
#[derive(Default)]
pub struct AdvisoryDbBuilder {
    records: u64,
    withdrawn: u64,
    newest: Option<Timestamp>,
    all: Vec<Record>,
    by_name: HashMap<String, Vec<(usize, Affected)>>,
}

impl AdvisoryDbBuilder {
    /// Adds one OSV document; `name` is the file's, for errors.
    ///
    /// # Errors
    /// [`ExportFault::Document`]: it is no record, and the export must not be used without it.
    pub fn add(&mut self, name: &str, json: &[u8]) -> Result<(), ExportFault> {
        let parsed = if json.len() > RECORD_BYTES { Err(RecordFault::TooLong) } else { osv::parse(json) };
        let parsed = parsed.map_err(|fault| ExportFault::Document { document: escape_to(name, TITLE_CHARS), fault })?;
        self.records += 1;
        self.newest = self.newest.max(parsed.modified);
        let Some((record, affected)) = parsed.record else {
            self.withdrawn += 1;
            return Ok(());
        };
        for (name, affected) in affected {
            self.by_name.entry(name).or_default().push((self.all.len(), affected));
        }
        self.all.push(record);
        Ok(())
    }

    /// The export, known by this digest.
    ///
    /// # Errors
    /// [`ExportFault::Empty`] and [`ExportFault::OtherEcosystem`]: it would find nothing, whatever the package.
    pub fn finish(self, sha256: Sha256) -> Result<AdvisoryDb, ExportFault> {
        let Self { records, withdrawn, newest, all, by_name } = self;
        if records == 0 {
            return Err(ExportFault::Empty);
        }
        if by_name.is_empty() {
            return Err(ExportFault::OtherEcosystem(records));
        }
        let mut rated: HashMap<Box<str>, Severity> = HashMap::new();
        for record in &all {
            let Some(severity) = record.severity else { continue };
            for id in record.ids() {
                let worst = rated.entry(id.into()).or_insert(severity);
                *worst = severity.max(*worst);
            }
        }
        Ok(AdvisoryDb { sha256, records, withdrawn, newest, all, by_name, rated })
    }
}

/// The identity of an export that is a folder of documents; they are added in the order of their names' bytes.
#[derive(Default)]
pub struct DocumentsDigest(sha2::Sha256);

impl DocumentsDigest {
    /// Adds one document. Lengths go before name and bytes, so that no two sets of documents read alike.
    pub fn add(&mut self, name: &str, json: &[u8]) {
        for part in [name.as_bytes(), json] {
            self.0.update((part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> Sha256 {
        Sha256::finish(self.0)
    }
}

impl AdvisoryDb {
    /// An empty export to add records to.
    #[must_use]
    pub fn builder() -> AdvisoryDbBuilder {
        AdvisoryDbBuilder::default()
    }

    /// An export of these documents, `(name, JSON)`.
    ///
    /// # Errors
    /// As [`AdvisoryDbBuilder::add`] and [`AdvisoryDbBuilder::finish`].
    pub fn of_documents<'a>(documents: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, ExportFault> {
        let sorted: BTreeSet<_> = documents.into_iter().collect();
        let (mut builder, mut digest) = (Self::builder(), DocumentsDigest::default());
        for (name, json) in sorted {
            builder.add(name, json)?;
            digest.add(name, json);
        }
        builder.finish(digest.finish())
    }

    /// Of the export: of a zip's bytes, or a [`DocumentsDigest`] of single documents.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// How many records were read.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many of them were withdrawn by their publisher and are not consulted.
    #[must_use]
    pub fn withdrawn(&self) -> u64 {
        self.withdrawn
    }

    /// When the record that changed last did so: what was published later is not known here.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// What is known about this version of this package; the worst first, then by id. The name in any spelling.
    ///
    /// Records of one vulnerability (they share an id or alias) are one advisory, and it counts if one of them is about this
    /// version.
    #[must_use]
    pub fn lookup(&self, name: &str, version: &Version) -> Vec<Advisory> {
        let name = normalize(name);
        let entries = self.by_name.get(&name).map(Vec::as_slice).unwrap_or_default();
        let mut certainty: BTreeMap<usize, Match> = BTreeMap::new();
        for (index, affected) in entries {
            let best = certainty.entry(*index).or_insert(Match::No);
            *best = affected.covers(version).max(*best);
        }
        let mut found = Vec::new();
        for group in self.groups(certainty.keys().copied()) {
            let answer = |index: &usize| certainty.get(index).copied().unwrap_or(Match::No);
            let Some(best) = group.iter().map(answer).max().filter(|best| *best != Match::No) else { continue };
            let of_group = entries.iter().filter(|(index, _)| group.contains(index)).map(|(_, affected)| affected);
            let fixed = first_unaffected(&of_group.collect::<Vec<_>>(), version);
            // The records that are about this version speak first.
            let mut members: Vec<usize> = group.into_iter().collect();
            members
                .sort_by_key(|index| (Reverse(answer(index)), source_rank(&self.all[*index].id), &self.all[*index].id));
            found.push(self.advisory(&members, name.clone(), version.clone(), best == Match::Yes, fixed));
        }
        found.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
        found
    }

    /// The oldest later version that fixes an advisory and that no record is about: what to ask for instead.
    #[must_use]
    pub fn fixed_version(&self, name: &str, version: &Version) -> Option<Version> {
        let entries = self.by_name.get(&normalize(name))?;
        first_unaffected(&entries.iter().map(|(_, affected)| affected).collect::<Vec<_>>(), version)
    }

    /// Sets of records that share an id or alias, directly or through others.
    fn groups(&self, indexes: impl Iterator<Item = usize>) -> Vec<BTreeSet<usize>> {
        let mut groups: Vec<BTreeSet<usize>> = Vec::new();
        let mut group_of: HashMap<&str, usize> = HashMap::new();
        for index in indexes {
            let own = groups.len();
            let joined: BTreeSet<usize> =
                self.all[index].ids().filter_map(|id| group_of.get(id)).copied().chain([own]).collect();
            groups.push(BTreeSet::from([index]));
            for older in joined.into_iter().filter(|group| *group != own) {
                let members = std::mem::take(&mut groups[older]);
                groups[own].extend(members);
            }
            for member in &groups[own] {
                group_of.extend(self.all[*member].ids().map(|id| (id, own)));
            }
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    fn advisory(
        &self,
        members: &[usize],
        package: String,
        version: Version,
        certain: bool,
        fixed: Option<Version>,
    ) -> Advisory {
        let records: Vec<&Record> = members.iter().map(|index| &self.all[*index]).collect();
        let id = records.first().map(|record| record.id.to_string()).unwrap_or_default();
        let ids: BTreeSet<&str> = records.iter().flat_map(|record| record.ids()).collect();
        let malicious = ids.iter().any(|id| id.starts_with("MAL-"));
        let known = ids.iter().filter_map(|id| self.rated.get(*id)).max().copied();
        let title = records.iter().find(|record| record.summarised).or(records.first());
        let references: Vec<String> =
            records.iter().flat_map(|record| &record.references).filter_map(|url| web_page(url)).collect();
        let mut seen = BTreeSet::new();
        Advisory {
            severity: if malicious { Severity::Critical } else { known.unwrap_or(Severity::High) },
            rated: malicious || known.is_some(),
            title: title.map(|record| record.title.to_string()).unwrap_or_default(),
            aliases: ids.into_iter().filter(|other| *other != id).map(str::to_owned).collect(),
            cwe: records.iter().find_map(|record| record.cwe),
            references: references.into_iter().filter(|url| seen.insert(url.clone())).take(REFERENCES).collect(),
            id,
            package,
            version,
            malicious,
            certain,
            fixed,
        }
    }
}

impl fmt::Debug for AdvisoryDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdvisoryDb")
            .field("sha256", &self.sha256)
            .field("records", &self.records)
            .field("withdrawn", &self.withdrawn)
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

impl Record {
    fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.id).chain(self.aliases.iter().map(|alias| &**alias))
    }
}

/// Which of several records gives an advisory its name.
fn source_rank(id: &str) -> u8 {
    match id.split('-').next() {
        Some("MAL") => 0,
        Some("PYSEC") => 1,
        Some("GHSA") => 2,
        _ => 3,
    }
}

/// The oldest version above this one that one of the entries calls fixed and none is about.
fn first_unaffected(entries: &[&Affected], version: &Version) -> Option<Version> {
    let fixes: BTreeSet<Version> =
        entries.iter().flat_map(|affected| affected.fixes()).filter(|fix| fix > version).collect();
    fixes.into_iter().find(|fix| entries.iter().all(|affected| affected.covers(fix) == Match::No))
}

/// A link that a person may be shown: https, a host, no credentials; percent-encoded and so plain ASCII.
fn web_page(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let plain = url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none();
    plain.then(|| url.into())
}

/// One vulnerability of one version of one package, whichever records describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advisory {
    id: String,
    aliases: Vec<String>,
    /// The package that was asked about, normalised.
    pub package: String,
    /// The version that was asked about.
    pub version: Version,
    /// One line. Untrusted text.
    pub title: String,
    /// The worst that any record with one of these ids gives; [`Severity::High`] where none gives one.
    pub severity: Severity,
    /// Whether a severity was published.
    pub rated: bool,
    /// The package was made to do harm (an id begins with `MAL-`).
    pub malicious: bool,
    /// Whether a record names this version; else its versions cannot be evaluated, and it counts for all.
    pub certain: bool,
    /// The weakness, a CWE number.
    pub cwe: Option<u32>,
    /// The oldest later version without this vulnerability.
    pub fixed: Option<Version>,
    /// https links, at most 5.
    pub references: Vec<String>,
}

impl Advisory {
    /// The record's id; of several that are about this version the malware record's, else `PYSEC`, else `GHSA`. Untrusted
    /// text.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its id, then its other ids, sorted: a waiver may name any. Untrusted text.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.id).chain(&self.aliases).map(String::as_str)
    }

    /// The finding about the package itself.
    #[must_use]
    pub fn to_finding(&self) -> Finding {
        let remedy = match (&self.fixed, self.malicious) {
            (_, true) => {
                "Do not install it. Where it was installed, treat the secrets of that machine as stolen.".to_owned()
            }
            (Some(fixed), _) => format!("Fixed in {fixed}: ask for {fixed} or later."),
            (None, _) => "No fixed version is known: ask for another package.".to_owned(),
        };
        self.finding("", &remedy)
    }

    /// The finding about a package whose installed metadata asks for exactly this version.
    #[must_use]
    pub fn to_pin_finding(&self) -> Finding {
        let Self { package, version, .. } = self;
        let package = escape(package);
        let remedy = match (&self.fixed, self.malicious) {
            (_, true) => format!("{package} {version} is malicious: ask for a package that does not need it."),
            (Some(fixed), _) => format!("Fixed in {package} {fixed}: ask for a release that allows it."),
            (None, _) => format!("No fixed version of {package} is known: ask for a release that does not need it."),
        };
        self.finding(&format!("It needs {package} {version}: "), &remedy)
    }

    fn finding(&self, before: &str, remedy: &str) -> Finding {
        let mut remedy = remedy.to_owned();
        if !self.rated {
            remedy.push_str(" No severity was published, so it counts as high.");
        }
        if !self.certain {
            remedy.push_str(" Which versions are affected cannot be told from the record, so all of them count.");
        }
        let cve = self.aliases.iter().find(|alias| alias.starts_with("CVE-") && !self.title.contains(alias.as_str()));
        let after = cve.map(|cve| format!(" ({})", escape_to(cve, 40))).unwrap_or_default();
        let room = TITLE_CHARS.saturating_sub(before.chars().count() + after.chars().count());
        Finding {
            rule: escape_to(&self.id, 80),
            title: format!("{before}{}{after}", escape_to(&self.title, room)),
            severity: self.severity,
            confidence: if self.certain { Confidence::High } else { Confidence::Low },
            category: if self.malicious { Category::Malware } else { Category::Advisory },
            cwe: self.cwe,
            location: None,
            snippet: None,
            remedy,
            references: self.references.clone(),
        }
    }
}
