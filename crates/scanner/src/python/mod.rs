//! Python: source files, notebooks and `.pth` files.
//!
//! A source is decoded as CPython would decode it, checked for depth, parsed once, and read twice: by Bandit's rules as ruff
//! runs them (`bandit`) and by our own reading of what the code does (`flow`). What cannot be read is lost coverage, never
//! silence. Call these on a thread with a big stack (1 GiB): the parser is recursive.

mod bandit;
mod decode;
mod depth;
mod flow;
mod hidden;
mod lexical;
mod literals;
mod notebook;
mod pth;
mod report;
mod rules;
mod shell;
mod survey;

use gate_core::coverage::{CoverageClass, LostReason};
use gate_core::finding::{FileRole, Finding};
use ruff_linter::source_kind::SourceKind;
use ruff_python_ast::{ModModule, PySourceType};
use ruff_python_parser::{ParseOptions, Parsed};
use ruff_text_size::TextSize;

use crate::context::FileContext;
use decode::Fault;
use report::Reporter;
use survey::Survey;

pub use depth::{FREE_BYTES, MAX_BRACKETS, MAX_CHAIN, MAX_LAMBDAS};
pub use flow::{MAX_NESTED_BYTES, MAX_TEXT_WORK};
pub use lexical::ANALYZER as LEXICAL_ANALYZER;
pub use literals::{MAX_LITERAL_WORK, MIN_LITERAL};
pub use notebook::MAX_BYTES as MAX_NOTEBOOK_BYTES;
pub use report::MAX_PER_RULE;
pub use rules::{Rule, rules, rules_digest_input};

/// The analyzer's name in coverage.
pub const ANALYZER: &str = "python";

/// The largest source file that is parsed, in bytes. The largest of those in 300 popular releases has 2.8 MB; a parser needs up
/// to some hundred times its input as stack and memory.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Reads a Python source file: findings go to `findings`, the answer says whether it could be read at all.
pub fn analyse(source: &[u8], context: &FileContext<'_>, findings: &mut Vec<Finding>) -> CoverageClass {
    if source.len() > MAX_BYTES {
        return lost(
            LostReason::Limit,
            format!("Python source of {} bytes; at most {MAX_BYTES} are read", source.len()),
        );
    }
    if let Some(why) = unready() {
        return why;
    }
    if is_startup_module(context.path) {
        findings.push(rules::finding("startup-module", context.location(Some(1), None), None));
    }
    let text = match decode::decode(source) {
        Ok(text) => text.into_owned(),
        Err(Fault::Undecodable(why)) => return lost(LostReason::Undecodable, why),
        Err(Fault::Deceptive { codec, line }) => {
            findings.push(rules::finding(
                "deceptive-encoding",
                context.location(Some(line), None),
                Some(codec.clone()),
            ));
            return lost(LostReason::Undecodable, format!("the cookie names the codec {codec}"));
        }
    };
    if text.contains('\0') {
        return lost(LostReason::Unparsable, "holds a NUL character, which Python refuses in source".to_owned());
    }
    if let Some(why) = depth::too_deep(&text) {
        return lost(LostReason::Limit, why.to_owned());
    }
    let parsed = parse(&text, PySourceType::Python);
    let kind = SourceKind::Python { code: text, is_stub: false };
    let mut reporter = Reporter::new(context, kind.source_code(), findings);
    if let [error, ..] = parsed.errors() {
        return lexical::analyse(&parsed, error, &mut reporter);
    }
    coverage(read(&kind, parsed, PySourceType::Python, &mut reporter))
}

/// Reads a Jupyter notebook, at most [`MAX_NOTEBOOK_BYTES`] of JSON.
pub fn analyse_notebook(json: &[u8], context: &FileContext<'_>, findings: &mut Vec<Finding>) -> CoverageClass {
    if let Some(why) = unready() {
        return why;
    }
    notebook::analyse(json, context, findings)
}

/// Reads a `.pth` file, at most [`MAX_BYTES`]: `site` runs each of its lines that starts with `import`.
pub fn analyse_pth(text: &[u8], context: &FileContext<'_>, findings: &mut Vec<Finding>) -> CoverageClass {
    if let Some(why) = unready() {
        return why;
    }
    pth::analyse(text, context, findings)
}

/// Without its rules an analyzer has looked at nothing.
fn unready() -> Option<CoverageClass> {
    let why = match rules() {
        Ok(_) if shell::ready() && lexical::ready() && literals::ready() => return None,
        Ok(_) => "a pattern does not compile",
        Err(why) => why,
    };
    Some(lost(LostReason::AnalyzerDied, format!("the rules do not load: {why}")))
}

/// Runs every rule over a source that parses; false when one of them gave up.
fn read(kind: &SourceKind, parsed: Parsed<ModModule>, source_type: PySourceType, reporter: &mut Reporter<'_>) -> bool {
    let mut survey = survey::survey(parsed.suite(), reporter.text());
    survey.flow |= source_type.is_ipynb() || flow::is_always_read(reporter.context());
    read_by(survey, kind, parsed, source_type, reporter)
}

/// The same, by those readers that `survey` names.
fn read_by(
    survey: Survey,
    kind: &SourceKind,
    parsed: Parsed<ModModule>,
    source_type: PySourceType,
    reporter: &mut Reporter<'_>,
) -> bool {
    hidden::check(&parsed, reporter);
    let mut complete = literals::check(&parsed, reporter);
    complete &= !survey.flow || flow::check(parsed.suite(), survey.drops, reporter);
    if survey.bandit {
        bandit::check(kind, parsed, source_type, reporter);
    }
    complete
}

fn coverage(complete: bool) -> CoverageClass {
    if complete {
        CoverageClass::Analysed { analyzer: ANALYZER.to_owned() }
    } else {
        lost(
            LostReason::Limit,
            "puts together or decodes more text, or holds more code in strings, than is followed".to_owned(),
        )
    }
}

fn parse(text: &str, source_type: PySourceType) -> Parsed<ModModule> {
    let options = ParseOptions::from(source_type).with_target_version(bandit::GRAMMAR);
    match ruff_python_parser::parse_unchecked(text, options).try_into_module() {
        Some(parsed) => parsed,
        // A source type always gives a module; this is what ruff itself falls back to.
        None => ruff_python_parser::parse_unchecked_source(text, source_type),
    }
}

fn lost(reason: LostReason, detail: String) -> CoverageClass {
    CoverageClass::Lost { reason, detail }
}

/// `sitecustomize` and `usercustomize` are imported by `site` when they lie where an installer puts top-level modules.
fn is_startup_module(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let top = folder.is_empty() || folder.ends_with(".data/purelib") || folder.ends_with(".data/platlib");
    top && matches!(file, "sitecustomize.py" | "usercustomize.py")
}

/// Where a member name and a role say when code runs.
fn runs_at_install(context: &FileContext<'_>) -> bool {
    context.role == FileRole::InstallTime || is_startup_module(context.path)
}

/// The rule that a command falls under which a script runs, if any.
pub(crate) fn script_rule(command: &str) -> Option<&'static str> {
    match shell::command(command)? {
        shell::Command::ReverseShell => Some("script-reverse-shell"),
        shell::Command::DownloadExecute => Some("script-download-execute"),
        shell::Command::Encoded => Some("script-encoded-command"),
        shell::Command::Network => None,
    }
}

/// A finding of one of [`rules`] at a line of a script.
pub(crate) fn script_finding(rule: &str, context: &FileContext<'_>, line: u32, text: &str) -> Finding {
    rules::finding(rule, context.location(Some(line), None), Some(rules::snippet(text)))
}

/// The start of a source, for findings about all of it.
const START: TextSize = TextSize::new(0);

#[cfg(test)]
mod tests;
