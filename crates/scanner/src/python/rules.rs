//! The rule tables: what each rule means and how bad it is. They are data, in `rules/python-*.toml`.

use std::collections::HashMap;
use std::sync::LazyLock;

use gate_core::finding::{Category, Finding, Location, SNIPPET_CHARS};
use gate_core::severity::{Confidence, Severity};
use serde::Deserialize;

const BANDIT: &str = include_str!("../../rules/python-bandit.toml");
const BEHAVIOUR: &str = include_str!("../../rules/python-behaviour.toml");
const RUFF: &str = "ruff_linter 0.16.4";

/// One rule as its table describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Ruff's code (`S602`) or a kebab-case name of ours.
    pub id: String,
    /// One line: what is wrong.
    pub title: String,
    /// How bad; [`Severity::Medium`] or worse means that a reviewer would want to stop the package.
    pub severity: Severity,
    /// How likely a match is what the title says.
    pub confidence: Confidence,
    /// What kind of danger.
    pub category: Category,
    /// The weakness, a CWE number.
    pub cwe: u32,
    /// What the requester or the author can do.
    pub remedy: String,
    /// Pages that explain the rule.
    pub references: Vec<String>,
    /// Why the rule is not run; absent for a rule that is.
    #[serde(default)]
    pub off: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rule: Vec<Rule>,
}

static TABLES: LazyLock<Result<HashMap<String, Rule>, String>> = LazyLock::new(|| {
    let mut rules = HashMap::new();
    for text in [BANDIT, BEHAVIOUR] {
        let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
        for rule in table.rule {
            let id = rule.id.clone();
            if rules.insert(id.clone(), rule).is_some() {
                return Err(format!("rule {id} is twice in the tables"));
            }
        }
    }
    Ok(rules)
});

/// Every rule, by id.
///
/// # Errors
/// Says what is wrong when a table does not load; no file may then count as analysed.
pub fn rules() -> Result<&'static HashMap<String, Rule>, &'static str> {
    TABLES.as_ref().map_err(String::as_str)
}

/// Text that identifies rules and tables: reports made under another text are not used again.
#[must_use]
pub fn rules_digest_input() -> String {
    [RUFF, BANDIT, BEHAVIOUR].join("\n")
}

/// A finding of the rule `id`. A rule that no table names gets [`Severity::Unknown`], which nothing lets in.
pub(super) fn finding(id: &str, location: Location, snippet: Option<String>) -> Finding {
    match rules().ok().and_then(|rules| rules.get(id)) {
        Some(rule) => Finding {
            rule: rule.id.clone(),
            title: rule.title.clone(),
            severity: rule.severity,
            confidence: rule.confidence,
            category: rule.category,
            cwe: Some(rule.cwe),
            location: Some(location),
            snippet,
            remedy: rule.remedy.clone(),
            references: rule.references.clone(),
        },
        None => Finding {
            rule: id.to_owned(),
            title: "Found by a rule that has no rating".to_owned(),
            severity: Severity::Unknown,
            confidence: Confidence::Low,
            category: Category::Code,
            cwe: None,
            location: Some(location),
            snippet,
            remedy: "Report this to the people who run the gate.".to_owned(),
            references: Vec::new(),
        },
    }
}

/// A line as a finding shows it: without the blanks around it, at most [`SNIPPET_CHARS`] characters.
pub(super) fn snippet(line: &str) -> String {
    line.trim().chars().take(SNIPPET_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_load_and_every_rule_is_rated_and_explained() {
        let rules = rules().unwrap();
        for rule in rules.values() {
            assert_ne!(rule.severity, Severity::Unknown, "{}", rule.id);
            for text in [&rule.title, &rule.remedy] {
                assert!(!text.is_empty() && text.len() < 160, "{}: {text:?}", rule.id);
            }
            assert!(rule.references.iter().all(|page| page.starts_with("https://")), "{}", rule.id);
            assert!(!rule.references.is_empty(), "{}", rule.id);
        }
    }

    #[test]
    fn bandit_rules_alone_stop_nothing_and_malware_rules_always_do() {
        for rule in rules().unwrap().values() {
            match rule.category {
                Category::Malware => assert!(rule.severity >= Severity::Medium, "{}", rule.id),
                _ if rule.id.starts_with('S') => assert!(rule.severity < Severity::Medium, "{}", rule.id),
                _ => {}
            }
        }
    }

    #[test]
    fn a_rule_that_no_table_names_is_of_unknown_severity() {
        let location = Location {
            path: "a.py".to_owned(),
            line: Some(1),
            column: None,
            role: gate_core::finding::FileRole::Library,
            installed: true,
        };
        assert_eq!(finding("S999", location, None).severity, Severity::Unknown);
    }

    #[test]
    fn snippets_are_cut_by_characters() {
        for (length, expected) in [(199, 199), (200, 200), (201, 200)] {
            assert_eq!(snippet(&format!("  {}  ", "é".repeat(length))).chars().count(), expected);
        }
    }
}
