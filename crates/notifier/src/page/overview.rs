use gate_core::decision::Decision;
use gate_core::outcome::Verdict;
use gate_core::severity::Severity;
use maud::{Markup, html};

use super::{badge, icon, severity};
use crate::plain::{self, thousands};
use crate::view::{RowView, RunView};
use crate::words;

/// The most characters of a reason in the table.
const WHY_CHARS: usize = 150;

/// Counts that are also the filter of table and packages, and a bar of their shares.
pub(super) fn filter(run: &RunView<'_>) -> Markup {
    let number = |verdict| run.rows.iter().filter(|row| row.outcome.verdict == verdict).count();
    html! {
        fieldset.filter {
            legend.sr { "Show packages that are" }
            div.tile {
                input #show-all type="radio" name="show" checked;
                label for="show-all" { b { (thousands(run.rows.len() as u64)) } span { "all" } }
            }
            @for verdict in words::VERDICTS {
                @let id = format!("show-{}", verdict.as_str());
                div.tile.(verdict.as_str()) {
                    input id=(id) type="radio" name="show" disabled[number(verdict) == 0];
                    label for=(id) {
                        b { (thousands(number(verdict) as u64)) }
                        span { (icon(verdict.as_str())) (verdict.as_str()) }
                    }
                }
            }
        }
        (bar(&words::VERDICTS.map(|verdict| (verdict, number(verdict))), run.rows.len()))
    }
}

/// Shares as an image; the numbers stand above it.
fn bar(numbers: &[(Verdict, usize)], all: usize) -> Markup {
    let mut from = 0;
    let parts: Vec<_> = numbers
        .iter()
        .filter(|(_, number)| *number > 0)
        .map(|(verdict, number)| {
            let start = from;
            from += number;
            (verdict.as_str(), start, *number)
        })
        .collect();
    html! {
        svg.bar aria-hidden="true" viewBox={ "0 0 " (all) " 1" } preserveAspectRatio="none" {
            @for (verdict, start, number) in parts {
                rect.(verdict) x=(start) y="0" width=(number) height="1" {}
            }
        }
    }
}

/// The worst finding of a decision: its weight and rule.
fn worst(decision: &Decision) -> Option<(Severity, &str)> {
    let worst = decision.findings.iter().rev().max_by_key(|weighed| (weighed.refuses, weighed.weight))?;
    Some((worst.weight, &worst.finding.rule))
}

/// One line a row.
pub(super) fn table(run: &RunView<'_>) -> Markup {
    html! {
        h2 #overview { "All packages" }
        div.overview {
            table {
                caption.sr { "One line a requested package, in the order of the request" }
                colgroup { @for name in ["line", "name", "version", "verdict", "worst", "why"] { col class=(name); } }
                thead { tr {
                    th.num.line scope="col" { "Line" }
                    th scope="col" { "Package" }
                    th scope="col" { "Version" }
                    th scope="col" { "Verdict" }
                    th scope="col" { "Worst finding" }
                    th scope="col" { "Why" }
                } }
                tbody { @for row in &run.rows { (line(row)) } }
            }
        }
    }
}

fn line(row: &RowView<'_>) -> Markup {
    let outcome = row.outcome;
    let version = words::version(outcome);
    let worst = row.decision.and_then(worst);
    html! {
        tr data-verdict=(outcome.verdict.as_str()) {
            td.num.line.quiet { (outcome.line) }
            th.name scope="row" { a href={ "#row-" (outcome.line) } { (super::package::name(outcome)) } }
            td.version { @match &version { Some(version) => span.mono { (version) }, None => span.quiet { "unknown" } } }
            td.verdict { (badge(outcome.verdict)) }
            td.worst.none[worst.is_none()] {
                @match worst {
                    Some((weight, rule)) => { (severity(weight)) span.mono.small { (plain::shown(rule, 40)) } }
                    None => span.quiet { "none" },
                }
            }
            td.why {
                @if let Some(reason) = outcome.reasons.first() { (plain::shown(&reason.message, WHY_CHARS)) }
                @if !row.rows_to_add.is_empty() {
                    div.small { strong { "Needs " (plain::count(row.rows_to_add.len(), "further package")) } }
                }
            }
        }
    }
}
