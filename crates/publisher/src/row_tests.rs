use gate_core::coordinates::Coordinates;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::finding::Finding;
use gate_core::outcome::Verdict;
use gate_core::policy::Policy;
use gate_core::ports::{ArtifactReader, Begin, PackageRepository, PublishedFile, Put, Records as _};
use gate_core::report::ScannerVersion;
use gate_core::run::{
    self, FetchedDocument, FetchedFile, OutcomeDocument, RowDocument, RowKey, RowState, RunId, Status,
};
use gate_core::severity::Severity;
use gate_core::step::{ErrorName, StepError};
use gate_core::testing::{self, FixedClock, MemoryQuarantine, MemoryRecords};
use gate_core::{SCHEMA_VERSION, ledger, request};
use tempfile::TempDir;

use crate::directory::DirectoryRepository;
use crate::{Ports, publish_row};

const WHEEL: &str = "example-1.0-py3-none-any.whl";

struct World {
    folder: TempDir,
    quarantine: MemoryQuarantine,
    records: MemoryRecords,
    state: RowState,
}

impl World {
    async fn new(findings: Vec<Finding>) -> Self {
        let (records, quarantine) = (MemoryRecords::default(), MemoryQuarantine::default());
        let mut wheel = testing::wheel("example", "1.0");
        wheel.report.findings = findings;
        ledger::keep_report(&records, &wheel.report).await.unwrap();
        quarantine.plant(wheel.sha256, WHEEL);
        let wanted = request::parse(b"example,pkg:pypi/example@1.0").unwrap().remove(0).wanted.unwrap();
        let run = RunId::of_commit(1, "refs/heads/main", &"a".repeat(40), 1);
        let row = RowDocument {
            schema_version: SCHEMA_VERSION,
            key: RowKey::of(&wanted),
            line: 2,
            name: "example".to_owned(),
            source: "pkg:pypi/example@1.0".to_owned(),
            wanted: Some(wanted),
            told: [].into(),
            run,
        };
        let key = row.run.row_key(2);
        assert_eq!(run::keep_document(&records, &key, &row).await, Ok(Put::Created));
        let file =
            FetchedFile { filename: wheel.filename, sha256: wheel.sha256, size: wheel.size, evidence: wheel.evidence };
        let fetched = FetchedDocument { schema_version: SCHEMA_VERSION, files: vec![file], notes: Vec::new() };
        let fetched = run::keep_fetched(&records, &row.key, &fetched).await.unwrap();
        let state = RowState { status: Status::Approved, ..RowState::fetched_before(key, fetched) };
        Self { folder: tempfile::tempdir().unwrap(), quarantine, records, state }
    }

    async fn publish(&self) -> Result<RowState, StepError> {
        self.publish_to(&DirectoryRepository::new(self.folder.path())).await
    }

    async fn publish_to(&self, repository: &impl PackageRepository) -> Result<RowState, StepError> {
        self.publish_by(&[testing::scanner()], repository).await
    }

    async fn publish_by(
        &self,
        scanners: &[ScannerVersion],
        repository: &impl PackageRepository,
    ) -> Result<RowState, StepError> {
        let ports = Ports {
            quarantine: &self.quarantine,
            records: &self.records,
            repository,
            clock: &FixedClock("2026-11-20T12:00:00Z".parse().unwrap()),
            scanners,
            advisories: None,
            policy: &Policy::built_in().unwrap(),
        };
        publish_row(self.state.clone(), &ports).await
    }

    async fn verdict(&self) -> Verdict {
        let state = self.publish().await.unwrap();
        assert_eq!(state.status, Status::Ended);
        let outcome: OutcomeDocument = run::read(&self.records, &state.outcome.unwrap()).await.unwrap();
        assert!(outcome.decision.is_some() && outcome.inputs.is_some());
        outcome.outcome.verdict
    }

    fn published(&self) -> usize {
        let repository = DirectoryRepository::new(self.folder.path());
        repository.releases(gate_core::coordinates::Format::Pypi, "example").unwrap().len()
    }
}

#[tokio::test]
async fn a_row_is_published_once_however_often_the_step_runs() {
    let world = World::new(Vec::new()).await;
    let first = world.publish().await.unwrap();
    assert_eq!(world.verdict().await, Verdict::Approved);
    assert_eq!(world.publish().await, Ok(first));
    assert_eq!(world.published(), 1);
    assert_eq!(world.records.list("decisions/").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_state_that_claims_approval_publishes_nothing() {
    let world = World::new(vec![testing::finding("S602", Severity::Critical)]).await;
    assert_eq!(world.verdict().await, Verdict::Refused);
    assert_eq!(world.published(), 0);
}

#[tokio::test]
async fn bytes_that_are_gone_or_damaged_are_fetched_again() {
    let digest = testing::wheel("example", "1.0").sha256;
    let world = World::new(Vec::new()).await;
    world.quarantine.plant(digest, "other bytes of this length!!");
    assert_eq!(world.publish().await.unwrap(), RowState::new(world.state.row.clone()));
    // The damaged artifact was set aside.
    assert_eq!(world.publish().await.unwrap().status, Status::New);
    assert_eq!(world.published(), 0);
}

#[tokio::test]
async fn what_a_scanner_in_use_has_not_reported_on_is_scanned() {
    let world = World::new(Vec::new()).await;
    let repository = DirectoryRepository::new(world.folder.path());
    let switched_on = ScannerVersion { name: "another".to_owned(), ..testing::scanner() };
    let scanners = [testing::scanner(), switched_on.clone()];
    // However often it is redriven before the scan.
    for _ in 0..2 {
        let state = world.publish_by(&scanners, &repository).await.unwrap();
        let fetched = world.state.fetched.clone().unwrap();
        assert_eq!(state, RowState::fetched_before(world.state.row.clone(), fetched));
    }
    assert_eq!((world.published(), world.quarantine.len()), (0, 1));
    let mut report = testing::wheel("example", "1.0").report;
    report.scanner = switched_on;
    ledger::keep_report(&world.records, &report).await.unwrap();
    assert_eq!(world.publish_by(&scanners, &repository).await.unwrap().status, Status::Ended);
    assert_eq!(world.published(), 1);
}

#[tokio::test]
async fn a_store_that_denies_access_is_the_operators() {
    let world = World::new(Vec::new()).await;
    for name in ErrorName::ALL {
        let denied = Refusing(Failure::new(FailureCode::Storage, "s3:PutObject was denied").with_name(name));
        assert_eq!(world.publish_to(&denied).await.unwrap_err().name, name);
    }
}

#[tokio::test]
async fn a_state_without_its_documents_is_an_error() {
    let mut world = World::new(Vec::new()).await;
    world.state.fetched = None;
    assert_eq!(world.publish().await.unwrap_err().name, ErrorName::Corrupt);
    world.state.fetched = Some("fetched/none/000001.json".to_owned());
    assert_eq!(world.publish().await.unwrap_err().name, ErrorName::Corrupt);
    world.state.row = format!("runs/{}/rows/000001.json", Sha256::of(b""));
    assert_eq!(world.publish().await.unwrap_err().name, ErrorName::Corrupt);
}

/// A repository that takes nothing, for this reason.
struct Unwilling(FailureCode);

impl PackageRepository for Unwilling {
    type Publication = ();

    async fn begin(&self, _: &Coordinates, _: &[PublishedFile]) -> Result<Begin<()>, Failure> {
        Ok(Begin::Reserved(()))
    }

    async fn put<R: ArtifactReader>(&self, (): &mut (), _: &PublishedFile, _: R) -> Result<(), Failure> {
        Err(Failure::new(self.0, "not this file"))
    }

    async fn commit(&self, (): ()) -> Result<(), Failure> {
        Ok(())
    }
}

/// A repository that cannot be used.
struct Refusing(Failure);

impl PackageRepository for Refusing {
    type Publication = ();

    async fn begin(&self, _: &Coordinates, _: &[PublishedFile]) -> Result<Begin<()>, Failure> {
        Err(self.0.clone())
    }

    async fn put<R: ArtifactReader>(&self, (): &mut (), _: &PublishedFile, _: R) -> Result<(), Failure> {
        Err(self.0.clone())
    }

    async fn commit(&self, (): ()) -> Result<(), Failure> {
        Err(self.0.clone())
    }
}

/// A repository with something under the coordinates, which says this of it.
struct Holding(Says);

type Says = fn() -> Begin<()>;

impl PackageRepository for Holding {
    type Publication = ();

    async fn begin(&self, _: &Coordinates, _: &[PublishedFile]) -> Result<Begin<()>, Failure> {
        Ok((self.0)())
    }

    async fn put<R: ArtifactReader>(&self, (): &mut (), file: &PublishedFile, _: R) -> Result<(), Failure> {
        panic!("{} was put", file.filename)
    }

    async fn commit(&self, (): ()) -> Result<(), Failure> {
        panic!("something was published")
    }
}

#[tokio::test]
async fn what_the_repository_holds_already_is_an_answer_of_its_own() {
    let in_part = || Begin::InPart(vec!["example-1.0-cp312-cp312-win_amd64.whl".to_owned()]);
    let cases: [(Says, Verdict, &str, &str); 3] = [
        (|| Begin::Taken, Verdict::Invalid, "coordinates-taken", "ask for another version"),
        (in_part, Verdict::Held, "published-in-part", "without example-1.0-cp312-cp312-win_amd64.whl"),
        (|| Begin::Withdrawn, Verdict::Held, "withdrawn-by-hand", "ask InfoSec"),
    ];
    for (holds, verdict, code, says) in cases {
        let world = World::new(Vec::new()).await;
        let state = world.publish_to(&Holding(holds)).await.unwrap();
        assert_eq!(world.publish_to(&Holding(holds)).await.unwrap(), state, "a step that runs twice ends the same way");
        assert_eq!(state.status, Status::Ended);
        let ended: OutcomeDocument = run::read(&world.records, &state.outcome.unwrap()).await.unwrap();
        assert_eq!(ended.outcome.verdict, verdict);
        let reason = &ended.outcome.reasons[0];
        assert_eq!(reason.code, code);
        assert!(reason.message.contains("pkg:pypi/example@1.0") && reason.message.contains(says), "{reason:?}");
        assert!(ended.outcome.reasons.iter().all(|reason| reason.code != "no-finding"));
        assert!(
            ended.inputs.is_some(),
            "decided again when the rules change, so that it is approved once nothing holds it"
        );
        let decision: gate_core::decision::Decision =
            run::read(&world.records, &ended.decision.unwrap()).await.unwrap();
        assert_eq!((decision.verdict, &decision.reasons[0].code), (verdict, &reason.code));
        assert_eq!(world.published(), 0);
    }
}

#[tokio::test]
async fn what_the_repository_does_not_take_is_decided_again_when_the_rules_change() {
    let world = World::new(Vec::new()).await;
    let state = world.publish_to(&Unwilling(FailureCode::TooLarge)).await.unwrap();
    let outcome: OutcomeDocument = run::read(&world.records, &state.outcome.unwrap()).await.unwrap();
    let inputs = run::Inputs::of(&Policy::built_in().unwrap(), None, &[testing::scanner()]);
    assert_eq!((outcome.outcome.verdict, outcome.inputs), (Verdict::Failed, Some(inputs)));
}

#[tokio::test]
async fn bytes_that_are_whole_are_not_fetched_again_for_ever() {
    let world = World::new(Vec::new()).await;
    let error = world.publish_to(&Unwilling(FailureCode::DigestMismatch)).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Transient, "tried a few times, then it fails");
    assert_eq!(world.quarantine.len(), 1);
}
