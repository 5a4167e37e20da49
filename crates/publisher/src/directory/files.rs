//! Files on disk: whether a published one is sound, and how one gets into place.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gate_core::digest::Sha256;
use gate_core::ports::PublishedFile;
use serde::Serialize;
use sha2::Digest as _;
use tempfile::TempDir;

const STAGING: &str = ".staging-";

/// No publication takes this long: what is older was left by a program that was killed.
pub(super) const STAGING_MAX_AGE: Duration = Duration::from_hours(24);

/// One change to the repository, all of it or nothing.
#[derive(Debug)]
pub(super) enum Step {
    /// Puts a file into place, over whatever is there.
    Move { from: PathBuf, to: PathBuf },
    /// Removes a file.
    Remove(PathBuf),
}

impl Step {
    /// Does it, so that it survives a power loss.
    pub(super) fn run(&self) -> io::Result<()> {
        let path = match self {
            Self::Move { from, to } => {
                std::fs::rename(from, to)?;
                to
            }
            Self::Remove(path) => {
                std::fs::remove_file(path)?;
                path
            }
        };
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

/// A folder to build something in, on the file system of the repository.
pub(super) fn staging(root: &Path) -> io::Result<TempDir> {
    std::fs::create_dir_all(root)?;
    tempfile::Builder::new().prefix(STAGING).tempdir_in(root)
}

/// Removes what killed programs left behind. Whatever cannot be removed now is for the next time.
pub(super) fn sweep(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let is_staging = entry.file_name().to_str().is_some_and(|name| name.starts_with(STAGING));
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_staging && age().is_some_and(|age| age > STAGING_MAX_AGE) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Writes a document into a folder.
pub(super) fn write_record(folder: &Path, name: &str, document: &impl Serialize) -> io::Result<PathBuf> {
    let path = folder.join(name);
    let mut file = File::create_new(&path)?;
    file.write_all(&serde_json::to_vec_pretty(document)?)?;
    file.sync_all()?;
    Ok(path)
}

/// Whether a published file is there with its bytes. One that has its size and was not changed since its record was written is
/// believed; any other is hashed (about 1 s/GB).
pub(super) fn is_sound(folder: &Path, file: &PublishedFile, written: SystemTime) -> io::Result<bool> {
    let path = folder.join(&file.filename);
    let Some(found) = super::optional(std::fs::symlink_metadata(&path))? else { return Ok(false) };
    if !found.is_file() || found.len() != file.size {
        return Ok(false);
    }
    Ok(found.modified()? <= written || hash(&path)? == file.sha256)
}

fn hash(path: &Path) -> io::Result<Sha256> {
    let mut file = File::open(path)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256::finish(hasher)),
            read => hasher.update(&buffer[..read]),
        }
    }
}
