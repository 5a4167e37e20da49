use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;

use crate::digest::Sha256;
use crate::failure::{Failure, FailureCode};
use crate::ports::{ArtifactReader, ArtifactWriter, Clock, Put, Quarantine, Records};

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock that stands still.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Records in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryRecords {
    documents: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Records for MemoryRecords {
    async fn put_new(&self, key: &str, body: &[u8]) -> Result<Put, Failure> {
        let mut documents = locked(&self.documents);
        if documents.contains_key(key) {
            return Ok(Put::Exists);
        }
        documents.insert(key.to_owned(), body.to_vec());
        Ok(Put::Created)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(locked(&self.documents).get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        Ok(locked(&self.documents).keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }
}

/// Artifacts in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryQuarantine {
    artifacts: Arc<Mutex<BTreeMap<Sha256, Bytes>>>,
}

impl MemoryQuarantine {
    /// Puts bytes under a digest, which need not be theirs: so a test can swap what was scanned.
    pub fn plant(&self, digest: Sha256, bytes: impl Into<Bytes>) {
        locked(&self.artifacts).insert(digest, bytes.into());
    }

    /// The bytes stored under a digest.
    #[must_use]
    pub fn bytes(&self, digest: &Sha256) -> Option<Bytes> {
        locked(&self.artifacts).get(digest).cloned()
    }

    /// How many artifacts are stored.
    #[must_use]
    pub fn len(&self) -> usize {
        locked(&self.artifacts).len()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Quarantine for MemoryQuarantine {
    type Writer = MemoryWriter;
    type Reader = MemoryReader;

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, Failure> {
        Ok(self.bytes(digest).map(|bytes| bytes.len() as u64))
    }

    async fn create(&self) -> Result<MemoryWriter, Failure> {
        Ok(MemoryWriter { quarantine: self.clone(), written: Vec::new() })
    }

    async fn open(&self, digest: &Sha256) -> Result<MemoryReader, Failure> {
        let bytes = self.bytes(digest);
        bytes.map(|bytes| MemoryReader(Some(bytes))).ok_or_else(|| Failure::new(FailureCode::Storage, "not stored"))
    }

    async fn discard_damaged(&self, digest: &Sha256) -> Result<bool, Failure> {
        let mut artifacts = locked(&self.artifacts);
        let damaged = artifacts.get(digest).is_some_and(|bytes| Sha256::of(bytes) != *digest);
        if damaged {
            artifacts.remove(digest);
        }
        Ok(damaged)
    }
}

/// See [`MemoryQuarantine`].
#[derive(Debug)]
pub struct MemoryWriter {
    quarantine: MemoryQuarantine,
    written: Vec<u8>,
}

impl ArtifactWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.written.extend_from_slice(&bytes);
        Ok(())
    }

    async fn keep(self, digest: &Sha256) -> Result<(), Failure> {
        self.quarantine.plant(*digest, self.written);
        Ok(())
    }
}

/// See [`MemoryQuarantine`].
#[derive(Debug)]
pub struct MemoryReader(Option<Bytes>);

impl ArtifactReader for MemoryReader {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        Ok(self.0.take().filter(|bytes| !bytes.is_empty()))
    }
}
