use bytes::Bytes;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ArtifactReader, ArtifactWriter, Put, Quarantine, Records};
use s3s::S3ErrorCode::{self, AccessDenied, ConditionalRequestConflict, InternalError, NoSuchUpload, SlowDown};

use super::bucket::checksum;
use super::fake::{BUCKET, FakeS3};
use super::upload::PART_BYTES;
use super::{S3Quarantine, S3Records};

fn records(s3: &FakeS3) -> S3Records {
    S3Records::new(s3.client(), BUCKET)
}

fn quarantine(s3: &FakeS3) -> S3Quarantine {
    S3Quarantine::new(s3.client(), BUCKET)
}

/// Bytes that differ from part to part.
fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| (at >> 13) as u8 ^ at as u8).collect::<Vec<u8>>().into()
}

/// The smallest part that S3 takes, for tests of what does not depend on its size: a debug build hashes slowly.
const SMALL_PART: usize = 5 << 20;

/// Writes in pieces that divide no part.
async fn write(store: &S3Quarantine, bytes: &Bytes) -> Result<super::ArtifactUpload, Failure> {
    let mut writer = store.create().await?;
    if !(PART_BYTES - 1..=PART_BYTES + 1).contains(&bytes.len()) {
        writer = writer.with_limits(SMALL_PART, u64::MAX);
    }
    for piece in bytes.chunks(1_000_003) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(writer)
}

async fn keep(store: &S3Quarantine, bytes: &Bytes) -> Result<(), Failure> {
    write(store, bytes).await?.keep(&Sha256::of(bytes)).await
}

async fn read(store: &S3Quarantine, digest: &Sha256) -> Vec<u8> {
    let (mut reader, mut all) = (store.open(digest).await.unwrap(), Vec::new());
    while let Some(bytes) = reader.next().await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    all
}

fn key(digest: &Sha256) -> String {
    format!("quarantine/{digest}")
}

/// Waits for what a dropped writer has left to do.
async fn until_aborted(s3: &FakeS3) {
    for _ in 0..100 {
        if s3.unfinished() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("an upload is left");
}

#[tokio::test]
async fn a_record_is_written_once() {
    let s3 = FakeS3::new();
    let records = records(&s3);
    assert_eq!(records.put_new("runs/a/run.json", b"first").await, Ok(Put::Created));
    assert_eq!(records.put_new("runs/a/run.json", b"second").await, Ok(Put::Exists));
    assert_eq!(records.get("runs/a/run.json").await, Ok(Some(b"first".to_vec())));
    assert_eq!(records.get("runs/b/run.json").await, Ok(None));
    assert_eq!(records.put_new("runs/empty.json", b"").await, Ok(Put::Created));
    assert_eq!(records.get("runs/empty.json").await, Ok(Some(Vec::new())));
}

#[tokio::test]
async fn a_browser_shows_a_page_as_a_page() {
    let s3 = FakeS3::new();
    for (key, content_type) in [
        ("runs/a/report.html", "text/html; charset=utf-8"),
        ("runs/a/report-000012-0123456789abcdef.html", "text/html; charset=utf-8"),
        ("runs/a/summary.json", "application/json"),
        ("runs/html", "application/json"),
    ] {
        records(&s3).put_new(key, b"{}").await.unwrap();
        let head = s3.client().head_object().bucket(BUCKET).key(key).send().await.unwrap();
        assert_eq!(head.content_type(), Some(content_type), "{key}");
    }
}

#[tokio::test]
async fn a_list_has_all_pages_in_order_and_only_what_is_below() {
    let s3 = FakeS3::new();
    let records = records(&s3);
    assert_eq!(records.list("looks/").await, Ok(Vec::new()));
    for number in 0..2_100 {
        s3.plant(&format!("looks/{:06}.json", 2_100 - number), b"{}");
    }
    s3.plant("looksalike/1.json", b"{}");
    s3.calls();
    let keys = records.list("looks/").await.unwrap();
    assert_eq!(keys.len(), 2_100);
    assert!(keys.is_sorted());
    assert_eq!((keys[0].as_str(), keys[2_099].as_str()), ("looks/000001.json", "looks/002100.json"));
    assert_eq!(s3.calls(), vec!["list_objects_v2"; 3]);
}

#[tokio::test]
async fn a_put_that_meets_another_tries_again_a_few_times() {
    for (conflicts, expected) in [(1, Ok(Put::Created)), (4, Ok(Put::Created)), (5, Err(FailureCode::Storage))] {
        let s3 = FakeS3::new();
        s3.fail(vec![("put_object", ConditionalRequestConflict); conflicts]);
        let put = records(&s3).put_new("a.json", b"{}").await;
        assert_eq!(put.map_err(|failure| failure.code), expected, "{conflicts}");
        assert_eq!(s3.calls().len(), (conflicts + 1).min(5));
    }
}

#[tokio::test]
async fn an_error_is_never_an_absent_record() {
    for code in [AccessDenied, SlowDown, InternalError, S3ErrorCode::NoSuchBucket] {
        let s3 = FakeS3::new();
        s3.plant("a.json", b"{}");
        s3.fail(
            ["get_object", "put_object", "list_objects_v2", "head_object"].map(|operation| (operation, code.clone())),
        );
        let (records, digest) = (records(&s3), Sha256::of(b""));
        for failure in [
            records.get("a.json").await.map(drop).unwrap_err(),
            records.put_new("b.json", b"{}").await.map(drop).unwrap_err(),
            records.list("a/").await.map(drop).unwrap_err(),
        ] {
            assert_eq!(failure.code, FailureCode::Storage, "{code:?}");
        }
        // The answer to HEAD has no body, and so no code.
        if code != S3ErrorCode::NoSuchBucket {
            assert_eq!(quarantine(&s3).size(&digest).await.unwrap_err().code, FailureCode::Storage, "{code:?}");
        }
    }
}

#[tokio::test]
async fn up_to_one_part_is_one_put_and_more_goes_up_in_parts() {
    const PARTS: usize = 5;
    let put = vec!["put_object", "head_object"];
    for (length, parts) in
        [(0, 0), (1, 0), (PART_BYTES - 1, 0), (PART_BYTES, 0), (PART_BYTES + 1, 2), (PARTS * SMALL_PART, PARTS)]
    {
        let s3 = FakeS3::new();
        let (store, bytes) = (quarantine(&s3), bytes(length));
        let digest = Sha256::of(&bytes);
        assert_eq!(store.size(&digest).await, Ok(None));
        s3.calls();
        keep(&store, &bytes).await.unwrap();
        let calls = s3.calls();
        if parts == 0 {
            assert_eq!(calls, put, "{length}");
        } else {
            assert_eq!(calls.iter().filter(|call| *call == "upload_part").count(), parts, "{length}");
            assert!(!calls.contains(&"put_object".to_owned()));
        }
        assert!(s3.most_parts() <= 3, "{length}: {}", s3.most_parts());
        assert!(parts < PARTS || s3.most_parts() > 1, "parts go up side by side");
        assert_eq!(store.size(&digest).await, Ok(Some(length as u64)));
        assert_eq!(Sha256::of(&read(&store, &digest).await), digest, "{length}");
        assert_eq!(s3.keys(), [key(&digest)], "nothing is left behind");
        assert_eq!(s3.unfinished(), 0);
        keep(&store, &bytes).await.unwrap();
        assert_eq!(s3.keys(), [key(&digest)], "the same bytes again");
    }
}

#[tokio::test]
async fn what_was_dropped_leaves_nothing_behind() {
    for length in [10, SMALL_PART + 1] {
        let s3 = FakeS3::new();
        drop(write(&quarantine(&s3), &bytes(length)).await.unwrap());
        until_aborted(&s3).await;
        assert!(s3.keys().is_empty());
    }
}

#[tokio::test]
async fn a_failure_at_any_call_leaves_nothing_behind_and_the_next_attempt_succeeds() {
    let calls = [
        "create_multipart_upload",
        "upload_part",
        "complete_multipart_upload",
        "copy_object",
        "head_object",
        "put_object",
    ];
    for (call, length) in calls.iter().flat_map(|call| [(*call, 10), (*call, SMALL_PART + 1)]) {
        let s3 = FakeS3::new();
        let (store, bytes) = (quarantine(&s3), bytes(length));
        let digest = Sha256::of(&bytes);
        s3.fail([(call, InternalError)]);
        let kept = keep(&store, &bytes).await;
        let met = s3.calls().iter().any(|made| made == call);
        assert_eq!(
            kept.as_ref().map_err(|failure| failure.code),
            if met { Err(FailureCode::Storage) } else { Ok(&()) },
            "{call} {length}"
        );
        until_aborted(&s3).await;
        // What is stored under the digest is whole, whatever failed.
        assert!(s3.keys().iter().all(|stored| *stored == key(&digest)), "{call} {length}: {:?}", s3.keys());
        keep(&store, &bytes).await.unwrap();
        assert_eq!(Sha256::of(&s3.bytes(&key(&digest))), digest);
        assert_eq!(s3.unfinished(), 0);
    }
}

#[tokio::test]
async fn an_uploaded_object_that_cannot_be_deleted_does_no_harm() {
    let s3 = FakeS3::new();
    s3.fail([("delete_object", AccessDenied)]);
    let bytes = bytes(SMALL_PART + 1);
    keep(&quarantine(&s3), &bytes).await.unwrap();
    let keys = s3.keys();
    assert_eq!(keys.len(), 2);
    assert!(keys[0].starts_with("incoming/"), "{keys:?}");
    assert_eq!(keys[1], key(&Sha256::of(&bytes)));
}

#[tokio::test]
async fn bytes_without_the_digest_are_not_stored_under_it() {
    let digest = Sha256::of(b"other");
    for length in [10, SMALL_PART + 1] {
        let s3 = FakeS3::new();
        s3.damage_copies();
        let writer = write(&quarantine(&s3), &bytes(length)).await.unwrap();
        assert_eq!(writer.keep(&digest).await.unwrap_err().code, FailureCode::Storage, "{length}");
        if length > SMALL_PART {
            assert!(s3.keys().is_empty(), "{:?}", s3.keys());
        }
    }
}

#[tokio::test]
async fn a_cut_object_is_mended_by_the_next_fetch() {
    for length in [10, SMALL_PART + 1] {
        let s3 = FakeS3::new();
        let (store, bytes) = (quarantine(&s3), bytes(length));
        let digest = Sha256::of(&bytes);
        s3.plant(&key(&digest), &bytes[..length - 1]);
        keep(&store, &bytes).await.unwrap();
        assert_eq!(Sha256::of(&s3.bytes(&key(&digest))), digest);
    }
}

#[tokio::test]
async fn a_damaged_artifact_is_discarded_and_a_whole_one_stays() {
    let s3 = FakeS3::new();
    let (store, bytes) = (quarantine(&s3), bytes(100_000));
    let digest = Sha256::of(&bytes);
    assert_eq!(store.discard_damaged(&digest).await, Ok(false), "not stored");
    keep(&store, &bytes).await.unwrap();
    assert_eq!(store.discard_damaged(&digest).await, Ok(false), "whole");
    assert_eq!(store.size(&digest).await, Ok(Some(100_000)));
    for damaged in [&bytes[1..], b"", b"x"] {
        s3.plant(&key(&digest), damaged);
        assert_eq!(store.discard_damaged(&digest).await, Ok(true));
        assert_eq!(store.size(&digest).await, Ok(None));
    }
    s3.plant(&key(&digest), b"x");
    s3.fail([("delete_object", AccessDenied)]);
    assert_eq!(store.discard_damaged(&digest).await.unwrap_err().code, FailureCode::Storage, "it is still there");
    s3.fail([("delete_object", S3ErrorCode::PreconditionFailed)]);
    assert_eq!(store.discard_damaged(&digest).await, Ok(true), "mended meanwhile");
    assert!(store.open(&Sha256::of(b"absent")).await.is_err());
}

#[tokio::test]
async fn an_artifact_has_a_limit() {
    let s3 = FakeS3::new();
    for (length, refused) in [(99, false), (100, false), (101, true)] {
        let mut writer = quarantine(&s3).create().await.unwrap().with_limits(30, 100);
        let mut result = Ok(());
        for piece in bytes(length).chunks(50) {
            result = result.and(writer.write(Bytes::copy_from_slice(piece)).await);
        }
        assert_eq!(
            result.map_err(|failure| failure.code),
            if refused { Err(FailureCode::TooLarge) } else { Ok(()) },
            "{length}"
        );
        drop(writer);
        until_aborted(&s3).await;
    }
}

#[tokio::test]
async fn an_upload_that_s3_has_forgotten_fails() {
    let s3 = FakeS3::new();
    let bytes = bytes(SMALL_PART + 1);
    s3.fail([("complete_multipart_upload", NoSuchUpload), ("abort_multipart_upload", NoSuchUpload)]);
    assert_eq!(keep(&quarantine(&s3), &bytes).await.unwrap_err().code, FailureCode::Storage);
    assert!(s3.keys().is_empty());
}

#[test]
fn a_checksum_is_in_base64() {
    // Of no bytes: FIPS 180-4.
    assert_eq!(checksum(&Sha256::of(b"")), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}
