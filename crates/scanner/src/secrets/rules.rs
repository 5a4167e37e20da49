//! The table of secrets' rules, `rules/secrets.toml`, and the automaton over all their literals.

use std::sync::{LazyLock, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use gate_core::finding::Category;
use gate_core::severity::{Confidence, Severity};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::check::Check;

const RULES: &str = include_str!("../../rules/secrets.toml");

/// Everything that decides what this analyzer reports; part of the digest over the scanner's rules.
#[must_use]
pub fn rules_digest_input() -> &'static str {
    RULES
}

/// The rules, or why they do not load.
pub(super) static TABLE: LazyLock<Result<Table, String>> = LazyLock::new(|| Table::parse(RULES));

#[derive(Debug)]
pub(super) struct Table {
    pub(super) rules: Vec<Rule>,
    pub(super) literals: AhoCorasick,
    /// For each literal its rules.
    pub(super) owners: Vec<Vec<usize>>,
}

/// One rule; see the head of `rules/secrets.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) severity: Severity,
    pub(super) supporting: Option<Severity>,
    pub(super) confidence: Confidence,
    #[serde(default = "secret")]
    pub(super) category: Category,
    pub(super) cwe: u32,
    pub(super) remedy: String,
    pub(super) references: Vec<String>,
    pub(super) literals: Vec<String>,
    #[serde(default)]
    pub(super) lookback: usize,
    #[serde(default = "after")]
    pub(super) after: usize,
    /// Whether a letter or digit may stand before the literal.
    #[serde(default)]
    pub(super) before: bool,
    pattern: String,
    #[serde(default)]
    pub(super) known: Vec<String>,
    #[serde(default)]
    pub(super) entropy: f64,
    pub(super) check: Option<Check>,
    #[cfg_attr(not(test), allow(dead_code))]
    pub(super) fire: Vec<String>,
    #[cfg_attr(not(test), allow(dead_code))]
    pub(super) silent: Vec<String>,
    /// Compiled when its literal is first met: most files need none.
    #[serde(skip)]
    regex: OnceLock<Option<Regex>>,
}

fn after() -> usize {
    512
}

fn secret() -> Category {
    Category::Secret
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Rule>,
}

impl Rule {
    /// Its pattern; `None` when it does not compile.
    pub(super) fn regex(&self) -> Option<&Regex> {
        let compile = || {
            let anchor = if self.lookback == 0 { r"\A" } else { "" };
            let pattern = format!("{anchor}(?:{})", self.pattern);
            RegexBuilder::new(&pattern).unicode(false).size_limit(4 << 20).build().ok()
        };
        self.regex.get_or_init(compile).as_ref()
    }
}

impl Table {
    fn parse(rules: &str) -> Result<Self, String> {
        let File { rule: rules } = toml::from_str(rules).map_err(|error| format!("secrets.toml: {error}"))?;
        let mut literals: Vec<&str> = rules.iter().flat_map(|rule| &rule.literals).map(String::as_str).collect();
        literals.sort_unstable();
        literals.dedup();
        let owners = literals
            .iter()
            .map(|literal| {
                let owns = |rule: &Rule| rule.literals.iter().any(|own| own == literal);
                rules.iter().enumerate().filter(|(_, rule)| owns(rule)).map(|(index, _)| index).collect()
            })
            .collect();
        // Leftmost matching lets the automaton skip ahead with vector instructions, up to 64 literals: three times as fast as
        // overlapping matches. No literal overlaps another one.
        let literals = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&literals)
            .map_err(|error| format!("secrets.toml: {error}"))?;
        Ok(Self { rules, literals, owners })
    }
}
