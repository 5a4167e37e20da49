use std::collections::BTreeMap;

use gate_core::coverage::{CoverageClass, CoverageCounts};
use gate_core::decision::Decision;
use gate_core::report::ContentReport;
use maud::{Markup, html};

use super::findings::in_files;
use crate::plain::{self, count, shown, thousands};
use crate::words;

/// A listed file: its size, what it is, and the files of the set that hold it.
struct Listed<'a> {
    size: u64,
    what: String,
    holders: Vec<&'a str>,
}

/// The most files that could not be checked whose list is open from the beginning.
const LISTED_OPEN: usize = 10;

type List<'a> = BTreeMap<(&'a str, String), Listed<'a>>;

/// What was looked at and what was not; `cap` is the most entries of a list.
pub(super) fn section(decision: &Decision, reports: &[(&str, &ContentReport)], cap: usize) -> Markup {
    let total = decision.files.iter().fold(CoverageCounts::default(), |sum, file| CoverageCounts {
        analysed: sum.analysed + file.coverage.analysed,
        inert: sum.inert + file.coverage.inert,
        opaque: sum.opaque + file.coverage.opaque,
        lost: sum.lost + file.coverage.lost,
    });
    let (mut lost, mut opaque, mut kinds) = (List::new(), List::new(), BTreeMap::<(&str, &str), u64>::new());
    for (holder, report) in reports {
        for file in &report.coverage {
            let (list, what) = match &file.class {
                CoverageClass::Lost { reason, detail } => {
                    (&mut lost, format!("{}: {}", words::lost(*reason), shown(detail, 300)))
                }
                CoverageClass::Opaque { kind } => (&mut opaque, words::opaque(*kind).to_owned()),
                CoverageClass::Analysed { analyzer } => {
                    *kinds.entry(("analysed", analyzer)).or_default() += 1;
                    continue;
                }
                CoverageClass::Inert { kind } => {
                    *kinds.entry(("inert", kind)).or_default() += 1;
                    continue;
                }
            };
            let entry =
                list.entry((&file.path, what.clone())).or_insert(Listed { size: file.size, what, holders: Vec::new() });
            entry.holders.push(holder);
        }
    }
    let all = total.analysed + total.inert + total.opaque + total.lost;
    let set = decision.files.len();
    html! {
        details open[total.lost > 0] {
            summary {
                "Coverage " span.quiet {
                    (thousands(total.analysed)) " of " (count(all, "file")) " analysed, " (thousands(total.inert)) " inert, "
                    (thousands(total.opaque)) " opaque, "
                    @if total.lost > 0 { strong { (thousands(total.lost)) " could not be checked" } } @else { "none lost" }
                }
            }
            div.inner {
                dl {
                    dt { "Analysed: " (thousands(total.analysed)) }
                    dd { "an analyzer that knows the kind of file read all of it" (names(&kinds, "analysed")) }
                    dt { "Inert: " (thousands(total.inert)) }
                    dd { "nothing in it can run" (names(&kinds, "inert")) }
                    dt { "Opaque: " (thousands(total.opaque)) }
                    dd { "can run, and nothing here reads its kind; the policy says which kinds a human must look at" }
                    dt { "Lost: " (thousands(total.lost)) }
                    dd { "should have been read and was not; one such file and the package is never approved" }
                }
                (listing("Files that could not be checked", &lost, set, cap, lost.len() <= LISTED_OPEN))
                (listing("Opaque files", &opaque, set, cap, false))
            }
        }
    }
}

/// `: python 120, pickle 2`.
fn names(kinds: &BTreeMap<(&str, &str), u64>, class: &str) -> String {
    const NAMES: usize = 12;
    let mut kinds: Vec<_> =
        kinds.iter().filter(|((of, _), _)| *of == class).map(|((_, name), number)| (number, name)).collect();
    if kinds.is_empty() {
        return String::new();
    }
    kinds.sort_by_key(|(number, name)| (std::cmp::Reverse(**number), **name));
    let more = kinds.len().saturating_sub(NAMES);
    let shown: Vec<_> =
        kinds.iter().take(NAMES).map(|(number, name)| format!("{} {}", shown(name, 40), thousands(**number))).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} other kinds") };
    format!(" ({}{more})", shown.join(", "))
}

fn listing(title: &str, list: &List<'_>, set: usize, cap: usize, open: bool) -> Markup {
    if list.is_empty() {
        return html! {};
    }
    html! {
        details open[open] {
            summary { (title) " " span.quiet { (thousands(list.len() as u64)) } }
            div.inner {
                ul.places {
                    @for ((path, _), file) in list.iter().take(cap) {
                        li {
                            span.at { (shown(path, 300)) } " "
                            span.in {
                                (file.what) " · " (plain::size(file.size))
                                @if set > 1 { " · " (in_files(&file.holders, set)) }
                            }
                        }
                    }
                }
                @if list.len() > cap { p.quiet { (count(list.len() - cap, "further file")) ": see the stored content report." } }
            }
        }
    }
}
