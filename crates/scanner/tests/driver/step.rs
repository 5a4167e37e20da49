//! The Scanner function over ports in memory, with real children.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gate_archive::forge::{Zip, wheel};
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ledger;
use gate_core::ports::{Put, Quarantine as _, Records};
use gate_core::report::ContentReport;
use gate_core::step::{ErrorName, StepError};
use gate_core::testing::{MemoryQuarantine, MemoryRecords};
use gate_scanner::step::{Done, Ports, TIME, Task, scan_artifact};
use gate_scanner::worker::{Worker, WorkerLimits};

use crate::worker::{detail, fake, real};
use crate::{class, rules, scan};

const MAX_BYTES: u64 = 1 << 20;

struct World {
    quarantine: MemoryQuarantine,
    records: MemoryRecords,
    worker: Worker,
    max_bytes: u64,
    time: Duration,
}

impl World {
    fn new(worker: Worker) -> Self {
        let (quarantine, records) = (MemoryQuarantine::default(), MemoryRecords::default());
        Self { quarantine, records, worker, max_bytes: MAX_BYTES, time: TIME }
    }

    fn store(&self, bytes: &[u8]) -> Sha256 {
        let digest = Sha256::of(bytes);
        self.quarantine.plant(digest, bytes.to_vec());
        digest
    }

    async fn scan(&self, artifact: Sha256) -> Result<Done, StepError> {
        self.scan_into(&self.records, artifact).await
    }

    async fn scan_into(&self, records: &impl Records, artifact: Sha256) -> Result<Done, StepError> {
        let Self { quarantine, worker, max_bytes, time, .. } = self;
        let ports = Ports { quarantine, records, worker, max_bytes: *max_bytes, time: *time };
        scan_artifact(&Task { row: "runs/a/rows/000001.json".to_owned(), artifact }, &ports).await
    }

    async fn report(&self, artifact: Sha256) -> ContentReport {
        ledger::report(&self.records, &artifact, &gate_scanner::version()).await.unwrap().unwrap()
    }

    async fn kept(&self) -> usize {
        self.records.list("reports/").await.unwrap().len()
    }
}

#[tokio::test]
async fn a_wheel_is_scanned_once_and_its_report_is_kept() {
    let world = World::new(real(WorkerLimits::default()));
    let bytes = wheel("demo", "1.0").file("demo/a.py", "import os\nos.system('x')\n").build();
    let artifact = world.store(&bytes);
    assert_eq!(world.scan(artifact).await, Ok(Done { artifact }));
    let report = world.report(artifact).await;
    assert_eq!(report, scan(&bytes));
    assert!(!rules(&report).is_empty());
    // The second call does not need the bytes any more, nor a scanner.
    let again = World {
        quarantine: MemoryQuarantine::default(),
        worker: Worker::new("/nonexistent/program", Vec::<String>::new(), WorkerLimits::default()),
        ..world
    };
    assert_eq!(again.scan(artifact).await, Ok(Done { artifact }));
    assert_eq!(again.kept().await, 1);
}

#[tokio::test]
async fn what_is_no_archive_is_an_answer_that_is_kept() {
    let world = World::new(real(WorkerLimits::default()));
    // A gzip stream with something else than a tar in it passes the fetcher's first look.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all("just some text\n".repeat(100).as_bytes()).unwrap();
    for bytes in [gzip.finish().unwrap(), b"<html>".to_vec()] {
        let artifact = world.store(&bytes);
        for _ in 0..2 {
            assert_eq!(world.scan(artifact).await, Ok(Done { artifact }));
        }
        let version = gate_scanner::version();
        assert_eq!(ledger::report(&world.records, &artifact, &version).await, Ok(None));
        let failure = ledger::unscannable(&world.records, &artifact, &version).await.unwrap().unwrap();
        assert_eq!(failure.code, FailureCode::NotAnArchive);
        assert!(failure.message.starts_with("it is not a zip or tar archive but"), "{failure}");
    }
}

#[tokio::test]
async fn a_file_that_kills_its_analyzer_is_scanned_twice_and_then_believed() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let script = format!("echo x >> '{}'; at 1 a.py; kill -KILL $$", log.display());
    let world = World::new(fake(&script, WorkerLimits { restarts: 0, ..WorkerLimits::default() }));
    let artifact = world.store(&wheel("demo", "1.0").build());
    for _ in 0..2 {
        assert_eq!(world.scan(artifact).await, Ok(Done { artifact }));
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "x\nx\n");
    assert!(world.report(artifact).await.lost_an_analyzer());
}

#[tokio::test]
async fn a_hiccup_heals() {
    let folder = tempfile::tempdir().unwrap();
    let (flag, program) = (folder.path().join("flag"), env!("CARGO_BIN_EXE_gate-scan-worker"));
    // The first child dies, the second does its work.
    let script = format!("[ -e '{0}' ] && exec {program} \"$0\"; : > '{0}'; at 1 a.py; kill -KILL $$", flag.display());
    let world = World::new(fake(&script, WorkerLimits { restarts: 0, ..WorkerLimits::default() }));
    let bytes = wheel("demo", "1.0").file("a.py", "x = 1\n").build();
    let artifact = world.store(&bytes);
    assert_eq!(world.scan(artifact).await, Ok(Done { artifact }));
    assert_eq!(world.report(artifact).await, scan(&bytes));
}

#[tokio::test]
async fn both_scans_share_one_time() {
    let mut world = World::new(fake("while :; do at 1 a.py; at 2 b.py; done", WorkerLimits::default()));
    world.time = Duration::from_millis(400);
    let artifact = world.store(&wheel("demo", "1.0").build());
    let started = Instant::now();
    assert_eq!(world.scan(artifact).await, Ok(Done { artifact }));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let report = world.report(artifact).await;
    assert!(detail(&report, gate_scanner::scan::WHOLE_ARCHIVE).contains("scan took longer"), "{report:#?}");
    assert!(report.analyzers.is_empty());
}

#[tokio::test]
async fn damaged_bytes_are_set_aside_and_never_scanned() {
    let bytes = wheel("demo", "1.0").build();
    let digest = Sha256::of(&bytes);
    let other = wheel("demo", "2.0").file("more.py", "x = 1\n").build();
    for damaged in [&other[..], &bytes[..bytes.len() - 1], b""] {
        let world = World::new(real(WorkerLimits::default()));
        world.quarantine.plant(digest, damaged.to_vec());
        let error = world.scan(digest).await.unwrap_err();
        assert_eq!(error.name, ErrorName::Transient, "{error}");
        assert!(error.message.contains("set aside"), "{error}");
        assert_eq!(world.quarantine.size(&digest).await, Ok(None));
        // The state machine's next try: it says what is to be done, and does not ask for a further one.
        let error = world.scan(digest).await.unwrap_err();
        assert_eq!(error.name, ErrorName::Corrupt, "{error}");
        assert_eq!(world.kept().await, 0);
        world.store(&bytes);
        assert_eq!(world.scan(digest).await, Ok(Done { artifact: digest }));
    }
}

#[tokio::test]
async fn an_artifact_has_a_size() {
    let bytes = wheel("demo", "1.0").build();
    let size = bytes.len() as u64;
    for (max_bytes, taken) in [(size - 1, false), (size, true), (size + 1, true)] {
        let mut world = World::new(real(WorkerLimits::default()));
        world.max_bytes = max_bytes;
        let artifact = world.store(&bytes);
        let error = world.scan(artifact).await.err().map(|error| error.name);
        assert_eq!(error, (!taken).then_some(ErrorName::BadInput));
        assert_eq!(world.kept().await, usize::from(taken));
        assert_eq!(world.quarantine.len(), 1, "it stays where it is");
    }
}

#[tokio::test]
async fn a_scanner_that_cannot_work_is_never_a_clean_report() {
    for worker in [
        Worker::new("/nonexistent/program", Vec::<String>::new(), WorkerLimits::default()),
        fake("exit 1", WorkerLimits::default()),
    ] {
        let world = World::new(worker);
        let artifact = world.store(&Zip::new().file("a.py", "x = 1\n").build());
        assert_eq!(world.scan(artifact).await.unwrap_err().name, ErrorName::ScannerUnavailable);
        assert_eq!(world.kept().await, 0);
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_stored_is_a_fault() {
    struct Full(MemoryRecords, AtomicUsize);
    impl Records for Full {
        async fn put_new(&self, _: &str, _: &[u8]) -> Result<Put, Failure> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Err(Failure::new(FailureCode::Storage, "s3:PutObject was throttled"))
        }
        async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
            self.0.get(key).await
        }
        async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
            self.0.list(prefix).await
        }
    }
    let world = World::new(real(WorkerLimits::default()));
    let records = Full(MemoryRecords::default(), AtomicUsize::new(0));
    for bytes in [wheel("demo", "1.0").build(), b"<html>".to_vec()] {
        let error = world.scan_into(&records, world.store(&bytes)).await.unwrap_err();
        assert_eq!(error.name, ErrorName::Transient, "{error}");
    }
    assert_eq!(records.1.load(Ordering::Relaxed), 2);
}

#[test]
fn the_event_is_one() {
    let task: Task = serde_json::from_str(include_str!("../../../../events/scanner.json")).unwrap();
    assert!(task.row.starts_with("runs/"));
    for other in [r#"{"artifact": "x", "row": "r"}"#, r#"{"row": "r"}"#, r#"{"task": "start"}"#] {
        assert!(serde_json::from_str::<Task>(other).is_err(), "{other}");
    }
}

#[test]
fn the_memory_of_a_small_function_is_enough_for_an_ordinary_wheel() {
    let worker = real(WorkerLimits::default().within(1 << 30));
    let bytes = wheel("demo", "1.0").file("a.py", "x = 1\n").build();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let report = worker.scan(&file, &Sha256::of(&bytes)).unwrap();
    assert_eq!(class(&report, "a.py"), "analysed python");
}

#[cfg(feature = "lambda")]
#[test]
fn the_function_is_its_own_child() {
    let worker = Worker::new(env!("CARGO_BIN_EXE_gate-scanner"), ["scan-worker"], WorkerLimits::default());
    let bytes = wheel("demo", "1.0").file("a.py", "import os\nos.system('x')\n").build();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    assert_eq!(worker.scan(&file, &Sha256::of(&bytes)).unwrap(), scan(&bytes));
}
