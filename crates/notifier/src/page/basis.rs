use gate_core::decision::Consulted;
use gate_core::policy::{Advisories, Policy, Yanked};
use jiff::Timestamp;
use maud::{Markup, html};

use super::{badge, severity, time};
use crate::plain::{self, count, shown};
use crate::view::RunView;
use crate::words;

/// From this many days on an advisory export is said to be old: an OSV export changes many times a day.
pub(super) const ADVISORIES_OLD_DAYS: u64 = 7;

/// The age in days of an export's newest record, if that is old.
pub(super) fn old(consulted: &Consulted, now: Timestamp) -> Option<u64> {
    plain::days_between(consulted.newest?, now).filter(|days| *days >= ADVISORIES_OLD_DAYS)
}

/// What the verdicts rest on, and what the words mean.
pub(super) fn section(run: &RunView<'_>) -> Markup {
    let scanner = &run.document.scanner;
    html! {
        h2 #basis { "How it was decided" }
        div.panel {
            dl {
                dt { "Time" } dd { (time(run.generated_at)) }
                dt { "Scanner" }
                dd { (shown(&scanner.name, 60)) " " (shown(&scanner.version, 60)) ", rules " span.mono { (shown(&scanner.rules, 64)) } }
                dt { "Advisories" } dd { (advisories(run)) }
                dt { "Policy in force" } dd { "SHA-256 " span.mono { (run.policy.sha256) } }
                (policy(run.policy))
            }
            details {
                summary { "What the verdicts mean" }
                div.inner { dl {
                    @for verdict in words::VERDICTS { dt { (badge(verdict)) } dd { (words::meaning(verdict)) } }
                } }
            }
        }
    }
}

fn advisories(run: &RunView<'_>) -> Markup {
    let Some(consulted) = run.advisories else {
        return html! { strong { "None were consulted." } " Known vulnerabilities were not looked for." };
    };
    html! {
        (count(consulted.records, "record"))
        @match consulted.newest {
            Some(newest) => {
                ", the newest of " (time(newest)) ", "
                @match plain::days_between(newest, run.generated_at) {
                    Some(days) => { (count(days, "day")) " before these verdicts" }
                    None => "after these verdicts",
                }
            }
            None => ", of unknown age",
        }
        div.quiet.small { "SHA-256 " span.mono { (consulted.sha256) } }
    }
}

fn policy(policy: &Policy) -> Markup {
    let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { shown(&names.join(", "), 600) };
    html! {
        dt { "Refuses" } dd {
            (severity(policy.refuse_at)) " or worse"
            @for (category, at) in &policy.thresholds {
                div { (severity(*at)) " or worse for: " (words::category(*category)) " (" (category.as_str()) ")" }
            }
        }
        dt { "Tests, examples and documentation" } dd { "weigh at most " (severity(policy.supporting_files_at_most)) }
        dt { "Without advisories" } dd {
            @match policy.advisories {
                Advisories::Required => "there is no verdict",
                Advisories::BestEffort => "the verdict stands, and says that none were consulted",
            }
        }
        dt { "Analyzers that must have run" } dd { (list(policy.required_analyzers.iter().map(String::as_str).collect())) }
        dt { "A human must look at" } dd { (list(policy.hold_opaque.iter().map(|kind| words::opaque(*kind)).collect())) }
        dt { "Withdrawn releases" } dd {
            @match policy.yanked { Yanked::Hold => "a human must look", Yanked::Note => "are noted" }
        }
        dt { "Cool-down" } dd {
            @if policy.cool_down_days == 0 { "none" } @else { (count(policy.cool_down_days, "day")) " after the upload" }
        }
        dt { "Waivers" } dd {
            @if policy.waivers.is_empty() { "none" } @else {
                (policy.waivers.len())
                ul { @for waiver in policy.waivers.iter().take(100) { li {
                    span.mono { (shown(&waiver.rule, 80)) } " in " (waiver.package) " "
                    @if let Some(version) = &waiver.version { (shown(version, 64)) }
                    @if let Some(digest) = &waiver.sha256 { span.mono { (digest.short()) } }
                    " until " (waiver.expires) ", accepted by " (shown(&waiver.approver, 120)) ": " (shown(&waiver.reason, 300))
                } } }
                @if policy.waivers.len() > 100 { "and " (policy.waivers.len() - 100) " more" }
            }
        }
    }
}
