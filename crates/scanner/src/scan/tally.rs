//! The findings of one artifact, bounded without changing what any policy would decide.

use std::cmp::Reverse;
use std::collections::HashMap;

use gate_core::finding::{Category, FileRole, Finding};
use gate_core::severity::{Confidence, Severity};

/// How many findings are listed that differ in their place only.
pub(super) const ALIKE: usize = 100;

/// Collects findings.
///
/// A policy decides by rule, severity, category, role and whether the file is installed. Of findings that agree in all of
/// these the first [`ALIKE`] are listed, and one more that tells how many there are: tens of thousands of `assert`s in a test
/// suite would bury the rest.
#[derive(Debug)]
pub(super) struct Tally {
    limit: usize,
    kept: Vec<Finding>,
    /// How many were seen, and where in `kept` the last one stands.
    seen: HashMap<Alike, (usize, usize)>,
    over: bool,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Alike {
    rule: String,
    severity: Severity,
    confidence: Confidence,
    category: Category,
    place: Option<(FileRole, bool)>,
}

impl Tally {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), seen: HashMap::new(), over: false }
    }

    pub(super) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            let alike = Alike {
                rule: finding.rule.clone(),
                severity: finding.severity,
                confidence: finding.confidence,
                category: finding.category,
                place: finding.location.as_ref().map(|place| (place.role, place.installed)),
            };
            let (count, last) = self.seen.entry(alike).or_insert((0, 0));
            *count += 1;
            if *count <= ALIKE + 1 {
                if self.kept.len() == self.limit {
                    self.over = true;
                    continue;
                }
                *last = self.kept.len();
                self.kept.push(finding);
            }
        }
    }

    /// Worst first, then by place; and whether some had to be left out.
    pub(super) fn finish(mut self) -> (Vec<Finding>, bool) {
        for (count, last) in self.seen.into_values() {
            if count > ALIKE + 1
                && let Some(finding) = self.kept.get_mut(last)
            {
                finding.title = format!("{} (and {} more like this)", finding.title, count - ALIKE - 1);
            }
        }
        self.kept.sort_by(|a, b| {
            let key = |finding: &Finding| Reverse(finding.severity);
            key(a).cmp(&key(b)).then_with(|| a.location.cmp(&b.location)).then_with(|| a.rule.cmp(&b.rule))
        });
        (self.kept, self.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::{METADATA_INCOMPLETE, RECORD_UNLISTED};

    #[test]
    fn findings_that_differ_in_place_only_are_counted() {
        for (count, listed, last) in [
            (ALIKE, ALIKE, RECORD_UNLISTED.title.to_owned()),
            (ALIKE + 1, ALIKE + 1, RECORD_UNLISTED.title.to_owned()),
            (ALIKE + 3, ALIKE + 1, format!("{} (and 2 more like this)", RECORD_UNLISTED.title)),
        ] {
            let mut tally = Tally::new(1000);
            tally.add((0..count).map(|n| RECORD_UNLISTED.at(&format!("{n:04}"), None)));
            tally.add([METADATA_INCOMPLETE.at("zzz", None)]);
            let (findings, over) = tally.finish();
            assert_eq!((findings.len(), over), (listed + 1, false));
            assert_eq!(findings[listed - 1].title, last);
            assert_eq!(findings[listed].rule, METADATA_INCOMPLETE.id);
        }
    }

    #[test]
    fn the_limit_is_said() {
        for (limit, over) in [(1, true), (2, false), (3, false)] {
            let mut tally = Tally::new(limit);
            tally.add([RECORD_UNLISTED.at("a", None), RECORD_UNLISTED.at("b", None)]);
            let (findings, is_over) = tally.finish();
            assert_eq!((findings.len(), is_over), (limit.min(2), over));
        }
    }

    #[test]
    fn the_worst_come_first() {
        let mut tally = Tally::new(10);
        let low = Finding { severity: Severity::Low, ..RECORD_UNLISTED.at("a", None) };
        let unknown = Finding { severity: Severity::Unknown, ..RECORD_UNLISTED.at("z", None) };
        tally.add([low, RECORD_UNLISTED.at("b", None), unknown]);
        let severities: Vec<_> = tally.finish().0.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::Unknown, Severity::High, Severity::Low]);
    }
}
