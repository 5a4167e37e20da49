//! A release on its way into the repository.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ArtifactReader, PublishedFile};
use sha2::Digest as _;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::files::{self, Step};
use super::release::{Relation, Release};
use super::{DirectoryRepository, FILES, RELEASE, Record, WITHDRAWN, storage};

/// A release on its way. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Publication {
    /// The set, without what is published already.
    set: Release,
    staging: TempDir,
    /// The names of the files that are staged and verified.
    verified: BTreeSet<String>,
    /// What hid the release when this publication began.
    withdrawal: Option<Vec<u8>>,
}

impl Publication {
    pub(super) fn new(set: Release, staging: TempDir, withdrawal: Option<Vec<u8>>) -> io::Result<Self> {
        std::fs::create_dir(staging.path().join(FILES))?;
        Ok(Self { set, staging, verified: BTreeSet::new(), withdrawal })
    }

    fn staged(&self, filename: &str) -> PathBuf {
        self.staging.path().join(FILES).join(filename)
    }

    pub(super) async fn put<R: ArtifactReader>(&mut self, file: &PublishedFile, mut bytes: R) -> Result<(), Failure> {
        if self.set.file(&file.filename).is_none_or(|listed| listed.sha256 != file.sha256) {
            return Err(storage(io::Error::other(format!("{} is not a file of this set", file.filename))));
        }
        let mut out = tokio::fs::File::create_new(self.staged(&file.filename)).await.map_err(storage)?;
        let mut hasher = sha2::Sha256::new();
        let mut size = 0;
        while let Some(chunk) = bytes.next().await? {
            hasher.update(&chunk);
            size += chunk.len() as u64;
            out.write_all(&chunk).await.map_err(storage)?;
        }
        out.sync_all().await.map_err(storage)?;
        let stored = Sha256::finish(hasher);
        if stored != file.sha256 || size != file.size {
            let message = format!(
                "the stored bytes of {} have the SHA-256 {stored} ({size} bytes) and not {} ({} bytes); fetch it again",
                file.filename, file.sha256, file.size
            );
            return Err(Failure::new(FailureCode::DigestMismatch, message));
        }
        self.verified.insert(file.filename.clone());
        Ok(())
    }

    /// What makes the set visible, in this order; after each step users see a sound release. The caller has the turn to write.
    pub(super) fn steps(&self, repository: &DirectoryRepository) -> io::Result<Vec<Step>> {
        let Self { set, staging, verified, withdrawal } = self;
        if let Some(file) = set.files.iter().find(|file| !verified.contains(&file.filename)) {
            return Err(io::Error::other(format!("{} was never put", file.filename)));
        }
        let state = repository.state(&set.coordinates)?;
        if state.withdrawal != *withdrawal {
            return Err(io::Error::other(format!(
                "{} was withdrawn or restored meanwhile; try again",
                set.coordinates
            )));
        }
        if let Some(Record { release, .. }) = &state.record
            && release.relation(&set.files) == Relation::Conflicts
        {
            return Err(io::Error::other(format!("other bytes were published as {} meanwhile", set.coordinates)));
        }
        let folder = repository.folder(&set.coordinates);
        std::fs::create_dir_all(folder.join(FILES))?;
        let record = files::write_record(staging.path(), RELEASE, &repository.next(&state, set)?)?;
        let moves = set.files.iter().map(|file| (self.staged(&file.filename), folder.join(FILES).join(&file.filename)));
        let mut steps: Vec<_> = moves.map(|(from, to)| Step::Move { from, to }).collect();
        steps.push(Step::Move { from: record, to: folder.join(RELEASE) });
        steps.extend(state.withdrawal.map(|_| Step::Remove(folder.join(WITHDRAWN))));
        Ok(steps)
    }
}
