//! Refuses source that nests deeper than any person writes, before a recursive parser sees it.
//!
//! This is a cheap scan over bytes that knows strings and comments only roughly. It stops the usual bombs; what slips through
//! meets a big stack and the limits of the child process.

/// The deepest brackets; CPython's tokenizer refuses more ("too many nested parentheses", MAXLEVEL).
pub const MAX_BRACKETS: usize = 200;

/// The most words and operators between two commas, brackets or line ends: each can be one level of the syntax tree
/// (`a+a+a`, `a.b.b`, `not not not`).
pub const MAX_CHAIN: usize = 100_000;

/// The most nested `lambda` in one statement; parsing them takes time that grows with the square of their number.
pub const MAX_LAMBDAS: usize = 1_000;

/// Files up to this many bytes are not scanned: nothing that short overflows the stack or takes noticeable time.
pub const FREE_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Default)]
struct Level {
    chain: usize,
    lambdas: usize,
}

/// Why the source nests too deep, or `None`.
pub(super) fn too_deep(text: &str) -> Option<&'static str> {
    if text.len() <= FREE_BYTES { None } else { scan(text.as_bytes()) }
}

pub(super) fn scan(source: &[u8]) -> Option<&'static str> {
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let mut at = 0;
    while let Some(&byte) = source.get(at) {
        match byte {
            b'#' => {
                at += source[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(source.len() - at);
                continue;
            }
            b'"' | b'\'' => {
                at = string_end(source, at, byte);
                continue;
            }
            b'(' | b'[' | b'{' => {
                level.chain += 1;
                outer.push(std::mem::take(&mut level));
                if outer.len() > MAX_BRACKETS {
                    return Some("brackets nest too deep");
                }
            }
            b')' | b']' | b'}' => {
                level = outer.pop().unwrap_or_default();
            }
            b',' => level.chain = 0,
            b'\n' | b'\r' | b';' => {
                if outer.is_empty() && !escaped(source, at) {
                    level = Level::default();
                }
            }
            b if b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80 => {
                let length =
                    source[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_' || **b >= 0x80).count();
                level.chain += 1;
                if &source[at..at + length] == b"lambda" {
                    level.lambdas += 1;
                    if level.lambdas > MAX_LAMBDAS {
                        return Some("lambda nests too deep");
                    }
                }
                at += length - 1;
            }
            b' ' | b'\t' | 0x0c | b'\\' => {}
            _ => level.chain += 1,
        }
        if level.chain > MAX_CHAIN {
            return Some("an expression is too long");
        }
        at += 1;
    }
    None
}

/// A line break after a backslash does not end a statement.
fn escaped(source: &[u8], at: usize) -> bool {
    let before = &source[..at];
    before.strip_suffix(b"\r").unwrap_or(before).ends_with(b"\\")
}

/// The offset behind the string that opens at `start`.
fn string_end(source: &[u8], start: usize, quote: u8) -> usize {
    let triple = source[start..].starts_with(&[quote; 3]);
    let mut at = start + if triple { 3 } else { 1 };
    while let Some(&byte) = source.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' | b'\r' if !triple => return at,
            b if b == quote && !triple => return at + 1,
            b if b == quote && source[at..].starts_with(&[quote; 3]) => return at + 3,
            _ => {}
        }
        at += 1;
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comments make a short source long enough to be scanned.
    fn long(source: &str) -> String {
        format!("{}{source}\n", "# padding\n".repeat(8_000))
    }

    #[test]
    fn short_files_are_free() {
        let bomb = |length: usize| format!("{}{}", "(".repeat(201), " ".repeat(length - 201));
        assert_eq!(too_deep(&bomb(FREE_BYTES - 1)), None);
        assert_eq!(too_deep(&bomb(FREE_BYTES)), None);
        assert!(too_deep(&bomb(FREE_BYTES + 1)).is_some());
    }

    #[test]
    fn each_limit_is_exact() {
        for (unit, close, limit) in
            [("[", "]", MAX_BRACKETS), ("not ", "", MAX_CHAIN - 1), ("lambda:", "", MAX_LAMBDAS)]
        {
            for (count, fine) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
                let source = long(&format!("{}1{}", unit.repeat(count), close.repeat(count)));
                assert_eq!(too_deep(&source).is_none(), fine, "{unit} {count}");
            }
        }
    }

    #[test]
    fn the_known_bombs_are_seen() {
        for bomb in [
            "x = a".to_owned() + &".b".repeat(120_000),
            "f".to_owned() + &"()".repeat(120_000),
            "1".to_owned() + &"+1".repeat(60_000),
            "-".repeat(120_000) + "1",
            "1".to_owned() + &"\\\n+1".repeat(60_000),
            "(".to_owned() + &"not\n".repeat(120_000) + "1)",
            "lambda a,b:".repeat(5_000) + "1",
            "1 if 1 else ".repeat(30_000) + "1",
            "f\"{".repeat(5_000),
        ] {
            assert!(too_deep(&long(&bomb)).is_some(), "{}", &bomb[..20]);
        }
    }

    #[test]
    fn big_tables_and_long_strings_pass() {
        for source in [
            format!("x = [{}]", "(1, -2, 'a'),\n".repeat(50_000)),
            format!("x = '''{}'''", "((((( not not ".repeat(5_000)),
            format!("x = ({})", "'a + b'\n".repeat(50_000)),
            "x = a.b.c(d)\n".repeat(50_000),
            format!("x = \"{}\"", "\\\"(".repeat(5_000)),
        ] {
            assert_eq!(too_deep(&long(&source)), None, "{}", &source[..20]);
        }
    }
}
