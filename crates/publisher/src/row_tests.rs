use gate_core::coordinates::Coordinates;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::finding::Finding;
use gate_core::outcome::Verdict;
use gate_core::policy::Policy;
use gate_core::ports::{ArtifactReader, Begin, PackageRepository, PublishedFile, Put, Records as _};
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
        let ports = Ports {
            quarantine: &self.quarantine,
            records: &self.records,
            repository,
            clock: &FixedClock("2026-11-20T12:00:00Z".parse().unwrap()),
            scanners: &[testing::scanner()],
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

    async fn withdraw(&self, _: &Coordinates, _: &str) -> Result<(), Failure> {
        Ok(())
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
