//! Source that does not parse.
//!
//! It is lost, with one exception. Old packages carry Python 2 files, and templates named `.py`. Such a file is told by a pair
//! of neighbouring tokens, at the very place of the first error, that the grammar of no CPython 3 allows (`print "x"`,
//! `raise E, "x"`, `{% if %}`). CPython 3 compiles a file whole or not at all, so no code in it can run: it is text, as a
//! `.txt` would be, and is searched as text. A pair is judged by the same tokens that the rules use on every other file, so
//! an attacker gains nothing by it. What runs at install time is lost all the same.

use std::sync::LazyLock;

use gate_core::coverage::{CoverageClass, LostReason};
use regex::bytes::{Regex, RegexBuilder};
use ruff_python_ast::ModModule;
use ruff_python_ast::token::{Token, TokenKind};
use ruff_python_parser::{ParseError, ParseErrorType, Parsed};
use ruff_text_size::{Ranged, TextSize};

use super::report::Reporter;
use super::shell::{self, Command};

/// The analyzer's name in the coverage of files that were searched as text.
pub const ANALYZER: &str = "python-lexical";

static OBFUSCATED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r#"\b(?:exec|eval)\b[^\n]{0,160}(?:b64decode|b32decode|a85decode|decompress|fromhex|unhexlify|marshal\.loads|decode\(\s*['"](?:base64|rot.?13|hex|zlib|zip|bz2))"#,
    )
});
static DOWNLOADED: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"\b(?:exec|eval)\b[^\n]{0,160}(?:urlopen|requests\.get|\.recv\()"));

fn pattern(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).unicode(false).build().ok()
}

/// Whether the patterns compile.
pub(super) fn ready() -> bool {
    OBFUSCATED.is_some() && DOWNLOADED.is_some()
}

/// The coverage of a source that does not parse, and what a search of its text finds.
pub(super) fn analyse(parsed: &Parsed<ModModule>, error: &ParseError, reporter: &mut Reporter<'_>) -> CoverageClass {
    search(reporter);
    let at = error.location.start();
    if !super::runs_at_install(reporter.context()) && is_text(parsed, reporter.text()) {
        return CoverageClass::Analysed { analyzer: ANALYZER.to_owned() };
    }
    let before = &reporter.text()[..at.to_usize().min(reporter.text().len())];
    let line = 1 + before.bytes().filter(|&byte| byte == b'\n').count();
    CoverageClass::Lost {
        reason: LostReason::Unparsable,
        detail: format!("syntax error at line {line}: {}", error.error),
    }
}

/// Looks for the worst patterns line by line.
fn search(reporter: &mut Reporter<'_>) {
    by_line(reporter, line_rule);
}

/// The same for text that a shell or another language would run, in a notebook that a person reads first.
pub(super) fn search_shell(reporter: &mut Reporter<'_>) {
    by_line(reporter, |line| match line_rule(line) {
        Some("shell-download-execute") => Some("notebook-download-execute"),
        other => other,
    });
}

fn by_line(reporter: &mut Reporter<'_>, rule: impl Fn(&str) -> Option<&'static str>) {
    let text = reporter.text();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(rule) = rule(line) {
            reporter.report(rule, TextSize::try_from(at).unwrap_or_default());
        }
        at += line.len();
    }
}

/// The rule that a line of code or of a shell script falls under, by its text alone.
pub(super) fn line_rule(line: &str) -> Option<&'static str> {
    let found = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(line.as_bytes()));
    if found(&DOWNLOADED) {
        return Some("downloaded-exec");
    }
    if found(&OBFUSCATED) {
        return Some("obfuscated-exec");
    }
    match shell::command(line) {
        Some(Command::ReverseShell) => Some("reverse-shell"),
        Some(Command::Encoded) => Some("obfuscated-command"),
        Some(Command::DownloadExecute) => Some("shell-download-execute"),
        Some(Command::Network) | None => shell::is_drop(line.trim()).then_some("exfiltration-endpoint"),
    }
}

/// Whether the source is text to every CPython 3; see the top of this file.
pub(super) fn is_text(parsed: &Parsed<ModModule>, text: &str) -> bool {
    parsed.errors().first().is_some_and(|error| no_python3_compiles(parsed.tokens(), text, error))
}

/// Whether the first error is at a pair of tokens that no version of CPython 3 from 3.7 accepts.
fn no_python3_compiles(tokens: &[Token], text: &str, error: &ParseError) -> bool {
    use TokenKind::{
        Async, Await, Class, Colon, Comma, Def, Dot, Equal, False, For, Greater, Import, Int, Lambda, Lbrace, Less,
        Lpar, Name, Newline, None as NoneKind, Percent, Raise, Rpar, String, True, Unknown, With,
    };
    // Tokens behind the error may have been read anew by the parser's recovery; of those only the first is used.
    let next = tokens.partition_point(|token| token.end() <= error.location.start());
    let (Some(second), Some(first)) = (tokens.get(next), next.checked_sub(1).and_then(|at| tokens.get(at))) else {
        return false;
    };
    let line = tokens[..next].iter().rposition(|token| matches!(token.kind(), Newline)).map_or(0, |at| at + 1);
    let line: Vec<&Token> = tokens[line..next].iter().filter(|token| !is_layout(token.kind())).collect();
    match (first.kind(), second.kind()) {
        // Two atoms side by side. Soft keywords have kinds of their own.
        (Name, Name | String | Int) | (Int, Name) => true,
        (Lbrace, Percent) => true,
        (Import | Class | Def, Lbrace) | (Lambda, Lpar) => true,
        (Async, kind) => !matches!(kind, Def | With | For),
        (Dot, Async | Await | NoneKind | True | False) => true,
        // An operator of Python 2. `from __future__ import barry_as_FLUFL` would bring it back.
        (Less, Greater) => first.end() == second.start() && !text.contains("FLUFL"),
        // A keyword where a name was expected, and what follows it.
        (_, Async) => tokens.get(next + 1).is_some_and(|third| !matches!(third.kind(), Def | With | For)),
        (_, NoneKind | True | False) if error.error == ParseErrorType::InvalidAssignmentTarget => true,
        (_, NoneKind | True | False) => tokens.get(next + 1).is_some_and(|third| third.kind() == Equal),
        (Await, Equal | Comma | Rpar | Colon | Dot | Newline) => true,
        (_, Unknown) => matches!(text.as_bytes().get(second.start().to_usize()), Some(b'`' | b'$' | b'?')),
        (Raise, _) => raises_two(&tokens[next..]),
        (Lpar | Comma, Lpar) => line.first().is_some_and(|token| token.kind() == Def) && depth(&line) == 1,
        _ => false,
    }
}

/// `raise E, "x"`: a comma outside brackets. A lambda may have one.
fn raises_two(tokens: &[Token]) -> bool {
    let line = tokens
        .iter()
        .take_while(|token| !matches!(token.kind(), TokenKind::Newline | TokenKind::Lambda | TokenKind::Unknown));
    let line: Vec<&Token> = line.collect();
    (0..line.len()).any(|at| line[at].kind() == TokenKind::Comma && depth(&line[..at]) == 0)
}

fn is_layout(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Indent | TokenKind::Dedent | TokenKind::Comment | TokenKind::NonLogicalNewline)
}

/// Brackets that are open at the end of these tokens.
fn depth(tokens: &[&Token]) -> usize {
    tokens.iter().fold(0, |depth: usize, token| match token.kind() {
        TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => depth + 1,
        TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace => depth.saturating_sub(1),
        _ => depth,
    })
}
