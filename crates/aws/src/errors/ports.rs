//! Every error of a service, through the port that a step calls: the step fails under the name of the table.

use aws_smithy_mocks::mock;
use bytes::Bytes;
use gate_core::coordinates::{Coordinates, Format};
use gate_core::digest::Sha256;
use gate_core::evidence::Evidence;
use gate_core::ports::{
    ArtifactWriter as _, Begin, Mail, Outbox as _, PackageRepository as _, PublishedFile, Put, Quarantine as _,
    Records as _,
};
use gate_core::testing::MemoryQuarantine;

use super::tests::{CODE_ARTIFACT, COMMON, S3, SNS};
use super::*;
use crate::testing::{answer, client, json_error, query_error, xml_error};
use crate::{CodeArtifact, S3Quarantine, S3Records, Topic};

/// What the step that calls a port fails with.
fn check(failure: Failure, call: &str, code: &str, name: ErrorName) {
    assert_eq!(failure.code, FailureCode::Storage, "{failure}");
    assert!(failure.message.contains(call) && failure.message.contains(code), "{code}: {failure}");
    assert!(!failure.message.contains("PAYLOAD"), "{failure}");
    assert_eq!(failure.fault(), Some(name), "{failure}");
    assert_eq!(StepError::from(failure).name, name, "{call} {code}");
}

macro_rules! s3 {
    ($operation:ident, $status:ident, $code:ident) => {{
        let rule = mock!(aws_sdk_s3::Client::$operation).then_http_response(move || xml_error($status, Some($code)));
        client!(aws_sdk_s3, [&rule])
    }};
}

/// Whether S3 says that there is no such object.
fn is_absent(kind: Kind, code: &str) -> bool {
    kind == Kind::NotFound && code != "NoSuchBucket"
}

#[tokio::test]
async fn records() {
    for &(status, code, kind, name) in S3.iter().chain(COMMON) {
        let listed = S3Records::new(s3!(list_objects_v2, status, code), "b").list("runs/").await;
        check(listed.unwrap_err(), "s3:ListObjectsV2", code, name);
        match S3Records::new(s3!(get_object, status, code), "b").get("k").await {
            Ok(found) => assert!(found.is_none() && is_absent(kind, code), "{code}"),
            Err(failure) => check(failure, "s3:GetObject", code, name),
        }
        match S3Records::new(s3!(put_object, status, code), "b").put_new("k", b"{}").await {
            Ok(put) => assert_eq!((put, status), (Put::Exists, 412), "{code}"),
            Err(failure) => check(failure, "s3:PutObject", code, name),
        }
    }
}

#[tokio::test]
async fn quarantine() {
    let digest = Sha256::of(b"archive");
    for &(status, code, kind, name) in S3.iter().chain(COMMON) {
        match S3Quarantine::new(s3!(get_object, status, code), "b").open(&digest).await {
            Ok(_) => panic!("{code}"),
            Err(failure) if is_absent(kind, code) => assert!(failure.message.contains("is not stored"), "{failure}"),
            Err(failure) => check(failure, "s3:GetObject", code, name),
        }
        match S3Quarantine::new(s3!(get_object, status, code), "b").discard_damaged(&digest).await {
            Ok(discarded) => assert!(!discarded && is_absent(kind, code), "{code}"),
            Err(failure) => check(failure, "s3:GetObject", code, name),
        }
        if status != 412 {
            let mut writer = S3Quarantine::new(s3!(put_object, status, code), "b").create().await.unwrap();
            writer.write(Bytes::from_static(b"archive")).await.unwrap();
            check(writer.keep(&digest).await.unwrap_err(), "s3:PutObject", code, name);
        }
    }
    // HEAD is answered without a body.
    for (status, name) in [
        (400, ErrorName::Configuration),
        (403, ErrorName::Denied),
        (429, ErrorName::Transient),
        (500, ErrorName::Transient),
        (503, ErrorName::Transient),
    ] {
        let rule = mock!(aws_sdk_s3::Client::head_object).then_http_response(move || xml_error(status, None));
        let size = S3Quarantine::new(client!(aws_sdk_s3, [&rule]), "b").size(&digest).await;
        check(size.unwrap_err(), "s3:HeadObject", &status.to_string(), name);
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_stored_ends_the_fetch() {
    // More than fits into one put.
    let part = Bytes::from(vec![b'z'; 64 << 20]);
    for &(status, code, _, name) in S3.iter().chain(COMMON) {
        let mut writer = S3Quarantine::new(s3!(create_multipart_upload, status, code), "b").create().await.unwrap();
        check(writer.write(part.clone()).await.unwrap_err(), "s3:CreateMultipartUpload", code, name);
    }
}

#[tokio::test]
async fn outbox() {
    for &(status, code, kind, name) in SNS.iter().chain(COMMON) {
        let rule = mock!(aws_sdk_sns::Client::publish).then_http_response(move || query_error(status, code));
        let topic = Topic::new(client!(aws_sdk_sns, [&rule]), "arn:aws:sns:eu-west-1:111122223333:verdicts");
        let mail = Mail { to: None, subject: "1 package approved".to_owned(), body: "six 1.16.0".to_owned() };
        let failure = topic.send("key", &mail).await.unwrap_err();
        if kind == Kind::Invalid {
            // It is about this very mail.
            assert!(!failure.code.is_retryable() && failure.message.contains(code), "{failure}");
        } else {
            check(failure, "sns:Publish", code, name);
        }
    }
}

fn coordinates() -> Coordinates {
    Coordinates { format: Format::Pypi, name: "six".to_owned(), version: "1.16.0".to_owned() }
}

fn wheel() -> PublishedFile {
    let (filename, sha256) = ("six-1.16.0-py3-none-any.whl".to_owned(), Sha256::of(b"wheel"));
    PublishedFile { filename, sha256, size: 5, evidence: Evidence::default() }
}

/// A repository in which one operation of publishing fails, and those before it do not; what publishing then ends in.
macro_rules! publishing {
    ($failing:ident, $status:ident, $code:ident, [$($operation:ident $body:expr),*]) => {{
        let failing = mock!(aws_sdk_codeartifact::Client::$failing)
            .then_http_response(move || json_error($status, $code));
        $(let $operation =
            mock!(aws_sdk_codeartifact::Client::$operation).then_http_response(|| answer(200, &[], $body));)*
        let client = client!(aws_sdk_codeartifact, [&failing, $(&$operation),*]);
        publish(&CodeArtifact::new(client, "d", "111122223333", "r")).await
    }};
}

async fn publish(repository: &CodeArtifact) -> Result<(), Failure> {
    let Begin::Reserved(mut publication) = repository.begin(&coordinates(), &[wheel()]).await? else {
        panic!("it is free")
    };
    let quarantine = MemoryQuarantine::default();
    quarantine.plant(wheel().sha256, "wheel");
    let bytes = quarantine.open(&wheel().sha256).await?;
    repository.put(&mut publication, &wheel(), bytes).await?;
    repository.commit(publication).await
}

#[tokio::test]
async fn package_repository() {
    const UNFINISHED: &str = r#"{"packageVersion": {"status": "Unfinished"}}"#;
    const NOTHING: &str = r#"{"assets": []}"#;
    for &(status, code, _, name) in CODE_ARTIFACT.iter().chain(COMMON) {
        let checked = |published: Result<(), Failure>, operation: &str| {
            check(published.unwrap_err(), &format!("codeartifact:{operation}"), code, name);
        };
        // A version that is not there is free.
        if code != "ResourceNotFoundException" {
            checked(publishing!(describe_package_version, status, code, []), "DescribePackageVersion");
        }
        let listing = publishing!(list_package_version_assets, status, code, [describe_package_version UNFINISHED]);
        checked(listing, "ListPackageVersionAssets");
        let sending = publishing!(
            publish_package_version,
            status,
            code,
            [describe_package_version UNFINISHED, list_package_version_assets NOTHING]
        );
        checked(sending, "PublishPackageVersion");
    }
}
