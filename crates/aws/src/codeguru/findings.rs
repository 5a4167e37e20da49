//! From a finding of the service, any field of which may be absent, to ours.

use aws_sdk_codegurusecurity::types::{Finding as Found, Vulnerability};
use gate_core::finding::{Category, FileRole, Finding, Location};
use gate_core::severity::{Confidence, Severity};

/// The most characters that are kept of a rule's id.
const RULE_CHARS: usize = 200;
/// The most characters that are kept of a title, a path or a reference.
const LINE_CHARS: usize = 500;
/// The most characters that are kept of a recommendation, which may be pages long.
const REMEDY_CHARS: usize = 2_000;
/// The most references that are kept.
const REFERENCES: usize = 10;

/// One finding. A severity that is absent or not known is [`Severity::Unknown`], which refuses.
///
/// The snippet is left out: it is not masked, and may hold a credential.
pub(super) fn read(found: &Found) -> Finding {
    let vulnerability = found.vulnerability();
    let recommendation = found.remediation().and_then(|remediation| remediation.recommendation());
    let location = vulnerability.and_then(|vulnerability| {
        let file = vulnerability.file_path()?;
        let path = cut(first([file.path(), file.name()])?, LINE_CHARS);
        Some(Location {
            // The service does not say what the archive is: in a wheel any folder may be the installed package.
            role: FileRole::Library,
            path,
            line: file.start_line().and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0),
            column: None,
            // Nobody says that it is not.
            installed: true,
        })
    });
    let pages = vulnerability.map(Vulnerability::reference_urls).unwrap_or_default();
    let pages = pages.iter().map(String::as_str).chain(recommendation.and_then(|it| it.url()));
    let mut references: Vec<String> =
        pages.filter(|url| url.starts_with("https://")).map(|url| cut(url, LINE_CHARS)).collect();
    references.dedup();
    references.truncate(REFERENCES);
    let weaknesses = vulnerability.map(Vulnerability::related_vulnerabilities).unwrap_or_default();
    let remedy = first([recommendation.and_then(|it| it.text())]);
    Finding {
        rule: cut(
            first([found.rule_id(), found.detector_id(), found.generator_id()]).unwrap_or("codeguru-unnamed"),
            RULE_CHARS,
        ),
        title: cut(
            first([found.title(), found.detector_name(), found.description()])
                .unwrap_or("CodeGuru Security reports a problem and does not say which"),
            LINE_CHARS,
        ),
        severity: found.severity().map_or(Severity::Unknown, |severity| Severity::from_word(severity.as_str())),
        confidence: Confidence::Medium,
        category: Category::Code,
        cwe: weaknesses.iter().find_map(|weakness| weakness.trim().strip_prefix("CWE-")?.parse().ok()),
        location,
        snippet: None,
        remedy: cut(remedy.unwrap_or("Look at the code, or ask for another version."), REMEDY_CHARS),
        references,
    }
}

/// The first text that is there and not blank.
fn first<const N: usize>(texts: [Option<&str>; N]) -> Option<&str> {
    texts.into_iter().flatten().map(str::trim).find(|text| !text.is_empty())
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_codegurusecurity::types::{FilePath, Recommendation, Remediation};

    use super::*;

    #[test]
    fn a_finding_without_any_field_refuses() {
        let finding = read(&Found::builder().build());
        assert_eq!(finding.severity, Severity::Unknown);
        assert_eq!(finding.rule, "codeguru-unnamed");
        assert!(!finding.title.is_empty() && !finding.remedy.is_empty());
        assert_eq!((finding.location, finding.cwe, finding.snippet), (None, None, None));
    }

    #[test]
    fn every_severity_has_its_place() {
        for (word, severity) in [
            ("Critical", Severity::Critical),
            ("High", Severity::High),
            ("Medium", Severity::Medium),
            ("Low", Severity::Low),
            ("Info", Severity::Info),
            ("Catastrophic", Severity::Unknown),
            ("", Severity::Unknown),
        ] {
            assert_eq!(read(&Found::builder().severity(word.into()).build()).severity, severity, "{word}");
        }
    }

    #[test]
    fn every_field_is_found() {
        let file = FilePath::builder().name("a.py").path("pkg/a.py").start_line(7).end_line(9).build();
        let vulnerability = Vulnerability::builder()
            .file_path(file)
            .related_vulnerabilities("not one")
            .related_vulnerabilities("CWE-78")
            .reference_urls("https://docs.example/os-command")
            .reference_urls("javascript:alert(1)")
            .build();
        let text = Recommendation::builder().text("Use a list.").url("https://docs.example/remedy").build();
        let found = Found::builder()
            .rule_id("python-os-command")
            .title("OS command")
            .severity("High".into())
            .vulnerability(vulnerability)
            .remediation(Remediation::builder().recommendation(text).build())
            .build();
        let finding = read(&found);
        assert_eq!((finding.rule.as_str(), finding.title.as_str()), ("python-os-command", "OS command"));
        assert_eq!((finding.cwe, finding.remedy.as_str()), (Some(78), "Use a list."));
        assert_eq!(finding.references, ["https://docs.example/os-command", "https://docs.example/remedy"]);
        let location = finding.location.unwrap();
        assert_eq!((location.path.as_str(), location.line, location.installed), ("pkg/a.py", Some(7), true));
    }

    #[test]
    fn lines_that_are_none_and_blank_names_are_left_out() {
        for line in [0, -1, i32::MIN] {
            let file = FilePath::builder().path(" ").name("a.py").start_line(line).build();
            let found = Found::builder().vulnerability(Vulnerability::builder().file_path(file).build()).build();
            let location = read(&found).location.unwrap();
            assert_eq!((location.path.as_str(), location.line), ("a.py", None), "{line}");
        }
        let nowhere =
            Found::builder().vulnerability(Vulnerability::builder().build()).rule_id("").detector_id("d").build();
        assert_eq!((read(&nowhere).location, read(&nowhere).rule), (None, "d".to_owned()));
    }

    #[test]
    fn long_texts_are_cut() {
        for (length, kept) in [(LINE_CHARS - 1, LINE_CHARS - 1), (LINE_CHARS, LINE_CHARS), (LINE_CHARS + 1, LINE_CHARS)]
        {
            let finding = read(&Found::builder().title("é".repeat(length)).build());
            assert_eq!(finding.title.chars().count(), kept);
        }
    }
}
