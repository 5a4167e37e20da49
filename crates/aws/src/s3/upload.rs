//! One artifact on its way into quarantine.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ArtifactWriter, Put};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Bucket;
use super::bucket::{checksum, slow};
use super::quarantine::artifact_key;
use crate::errors::Fault;

/// The bytes of one part, and the most that one put takes. S3 wants at least 5 MiB for all parts but the last.
pub(super) const PART_BYTES: usize = 8 << 20;

/// Parts that go up at a time, besides the one that is being filled: 32 MiB together.
const PARTS_IN_FLIGHT: usize = 3;

/// The most bytes of one artifact: what one `CopyObject` takes (5 GB in S3's words; 640 parts).
const ARTIFACT_BYTES: u64 = 5 << 30;

const CONTENT_TYPE: &str = "application/octet-stream";

/// One artifact on its way into a [`S3Quarantine`](super::S3Quarantine). Up to 8 MiB it is one conditional put under its digest.
/// A larger one goes up in parts to `incoming/`, as its digest is not known yet, and is copied by S3 under its digest.
///
/// A failure aborts the upload; so does dropping, as far as the process lives on to do it. The bucket's lifecycle rule takes
/// what is left of it.
#[derive(Debug)]
pub struct ArtifactUpload {
    bucket: Bucket,
    part_bytes: usize,
    artifact_bytes: u64,
    filling: BytesMut,
    written: u64,
    parts: Option<Parts>,
}

impl ArtifactUpload {
    pub(super) fn new(bucket: Bucket) -> Self {
        let (part_bytes, artifact_bytes) = (PART_BYTES, ARTIFACT_BYTES);
        Self { bucket, part_bytes, artifact_bytes, filling: BytesMut::new(), written: 0, parts: None }
    }

    #[cfg(test)]
    pub(super) fn with_limits(self, part_bytes: usize, artifact_bytes: u64) -> Self {
        Self { part_bytes, artifact_bytes, ..self }
    }

    async fn append(&mut self, mut bytes: Bytes) -> Result<(), Failure> {
        self.written += bytes.len() as u64;
        if self.written > self.artifact_bytes {
            let limit = self.artifact_bytes;
            return Err(Failure::new(
                FailureCode::TooLarge,
                format!("it is larger than {limit} bytes, which is what can be stored"),
            ));
        }
        while !bytes.is_empty() {
            // A full part waits for the next byte: so an artifact of exactly one part is one put.
            if self.filling.len() == self.part_bytes {
                self.send_part().await.map_err(|fault| fault.storage())?;
            }
            let room = self.part_bytes - self.filling.len();
            self.filling.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), Fault> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => self.parts.insert(Parts::begin(&self.bucket).await?),
        };
        parts.send(std::mem::take(&mut self.filling).freeze()).await?;
        // Not before: sending waits until there is room for one more.
        self.filling = BytesMut::with_capacity(self.part_bytes);
        Ok(())
    }

    /// One put. Bytes that are stored under the digest already stay, unless they are fewer or more.
    async fn put(&mut self, digest: &Sha256) -> Result<(), Fault> {
        let (key, body) = (artifact_key(digest), std::mem::take(&mut self.filling).freeze());
        if self.bucket.put_new(&key, &body, Some(digest), CONTENT_TYPE).await? == Put::Exists
            && self.bucket.size(&key).await? != Some(self.written)
        {
            self.bucket.replace(&key, &body, Some(digest), CONTENT_TYPE).await?;
        }
        Ok(())
    }

    /// Completes the parts, and lets S3 copy them under the digest, unless that is stored already.
    async fn copy(&mut self, digest: &Sha256) -> Result<(), Fault> {
        if !self.filling.is_empty() {
            self.send_part().await?;
        }
        let Some(mut parts) = self.parts.take() else { return Ok(()) };
        if let Err(fault) = parts.complete().await {
            parts.abort().await;
            return Err(fault);
        }
        let copied = self.copy_once(&parts.key, digest).await;
        delete(&self.bucket, &parts.key).await;
        copied
    }

    async fn copy_once(&self, from: &str, digest: &Sha256) -> Result<(), Fault> {
        let to = artifact_key(digest);
        if self.bucket.size(&to).await? == Some(self.written) {
            return Ok(());
        }
        copy_object(&self.bucket, from, &to, digest).await
    }
}

impl ArtifactWriter for ArtifactUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let written = self.append(bytes).await;
        if written.is_err()
            && let Some(mut parts) = self.parts.take()
        {
            parts.abort().await;
        }
        written
    }

    async fn keep(mut self, digest: &Sha256) -> Result<(), Failure> {
        let kept = if self.parts.is_none() { self.put(digest).await } else { self.copy(digest).await };
        if kept.is_err()
            && let Some(mut parts) = self.parts.take()
        {
            parts.abort().await;
        }
        kept.map_err(|fault| fault.storage())?;
        let key = artifact_key(digest);
        let stored = self.bucket.size(&key).await.map_err(|fault| fault.storage())?;
        if stored == Some(self.written) {
            return Ok(());
        }
        let message = format!("{key} has {stored:?} bytes instead of {}. Try again.", self.written);
        Err(Failure::new(FailureCode::Storage, message))
    }
}

/// A multipart upload to a name of its own.
#[derive(Debug)]
struct Parts {
    bucket: Bucket,
    key: String,
    upload: String,
    sent: i32,
    in_flight: JoinSet<Result<CompletedPart, Fault>>,
    done: Vec<CompletedPart>,
    /// Whether S3 holds parts that nobody has completed or aborted.
    open: bool,
}

impl Parts {
    async fn begin(bucket: &Bucket) -> Result<Self, Fault> {
        let call = "s3:CreateMultipartUpload";
        let key = format!("incoming/{}", Uuid::new_v4());
        let create = bucket.client.create_multipart_upload().bucket(&bucket.name).key(&key).content_type(CONTENT_TYPE);
        let created = create.send().await.map_err(|error| Fault::of(call, &error))?;
        let upload = created.upload_id.ok_or_else(|| Fault::unexpected(call, "no upload id"))?;
        let bucket = bucket.clone();
        Ok(Self { bucket, key, upload, sent: 0, in_flight: JoinSet::new(), done: Vec::new(), open: true })
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), Fault> {
        while self.in_flight.len() >= PARTS_IN_FLIGHT {
            self.join().await?;
        }
        self.sent += 1;
        let number = self.sent;
        let part = self.bucket.client.upload_part().bucket(&self.bucket.name).key(&self.key).upload_id(&self.upload);
        let part = part.part_number(number).body(ByteStream::from(bytes));
        self.in_flight.spawn(async move {
            let answer = part.send().await.map_err(|error| Fault::of("s3:UploadPart", &error))?;
            let part = CompletedPart::builder().part_number(number);
            Ok(part.set_e_tag(answer.e_tag).set_checksum_crc32(answer.checksum_crc32).build())
        });
        Ok(())
    }

    /// Waits for one part. False when none is under way.
    async fn join(&mut self) -> Result<bool, Fault> {
        let Some(joined) = self.in_flight.join_next().await else { return Ok(false) };
        self.done.push(joined.map_err(|_| Fault::unexpected("s3:UploadPart", "cancelled"))??);
        Ok(true)
    }

    async fn complete(&mut self) -> Result<(), Fault> {
        while self.join().await? {}
        self.done.sort_unstable_by_key(|part| part.part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.done))).build();
        let complete = self.bucket.client.complete_multipart_upload().bucket(&self.bucket.name).key(&self.key);
        let complete = complete.upload_id(&self.upload).multipart_upload(parts);
        let completed = complete.customize().config_override(slow()).send().await;
        completed.map_err(|error| Fault::of("s3:CompleteMultipartUpload", &error))?;
        self.open = false;
        Ok(())
    }

    async fn abort(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        // A part that arrives after the abort would stay.
        self.in_flight.shutdown().await;
        abort(self.bucket.clone(), self.key.clone(), self.upload.clone()).await;
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if self.open
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.in_flight.abort_all();
            runtime.spawn(abort(self.bucket.clone(), self.key.clone(), self.upload.clone()));
        }
    }
}

async fn abort(bucket: Bucket, key: String, upload: String) {
    let abort = bucket.client.abort_multipart_upload().bucket(&bucket.name).key(&key).upload_id(upload);
    if let Err(error) = abort.send().await {
        let fault = Fault::of("s3:AbortMultipartUpload", &error);
        tracing::warn!(key, error = %fault, "an upload is left to the lifecycle rule");
    }
}

async fn delete(bucket: &Bucket, key: &str) {
    if let Err(error) = bucket.client.delete_object().bucket(&bucket.name).key(key).send().await {
        let fault = Fault::of("s3:DeleteObject", &error);
        tracing::warn!(key, error = %fault, "an uploaded object is left to the lifecycle rule");
    }
}

/// S3 hashes the copy: bytes that do not have the digest do not stay.
async fn copy_object(bucket: &Bucket, from: &str, to: &str, digest: &Sha256) -> Result<(), Fault> {
    let call = "s3:CopyObject";
    let copy = bucket.client.copy_object().bucket(&bucket.name).key(to).copy_source(format!("{}/{from}", bucket.name));
    let copy = copy.checksum_algorithm(ChecksumAlgorithm::Sha256).customize().config_override(slow());
    let copied = copy.send().await.map_err(|error| Fault::of(call, &error))?;
    let hashed = copied.copy_object_result.and_then(|result| result.checksum_sha256);
    if hashed.is_some_and(|hashed| hashed != checksum(digest)) {
        delete(bucket, to).await;
        return Err(Fault::unexpected(call, "other bytes"));
    }
    Ok(())
}
