//! Records in S3: one object each.

use aws_sdk_s3::Client;
use bytes::Bytes;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{Put, Records};

use super::Bucket;
use crate::errors::Fault;

/// Small documents in a bucket: JSON, and pages.
#[derive(Clone, Debug)]
pub struct S3Records {
    bucket: Bucket,
}

impl S3Records {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { bucket: Bucket::new(client, bucket) }
    }
}

impl Records for S3Records {
    async fn put_new(&self, key: &str, body: &[u8]) -> Result<Put, Failure> {
        let body = Bytes::copy_from_slice(body);
        self.bucket.put_new(key, &body, None, content_type(key)).await.map_err(|fault| fault.storage())
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let Some(object) = self.bucket.get(key).await.map_err(|fault| fault.storage())? else { return Ok(None) };
        let bytes = object.body.collect().await.map_err(|_| broken_off(key))?;
        Ok(Some(bytes.to_vec()))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let list = self.bucket.client.list_objects_v2().bucket(&self.bucket.name).prefix(prefix);
        let (mut pages, mut keys) = (list.into_paginator().send(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Fault::of("s3:ListObjectsV2", &error).storage())?;
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        }
        keys.sort_unstable();
        Ok(keys)
    }
}

/// As what a browser opens a record: pages are read in the console.
fn content_type(key: &str) -> &'static str {
    if key.ends_with(".html") { "text/html; charset=utf-8" } else { "application/json" }
}

/// The body of an answer that began well did not arrive whole.
pub(super) fn broken_off(key: &str) -> Failure {
    Failure::new(FailureCode::Storage, format!("s3:GetObject broke off within {key}. Try again."))
}
