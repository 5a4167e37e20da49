//! CodeArtifact: approved sets as versions of packages of the format `generic`.
//!
//! A file is an asset. All but the last asset are published as unfinished, which users cannot download; the last one is
//! [`RECORD`], says what the set is, and makes the version `Published`. From then on CodeArtifact takes no further asset.

mod call;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_codeartifact::Client;
use aws_sdk_codeartifact::types::{PackageVersionErrorCode, PackageVersionStatus as Status};
use gate_core::coordinates::{Coordinates, Format};
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ArtifactReader, Begin, PackageRepository, PublishedFile};
use gate_core::text::{escape_to, is_deceptive};

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
    /// The version is complete and was withdrawn.
    archived: bool,
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
        let visible = matches!(self.status(coordinates).await?, Some(Status::Published | Status::Unlisted));
        if visible && holds_all(coordinates, files, &self.assets(coordinates).await?) { Ok(()) } else { Err(failure) }
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
    /// One that lacks a file is [`Begin::Taken`]: CodeArtifact adds nothing to a published version.
    ///
    /// # Errors
    /// [`FailureCode::TooLarge`] for a set over [`FILES`] or [`ASSET_BYTES`], [`FailureCode::UnexpectedAnswer`] for a name that
    /// CodeArtifact does not take: answers about the row. [`FailureCode::Storage`] when the service cannot be used.
    async fn begin(
        &self,
        coordinates: &Coordinates,
        files: &[PublishedFile],
    ) -> Result<Begin<AssetPublication>, Failure> {
        check(coordinates, files)?;
        let reserved = |stored: BTreeSet<String>, archived| {
            let (coordinates, files) = (coordinates.clone(), files.to_vec());
            Ok(Begin::Reserved(AssetPublication { coordinates, files, stored, archived }))
        };
        let Some(status) = self.status(coordinates).await? else {
            self.close_upstream(coordinates).await?;
            return reserved(BTreeSet::new(), false);
        };
        let all = || files.iter().map(|file| file.filename.clone()).collect();
        match status {
            Status::Published | Status::Unlisted | Status::Archived => {
                let holds = holds_all(coordinates, files, &self.assets(coordinates).await?);
                match (holds, status) {
                    (false, _) => Ok(Begin::Taken),
                    (true, Status::Archived) => reserved(all(), true),
                    (true, _) => Ok(Begin::Published),
                }
            }
            Status::Unfinished => {
                let assets = self.assets(coordinates).await?;
                let other_bytes = |(name, digest): (&String, &Option<Sha256>)| {
                    !files.iter().any(|file| *digest == Some(file.sha256) && same_name(coordinates, file, name))
                };
                if assets.iter().any(other_bytes) {
                    return Ok(Begin::Taken);
                }
                reserved(assets.into_keys().collect(), false)
            }
            // The assets are gone, and the version is never given again.
            Status::Disposed | Status::Deleted => Ok(Begin::Taken),
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
        let AssetPublication { coordinates, files, stored, archived } = publication;
        if let Some(file) = files.iter().find(|file| !stored.contains(&file.filename)) {
            return Err(Failure::new(FailureCode::Storage, format!("'{}' was never put", file.filename)));
        }
        if !archived {
            return self.finish(&coordinates, &files).await;
        }
        match self.move_to(&coordinates, Status::Published).await? {
            None => Ok(()),
            Some(_) if matches!(self.status(&coordinates).await?, Some(Status::Published)) => Ok(()),
            Some(_) => Err(Fault::unexpected(call::UPDATE, "not restored").storage()),
        }
    }

    /// Archives the version: users can no longer download it, and it keeps its assets. CodeArtifact has no place for the
    /// reason; it goes to the log.
    async fn withdraw(&self, coordinates: &Coordinates, reason: &str) -> Result<(), Failure> {
        tracing::info!(%coordinates, reason = escape_to(reason, 200), "withdraw");
        let refused = match self.move_to(coordinates, Status::Archived).await? {
            None | Some(PackageVersionErrorCode::NotFound) => return Ok(()),
            Some(_) => Fault::unexpected(call::UPDATE, "not archived").storage(),
        };
        // What users cannot download needs no hiding.
        match self.status(coordinates).await? {
            None | Some(Status::Archived | Status::Unfinished | Status::Disposed | Status::Deleted) => Ok(()),
            Some(_) => Err(refused),
        }
    }
}

/// Whether the version has the bytes of every file.
fn holds_all(coordinates: &Coordinates, files: &[PublishedFile], assets: &Assets) -> bool {
    files.iter().all(|file| {
        assets.iter().any(|(name, digest)| *digest == Some(file.sha256) && same_name(coordinates, file, name))
    })
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
