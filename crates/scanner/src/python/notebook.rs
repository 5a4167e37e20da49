//! Jupyter notebooks: every code cell, also those that ruff leaves out because a magic stands in them.

use std::collections::HashSet;

use gate_core::coverage::{CoverageClass, LostReason, OpaqueKind};
use gate_core::finding::Finding;
use ruff_linter::linter::parse_unchecked_source;
use ruff_linter::source_kind::SourceKind;
use ruff_notebook::{Cell, Notebook, SourceValue};
use ruff_python_ast::PySourceType;
use serde::Deserialize;

use super::report::Reporter;
use super::{START, bandit, depth, flow, lost, read};
use crate::context::FileContext;

/// The largest notebook that is read, in bytes of JSON: most of it is pictures. The code in it may have [`super::MAX_BYTES`].
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Cell magics whose text a shell runs.
const SHELLS: &[&str] = &["bash", "sh", "script", "system", "sx", "!", "!!", "cmd", "zsh", "powershell", "shell"];

#[derive(Deserialize)]
struct Head {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    kernelspec: Option<Kernel>,
}

#[derive(Default, Deserialize)]
struct Kernel {
    #[serde(default)]
    name: String,
    #[serde(default)]
    language: Option<String>,
}

/// Reads a notebook.
pub(super) fn analyse(json: &[u8], context: &FileContext<'_>, findings: &mut Vec<Finding>) -> CoverageClass {
    if json.len() > MAX_BYTES {
        return lost(LostReason::Limit, format!("notebook of {} bytes; at most {MAX_BYTES} are read", json.len()));
    }
    let Ok(text) = std::str::from_utf8(json) else {
        return lost(LostReason::Undecodable, "not UTF-8".to_owned());
    };
    let notebook = match Notebook::from_source_code(text) {
        Ok(notebook) => notebook,
        Err(error) => return lost(LostReason::Unparsable, error.to_string()),
    };
    if !notebook.is_python_notebook() && !has_python_kernel(text) {
        return CoverageClass::Opaque { kind: OpaqueKind::OtherSource };
    }
    let all: Vec<(usize, String)> =
        notebook.cells().iter().enumerate().filter_map(|(at, cell)| Some((at + 1, code(cell)?))).collect();
    let size: usize = all.iter().map(|(_, code)| code.len()).sum();
    if size > super::MAX_BYTES {
        return lost(LostReason::Limit, format!("{size} bytes of code; at most {} are read", super::MAX_BYTES));
    }
    if all.iter().any(|(_, code)| code.contains('\0')) {
        return lost(LostReason::Unparsable, "holds a NUL character, which Python refuses in source".to_owned());
    }
    if let Some(why) =
        all.iter().find_map(|(_, code)| depth::too_deep(code)).or_else(|| depth::too_deep(notebook.source_code()))
    {
        return lost(LostReason::Limit, why.to_owned());
    }

    let joined: HashSet<usize> = notebook.index().iter().map(|start| start.cell_index().get()).collect();
    let kind = SourceKind::IpyNotebook(Box::new(notebook));
    let parsed = parse_unchecked_source(&kind, PySourceType::Ipynb, bandit::GRAMMAR);
    let mut broken = None;
    let mut complete = true;
    let whole = parsed.errors().is_empty();
    if let (true, Some(notebook)) = (whole, kind.as_ipy_notebook()) {
        let mut reporter = Reporter::new(context, kind.source_code(), findings).with_cells(notebook.index());
        complete = read(&kind, parsed, PySourceType::Ipynb, &mut reporter);
    }
    for (number, code) in all {
        if whole && joined.contains(&number) {
            continue;
        }
        match cell(number, code, context, findings) {
            Ok(all) => complete &= all,
            Err(why) => {
                broken.get_or_insert(why);
            }
        }
    }
    match broken {
        Some(why) => lost(LostReason::Unparsable, why),
        None => super::coverage(complete),
    }
}

/// The kernel decides what runs the cells; `language_info` is only what the last one said of itself.
fn has_python_kernel(text: &str) -> bool {
    let kernel = serde_json::from_str::<Head>(text).ok().and_then(|head| head.metadata.kernelspec);
    kernel.is_none_or(|kernel| {
        let words = [kernel.name, kernel.language.unwrap_or_default()].map(|word| word.to_ascii_lowercase());
        words.iter().all(String::is_empty) || words.iter().any(|word| word.contains("python") || word.contains("pypy"))
    })
}

fn code(cell: &Cell) -> Option<String> {
    if !matches!(cell, Cell::Code(_)) {
        return None;
    }
    Some(match cell.source() {
        SourceValue::String(text) => text.clone(),
        SourceValue::StringArray(lines) => lines.concat(),
    })
}

/// Reads one cell by itself: whether all of it was, or why it does not parse.
fn cell(number: usize, code: String, context: &FileContext<'_>, findings: &mut Vec<Finding>) -> Result<bool, String> {
    let path = format!("{}#{number}", context.path);
    let context = FileContext { path: &path, ..*context };
    let mut lines = code.lines().filter(|line| !line.trim().is_empty());
    let Some(first) = lines.next() else { return Ok(true) };
    let alone = lines.next().is_none();
    let magic = first.trim_start().strip_prefix("%%").map(|rest| rest.split_whitespace().next().unwrap_or_default());

    if let Some(magic) = magic {
        let shell = SHELLS.contains(&magic);
        let body: String = code
            .lines()
            .map(|line| if line.trim_start().starts_with("%%") { "\n" } else { line }.to_owned() + "\n")
            .collect();
        let parsed = super::parse(&body, PySourceType::Ipynb);
        if !shell && parsed.errors().is_empty() {
            return Ok(python(body, &context, findings));
        }
        text(&code, shell, &context, findings);
        return Ok(true);
    }
    let parsed = super::parse(&code, PySourceType::Ipynb);
    match parsed.errors() {
        [] => Ok(python(code, &context, findings)),
        // `pip install x` without the percent sign.
        _ if alone => {
            text(&code, true, &context, findings);
            Ok(true)
        }
        [error, ..] => {
            text(&code, false, &context, findings);
            if super::lexical::is_text(&parsed, &code) {
                Ok(true)
            } else {
                Err(format!("cell {number}: {}", error.error))
            }
        }
    }
}

fn python(code: String, context: &FileContext<'_>, findings: &mut Vec<Finding>) -> bool {
    let parsed = super::parse(&code, PySourceType::Ipynb);
    let kind = SourceKind::Python { code, is_stub: false };
    let mut reporter = Reporter::new(context, kind.source_code(), findings);
    read(&kind, parsed, PySourceType::Ipynb, &mut reporter)
}

/// A cell that is not Python: what a shell would do with it.
fn text(code: &str, shell: bool, context: &FileContext<'_>, findings: &mut Vec<Finding>) {
    let mut reporter = Reporter::new(context, code, findings);
    super::lexical::search_shell(&mut reporter);
    if shell {
        reporter.report(flow::notebook_rule(code), START);
    }
}
