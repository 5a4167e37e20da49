//! CodeArtifact: approved sets as versions of packages of the format `generic`.
//!
//! A file is an asset. All but the last asset are published as unfinished, which users cannot download; the last one is
//! [`RECORD`], says what the set is, and makes the version `Published`. From then on CodeArtifact takes no further asset
//! (CodeArtifact User Guide, "Overwriting package assets": a generic package takes new assets while it is `Unfinished`).
//!
//! Nothing is ever moved to another status here: `Unlisted`, `Archived` and `Disposed` are what people withdraw a version by, and
//! the gate's role may not change them.

mod call;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_codeartifact::Client;
use aws_sdk_codeartifact::types::PackageVersionStatus as Status;
use gate_core::coordinates::{Coordinates, Format};
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ArtifactReader, Begin, PackageRepository, PublishedFile};
use gate_core::text::is_deceptive;

use crate::content::Expected;
use crate::errors::{Fault, Kind};

/// The namespace of everything that the gate publishes.
pub(crate) const NAMESPACE: &str = "gate";
/// The asset that says what the set is; it is the last.
pub(crate) const RECORD: &str = "gate.json";
/// Files of a set. CodeArtifact quotas: 150 assets per package version, not adjustable; one of them is [`RECORD`].
pub(crate) const FILES: usize = 149;
/// The size of one asset in bytes. CodeArtifact quotas: 5 GB, not adjustable; read as decimal, to be on the safe side.
pub(crate) const ASSET_BYTES: u64 = 5_000_000_000;
/// Characters of an asset's name (botocore, codeartifact 2018-09-22: `AssetName`, 1 to 255).
pub(crate) const ASSET_NAME_CHARS: usize = 255;
/// Characters of a package's name and of a version (botocore: `PackageName`, `PackageVersion`, `[^#/\s]+`, 1 to 255).
pub(crate) const NAME_CHARS: usize = 255;

/// What an asset's name may hold besides letters and digits (CodeArtifact API, `PublishPackageVersion`: `assetName`).
const ASSET_NAME_MARKS: &str = "~!@^&()-`_+[]{};,.";

/// One repository of one domain.
#[derive(Clone, Debug)]
pub struct CodeArtifact {
    client: Client,
    domain: String,
    owner: String,
    repository: String,
}

/// A set on its way. Dropping it leaves an unfinished version, which the next attempt goes on with.
#[derive(Debug)]
pub struct AssetPublication {
    coordinates: Coordinates,
    files: Vec<PublishedFile>,
    /// The names of the files that are in the repository, with their bytes.
    stored: BTreeSet<String>,
}

/// The assets of a version by name; none for an asset whose digest the service does not say.
type Assets = BTreeMap<String, Option<Sha256>>;

impl CodeArtifact {
    pub(crate) fn new(client: Client, domain: &str, owner: &str, repository: &str) -> Self {
        Self { client, domain: domain.to_owned(), owner: owner.to_owned(), repository: repository.to_owned() }
    }

    /// Publishes one file, unless it is there.
    async fn put_file<R: ArtifactReader>(
        &self,
        coordinates: &Coordinates,
        file: &PublishedFile,
        bytes: R,
    ) -> Result<(), Failure> {
        let expected = Expected { sha256: file.sha256, size: file.size };
        let sent = self.put_asset(coordinates, &file.filename, expected, bytes).await;
        let Some(failure) = conflict(sent)? else { return Ok(()) };
        // An attempt whose answer was lost, or another execution, may have put the very same bytes.
        let assets = self.assets(coordinates).await?;
        if assets.get(&file.filename) == Some(&Some(file.sha256)) { Ok(()) } else { Err(failure) }
    }

    /// Makes the set visible, unless it is.
    async fn finish(&self, coordinates: &Coordinates, files: &[PublishedFile]) -> Result<(), Failure> {
        let Some(failure) = conflict(self.put_record(coordinates, files).await)? else { return Ok(()) };
        let is_visible = self.status(coordinates).await? == Some(Status::Published);
        let is_whole = is_visible && missing(coordinates, files, &self.assets(coordinates).await?).is_empty();
        if is_whole { Ok(()) } else { Err(failure) }
    }
}

/// The failure to give when the service met another change; anything else is the result already.
fn conflict(sent: Result<(), call::Unsent>) -> Result<Option<Failure>, Failure> {
    match sent {
        Ok(()) => Ok(None),
        Err(call::Unsent::Service(fault)) if fault.kind == Kind::Conflict => Ok(Some(fault.storage())),
        Err(call::Unsent::Service(fault)) => Err(fault.storage()),
        Err(call::Unsent::Artifact(failure)) => Err(failure),
    }
}

impl PackageRepository for CodeArtifact {
    type Publication = AssetPublication;

    /// A published version that holds every file of the set is [`Begin::Published`], whatever else the gate published in it.
    /// One that lacks a file is [`Begin::InPart`]: CodeArtifact adds nothing to a published version.
    ///
    /// # Errors
    /// [`FailureCode::TooLarge`] for a set over [`FILES`] or [`ASSET_BYTES`], [`FailureCode::UnexpectedAnswer`] for a name that
    /// CodeArtifact does not take: answers about the row. [`FailureCode::Storage`] when the service cannot be used, or while
    /// another set is on its way into the same version: finishing that one is for the row that began it.
    async fn begin(
        &self,
        coordinates: &Coordinates,
        files: &[PublishedFile],
    ) -> Result<Begin<AssetPublication>, Failure> {
        check(coordinates, files)?;
        let reserved = |stored: BTreeSet<String>| {
            let (coordinates, files) = (coordinates.clone(), files.to_vec());
            Ok(Begin::Reserved(AssetPublication { coordinates, files, stored }))
        };
        let Some(status) = self.status(coordinates).await? else {
            self.close_upstream(coordinates).await?;
            return reserved(BTreeSet::new());
        };
        match status {
            Status::Published => {
                let assets = self.assets(coordinates).await?;
                let missing = missing(coordinates, files, &assets);
                Ok(if missing.is_empty() {
                    Begin::Published
                } else if has_other_bytes(coordinates, files, &assets) {
                    Begin::Taken
                } else {
                    Begin::InPart(missing)
                })
            }
            Status::Unfinished => {
                let assets = self.assets(coordinates).await?;
                if has_other_bytes(coordinates, files, &assets) {
                    return Ok(Begin::Taken);
                }
                let is_ours = |name: &String| files.iter().any(|file| same_name(coordinates, file, name));
                if let Some(other) = assets.keys().find(|name| !is_ours(name)) {
                    return Err(unfinished_otherwise(coordinates, other));
                }
                reserved(assets.into_keys().collect())
            }
            Status::Unlisted | Status::Archived | Status::Disposed | Status::Deleted => Ok(Begin::Withdrawn),
            _ => Err(Fault::unexpected(call::DESCRIBE, "unknown status").storage()),
        }
    }

    async fn put<R: ArtifactReader>(
        &self,
        publication: &mut AssetPublication,
        file: &PublishedFile,
        bytes: R,
    ) -> Result<(), Failure> {
        let listed =
            |it: &PublishedFile| (&it.filename, it.sha256, it.size) == (&file.filename, file.sha256, file.size);
        if !publication.files.iter().any(listed) {
            return Err(Failure::new(FailureCode::Storage, format!("'{}' is not a file of this set", file.filename)));
        }
        if !publication.stored.contains(&file.filename) {
            self.put_file(&publication.coordinates, file, bytes).await?;
            publication.stored.insert(file.filename.clone());
        }
        Ok(())
    }

    async fn commit(&self, publication: AssetPublication) -> Result<(), Failure> {
        let AssetPublication { coordinates, files, stored } = publication;
        if let Some(file) = files.iter().find(|file| !stored.contains(&file.filename)) {
            return Err(Failure::new(FailureCode::Storage, format!("'{}' was never put", file.filename)));
        }
        self.finish(&coordinates, &files).await
    }
}

/// The names of the files whose bytes the version does not have.
fn missing(coordinates: &Coordinates, files: &[PublishedFile], assets: &Assets) -> Vec<String> {
    let is_there = |file: &&PublishedFile| {
        assets.iter().any(|(name, digest)| *digest == Some(file.sha256) && same_name(coordinates, file, name))
    };
    files.iter().filter(|file| !is_there(file)).map(|file| file.filename.clone()).collect()
}

/// Whether the version has other bytes under the name of a file; bytes whose digest the service does not say are other bytes.
fn has_other_bytes(coordinates: &Coordinates, files: &[PublishedFile], assets: &Assets) -> bool {
    let assets = || assets.iter().filter(|(name, _)| *name != RECORD);
    files
        .iter()
        .any(|file| assets().any(|(name, digest)| *digest != Some(file.sha256) && same_name(coordinates, file, name)))
}

/// Publishing what is there would show users a file that is not of the set, and that nobody has decided on now.
fn unfinished_otherwise(coordinates: &Coordinates, other: &str) -> Failure {
    let message = format!(
        "another set, with '{other}', is on its way into {coordinates}; try again. If that set is never finished, delete the \
         unfinished version"
    );
    Failure::new(FailureCode::Storage, message)
}

/// Whether users find the file under the name of an asset. The version of a generic archive is a part of its digest: the same
/// archive may have come with another name.
fn same_name(coordinates: &Coordinates, file: &PublishedFile, asset: &str) -> bool {
    coordinates.format == Format::Generic || file.filename == asset
}

/// What CodeArtifact would refuse half-way.
fn check(coordinates: &Coordinates, files: &[PublishedFile]) -> Result<(), Failure> {
    let fail = |code, message: String| Err(Failure::new(code, message));
    let name_fits = |text: &str| {
        (1..=NAME_CHARS).contains(&text.chars().count())
            && !text.contains(|c: char| c == '#' || c == '/' || c.is_whitespace() || is_deceptive(c))
    };
    if !name_fits(&coordinates.name) || !name_fits(&coordinates.version) {
        return fail(
            FailureCode::UnexpectedAnswer,
            format!("the repository takes no package named {coordinates}; ask the package's author for another name"),
        );
    }
    if files.is_empty() {
        return fail(FailureCode::Storage, format!("{coordinates} has no files to publish"));
    }
    if files.len() > FILES {
        return fail(
            FailureCode::TooLarge,
            format!("{coordinates} has {} files; the repository takes {FILES}. Ask for fewer targets", files.len()),
        );
    }
    if let Some(file) = files.iter().find(|file| file.size > ASSET_BYTES) {
        return fail(
            FailureCode::TooLarge,
            format!("'{}' has {} bytes; the repository takes {ASSET_BYTES}", file.filename, file.size),
        );
    }
    let name_fits = |name: &str| {
        (1..=ASSET_NAME_CHARS).contains(&name.chars().count())
            && name.chars().all(|c| (c.is_alphanumeric() && !is_deceptive(c)) || ASSET_NAME_MARKS.contains(c))
            && name.to_ascii_lowercase() != RECORD
    };
    let mut names = BTreeSet::new();
    if let Some(file) = files.iter().find(|file| !name_fits(&file.filename) || !names.insert(&file.filename)) {
        return fail(
            FailureCode::UnexpectedAnswer,
            format!("the repository takes no file named '{}' in this set; ask for another version", file.filename),
        );
    }
    Ok(())
}
