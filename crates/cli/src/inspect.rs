//! `gate scan`, `gate explain` and `gate policy check`: looking, without changing anything.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use gate_core::SCHEMA_VERSION;
use gate_core::advisory::AdvisoryDb;
use gate_core::coordinates::{PackageName, normalize};
use gate_core::decision::{Case, Decision, Examined, decide};
use gate_core::digest::Sha256;
use gate_core::evidence::Evidence;
use gate_core::ledger;
use gate_core::outcome::{CheckDocument, RowOutcome, Verdict};
use gate_core::ports::{Clock as _, Records as _};
use gate_core::source::Source;
use gate_core::text::escape;
use sha2::Digest as _;

use crate::check::{SystemClock, rules, worker};
use crate::store::DirectoryStore;
use crate::{args, explain as text, terminal_width};

/// The fewest digits by which an artifact is found.
const DIGEST_DIGITS: usize = 8;

/// `gate scan`; the number is the exit status.
pub(crate) fn scan(args: &args::Scan) -> Result<u8> {
    let (policy, advisories) = rules(&args.rules)?;
    let shown = args.file.display();
    let mut file = File::open(&args.file).with_context(|| format!("{shown} cannot be read"))?;
    let (sha256, size) = digest(&mut file).with_context(|| format!("{shown} cannot be read"))?;
    let report = worker()?.scan(&file, &sha256).with_context(|| format!("{shown} was not scanned"))?;
    let filename = args.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = match &report.distribution {
        Some(distribution) => distribution.name.parse(),
        None => asset_name(&filename).parse::<PackageName>(),
    };
    let name = name.with_context(|| format!("{shown}: its name cannot be used"))?;
    let source = Source::File(filename.clone());
    let scanner = report.scanner.clone();
    let files = [Examined { filename, sha256, size, evidence: Evidence::default(), report }];
    let decision = decide(&Case {
        name: &name,
        source: &source,
        files: &files,
        advisories: advisories.as_ref(),
        policy: &policy,
        now: SystemClock.now(),
    });

    let document = CheckDocument {
        schema_version: SCHEMA_VERSION,
        rows: vec![RowOutcome {
            line: 1,
            name: escape(&decision.name).into_owned(),
            source: escape(&decision.source).into_owned(),
            coordinates: decision.coordinates.as_ref().map(ToString::to_string),
            verdict: decision.verdict,
            reasons: decision.reasons.iter().chain(&decision.notes).cloned().collect(),
            artifacts: decision.artifacts(),
        }],
        policy_sha256: policy.sha256,
        advisories_sha256: advisories.as_ref().map(AdvisoryDb::sha256),
        scanner,
    };
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
    } else {
        let width = terminal_width();
        write!(out, "{}", text::render(&decision, width, width.is_some()))?;
    }
    Ok(document.exit_code())
}

/// The digest and size of a file, which is then at its beginning again.
fn digest(file: &mut File) -> std::io::Result<(Sha256, u64)> {
    let mut hasher = sha2::Sha256::new();
    let mut size = 0;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            read => {
                hasher.update(&chunk[..read]);
                size += read as u64;
            }
        }
    }
    file.rewind()?;
    Ok((Sha256::finish(hasher), size))
}

/// A name for an archive that has none of its own: its file name without what a name may not hold.
fn asset_name(filename: &str) -> String {
    let stem = filename.split('.').next().unwrap_or_default();
    let safe: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect();
    match safe.trim_matches('-') {
        "" => "archive".to_owned(),
        safe => safe.to_owned(),
    }
}

/// `gate explain`: the newest decision on each row that is about the subject.
pub(crate) async fn explain(args: args::Explain) -> Result<u8> {
    let store = DirectoryStore::new(&args.out);
    let mut newest = BTreeMap::new();
    for key in store.list(ledger::DECISIONS).await? {
        let row = key.rsplit_once('/').map_or(key.as_str(), |(row, _)| row).to_owned();
        newest.insert(row, key);
    }
    let mut found = Vec::new();
    for key in newest.values() {
        found.extend(ledger::decision(&store, key).await?.filter(|decision| is_about(decision, &args.subject)));
    }
    let undecided = undecided(&args)?;
    if found.is_empty() && undecided.is_empty() {
        let subject = escape(&args.subject);
        bail!("there is no decision on '{subject}' in {}; run gate check first, or name its --out", args.out.display());
    }
    found.sort_by(|a: &Decision, b| (&a.name, &a.source).cmp(&(&b.name, &b.source)));
    let mut out = anstream::stdout().lock();
    let width = terminal_width();
    for row in undecided {
        let reasons: Vec<_> = row.reasons.iter().map(|reason| reason.message.as_str()).collect();
        writeln!(
            out,
            "{}, line {} of the last run: {}\n{}\n",
            row.name,
            row.line,
            row.verdict.as_str(),
            reasons.join("\n")
        )?;
    }
    for (at, decision) in found.iter().enumerate() {
        let gap = if at == 0 { "" } else { "\n" };
        write!(out, "{gap}{}", text::render(decision, width, width.is_some()))?;
    }
    Ok(0)
}

/// The rows of the newest run about the subject on which nothing was decided: failed, or invalid.
fn undecided(args: &args::Explain) -> Result<Vec<RowOutcome>> {
    let path = args.out.join(crate::check::DOCUMENT);
    let document: CheckDocument = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{} cannot be read", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let is_undecided = |row: &RowOutcome| matches!(row.verdict, Verdict::Failed | Verdict::Invalid);
    let rows = document.rows.into_iter().filter(is_undecided);
    Ok(rows.filter(|row| normalize(&row.name) == normalize(&args.subject)).collect())
}

fn is_about(decision: &Decision, subject: &str) -> bool {
    let digits = subject.to_ascii_lowercase();
    let is_digest = digits.len() >= DIGEST_DIGITS && digits.chars().all(|c| c.is_ascii_hexdigit());
    normalize(&decision.name) == normalize(subject)
        || is_digest && decision.files.iter().any(|file| file.sha256.to_string().starts_with(&digits))
}

/// `gate policy check`.
pub(crate) fn check_policy(file: &Path) -> Result<u8> {
    let policy = crate::check::policy(file)?;
    writeln!(anstream::stdout(), "{}: no faults (sha256 {})", file.display(), policy.sha256)?;
    Ok(0)
}
