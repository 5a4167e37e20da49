use gate_core::decision::DecidedFile;
use gate_core::outcome::{Reason, RowOutcome, Verdict};
use maud::{Markup, html};

use super::{badge, coverage, findings, icon, time};
use crate::plain::{self, count, shown};
use crate::view::{Install, RowView, RunView};
use crate::words;

/// The most characters of a reason.
const REASON_CHARS: usize = 2_000;
/// The most reasons of each kind.
const REASONS: usize = 20;
/// The most rows to add.
const ROWS_TO_ADD: usize = 200;

/// The row's name for showing; a row without one says so.
pub(super) fn name(outcome: &RowOutcome) -> String {
    if outcome.name.is_empty() { "(no name)".to_owned() } else { shown(&outcome.name, 110) }
}

/// All about one row; `cap` is the most places of a severity group.
pub(super) fn article(run: &RunView<'_>, row: &RowView<'_>, cap: usize) -> Markup {
    let outcome = row.outcome;
    let verdict = outcome.verdict;
    let version = words::version(outcome);
    let bytes = outcome.artifacts.iter().map(|file| file.size).fold(0, u64::saturating_add);
    html! {
        article.row id={ "row-" (outcome.line) } data-verdict=(verdict.as_str()) aria-labelledby={ "name-" (outcome.line) } {
            div.head {
                h3 id={ "name-" (outcome.line) } {
                    (name(outcome)) @if let Some(version) = &version { " " span.version { (version) } }
                }
                (badge(verdict))
            }
            p.quiet.small {
                "Line " (outcome.line) " of the request: " span.mono { (shown(&outcome.source, 300)) }
                @if !outcome.artifacts.is_empty() { " · " (count(outcome.artifacts.len(), "file")) ", " (plain::size(bytes)) }
            }
            (what_and_why(run, row))
            (to_add(row))
            @if row.abridged {
                p.quiet { "Findings and coverage are not listed here: the run is too large for one page. The gate's records have them." }
            }
            @if let Some(decision) = row.decision.filter(|_| !row.abridged) {
                (findings::section(decision, &decision.findings, verdict, cap))
                (coverage::section(decision, &row.reports, cap))
                (files(&decision.files))
            } @else if !outcome.artifacts.is_empty() {
                (fetched(outcome))
            }
        }
    }
}

/// The verdict in words, its reasons, and what to do next.
fn what_and_why(run: &RunView<'_>, row: &RowView<'_>) -> Markup {
    let outcome = row.outcome;
    let (why, notes) = words::why_and_notes(row);
    // The banner and the box say it, and the rows to add have a box of their own.
    let notes: Vec<_> = notes
        .into_iter()
        .filter(|note| note.code != "advisories-not-consulted")
        .filter(|note| note.code != "dependency-missing" || row.rows_to_add.is_empty())
        .collect();
    html! {
        div.box.(outcome.verdict.as_str()) {
            p {
                strong { (words::title(outcome.verdict)) ". " } (words::meaning(outcome.verdict))
                @if outcome.verdict == Verdict::Approved { " It is in the approved index." }
            }
            @if run.advisories.is_none() && outcome.verdict == Verdict::Approved {
                p.unchecked { (icon("warning")) strong { "Known vulnerabilities were not looked for." } }
            }
            (reasons(&why))
            @if let Some(requirement) = words::pip_requirement(outcome) {
                @if !row.rows_to_add.is_empty() { p { "Once the packages below are approved too, install it by:" } }
                (install(run, outcome, &requirement))
            }
            @if let Some(step) = words::next_step(row) {
                p { strong { "What to do. " } (step.text) }
                @if let Some(row) = step.row { pre.copy tabindex="0" { (row) } }
            }
        }
        @if !notes.is_empty() {
            h4 { "Good to know" }
            (reasons(&notes))
        }
    }
}

fn install(run: &RunView<'_>, outcome: &RowOutcome, requirement: &str) -> Markup {
    let (lines, left_out) = match run.install {
        Install::Index(index_url) => (vec![words::pip_install(index_url, requirement)], 0),
        Install::Assets(repository) => words::asset_install(repository, outcome).unwrap_or_default(),
    };
    html! {
        @if !lines.is_empty() { pre.copy tabindex="0" { (lines.join("\n")) } }
        @if left_out > 0 { p.quiet { "and " (left_out) " more files for other machines, below" } }
    }
}

fn reasons(reasons: &[&Reason]) -> Markup {
    html! {
        @if !reasons.is_empty() {
            ul.reasons {
                @for reason in reasons.iter().take(REASONS) {
                    li { (sentence(&shown(&reason.message, REASON_CHARS))) " " span.code { (shown(&reason.code, 60)) } }
                }
                @if reasons.len() > REASONS { li.quiet { "and " (reasons.len() - REASONS) " more" } }
            }
        }
    }
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let stop = if text.ends_with(['.', '!', '?', ':', '…']) { "" } else { "." };
    let is_word = chars.as_str().chars().next().is_none_or(|c| c.is_lowercase() || c == ' ');
    let first = if is_word { first.to_uppercase().to_string() } else { first.to_string() };
    format!("{first}{}{stop}", chars.as_str())
}

fn to_add(row: &RowView<'_>) -> Markup {
    if row.rows_to_add.is_empty() {
        return html! {};
    }
    let lines: Vec<_> = row.rows_to_add.iter().take(ROWS_TO_ADD).map(|line| shown(line, 400)).collect();
    html! {
        h4 { "It needs other packages" }
        p { "These are neither approved nor requested, so an installation fails. Add the rows to the request:" }
        pre.copy tabindex="0" { (lines.join("\n")) }
        @if row.rows_to_add.len() > ROWS_TO_ADD { p.quiet { "and " (row.rows_to_add.len() - ROWS_TO_ADD) " more" } }
    }
}

/// The files of a decision: what they are, and by whom they were looked at.
fn files(files: &[DecidedFile]) -> Markup {
    let has_time = files.iter().any(|file| file.evidence.upload_time.is_some());
    html! {
        details {
            summary { "Files " span.quiet { (files.len()) } }
            div.inner {
                div.scroll tabindex="0" role="region" aria-label="Files" { table {
                    thead { tr {
                        th scope="col" { "File and SHA-256" }
                        th.num scope="col" { "Size" }
                        @if has_time { th scope="col" { "Uploaded" } }
                        th scope="col" { "Scanned by" }
                    } }
                    tbody { @for file in files { tr {
                        td {
                            strong { (shown(&file.filename, 250)) }
                            div.mono.small { (file.sha256) }
                            @if let Some(url) = &file.evidence.url { div.quiet.small { "from " (shown(url, 300)) } }
                            @if let Some(python) = &file.evidence.requires_python {
                                div.quiet.small { "needs Python " (shown(python, 100)) }
                            }
                            @if let Some(why) = &file.evidence.yanked {
                                div.small { strong { "Withdrawn by its author" }
                                    @if !why.is_empty() { ": " (shown(why, 300)) } }
                            }
                        }
                        td.num { (plain::size(file.size)) }
                        @if has_time {
                            td { @match file.evidence.upload_time { Some(at) => (time(at)), None => span.quiet { "unknown" } } }
                        }
                        td { (shown(&file.scanner.name, 60)) " " (shown(&file.scanner.version, 60))
                            div.quiet.small { "rules " span.mono { (shown(&file.scanner.rules, 16)) } } }
                    } } }
                } }
            }
        }
    }
}

/// Files of a row that ended before a decision.
fn fetched(outcome: &RowOutcome) -> Markup {
    html! {
        details {
            summary { "Files " span.quiet { (outcome.artifacts.len()) } }
            div.inner { ul {
                @for file in &outcome.artifacts {
                    li { strong { (shown(&file.filename, 250)) } " (" (plain::size(file.size)) ") " span.mono.small { (file.sha256) } }
                }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn sentences_begin_and_end() {
        for (text, expected) in [
            ("", ""),
            ("a", "A."),
            ("could not be checked", "Could not be checked."),
            ("it is over.", "It is over."),
            ("PYSEC-1 it is", "PYSEC-1 it is."),
            ("éa", "Éa."),
            ("a.whl is gone", "a.whl is gone."),
            ("line 3, column 2: bad", "Line 3, column 2: bad."),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }
}
