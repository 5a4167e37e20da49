use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gate_core::coverage::{CoverageClass, FileCoverage, LostReason};
use gate_core::testing::{self, MemoryRecords};

use super::*;

/// One scan of [`Fake`]: how many polls it takes, and what it says then.
type Script = (usize, Result<ContentReport, Failure>);

/// A scanner that does what a test says, one script a scan.
struct Fake {
    scripts: Mutex<Vec<Script>>,
    started: AtomicUsize,
}

impl Fake {
    fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        let mut scripts: Vec<_> = scripts.into_iter().collect();
        scripts.reverse();
        Self { scripts: Mutex::new(scripts), started: AtomicUsize::new(0) }
    }

    fn of(reports: impl IntoIterator<Item = ContentReport>) -> Self {
        Self::new(reports.into_iter().map(|report| (2, Ok(report))))
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }
}

impl Scanner for Fake {
    type Scan = Script;

    fn version(&self) -> ScannerVersion {
        testing::scanner()
    }

    async fn start(&self, _: &Sha256) -> Result<Script, Failure> {
        self.started.fetch_add(1, Ordering::Relaxed);
        Ok(self.scripts.lock().unwrap().pop().expect("nobody asked for one more scan"))
    }

    async fn poll(&self, scan: &mut Script) -> Result<ScanState, Failure> {
        if scan.0 == 0 {
            return Ok(ScanState::Done);
        }
        scan.0 -= 1;
        Ok(ScanState::Running)
    }

    async fn collect(&self, scan: Script) -> Result<ContentReport, Failure> {
        scan.1
    }
}

const PATIENCE: Patience =
    Patience { first: Duration::from_millis(1), longest: Duration::from_millis(2), total: Duration::from_millis(200) };

/// The same bytes, with these files: `Some` is why one was lost.
fn report(bytes: &[u8], files: &[Option<LostReason>]) -> ContentReport {
    let mut report = testing::clean_report(bytes);
    report.coverage = files
        .iter()
        .enumerate()
        .map(|(at, lost)| FileCoverage {
            path: format!("pkg/{at}.py"),
            size: 1,
            class: match lost {
                None => CoverageClass::Analysed { analyzer: "python".to_owned() },
                Some(reason) => CoverageClass::Lost { reason: *reason, detail: String::new() },
            },
        })
        .collect();
    report
}

const DIED: Option<LostReason> = Some(LostReason::AnalyzerDied);

#[tokio::test]
async fn an_artifact_is_scanned_once_and_then_read() {
    let (records, clean) = (MemoryRecords::default(), report(b"once", &[None]));
    let scanner = Fake::of([clean.clone()]);
    for _ in 0..2 {
        assert_eq!(examine(&scanner, &records, &clean.artifact, PATIENCE).await, Ok(clean.clone()));
    }
    assert_eq!(scanner.started(), 1);
}

#[tokio::test]
async fn a_hiccup_heals() {
    let (records, clean) = (MemoryRecords::default(), report(b"hiccup", &[None, None]));
    let scanner = Fake::of([report(b"hiccup", &[None, DIED]), clean.clone()]);
    for _ in 0..2 {
        assert_eq!(examine(&scanner, &records, &clean.artifact, PATIENCE).await, Ok(clean.clone()));
    }
    assert_eq!(scanner.started(), 2);
}

#[tokio::test]
async fn a_bomb_costs_two_scans_and_is_believed() {
    let (records, bomb) = (MemoryRecords::default(), report(b"bomb", &[None, DIED]));
    let scanner = Fake::of([bomb.clone(), bomb.clone()]);
    for _ in 0..3 {
        assert_eq!(examine(&scanner, &records, &bomb.artifact, PATIENCE).await, Ok(bomb.clone()));
    }
    assert_eq!(scanner.started(), 2);
}

#[tokio::test]
async fn the_report_that_looked_at_more_is_the_one() {
    let gave_up: &[_] = &[DIED];
    let partly: &[_] = &[None, None, DIED, DIED];
    let mostly: &[_] = &[None, None, None, DIED];
    let one_more: &[_] = &[None, None, None, DIED, DIED];
    for (first, second, better) in [
        (gave_up, partly, partly),
        (partly, gave_up, partly),
        (partly, mostly, mostly),
        (mostly, partly, mostly),
        (one_more, mostly, mostly),
        (mostly, one_more, mostly),
    ] {
        let (records, artifact) = (MemoryRecords::default(), Sha256::of(b"two"));
        let scanner = Fake::of([first, second].map(|files| report(b"two", files)));
        let better = report(b"two", better);
        assert_eq!(examine(&scanner, &records, &artifact, PATIENCE).await, Ok(better.clone()));
        assert_eq!(ledger::report(&records, &artifact, &scanner.version()).await, Ok(Some(better)));
    }
}

#[tokio::test]
async fn what_another_scan_would_lose_again_is_not_scanned_again() {
    for reason in [
        LostReason::Limit,
        LostReason::Undecodable,
        LostReason::Unparsable,
        LostReason::Encrypted,
        LostReason::UnknownMethod,
    ] {
        let lost = report(b"lost", &[None, Some(reason)]);
        let scanner = Fake::of([lost.clone()]);
        assert_eq!(
            examine(&scanner, &MemoryRecords::default(), &lost.artifact, PATIENCE).await,
            Ok(lost),
            "{reason:?}"
        );
    }
}

#[tokio::test]
async fn a_scan_that_fails_leaves_nothing_behind() {
    let clean = report(b"fails", &[None]);
    let busy = || (0, Err(Failure::new(FailureCode::ScannerUnavailable, "busy")));
    let slow = || (usize::MAX, Ok(clean.clone()));
    let died = || (0, Ok(report(b"fails", &[DIED])));
    let mut other_rules = clean.clone();
    other_rules.scanner.rules = "others".to_owned();
    for scans in [
        vec![busy()],
        vec![slow()],
        vec![(0, Ok(report(b"other bytes", &[None])))],
        vec![(0, Ok(other_rules))],
        vec![died(), busy()],
        vec![died(), slow()],
    ] {
        let (records, count) = (MemoryRecords::default(), scans.len());
        let scanner = Fake::new(scans);
        let failure = examine(&scanner, &records, &clean.artifact, PATIENCE).await.unwrap_err();
        assert_eq!((failure.code, scanner.started()), (FailureCode::ScannerUnavailable, count));
        assert!(records.list("reports/").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_damaged_report_is_made_anew() {
    let (records, clean) = (MemoryRecords::default(), report(b"damaged", &[None]));
    ledger::keep_report(&records, &clean).await.unwrap();
    let key = records.list("reports/").await.unwrap().remove(0);
    let damaged = MemoryRecords::default();
    damaged.put_new(&key, b"").await.unwrap();
    let scanner = Fake::of([clean.clone()]);
    for _ in 0..2 {
        assert_eq!(examine(&scanner, &damaged, &clean.artifact, PATIENCE).await, Ok(clean.clone()));
    }
    assert_eq!(scanner.started(), 1);
}

#[tokio::test]
async fn two_at_once_share_a_scan_and_others_do_not_wait() {
    let (records, clean) = (MemoryRecords::default(), report(b"shared", &[None]));
    let scanner = Fake::new([(20, Ok(clean.clone()))]);
    let other = report(b"another", &[None]);
    let other_scanner = Fake::new([(0, Ok(other.clone()))]);
    let first = examine(&scanner, &records, &clean.artifact, PATIENCE);
    let second = examine(&scanner, &records, &clean.artifact, PATIENCE);
    let third = async {
        let report = examine(&other_scanner, &records, &other.artifact, PATIENCE).await;
        let under_way = ledger::report(&records, &clean.artifact, &scanner.version()).await;
        (report, under_way)
    };
    let (first, second, (third, under_way)) = tokio::join!(first, second, third);
    assert_eq!((first, second), (Ok(clean.clone()), Ok(clean)));
    assert_eq!(scanner.started(), 1);
    assert_eq!((third, under_way), (Ok(other), Ok(None)), "another artifact does not wait for it");
}

#[tokio::test]
async fn a_scan_that_fails_or_is_dropped_passes_the_turn_on() {
    let (records, clean) = (MemoryRecords::default(), report(b"turn", &[None]));
    let busy = Err(Failure::new(FailureCode::ScannerUnavailable, "busy"));
    let scanner = Fake::new([(usize::MAX, Ok(clean.clone())), (1, busy), (1, Ok(clean.clone()))]);
    let one = || examine(&scanner, &records, &clean.artifact, PATIENCE);
    let dropped = tokio::time::timeout(Duration::from_millis(20), one()).await;
    assert!(dropped.is_err());
    let (first, second) = tokio::join!(one(), one());
    assert!(first.is_err());
    assert_eq!((second, scanner.started()), (Ok(clean), 3));
}

#[tokio::test]
async fn whoever_stores_first_is_right() {
    /// Stores another report while it scans, as a second process would.
    struct Late<'a>(Fake, &'a MemoryRecords, ContentReport);
    impl Scanner for Late<'_> {
        type Scan = Script;
        fn version(&self) -> ScannerVersion {
            self.0.version()
        }
        async fn start(&self, artifact: &Sha256) -> Result<Script, Failure> {
            self.0.start(artifact).await
        }
        async fn poll(&self, scan: &mut Script) -> Result<ScanState, Failure> {
            self.0.poll(scan).await
        }
        async fn collect(&self, scan: Script) -> Result<ContentReport, Failure> {
            ledger::keep_report(self.1, &self.2).await?;
            self.0.collect(scan).await
        }
    }
    let records = MemoryRecords::default();
    let theirs = report(b"race", &[Some(LostReason::Limit)]);
    let scanner = Late(Fake::of([report(b"race", &[None])]), &records, theirs.clone());
    assert_eq!(examine(&scanner, &records, &theirs.artifact, PATIENCE).await, Ok(theirs));
}
