//! Examples for every rule, and the ways in which a file can be read or lost.

mod bandit;
mod behaviour;
mod files;
mod notebooks;

use std::collections::BTreeSet;

use gate_core::coverage::CoverageClass;
use gate_core::finding::{FileRole, Finding};

use crate::context::FileContext;

/// Findings and coverage of a source with this path and the role that the path tells.
fn scan(path: &str, source: &[u8]) -> (Vec<Finding>, CoverageClass) {
    let context = FileContext { path, role: FileRole::of(path), installed: true };
    let mut findings = Vec::new();
    let class = match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("ipynb") => super::analyse_notebook(source, &context, &mut findings),
        Some("pth") => super::analyse_pth(source, &context, &mut findings),
        _ => super::analyse(source, &context, &mut findings),
    };
    (findings, class)
}

/// The rules that a source sets off; it must be readable.
fn rules_of(path: &str, source: &str) -> BTreeSet<String> {
    let (findings, class) = scan(path, source.as_bytes());
    assert!(matches!(class, CoverageClass::Analysed { .. }), "{class:?} for {source}");
    findings.into_iter().map(|finding| finding.rule).collect()
}

/// The parts in one string: attack samples are put together here and never lie in a file.
fn build(parts: &[&str]) -> String {
    parts.concat()
}

#[test]
fn every_rule_has_an_example_that_fires_and_one_that_stays_silent() {
    let fires: BTreeSet<&str> =
        bandit::FIRES.iter().map(|(id, _)| *id).chain(behaviour::fires().into_iter().map(|case| case.0)).collect();
    let silent: BTreeSet<&str> =
        bandit::SILENT.iter().map(|(id, _)| *id).chain(behaviour::silent().into_iter().map(|case| case.0)).collect();
    for rule in super::rules().unwrap().values() {
        if rule.off.is_none() {
            assert!(fires.contains(rule.id.as_str()), "{} has no example that fires", rule.id);
        }
        assert!(silent.contains(rule.id.as_str()), "{} has no example that stays silent", rule.id);
    }
    for id in fires.iter().chain(&silent) {
        assert!(super::rules().unwrap().contains_key(*id), "{id} is no rule");
    }
}
