//! Findings as a person reads them: by severity, then by rule, then by place. The same place in several files of a set (the
//! wheels of one release) is one place.

use std::collections::BTreeMap;

use gate_core::decision::Weighed;
use gate_core::finding::{Finding, Location};
use gate_core::severity::Severity;

/// All findings of one weight.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// Their severity after the policy's weights.
    pub weight: Severity,
    /// Those that refuse first.
    pub issues: Vec<Issue<'a>>,
}

/// One problem and all places where it is.
#[derive(Clone, Debug)]
pub struct Issue<'a> {
    /// The first of its findings: rule, title, category, remedy and references are the same for all.
    pub finding: &'a Finding,
    /// Whether it refuses the row.
    pub refuses: bool,
    /// Why it weighs less than its severity says, if it does.
    pub remark: Option<&'a str>,
    /// In the order of the findings. Never empty.
    pub places: Vec<Place<'a>>,
}

/// One place and the files of the set that have it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Absent when a whole file, or the coordinates, are meant.
    pub location: Option<&'a Location>,
    /// The line or value at fault. Untrusted.
    pub snippet: Option<&'a str>,
    /// File names of the set; empty when the coordinates are meant.
    pub files: Vec<&'a str>,
}

impl Group<'_> {
    /// How many places its issues have together.
    #[must_use]
    pub fn places(&self) -> usize {
        self.issues.iter().map(|issue| issue.places.len()).sum()
    }

    /// Whether one of its issues refuses the row.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.issues.iter().any(|issue| issue.refuses)
    }
}

type IssueKey<'a> = (bool, &'a str, &'a str, &'a str, Severity, Option<&'a str>);
type PlaceKey<'a> = (Option<(&'a str, Option<u32>, Option<u32>)>, Option<&'a str>);

/// Groups findings, worst weight first. Within a weight, issues that refuse come first and otherwise the order of the findings
/// is kept.
#[must_use]
pub fn by_severity(findings: &[Weighed]) -> Vec<Group<'_>> {
    let mut groups = BTreeMap::<Severity, Group<'_>>::new();
    let mut issue_at = BTreeMap::<(Severity, IssueKey<'_>), usize>::new();
    let mut place_at = BTreeMap::<(Severity, usize, PlaceKey<'_>), usize>::new();
    for weighed in findings {
        let finding = &weighed.finding;
        let weight = weighed.weight;
        let remark = weighed.remark.as_deref();
        let issues = &mut groups.entry(weight).or_insert_with(|| Group { weight, issues: Vec::new() }).issues;
        let key = (weighed.refuses, &*finding.rule, &*finding.title, &*finding.remedy, finding.severity, remark);
        let issue = *issue_at.entry((weight, key)).or_insert_with(|| {
            issues.push(Issue { finding, refuses: weighed.refuses, remark, places: Vec::new() });
            issues.len() - 1
        });
        let places = &mut issues[issue].places;
        let location = finding.location.as_ref();
        let snippet = finding.snippet.as_deref();
        let key = (location.map(|at| (&*at.path, at.line, at.column)), snippet);
        let place = *place_at.entry((weight, issue, key)).or_insert_with(|| {
            places.push(Place { location, snippet, files: Vec::new() });
            places.len() - 1
        });
        let files = &mut places[place].files;
        if let Some(file) = weighed.filename.as_deref().filter(|file| !files.contains(file)) {
            files.push(file);
        }
    }
    let mut groups: Vec<_> = groups.into_values().rev().collect();
    for group in &mut groups {
        group.issues.sort_by_key(|issue| !issue.refuses);
    }
    groups
}
