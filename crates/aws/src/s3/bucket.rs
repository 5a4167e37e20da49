//! One bucket: the calls that several ports make.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use bytes::Bytes;
use gate_core::digest::Sha256;
use gate_core::ports::Put;

use crate::errors::{Fault, Kind};

/// How often a conditional put is made that meets another one under way (`409 ConditionalRequestConflict`).
const CONFLICT_ATTEMPTS: u32 = 5;
/// The first wait between two of them; each is twice the one before, 750 ms together.
const CONFLICT_WAIT: Duration = Duration::from_millis(50);
/// For calls in which S3 moves gigabytes by itself. It answers 200 at once, and the result when it is done.
const SLOW_CALL: Duration = Duration::from_secs(600);

/// One bucket.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Bucket {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }

    /// Stores an object if the key is free. With a digest, S3 refuses bytes that do not have it.
    ///
    /// A put whose answer was lost and which was sent again finds its own object: so `Exists` may mean this very one.
    pub(crate) async fn put_new(
        &self,
        key: &str,
        body: &Bytes,
        digest: Option<&Sha256>,
        content_type: &str,
    ) -> Result<Put, Fault> {
        let (mut attempt, mut wait) = (1, CONFLICT_WAIT);
        loop {
            let put = self.put(key, body, digest, content_type).if_none_match("*");
            let Err(error) = put.send().await else { return Ok(Put::Created) };
            let fault = Fault::of("s3:PutObject", &error);
            if fault.status == Some(412) || fault.is("PreconditionFailed") {
                return Ok(Put::Exists);
            }
            if attempt == CONFLICT_ATTEMPTS || !fault.is("ConditionalRequestConflict") {
                return Err(fault);
            }
            tokio::time::sleep(wait).await;
            (attempt, wait) = (attempt + 1, 2 * wait);
        }
    }

    /// Stores an object, whatever the key holds.
    pub(crate) async fn replace(
        &self,
        key: &str,
        body: &Bytes,
        digest: Option<&Sha256>,
        content_type: &str,
    ) -> Result<(), Fault> {
        let put = self.put(key, body, digest, content_type).send().await;
        put.map(drop).map_err(|error| Fault::of("s3:PutObject", &error))
    }

    fn put(
        &self,
        key: &str,
        body: &Bytes,
        digest: Option<&Sha256>,
        content_type: &str,
    ) -> aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder {
        self.client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type(content_type)
            .set_checksum_sha256(digest.map(checksum))
            .body(ByteStream::from(body.clone()))
    }

    /// The object; none when there is none.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<GetObjectOutput>, Fault> {
        match self.client.get_object().bucket(&self.name).key(key).send().await {
            Ok(object) => Ok(Some(object)),
            Err(error) => absent(Fault::of("s3:GetObject", &error)),
        }
    }

    /// The size of the object in bytes; none when there is none.
    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>, Fault> {
        match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(head) => Ok(head.content_length().and_then(|length| u64::try_from(length).ok())),
            Err(error) => absent(Fault::of("s3:HeadObject", &error)),
        }
    }
}

/// The form in which S3 takes and gives a SHA-256.
pub(crate) fn checksum(digest: &Sha256) -> String {
    let hex = digest.to_string();
    let bytes = (0..hex.len()).step_by(2).filter_map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok());
    base64::engine::general_purpose::STANDARD.encode(bytes.collect::<Vec<u8>>())
}

/// The configuration of a call that may take minutes.
pub(crate) fn slow() -> Builder {
    let timeouts = TimeoutConfig::builder().read_timeout(SLOW_CALL).operation_attempt_timeout(SLOW_CALL);
    Builder::default().timeout_config(timeouts.build())
}

/// Whether there is no such object: 404 is an answer, except for a bucket.
pub(crate) fn is_absent(fault: &Fault) -> bool {
    fault.kind == Kind::NotFound && !fault.is("NoSuchBucket")
}

fn absent<T>(fault: Fault) -> Result<Option<T>, Fault> {
    if is_absent(&fault) { Ok(None) } else { Err(fault) }
}
