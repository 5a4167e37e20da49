//! The record of one release, and what a newly approved set of files means to it.

use std::collections::BTreeMap;

use gate_core::SCHEMA_VERSION;
use gate_core::coordinates::{Coordinates, Format};
use gate_core::evidence::Evidence;
use gate_core::ports::PublishedFile;
use serde::{Deserialize, Serialize};

/// A published set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What users install.
    pub coordinates: Coordinates,
    /// What users see, in the order of the names.
    pub files: Vec<PublishedFile>,
    /// What users saw once and no longer see: withdrawn and not approved again, or found damaged. They are remembered so that
    /// other bytes never take their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<PublishedFile>,
}

/// What a set is to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// The release lists every file of it.
    Covered,
    /// Its files may be added to the release.
    Extends,
    /// Other bytes, or another source, hold the coordinates.
    Conflicts,
}

impl Release {
    pub(super) fn new(coordinates: &Coordinates, files: &[PublishedFile]) -> Self {
        let mut files = files.to_vec();
        files.sort_by(|a, b| a.filename.cmp(&b.filename));
        Self { schema_version: SCHEMA_VERSION, coordinates: coordinates.clone(), files, retired: Vec::new() }
    }

    /// Every file that ever had these coordinates.
    pub(super) fn known(&self) -> impl Iterator<Item = &PublishedFile> {
        self.files.iter().chain(&self.retired)
    }

    /// What this set is to the release.
    ///
    /// A set that is not a part of the release may extend it when it holds the whole release, or when both are from an index:
    /// an archive from a URL is never put beside files that an index lists for the same version.
    pub(super) fn relation(&self, set: &[PublishedFile]) -> Relation {
        let known: BTreeMap<_, _> = self.known().map(|file| (&file.filename, file.sha256)).collect();
        let other_bytes = |file: &PublishedFile| match self.coordinates.format {
            // The version is a part of the digest: one version, one archive, whatever its name.
            Format::Generic => known.values().any(|digest| *digest != file.sha256),
            Format::Pypi | Format::Npm => known.get(&file.filename).is_some_and(|digest| *digest != file.sha256),
        };
        if set.iter().any(other_bytes) {
            return Relation::Conflicts;
        }
        let is_in = |file: &PublishedFile, files: &[PublishedFile]| files.iter().any(|it| it.filename == file.filename);
        if set.iter().all(|file| is_in(file, &self.files)) {
            return Relation::Covered;
        }
        let extends = self.coordinates.format == Format::Generic
            || self.files.iter().all(|file| is_in(file, set))
            || set.iter().all(|file| known.contains_key(&file.filename))
            || (from_index(set) && from_index(&self.files));
        if extends { Relation::Extends } else { Relation::Conflicts }
    }

    /// The release with this set in it. `keeps` says which of the other files users go on seeing.
    pub(super) fn with<E>(
        &self,
        set: &[PublishedFile],
        mut keeps: impl FnMut(&PublishedFile) -> Result<bool, E>,
    ) -> Result<Self, E> {
        let mut next = Self::new(&self.coordinates, set);
        for file in &mut next.files {
            if let Some(before) = self.known().find(|before| before.filename == file.filename) {
                file.evidence = better(&before.evidence, &file.evidence);
            }
        }
        let listed = |file: &PublishedFile| set.iter().any(|it| it.filename == file.filename);
        for file in self.files.iter().filter(|file| !listed(file)) {
            let kept = keeps(file)?;
            if kept { &mut next.files } else { &mut next.retired }.push(file.clone());
        }
        next.retired.extend(self.retired.iter().filter(|file| !listed(file)).cloned());
        for files in [&mut next.files, &mut next.retired] {
            files.sort_by(|a, b| a.filename.cmp(&b.filename));
        }
        Ok(next)
    }

    /// The listed file of this name.
    pub(super) fn file(&self, filename: &str) -> Option<&PublishedFile> {
        self.files.iter().find(|file| file.filename == filename)
    }
}

/// Whether an index listed these files. A row with a URL leads to one file, and never knows an upload time.
fn from_index(files: &[PublishedFile]) -> bool {
    files.len() > 1 || files.iter().all(|file| file.evidence.upload_time.is_some())
}

/// An index's newest word; a row with a URL does not unsay what an index said.
fn better(before: &Evidence, now: &Evidence) -> Evidence {
    if now.upload_time.is_some() || before.upload_time.is_none() { now.clone() } else { before.clone() }
}
