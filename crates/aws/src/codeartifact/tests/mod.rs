mod fake;

use std::collections::BTreeMap;

use gate_core::evidence::Evidence;
use serde_json::{Value, json};

use super::*;
use crate::content::tests::Pieces;
use fake::{Fake, When};

const KEY: &str = "flask@3.0.3";
const WHEEL: &str = "flask-3.0.3-py3-none-any.whl";
const SDIST: &str = "flask-3.0.3.tar.gz";

fn coordinates() -> Coordinates {
    Coordinates::pypi("Flask", &"3.0.3".parse().unwrap())
}

fn file(name: &str, bytes: &[u8]) -> PublishedFile {
    let evidence = Evidence { requires_python: Some(">=3.8".to_owned()), ..Evidence::default() };
    PublishedFile { filename: name.to_owned(), sha256: Sha256::of(bytes), size: bytes.len() as u64, evidence }
}

fn set() -> [PublishedFile; 2] {
    [file(WHEEL, b"a wheel"), file(SDIST, b"an sdist")]
}

fn pieces(bytes: &[u8]) -> Pieces {
    Pieces(bytes.to_vec(), 65_536)
}

async fn reserved(fake: &Fake, files: &[PublishedFile]) -> AssetPublication {
    match fake.repository.begin(&coordinates(), files).await.unwrap() {
        Begin::Reserved(publication) => publication,
        other => panic!("{other:?}"),
    }
}

async fn publish(fake: &Fake) -> Result<(), Failure> {
    let [wheel, sdist] = set();
    let mut publication = reserved(fake, &set()).await;
    fake.repository.put(&mut publication, &wheel, pieces(b"a wheel")).await?;
    fake.repository.put(&mut publication, &sdist, pieces(b"an sdist")).await?;
    fake.repository.commit(publication).await
}

async fn begins(fake: &Fake, files: &[PublishedFile]) -> &'static str {
    match fake.repository.begin(&coordinates(), files).await.unwrap() {
        Begin::Reserved(_) => "reserved",
        Begin::Published => "published",
        Begin::Taken => "taken",
        Begin::InPart(_) => "in part",
        Begin::Withdrawn => "withdrawn",
    }
}

#[tokio::test]
async fn a_set_appears_whole_with_its_record() {
    let fake = Fake::start().await;
    let [wheel, sdist] = set();
    let mut publication = reserved(&fake, &set()).await;
    assert_eq!(fake.shelf().closed, ["flask"]);
    fake.repository.put(&mut publication, &sdist, pieces(b"an sdist")).await.unwrap();
    fake.repository.put(&mut publication, &wheel, pieces(b"a wheel")).await.unwrap();
    assert_eq!(fake.version(KEY).unwrap().status, "Unfinished");
    fake.repository.commit(publication).await.unwrap();
    let version = fake.version(KEY).unwrap();
    assert_eq!(version.status, "Published");
    assert_eq!(version.assets[WHEEL], b"a wheel"[..]);
    assert_eq!(version.assets[SDIST], b"an sdist"[..]);
    let record: Value = serde_json::from_slice(&version.assets[RECORD]).unwrap();
    let entry = |file: &PublishedFile| json!({ "filename": file.filename, "sha256": file.sha256, "size": file.size, "requires_python": ">=3.8" });
    assert_eq!(
        record,
        json!({
            "schema_version": 1,
            "coordinates": { "format": "pypi", "name": "flask", "version": "3.0.3" },
            "files": [entry(&wheel), entry(&sdist)],
        })
    );
    assert_eq!(begins(&fake, &set()).await, "published");
}

#[tokio::test]
async fn publishing_twice_publishes_once() {
    let fake = Fake::start().await;
    let mut slower = reserved(&fake, &set()).await;
    publish(&fake).await.unwrap();
    let before = fake.version(KEY).unwrap().assets;
    let [wheel, sdist] = set();
    fake.repository.put(&mut slower, &sdist, pieces(b"an sdist")).await.unwrap();
    fake.repository.put(&mut slower, &wheel, pieces(b"a wheel")).await.unwrap();
    fake.repository.commit(slower).await.unwrap();
    assert_eq!(fake.version(KEY).unwrap().assets, before);
}

#[tokio::test]
async fn what_was_interrupted_goes_on_where_it_stopped() {
    let fake = Fake::start().await;
    let [wheel, sdist] = set();
    let mut publication = reserved(&fake, &set()).await;
    fake.repository.put(&mut publication, &wheel, pieces(b"a wheel")).await.unwrap();
    drop(publication);
    let mut publication = reserved(&fake, &set()).await;
    // It is there: its bytes are not read again.
    fake.repository.put(&mut publication, &wheel, pieces(b"not read")).await.unwrap();
    fake.repository.put(&mut publication, &sdist, pieces(b"an sdist")).await.unwrap();
    fake.repository.commit(publication).await.unwrap();
    assert_eq!(fake.calls(&format!("publish {WHEEL}")), 1);
    assert_eq!(fake.version(KEY).unwrap().status, "Published");
    assert_eq!(fake.shelf().closed.len(), 1);
}

#[tokio::test]
async fn a_large_file_is_streamed_and_signed_by_its_digest() {
    let size = usize::try_from(call::IN_MEMORY).unwrap();
    for size in [size - 1, size, size + 1] {
        let fake = Fake::start().await;
        let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let files = [file(WHEEL, &bytes)];
        let mut publication = reserved(&fake, &files).await;
        fake.repository.put(&mut publication, &files[0], pieces(&bytes)).await.unwrap();
        fake.repository.commit(publication).await.unwrap();
        assert_eq!(Sha256::of(&fake.version(KEY).unwrap().assets[WHEEL]), files[0].sha256, "{size}");
    }
}

#[tokio::test]
async fn swapped_bytes_are_never_stored() {
    let size = usize::try_from(call::IN_MEMORY).unwrap() + 1;
    let large = vec![1; size];
    for (right, wrong) in [
        (b"a wheel".to_vec(), b"a whale".to_vec()),
        (b"a wheel".to_vec(), b"a wheel and more".to_vec()),
        (b"a wheel".to_vec(), b"a whe".to_vec()),
        (large.clone(), vec![2; size]),
        (large.clone(), vec![1; size - 1]),
        (large.clone(), vec![1; size + 1]),
    ] {
        let fake = Fake::start().await;
        let files = [file(WHEEL, &right)];
        let mut publication = reserved(&fake, &files).await;
        let failure = fake.repository.put(&mut publication, &files[0], pieces(&wrong)).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::DigestMismatch);
        let failure = fake.repository.commit(publication).await.unwrap_err();
        assert!(failure.message.contains("never put"), "{failure}");
        assert!(fake.version(KEY).is_none());
    }
}

#[tokio::test]
async fn other_files_than_those_of_the_set_are_not_put() {
    let fake = Fake::start().await;
    let mut publication = reserved(&fake, &set()).await;
    for other in [file("other.whl", b"a wheel"), file(WHEEL, b"another wheel")] {
        assert!(fake.repository.put(&mut publication, &other, pieces(b"a wheel")).await.is_err());
    }
    assert_eq!(fake.calls("publish"), 0);
}

#[tokio::test]
async fn what_holds_the_coordinates_decides() {
    let (wheel, sdist, record) = ((WHEEL, &b"a wheel"[..]), (SDIST, &b"an sdist"[..]), (RECORD, &b"{}"[..]));
    let other = (WHEEL, &b"another wheel"[..]);
    let extra = ("extra.whl", &b"extra"[..]);
    for (status, assets, expected) in [
        ("Published", vec![wheel, sdist, record], "published"),
        ("Published", vec![wheel, sdist], "published"),
        ("Published", vec![wheel, sdist, extra, record], "published"),
        ("Published", vec![other, sdist, record], "taken"),
        ("Published", vec![other, record], "taken"),
        ("Published", vec![wheel, record], "in part"),
        ("Published", vec![extra, record], "in part"),
        ("Published", vec![], "in part"),
        ("Unlisted", vec![wheel, sdist, record], "withdrawn"),
        ("Archived", vec![wheel, sdist, record], "withdrawn"),
        ("Archived", vec![other, sdist, record], "withdrawn"),
        ("Archived", vec![wheel, record], "withdrawn"),
        ("Unfinished", vec![], "reserved"),
        ("Unfinished", vec![wheel], "reserved"),
        ("Unfinished", vec![wheel, sdist], "reserved"),
        ("Unfinished", vec![other], "taken"),
        ("Unfinished", vec![other, extra], "taken"),
        ("Disposed", vec![], "withdrawn"),
        ("Deleted", vec![], "withdrawn"),
    ] {
        let fake = Fake::start().await;
        fake.plant(KEY, status, &assets);
        assert_eq!(begins(&fake, &set()).await, expected, "{status} {assets:?}");
    }
    let fake = Fake::start().await;
    fake.plant(KEY, "Sleeping", &[wheel, sdist]);
    let failure = fake.repository.begin(&coordinates(), &set()).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::Storage);
}

#[tokio::test]
async fn what_is_published_with_fewer_files_is_said_to_lack_the_others() {
    let fake = Fake::start().await;
    let [wheel, sdist] = set();
    let mut publication = reserved(&fake, std::slice::from_ref(&wheel)).await;
    fake.repository.put(&mut publication, &wheel, pieces(b"a wheel")).await.unwrap();
    fake.repository.commit(publication).await.unwrap();
    let calls = fake.calls("publish");
    let begun = fake.repository.begin(&coordinates(), &set()).await.unwrap();
    assert!(matches!(&begun, Begin::InPart(missing) if *missing == [SDIST]), "{begun:?}");
    let begun = fake.repository.begin(&coordinates(), &[sdist, file("a.whl", b"a")]).await.unwrap();
    assert!(matches!(&begun, Begin::InPart(missing) if *missing == [SDIST, "a.whl"]), "{begun:?}");
    assert_eq!(begins(&fake, &[wheel]).await, "published");
    assert_eq!(fake.calls("publish"), calls);
}

#[tokio::test]
async fn a_set_that_another_row_is_publishing_is_waited_for() {
    let fake = Fake::start().await;
    let [wheel, sdist] = set();
    let mut publication = reserved(&fake, &set()).await;
    fake.repository.put(&mut publication, &sdist, pieces(b"an sdist")).await.unwrap();
    fake.repository.put(&mut publication, &wheel, pieces(b"a wheel")).await.unwrap();
    let failure = fake.repository.begin(&coordinates(), std::slice::from_ref(&wheel)).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::Storage);
    assert!(failure.message.contains(SDIST), "{failure}");
    assert_eq!(fake.version(KEY).unwrap().status, "Unfinished");
    fake.repository.commit(publication).await.unwrap();
    assert_eq!(begins(&fake, &[wheel]).await, "published");
}

#[tokio::test]
async fn the_same_archive_under_another_name_is_the_same() {
    let fake = Fake::start().await;
    let bytes = b"an archive";
    let coordinates = Coordinates::generic(&"data".parse().unwrap(), &Sha256::of(bytes));
    let key = format!("data@{}", coordinates.version);
    for (status, expected) in [("Published", "Published"), ("Unfinished", "Reserved")] {
        fake.plant(&key, status, &[("old.zip", bytes)]);
        let begun = fake.repository.begin(&coordinates, &[file("new.zip", bytes)]).await.unwrap();
        assert!(format!("{begun:?}").starts_with(expected), "{begun:?}");
        let begun = fake.repository.begin(&coordinates, &[file("old.zip", b"other bytes")]).await.unwrap();
        assert!(matches!(begun, Begin::Taken), "{begun:?}");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_no_conflict() {
    let fake = Fake::start().await;
    fake.shelf().faults = vec![("publish", When::AnswerLost, 500, "InternalServerException")];
    let failure = publish(&fake).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::Storage);
    publish(&fake).await.unwrap();
    assert_eq!(fake.version(KEY).unwrap().status, "Published");
    // The record was stored, the answer was a conflict.
    let fake = Fake::start().await;
    let answers = ["publish"; 3].map(|operation| (operation, When::AnswerLost, 409, "ConflictException"));
    fake.shelf().faults = answers.to_vec();
    publish(&fake).await.unwrap();
    assert_eq!(fake.version(KEY).unwrap().status, "Published");
}

#[tokio::test]
async fn other_bytes_that_came_first_are_never_overwritten() {
    let fake = Fake::start().await;
    let mut publication = reserved(&fake, &set()).await;
    let planted = [(WHEEL, &b"another wheel"[..])];
    fake.plant(KEY, "Unfinished", &planted);
    let failure = fake.repository.put(&mut publication, &set()[0], pieces(b"a wheel")).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::Storage);
    assert_eq!(fake.version(KEY).unwrap().assets[WHEEL], b"another wheel"[..]);
    assert_eq!(begins(&fake, &set()).await, "taken");
    // And when somebody else's set becomes visible just before ours.
    let fake = Fake::start().await;
    fake.shelf().meanwhile = Some(("publish", |shelf| {
        let assets = BTreeMap::from([("evil.whl".to_owned(), "evil".into())]);
        shelf.versions.insert(KEY.to_owned(), fake::Version { status: "Published".to_owned(), assets });
    }));
    assert_eq!(publish(&fake).await.unwrap_err().code, FailureCode::Storage);
    assert_eq!(begins(&fake, &set()).await, "in part");
}

#[tokio::test]
async fn a_set_that_is_not_whole_is_not_committed() {
    let fake = Fake::start().await;
    let mut publication = reserved(&fake, &set()).await;
    fake.repository.put(&mut publication, &set()[0], pieces(b"a wheel")).await.unwrap();
    let failure = fake.repository.commit(publication).await.unwrap_err();
    assert!(failure.message.contains(SDIST), "{failure}");
    assert_eq!(fake.version(KEY).unwrap().status, "Unfinished");
    assert_eq!(fake.calls("publish gate.json"), 0);
}

#[tokio::test]
async fn what_a_person_has_withdrawn_is_neither_published_nor_moved() {
    for status in ["Unlisted", "Archived", "Disposed", "Deleted"] {
        let fake = Fake::start().await;
        publish(&fake).await.unwrap();
        fake.shelf().versions.get_mut(KEY).unwrap().status = status.to_owned();
        fake.shelf().calls.clear();
        for _ in 0..2 {
            assert_eq!(begins(&fake, &set()).await, "withdrawn", "{status}");
        }
        assert_eq!(fake.version(KEY).unwrap().status, status);
        assert_eq!(fake.shelf().calls, ["describe "; 2], "{status}: it is looked at, and nothing else");
        // Its owner has brought it back.
        fake.shelf().versions.get_mut(KEY).unwrap().status = "Published".to_owned();
        assert_eq!(begins(&fake, &set()).await, "published", "{status}");
    }
}

#[tokio::test]
async fn what_a_person_withdraws_while_it_is_published_is_not_published() {
    for status in ["Unlisted", "Archived"] {
        let fake = Fake::start().await;
        let mut slower = reserved(&fake, &set()).await;
        publish(&fake).await.unwrap();
        fake.shelf().versions.get_mut(KEY).unwrap().status = status.to_owned();
        let [wheel, _] = set();
        let failure = fake.repository.put(&mut slower, &wheel, pieces(b"a wheel")).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::Storage, "tried again, it finds a version that was withdrawn");
        assert_eq!(begins(&fake, &set()).await, "withdrawn");
        assert_eq!(fake.version(KEY).unwrap().status, status);
    }
}

#[tokio::test]
async fn a_version_that_was_withdrawn_before_its_last_asset_is_not_said_to_be_published() {
    let fake = Fake::start().await;
    let mut publication = reserved(&fake, &set()).await;
    let [wheel, sdist] = set();
    fake.repository.put(&mut publication, &wheel, pieces(b"a wheel")).await.unwrap();
    fake.repository.put(&mut publication, &sdist, pieces(b"an sdist")).await.unwrap();
    // Another publisher was faster with the same files, and a person took them back.
    fake.shelf().meanwhile = Some(("publish", |shelf| {
        let version = shelf.versions.get_mut(KEY).unwrap();
        "Unlisted".clone_into(&mut version.status);
    }));
    assert_eq!(fake.repository.commit(publication).await.unwrap_err().code, FailureCode::Storage);
    assert_eq!(begins(&fake, &set()).await, "withdrawn");
}

#[tokio::test]
async fn every_error_of_every_call_is_a_failure() {
    for operation in ["describe", "list", "origin", "publish"] {
        for (status, code) in [
            (400, "ValidationException"),
            (402, "ServiceQuotaExceededException"),
            (403, "AccessDeniedException"),
            // Of the repository: what is missing is no free coordinates.
            (404, "ResourceNotFoundException"),
            (429, "ThrottlingException"),
            (500, "InternalServerException"),
        ] {
            let fake = Fake::start().await;
            if operation == "list" {
                fake.plant(KEY, "Unfinished", &[]);
            }
            fake.shelf().faults = vec![(operation, When::Refused, status, code)];
            let begun = fake.repository.begin(&coordinates(), &set()).await;
            let failure = match begun {
                Err(failure) => failure,
                Ok(Begin::Reserved(mut publication)) => {
                    let put = fake.repository.put(&mut publication, &set()[0], pieces(b"a wheel")).await;
                    put.unwrap_err()
                }
                Ok(other) => panic!("{other:?}"),
            };
            assert_eq!(failure.code, FailureCode::Storage, "{operation} {code}");
            assert!(failure.message.contains("codeartifact:") && failure.message.contains(code), "{failure}");
            assert!(!failure.message.contains("PAYLOAD"), "{failure}");
        }
    }
}

#[tokio::test]
async fn the_limits_of_a_set_are_checked_before_anything_is_sent() {
    let fake = Fake::start().await;
    let files = |count: usize| -> Vec<_> { (0..count).map(|at| file(&format!("a{at}.whl"), b"x")).collect() };
    let sized = |size| vec![PublishedFile { size, ..file(WHEEL, b"x") }];
    let named = |length: usize| vec![file(&"n".repeat(length), b"x")];
    for (set, fits) in [
        (files(FILES - 1), true),
        (files(FILES), true),
        (files(FILES + 1), false),
        (sized(ASSET_BYTES - 1), true),
        (sized(ASSET_BYTES), true),
        (sized(ASSET_BYTES + 1), false),
    ] {
        let checked = check(&coordinates(), &set).map_err(|failure| failure.code);
        assert_eq!(checked, if fits { Ok(()) } else { Err(FailureCode::TooLarge) });
    }
    for (set, fits) in [
        (named(ASSET_NAME_CHARS - 1), true),
        (named(ASSET_NAME_CHARS), true),
        (named(ASSET_NAME_CHARS + 1), false),
        (vec![], false),
    ] {
        assert_eq!(check(&coordinates(), &set).is_ok(), fits);
    }
    for name in
        ["", "a b.whl", "a/b.whl", "a\\b", "a%b", "a\n", "a\u{202e}b", "a#b", "gate.json", "GATE.json", "a:b", "<x>"]
    {
        let failure = fake.repository.begin(&coordinates(), &[file(name, b"x")]).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::UnexpectedAnswer, "{name:?}");
    }
    let twice = [file(WHEEL, b"x"), file(WHEEL, b"y")];
    assert!(fake.repository.begin(&coordinates(), &twice).await.is_err());
    for name in ["a~!@^&()-`_+[]{};,.b", "torch-2.0+cu118-cp311-cp311-linux_x86_64.whl", "é.zip"] {
        assert_eq!(check(&coordinates(), &[file(name, b"x")]), Ok(()), "{name}");
    }
    assert_eq!(fake.shelf().calls, Vec::<String>::new());
}

#[test]
fn the_limits_of_names_are_where_they_are_said_to_be() {
    let with = |name: &str, version: &str| {
        let coordinates = Coordinates { format: Format::Pypi, name: name.to_owned(), version: version.to_owned() };
        check(&coordinates, &set()).is_ok()
    };
    for (length, fits) in [(1, true), (NAME_CHARS - 1, true), (NAME_CHARS, true), (NAME_CHARS + 1, false)] {
        assert_eq!(with(&"n".repeat(length), "1"), fits, "{length}");
        assert_eq!(with("n", &"1".repeat(length)), fits, "{length}");
    }
    for odd in ["", "a b", "a/b", "a#b", "a\tb", "a\u{200b}"] {
        assert!(!with(odd, "1") && !with("n", odd), "{odd:?}");
    }
    assert!(with("n", "1!2.0+cu118"));
}

#[test]
fn the_same_set_has_the_same_record() {
    let [wheel, sdist] = set();
    let there = record::write(&coordinates(), &[wheel.clone(), sdist.clone()]).unwrap();
    let yanked =
        PublishedFile { evidence: Evidence { yanked: Some("broken".to_owned()), ..wheel.evidence.clone() }, ..wheel };
    let back = record::write(&coordinates(), &[sdist, yanked]).unwrap();
    assert_eq!(there, back);
}
