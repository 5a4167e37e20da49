use std::io::Write as _;

use gate_core::testing::scanner;
use s3s::S3ErrorCode::{AccessDenied, NoSuchBucket, SlowDown};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::s3::fake::{BUCKET, FakeS3};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn config(s3: &FakeS3) -> ConfigBucket {
    ConfigBucket::new(s3.client(), BUCKET)
}

/// An export in OSV's form with one record.
fn export(id: &str) -> (Bytes, Sha256) {
    let package = r#"{"package": {"ecosystem": "PyPI", "name": "demo"}, "versions": ["1.0"]}"#;
    let record = format!(r#"{{"id": "{id}", "modified": "2024-01-02T03:04:05Z", "affected": [{package}]}}"#);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(format!("{id}.json"), SimpleFileOptions::default()).unwrap();
    zip.write_all(record.as_bytes()).unwrap();
    let bytes = Bytes::from(zip.finish().unwrap().into_inner());
    let digest = Sha256::of(&bytes);
    (bytes, digest)
}

fn strict() -> String {
    "schema_version = 1\nrefuse_at = \"low\"\n".to_owned()
}

#[tokio::test]
async fn without_a_policy_the_built_in_one_is_in_force() {
    let s3 = FakeS3::new();
    let rules = config(&s3).rules().await.unwrap();
    assert_eq!(rules.policy, Policy::built_in().unwrap());
    assert!(rules.advisories.is_none());
}

#[tokio::test]
async fn a_policy_is_replaced_and_taken_away_while_the_function_lives() {
    let s3 = FakeS3::new();
    let config = config(&s3);
    let built_in = config.rules().await.unwrap();
    s3.plant(POLICY_KEY, strict().as_bytes());
    let rules = config.rules().await.unwrap();
    assert_eq!(rules.policy.sha256, Sha256::of(strict().as_bytes()));
    assert_eq!(config.in_force(&[scanner()]).await.unwrap().1, rules.inputs(&[scanner()]));
    assert!(Arc::ptr_eq(&rules, &config.rules().await.unwrap()), "what has not changed is not read again");
    std::fs::remove_file(s3.path(POLICY_KEY)).unwrap();
    assert_eq!(config.rules().await.unwrap().policy, built_in.policy);
}

#[tokio::test]
async fn a_bad_policy_decides_nothing_and_says_why() {
    for (bad, says) in [
        (b"refuse_at = \"low\"".as_slice(), "schema_version"),
        (b"schema_version = 1\nrefuse_at = \"low\"\nrefused_at = 1", "refused_at"),
        (b"", "schema_version"),
        (b"\xff", "UTF-8"),
    ] {
        let s3 = FakeS3::new();
        let config = config(&s3);
        config.rules().await.unwrap();
        s3.plant(POLICY_KEY, bad);
        for _ in 0..2 {
            let error = config.rules().await.unwrap_err();
            assert_eq!(error.name, ErrorName::Configuration);
            assert!(error.message.contains(says) && !error.message.contains('\n'), "{error}");
        }
        assert!(config.in_force(&[]).await.is_err());
        s3.plant(POLICY_KEY, strict().as_bytes());
        assert!(config.rules().await.is_ok(), "it is mended without a deployment");
    }
}

#[tokio::test]
async fn a_policy_has_a_limit() {
    let limit = usize::try_from(POLICY_BYTES).unwrap();
    for (length, refused) in [(limit - 1, false), (limit, false), (limit + 1, true)] {
        let s3 = FakeS3::new();
        let mut text = strict();
        text.push_str(&"#".repeat(length - text.len()));
        s3.plant(POLICY_KEY, text.as_bytes());
        let read = config(&s3).rules().await.map(drop).map_err(|error| error.name);
        assert_eq!(read, if refused { Err(ErrorName::Configuration) } else { Ok(()) }, "{length}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_never_taken_for_absent() {
    for (code, name) in
        [(AccessDenied, ErrorName::Denied), (SlowDown, ErrorName::Transient), (NoSuchBucket, ErrorName::Configuration)]
    {
        let s3 = FakeS3::new();
        s3.fail([("get_object", code)]);
        assert_eq!(config(&s3).rules().await.unwrap_err().name, name);
    }
}

#[tokio::test]
async fn an_export_is_kept_and_put_in_force() {
    let s3 = FakeS3::new();
    let (config, other) = (config(&s3), config(&s3));
    let (first, first_digest) = export("PYSEC-1");
    let kept = config.keep_advisories(first.clone(), &first_digest, NOW).await;
    assert_eq!(kept, Ok(KeptAdvisories { sha256: first_digest, changed: true }));
    let kept = config.keep_advisories(first.clone(), &first_digest, NOW).await;
    assert_eq!(kept, Ok(KeptAdvisories { sha256: first_digest, changed: false }));
    assert_eq!(s3.keys(), [format!("advisories/{first_digest}.zip"), ADVISORIES_KEY.to_owned()]);
    let rules = other.rules().await.unwrap();
    assert_eq!(rules.advisories.as_ref().map(AdvisoryDb::sha256), Some(first_digest));
    assert_eq!(rules.advisories.as_ref().unwrap().lookup("demo", &"1.0".parse().unwrap()).len(), 1);

    let (second, second_digest) = export("PYSEC-2");
    assert!(config.keep_advisories(second, &second_digest, NOW).await.unwrap().changed);
    let rules = other.rules().await.unwrap();
    assert_eq!(rules.advisories.as_ref().map(AdvisoryDb::sha256), Some(second_digest));
    assert_eq!(other.in_force(&[scanner()]).await.unwrap().1, rules.inputs(&[scanner()]));

    // Only when they change are the records read again: neither for another policy, nor for the same export fetched again.
    drop(rules);
    s3.plant(POLICY_KEY, strict().as_bytes());
    s3.calls();
    other.rules().await.unwrap();
    assert_eq!(s3.calls(), ["get_object", "get_object"]);
    let (sha256, key) = (second_digest, export_key(&second_digest));
    let pointer = Pointer { sha256, key, previous: None, fetched_at: Timestamp::MAX };
    s3.plant(ADVISORIES_KEY, &serde_json::to_vec(&pointer).unwrap());
    let rules = other.rules().await.unwrap();
    assert_eq!(s3.calls(), ["get_object", "get_object"]);
    assert_eq!(rules.policy.sha256, Sha256::of(strict().as_bytes()));
    // While another invocation still holds them, they are read again.
    std::fs::remove_file(s3.path(POLICY_KEY)).unwrap();
    assert_eq!(other.rules().await.unwrap().inputs(&[]).advisories, Some(second_digest));
    assert_eq!(s3.calls(), ["get_object", "get_object", "get_object"]);
}

/// Puts an export in force that has one record of this name, and gives its key.
async fn keep(s3: &FakeS3, id: &str) -> String {
    let (bytes, digest) = export(id);
    config(s3).keep_advisories(bytes, &digest, NOW).await.unwrap();
    assert_eq!(config(s3).rules().await.unwrap().advisories.as_ref().map(AdvisoryDb::sha256), Some(digest));
    export_key(&digest)
}

/// The keys of all exports.
fn exports(s3: &FakeS3) -> Vec<String> {
    s3.keys().into_iter().filter(|key| key != ADVISORIES_KEY).collect()
}

fn sorted<const N: usize>(keys: [&String; N]) -> Vec<String> {
    let mut keys: Vec<_> = keys.into_iter().cloned().collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn the_newest_two_exports_stay() {
    let s3 = FakeS3::new();
    let [first, second] = [keep(&s3, "PYSEC-1").await, keep(&s3, "PYSEC-2").await];
    assert_eq!(exports(&s3), sorted([&first, &second]));
    assert_eq!(keep(&s3, "PYSEC-2").await, second, "fetched again, and the same");
    assert_eq!(exports(&s3), sorted([&first, &second]));
    let third = keep(&s3, "PYSEC-3").await;
    assert_eq!(exports(&s3), sorted([&second, &third]));
    // The one before comes back: it is among the newest two, and is not deleted as the third.
    assert_eq!(keep(&s3, "PYSEC-2").await, second);
    assert_eq!(exports(&s3), sorted([&second, &third]));
    let fourth = keep(&s3, "PYSEC-4").await;
    assert_eq!(exports(&s3), sorted([&second, &fourth]));
}

#[tokio::test]
async fn an_export_that_cannot_be_deleted_stops_no_newer_one() {
    let s3 = FakeS3::new();
    let first = keep(&s3, "PYSEC-1").await;
    let second = keep(&s3, "PYSEC-2").await;
    s3.fail([("delete_object", AccessDenied)]);
    let third = keep(&s3, "PYSEC-3").await;
    assert_eq!(exports(&s3), sorted([&first, &second, &third]));
    // A process that ended before the pointer moved: the next one deletes the same export.
    s3.fail([("put_object", SlowDown)]);
    let (bytes, digest) = export("PYSEC-4");
    assert!(config(&s3).keep_advisories(bytes, &digest, NOW).await.is_err());
    let fourth = keep(&s3, "PYSEC-4").await;
    assert_eq!(exports(&s3), sorted([&first, &third, &fourth]));
}

#[tokio::test]
async fn nothing_else_is_ever_deleted() {
    let s3 = FakeS3::new();
    s3.plant(POLICY_KEY, strict().as_bytes());
    for id in ["PYSEC-1", "PYSEC-2", "PYSEC-3", "PYSEC-4"] {
        keep(&s3, id).await;
    }
    assert_eq!(s3.bytes(POLICY_KEY), strict().as_bytes());
    assert_eq!(exports(&s3).len(), 3, "the policy and two exports");
    let (in_force, _) = config(&s3).in_force(&[]).await.unwrap();
    assert_eq!(in_force.sha256, Sha256::of(strict().as_bytes()));
}

#[tokio::test]
async fn a_bad_export_leaves_the_old_one_in_force() {
    let s3 = FakeS3::new();
    let config = config(&s3);
    let (good, digest) = export("PYSEC-1");
    config.keep_advisories(good.clone(), &digest, NOW).await.unwrap();
    let cut = good.slice(..good.len() - 1);
    for (bytes, digest) in [
        (Bytes::from_static(b"text"), Sha256::of(b"text")),
        (cut.clone(), Sha256::of(&cut)),
        (good.clone(), Sha256::of(b"another")),
        (Bytes::new(), Sha256::of(b"")),
    ] {
        let error = config.keep_advisories(bytes, &digest, NOW).await.unwrap_err();
        assert_eq!(error.name, ErrorName::AdvisoriesUnavailable);
    }
    assert_eq!(config.in_force(&[]).await.unwrap().1.advisories, Some(digest));
    assert_eq!(s3.keys().len(), 2);
}

#[tokio::test]
async fn an_export_that_is_cut_in_the_bucket_is_mended() {
    let s3 = FakeS3::new();
    let (export, digest) = export("PYSEC-1");
    s3.plant(&export_key(&digest), &export[1..]);
    config(&s3).keep_advisories(export.clone(), &digest, NOW).await.unwrap();
    assert!(config(&s3).rules().await.unwrap().advisories.is_some());
}

#[tokio::test]
async fn advisories_that_are_not_what_the_pointer_says_stop_the_step() {
    let (good, digest) = export("PYSEC-1");
    let pointer = |key: &str| format!(r#"{{"sha256":"{digest}","key":"{key}","fetched_at":"{NOW}"}}"#);
    let key = export_key(&digest);
    for (stored, pointer) in [
        (Some(good.slice(1..)), pointer(&key)),
        (Some(Bytes::new()), pointer(&key)),
        (None, pointer(&key)),
        (Some(good.clone()), pointer("policy.toml")),
        (Some(good.clone()), "{}".to_owned()),
        (Some(good.clone()), String::new()),
    ] {
        let s3 = FakeS3::new();
        if let Some(stored) = stored {
            s3.plant(&key, &stored);
        }
        s3.plant(ADVISORIES_KEY, pointer.as_bytes());
        assert_eq!(config(&s3).rules().await.unwrap_err().name, ErrorName::Corrupt, "{pointer}");
        // The next export puts it right.
        config(&s3).keep_advisories(good.clone(), &digest, NOW).await.unwrap();
        assert!(config(&s3).rules().await.unwrap().advisories.is_some());
    }
}
