//! One artifact from first byte to report: the archive is walked once, every member is classified and read by the analyzer of
//! its kind, and what was done with it is written down.
//!
//! Members pass through in windows of [`WINDOW`] bytes; only source code and what describes the distribution is held whole.

mod body;
mod links;
mod member;
mod nested;
mod tally;

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

use gate_archive::{Code, Format, Limits, Refusal, WalkError};
use gate_core::coverage::{CoverageClass, FileCoverage, LostReason, OpaqueKind};
use gate_core::digest::Sha256;
use gate_core::finding::Finding;
use gate_core::report::{ContentReport, Pin, ScannerVersion};
use gate_core::{SCHEMA_VERSION, sniff};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::distribution::{Layout, Parts};
use crate::record::{self, Seen};
use crate::{pins, structure};
use tally::Tally;

/// Bytes of a member that are in memory at once.
pub const WINDOW: usize = 1 << 20;

/// Bytes of one member between two calls of `progress`.
pub const PROGRESS_BYTES: u64 = 16 << 20;

/// The path under which coverage speaks of the archive as a whole.
pub const WHOLE_ARCHIVE: &str = "(archive)";

/// The analyzers that look at every artifact.
pub const ANALYZERS: [&str; 6] = ["archive", "install-time", "notebook", "pickle", "python", "secrets"];

/// What a scan may cost, and what it leaves out.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the archive, and of all nested ones together.
    pub limits: Limits,
    /// How many archives may lie within one another below the outermost.
    pub nesting: usize,
    /// The most findings of a report; beyond them the artifact counts as not fully checked.
    pub findings: usize,
    /// Members that an earlier scan died on: they are not analysed, and lost.
    pub skip: Vec<Skip>,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits::default(), nesting: 3, findings: 10_000, skip: Vec::new() }
    }
}

/// A member that is not to be analysed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// As in the coverage.
    pub path: String,
    /// What happened to it; becomes the detail of [`CoverageClass::Lost`].
    pub detail: String,
}

/// There is no report.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Not an archive of a kind that is read; says what it is, as [`sniff::describe`] does.
    #[error("it is not a zip or tar archive but {what}")]
    NotAnArchive {
        /// `an HTML page`, `a PDF`.
        what: String,
    },
    /// The bytes are not those of the digest that was asked about.
    #[error("its bytes have the SHA-256 {actual}, which is not the one they are stored under")]
    OtherBytes {
        /// What they are.
        actual: Sha256,
    },
    /// The bytes could not be read.
    #[error("it could not be read: {0}")]
    Io(#[from] io::Error),
}

/// Scans the artifact that has this digest; `progress` is told each member before it is read, and again
/// for every [`PROGRESS_BYTES`] of it: whoever watches knows what the scan was at when it stopped.
///
/// A hostile archive is a report with a finding, one beyond a limit a report with lost coverage.
///
/// # Errors
///
/// [`ScanError`] when there is nothing to report on.
pub fn scan<R: Read + Seek>(
    mut artifact: R,
    digest: Sha256,
    options: &Options,
    progress: &dyn Fn(&str),
) -> Result<ContentReport, ScanError> {
    progress(WHOLE_ARCHIVE);
    let opened = open(&mut artifact, progress)?;
    if opened.digest != digest {
        return Err(ScanError::OtherBytes { actual: opened.digest });
    }
    let Some(format) = Format::detect(&opened.prefix) else { return Err(not_an_archive(&opened.prefix)) };
    let mut report = ContentReport {
        schema_version: SCHEMA_VERSION,
        artifact: digest,
        size: opened.size,
        scanner: crate::version(),
        distribution: None,
        pins: Vec::new(),
        findings: Vec::new(),
        analyzers: ANALYZERS.iter().map(|&name| name.to_owned()).collect(),
        coverage: Vec::new(),
    };
    let mut layout = Layout { wheel: opened.mentions_dist_info, ..Layout::default() };
    loop {
        let mut pass = Pass::new(options, layout.clone(), progress);
        artifact.seek(SeekFrom::Start(0))?;
        match gate_archive::walk(&mut artifact, format, &options.limits, |member, body| pass.visit(member, body)) {
            Ok(_) => {
                // The roles of files follow from what a walk shows; a wrong guess costs a second walk.
                let shown = pass.parts.layout();
                if shown == layout {
                    pass.finish(&mut report);
                    return Ok(report);
                }
                layout = shown;
            }
            Err(WalkError::Refused(refusal)) if refusal.kind() == Code::NotAnArchive => {
                return Err(not_an_archive(&opened.prefix));
            }
            Err(WalkError::Refused(refusal)) => {
                refuse(&refusal, &mut report);
                return Ok(report);
            }
            Err(WalkError::Visit(error) | WalkError::Io(error)) => return Err(error.into()),
            Err(other) => return Err(io::Error::other(other.to_string()).into()),
        }
    }
}

/// Who scans, and by which rules: any change of this program's scanning code or rules is another version.
#[must_use]
pub fn version() -> ScannerVersion {
    ScannerVersion {
        name: "built-in".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rules: env!("GATE_SCANNER_RULES").to_owned(),
    }
}

struct Opened {
    digest: Sha256,
    size: u64,
    prefix: Vec<u8>,
    mentions_dist_info: bool,
}

/// Reads the artifact once for its digest. A wheel's directory stands at its end and names its `.dist-info`: a hint that saves
/// a walk, and is never believed.
fn open(artifact: &mut (impl Read + Seek), progress: &dyn Fn(&str)) -> io::Result<Opened> {
    const HINT: &[u8] = b".dist-info/";
    artifact.seek(SeekFrom::Start(0))?;
    let mut hasher = sha2::Sha256::new();
    let mut window = vec![0; WINDOW];
    let mut opened = Opened { digest: Sha256::of(b""), size: 0, prefix: Vec::new(), mentions_dist_info: false };
    loop {
        let filled = body::fill(artifact, &mut window)?;
        let bytes = &window[..filled];
        hasher.update(bytes);
        if opened.size == 0 {
            opened.prefix = bytes[..filled.min(sniff::PREFIX_BYTES)].to_vec();
        }
        opened.size += filled as u64;
        if opened.size.is_multiple_of(PROGRESS_BYTES) {
            progress(WHOLE_ARCHIVE);
        }
        if filled < WINDOW {
            let tail = &bytes[filled.saturating_sub(WINDOW / 4)..];
            opened.mentions_dist_info = tail.windows(HINT.len()).any(|part| part[0] == HINT[0] && part == HINT);
            opened.digest = Sha256::finish(hasher);
            return Ok(opened);
        }
    }
}

fn not_an_archive(prefix: &[u8]) -> ScanError {
    ScanError::NotAnArchive { what: sniff::describe(prefix).to_owned() }
}

/// What there is to say of an archive that was refused: nothing that the walk gave before counts.
fn refuse(refusal: &Refusal, report: &mut ContentReport) {
    let path = refusal.member().unwrap_or(WHOLE_ARCHIVE).to_owned();
    let reason = match refusal.kind() {
        Code::Truncated | Code::NothingToAnalyse => LostReason::Unparsable,
        code if code.is_hostile() => LostReason::Unparsable,
        _ => LostReason::Limit,
    };
    report.coverage = vec![FileCoverage { path, size: 0, class: lost(reason, refusal.to_string()) }];
    if refusal.is_hostile() {
        report.findings = vec![structure::hostile(refusal)];
    }
}

fn lost(reason: LostReason, detail: impl Into<String>) -> CoverageClass {
    CoverageClass::Lost { reason, detail: detail.into() }
}

/// Compiled Python is listed as opaque; where its source is in the archive, that was read. PEP 3147: `__pycache__/NAME.TAG.pyc`
/// belongs to `NAME.py` in the folder above.
fn bytecode_without_source(coverage: &[FileCoverage]) -> Vec<Finding> {
    let paths: HashSet<&str> = coverage.iter().map(|file| file.path.as_str()).collect();
    let source = |path: &str| {
        let (folder, file) = path.rsplit_once('/').map_or(("", path), |(folder, _)| path.split_at(folder.len() + 1));
        let stem = file.split('.').next().unwrap_or(file);
        let folder = folder.strip_suffix("__pycache__/").unwrap_or(folder);
        format!("{folder}{stem}.py")
    };
    let is_bytecode =
        |file: &&FileCoverage| matches!(file.class, CoverageClass::Opaque { kind: OpaqueKind::PythonBytecode });
    let alone = coverage.iter().filter(is_bytecode).filter(|file| !paths.contains(source(&file.path).as_str()));
    alone.map(|file| structure::BYTECODE_WITHOUT_SOURCE.at(&file.path, None)).collect()
}

/// One walk over the archive.
struct Pass<'a> {
    options: &'a Options,
    layout: Layout,
    progress: &'a dyn Fn(&str),
    windows: Vec<Vec<u8>>,
    found: Vec<Finding>,
    tally: Tally,
    coverage: Vec<FileCoverage>,
    links: Vec<links::Link>,
    parts: Parts,
    pins: Vec<Pin>,
    hashes: Vec<(String, Seen)>,
    /// Inflated bytes and members of nested archives so far.
    nested_bytes: u64,
    nested_members: u64,
}

impl<'a> Pass<'a> {
    fn new(options: &'a Options, layout: Layout, progress: &'a dyn Fn(&str)) -> Self {
        Self {
            options,
            layout,
            progress,
            windows: Vec::new(),
            found: Vec::new(),
            tally: Tally::new(options.findings),
            coverage: Vec::new(),
            links: Vec::new(),
            parts: Parts::default(),
            pins: Vec::new(),
            hashes: Vec::new(),
            nested_bytes: 0,
            nested_members: 0,
        }
    }

    /// What can only be told at the end.
    fn finish(mut self, report: &mut ContentReport) {
        links::judge(&self.links, &self.layout, &mut self.coverage);
        self.tally.add(bytecode_without_source(&self.coverage));
        let (distribution, findings) = self.parts.distribution();
        self.tally.add(findings);
        if let Some(folder) = self.parts.dist_info() {
            let record = self.parts.file(&format!("{folder}/RECORD"));
            if record.is_some_and(|bytes| bytes.len() >= crate::distribution::RECORD_BYTES) {
                let path = format!("{folder}/RECORD");
                let class = lost(LostReason::Limit, "the list of files is too long to be compared");
                self.coverage.push(FileCoverage { path, size: 0, class });
            } else {
                self.tally.add(record::verify(folder, record, &self.hashes));
            }
            if let Some(distribution) = &distribution {
                self.pins.extend(pins::of_metadata(&distribution.requires_dist, &format!("{folder}/METADATA")));
            }
        } else if let Some(distribution) = &distribution {
            self.pins.extend(pins::of_metadata(&distribution.requires_dist, "PKG-INFO"));
        }
        let (findings, over) = self.tally.finish();
        if over {
            let detail = format!("it has more than {} findings; the others are not listed", self.options.findings);
            let class = lost(LostReason::Limit, detail);
            self.coverage.push(FileCoverage { path: WHOLE_ARCHIVE.to_owned(), size: 0, class });
        }
        self.pins.sort_unstable();
        self.pins.dedup();
        report.distribution = distribution;
        report.pins = self.pins;
        report.findings = findings;
        report.coverage = self.coverage;
    }
}
