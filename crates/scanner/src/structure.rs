//! The rules about an archive's structure and about what it says that it is, as data.

use gate_core::finding::{Category, FileRole, Finding, Location, SNIPPET_CHARS};
use gate_core::severity::{Confidence, Severity};

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Kebab-case, stable.
    pub id: &'static str,
    /// One line: what is wrong.
    pub title: &'static str,
    /// As this scanner rates it.
    pub severity: Severity,
    /// What kind of danger.
    pub category: Category,
    /// A CWE number.
    pub cwe: u32,
    /// What the requester or the author can do.
    pub remedy: &'static str,
    /// Pages that explain it.
    pub references: &'static [&'static str],
}

const RECORD_PAGE: &[&str] =
    &["https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file"];
const WHEEL_PAGE: &[&str] = &["https://packaging.python.org/en/latest/specifications/binary-distribution-format/"];
const METADATA_PAGE: &[&str] = &["https://packaging.python.org/en/latest/specifications/core-metadata/"];
const REBUILD: &str =
    "Ask the package's author to build the wheel again with a current tool; do not install this file.";

/// The wheel has no list of its files.
pub const RECORD_MISSING: Rule = Rule {
    id: "record-missing",
    title: "The wheel has no RECORD, so nothing tells which files belong to it",
    severity: Severity::High,
    category: Category::Archive,
    cwe: 353,
    remedy: REBUILD,
    references: RECORD_PAGE,
};

/// A file is not the one that RECORD lists.
pub const RECORD_MISMATCH: Rule = Rule {
    id: "record-mismatch",
    title: "The file differs from what the wheel's RECORD says of it",
    severity: Severity::High,
    category: Category::Archive,
    cwe: 354,
    remedy: REBUILD,
    references: RECORD_PAGE,
};

/// A file is in the wheel and not in RECORD.
pub const RECORD_UNLISTED: Rule = Rule {
    id: "record-unlisted-file",
    title: "The wheel's RECORD does not list this file: it may have been added after the wheel was built",
    severity: Severity::High,
    category: Category::Archive,
    cwe: 353,
    remedy: REBUILD,
    references: RECORD_PAGE,
};

/// A file is in RECORD and not in the wheel.
pub const RECORD_ABSENT: Rule = Rule {
    id: "record-absent-file",
    title: "The wheel's RECORD lists a file that the wheel does not have: a careless build, which installs nothing",
    severity: Severity::Low,
    category: Category::Archive,
    cwe: 353,
    remedy: REBUILD,
    references: RECORD_PAGE,
};

/// RECORD is no list.
pub const RECORD_UNREADABLE: Rule = Rule {
    id: "record-unreadable",
    title: "The wheel's RECORD cannot be read as the list that it must be",
    severity: Severity::High,
    category: Category::Archive,
    cwe: 353,
    remedy: REBUILD,
    references: RECORD_PAGE,
};

/// More than one `.dist-info` at the top.
pub const SEVERAL_DIST_INFO: Rule = Rule {
    id: "several-dist-info",
    title: "The wheel describes itself more than once, and installers may believe different descriptions",
    severity: Severity::High,
    category: Category::Identity,
    cwe: 436,
    remedy: REBUILD,
    references: WHEEL_PAGE,
};

/// `METADATA` and the folder's name disagree.
pub const DIST_INFO_MISMATCH: Rule = Rule {
    id: "dist-info-mismatch",
    title: "The name or version in the wheel's METADATA is not the one in the name of its .dist-info folder",
    severity: Severity::High,
    category: Category::Identity,
    cwe: 436,
    remedy: REBUILD,
    references: WHEEL_PAGE,
};

/// No name, or no valid version.
pub const METADATA_INCOMPLETE: Rule = Rule {
    id: "metadata-incomplete",
    title: "The package's metadata is missing or lacks a name or a valid version",
    severity: Severity::High,
    category: Category::Identity,
    cwe: 436,
    remedy: "Ask the package's author to build it again with a current tool.",
    references: METADATA_PAGE,
};

/// A field that may stand once stands twice.
pub const METADATA_AMBIGUOUS: Rule = Rule {
    id: "metadata-ambiguous",
    title: "The package's metadata gives a field twice that may stand once, and tools may believe different ones",
    severity: Severity::High,
    category: Category::Identity,
    cwe: 436,
    remedy: "Ask the package's author to build it again with a current tool; do not install this file.",
    references: METADATA_PAGE,
};

/// Compiled Python whose source is not beside it.
pub const BYTECODE_WITHOUT_SOURCE: Rule = Rule {
    id: "bytecode-without-source",
    title: "Compiled Python without its source, which nobody can review",
    severity: Severity::High,
    category: Category::Malware,
    cwe: 506,
    remedy: "Ask for a release that ships the source.",
    references: &["https://peps.python.org/pep-3147/"],
};

/// Every rule of this module.
pub const RULES: &[Rule] = &[
    RECORD_MISSING,
    RECORD_MISMATCH,
    RECORD_UNLISTED,
    RECORD_ABSENT,
    RECORD_UNREADABLE,
    SEVERAL_DIST_INFO,
    DIST_INFO_MISMATCH,
    METADATA_INCOMPLETE,
    METADATA_AMBIGUOUS,
    BYTECODE_WITHOUT_SOURCE,
];

impl Rule {
    /// A finding by this rule about one member; all of what it is about is installed, for it is about the distribution itself.
    pub(crate) fn at(&self, path: &str, snippet: impl Into<Option<String>>) -> Finding {
        Finding {
            rule: self.id.to_owned(),
            title: self.title.to_owned(),
            severity: self.severity,
            confidence: Confidence::High,
            category: self.category,
            cwe: Some(self.cwe),
            location: Some(Location {
                path: path.to_owned(),
                line: None,
                column: None,
                role: FileRole::Library,
                installed: true,
            }),
            snippet: snippet.into().map(|text| text.chars().take(SNIPPET_CHARS).collect()),
            remedy: self.remedy.to_owned(),
            references: self.references.iter().map(|&page| page.to_owned()).collect(),
        }
    }
}

/// The finding that a hostile archive is.
pub(crate) fn hostile(refusal: &gate_archive::Refusal) -> Finding {
    let bomb = refusal.kind() == gate_archive::Code::Bomb;
    Finding {
        rule: refusal.code().to_owned(),
        title: capitalised(&refusal.to_string()),
        severity: Severity::High,
        confidence: Confidence::High,
        category: Category::Archive,
        cwe: Some(if bomb { 409 } else { 436 }),
        location: refusal.member().map(|path| Location {
            path: path.to_owned(),
            line: None,
            column: None,
            role: FileRole::Library,
            installed: true,
        }),
        snippet: None,
        remedy: "Do not use this archive: programs would read it differently from one another, or be harmed by it. \
                 Ask where it comes from, and request another file of the same release."
            .to_owned(),
        references: Vec::new(),
    }
}

fn capitalised(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
