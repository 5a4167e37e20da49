//! Code that a reader of the file does not see, or reads as something else.

use std::collections::HashSet;

use ruff_python_ast::ModModule;
use ruff_python_ast::token::{TokenKind, Tokens};
use ruff_python_parser::Parsed;
use ruff_text_size::{Ranged, TextSize};
use unicode_normalization::UnicodeNormalization;

use super::report::Reporter;

/// So many blanks between two tokens of one line push the second out of every editor's window.
pub(super) const FAR_RIGHT: usize = 150;

/// Names that an attacker would want to use unseen; a plain spelling of them is no secret.
const SENSITIVE: &[&str] = &[
    "__builtins__",
    "__import__",
    "b64decode",
    "base64",
    "builtins",
    "compile",
    "ctypes",
    "decompress",
    "environ",
    "eval",
    "exec",
    "getattr",
    "globals",
    "import_module",
    "importlib",
    "loads",
    "locals",
    "marshal",
    "open",
    "pickle",
    "popen",
    "requests",
    "run",
    "setattr",
    "socket",
    "subprocess",
    "sys",
    "system",
    "urllib",
    "urlopen",
    "zlib",
];

/// Letters that look like an ASCII letter in most typefaces (a part of Unicode's confusables.txt).
const LOOK_ALIKES: &[(char, char)] = &[
    ('а', 'a'),
    ('с', 'c'),
    ('ԁ', 'd'),
    ('е', 'e'),
    ('һ', 'h'),
    ('і', 'i'),
    ('ј', 'j'),
    ('ӏ', 'l'),
    ('о', 'o'),
    ('р', 'p'),
    ('ԛ', 'q'),
    ('ѕ', 's'),
    ('ѵ', 'v'),
    ('ԝ', 'w'),
    ('х', 'x'),
    ('у', 'y'),
    ('А', 'A'),
    ('В', 'B'),
    ('С', 'C'),
    ('Е', 'E'),
    ('Н', 'H'),
    ('І', 'I'),
    ('Ј', 'J'),
    ('К', 'K'),
    ('М', 'M'),
    ('О', 'O'),
    ('Р', 'P'),
    ('Ѕ', 'S'),
    ('Т', 'T'),
    ('Х', 'X'),
    ('ο', 'o'),
    ('ν', 'v'),
    ('ι', 'i'),
    ('Α', 'A'),
    ('Β', 'B'),
    ('Ε', 'E'),
    ('Ζ', 'Z'),
    ('Η', 'H'),
    ('Ι', 'I'),
    ('Κ', 'K'),
    ('Μ', 'M'),
    ('Ν', 'N'),
    ('Ο', 'O'),
    ('Ρ', 'P'),
    ('Τ', 'T'),
    ('Υ', 'Y'),
    ('Χ', 'X'),
    ('օ', 'o'),
    ('ս', 'u'),
    ('հ', 'h'),
    ('ɑ', 'a'),
    ('ɡ', 'g'),
    ('ı', 'i'),
    ('ɩ', 'i'),
];

/// Runs the rules about what is hidden over one parsed source.
pub(super) fn check(parsed: &Parsed<ModModule>, reporter: &mut Reporter<'_>) {
    far_right(parsed.tokens(), reporter);
    if !reporter.text().is_ascii() {
        bidi(reporter);
        look_alikes(parsed.tokens(), reporter);
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

fn far_right(tokens: &Tokens, reporter: &mut Reporter<'_>) {
    let text = reporter.text().as_bytes();
    let mut probe = FAR_RIGHT - 1;
    while let Some(&byte) = text.get(probe) {
        if !is_blank(byte) {
            probe += FAR_RIGHT;
            continue;
        }
        let start = text[..probe].iter().rposition(|&byte| !is_blank(byte)).map_or(0, |at| at + 1);
        let end = text[probe..].iter().position(|&byte| !is_blank(byte)).map_or(text.len(), |at| probe + at);
        if end - start >= FAR_RIGHT && starts_unseen_code(tokens, start, end) {
            reporter.report("hidden-code", offset(end));
        }
        probe = end + FAR_RIGHT;
    }
}

/// Whether the blanks `start..end` lie between two tokens of one line and the second is code.
fn starts_unseen_code(tokens: &Tokens, start: usize, end: usize) -> bool {
    let next = tokens.partition_point(|token| token.start() < offset(end));
    let (Some(previous), Some(token)) = (next.checked_sub(1).and_then(|at| tokens.get(at)), tokens.get(next)) else {
        return false;
    };
    let on_its_line = previous.end() == offset(start)
        && !matches!(previous.kind(), TokenKind::Newline | TokenKind::NonLogicalNewline | TokenKind::Dedent);
    let code = !matches!(
        token.kind(),
        TokenKind::Comment | TokenKind::Newline | TokenKind::NonLogicalNewline | TokenKind::EndOfFile
    );
    on_its_line && code && token.start() == offset(end)
}

fn bidi(reporter: &mut Reporter<'_>) {
    let text = reporter.text();
    if !text.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')) {
        return;
    }
    let mut at = 0;
    for line in text.split_inclusive(['\n', '\r']) {
        if let Some(first) = unclosed(line).filter(|first| looks_like_code(&line[*first..])) {
            reporter.report("bidi-control", offset(at + first));
        }
        at += line.len();
    }
}

/// Whether there is code, or text that would look like it, where the control moves things about. Without that it is a
/// list of odd characters.
fn looks_like_code(moved: &str) -> bool {
    let end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ')' | ']' | '}' | ':' | '\\');
    moved.trim_end_matches(end).contains(['(', ')', '[', ']', '{', '}', '=', ';', '#', ':', '.'])
}

/// Where the first control opens that the line does not close (Unicode Bidirectional Algorithm, X1 to X8: they end with the line).
fn unclosed(line: &str) -> Option<usize> {
    let mut open: Vec<(usize, bool)> = Vec::new();
    for (at, c) in line.char_indices() {
        match c {
            '\u{202a}' | '\u{202b}' | '\u{202d}' | '\u{202e}' => open.push((at, false)),
            '\u{2066}'..='\u{2068}' => open.push((at, true)),
            '\u{202c}' if open.last().is_some_and(|(_, isolate)| !isolate) => {
                open.pop();
            }
            '\u{2069}' => {
                // Closing an isolate closes every embedding inside it.
                if let Some(isolate) = open.iter().rposition(|(_, isolate)| *isolate) {
                    open.truncate(isolate);
                }
            }
            _ => {}
        }
    }
    open.first().map(|(at, _)| *at)
}

fn look_alikes(tokens: &Tokens, reporter: &mut Reporter<'_>) {
    let text = reporter.text();
    let is_name = |kind| matches!(kind, TokenKind::Name | TokenKind::Match | TokenKind::Case | TokenKind::Type);
    let names =
        || tokens.iter().filter(|token| is_name(token.kind())).map(|token| (&text[token.range()], token.start()));
    let mut odd = names().filter(|(name, _)| !name.is_ascii()).peekable();
    if odd.peek().is_none() {
        return;
    }
    let plain: HashSet<&str> = names().map(|(name, _)| name).filter(|name| name.is_ascii() && name.len() > 2).collect();
    for (name, start) in odd {
        let normal: String = name.nfkc().collect();
        let deceives = if normal.is_ascii() {
            SENSITIVE.contains(&normal.as_str())
        } else {
            look(&normal).is_some_and(|look| SENSITIVE.contains(&look.as_str()) || plain.contains(look.as_str()))
        };
        if deceives {
            reporter.report("homoglyph-identifier", start);
        }
    }
}

/// The ASCII name that this one looks like, when every letter of it looks like one.
fn look(name: &str) -> Option<String> {
    name.chars()
        .map(|c| {
            if c.is_ascii() { Some(c) } else { LOOK_ALIKES.iter().find(|(odd, _)| *odd == c).map(|(_, plain)| *plain) }
        })
        .collect()
}

fn offset(at: usize) -> TextSize {
    TextSize::try_from(at).unwrap_or_default()
}
