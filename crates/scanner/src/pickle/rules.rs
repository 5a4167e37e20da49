//! The pickle rules and the lists of globals, which are data: `rules/pickle.toml` and `rules/pickle_globals.toml`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use gate_core::finding::{Category, Finding, SNIPPET_CHARS};
use gate_core::severity::{Confidence, Severity};
use gate_core::text;
use serde::Deserialize;

use super::machine::GlobalUse;
use crate::context::FileContext;

const RULES: &str = include_str!("../../rules/pickle.toml");
const GLOBALS: &str = include_str!("../../rules/pickle_globals.toml");

/// Everything that decides what these analyzers report; part of the digest over the scanner's rules.
#[must_use]
pub fn rules_digest_input() -> String {
    format!("{RULES}\n{GLOBALS}")
}

/// The rule tables, or why they do not load.
pub(super) static TABLES: LazyLock<Result<Tables, String>> = LazyLock::new(|| Tables::parse(RULES, GLOBALS));

#[derive(Debug)]
pub(super) struct Tables {
    pub(super) rules: HashMap<String, Rule>,
    pub(super) globals: Globals,
}

/// One rule as `rules/pickle.toml` has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    id: String,
    title: String,
    severity: Severity,
    confidence: Confidence,
    category: Category,
    cwe: u32,
    remedy: String,
    references: Vec<String>,
    /// Samples in the test assembler's words; only tests read them.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(super) fire: Vec<String>,
    #[cfg_attr(not(test), allow(dead_code))]
    pub(super) silent: Vec<String>,
}

/// The lists of globals.
#[derive(Debug, Default)]
pub(super) struct Globals {
    exact: HashMap<(String, String), Entry>,
    modules: HashMap<String, Entry>,
    /// Names that are dangerous wherever they are found.
    names: HashSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// Named, made and called: nothing to say.
    Allowed,
    /// Classes may be called as well: their names begin with a capital.
    AllowedClasses,
    /// Only a call is a problem.
    AllowedUnlessCalled,
    /// Only calls that [`super::machine`] knows to be harmless are allowed; else this rule.
    HarmlessCalls(String, String),
    /// A finding of this rule, and why.
    Reported(String, String),
}

/// A group of `rules/pickle_globals.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// `allowed`, `allowed-classes`, `allowed-unless-called` or a rule's id.
    verdict: String,
    /// With a rule's id: calls with harmless arguments are allowed.
    #[serde(default)]
    harmless_calls: bool,
    /// What such a global can do, or why it is allowed.
    why: String,
    /// Modules with everything below them.
    #[serde(default)]
    modules: Vec<String>,
    /// `module:name`.
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    rule: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GlobalsFile {
    dangerous_names: Vec<String>,
    group: Vec<Group>,
}

/// What is to be said of one global.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement<'a> {
    Silent,
    Report { rule: &'a str, why: &'a str },
}

impl Tables {
    fn parse(rules: &str, globals: &str) -> Result<Self, String> {
        let file: RuleFile = toml::from_str(rules).map_err(|error| format!("pickle.toml: {error}"))?;
        let rules: HashMap<String, Rule> = file.rule.into_iter().map(|rule| (rule.id.clone(), rule)).collect();
        let file: GlobalsFile = toml::from_str(globals).map_err(|error| format!("pickle_globals.toml: {error}"))?;
        let mut lists = Globals { names: file.dangerous_names.into_iter().collect(), ..Globals::default() };
        for group in file.group {
            let entry = match group.verdict.as_str() {
                "allowed" => Entry::Allowed,
                "allowed-classes" => Entry::AllowedClasses,
                "allowed-unless-called" => Entry::AllowedUnlessCalled,
                rule if !rules.contains_key(rule) => return Err(format!("pickle_globals.toml: no rule {rule}")),
                rule if group.harmless_calls => Entry::HarmlessCalls(rule.to_owned(), group.why.clone()),
                rule => Entry::Reported(rule.to_owned(), group.why.clone()),
            };
            for module in group.modules {
                if lists.modules.insert(module.clone(), entry.clone()).is_some() {
                    return Err(format!("pickle_globals.toml: {module} is listed twice"));
                }
            }
            for global in group.names {
                let (module, name) =
                    global.split_once(':').ok_or_else(|| format!("pickle_globals.toml: {global} has no colon"))?;
                if lists.exact.insert((module.to_owned(), name.to_owned()), entry.clone()).is_some() {
                    return Err(format!("pickle_globals.toml: {global} is listed twice"));
                }
            }
        }
        Ok(Self { rules, globals: lists })
    }

    /// A finding of this rule at this offset of the file.
    pub(super) fn finding(&self, rule: &str, what: &str, offset: Option<u64>, ctx: &FileContext<'_>) -> Finding {
        let place = offset.map(|n| format!(" at byte {n}")).unwrap_or_default();
        let snippet = Some(text::escape_to(&format!("{what}{place}"), SNIPPET_CHARS)).filter(|s| !s.is_empty());
        let location = Some(ctx.location(None, None));
        match self.rules.get(rule) {
            Some(rule) => Finding {
                rule: rule.id.clone(),
                title: rule.title.clone(),
                severity: rule.severity,
                confidence: rule.confidence,
                category: rule.category,
                cwe: Some(rule.cwe),
                location,
                snippet,
                remedy: rule.remedy.clone(),
                references: rule.references.clone(),
            },
            // A test holds every name used here against the table; should one slip, it must not read as harmless.
            None => Finding {
                rule: rule.to_owned(),
                title: "A rule of this name is not in the table".to_owned(),
                severity: Severity::Unknown,
                confidence: Confidence::Low,
                category: Category::Pickle,
                cwe: None,
                location,
                snippet,
                remedy: "Report this as a fault of the gate.".to_owned(),
                references: Vec::new(),
            },
        }
    }
}

impl Globals {
    /// What the lists say of a global and its uses: an exact entry first, then a dangerous module, then a dangerous part of
    /// its name, then a module that is allowed.
    pub(super) fn judge(&self, used: &GlobalUse) -> Judgement<'_> {
        let key = (used.module.to_string(), used.name.to_string());
        if let Some(entry) = self.exact.get(&key) {
            return entry.judge(used);
        }
        let module = self.module_entry(&used.module);
        if let Some(entry @ Entry::Reported(..)) = module {
            return entry.judge(used);
        }
        if used.name.split('.').any(|part| self.names.contains(part)) {
            return Judgement::Report { rule: super::UNSAFE, why: "reaches what can run anything" };
        }
        let dunder = used.name.split('.').any(|part| part.starts_with("__") && part.ends_with("__"));
        match module {
            Some(entry) if !dunder => entry.judge(used),
            _ => UNLISTED,
        }
    }

    /// The entry of this module or of the nearest one above it.
    fn module_entry(&self, module: &str) -> Option<&Entry> {
        let mut module = module;
        loop {
            match (self.modules.get(module), module.rsplit_once('.')) {
                (Some(entry), _) => return Some(entry),
                (None, Some((parent, _))) => module = parent,
                (None, None) => return None,
            }
        }
    }
}

const UNLISTED: Judgement<'static> =
    Judgement::Report { rule: super::UNLISTED, why: "is not on the list of known globals" };

impl Entry {
    fn judge(&self, used: &GlobalUse) -> Judgement<'_> {
        match self {
            Self::Allowed => Judgement::Silent,
            Self::AllowedUnlessCalled | Self::AllowedClasses if used.calls == 0 => Judgement::Silent,
            Self::AllowedClasses if is_class_name(&used.name) => Judgement::Silent,
            Self::AllowedUnlessCalled | Self::AllowedClasses => Judgement::Report {
                rule: super::UNLISTED,
                why: "is called, and only its classes are known to be harmless",
            },
            Self::HarmlessCalls(..) if used.pushes <= used.harmless => Judgement::Silent,
            Self::HarmlessCalls(rule, why) | Self::Reported(rule, why) => Judgement::Report { rule, why },
        }
    }
}

/// Whether this is how a class is called: `Hinge`, `_BinMapper`; no attribute of one.
fn is_class_name(name: &str) -> bool {
    !name.contains('.') && name.trim_start_matches('_').starts_with(|c: char| c.is_ascii_uppercase())
}
