use gate_core::decision::{Decision, Weighed};
use gate_core::finding::{FileRole, Location};
use gate_core::outcome::Verdict;
use gate_core::severity::{Confidence, Severity};
use maud::{Markup, html};

use super::severity;
use crate::group::{self, Group, Issue, Place};
use crate::plain::{count, mask_credentials, shown, thousands};
use crate::words;

/// The most references of one finding.
const REFERENCES: usize = 8;
/// File names that a place spells out before it counts them.
const FILES_SPELLED: usize = 3;

/// The findings of a row by severity; `cap` is the most places of a group.
pub(super) fn section(decision: &Decision, findings: &[Weighed], verdict: Verdict, cap: usize) -> Markup {
    if findings.is_empty() {
        return html! { h4 { "Findings" } p { "None." } };
    }
    let groups = group::by_severity(findings);
    let issues: usize = groups.iter().map(|group| group.issues.len()).sum();
    let refusing = groups.iter().flat_map(|group| &group.issues).filter(|issue| issue.refuses).count();
    let others = if refusing < issues { " The others are listed for your information." } else { "" };
    html! {
        h4 { "Findings" }
        p.quiet.small {
            @match (refusing, verdict) {
                (0, Verdict::Approved) => "None of them is what the policy refuses; they are listed for your information.",
                (0, _) => "None of them is what the policy refuses.",
                (1, _) => { "One problem refuses this package." (others) }
                (n, _) => { (thousands(n as u64)) " problems refuse this package." (others) }
            }
        }
        @for group in &groups { (group_section(group, decision.files.len(), cap)) }
    }
}

fn group_section(group: &Group<'_>, files: usize, cap: usize) -> Markup {
    let open = group.refuses() || group.weight >= Severity::Medium;
    let mut left = cap;
    let mixed = group.issues.iter().any(|issue| issue.refuses != group.refuses());
    html! {
        details open[open] {
            summary {
                (severity(group.weight)) " " (count(group.issues.len(), "problem")) " "
                span.quiet { "in " (count(group.places(), "place")) }
                @if group.refuses() { " " span.flag { "refuses" } }
            }
            div.inner {
                @for issue in &group.issues {
                    @if left > 0 { (issue_section(issue, group.weight, mixed, files, &mut left)) }
                }
                @if group.places() > cap {
                    p.quiet { (count(group.places() - cap, "further place")) ": see the stored decision (" code { "gate explain" } ")." }
                }
            }
        }
    }
}

fn issue_section(issue: &Issue<'_>, weight: Severity, mixed: bool, files: usize, left: &mut usize) -> Markup {
    let finding = issue.finding;
    let places: Vec<_> = issue.places.iter().take(*left).collect();
    *left -= places.len();
    let confidence = match finding.confidence {
        Confidence::Low => "often a false alarm",
        Confidence::Medium => "usually right",
        Confidence::High => "nearly always right",
    };
    html! {
        div.issue {
            h5 { (shown(&finding.title, 300)) @if mixed && issue.refuses { " " span.flag { "refuses" } } }
            p.facts {
                span.mono { (shown(&finding.rule, 80)) } " · " (words::category(finding.category)) " · " (confidence)
                @if let Some(cwe) = finding.cwe {
                    " · " (link(&format!("https://cwe.mitre.org/data/definitions/{cwe}.html"), &format!("CWE-{cwe}")))
                }
                @if finding.severity != weight { " · rated " (finding.severity.as_str()) " by the scanner" }
            }
            @if let Some(remark) = issue.remark { p.remark { (shown(remark, 600)) } }
            p { (shown(&finding.remedy, 1_000)) }
            ul.places { @for place in places { (place_item(place, files)) } }
            @if !finding.references.is_empty() {
                p.small { "Read more: "
                    @for (at, reference) in finding.references.iter().take(REFERENCES).enumerate() {
                        @if at > 0 { ", " } (reference_link(reference))
                    }
                    @if finding.references.len() > REFERENCES { " and " (finding.references.len() - REFERENCES) " more" }
                }
            }
        }
    }
}

fn place_item(place: &Place<'_>, files: usize) -> Markup {
    html! {
        li {
            @match place.location {
                Some(location) => {
                    span.at { (at(location)) }
                    @match location.role {
                        FileRole::InstallTime => { " " span.in { "runs on installation" } }
                        FileRole::Supporting => { " " span.in { "test, example or documentation" } }
                        FileRole::Library => {},
                    }
                }
                None if place.files.is_empty() => span.at { "the package" },
                None => span.at { "the whole file" },
            }
            @if files > 1 && !place.files.is_empty() { " " span.in { (in_files(&place.files, files)) } }
            @if let Some(snippet) = place.snippet { pre { (shown(snippet, 220)) } }
        }
    }
}

/// `path:line`.
fn at(location: &Location) -> String {
    let path = shown(&location.path, 300);
    match location.line {
        Some(line) => format!("{path}:{line}"),
        None => path,
    }
}

/// Which files of a set of several have a place.
pub(super) fn in_files(names: &[&str], files: usize) -> String {
    if names.len() == files {
        return format!("in all {files} files");
    }
    let spelled: Vec<_> = names.iter().take(FILES_SPELLED).map(|name| shown(name, 120)).collect();
    match names.len().saturating_sub(FILES_SPELLED) {
        0 => format!("in {}", spelled.join(", ")),
        more => format!("in {} and {more} more", spelled.join(", ")),
    }
}

/// A reference, as a link only if it is a plain https URL; anything else is text.
fn reference_link(reference: &str) -> Markup {
    let host = reference.strip_prefix("https://").unwrap_or_default().split(['/', '?', '#']).next().unwrap_or_default();
    let ambiguous =
        |c: char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '`' | '^' | '{' | '|' | '}');
    let plain = !host.is_empty()
        && reference.len() <= 2_000
        && !reference.contains(ambiguous)
        && mask_credentials(reference) == reference;
    if plain {
        link(reference, &shown(reference, 120))
    } else {
        html! { span.mono { (shown(reference, 120)) } }
    }
}

fn link(url: &str, text: &str) -> Markup {
    html! { a href=(url) rel="noreferrer noopener" { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_becomes_a_link() {
        for text in [
            "javascript:alert(1)",
            "http://a.example/",
            "https://",
            "https://u:p@a.example/",
            "https://a.example/https://u:p@b.example/",
            "https://a.example/\u{202e}",
            "https://a.example/\"onclick=x",
            "HTTPS://a.example",
            "data:text/html,x",
            " https://a.example",
        ] {
            assert!(!reference_link(text).into_string().contains("<a"), "{text}");
        }
        assert_eq!(
            reference_link("https://a.example/x?y=1&z=2").into_string(),
            "<a href=\"https://a.example/x?y=1&amp;z=2\" rel=\"noreferrer noopener\">https://a.example/x?y=1&amp;z=2</a>"
        );
        assert!(!reference_link("https://u:p@a.example/").into_string().contains("u:p"));
    }

    #[test]
    fn files_are_spelled_out_while_they_are_few() {
        assert_eq!(in_files(&["a", "b"], 2), "in all 2 files");
        assert_eq!(in_files(&["a", "b", "c"], 5), "in a, b, c");
        assert_eq!(in_files(&["a", "b", "c", "d"], 5), "in a, b, c and 1 more");
    }
}
