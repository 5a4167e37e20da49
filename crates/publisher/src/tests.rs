use bytes::Bytes;
use gate_core::coordinates::{Coordinates, Format};
use gate_core::digest::Sha256;
use gate_core::failure::FailureCode;
use gate_core::finding::Finding;
use gate_core::ledger;
use gate_core::policy::Policy;
use gate_core::ports::{Begin, PackageRepository, PublishedFile, Quarantine as _};
use gate_core::request::{self, Wanted};
use gate_core::run::FetchedFile;
use gate_core::severity::Severity;
use gate_core::testing::{self, FixedClock, MemoryQuarantine, MemoryRecords};
use tempfile::TempDir;

use crate::directory::DirectoryRepository;
use crate::simple::{Project, asset_html, assets_html, link};
use crate::{Outcome, Ports, ToPublish, publish};

const WHEEL: &str = "example-1.0-py3-none-any.whl";

/// Everything that the Publish step touches, with one clean wheel fetched and scanned.
struct World {
    folder: TempDir,
    quarantine: MemoryQuarantine,
    records: MemoryRecords,
    policy: Policy,
    wanted: Wanted,
    files: Vec<FetchedFile>,
}

impl World {
    async fn new() -> Self {
        Self::with(Vec::new()).await
    }

    async fn with(findings: Vec<Finding>) -> Self {
        let mut wheel = testing::wheel("example", "1.0");
        wheel.report.findings = findings;
        let records = MemoryRecords::default();
        ledger::keep_report(&records, &wheel.report).await.unwrap();
        let quarantine = MemoryQuarantine::default();
        quarantine.plant(wheel.sha256, WHEEL);
        Self {
            folder: tempfile::tempdir().unwrap(),
            quarantine,
            records,
            policy: Policy::built_in().unwrap(),
            wanted: request::parse(b"example,pkg:pypi/example@1.0").unwrap().remove(0).wanted.unwrap(),
            files: vec![FetchedFile {
                filename: wheel.filename,
                sha256: wheel.sha256,
                size: wheel.size,
                evidence: wheel.evidence,
            }],
        }
    }

    fn repository(&self) -> DirectoryRepository {
        DirectoryRepository::new(self.folder.path().join("approved"))
    }

    async fn publish(&self) -> Result<Outcome, gate_core::failure::Failure> {
        let ports = Ports {
            quarantine: &self.quarantine,
            records: &self.records,
            repository: &self.repository(),
            clock: &FixedClock("2026-11-20T12:00:00Z".parse().unwrap()),
            scanners: &[testing::scanner()],
            advisories: None,
            policy: &self.policy,
        };
        publish(ToPublish { wanted: &self.wanted, files: &self.files }, &ports).await
    }

    fn visible(&self) -> usize {
        self.repository().releases(Format::Pypi, "example").unwrap().len()
    }
}

fn example() -> Coordinates {
    Coordinates::pypi("example", &"1.0".parse().unwrap())
}

fn file(filename: &str, bytes: &[u8]) -> PublishedFile {
    PublishedFile {
        filename: filename.to_owned(),
        sha256: Sha256::of(bytes),
        size: bytes.len() as u64,
        evidence: gate_core::evidence::Evidence::default(),
    }
}

#[tokio::test]
async fn an_approved_set_is_published_once_however_often_it_is_asked_for() {
    let world = World::new().await;
    for _ in 0..3 {
        assert!(matches!(world.publish().await, Ok(Outcome::Published(_))));
        assert_eq!(world.visible(), 1);
    }
    let path = world.repository().file(&example(), WHEEL).unwrap().unwrap();
    assert_eq!(std::fs::read(path).unwrap(), WHEEL.as_bytes());
}

#[tokio::test]
async fn a_forged_approval_publishes_nothing() {
    let world = World::with(vec![testing::finding("S602", Severity::Critical)]).await;
    assert!(matches!(world.publish().await, Ok(Outcome::NotPublished(_))));
    assert_eq!(world.visible(), 0);
}

#[tokio::test]
async fn without_a_report_nothing_is_published() {
    let mut world = World::new().await;
    world.records = MemoryRecords::default();
    assert_eq!(world.publish().await.unwrap_err().code, FailureCode::ScannerUnavailable);
    assert_eq!(world.visible(), 0);
}

#[tokio::test]
async fn bytes_swapped_after_the_scan_are_not_published() {
    let world = World::new().await;
    world.quarantine.plant(world.files[0].sha256, "something else");
    assert_eq!(world.publish().await.unwrap_err().code, FailureCode::DigestMismatch);
    assert_eq!(world.visible(), 0);
}

#[tokio::test]
async fn other_bytes_never_overwrite_published_ones() {
    let world = World::new().await;
    world.publish().await.unwrap();
    let (repository, coordinates) = (world.repository(), example());
    let files = [file(WHEEL, b"other")];
    assert!(matches!(repository.begin(&coordinates, &files).await, Ok(Begin::Taken)));
}

#[tokio::test]
async fn half_a_set_is_never_visible() {
    let world = World::new().await;
    let repository = world.repository();
    let coordinates = example();
    let files = [file("a.whl", b"a"), file("b.whl", b"b")];
    let Begin::Reserved(mut publication) = repository.begin(&coordinates, &files).await.unwrap() else {
        panic!("taken")
    };
    world.quarantine.plant(files[0].sha256, Bytes::from_static(b"a"));
    let reader = world.quarantine.open(&files[0].sha256).await.unwrap();
    repository.put(&mut publication, &files[0], reader).await.unwrap();
    assert_eq!(world.visible(), 0);
    assert!(repository.commit(publication).await.is_err());
    assert_eq!(world.visible(), 0);
    assert_eq!(repository.projects(Format::Pypi).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_withdrawn_is_hidden_and_can_be_approved_again() {
    let world = World::new().await;
    let coordinates = example();
    assert!(matches!(world.publish().await, Ok(Outcome::Published(_))));
    for _ in 0..2 {
        world.repository().withdraw(&coordinates, "a new advisory").await.unwrap();
    }
    assert_eq!(world.visible(), 0);
    assert_eq!(world.repository().file(&example(), WHEEL).unwrap(), None);
    assert!(Project::read(&world.repository(), "example").unwrap().is_none());
    world.publish().await.unwrap();
    assert_eq!(world.visible(), 1);
    let nothing = Coordinates::pypi("other", &"1.0".parse().unwrap());
    world.repository().withdraw(&nothing, "never there").await.unwrap();
}

#[tokio::test]
async fn names_that_leave_the_directory_are_refused() {
    let world = World::new().await;
    let mut coordinates = example();
    for filename in ["../a.whl", "/a.whl", ".hidden", "a\\b.whl", "a\0.whl", ""] {
        assert!(world.repository().begin(&coordinates, &[file(filename, b"")]).await.is_err(), "{filename:?}");
    }
    "..".clone_into(&mut coordinates.name);
    assert!(world.repository().begin(&coordinates, &[file(WHEEL, b"")]).await.is_err());
    assert!(world.repository().releases(Format::Pypi, "../pypi/example").unwrap().is_empty());
}

#[tokio::test]
async fn both_forms_of_the_index_name_the_same_file() {
    let mut world = World::new().await;
    world.files[0].evidence.upload_time = Some("2021-05-05T14:18:17Z".parse().unwrap());
    world.files[0].evidence.requires_python = Some(">=3.8, <4".to_owned());
    world.publish().await.unwrap();
    let project = Project::read(&world.repository(), "Example").unwrap().unwrap();
    insta::assert_snapshot!(project.to_html());
    // A map's order depends on how serde_json was built.
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!(project.to_json()) });
}

#[tokio::test]
async fn a_yanked_file_says_so_in_both_forms() {
    for (why, html, json) in [
        (None, None, None),
        (Some(""), Some("data-yanked=\"\""), Some(serde_json::json!(true))),
        (
            Some("a \u{202e}<b>"),
            Some("data-yanked=\"a \\u{202e}&lt;b&gt;\""),
            Some(serde_json::json!("a \\u{202e}<b>")),
        ),
    ] {
        let mut world = World::new().await;
        world.policy.yanked = gate_core::policy::Yanked::Note;
        world.files[0].evidence.yanked = why.map(str::to_owned);
        assert!(matches!(world.publish().await, Ok(Outcome::Published(_))));
        let project = Project::read(&world.repository(), "example").unwrap().unwrap();
        let page = project.to_html();
        assert_eq!(page.contains("data-yanked"), html.is_some());
        assert!(html.is_none_or(|html| page.contains(html)), "{page}");
        assert_eq!(project.to_json()["files"][0].get("yanked"), json.as_ref());
    }
}

#[test]
fn links_are_percent_encoded() {
    let coordinates = Coordinates::pypi("a", &"1!2.0+local".parse().unwrap());
    assert_eq!(link(&coordinates, "a-1!2.0+local.whl"), "/packages/a/1%212.0%2Blocal/a-1%212.0%2Blocal.whl");
}

#[tokio::test]
async fn archives_have_a_plain_list() {
    let world = World::new().await;
    let repository = world.repository();
    let file = file("data.zip", b"bytes");
    let coordinates = Coordinates::generic(&"Data".parse().unwrap(), &file.sha256);
    let Ok(Begin::Reserved(mut publication)) = repository.begin(&coordinates, std::slice::from_ref(&file)).await else {
        panic!("not reserved")
    };
    world.quarantine.plant(file.sha256, Bytes::from_static(b"bytes"));
    let reader = world.quarantine.open(&file.sha256).await.unwrap();
    repository.put(&mut publication, &file, reader).await.unwrap();
    repository.commit(publication).await.unwrap();
    assert!(assets_html(&repository).unwrap().contains("<a href=\"/generic/data/\">data</a>"));
    let page = asset_html(&repository, "data").unwrap().unwrap();
    let link = format!("<a href=\"/generic/data/{}/data.zip\">data.zip</a>", file.sha256.short());
    assert!(page.contains(&link) && page.contains(&file.sha256.to_string()), "{page}");
    assert_eq!(asset_html(&repository, "other").unwrap(), None);
    assert_eq!(repository.projects(Format::Pypi).unwrap(), Vec::<String>::new());
}
