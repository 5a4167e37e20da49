//! The output folder as the gate's stores: `quarantine/` by digest, and records by key.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ArtifactReader, ArtifactWriter, Put, Quarantine, Records};
use sha2::Digest as _;
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How much is read from a stored artifact at once, in bytes.
const CHUNK: usize = 1 << 20;

/// What the names of unfinished files begin with.
const SCRATCH: &str = ".incoming-";

/// How old a scratch file is that no running program writes to any more: a download may pause for seconds, not for a day.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A folder that holds what the gate keeps. Everything appears in it whole, under its final name, or not at all, also when the
/// power fails: bytes are on the disk before they get their name.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryStore {
    root: PathBuf,
    /// Done before the first file is written.
    sweep: Arc<Once>,
}

impl DirectoryStore {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), sweep: Arc::new(Once::new()) }
    }

    /// Where an artifact lies if it is stored.
    pub(crate) fn artifact(&self, digest: &Sha256) -> PathBuf {
        let hex = digest.to_string();
        self.quarantine().join(&hex[..2]).join(hex)
    }

    fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Where an artifact lies whose bytes were found damaged, for whoever wants to know what happened to them.
    fn damaged(&self, digest: &Sha256) -> PathBuf {
        self.quarantine().join("damaged").join(digest.to_string())
    }

    fn scratch(&self) -> io::Result<NamedTempFile> {
        let folder = self.quarantine();
        std::fs::create_dir_all(&folder)?;
        self.sweep.call_once(|| {
            let now = SystemTime::now();
            sweep(&folder, now);
            sweep(&self.root, now);
        });
        scratch_in(&folder)
    }

    fn key(&self, path: &Path) -> Option<String> {
        Some(path.strip_prefix(&self.root).ok()?.to_str()?.replace(std::path::MAIN_SEPARATOR, "/"))
    }

    fn put(&self, key: &str, body: &[u8]) -> io::Result<Put> {
        let mut file = self.scratch()?;
        io::Write::write_all(&mut file, body)?;
        file.as_file().sync_data()?;
        let target = self.root.join(key);
        create_parent(&target)?;
        match file.into_temp_path().persist_noclobber(target) {
            Ok(()) => Ok(Put::Created),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Exists),
            Err(error) => Err(error.error),
        }
    }
}

impl Quarantine for DirectoryStore {
    type Writer = Incoming;
    type Reader = Outgoing;

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, Failure> {
        match tokio::fs::metadata(self.artifact(digest)).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(storage(&error)),
        }
    }

    async fn create(&self) -> Result<Incoming, Failure> {
        let (file, path) = self.scratch().map_err(|error| storage(&error))?.into_parts();
        Ok(Incoming { store: self.clone(), file: File::from_std(file), path })
    }

    async fn open(&self, digest: &Sha256) -> Result<Outgoing, Failure> {
        File::open(self.artifact(digest)).await.map(Outgoing).map_err(|error| storage(&error))
    }

    async fn discard_damaged(&self, digest: &Sha256) -> Result<bool, Failure> {
        let path = self.artifact(digest);
        let file = match File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(storage(&error)),
        };
        let doubted = file.metadata().await.map_err(|error| storage(&error))?;
        let (mut bytes, mut hasher) = (Outgoing(file), sha2::Sha256::new());
        while let Some(chunk) = bytes.next().await? {
            hasher.update(&chunk);
        }
        if Sha256::finish(hasher) == *digest {
            return Ok(false);
        }
        // Another row may have set it aside or fetched it anew meanwhile: what lies there now stays.
        if std::fs::metadata(&path).is_ok_and(|now| now.ino() == doubted.ino()) {
            let aside = self.damaged(digest);
            match create_parent(&aside).and_then(|()| std::fs::rename(&path, aside)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(storage(&error)),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// An artifact on its way in; the file goes when this is dropped.
pub(crate) struct Incoming {
    store: DirectoryStore,
    file: File,
    path: tempfile::TempPath,
}

impl ArtifactWriter for Incoming {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.file.write_all(&bytes).await.map_err(|error| storage(&error))
    }

    /// What lies there under this digest is replaced: it is the same bytes, or it is damaged.
    async fn keep(mut self, digest: &Sha256) -> Result<(), Failure> {
        self.file.flush().await.map_err(|error| storage(&error))?;
        self.file.sync_data().await.map_err(|error| storage(&error))?;
        let target = self.store.artifact(digest);
        create_parent(&target).map_err(|error| storage(&error))?;
        self.path.persist(target).map_err(|error| storage(&error.error))
    }
}

/// An artifact on its way out.
pub(crate) struct Outgoing(File);

impl ArtifactReader for Outgoing {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = (&mut self.0).take(CHUNK as u64).read_to_end(&mut chunk).await.map_err(|error| storage(&error))?;
        Ok((read > 0).then(|| chunk.into()))
    }
}

impl Records for DirectoryStore {
    async fn put_new(&self, key: &str, body: &[u8]) -> Result<Put, Failure> {
        // A disk may take its time until the bytes are safe.
        let (store, key, body) = (self.clone(), key.to_owned(), body.to_vec());
        let put = tokio::task::spawn_blocking(move || store.put(&key, &body)).await;
        put.map_err(io::Error::from).flatten().map_err(|error| storage(&error))
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        match std::fs::read(self.root.join(key)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(storage(&error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let mut keys = Vec::new();
        for entry in walkdir::WalkDir::new(self.root.join(prefix)).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => keys.extend(self.key(entry.path())),
                Ok(_) => {}
                Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => {}
                Err(error) => return Err(storage(&error.into())),
            }
        }
        Ok(keys)
    }
}

/// A file that is on its way to its final name in this folder's file system, readable as other new files are.
pub(crate) fn scratch_in(folder: &Path) -> io::Result<NamedTempFile> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    tempfile::Builder::new().prefix(SCRATCH).permissions(permissions).tempfile_in(folder)
}

fn create_parent(target: &Path) -> io::Result<()> {
    target.parent().map_or(Ok(()), std::fs::create_dir_all)
}

/// Removes the scratch files that a killed program left in a folder. What cannot be removed does no harm.
fn sweep(folder: &Path, now: SystemTime) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_scratch = entry.file_name().to_str().is_some_and(|name| name.starts_with(SCRATCH));
        let is_stale = || {
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some(now.duration_since(metadata.modified().ok()?).ok()? > STALE)
        };
        if is_scratch && is_stale() == Some(true) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn storage(error: &io::Error) -> Failure {
    Failure::new(FailureCode::Storage, format!("the output folder could not be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, DirectoryStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(folder.path());
        (folder, store)
    }

    /// The files below a folder, as keys.
    fn files(store: &DirectoryStore) -> Vec<String> {
        let entries = walkdir::WalkDir::new(&store.root).sort_by_file_name().into_iter().map(Result::unwrap);
        entries.filter(|entry| entry.file_type().is_file()).map(|entry| store.key(entry.path()).unwrap()).collect()
    }

    async fn write(store: &DirectoryStore, bytes: &'static [u8]) -> Incoming {
        let mut writer = store.create().await.unwrap();
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        writer.write(Bytes::from_static(first)).await.unwrap();
        writer.write(Bytes::from_static(rest)).await.unwrap();
        writer
    }

    async fn read(store: &DirectoryStore, digest: &Sha256) -> Vec<u8> {
        let (mut reader, mut all) = (store.open(digest).await.unwrap(), Vec::new());
        while let Some(bytes) = reader.next().await.unwrap() {
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[tokio::test]
    async fn an_artifact_is_whole_or_absent() {
        let (_folder, store) = store();
        let digest = Sha256::of(b"onetwo");
        drop(write(&store, b"onetwo").await);
        assert_eq!(store.size(&digest).await, Ok(None));
        assert!(files(&store).is_empty());

        for _ in 0..2 {
            write(&store, b"onetwo").await.keep(&digest).await.unwrap();
        }
        assert_eq!(store.size(&digest).await, Ok(Some(6)));
        assert_eq!(read(&store, &digest).await, b"onetwo");
        assert_eq!(files(&store).len(), 1);
    }

    #[tokio::test]
    async fn a_damaged_artifact_is_set_aside_and_a_whole_one_stays() {
        let (_folder, store) = store();
        let digest = Sha256::of(b"onetwo");
        assert_eq!(store.discard_damaged(&digest).await, Ok(false), "not stored");
        write(&store, b"onetwo").await.keep(&digest).await.unwrap();
        assert_eq!(store.discard_damaged(&digest).await, Ok(false), "whole");
        assert_eq!(read(&store, &digest).await, b"onetwo");
        for damaged in ["onetwp", "onetw", ""] {
            std::fs::write(store.artifact(&digest), damaged).unwrap();
            assert_eq!(store.discard_damaged(&digest).await, Ok(true), "{damaged:?}");
            assert_eq!(store.size(&digest).await, Ok(None));
            assert_eq!(std::fs::read(store.damaged(&digest)).unwrap(), damaged.as_bytes());
        }
        write(&store, b"onetwo").await.keep(&digest).await.unwrap();
        assert_eq!(read(&store, &digest).await, b"onetwo");
    }

    #[tokio::test]
    async fn a_fresh_copy_mends_a_damaged_one_and_leaves_its_readers_alone() {
        let (_folder, store) = store();
        let digest = Sha256::of(b"onetwo");
        write(&store, b"onetwo").await.keep(&digest).await.unwrap();
        std::fs::write(store.artifact(&digest), "onetwp").unwrap();
        let mut reader = store.open(&digest).await.unwrap();
        write(&store, b"onetwo").await.keep(&digest).await.unwrap();
        assert_eq!(read(&store, &digest).await, b"onetwo");
        assert_eq!(reader.next().await.unwrap().as_deref(), Some(b"onetwp".as_slice()));
    }

    #[tokio::test]
    async fn a_record_is_written_once() {
        let (_folder, store) = store();
        assert_eq!(store.put_new("a/b/2.json", b"first").await, Ok(Put::Created));
        assert_eq!(store.put_new("a/b/2.json", b"second").await, Ok(Put::Exists));
        assert_eq!(store.put_new("a/b/1.json", b"").await, Ok(Put::Created));
        assert_eq!(store.get("a/b/2.json").await, Ok(Some(b"first".to_vec())));
        assert_eq!(store.get("a/c.json").await, Ok(None));
        assert_eq!(store.list("a/b/").await, Ok(vec!["a/b/1.json".to_owned(), "a/b/2.json".to_owned()]));
        assert_eq!(store.list("none/").await, Ok(vec![]));
        assert_eq!(files(&store), ["a/b/1.json", "a/b/2.json"], "no scratch is left");
    }

    #[tokio::test]
    async fn what_a_killed_run_left_is_swept_after_a_day() {
        let (folder, store) = store();
        let quarantine = folder.path().join("quarantine");
        std::fs::create_dir_all(quarantine.join("ab")).unwrap();
        std::fs::create_dir(quarantine.join(".incoming-folder")).unwrap();
        let old = |path: PathBuf, age: Duration| {
            let file = std::fs::File::create(path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let minute = Duration::from_secs(60);
        old(quarantine.join(".incoming-gone"), STALE + minute);
        old(folder.path().join(".incoming-gone"), STALE + minute);
        old(quarantine.join(".incoming-running"), STALE - minute);
        old(quarantine.join("ab").join("abcd"), STALE + minute);
        old(folder.path().join("report.html"), STALE + minute);
        let kept = ["quarantine/.incoming-running", "quarantine/ab/abcd", "report.html"];
        assert_eq!(store.size(&Sha256::of(b"")).await, Ok(None));
        assert_eq!(files(&store).len(), 5, "reading sweeps nothing");
        drop(store.create().await.unwrap());
        assert_eq!(files(&store), kept);
        old(quarantine.join(".incoming-gone"), STALE + minute);
        drop(store.clone().create().await.unwrap());
        assert_eq!(files(&store).len(), 4, "once");
    }

    #[test]
    fn a_scratch_file_is_stale_after_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".incoming-x");
        let now = SystemTime::now();
        let second = Duration::from_secs(1);
        for (age, stays) in [(STALE - second, true), (STALE, true), (STALE + second, false)] {
            std::fs::File::create(&path).unwrap().set_modified(now - age).unwrap();
            sweep(folder.path(), now);
            assert_eq!(path.exists(), stays, "{age:?}");
        }
    }
}
