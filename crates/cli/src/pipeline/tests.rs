//! Rows that an external scanner has a say in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gate_core::coordinates::{Format, PackageName};
use gate_core::digest::Sha256;
use gate_core::evidence::IndexFile;
use gate_core::ports::{ArtifactWriter as _, Downloaded, Origin, ScanState};
use gate_core::severity::Severity::{self, Critical, High, Low, Medium};
use gate_core::testing::{self, FixedClock};
use jiff::Timestamp;
use tempfile::TempDir;
use url::Url;

use super::*;
use crate::progress::Mode;

const STRICT: &str = "schema_version = 1\nrefuse_at = \"medium\"\n";
const LENIENT: &str = "schema_version = 1\nrefuse_at = \"critical\"\n";

const PATIENCE: Patience =
    Patience { first: Duration::from_millis(1), longest: Duration::from_millis(2), total: Duration::from_secs(60) };
/// For scans that shall not end.
const LITTLE: Patience = Patience { total: Duration::from_millis(50), ..PATIENCE };

/// What a scanner says of an artifact.
enum Says {
    /// These findings.
    Finds(Vec<(&'static str, Severity)>),
    Fails(FailureCode),
    /// Nothing, for ever.
    Waits,
}

struct Fake {
    name: &'static str,
    says: Says,
    /// Of these bytes it says something else.
    of: Option<(Sha256, Says)>,
    started: AtomicUsize,
    /// No scan ends before so many have been started, of any scanner that has the same counter.
    together: Option<(&'static AtomicUsize, usize)>,
}

impl Fake {
    fn new(name: &'static str, says: Says) -> Self {
        Self { name, says, of: None, started: AtomicUsize::new(0), together: None }
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }
}

/// The built-in scanner, which finds nothing.
fn built_in() -> Fake {
    Fake::new("built-in", Says::Finds(Vec::new()))
}

fn external(says: Says) -> [Fake; 1] {
    [Fake::new("elsewhere", says)]
}

/// A package is a wheel whose bytes are its file name.
fn filename(name: &str) -> String {
    testing::wheel(name, "1.0").filename
}

fn digest(name: &str) -> Sha256 {
    Sha256::of(filename(name).as_bytes())
}

impl Scanner for Fake {
    type Scan = Sha256;

    fn version(&self) -> ScannerVersion {
        ScannerVersion { name: self.name.to_owned(), ..testing::scanner() }
    }

    async fn start(&self, artifact: &Sha256) -> Result<Sha256, Failure> {
        self.started.fetch_add(1, Ordering::SeqCst);
        if let Some((counter, _)) = self.together {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        Ok(*artifact)
    }

    async fn poll(&self, artifact: &mut Sha256) -> Result<ScanState, Failure> {
        match self.says(artifact) {
            Says::Fails(code) => Err(Failure::new(*code, format!("{} says so", self.name))),
            Says::Waits => Ok(ScanState::Running),
            Says::Finds(_) => Ok(match self.together {
                Some((counter, all)) if counter.load(Ordering::SeqCst) < all => ScanState::Running,
                _ => ScanState::Done,
            }),
        }
    }

    async fn collect(&self, artifact: Sha256) -> Result<ContentReport, Failure> {
        let Says::Finds(found) = self.says(&artifact) else { panic!("a scan that did not end was collected") };
        let names = ["alpha", "beta", "gamma", "set-a", "set-b", "set-c"];
        let of_bytes = |name: &&str| testing::wheel(name, "1.0").sha256 == artifact;
        let name = names.into_iter().find(of_bytes).unwrap();
        let mut report = testing::wheel(name, "1.0").report;
        if let Some(distribution) = &mut report.distribution
            && name.starts_with("set-")
        {
            distribution.name = "set".to_owned();
        }
        report.scanner = self.version();
        report.findings = found.iter().map(|(rule, severity)| testing::finding(rule, *severity)).collect();
        if self.name != "built-in" {
            (report.distribution, report.analyzers, report.coverage) = (None, Vec::new(), Vec::new());
        }
        Ok(report)
    }
}

impl Fake {
    fn says(&self, artifact: &Sha256) -> &Says {
        match &self.of {
            Some((named, says)) if named == artifact => says,
            _ => &self.says,
        }
    }
}

/// The outside: it serves every wheel under its file name, and knows no index but for the package `set`.
struct Outside<'a>(&'a DirectoryStore);

impl Downloader for Outside<'_> {
    async fn download(&self, url: &Url, _: Origin, _: Option<&Sha256>) -> Result<Downloaded, Failure> {
        let filename = url.path_segments().unwrap().next_back().unwrap();
        let digest = Sha256::of(filename.as_bytes());
        let mut writer = self.0.create().await?;
        writer.write(filename.to_owned().into_bytes().into()).await?;
        writer.keep(&digest).await?;
        Ok(Downloaded { digest, size: filename.len() as u64, url: url.clone() })
    }
}

impl PackageIndex for Outside<'_> {
    async fn files(&self, _: &PackageName) -> Result<Vec<IndexFile>, Failure> {
        let file = |(name, tag): (&str, &str)| IndexFile {
            filename: format!("set-1.0-{tag}.whl"),
            url: format!("https://files.example/{}", filename(name)).parse().unwrap(),
            sha256: Some(digest(name)),
            size: None,
            requires_python: None,
            upload_time: None,
            yanked: None,
            provenance: None,
        };
        let machines = ["manylinux_2_17_x86_64", "manylinux_2_17_aarch64"].map(|tag| format!("cp312-cp312-{tag}"));
        Ok(vec![file(("set-a", &machines[0])), file(("set-b", &machines[1])), file(("set-c", "py3-none-any"))])
    }
}

struct World {
    folder: TempDir,
    store: DirectoryStore,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(folder.path());
        Self { folder, store }
    }

    fn repository(&self) -> DirectoryRepository {
        DirectoryRepository::new(self.folder.path().join("approved"))
    }

    async fn run(
        &self,
        rows: &str,
        policy: &str,
        built_in: &Fake,
        external: &[Fake],
        patience: Patience,
    ) -> Vec<RowEnd> {
        let rows = gate_core::request::parse(rows.as_bytes()).unwrap();
        let gate = Gate {
            store: &self.store,
            repository: &self.repository(),
            index: &Outside(&self.store),
            downloader: &Outside(&self.store),
            built_in,
            patience: PATIENCE,
            external,
            external_patience: patience,
            clock: &FixedClock(Timestamp::from_second(1_800_000_000).unwrap()),
            policy: &Policy::parse(policy).unwrap(),
            advisories: None,
            jobs: 16,
        };
        gate.run(&rows, &Progress::new(rows.len(), Mode::Silent)).await.unwrap()
    }

    /// The usual case.
    async fn ask(&self, rows: &str, external: &[Fake]) -> Vec<RowEnd> {
        self.run(rows, STRICT, &built_in(), external, PATIENCE).await
    }

    fn is_published(&self, name: &str) -> bool {
        !self.repository().releases(Format::Pypi, name).unwrap().is_empty()
    }

    async fn reported(&self, name: &str, scanner: &Fake) -> bool {
        ledger::report(&self.store, &digest(name), &scanner.version()).await.unwrap().is_some()
    }
}

/// A row that pins a wheel by its URL.
fn row(name: &str) -> String {
    format!("{name},https://files.example/{},{}\n", filename(name), digest(name))
}

fn verdict(end: &RowEnd) -> String {
    format!("{} {}", end.outcome.verdict.as_str(), end.outcome.reasons[0].code)
}

fn rules(end: &RowEnd) -> Vec<&str> {
    end.decision.iter().flat_map(|decision| &decision.findings).map(|found| found.finding.rule.as_str()).collect()
}

#[tokio::test]
async fn a_critical_of_the_external_scanner_alone_refuses() {
    let world = World::new();
    let mut external = external(Says::Finds(Vec::new()));
    external[0].of = Some((digest("alpha"), Says::Finds(vec![("theirs", Critical)])));
    let ends = world.ask(&(row("alpha") + &row("beta")), &external).await;
    assert_eq!([verdict(&ends[0]), verdict(&ends[1])], ["refused code", "approved no-finding"]);
    assert_eq!(rules(&ends[0]), ["theirs"]);
    assert!(!world.is_published("alpha") && world.is_published("beta"));
    for end in &ends {
        // What the page is made of.
        let report = &end.reports[0].1;
        assert!(report.analyzers.contains(&"elsewhere".to_owned()), "{:?}", report.analyzers);
        assert_eq!((report.scanner.name.as_str(), report.coverage.len()), ("built-in", 1));
    }
}

#[tokio::test]
async fn the_findings_of_all_scanners_are_weighed_together() {
    let world = World::new();
    let mut ours = built_in();
    ours.says = Says::Finds(vec![("ours", Medium)]);
    let theirs = external(Says::Finds(vec![("theirs", High), ("theirs-too", Low)]));
    let ends = world.run(&row("alpha"), STRICT, &ours, &theirs, PATIENCE).await;
    assert_eq!(verdict(&ends[0]), "refused code");
    assert_eq!(rules(&ends[0]), ["theirs", "ours", "theirs-too"]);
}

#[tokio::test]
async fn a_severity_that_is_not_known_holds() {
    let world = World::new();
    let ends = world.ask(&row("alpha"), &external(Says::Finds(vec![("theirs", Severity::Unknown)]))).await;
    assert_eq!(verdict(&ends[0]), "held unknown-severity");
}

#[tokio::test]
async fn a_scan_that_does_not_end_or_fails_fails_its_row_and_no_other() {
    for says in [Says::Waits, Says::Fails(FailureCode::ScannerUnavailable)] {
        let world = World::new();
        let mut external = external(Says::Finds(Vec::new()));
        external[0].of = Some((digest("beta"), says));
        let rows = row("alpha") + &row("beta") + &row("gamma");
        let ends = world.run(&rows, STRICT, &built_in(), &external, LITTLE).await;
        let verdicts: Vec<_> = ends.iter().map(verdict).collect();
        assert_eq!(verdicts, ["approved no-finding", "failed scanner-unavailable", "approved no-finding"]);
        assert!(ends[1].outcome.reasons[0].message.contains("elsewhere"), "{:?}", ends[1].outcome.reasons);
        assert!(!world.is_published("beta"));
        assert!(!world.reported("beta", &external[0]).await, "nothing of such a scan is kept");
        assert!(world.reported("beta", &built_in()).await, "what is known stays known");
    }
}

#[tokio::test]
async fn it_is_decided_again_from_the_stored_reports() {
    let world = World::new();
    let found = external(Says::Finds(vec![("theirs", High)]));
    assert_eq!(verdict(&world.ask(&row("alpha"), &found).await[0]), "refused code");
    assert_eq!(found[0].started(), 1);
    let (ours, away) = (built_in(), external(Says::Fails(FailureCode::ScannerUnavailable)));
    let ends = world.run(&row("alpha"), LENIENT, &ours, &away, PATIENCE).await;
    assert_eq!(verdict(&ends[0]), "approved no-finding");
    assert_eq!(rules(&ends[0]), ["theirs"]);
    assert_eq!((ours.started(), away[0].started()), (0, 0));
    assert!(world.is_published("alpha"));
}

#[tokio::test]
async fn a_scanner_that_is_switched_on_later_is_asked_and_withdraws() {
    let world = World::new();
    assert_eq!(verdict(&world.ask(&row("alpha"), &[]).await[0]), "approved no-finding");
    let ours = built_in();
    let ends = world.run(&row("alpha"), STRICT, &ours, &external(Says::Finds(vec![("theirs", High)])), PATIENCE).await;
    assert_eq!(verdict(&ends[0]), "refused code");
    assert_eq!(ours.started(), 0);
    assert!(ends[0].outcome.reasons.iter().any(|reason| reason.code == "withdrawn"));
}

#[tokio::test]
async fn every_scan_of_a_set_is_under_way_at_once() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let world = World::new();
    let (mut ours, mut theirs) = (built_in(), external(Says::Finds(Vec::new())));
    // The built-in scanner takes one file after the other.
    ours.together = Some((&STARTED, 4));
    theirs[0].together = Some((&STARTED, 4));
    let ends = world.run("set,pkg:pypi/set@1.0\n", STRICT, &ours, &theirs, PATIENCE).await;
    assert_eq!((ends[0].outcome.artifacts.len(), ours.started(), theirs[0].started()), (3, 3, 3));
    assert_eq!(verdict(&ends[0]), "approved no-finding");
}

#[tokio::test]
async fn without_a_report_of_ours_nobody_is_waited_for() {
    let world = World::new();
    let mut ours = built_in();
    ours.says = Says::Fails(FailureCode::NotAnArchive);
    let begun = Instant::now();
    let ends = world.run(&row("alpha"), STRICT, &ours, &external(Says::Waits), PATIENCE).await;
    assert_eq!(verdict(&ends[0]), "failed not-an-archive");
    assert!(begun.elapsed() < PATIENCE.total / 2);
    let away = external(Says::Fails(FailureCode::ScannerUnavailable));
    let ends = world.run(&row("alpha"), STRICT, &ours, &away, PATIENCE).await;
    assert_eq!(verdict(&ends[0]), "failed not-an-archive", "it is an answer, the other is none");
}

#[tokio::test]
async fn bytes_that_the_external_scanner_finds_damaged_are_set_aside() {
    let world = World::new();
    world.ask(&row("alpha"), &[]).await;
    let stored = world.store.artifact(&digest("alpha"));
    std::fs::write(&stored, filename("alpha").to_uppercase()).unwrap();
    let ends = world.ask(&row("alpha"), &external(Says::Fails(FailureCode::DigestMismatch))).await;
    assert_eq!(verdict(&ends[0]), "failed storage");
    assert!(!stored.exists());
    let ends = world.ask(&row("alpha"), &external(Says::Finds(Vec::new()))).await;
    assert_eq!(verdict(&ends[0]), "approved no-finding");
}
