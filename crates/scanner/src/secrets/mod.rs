//! Credentials in text: one pass over every byte for the literals of all rules, and a rule's pattern only around a hit.
//!
//! Reported are tokens whose form or checksum makes them certain, private keys, and at low severity what may be one. The
//! secret itself never leaves this module: a snippet shows at most its first four characters and its length.

mod check;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use gate_core::finding::{Category, FileRole, Finding, SNIPPET_CHARS};
use gate_core::severity::{Confidence, Severity};
use gate_core::text;

pub use self::rules::rules_digest_input;
use self::rules::{Rule, TABLE, Table};
use crate::context::FileContext;

/// Bytes behind a hit that its rule may look at: a private key of 8192 bits with line ends written out.
const AFTER: usize = 16 * 1024;
/// Bytes before a hit that its rule may look at, and that give its column.
const BEFORE: usize = 1024;
/// The most findings of one rule in one file; what is beyond is the same again.
const MAX_OF_A_RULE: usize = 20;

/// Looks for credentials in one file, given in windows of any size.
///
/// Memory: the largest window and 17 KiB. Windows may cut a secret anywhere; it is found once, at its right line.
#[derive(Debug)]
pub struct Scanner {
    buffer: Vec<u8>,
    /// Where in the buffer the hits begin that were not looked at yet.
    fresh: usize,
    /// The line, 1-based, at which the buffer starts.
    line: u32,
    /// Whether the buffer starts with a line.
    line_start: bool,
    hasher: RandomState,
    seen: HashSet<(usize, u64)>,
    counts: Vec<usize>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

/// Reports credentials in a text that is whole in memory; its first line has this number.
pub fn scan(text: &[u8], first_line: u32, ctx: &FileContext<'_>, findings: &mut Vec<Finding>) {
    let mut scanner = Scanner { line: first_line, ..Scanner::new() };
    scanner.look(text, text.len(), ctx, findings);
}

impl Scanner {
    /// For the start of a file.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            fresh: 0,
            line: 1,
            line_start: true,
            hasher: RandomState::new(),
            seen: HashSet::new(),
            counts: Vec::new(),
        }
    }

    /// Takes the next bytes of the file and reports what is complete in them.
    pub fn feed(&mut self, window: &[u8], ctx: &FileContext<'_>, findings: &mut Vec<Finding>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(window);
        let until = buffer.len().saturating_sub(AFTER).max(self.fresh);
        self.look(&buffer, until, ctx, findings);
        let keep = until.saturating_sub(BEFORE);
        self.line = self.line.saturating_add(newlines(&buffer[..keep]));
        self.line_start = if keep == 0 { self.line_start } else { buffer[keep - 1] == b'\n' };
        buffer.drain(..keep);
        self.fresh = until - keep;
        self.buffer = buffer;
    }

    /// Reports what the last bytes hold, at the end of the file.
    pub fn finish(mut self, ctx: &FileContext<'_>, findings: &mut Vec<Finding>) {
        let buffer = std::mem::take(&mut self.buffer);
        self.look(&buffer, buffer.len(), ctx, findings);
    }

    /// Looks at the hits from `self.fresh` up to `until`.
    fn look(&mut self, buffer: &[u8], until: usize, ctx: &FileContext<'_>, findings: &mut Vec<Finding>) {
        let table = match &*TABLE {
            Ok(table) => table,
            Err(error) => return findings.extend(self.broken_table(error, ctx)),
        };
        self.counts.resize(table.rules.len(), 0);
        let from = self.fresh;
        // A literal that begins before `until` may end behind it.
        let end = buffer.len().min(until.saturating_add(LONGEST_LITERAL));
        let mut lines = Lines { at: 0, line: self.line, start: self.line_start.then_some(0) };
        for hit in table.literals.find_iter(&buffer[from..end]) {
            let start = from + hit.start();
            if start >= until {
                continue;
            }
            for &index in &table.owners[hit.pattern().as_usize()] {
                if let Some(found) = examine(&table.rules[index], buffer, start) {
                    self.report(table, index, &found, buffer, &mut lines, ctx, findings);
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the state of one pass")]
    fn report(
        &mut self,
        table: &Table,
        index: usize,
        found: &Found<'_>,
        buffer: &[u8],
        lines: &mut Lines,
        ctx: &FileContext<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let rule = &table.rules[index];
        if self.counts[index] >= MAX_OF_A_RULE || !self.seen.insert((index, self.hasher.hash_one(found.secret))) {
            return;
        }
        self.counts[index] += 1;
        let (line, column) = lines.place(buffer, found.start);
        let severity = match (ctx.role, rule.supporting) {
            (FileRole::Supporting, Some(severity)) => severity,
            _ => rule.severity,
        };
        findings.push(Finding {
            rule: rule.id.clone(),
            title: rule.title.clone(),
            severity,
            confidence: rule.confidence,
            category: rule.category,
            cwe: Some(rule.cwe),
            location: Some(ctx.location(Some(line), column)),
            snippet: Some(masked(found.secret)),
            remedy: rule.remedy.clone(),
            references: rule.references.clone(),
        });
    }

    /// A table that does not load must not read as "no secrets".
    fn broken_table(&mut self, error: &str, ctx: &FileContext<'_>) -> Option<Finding> {
        self.seen.insert((0, 0)).then(|| Finding {
            rule: "secret-rules".to_owned(),
            title: "The rules about secrets do not load, so none were looked for".to_owned(),
            severity: Severity::Unknown,
            confidence: Confidence::High,
            category: Category::Secret,
            cwe: None,
            location: Some(ctx.location(None, None)),
            snippet: Some(text::escape_to(error, SNIPPET_CHARS)),
            remedy: "Report this as a fault of the gate.".to_owned(),
            references: Vec::new(),
        })
    }
}

/// Longer than any literal; a test holds it.
const LONGEST_LITERAL: usize = 32;

/// A secret and where it starts in the buffer.
struct Found<'a> {
    secret: &'a [u8],
    start: usize,
}

/// Whether a rule's pattern and tests hold at a hit of one of its literals.
fn examine<'a>(rule: &Rule, buffer: &'a [u8], hit: usize) -> Option<Found<'a>> {
    let joins = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if rule.lookback == 0 && !rule.before && hit > 0 && joins(buffer[hit - 1]) {
        return None;
    }
    let from = hit.saturating_sub(rule.lookback);
    let text = &buffer[from..buffer.len().min(hit + rule.after)];
    let Some(regex) = rule.regex() else {
        // Cannot be told apart from a secret.
        return Some(Found { secret: &[], start: hit });
    };
    let found = regex.captures(text)?;
    let whole = found.get(0).filter(|whole| from + whole.start() <= hit)?;
    let secret = found.iter().skip(1).flatten().next().unwrap_or(whole);
    let (bytes, start) = (secret.as_bytes(), from + secret.start());
    let known = |part: &String| check::contains(whole.as_bytes(), part.as_bytes());
    let passes = !rule.known.iter().any(known)
        && (rule.entropy <= 0.0 || check::entropy(bytes) >= rule.entropy)
        && rule.check.is_none_or(|check| check.passes(buffer, start, bytes, whole.as_bytes()));
    passes.then_some(Found { secret: bytes, start })
}

/// At most the first four characters, of a short secret fewer, and the length: `ghp_… (40 characters)`.
fn masked(secret: &[u8]) -> String {
    let secret = secret.trim_ascii();
    let shown = 4.min(secret.len() / 4);
    let start: String =
        secret[..shown].iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '·' }).collect();
    format!("{start}… ({} characters)", secret.len())
}

fn newlines(bytes: &[u8]) -> u32 {
    // In bytes, so that the compiler counts many at once.
    let in_chunk = |chunk: &[u8]| chunk.iter().map(|&b| u8::from(b == b'\n')).sum::<u8>();
    bytes.chunks(192).map(|chunk| u32::from(in_chunk(chunk))).sum()
}

/// Counts lines up to where it is asked, from hit to hit.
struct Lines {
    at: usize,
    line: u32,
    /// Where the current line starts; `None` when that is before the buffer.
    start: Option<usize>,
}

impl Lines {
    /// Line and column of this position, 1-based; no column when the line began before the buffer.
    fn place(&mut self, buffer: &[u8], position: usize) -> (u32, Option<u32>) {
        if position >= self.at {
            let passed = &buffer[self.at..position];
            self.line = self.line.saturating_add(newlines(passed));
            if let Some(last) = passed.iter().rposition(|&b| b == b'\n') {
                self.start = Some(self.at + last + 1);
            }
            self.at = position;
            let column = self.start.map(|start| String::from_utf8_lossy(&buffer[start..position]).chars().count() + 1);
            return (self.line, column.and_then(|n| u32::try_from(n).ok()));
        }
        // A match that looks back may start before the one reported last.
        let back = newlines(&buffer[position..self.at]);
        (self.line.saturating_sub(back), None)
    }
}
