//! Which versions a record is about: the evaluation algorithm of the OSV schema over PEP 440 versions.

use pep440_rs::Version;

/// The versions of one package that one record is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Affected {
    /// Enumerated versions as written, joined with line feeds: an export holds hundreds of thousands.
    pub(super) versions: Box<str>,
    /// A version in any of them is affected.
    pub(super) ranges: Vec<Range>,
    /// A part could not be read, or nothing says which versions are meant: then all of them are.
    pub(super) open: bool,
}

/// Bounds as written, in the record's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range(pub(super) Vec<(Event, Box<str>)>);

/// What happens at a bound (OSV schema, `affected[].ranges[].events`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// This version and later ones are affected; `0` is before all versions.
    Introduced,
    /// This version and later ones are not.
    Fixed,
    /// Later versions are not.
    LastAffected,
    /// The range says nothing from this version on; `*` is no limit.
    Limit,
}

/// Whether a version is affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// It is not.
    No,
    /// The record cannot be evaluated, so it counts.
    Assumed,
    /// The record says so.
    Yes,
}

impl Affected {
    /// Whether this version is affected: listed, or in a range; assumed when a part cannot be read.
    pub(super) fn covers(&self, version: &Version) -> Match {
        let mut answer = if self.open { Match::Assumed } else { Match::No };
        for range in &self.ranges {
            answer = answer.max(range.covers(version));
        }
        if answer < Match::Yes && self.lists(version) { Match::Yes } else { answer }
    }

    /// A build with a local label (`2.0+cu118`) is a build of the listed public version.
    fn lists(&self, version: &Version) -> bool {
        let public = version.clone().without_local();
        self.versions
            .split('\n')
            .filter_map(|listed| listed.parse::<Version>().ok())
            .any(|listed| listed == public || listed == *version)
    }

    /// Every version that is said to be fixed.
    pub(super) fn fixes(&self) -> impl Iterator<Item = Version> {
        let events = self.ranges.iter().flat_map(|range| &range.0);
        events.filter(|(event, _)| *event == Event::Fixed).filter_map(|(_, bound)| bound.parse().ok())
    }
}

impl Range {
    fn covers(&self, version: &Version) -> Match {
        let mut events = Vec::with_capacity(self.0.len());
        for (event, bound) in &self.0 {
            // Nothing is before all versions, and sorts so.
            let at = match (event, &**bound) {
                (Event::Introduced, "0") => None,
                (Event::Limit, "*") => continue,
                (_, bound) => match bound.parse::<Version>() {
                    Ok(bound) => Some(bound),
                    Err(_) => return Match::Assumed,
                },
            };
            events.push((at, *event));
        }
        // Stable: of events at one bound the record's order decides.
        events.sort_by(|(a, _), (b, _)| a.cmp(b));
        let public = version.clone().without_local();
        // A local label counts only against a bound that has one.
        let compared_with = |bound: &Version| if bound.is_local() { version } else { &public };
        let mut affected = !events.iter().any(|(_, event)| *event == Event::Introduced);
        let mut limited = None;
        for (at, event) in &events {
            let Some(at) = at else {
                affected = true;
                continue;
            };
            let ours = compared_with(at);
            match event {
                Event::Introduced if ours >= at => affected = true,
                Event::Fixed if ours >= at => affected = false,
                Event::LastAffected if ours > at => affected = false,
                Event::Limit => limited = Some(limited.unwrap_or(false) || ours < at),
                Event::Introduced | Event::Fixed | Event::LastAffected => {}
            }
        }
        if affected && limited.unwrap_or(true) { Match::Yes } else { Match::No }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn covers(events: &[(Event, &str)], asked: &str) -> Match {
        let ranges = vec![Range(events.iter().map(|(event, bound)| (*event, (*bound).into())).collect())];
        Affected { ranges, ..Affected::default() }.covers(&version(asked))
    }

    #[test]
    fn ranges_follow_pep_440() {
        use Event::{Fixed, Introduced, LastAffected, Limit};
        let all_before_2 = &[(Introduced, "0"), (Fixed, "2.0")][..];
        let branches =
            &[(Introduced, "3.0"), (Fixed, "3.0.7"), (Introduced, "1.0"), (Fixed, "1.5"), (Introduced, "4.0")][..];
        for (events, asked, answer) in [
            (all_before_2, "1.9", Match::Yes),
            (all_before_2, "0", Match::Yes),
            (all_before_2, "0.dev1", Match::Yes),
            (all_before_2, "0a1", Match::Yes),
            (all_before_2, "2.0.dev1", Match::Yes),
            (all_before_2, "2.0rc1", Match::Yes),
            (all_before_2, "2", Match::No),
            (all_before_2, "2.0.0", Match::No),
            (all_before_2, "2.0.post1", Match::No),
            (all_before_2, "1!1.0", Match::No),
            (all_before_2, "1.9+local", Match::Yes),
            (all_before_2, "2.0+local", Match::No),
            // The events of several branches in any order.
            (branches, "0.9", Match::No),
            (branches, "1.0rc1", Match::No),
            (branches, "1.0", Match::Yes),
            (branches, "1.4.99", Match::Yes),
            (branches, "1.5", Match::No),
            (branches, "2.9", Match::No),
            (branches, "3.0.6", Match::Yes),
            (branches, "3.0.7", Match::No),
            (branches, "3.9", Match::No),
            (branches, "5", Match::Yes),
            (&[(Introduced, "0"), (LastAffected, "1.4")], "1.4", Match::Yes),
            (&[(Introduced, "0"), (LastAffected, "1.4")], "1.4.0", Match::Yes),
            (&[(Introduced, "0"), (LastAffected, "1.4")], "1.4+cu118", Match::Yes),
            (&[(Introduced, "0"), (LastAffected, "1.4")], "1.4.1", Match::No),
            (&[(Introduced, "1"), (LastAffected, "1")], "1", Match::Yes),
            (&[(Introduced, "0"), (Fixed, "1.4+fix2")], "1.4+fix1", Match::Yes),
            (&[(Introduced, "0"), (Fixed, "1.4+fix2")], "1.4+fix2", Match::No),
            (&[(Introduced, "0"), (Limit, "3.0")], "2.9", Match::Yes),
            (&[(Introduced, "0"), (Limit, "3.0")], "3.0", Match::No),
            (&[(Introduced, "0"), (Limit, "3.0"), (Limit, "5.0")], "4.0", Match::Yes),
            (&[(Introduced, "0"), (Limit, "*")], "9", Match::Yes),
            // The beginning is not said, so it is before everything.
            (&[(Fixed, "2.0")], "1.0", Match::Yes),
            (&[(Fixed, "2.0")], "2.0", Match::No),
            // At one bound the record's order decides.
            (&[(Introduced, "1.0"), (Fixed, "1.0")], "1.0", Match::No),
            (&[(Fixed, "1.0"), (Introduced, "1.0")], "1.0", Match::Yes),
            // No version: it cannot be compared.
            (&[(Introduced, "0"), (Fixed, "2019-09-12x")], "3.0", Match::Assumed),
            (&[(Introduced, "first"), (Fixed, "2.0")], "3.0", Match::Assumed),
            (&[(Introduced, "")], "3.0", Match::Assumed),
        ] {
            assert_eq!(covers(events, asked), answer, "{events:?} {asked}");
        }
    }

    #[test]
    fn listed_versions_are_compared_as_versions() {
        let listed = "1.0\n2004d\nv1.2.0\n2.0+cu118";
        for (asked, answer) in [
            ("1", Match::Yes),
            ("1.0.0", Match::Yes),
            ("1.0+cpu", Match::Yes),
            ("1.2", Match::Yes),
            ("1.0.post1", Match::No),
            ("1.0rc1", Match::No),
            ("2.0+cu118", Match::Yes),
            ("2.0", Match::No),
            ("2004", Match::No),
        ] {
            let affected = Affected { versions: listed.into(), ..Affected::default() };
            assert_eq!(affected.covers(&version(asked)), answer, "{asked}");
            // What is listed is certain, also where the rest cannot be read.
            let open = Affected { open: true, ..affected };
            assert_eq!(open.covers(&version(asked)), answer.max(Match::Assumed), "{asked}");
        }
    }

    proptest! {
        /// An interval is an interval.
        #[test]
        fn a_version_is_affected_from_introduced_until_fixed(from in (0_u64..5, 0_u64..5), length in 1_u64..20, asked in (0_u64..10, 0_u64..5)) {
            let number = |(major, minor): (u64, u64)| major * 5 + minor;
            let text = |number: u64| format!("{}.{}", number / 5, number % 5);
            let (start, end, asked) = (number(from), number(from) + length, number(asked));
            let (first, fixed) = (text(start), text(end));
            let answer = covers(&[(Event::Fixed, &fixed), (Event::Introduced, &first)], &text(asked));
            prop_assert_eq!(answer == Match::Yes, (start..end).contains(&asked));
        }
    }
}
