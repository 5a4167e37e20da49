//! The quarantine in S3: one object for each artifact, under `quarantine/` and its SHA-256.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ArtifactReader, Quarantine};
use sha2::Digest as _;

use super::records::broken_off;
use super::{ArtifactUpload, Bucket};
use crate::errors::{Fault, Kind};

/// Artifacts in a bucket. It should be versioned: what is discarded then stays for whoever looks for the cause.
#[derive(Clone, Debug)]
pub struct S3Quarantine {
    pub(super) bucket: Bucket,
}

impl S3Quarantine {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { bucket: Bucket::new(client, bucket) }
    }
}

/// Where an artifact lies.
pub(super) fn artifact_key(digest: &Sha256) -> String {
    format!("quarantine/{digest}")
}

impl Quarantine for S3Quarantine {
    type Writer = ArtifactUpload;
    type Reader = ArtifactDownload;

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, Failure> {
        self.bucket.size(&artifact_key(digest)).await.map_err(|fault| fault.storage())
    }

    async fn create(&self) -> Result<ArtifactUpload, Failure> {
        Ok(ArtifactUpload::new(self.bucket.clone()))
    }

    async fn open(&self, digest: &Sha256) -> Result<ArtifactDownload, Failure> {
        let key = artifact_key(digest);
        let object = self.bucket.get(&key).await.map_err(|fault| fault.storage())?;
        let object = object.ok_or_else(|| Failure::new(FailureCode::Storage, format!("{key} is not stored")))?;
        Ok(ArtifactDownload { key, body: object.body })
    }

    async fn discard_damaged(&self, digest: &Sha256) -> Result<bool, Failure> {
        let key = artifact_key(digest);
        let Some(object) = self.bucket.get(&key).await.map_err(|fault| fault.storage())? else { return Ok(false) };
        let (tag, mut hasher) = (object.e_tag, sha2::Sha256::new());
        let mut bytes = ArtifactDownload { key: key.clone(), body: object.body };
        while let Some(chunk) = bytes.next().await? {
            hasher.update(&chunk);
        }
        if Sha256::finish(hasher) == *digest {
            return Ok(false);
        }
        // Only what was hashed: somebody may have mended it meanwhile.
        let delete = self.bucket.client.delete_object().bucket(&self.bucket.name).key(&key).set_if_match(tag);
        match delete.send().await.map_err(|error| Fault::of("s3:DeleteObject", &error)) {
            Ok(_) => Ok(true),
            Err(fault) if matches!(fault.kind, Kind::Conflict | Kind::NotFound) => Ok(true),
            Err(fault) => Err(fault.storage()),
        }
    }
}

/// One artifact on its way out of a [`S3Quarantine`].
#[derive(Debug)]
pub struct ArtifactDownload {
    key: String,
    body: ByteStream,
}

impl ArtifactReader for ArtifactDownload {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.body.next().await.transpose().map_err(|_| broken_off(&self.key))
    }
}
