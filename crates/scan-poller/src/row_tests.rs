use std::sync::Mutex;

use gate_core::SCHEMA_VERSION;
use gate_core::failure::{Failure, FailureCode};
use gate_core::finding::Finding;
use gate_core::ports::Records as _;
use gate_core::report::ContentReport;
use gate_core::request;
use gate_core::run::{FetchedFile, RowKey, RunId};
use gate_core::severity::Severity;
use gate_core::testing::{self, FixedClock, MemoryQuarantine, MemoryRecords};

use super::*;

const WHEEL: &str = "example-1.0-py3-none-any.whl";
const PATIENCE: SignedDuration = SignedDuration::from_mins(15);

/// An external scanner that answers what a test says; a scan is the number of polls that it still needs.
#[derive(Default)]
struct Outside {
    started: Mutex<usize>,
    done: Mutex<bool>,
    findings: Vec<Finding>,
    fails: Option<FailureCode>,
}

impl Outside {
    fn with(findings: Vec<Finding>) -> Self {
        Self { findings, ..Self::default() }
    }
}

impl Scanner for Outside {
    type Scan = Sha256;

    fn version(&self) -> ScannerVersion {
        ScannerVersion { name: "outside".to_owned(), version: "1".to_owned(), rules: "r".to_owned() }
    }

    async fn start(&self, artifact: &Sha256) -> Result<Sha256, Failure> {
        *self.started.lock().unwrap() += 1;
        Ok(*artifact)
    }

    async fn poll(&self, _: &mut Sha256) -> Result<ScanState, Failure> {
        if let Some(code) = self.fails {
            return Err(Failure::new(code, "it does not answer"));
        }
        Ok(if *self.done.lock().unwrap() { ScanState::Done } else { ScanState::Running })
    }

    async fn collect(&self, scan: Sha256) -> Result<ContentReport, Failure> {
        let mut report = testing::clean_report(WHEEL.as_bytes());
        report.artifact = scan;
        report.scanner = self.version();
        report.findings.clone_from(&self.findings);
        report.coverage.clear();
        report.analyzers.clear();
        Ok(report)
    }
}

struct World {
    records: MemoryRecords,
    quarantine: MemoryQuarantine,
    external: Vec<Outside>,
    now: Timestamp,
    state: RowState,
}

impl World {
    async fn new(external: Vec<Outside>) -> Self {
        let (records, quarantine) = (MemoryRecords::default(), MemoryQuarantine::default());
        let wheel = testing::wheel("example", "1.0");
        quarantine.plant(wheel.sha256, WHEEL);
        let wanted = request::parse(b"example,pkg:pypi/example@1.0").unwrap().remove(0).wanted.unwrap();
        let row = RowDocument {
            schema_version: SCHEMA_VERSION,
            run: RunId::of_commit(1, "refs/heads/main", &"a".repeat(40), 1),
            key: RowKey::of(&wanted),
            line: 2,
            name: "example".to_owned(),
            source: "pkg:pypi/example@1.0".to_owned(),
            wanted: Some(wanted),
            told: [].into(),
        };
        run::keep_document(&records, &row.run.row_key(2), &row).await.unwrap();
        let file =
            FetchedFile { filename: wheel.filename, sha256: wheel.sha256, size: wheel.size, evidence: wheel.evidence };
        let notes = vec![Reason::new("pinned-file", "a note")];
        let fetched = FetchedDocument { schema_version: SCHEMA_VERSION, files: vec![file], notes };
        let fetched = run::keep_fetched(&records, &row.key, &fetched).await.unwrap();
        let state = RowState::fetched_before(row.run.row_key(2), fetched);
        Self { records, quarantine, external, now: Timestamp::UNIX_EPOCH, state }
    }

    async fn step(&self, task: &str, state: RowState) -> Result<RowState, StepError> {
        let ports = Ports {
            quarantine: &self.quarantine,
            records: &self.records,
            built_in: &testing::scanner(),
            external: &self.external,
            clock: &FixedClock(self.now),
        };
        match task {
            "start" => start(state, &ports).await,
            "poll" => poll(state, PATIENCE, &ports).await,
            _ => decide(state, &Policy::built_in().unwrap(), None, &ports).await,
        }
    }

    async fn built_in(&self, findings: Vec<Finding>) {
        let report = ContentReport { findings, ..testing::wheel("example", "1.0").report };
        ledger::keep_report(&self.records, &report).await.unwrap();
    }

    /// All steps, with external scans that are done at the first poll.
    async fn verdict(&self) -> Verdict {
        let mut state = self.step("start", self.state.clone()).await.unwrap();
        if state.status == Status::Scanning {
            self.external.iter().for_each(|scanner| *scanner.done.lock().unwrap() = true);
            state = self.step("poll", state).await.unwrap();
        }
        assert_eq!(state.status, Status::Scanned);
        state = self.step("decide", state).await.unwrap();
        match state.outcome {
            None => {
                assert_eq!(state.status, Status::Approved);
                Verdict::Approved
            }
            Some(key) => {
                let outcome: OutcomeDocument = run::read(&self.records, &key).await.unwrap();
                assert!(
                    outcome.outcome.reasons.iter().any(|reason| reason.code == "pinned-file"),
                    "the notes of Fetch"
                );
                outcome.outcome.verdict
            }
        }
    }
}

#[tokio::test]
async fn the_built_in_scanner_is_asked_for_what_it_has_not_seen() {
    let world = World::new(Vec::new()).await;
    let state = world.step("start", world.state.clone()).await.unwrap();
    assert_eq!((state.status, state.unscanned.len()), (Status::Scanned, 1));
    assert_eq!(world.step("decide", state).await.unwrap_err().name, ErrorName::Corrupt, "no report, no decision");
    world.built_in(Vec::new()).await;
    assert!(world.step("start", world.state.clone()).await.unwrap().unscanned.is_empty());
    assert_eq!(world.verdict().await, Verdict::Approved);
}

#[tokio::test]
async fn findings_of_either_scanner_refuse() {
    let (nothing, critical) = (Vec::new, || vec![testing::finding("S602", Severity::Critical)]);
    for (ours, theirs, verdict) in [
        (nothing(), nothing(), Verdict::Approved),
        (critical(), nothing(), Verdict::Refused),
        (nothing(), critical(), Verdict::Refused),
        (nothing(), vec![testing::finding("S602", Severity::Low)], Verdict::Approved),
    ] {
        let world = World::new(vec![Outside::with(theirs)]).await;
        world.built_in(ours).await;
        assert_eq!(world.verdict().await, verdict);
    }
}

#[tokio::test]
async fn a_severity_that_nobody_knows_is_not_approved() {
    let world = World::new(vec![Outside::with(vec![testing::finding("S602", Severity::Unknown)])]).await;
    world.built_in(Vec::new()).await;
    assert_ne!(world.verdict().await, Verdict::Approved);
}

#[tokio::test]
async fn a_second_start_finds_the_scans_of_the_first() {
    let world = World::new(vec![Outside::default()]).await;
    let first = world.step("start", world.state.clone()).await.unwrap();
    assert_eq!(world.step("start", world.state.clone()).await, Ok(first));
    assert_eq!(*world.external[0].started.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_scan_that_never_ends_is_given_up_and_found_by_a_redrive() {
    let mut world = World::new(vec![Outside::default()]).await;
    world.built_in(Vec::new()).await;
    let mut state = world.step("start", world.state.clone()).await.unwrap();
    let mut waits = Vec::new();
    let error = loop {
        waits.push(state.wait_seconds);
        world.now += SignedDuration::from_secs(state.wait_seconds.into());
        match world.step("poll", state.clone()).await {
            Ok(next) => state = next,
            Err(error) => break error,
        }
    };
    assert_eq!(error.name, ErrorName::ScanTimedOut);
    assert_eq!(waits[..5], [5, 10, 20, 40, 60]);
    assert!(waits.len() < 25, "{waits:?}");
    *world.external[0].done.lock().unwrap() = true;
    assert_eq!(world.step("poll", state).await.unwrap().status, Status::Scanned);
}

#[tokio::test]
async fn a_scanner_that_fails_is_unavailable_and_nothing_is_decided() {
    let world = World::new(vec![Outside { fails: Some(FailureCode::ScannerUnavailable), ..Outside::default() }]).await;
    world.built_in(Vec::new()).await;
    let state = world.step("start", world.state.clone()).await.unwrap();
    assert_eq!(world.step("poll", state.clone()).await.unwrap_err().name, ErrorName::ScannerUnavailable);
    assert_eq!(world.step("decide", state).await.unwrap_err().name, ErrorName::Corrupt);
}

#[tokio::test]
async fn what_is_not_in_quarantine_any_more_is_fetched_again_only_if_it_must_be_scanned() {
    let mut world = World::new(Vec::new()).await;
    world.quarantine = MemoryQuarantine::default();
    assert_eq!(world.step("start", world.state.clone()).await, Ok(RowState::new(world.state.row.clone())));
    world.built_in(Vec::new()).await;
    assert_eq!(world.step("start", world.state.clone()).await.unwrap().status, Status::Scanned);
}

#[tokio::test]
async fn a_decision_is_written_down_once() {
    let world = World::new(Vec::new()).await;
    world.built_in(vec![testing::finding("S602", Severity::High)]).await;
    for _ in 0..2 {
        assert_eq!(world.verdict().await, Verdict::Refused);
    }
    assert_eq!(world.records.list("decisions/").await.unwrap().len(), 1);
    assert_eq!(world.records.list("runs/").await.unwrap().len(), 2, "the row and its outcome");
}

#[tokio::test]
async fn what_is_no_archive_fails_as_it_does_locally() {
    let mut world = World::new(vec![Outside::default()]).await;
    let digest = testing::wheel("example", "1.0").sha256;
    let failure = Failure::new(FailureCode::NotAnArchive, "it is a web page");
    ledger::keep_unscannable(&world.records, &digest, &testing::scanner(), &failure).await.unwrap();
    world.quarantine = MemoryQuarantine::default();
    let state = world.step("start", world.state.clone()).await.unwrap();
    assert_eq!((state.status, state.unscanned.len()), (Status::Scanned, 0), "it is neither fetched nor scanned again");
    let state = world.step("decide", state).await.unwrap();
    let outcome: OutcomeDocument = run::read(&world.records, &state.outcome.unwrap()).await.unwrap();
    assert_eq!(
        (outcome.outcome.verdict, outcome.outcome.reasons[0].code.as_str()),
        (Verdict::Failed, "not-an-archive")
    );
    let inputs = Inputs::of(&Policy::built_in().unwrap(), None, &[testing::scanner(), world.external[0].version()]);
    assert_eq!(outcome.inputs, Some(inputs), "other rules may read it");
}
