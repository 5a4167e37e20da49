//! The result table.
//!
//! On a pipe: one line a row, in columns, the reason whole, no colour and no lines drawn, so that `grep` and `awk` can work on
//! it. On a terminal: the same columns within its width; below [`WIDE`] columns a reason stands under its row.

use gate_core::decision::Decision;
use gate_core::outcome::{CheckDocument, RowOutcome, Verdict};
use gate_core::severity::Severity;
use gate_notifier::{plain, words};
use textwrap::core::display_width;

use self::style::{fit, pad, paint, wrap};

pub(crate) mod style;

/// From this many columns on a reason stands beside its row.
const WIDE: usize = 100;
/// The most lines that a reason takes on a terminal.
const REASON_LINES: usize = 2;
/// The widest name, version and finding on a terminal.
const NAME: usize = 24;
const VERSION: usize = 16;
const FINDING: usize = 30;
/// Before a reason that stands under its row.
const INDENT: usize = 4;
/// Between columns.
const GAP: &str = "  ";

/// One row, escaped.
struct Line {
    name: String,
    version: String,
    verdict: Verdict,
    worst: Option<(Severity, String)>,
    reason: String,
    /// Whether the reason says more than the verdict does.
    telling: bool,
}

impl Line {
    fn of(outcome: &RowOutcome, decision: Option<&Decision>) -> Self {
        let worst = decision.and_then(|decision| {
            decision.findings.iter().rev().max_by_key(|weighed| (weighed.refuses, weighed.weight))
        });
        // An approved row has one reason; what follows is what its reader has to know besides. That no advisories were
        // consulted is said below the table.
        let note = outcome
            .reasons
            .iter()
            .skip(1)
            .find(|note| outcome.verdict == Verdict::Approved && note.code != "advisories-not-consulted");
        let reason = note.or(outcome.reasons.first());
        let has_opaque = decision.is_some_and(|decision| decision.files.iter().any(|file| file.coverage.opaque > 0));
        Self {
            name: plain::shown(&outcome.name, 110),
            version: words::version(outcome).unwrap_or_else(|| "-".to_owned()),
            verdict: outcome.verdict,
            worst: worst.map(|weighed| (weighed.weight, plain::shown(&weighed.finding.rule, 80))),
            reason: reason.map(|reason| plain::shown(&reason.message, 2_000)).unwrap_or_default(),
            telling: note.is_some() || outcome.verdict != Verdict::Approved || has_opaque,
        }
    }

    fn worst(&self) -> String {
        self.worst.as_ref().map_or_else(|| "-".to_owned(), |(severity, rule)| format!("{severity} {rule}"))
    }
}

/// The table, its counts, and a warning if no advisories were consulted. `decisions` has one element a row.
///
/// `width` is the terminal's, none on a pipe; `colour` is asked for by whoever knows the terminal and `NO_COLOR`.
#[must_use]
pub(crate) fn render(
    document: &CheckDocument,
    decisions: &[Option<Decision>],
    width: Option<u16>,
    colour: bool,
) -> String {
    let decisions = decisions.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let lines: Vec<_> = document.rows.iter().zip(decisions).map(|(row, decision)| Line::of(row, decision)).collect();
    let mut out = String::new();
    if !lines.is_empty() {
        match width {
            None => on_a_pipe(&mut out, &lines),
            Some(width) => on_a_terminal(&mut out, &lines, usize::from(width), colour),
        }
        out.push('\n');
    }
    for line in wrap(&counts(document), width.map(usize::from), "", "") {
        out.push_str(&line);
        out.push('\n');
    }
    let advisories = match &document.advisories_sha256 {
        Some(digest) => (format!("advisories: {}", digest.short()), style::QUIET),
        None => (
            "ADVISORIES: NONE WERE CONSULTED. Known vulnerabilities were not looked for; give an OSV export with --advisories."
                .to_owned(),
            style::ALARM,
        ),
    };
    for line in wrap(&advisories.0, width.map(usize::from), "", "") {
        out.push_str(&paint(&line, advisories.1, colour));
        out.push('\n');
    }
    out
}

/// `3 packages: 2 approved, 1 refused`.
fn counts(document: &CheckDocument) -> String {
    let number = |verdict| document.rows.iter().filter(|row| row.verdict == verdict).count() as u64;
    let counts: Vec<_> = words::VERDICTS
        .into_iter()
        .filter(|verdict| number(*verdict) > 0)
        .map(|verdict| format!("{} {}", plain::thousands(number(verdict)), verdict.as_str()))
        .collect();
    let all = plain::count(document.rows.len(), "package");
    if counts.is_empty() { all } else { format!("{all}: {}", counts.join(", ")) }
}

/// The widest of these texts, at least the heading and at most `most` columns.
fn column<'a>(heading: &str, texts: impl Iterator<Item = &'a str>, most: usize) -> usize {
    texts.map(display_width).max().unwrap_or(0).max(heading.len()).min(most)
}

fn on_a_pipe(out: &mut String, lines: &[Line]) {
    let worst: Vec<_> = lines.iter().map(Line::worst).collect();
    let widths = [
        column("name", lines.iter().map(|line| line.name.as_str()), usize::MAX),
        column("version", lines.iter().map(|line| line.version.as_str()), usize::MAX),
        column("verdict", lines.iter().map(|line| line.verdict.as_str()), usize::MAX),
        column("worst finding", worst.iter().map(String::as_str), usize::MAX),
    ];
    let mut row = |cells: [&str; 4], reason: &str| {
        let cells: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| pad(cell, width)).collect();
        out.push_str(format!("{}{GAP}{reason}", cells.join(GAP)).trim_end());
        out.push('\n');
    };
    row(["name", "version", "verdict", "worst finding"], "reason");
    for (line, worst) in lines.iter().zip(&worst) {
        row([&line.name, &line.version, line.verdict.as_str(), worst], &line.reason);
    }
}

fn on_a_terminal(out: &mut String, lines: &[Line], width: usize, colour: bool) {
    let finding = |line: &Line| {
        let (severity, rule) = line.worst.as_ref()?;
        Some(format!("{} {rule}", pad(severity.as_str(), "critical".len())))
    };
    let findings: Vec<_> = lines.iter().map(|line| finding(line).unwrap_or_else(|| "-".to_owned())).collect();
    let verdict = column("verdict", lines.iter().map(|line| line.verdict.as_str()), usize::MAX);
    let name = column("name", lines.iter().map(|line| line.name.as_str()), NAME);
    let version = column("version", lines.iter().map(|line| line.version.as_str()), VERSION);
    let finding = column("worst finding", findings.iter().map(String::as_str), FINDING);
    let before_reason = name + version + verdict + finding + 4 * GAP.len();
    let wide = width >= WIDE && width >= before_reason + 30;
    // What is too wide for a narrow terminal is taken from the finding first.
    let finding =
        if wide { finding } else { finding.min(width.saturating_sub(before_reason - finding - GAP.len()).max(8)) };

    let heading = ["name", "version", "verdict", "worst finding"];
    let cells: Vec<_> =
        heading.iter().zip([name, version, verdict, finding]).map(|(text, width)| pad(text, width)).collect();
    let heading = format!("{}{}", cells.join(GAP), if wide { "  reason" } else { "" });
    out.push_str(&paint(heading.trim_end(), style::HEADING, colour));
    out.push('\n');

    let painted = |text: &str, width: usize, style| {
        let padding = &pad(text, width)[text.len()..];
        format!("{}{padding}", paint(text, style, colour))
    };
    for (line, worst) in lines.iter().zip(&findings) {
        let severity = line.worst.as_ref().map_or(style::QUIET, |(severity, _)| style::severity(*severity));
        let cells = [
            pad(&fit(&line.name, name), name),
            pad(&fit(&line.version, version), version),
            painted(line.verdict.as_str(), verdict, style::verdict(line.verdict)),
            painted(&fit(worst, finding), finding, severity),
        ];
        let indent = if wide { before_reason } else { INDENT };
        let style = if line.telling { anstyle::Style::new() } else { style::QUIET };
        let mut reason = short(&line.reason, width.saturating_sub(indent)).into_iter();
        if wide {
            let first = paint(&reason.next().unwrap_or_default(), style, colour);
            push(out, &format!("{}{GAP}{first}", cells.join(GAP)));
        } else {
            push(out, &cells.join(GAP));
        }
        if wide || line.telling {
            reason.for_each(|text| push(out, &format!("{}{}", " ".repeat(indent), paint(&text, style, colour))));
        }
    }
}

fn push(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

/// The beginning of a reason in at most [`REASON_LINES`] lines of `width` columns.
fn short(reason: &str, width: usize) -> Vec<String> {
    let mut lines = wrap(reason, Some(width), "", "");
    if lines.len() > REASON_LINES {
        lines.truncate(REASON_LINES);
        if let Some(last) = lines.last_mut() {
            *last = format!("{}…", fit(last, width.saturating_sub(1)).trim_end_matches('…'));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use gate_core::digest::Sha256;
    use gate_core::finding::{Category, Finding};
    use gate_core::message;
    use gate_core::outcome::{OutcomeArtifact, Reason};
    use gate_core::report::ScannerVersion;
    use gate_core::severity::Confidence;

    use super::*;

    fn scanner() -> ScannerVersion {
        ScannerVersion { name: "built-in".to_owned(), version: "0.1.0".to_owned(), rules: "test".to_owned() }
    }

    fn decision(rule: &str, weight: Severity, refuses: bool) -> Decision {
        let finding = Finding {
            rule: rule.to_owned(),
            title: "a title".to_owned(),
            severity: weight,
            confidence: Confidence::High,
            category: Category::Code,
            cwe: None,
            location: None,
            snippet: None,
            remedy: "a remedy".to_owned(),
            references: Vec::new(),
        };
        Decision {
            schema_version: gate_core::SCHEMA_VERSION,
            name: "a".to_owned(),
            source: "pkg:pypi/a@1".to_owned(),
            coordinates: None,
            verdict: Verdict::Approved,
            reasons: Vec::new(),
            notes: Vec::new(),
            files: Vec::new(),
            findings: vec![gate_core::decision::Weighed { filename: None, finding, weight, refuses, remark: None }],
            policy_sha256: Sha256::of(b"policy"),
            advisories: None,
            decided_at: "2024-11-20T10:42:00Z".parse().unwrap(),
        }
    }

    fn sample() -> (CheckDocument, Vec<Option<Decision>>) {
        let mut rows = Vec::new();
        let mut decisions = Vec::new();
        let mut add = |name: &str,
                       coordinates: Option<&str>,
                       verdict,
                       reasons: Vec<Reason>,
                       decision: Option<Decision>| {
            let source = coordinates.unwrap_or("https://files.example/archive.zip").to_owned();
            let coordinates = coordinates.map(str::to_owned);
            let artifacts =
                vec![OutcomeArtifact { filename: "a.zip".to_owned(), sha256: Sha256::of(name.as_bytes()), size: 1 }];
            rows.push(RowOutcome { line: 1, name: name.to_owned(), source, coordinates, verdict, reasons, artifacts });
            decisions.push(decision);
        };
        let clean = || vec![message::no_finding(Severity::Medium, 0), message::advisories_not_consulted()];
        let low = || Some(decision("S307", Severity::Low, false));
        add("six", Some("pkg:pypi/six@1.16.0"), Verdict::Approved, clean(), None);
        let mut reasons = clean();
        reasons
            .push(message::dependency_missing("itsdangerous>=2.1.2", Some("itsdangerous,pkg:pypi/itsdangerous@2.2.0")));
        add("flask", Some("pkg:pypi/flask@3.0.3"), Verdict::Approved, reasons, low());
        add(
            "PyYAML",
            Some("pkg:pypi/pyyaml@5.3.1"),
            Verdict::Refused,
            vec![message::refusing(
                "advisory",
                Severity::Critical,
                "PYSEC-2021-142",
                "Arbitrary code execution in the full_load method and FullLoader (CVE-2020-14343)",
                None,
                0,
                "Fixed in 5.4: ask for 5.4 or later.",
            )],
            Some(decision("PYSEC-2021-142", Severity::Critical, true)),
        );
        add(
            "sentiment-model-for-quarterly-reports",
            None,
            Verdict::Held,
            vec![Reason::new(
                "lost-limit",
                "could not be checked: a-very-long-path/without-any-space/that-goes-on-and-on/and-on/model.bin is beyond a limit; InfoSec must look",
            )],
            low(),
        );
        add(
            "ghost",
            Some("pkg:pypi/ghost@9.9"),
            Verdict::Failed,
            vec![Reason::new("not-found", "the index knows no package 'ghost'")],
            None,
        );
        let evil = "evil\u{1b}[2J\u{202e}gpj\n日本語";
        add(
            evil,
            None,
            Verdict::Invalid,
            vec![Reason { code: "bad-name".to_owned(), message: format!("line 7: {evil}") }],
            None,
        );
        let advisories_sha256 = None;
        let document = CheckDocument {
            schema_version: gate_core::SCHEMA_VERSION,
            rows,
            policy_sha256: Sha256::of(b"policy"),
            advisories_sha256,
            scanner: scanner(),
        };
        (document, decisions)
    }

    /// Names of snapshots do not depend on the module, which the program and the test of it name differently.
    fn snapshot(name: &str, text: &str) {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, text);
        });
    }

    #[test]
    fn at_80_and_120_columns_and_on_a_pipe() {
        let (document, decisions) = sample();
        for width in [80, 120] {
            let table = render(&document, &decisions, Some(width), false);
            let widest = table.lines().map(display_width).max().unwrap();
            assert!(widest <= usize::from(width), "{widest}\n{table}");
            snapshot(&format!("table_{width}"), &table);
        }
        snapshot("table_on_a_pipe", &render(&document, &decisions, None, false));
    }

    #[test]
    fn colour_changes_no_text() {
        let (document, decisions) = sample();
        for width in [None, Some(40), Some(80), Some(200)] {
            let plain = render(&document, &decisions, width, false);
            let coloured = render(&document, &decisions, width, true);
            assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
            assert!(!plain.contains('\x1b') && coloured.contains("\x1b["));
        }
    }

    #[test]
    fn on_a_pipe_a_row_is_a_line() {
        let (document, decisions) = sample();
        let table = render(&document, &decisions, None, false);
        assert_eq!(table.lines().take_while(|line| !line.is_empty()).count(), document.rows.len() + 1);
        assert!(!table.contains(|c: char| gate_core::text::is_deceptive(c) && c != '\n'), "{table}");
    }

    #[test]
    fn it_shouts_only_when_no_advisories_were_consulted() {
        let (mut document, decisions) = sample();
        assert!(render(&document, &decisions, Some(80), false).contains("NONE WERE CONSULTED"));
        document.advisories_sha256 = Some(Sha256::of(b"export"));
        let table = render(&document, &decisions, Some(80), false);
        assert!(!table.contains("NONE") && table.contains(&format!("advisories: {}", Sha256::of(b"export").short())));
    }

    #[test]
    fn no_rows_no_table() {
        let (document, _) = sample();
        let document = CheckDocument { rows: Vec::new(), ..document };
        assert!(render(&document, &[], Some(80), false).starts_with("0 packages\n"));
    }
}
