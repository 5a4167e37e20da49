//! What string literals hold in an encoded form: a program or code that nobody who reads the file sees.
//!
//! Every literal that could be base64 or hexadecimal digits is decoded, forwards and backwards, and what comes out is
//! decompressed and decoded again. It does not matter who uses the literal, so that no detour hides it.

use std::io::Read as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gate_core::finding::FileRole;
use regex::bytes::Regex;
use ruff_python_ast::token::{Token, TokenKind};
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ModModule, PySourceType, Stmt};
use ruff_python_parser::Parsed;
use ruff_text_size::{Ranged, TextSize};

use super::report::Reporter;
use super::{MAX_BYTES, depth, lexical};
use crate::content::Compression;

/// The shortest literal that is decoded, in characters: 24 bytes as base64, less than any useful payload.
pub const MIN_LITERAL: usize = 32;

/// What decoding may produce for one file, in bytes. A file of [`MAX_BYTES`] needs at most some 12 MiB without compression.
pub const MAX_LITERAL_WORK: usize = 32 * 1024 * 1024;

/// How often what was decoded is decoded again.
const MAX_LAYERS: usize = 8;

/// Words without which no text is code that does harm.
static CODE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?-u)\bimport\b|\bexec\b|\beval\b|__import__|\bos\.|\bsubprocess\b|\bgetattr\b|\bglobals\b").ok()
});

/// Both alphabets are made one before; Python does not look at the bits that are left over either.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Whether the pattern compiles.
pub(super) fn ready() -> bool {
    CODE.is_some()
}

/// Reports literals that hold code or a program; false when there was more to decode than [`MAX_LITERAL_WORK`].
pub(super) fn check(parsed: &Parsed<ModModule>, reporter: &mut Reporter<'_>) -> bool {
    let text = reporter.text();
    let mut probe = Probe { left: MAX_LITERAL_WORK, complete: true };
    let mut found = |literal: &Literal| {
        if literal.value.len() >= MIN_LITERAL
            && let Some(held) = probe.literal(&literal.value)
        {
            reporter.report(held.rule(reporter.context().role), literal.start);
        }
    };
    // Literals side by side or added are one; those of a list may be joined.
    let mut one = Literal::default();
    let mut list = Literal::default();
    let mut groups = 0_usize;
    for token in parsed.tokens() {
        match token.kind() {
            TokenKind::String | TokenKind::FStringMiddle | TokenKind::TStringMiddle => {
                if let Some(value) = digits(token, text) {
                    one.push(&value, token.start());
                    continue;
                }
            }
            TokenKind::FStringStart
            | TokenKind::FStringEnd
            | TokenKind::TStringStart
            | TokenKind::TStringEnd
            | TokenKind::NonLogicalNewline
            | TokenKind::Comment
            | TokenKind::Plus => continue,
            TokenKind::Comma if !one.value.is_empty() => {
                found(&one);
                list.push(&one.value, one.start);
                one.value.clear();
                groups += 1;
                continue;
            }
            _ => {}
        }
        found(&one);
        if groups > 1 || groups == 1 && !one.value.is_empty() {
            list.push(&one.value, one.start);
            found(&list);
        }
        one.value.clear();
        list.value.clear();
        groups = 0;
    }
    probe.complete
}

#[derive(Default)]
struct Literal {
    value: Vec<u8>,
    start: TextSize,
}

impl Literal {
    fn push(&mut self, value: &[u8], start: TextSize) {
        if self.value.is_empty() {
            self.start = start;
        }
        self.value.extend_from_slice(value);
    }
}

/// The digits of a literal without the blanks between them; none for a literal with other characters.
fn digits(token: &Token, text: &str) -> Option<Vec<u8>> {
    let whole = text.get(token.start().to_usize()..token.end().to_usize())?;
    let (body, raw) = if token.kind() == TokenKind::String {
        let quote = whole.find(['"', '\''])?;
        let (prefix, quoted) = whole.split_at(quote);
        let quotes =
            if quoted.len() >= 6 && (quoted.starts_with("\"\"\"") || quoted.starts_with("'''")) { 3 } else { 1 };
        (quoted.get(quotes..quoted.len().checked_sub(quotes)?)?, prefix.contains(['r', 'R']))
    } else {
        (whole, false)
    };
    if body.bytes().all(|byte| is_digit(byte) || byte.is_ascii_whitespace()) {
        return Some(only_digits(body.as_bytes()));
    }
    // Only what is written with escapes has to be read by the parser.
    let escaped = |byte: u8| is_digit(byte) || byte.is_ascii_whitespace() || matches!(byte, b'\\' | b'{' | b'}');
    if raw || !body.bytes().all(escaped) {
        return None;
    }
    let value: Vec<u8> = match *ruff_python_parser::parse_expression(whole).ok()?.into_syntax().body {
        Expr::StringLiteral(node) => node.value.to_str().bytes().collect(),
        Expr::BytesLiteral(node) => node.value.bytes().collect(),
        _ => return None,
    };
    value.iter().all(|&byte| is_digit(byte) || byte.is_ascii_whitespace()).then(|| only_digits(&value))
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

fn only_digits(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

/// What a literal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Code,
    Program,
}

impl Held {
    fn rule(self, role: FileRole) -> &'static str {
        match (self, role) {
            (Self::Code, _) => "hidden-code-literal",
            // Tests of linkers and debuggers carry small object files.
            (Self::Program, FileRole::Supporting) => "test-program-literal",
            (Self::Program, _) => "hidden-program-literal",
        }
    }
}

/// Decodes until its means are used up.
struct Probe {
    /// Bytes that may still be produced.
    left: usize,
    complete: bool,
}

impl Probe {
    fn literal(&mut self, literal: &[u8]) -> Option<Held> {
        self.encoded(literal, MAX_LAYERS)
    }

    /// A text of digits.
    fn encoded(&mut self, text: &[u8], layers: usize) -> Option<Held> {
        let Some(layers) = layers.checked_sub(1) else {
            self.complete = false;
            return None;
        };
        let backwards: Vec<u8> = text.iter().rev().copied().collect();
        for text in [text, &backwards] {
            for decode in [hexadecimal, base64] {
                if self.left < text.len() {
                    self.complete = false;
                    return None;
                }
                self.left -= text.len();
                if let Some(held) = decode(text).and_then(|data| self.data(&data, layers)) {
                    return Some(held);
                }
            }
        }
        None
    }

    /// What came out of a decoder.
    fn data(&mut self, data: &[u8], layers: usize) -> Option<Held> {
        if is_program(data) {
            return Some(Held::Program);
        }
        if let Some(inflated) = self.inflate(data) {
            let Some(layers) = layers.checked_sub(1) else {
                self.complete = false;
                return None;
            };
            return self.data(&inflated, layers);
        }
        if data.len() >= MIN_LITERAL && data.iter().all(|&byte| is_digit(byte) || byte.is_ascii_whitespace()) {
            return self.encoded(&only_digits(data), layers);
        }
        self.is_code(&readable(data)?).then_some(Held::Code)
    }

    /// The content of a compressed stream, as far as it can be had: one that is cut or spoiled is looked at, too.
    fn inflate(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        // RFC 1950, 2.2: deflate with a window of up to 32 KiB, and a check of the two bytes.
        let zlib = matches!(data, [first, second, ..]
            if first & 0x0f == 8 && first >> 4 <= 7 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0);
        let mut out = Vec::new();
        let most = self.left.min(MAX_BYTES) + 1;
        if zlib {
            let _ = flate2::read::ZlibDecoder::new(data).take(most as u64).read_to_end(&mut out);
        } else {
            let _ = Compression::of(data)?.reader(data).ok()?.take(most as u64).read_to_end(&mut out);
        }
        if out.len() == most && (most <= MAX_BYTES || readable(&out).is_some()) {
            // A text of this size is no file that would be read.
            self.complete = false;
        }
        self.left = self.left.saturating_sub(out.len());
        (!out.is_empty()).then_some(out)
    }

    /// Whether a text is Python code that does something, or a command that somebody would want to hide.
    fn is_code(&mut self, text: &str) -> bool {
        if text.lines().any(|line| lexical::line_rule(line).is_some()) {
            return true;
        }
        if CODE.as_ref().is_some_and(|code| !code.is_match(text.as_bytes())) {
            return false;
        }
        if text.len() > MAX_BYTES || depth::scan(text.as_bytes()).is_some() {
            self.complete = false;
            return false;
        }
        let parsed = super::parse(text, PySourceType::Python);
        let mut acts = Acts(false);
        acts.visit_body(parsed.suite());
        parsed.errors().is_empty() && acts.0
    }
}

fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let start = text.iter().position(|&byte| byte != b'=')?;
    let end = text.iter().rposition(|&byte| byte != b'=')? + 1;
    let standard: Vec<u8> = text[start..end]
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    BASE64.decode(standard).ok()
}

/// ELF, PE and Mach-O, by as much of their headers as no other data has.
fn is_program(data: &[u8]) -> bool {
    match data {
        // Class, byte order and version (System V ABI, "ELF Identification").
        [0x7f, b'E', b'L', b'F', 1 | 2, 1 | 2, 1, ..] => data.len() >= 52,
        // The offset of the PE header is at 0x3c (PE format, "MS-DOS Stub").
        [b'M', b'Z', ..] => {
            let field = data.get(0x3c..0x40).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes);
            field
                .and_then(|offset| data.get(usize::try_from(offset).ok()?..))
                .is_some_and(|header| header.starts_with(b"PE\0\0"))
        }
        [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] | [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] => data.len() >= 28,
        _ => false,
    }
}

/// The text that the bytes are: UTF-8, or UTF-16 of ASCII as PowerShell takes it.
fn readable(data: &[u8]) -> Option<String> {
    let (pairs, rest) = data.as_chunks::<2>();
    let narrow = if rest.is_empty() && !pairs.is_empty() && pairs.iter().all(|[_, high]| *high == 0) {
        pairs.iter().map(|[low, _]| *low).collect()
    } else {
        data.to_vec()
    };
    let text = String::from_utf8(narrow).ok()?;
    let control = |c: char| c.is_control() && !c.is_whitespace();
    (!text.contains(control)).then_some(text)
}

/// Looks for an import or a call that runs something.
struct Acts(bool);

impl<'a> Visitor<'a> for Acts {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if matches!(statement, Stmt::Import(_) | Stmt::ImportFrom(_)) {
            self.0 = true;
        }
        if !self.0 {
            visitor::walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        if let Expr::Call(call) = expression {
            let name = match &*call.func {
                Expr::Name(node) => node.id.as_str(),
                Expr::Attribute(node) => node.attr.as_str(),
                _ => "",
            };
            self.0 |= matches!(
                name,
                "exec"
                    | "eval"
                    | "__import__"
                    | "import_module"
                    | "system"
                    | "popen"
                    | "Popen"
                    | "check_output"
                    | "urlopen"
            );
        }
        if !self.0 {
            visitor::walk_expr(self, expression);
        }
    }
}
