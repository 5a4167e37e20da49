//! The packages that everything is measured on.

use std::path::PathBuf;

use serde::Serialize;

/// A release whose source distribution is part of the corpus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) sets: &'static [Set],
}

/// Which figures a release belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Set {
    /// Eleven packages of pure Python and mixed sources.
    Tree,
    /// Five small ones, for tools that are slow.
    Small,
    /// Four large ones, with native sources and data.
    Large,
}

impl Set {
    pub(crate) const ALL: [Self; 3] = [Self::Tree, Self::Small, Self::Large];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Small => "small",
            Self::Large => "large",
        }
    }
}

const fn release(name: &'static str, version: &'static str, sets: &'static [Set]) -> Release {
    Release { name, version, sets }
}

/// Named by version, so that figures of two days are about the same bytes.
pub(crate) const RELEASES: [Release; 15] = [
    release("requests", "2.32.3", &[Set::Tree, Set::Small]),
    release("flask", "3.0.3", &[Set::Tree, Set::Small]),
    release("jinja2", "3.1.4", &[Set::Tree, Set::Small]),
    release("pyyaml", "5.3.1", &[Set::Tree]),
    release("joblib", "1.4.2", &[Set::Tree, Set::Small]),
    release("django", "4.2.11", &[Set::Tree]),
    release("scikit-learn", "1.5.0", &[Set::Tree]),
    release("pandas", "2.2.2", &[Set::Tree]),
    release("numpy", "1.26.4", &[Set::Large]),
    release("scipy", "1.13.1", &[Set::Large]),
    release("langchain", "0.2.5", &[Set::Tree]),
    release("langchain-community", "0.2.5", &[Set::Tree]),
    release("transformers", "4.41.2", &[Set::Large]),
    release("xgboost", "2.0.3", &[Set::Large]),
    release("six", "1.16.0", &[Set::Tree, Set::Small]),
];

/// The package of P3 and P8, as its wheel.
pub(crate) const ONE: Release = release("six", "1.16.0", &[]);

/// One release on disk.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) sets: &'static [Set],
    /// Its files with one top folder, deflated at level 6.
    pub(crate) zip: PathBuf,
    /// Its Python files, unpacked for the peers.
    pub(crate) tree: PathBuf,
    pub(crate) counts: Counts,
}

/// How much there is to read.
#[derive(Clone, Copy, Debug, Default, Serialize, serde::Deserialize)]
pub(crate) struct Counts {
    pub(crate) zip_bytes: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) python_files: u64,
    pub(crate) python_bytes: u64,
    pub(crate) python_lines: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.zip_bytes += other.zip_bytes;
        self.files += other.files;
        self.bytes += other.bytes;
        self.python_files += other.python_files;
        self.python_bytes += other.python_bytes;
        self.python_lines += other.python_lines;
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Corpus {
    pub(crate) entries: Vec<Entry>,
    /// The wheel of [`ONE`].
    pub(crate) wheel: PathBuf,
    /// Of the wheel.
    pub(crate) wheel_sha256: String,
}

/// What a set holds, for the record.
#[derive(Debug, Serialize)]
pub(crate) struct SetCounts {
    pub(crate) set: Set,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

impl Corpus {
    pub(crate) fn of(&self, set: Set) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.sets.contains(&set))
    }

    pub(crate) fn counts(&self, set: Set) -> Counts {
        let mut counts = Counts::default();
        self.of(set).for_each(|entry| counts.add(entry.counts));
        counts
    }

    pub(crate) fn sets(&self) -> Vec<SetCounts> {
        Set::ALL.into_iter().map(|set| SetCounts { set, counts: self.counts(set) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_have_the_sizes_that_the_targets_were_set_for() {
        let count = |set| RELEASES.iter().filter(|release| release.sets.contains(&set)).count();
        assert_eq!(Set::ALL.map(count), [11, 5, 4]);
    }
}
