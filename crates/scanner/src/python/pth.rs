//! `.pth` files: `site` adds their lines to the search path, and executes those that start with `import`.

use std::collections::HashSet;
use std::sync::LazyLock;

use gate_core::coverage::{CoverageClass, LostReason};
use gate_core::finding::Finding;
use gate_core::severity::Severity;
use regex::RegexSet;
use ruff_linter::source_kind::SourceKind;
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{BoolOp, ExceptHandler, Expr, ExprCall, ModModule, PySourceType, Stmt};

use super::report::Reporter;
use super::{ANALYZER, START, depth, lost, read};
use crate::context::FileContext;

/// How deep statements and code in strings are followed.
const MAX_DEPTH: usize = 4;

/// The statements of setuptools' namespace lines (`*-nspkg.pth`), as several of its versions write them.
const NAMESPACE: &[&str] = &[
    r"^import sys, ?types, ?os$",
    r"^has_mfs = sys\.version_info > \(3, 5\)$",
    r"^p = os\.path\.join\(sys\._getframe\(1\)\.f_locals\['sitedir'\], \*\((?:'\w+',? ?)+\)\)$",
    r"^importlib = (?:has_mfs and )?__import__\('importlib\.util'\)$",
    r"^(?:has_mfs and )?__import__\('importlib\.machinery'\)$",
    r"^m = (?:has_mfs and )?sys\.modules\.setdefault\('[\w.]+', importlib\.util\.module_from_spec\(importlib\.machinery\.PathFinder\.find_spec\('[\w.]+', \[os\.path\.dirname\(p\)\]\)\)\)$",
    r"^m = m or sys\.modules\.setdefault\('[\w.]+', types\.ModuleType\('[\w.]+'\)\)$",
    r"^ie = os\.path\.exists\(os\.path\.join\(p, ?'__init__\.py'\)\)$",
    r"^m = not ie and sys\.modules\.setdefault\('[\w.]+', ?types\.ModuleType\('[\w.]+'\)\)$",
    r"^mp = \(m or \[\]\) and m\.__dict__\.setdefault\('__path__', ?\[\]\)$",
    r"^\(p not in mp\) and mp\.append\(p\)$",
    r"^m and setattr\(sys\.modules\['[\w.]+'\], '\w+', m\)$",
];

/// Lines of setuptools (`distutils-precedence.pth`) and pytest-cov, without blanks, quotes and backslashes.
const KNOWN: &[&str] = &[
    "importos;var=SETUPTOOLS_USE_DISTUTILS;enabled=os.environ.get(var,local)==local;enabledand__import__(_distutils_hack).add_shim();",
    "importos;var=SETUPTOOLS_USE_DISTUTILS;enabled=os.environ.get(var,stdlib)==local;enabledand__import__(_distutils_hack).add_shim();",
    "importos;var=SETUPTOOLS_USE_DISTUTILS;enabled=os.environ.get(var,stdlib)==local;enabledand__import__(_distutils_hack);",
    "importos,sys;exec(ifCOV_CORE_SOURCEinos.environ:ntry:nfrompytest_cov.embedimportinitninit()nexceptExceptionasexc:nsys.stderr.write(npytest-cov:Failedtosetupsubprocesscoverage.nEnviron:{0!r}nException:{1!r}n.format(ndict((k,v)fork,vinos.environ.items()ifk.startswith(COV_CORE)),nexcn)n)n)",
];

static STATEMENTS: LazyLock<Option<RegexSet>> = LazyLock::new(|| RegexSet::new(NAMESPACE).ok());

/// Whether tools write this line into a great many packages, word for word but for names.
fn is_known(line: &str) -> bool {
    let plain: String = line.chars().filter(|c| !c.is_whitespace() && !matches!(c, '\'' | '"' | '\\')).collect();
    let namespace = |set: &RegexSet| {
        line.split(';')
            .map(str::trim)
            .filter(|statement| !statement.is_empty())
            .all(|statement| set.is_match(statement))
    };
    KNOWN.contains(&plain.as_str()) || STATEMENTS.as_ref().is_some_and(namespace)
}

/// Reads a `.pth` file.
pub(super) fn analyse(source: &[u8], context: &FileContext<'_>, findings: &mut Vec<Finding>) -> CoverageClass {
    if source.len() > super::MAX_BYTES {
        return lost(
            LostReason::Limit,
            format!(".pth file of {} bytes; at most {} are read", source.len(), super::MAX_BYTES),
        );
    }
    // Python 3.13 drops a byte order mark; earlier ones read the locale's encoding.
    let source = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
    let Ok(text) = std::str::from_utf8(source) else {
        return lost(LostReason::Undecodable, "not UTF-8".to_owned());
    };
    if text.contains('\0') {
        return lost(LostReason::Unparsable, "holds a NUL character".to_owned());
    }
    let mut broken = None;
    let mut seen = HashSet::new();
    for (number, line) in lines(text) {
        if !is_executed(line) || !seen.insert((number, line)) {
            continue;
        }
        if let Err(why) = executed(number, line, context, findings) {
            broken.get_or_insert(format!("line {number}: {why}"));
        }
    }
    match broken {
        Some(why) => lost(LostReason::Unparsable, why),
        None => CoverageClass::Analysed { analyzer: ANALYZER.to_owned() },
    }
}

/// `site.addpackage` tests for exactly these; 3.13 strips the line's end alone.
fn is_executed(line: &str) -> bool {
    line.starts_with("import ") || line.starts_with("import\t")
}

/// Lines as every Python since 3.10 splits them: up to 3.12 as a text file, then with `str.splitlines`.
fn lines(text: &str) -> Vec<(u32, &str)> {
    let mut all = Vec::new();
    let mut number = 0;
    for line in text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')) {
        number += 1;
        all.push((number, line));
        let others = ['\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
        all.extend(line.split(others).skip(1).map(|part| (number, part)));
        all.extend(line.split(others).take(1).filter(|part| part.len() < line.len()).map(|part| (number, part)));
    }
    all
}

fn executed(number: u32, line: &str, context: &FileContext<'_>, findings: &mut Vec<Finding>) -> Result<(), String> {
    if let Some(why) = depth::too_deep(line) {
        return Err(why.to_owned());
    }
    let parsed = super::parse(line, PySourceType::Python);
    if let [error, ..] = parsed.errors() {
        return Err(error.error.to_string());
    }
    let known = is_known(line);
    let imports_only = parsed.suite().iter().all(|statement| only_imports(statement, 0));
    let readable = is_readable(parsed.suite(), 0);
    let mut inner = Vec::new();
    if !known {
        let kind = SourceKind::Python { code: line.to_owned(), is_stub: false };
        let mut reporter = Reporter::new(context, kind.source_code(), &mut inner).starting_at(number);
        if !read(&kind, parsed, PySourceType::Python, &mut reporter) {
            return Err("more text or code in strings than is followed".to_owned());
        }
    }
    let dangerous =
        inner.iter().any(|finding| finding.severity >= Severity::Medium || is_dangerous(&finding.rule, readable));
    let rule = match (known || imports_only, dangerous) {
        (_, true) => "pth-dangerous-code",
        (true, false) => "pth-import",
        (false, false) => "pth-code",
    };
    Reporter::new(context, line, findings).starting_at(number).report(rule, START);
    findings.extend(inner);
    Ok(())
}

/// Bandit rules and ours about code that can do anything at all. `readable`: what is executed stands in the line, so that it
/// was read as well.
fn is_dangerous(rule: &str, readable: bool) -> bool {
    if matches!(rule, "S102" | "S307") {
        return !readable;
    }
    matches!(rule, "S301" | "S302" | "S310" | "install-time-process" | "install-time-exec" | "install-time-network")
        || rule.starts_with("S60")
}

/// Whether all that is given to `exec` and `eval` is text that stands there.
fn is_readable(suite: &[Stmt], depth: usize) -> bool {
    let mut look = Executed { depth, readable: true };
    look.visit_body(suite);
    look.readable
}

struct Executed {
    depth: usize,
    readable: bool,
}

impl<'a> Visitor<'a> for Executed {
    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Call(call) if is_exec(&call.func) => {
                self.readable &= inner(call, self.depth).is_some_and(|suite| is_readable(&suite.body, self.depth + 1));
                for argument in call.arguments.args.iter().skip(1) {
                    self.visit_expr(argument);
                }
                return;
            }
            other => self.readable &= !is_exec(other),
        }
        visitor::walk_expr(self, expression);
    }
}

fn is_exec(function: &Expr) -> bool {
    function.as_name_expr().is_some_and(|name| matches!(name.id.as_str(), "exec" | "eval"))
}

/// The code of `exec("code")`.
fn inner(call: &ExprCall, depth: usize) -> Option<ModModule> {
    let text = call.arguments.args.first().filter(|_| depth < MAX_DEPTH)?.as_string_literal_expr()?;
    let text = text.value.to_str();
    if depth::too_deep(text).is_some() {
        return None;
    }
    let parsed = super::parse(text, PySourceType::Python);
    parsed.errors().is_empty().then(|| parsed.into_syntax())
}

/// `import a`, `import a; a.b()`, also under a condition or where the import may fail: what it does is in the module, which
/// is scanned as well.
fn only_imports(statement: &Stmt, depth: usize) -> bool {
    let all = |body: &[Stmt]| depth < MAX_DEPTH && body.iter().all(|statement| only_imports(statement, depth + 1));
    match statement {
        Stmt::Import(_) | Stmt::ImportFrom(_) | Stmt::Pass(_) => true,
        Stmt::Try(node) => {
            all(&node.body)
                && node.handlers.iter().all(|ExceptHandler::ExceptHandler(handler)| {
                    handler.type_.as_deref().is_none_or(Expr::is_name_expr) && all(&handler.body)
                })
                && all(&node.orelse)
                && all(&node.finalbody)
        }
        Stmt::Expr(node) => starts(&node.value, depth),
        _ => false,
    }
}

/// `a.b()`, `__import__("a").b()`, either of them if a variable of the environment is set, or an `exec` of that.
fn starts(expression: &Expr, depth: usize) -> bool {
    match expression {
        Expr::Call(call) if is_exec(&call.func) => match inner(call, depth) {
            Some(suite) => {
                call.arguments.len() == 1 && suite.body.iter().all(|statement| only_imports(statement, depth + 1))
            }
            None => false,
        },
        Expr::Call(call) if call.arguments.is_empty() => match &*call.func {
            Expr::Attribute(node) => node.value.is_name_expr() || imports_by_name(&node.value),
            _ => false,
        },
        Expr::If(node) => is_setting(&node.test) && starts(&node.body, depth) && node.orelse.is_none_literal_expr(),
        Expr::BoolOp(node) => match node.values.as_slice() {
            [test, then] if node.op == BoolOp::And => is_setting(test) && starts(then, depth),
            _ => false,
        },
        other => imports_by_name(other),
    }
}

/// `__import__("a")`.
fn imports_by_name(expression: &Expr) -> bool {
    expression.as_call_expr().is_some_and(|call| {
        call.func.as_name_expr().is_some_and(|name| name.id.as_str() == "__import__")
            && matches!(&*call.arguments.args, [Expr::StringLiteral(_)])
            && call.arguments.keywords.is_empty()
    })
}

/// `os.environ.get("NAME")`.
fn is_setting(expression: &Expr) -> bool {
    let Expr::Call(call) = expression else { return false };
    let Expr::Attribute(method) = &*call.func else { return false };
    let Expr::Attribute(owner) = &*method.value else { return false };
    method.attr.as_str() == "get"
        && owner.attr.as_str() == "environ"
        && owner.value.as_name_expr().is_some_and(|name| name.id.as_str() == "os")
        && call.arguments.keywords.is_empty()
        && call
            .arguments
            .args
            .iter()
            .all(|argument| argument.is_string_literal_expr() || argument.is_none_literal_expr())
}
