//! `gate check`: a request in; a table or a document, and the output folder, out.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use gate_core::SCHEMA_VERSION;
use gate_core::advisory::AdvisoryDb;
use gate_core::decision::{Consulted, Decision};
use gate_core::digest::Sha256;
use gate_core::outcome::CheckDocument;
use gate_core::policy::Policy;
use gate_core::ports::{Clock, Outbox as _, Scanner as _};
use gate_core::request::{self, Row};
use gate_core::source::Source;
use gate_fetcher::{Http, HttpDownloader, HttpLimits, IndexUrl, SimpleIndex, ThisMachine, find_index};
use gate_notifier::{DirectoryOutbox, Install, RowView, RunView, digest, fixed_version, page};
use gate_publisher::directory::DirectoryRepository;
use gate_scan_poller::Patience;
use gate_scanner::worker::{BuiltIn, Worker, WorkerLimits};
use jiff::Timestamp;

use crate::args;
use crate::external;
use crate::pipeline::{Gate, RowEnd};
use crate::progress::{Mode, Progress};
use crate::store::DirectoryStore;
use crate::table;

/// How the built-in scanner is waited for: it is near, so it is asked often; it gives up by itself long before the end.
pub(crate) const PATIENCE: Patience =
    Patience { first: Duration::from_millis(1), longest: Duration::from_millis(50), total: Duration::from_secs(3600) };

/// How an external scanner is waited for: it is asked over a network, and so once a second.
fn external_patience(seconds: u32) -> Patience {
    let pause = Duration::from_secs(1);
    Patience { first: pause, longest: pause, total: Duration::from_secs(seconds.into()) }
}

/// The newest run's document in the output folder.
pub(crate) const DOCUMENT: &str = "check.json";

/// The time of this machine.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The policy and the advisories that the command line names.
pub(crate) fn rules(rules: &args::Rules) -> Result<(Policy, Option<AdvisoryDb>)> {
    let policy = match &rules.policy {
        None => Policy::built_in()?,
        Some(path) => policy(path)?,
    };
    let advisories = rules.advisories.as_deref().map(gate_advisories::load).transpose()?;
    Ok((policy, advisories))
}

/// A policy on disk.
pub(crate) fn policy(path: &Path) -> Result<Policy> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("the policy {} cannot be read", path.display()))?;
    Policy::parse(&text).with_context(|| format!("the policy {} has faults, so nothing was decided", path.display()))
}

/// The scanner as a child of this very program.
pub(crate) fn worker() -> Result<Worker> {
    // On Linux the running program itself, even if its file has been replaced since.
    let running = std::path::PathBuf::from("/proc/self/exe");
    let program = if running.exists() { Ok(running) } else { std::env::current_exe() };
    let program = program.context("the path of this program cannot be found")?;
    Ok(Worker::new(program, ["scan-worker"], WorkerLimits::default()))
}

/// Runs the command; the number is the exit status.
pub(crate) async fn run(args: args::Check) -> Result<u8> {
    let store = Arc::new(DirectoryStore::new(&args.out));
    let external = external::switched_on(args.external_scanner, &store).await?;
    let request = std::fs::read(&args.request).with_context(|| format!("{} cannot be read", args.request.display()))?;
    let rows = request::parse(&request).with_context(|| format!("{} cannot be read", args.request.display()))?;
    let (policy, advisories) = rules(&args.rules)?;

    let http =
        Arc::new(Http::system(&policy.network, index_url(&args, &rows)?, HttpLimits::of_policy(&policy.limits))?);
    let quarantine = Arc::clone(&store);
    let built_in = BuiltIn::new(worker()?, move |digest: &Sha256| std::fs::File::open(quarantine.artifact(digest)));
    let mode = match (args.json, std::io::stderr().is_terminal()) {
        (true, _) => Mode::Silent,
        (false, true) => Mode::Terminal,
        (false, false) => Mode::Plain,
    };
    let progress = Progress::new(rows.len(), mode);
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let gate = Gate {
        store: &store,
        repository: &DirectoryRepository::new(args.out.join("approved")),
        index: &SimpleIndex::new(Arc::clone(&http)),
        downloader: &HttpDownloader::new(http, Arc::clone(&store), &policy.limits),
        built_in: &built_in,
        patience: PATIENCE,
        external: &external,
        external_patience: external_patience(args.scan_seconds),
        clock: &SystemClock,
        policy: &policy,
        advisories: advisories.as_ref(),
        jobs: args.jobs.map_or(2 * cores, usize::from),
    };
    let ends = gate.run(&rows, &progress).await?;
    progress.finish();

    let document = CheckDocument {
        schema_version: SCHEMA_VERSION,
        rows: ends.iter().map(|end| end.outcome.clone()).collect(),
        policy_sha256: policy.sha256,
        advisories_sha256: advisories.as_ref().map(AdvisoryDb::sha256),
        scanner: built_in.version(),
    };
    let json = serde_json::to_string_pretty(&document)?;
    print(&args, &document, &json, &ends)?;
    tell(&args.out, &document, &json, &ends, &policy, advisories.as_ref()).await?;
    Ok(document.exit_code())
}

/// The index's address. Only a purl needs one; without it dependencies cannot be looked up, and that is all.
fn index_url(args: &args::Check, rows: &[Row]) -> Result<Option<IndexUrl>> {
    match find_index(args.index_url.as_deref(), &ThisMachine) {
        Ok(found) => Ok(Some(found.url)),
        Err(failure) => {
            let needs_one =
                |row: &Row| row.wanted.as_ref().is_ok_and(|wanted| matches!(wanted.source, Source::Pypi { .. }));
            if args.index_url.is_some() || rows.iter().any(needs_one) { Err(failure.into()) } else { Ok(None) }
        }
    }
}

/// Writes the page, the document and the mails.
async fn tell(
    out: &Path,
    document: &CheckDocument,
    json: &str,
    ends: &[RowEnd],
    policy: &Policy,
    advisories: Option<&AdvisoryDb>,
) -> Result<()> {
    let page = out.join("report.html");
    let consulted = advisories.map(Consulted::from);
    let now = SystemClock.now();
    let run = RunView {
        document,
        rows: ends.iter().map(|end| view(end, advisories)).collect(),
        advisories: consulted.as_ref(),
        policy,
        generated_at: now,
        report_at: &std::path::absolute(&page)?.display().to_string(),
        unreadable: None,
        install: &Install::Index(format!("http://127.0.0.1:{}/simple/", args::PORT)),
    };
    replace(&page, page::render(&run).as_bytes())?;

    // Nobody is told again what the last run has said. The record of that is replaced last: a run that was killed while it
    // told is repeated under the same keys.
    let last = std::fs::read(out.join(DOCUMENT)).unwrap_or_default();
    if last != json.as_bytes() {
        let change = format!("{}-{}", Sha256::of(json.as_bytes()).short(), &Sha256::of(&last).short()[..8]);
        let outbox = DirectoryOutbox::new(out.join("outbox"), now);
        let told: Vec<_> = ends.iter().map(|end| end.told.clone()).enumerate().collect();
        for mail in digest::digests(&run, &told) {
            outbox.send(&digest::key(&change, mail.to.as_deref()), &mail).await?;
        }
    }
    replace(&out.join(DOCUMENT), json.as_bytes())
}

fn view<'a>(end: &'a RowEnd, advisories: Option<&AdvisoryDb>) -> RowView<'a> {
    RowView {
        outcome: &end.outcome,
        decision: end.decision.as_ref(),
        reports: end.reports.iter().map(|(filename, report)| (filename.as_str(), report)).collect(),
        rows_to_add: end.rows_to_add.clone(),
        fixed_version: end.decision.as_ref().and_then(|decision| fixed_version(decision, advisories?)),
        again_at: None,
        abridged: false,
    }
}

/// Writes a file that every run writes anew; a reader sees the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = crate::store::scratch_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

fn print(args: &args::Check, document: &CheckDocument, json: &str, ends: &[RowEnd]) -> Result<()> {
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{json}")?;
        return Ok(());
    }
    let decisions: Vec<Option<Decision>> = ends.iter().map(|end| end.decision.clone()).collect();
    let width = crate::terminal_width();
    write!(out, "{}", table::render(document, &decisions, width, width.is_some()))?;
    writeln!(out, "\nreport: {}", args.out.join("report.html").display())?;
    Ok(())
}
