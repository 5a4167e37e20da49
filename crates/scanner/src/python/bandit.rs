//! Bandit's rules, as ruff runs them. Suppression comments in the scanned file are ignored.

use std::path::Path;
use std::sync::LazyLock;

use ruff_linter::RuleSelector;
use ruff_linter::linter::{LinterResult, ParseSource, lint_only};
use ruff_linter::registry::Linter;
use ruff_linter::rule_selector::PreviewOptions;
use ruff_linter::settings::types::PreviewMode;
use ruff_linter::settings::{LinterSettings, flags};
use ruff_linter::source_kind::SourceKind;
use ruff_python_ast::{ModModule, PySourceType, PythonVersion};
use ruff_python_parser::Parsed;
use ruff_text_size::TextRange;

use super::report::Reporter;
use super::rules;

/// The grammar that sources are parsed by: the newest that ruff knows, so that code for any version is read.
pub(super) const GRAMMAR: PythonVersion = PythonVersion::PY314;

/// Built once: only flake8-bandit's rules, stable and preview, less those that the table turns off.
static SETTINGS: LazyLock<LinterSettings> = LazyLock::new(|| {
    let options = PreviewOptions { mode: PreviewMode::Enabled, require_explicit: false };
    let off = |code: &str| rules::rules().is_ok_and(|rules| rules.get(code).is_some_and(|rule| rule.off.is_some()));
    let selected = RuleSelector::Linter(Linter::Flake8Bandit)
        .rules(&options)
        .filter(|rule| !off(rule.noqa_code().to_string().as_str()));
    let mut settings = LinterSettings::for_rules(selected);
    settings.unresolved_target_version = GRAMMAR.into();
    settings
});

/// Runs the rules over one parsed source.
pub(super) fn check(source: &SourceKind, parsed: Parsed<ModModule>, kind: PySourceType, reporter: &mut Reporter<'_>) {
    let result: LinterResult = lint_only(
        Path::new("module.py"),
        None,
        &SETTINGS,
        flags::Noqa::Disabled,
        source,
        kind,
        ParseSource::Precomputed(parsed),
    );
    for diagnostic in &result.diagnostics {
        // What has no code is about syntax: the parser's own answer decides on that.
        let Some(code) = diagnostic.secondary_code() else { continue };
        let offset = diagnostic.range().map(TextRange::start).unwrap_or_default();
        reporter.report(code.as_str(), offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_that_ruff_has_is_in_the_table_and_no_other() {
        let options = PreviewOptions { mode: PreviewMode::Enabled, require_explicit: false };
        let table = rules::rules().unwrap();
        let mut codes = Vec::new();
        for rule in RuleSelector::Linter(Linter::Flake8Bandit).rules(&options) {
            let code = rule.noqa_code().to_string();
            let row = table.get(&code).unwrap_or_else(|| panic!("{code} is not in the table"));
            let page = format!("https://docs.astral.sh/ruff/rules/{}/", rule.name());
            assert_eq!(row.references, [page], "{code}");
            codes.push(code);
        }
        for id in table.keys().filter(|id| id.starts_with('S')) {
            assert!(codes.contains(id), "{id} is in the table, and ruff does not have it");
        }
        assert!(codes.len() >= 71, "{} rules", codes.len());
    }
}
