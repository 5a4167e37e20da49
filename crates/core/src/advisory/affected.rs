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
