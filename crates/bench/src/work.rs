//! The work that is measured in process: the gate's scan, and the floors, which are what the parts of a scan cost at least.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::{Context as _, Result, anyhow};
use clap::ValueEnum;
use gate_archive::{Format, Kind as MemberKind, Limits};
use gate_core::digest::Sha256;
use gate_scanner::scan::{self, Options};
use regex::bytes::Regex;
use ruff_linter::RuleSelector;
use ruff_linter::linter::{ParseSource, lint_only};
use ruff_linter::registry::Linter;
use ruff_linter::rule_selector::PreviewOptions;
use ruff_linter::settings::{LinterSettings, flags};
use ruff_linter::source_kind::SourceKind;
use ruff_python_ast::PySourceType;
use ruff_python_ast::visitor::source_order::{SourceOrderVisitor, TraversalSignal};
use ruff_python_ast::{AnyNodeRef, PythonVersion};
use ruff_python_parser::parse_unchecked_source;
use serde::{Deserialize, Serialize};

/// What is done with each archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The gate's scan, all analyzers on, without its child process.
    Scan,
    /// The gate's walk over the archive, and the rules that ruff runs, no other.
    Rules,
    /// Inflate.
    Inflate,
    /// Inflate; literals and regular expressions over every file.
    Literals,
    /// Inflate; parse every Python file.
    Parse,
    /// Inflate; parse every Python file and visit its nodes.
    Visit,
    /// All of these.
    Floor,
}

/// Stack for the parser, as the gate's own worker has it.
const STACK: usize = 1 << 30;

/// What was seen: proof that the work was done.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Nodes, matches or findings.
    pub(crate) hits: u64,
    /// Files that were not read to the end.
    pub(crate) lost: u64,
}

/// `gate-bench work KIND ARCHIVES`.
pub(crate) fn run(kind: Kind, archives: Vec<PathBuf>) -> Result<()> {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let mut seen = Seen::default();
        let floor = Floor::new()?;
        for archive in &archives {
            let done = match kind {
                Kind::Scan => gate(archive, &mut seen),
                Kind::Rules => rules(archive, &mut seen),
                _ => floor.run(kind, archive, &mut seen),
            };
            done.with_context(|| archive.display().to_string())?;
        }
        anyhow::Ok(seen)
    })?;
    let seen = thread.join().map_err(|_| anyhow!("the worker died"))??;
    Ok(serde_json::to_writer(std::io::stdout(), &seen)?)
}

/// The digest counts: the gate's scan compares it.
fn gate(path: &Path, seen: &mut Seen) -> Result<()> {
    let digest = std::fs::read_to_string(digest_path(path))?.parse::<Sha256>()?;
    let report = scan::scan(File::open(path)?, digest, &Options::default(), &|_| ())?;
    let counts = report.counts();
    seen.files += report.coverage.len() as u64;
    seen.bytes += report.coverage.iter().map(|file| file.size).sum::<u64>();
    seen.hits += report.findings.len() as u64;
    seen.lost += counts.lost;
    Ok(())
}

/// Where the digest of an archive lies, which the gate knows from the download.
pub(crate) fn digest_path(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

fn rules(path: &Path, seen: &mut Seen) -> Result<()> {
    // What `ruff check --select S` selects.
    let selected = RuleSelector::Linter(Linter::Flake8Bandit).rules(&PreviewOptions::default());
    let mut settings = LinterSettings::for_rules(selected);
    settings.unresolved_target_version = PythonVersion::PY314.into();
    let walked = gate_archive::walk(File::open(path)?, Format::Zip, &Limits::default(), |member, body| {
        if member.kind != MemberKind::File || !is_python(&member.path) {
            return Ok(());
        }
        let mut source = Vec::new();
        body.read_to_end(&mut source)?;
        seen.files += 1;
        seen.bytes += source.len() as u64;
        let code =
            String::from_utf8(source).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        let kind = SourceKind::Python { code, is_stub: false };
        let result = lint_only(
            Path::new("module.py"),
            None,
            &settings,
            flags::Noqa::Disabled,
            &kind,
            PySourceType::Python,
            ParseSource::None,
        );
        seen.hits += result.diagnostics.len() as u64;
        std::io::Result::Ok(())
    });
    walked.map(drop).map_err(|error| anyhow!("{error:?}"))
}

fn is_python(path: &str) -> bool {
    path.ends_with(".py")
}

/// Of the size of the gate's own: what leads to a closer look.
const LITERALS: [&str; 24] = [
    "-----BEGIN",
    "AKIA",
    "ASIA",
    "ghp_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "AIza",
    "npm_",
    "eyJhbGciOi",
    "base64",
    "exec(",
    "eval(",
    "compile(",
    "marshal",
    "subprocess",
    "socket",
    "urlopen",
    "/dev/tcp/",
    "powershell",
    "crontab",
    "authorized_keys",
];

/// Seven shapes of credentials.
const SECRETS: [&str; 7] = [
    r"-----BEGIN (?:RSA |EC |OPENSSH |DSA )?PRIVATE KEY-----",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bgh[pousr]_[0-9A-Za-z]{36}\b",
    r"\bxox[bpars]-[0-9A-Za-z-]{10,72}",
    r"\bsk_live_[0-9A-Za-z]{24,}",
    r"\bAIza[0-9A-Za-z_-]{35}\b",
    r"\beyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}",
];

struct Floor {
    literals: AhoCorasick,
    secrets: Vec<Regex>,
}

impl Floor {
    fn new() -> Result<Self> {
        let secrets = SECRETS.iter().map(|pattern| Regex::new(pattern)).collect::<Result<_, _>>()?;
        Ok(Self { literals: AhoCorasick::new(LITERALS)?, secrets })
    }

    fn run(&self, kind: Kind, path: &Path, seen: &mut Seen) -> Result<()> {
        // Whole in memory: a buffered reader would lose its buffer at each of the seeks.
        let mut archive = zip::ZipArchive::new(Cursor::new(std::fs::read(path)?))?;
        let mut bytes = Vec::new();
        for index in 0..archive.len() {
            let mut member = archive.by_index(index)?;
            bytes.clear();
            member.read_to_end(&mut bytes)?;
            seen.files += 1;
            seen.bytes += bytes.len() as u64;
            if matches!(kind, Kind::Literals | Kind::Floor) {
                seen.hits += self.literals.find_iter(&bytes).count() as u64;
                seen.hits += self.secrets.iter().map(|secret| secret.find_iter(&bytes).count() as u64).sum::<u64>();
            }
            if matches!(kind, Kind::Parse | Kind::Visit | Kind::Floor) && is_python(member.name()) {
                let source = String::from_utf8_lossy(&bytes);
                let parsed = parse_unchecked_source(&source, PySourceType::Python);
                if kind == Kind::Parse {
                    seen.hits += parsed.suite().len() as u64;
                } else {
                    let mut nodes = Nodes(0);
                    nodes.visit_body(parsed.suite());
                    seen.hits += nodes.0;
                }
            }
        }
        Ok(())
    }
}

struct Nodes(u64);

impl<'a> SourceOrderVisitor<'a> for Nodes {
    fn enter_node(&mut self, _: AnyNodeRef<'a>) -> TraversalSignal {
        self.0 += 1;
        TraversalSignal::Traverse
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// The floors must do the work that they are named for, else every ratio is wrong.
    #[test]
    fn each_floor_sees_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        zip.start_file("a-1/a.py", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"import os\nos.system(x)\n").unwrap();
        zip.start_file("a-1/key.txt", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(format!("AKIA{}", "A".repeat(16)).as_bytes()).unwrap();
        zip.finish().unwrap();

        let floor = Floor::new().unwrap();
        let hits = |kind| {
            let mut seen = Seen::default();
            floor.run(kind, &path, &mut seen).unwrap();
            assert_eq!((seen.files, seen.bytes), (2, 43));
            seen.hits
        };
        assert_eq!(hits(Kind::Inflate), 0);
        assert_eq!(hits(Kind::Literals), 2);
        assert_eq!(hits(Kind::Parse), 2);
        assert!(hits(Kind::Visit) > 5);
        assert_eq!(hits(Kind::Floor), hits(Kind::Literals) + hits(Kind::Visit));

        let mut seen = Seen::default();
        rules(&path, &mut seen).unwrap();
        assert_eq!((seen.files, seen.hits), (1, 1));
    }
}
