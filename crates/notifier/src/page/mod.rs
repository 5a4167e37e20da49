//! `report.html`: one self-contained page. No script, no external load, a content policy that forbids both, and no text of a
//! row, a package or an error that is not escaped.

mod basis;
mod coverage;
mod findings;
mod overview;
mod package;

use base64::Engine as _;
use gate_core::outcome::Verdict;
use gate_core::severity::Severity;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::Digest as _;

use crate::plain::{self, count};
use crate::view::RunView;
use crate::words;

const STYLE: &str = include_str!("style.css");

/// The most places that a severity group of a row shows.
pub const PLACES_SHOWN: usize = 200;
/// The most places that all groups of a page show, as far as [`PLACES_AT_LEAST`] allows.
pub const PLACES_A_PAGE: usize = 40_000;
/// The fewest places that a group may show when it has them, however many rows there are.
pub const PLACES_AT_LEAST: usize = 3;

/// The most places that a group shows on a page with this many rows.
fn places_shown(rows: usize) -> usize {
    // Rows have two groups on average: most have none, and only few have more than three.
    (PLACES_A_PAGE / rows.max(1) / 2).clamp(PLACES_AT_LEAST, PLACES_SHOWN)
}

/// The whole page.
#[must_use]
pub fn render(run: &RunView<'_>) -> String {
    let approved = run.rows.iter().filter(|row| row.outcome.verdict == Verdict::Approved).count();
    let headline = match run.rows.len() {
        0 if run.unreadable.is_some() => "The request cannot be read".to_owned(),
        0 => "Nothing was requested".to_owned(),
        1 => format!("1 package, {}", run.rows[0].outcome.verdict.as_str()),
        all => format!("{} of {} approved", plain::thousands(approved as u64), count(all, "package")),
    };
    let style_hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(STYLE));
    let content_policy =
        format!("default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'");
    let cap = places_shown(run.rows.len());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(content_policy);
                meta name="referrer" content="no-referrer";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Package Gate: " (headline) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the report" }
                (icons())
                header.top {
                    p.brand { "Package Gate" }
                    h1 { (headline) }
                    p.quiet {
                        "Written " (time(run.generated_at)) ". Decided by " (words::decided_by(run, &run.rows)) ". "
                        a href="#basis" { "How it was decided" }
                    }
                }
                main #main {
                    @if let Some(reason) = run.unreadable {
                        div.box.invalid {
                            p { strong { "No row was looked at. " } (plain::shown(&reason.message, 2_000)) }
                            p { strong { "What to do. " } "Correct the file and push it again." }
                        }
                    } @else { (alarm(run)) }
                    @if !run.rows.is_empty() {
                        (overview::filter(run))
                        (overview::table(run))
                        h2 #packages { "Each package" }
                        @for row in &run.rows { (package::article(run, row, cap)) }
                    }
                    (basis::section(run))
                }
                footer {
                    p { "This page loads nothing and runs no script. Text of packages is shown with control and "
                        "direction characters spelled out, as in " code { "\\u{202e}" } "." }
                }
            }
        }
    };
    page.into_string()
}

/// What a reader must not overlook.
fn alarm(run: &RunView<'_>) -> Markup {
    let sentence = match run.advisories {
        None => html! {
            strong { "No advisories were consulted." }
            " Known vulnerabilities were not looked for: a package that is approved here may have published ones. "
            "The gate's operator must supply an OSV export."
        },
        Some(consulted) => match basis::old(consulted, run.generated_at) {
            Some(days) => html! {
                strong { "The advisories are " (count(days, "day")) " old." }
                " Vulnerabilities that were published since then were not looked for."
            },
            None => return html! {},
        },
    };
    html! { aside.alarm aria-label="Warning" { (icon("warning")) p { (sentence) } } }
}

/// The icons that the rest of the page refers to; words stand beside every one of them.
fn icons() -> Markup {
    html! {
        svg width="0" height="0" aria-hidden="true" class="sr" {
            symbol #i-approved viewBox="0 0 24 24" { path d="M5 13l4.5 4.5L19 7"; }
            symbol #i-refused viewBox="0 0 24 24" { path d="M6 6l12 12M18 6L6 18"; }
            symbol #i-held viewBox="0 0 24 24" { path d="M9 6v12M15 6v12"; }
            symbol #i-failed viewBox="0 0 24 24" { path d="M4 12a8 8 0 1 0 2.5-5.8M4 4v4.5h4.5"; }
            symbol #i-invalid viewBox="0 0 24 24" { path d="M12 5v9M12 18.5v.2"; }
            symbol #i-warning viewBox="0 0 24 24" { path d="M12 4L2.8 20h18.4zM12 10v4.5M12 17.3v.2"; }
        }
    }
}

fn icon(name: &str) -> Markup {
    html! { svg.icon aria-hidden="true" { use href={ "#i-" (name) }; } }
}

fn badge(verdict: Verdict) -> Markup {
    html! { span.badge.(verdict.as_str()) { (icon(verdict.as_str())) (words::title(verdict)) } }
}

fn severity(severity: Severity) -> Markup {
    html! { span.sev.(severity.as_str()) { (severity.as_str()) } }
}

fn time(at: jiff::Timestamp) -> Markup {
    html! { time datetime=(at) { (plain::when(at)) } }
}
