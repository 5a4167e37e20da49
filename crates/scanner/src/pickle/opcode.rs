//! The opcodes of pickle protocols 0 to 5 and their arguments (CPython, `Lib/pickletools.py`).

use std::borrow::Cow;

/// The longest text argument that is kept, in bytes; a longer one is skipped and stands for a value that nobody knows.
pub(super) const MAX_KEPT: usize = 4096;

/// One opcode with its argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Op<'a> {
    Proto(u8),
    Frame(u64),
    Mark,
    Stop,
    Pop,
    PopMark,
    Dup,
    Int(i64),
    /// A number, a constant or bytes: data that cannot be called and names nothing.
    Data,
    Text(Cow<'a, str>),
    PersistentId {
        from_stack: bool,
    },
    Reduce,
    Build,
    Append,
    /// `APPENDS`, `ADDITEMS`: everything above the mark goes into the object below it.
    Extend,
    SetItem,
    SetItems,
    Global(Cow<'a, str>, Cow<'a, str>),
    Inst(Cow<'a, str>, Cow<'a, str>),
    StackGlobal,
    Obj,
    NewObj,
    NewObjEx,
    Get(u64),
    Put(u64),
    Memoize,
    /// A tuple of the last 0 to 3 values.
    TupleOf(usize),
    /// A tuple of everything above the mark.
    Tuple,
    /// A list, dictionary or frozen set of everything above the mark.
    Collect,
    EmptyDict,
    Extension(u32),
    /// `NEXT_BUFFER`: a buffer that the loading program supplies.
    NextBuffer,
    ReadonlyBuffer,
}

/// What the bytes at one position are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded<'a> {
    /// The argument is not complete yet.
    NeedMore,
    /// An opcode of so many bytes.
    Op(Op<'a>, usize),
    /// An opcode of `head` bytes whose argument, the next `size` bytes, is not kept.
    Payload { head: usize, size: u64, text: bool },
    /// An opcode whose argument is a line too long to keep; it ends after the next newline.
    LongLine,
    /// No opcode, or an argument that Python refuses too.
    Bad(&'static str),
    /// An argument beyond what this reader is willing to follow, though Python may.
    Limit(&'static str),
}

/// Reads the opcode at the start of `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let Some((&code, rest)) = bytes.split_first() else { return Decoded::NeedMore };
    match code {
        b'(' => simple(Op::Mark),
        b'.' => simple(Op::Stop),
        b'0' => simple(Op::Pop),
        b'1' => simple(Op::PopMark),
        b'2' => simple(Op::Dup),
        b'N' | 0x88 | 0x89 | b']' | 0x8f => simple(Op::Data),
        b'Q' => simple(Op::PersistentId { from_stack: true }),
        b'R' => simple(Op::Reduce),
        b'a' => simple(Op::Append),
        b'b' => simple(Op::Build),
        b'd' | b'l' | 0x91 => simple(Op::Collect),
        b'}' => simple(Op::EmptyDict),
        b'e' | 0x90 => simple(Op::Extend),
        b'o' => simple(Op::Obj),
        b's' => simple(Op::SetItem),
        b'u' => simple(Op::SetItems),
        b't' => simple(Op::Tuple),
        b')' => simple(Op::TupleOf(0)),
        0x85 => simple(Op::TupleOf(1)),
        0x86 => simple(Op::TupleOf(2)),
        0x87 => simple(Op::TupleOf(3)),
        0x81 => simple(Op::NewObj),
        0x92 => simple(Op::NewObjEx),
        0x93 => simple(Op::StackGlobal),
        0x94 => simple(Op::Memoize),
        0x97 => simple(Op::NextBuffer),
        0x98 => simple(Op::ReadonlyBuffer),
        0x80 => fixed::<1>(rest, |[version]| Op::Proto(version)),
        b'K' => fixed::<1>(rest, |b| Op::Int(b[0].into())),
        b'M' => fixed::<2>(rest, |b| Op::Int(u16::from_le_bytes(b).into())),
        b'J' => fixed::<4>(rest, |b| Op::Int(i32::from_le_bytes(b).into())),
        b'G' => fixed::<8>(rest, |_| Op::Data),
        b'h' => fixed::<1>(rest, |b| Op::Get(b[0].into())),
        b'j' => fixed::<4>(rest, |b| Op::Get(u32::from_le_bytes(b).into())),
        b'q' => fixed::<1>(rest, |b| Op::Put(b[0].into())),
        b'r' => fixed::<4>(rest, |b| Op::Put(u32::from_le_bytes(b).into())),
        0x82 => fixed::<1>(rest, |b| Op::Extension(b[0].into())),
        0x83 => fixed::<2>(rest, |b| Op::Extension(u16::from_le_bytes(b).into())),
        0x84 => fixed::<4>(rest, |b| Op::Extension(u32::from_le_bytes(b))),
        0x95 => fixed::<8>(rest, |b| Op::Frame(u64::from_le_bytes(b))),
        0x8a => sized::<1>(rest, Kind::Long),
        0x8b => sized::<4>(rest, Kind::SignedLong),
        b'U' => sized::<1>(rest, Kind::Text),
        b'T' => sized::<4>(rest, Kind::SignedText),
        b'C' => sized::<1>(rest, Kind::Bytes),
        b'B' => sized::<4>(rest, Kind::Bytes),
        0x8e | 0x96 => sized::<8>(rest, Kind::Bytes),
        0x8c => sized::<1>(rest, Kind::Text),
        b'X' => sized::<4>(rest, Kind::Text),
        0x8d => sized::<8>(rest, Kind::Text),
        b'F' => line(rest, |text| is_number(text).then_some(Op::Data)),
        b'I' | b'L' => line(rest, |text| is_number(text).then(|| integer(text))),
        b'P' => line(rest, |_| Some(Op::PersistentId { from_stack: false })),
        b'S' => quoted(rest),
        b'V' => line(rest, |text| Some(Op::Text(raw_unicode_escape(text)))),
        b'g' => memo_line(rest, Op::Get),
        b'p' => memo_line(rest, Op::Put),
        b'c' => two_lines(rest, Op::Global),
        b'i' => two_lines(rest, Op::Inst),
        _ => Decoded::Bad("no such opcode"),
    }
}

/// Whether a program that writes pickles may start one with this opcode, after its protocol.
pub(super) fn may_start(code: u8) -> bool {
    matches!(
        code,
        b'(' | b')'
            | b']'
            | b'}'
            | b'c'
            | b'B'
            | b'C'
            | b'G'
            | b'J'
            | b'K'
            | b'M'
            | b'N'
            | b'T'
            | b'U'
            | b'X'
            | b'V'
            | 0x88..=0x8f | 0x95 | 0x96
    )
}

fn simple(op: Op<'_>) -> Decoded<'_> {
    Decoded::Op(op, 1)
}

fn fixed<const N: usize>(rest: &[u8], op: impl FnOnce([u8; N]) -> Op<'static>) -> Decoded<'_> {
    rest.first_chunk::<N>().map_or(Decoded::NeedMore, |bytes| Decoded::Op(op(*bytes), 1 + N))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    SignedText,
    Bytes,
    Long,
    SignedLong,
}

fn sized<const N: usize>(rest: &[u8], kind: Kind) -> Decoded<'_> {
    let Some(prefix) = rest.first_chunk::<N>() else { return Decoded::NeedMore };
    let mut wide = [0_u8; 8];
    wide[..N].copy_from_slice(prefix);
    let size = u64::from_le_bytes(wide);
    let (head, text) = (1 + N, matches!(kind, Kind::Text | Kind::SignedText));
    if matches!(kind, Kind::SignedText | Kind::SignedLong) && size > i32::MAX as u64 {
        return Decoded::Bad("a negative length");
    }
    if size > i64::MAX as u64 {
        return Decoded::Bad("a length beyond memory");
    }
    let keep = match kind {
        Kind::Text | Kind::SignedText => size <= MAX_KEPT as u64,
        Kind::Long | Kind::SignedLong => size <= 8,
        Kind::Bytes => false,
    };
    if !keep {
        return Decoded::Payload { head, size, text };
    }
    let Some(argument) = rest[N..].get(..usize::try_from(size).unwrap_or(usize::MAX)) else { return Decoded::NeedMore };
    let op = if text { Op::Text(String::from_utf8_lossy(argument)) } else { Op::Int(little_endian(argument)) };
    Decoded::Op(op, head + argument.len())
}

/// A two's complement number of at most 8 bytes.
fn little_endian(bytes: &[u8]) -> i64 {
    let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

/// The line at the start, without its newline; `Err` when there is no newline yet.
fn split_line(bytes: &[u8]) -> Result<&[u8], Decoded<'static>> {
    let seen = &bytes[..bytes.len().min(MAX_KEPT + 1)];
    match seen.iter().position(|&b| b == b'\n') {
        Some(end) => Ok(&bytes[..end]),
        None if seen.len() > MAX_KEPT => Err(Decoded::LongLine),
        None => Err(Decoded::NeedMore),
    }
}

fn line<'a>(rest: &'a [u8], op: impl FnOnce(&'a [u8]) -> Option<Op<'a>>) -> Decoded<'a> {
    match split_line(rest) {
        Ok(text) => {
            op(text).map_or(Decoded::Bad("an argument that cannot be read"), |op| Decoded::Op(op, text.len() + 2))
        }
        Err(decoded) => decoded,
    }
}

fn memo_line(rest: &[u8], op: impl FnOnce(u64) -> Op<'static>) -> Decoded<'_> {
    match line(rest, |text| std::str::from_utf8(text).ok()?.trim().parse().ok().map(op)) {
        Decoded::LongLine if rest.iter().take(MAX_KEPT).all(|&byte| may_be_number(byte)) => {
            Decoded::Limit("a memo key of more than 4096 digits")
        }
        Decoded::LongLine => Decoded::Bad("a memo key that is no number"),
        decoded => decoded,
    }
}

/// What Python's `int` may take in a number, of base 16 too: anything else ends the pickle there.
fn may_be_number(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte.is_ascii_whitespace() || b"\x0bxXoO_+-".contains(&byte)
}

fn two_lines<'a>(rest: &'a [u8], op: impl FnOnce(Cow<'a, str>, Cow<'a, str>) -> Op<'a>) -> Decoded<'a> {
    let lines = split_line(rest).and_then(|module| Ok((module, split_line(&rest[module.len() + 1..])?)));
    match lines {
        Ok((module, name)) => Decoded::Op(
            op(String::from_utf8_lossy(module), String::from_utf8_lossy(name)),
            module.len() + name.len() + 3,
        ),
        // No module or attribute has such a name, so Python stops here as well.
        Err(Decoded::LongLine) => Decoded::Bad("the name of a global is longer than 4096 bytes"),
        Err(decoded) => decoded,
    }
}

/// Whether Python might read this as a number: `1_000`, `0x1f`, `-inf`, `1e5`.
fn is_number(text: &[u8]) -> bool {
    text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.') || b.is_ascii_whitespace())
}

fn integer(text: &[u8]) -> Op<'static> {
    let text = text.strip_suffix(b"L").unwrap_or(text);
    std::str::from_utf8(text).ok().and_then(|t| t.trim().parse().ok()).map_or(Op::Data, Op::Int)
}

/// `STRING`: a quoted literal with Python's escapes.
fn quoted(rest: &[u8]) -> Decoded<'_> {
    if rest.first().is_some_and(|&b| b != b'\'' && b != b'"' && b != b' ') {
        return Decoded::Bad("a STRING without quotes");
    }
    line(rest, |text| {
        let text = text.trim_ascii();
        let (&quote, inner) = text.split_first()?;
        let inner = inner.strip_suffix(&[quote])?;
        Some(Op::Text(unescape(inner)))
    })
}

/// The text that `codecs.escape_decode` makes of a literal's inside.
fn unescape(text: &[u8]) -> Cow<'_, str> {
    if !text.contains(&b'\\') {
        return String::from_utf8_lossy(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escaped, after)) = rest.split_first() else { break };
        rest = after;
        match escaped {
            b'\n' => {}
            b'a' => out.push(7),
            b'b' => out.push(8),
            b't' => out.push(b'\t'),
            b'n' => out.push(b'\n'),
            b'v' => out.push(0x0b),
            b'f' => out.push(0x0c),
            b'r' => out.push(b'\r'),
            b'x' => match digits(rest, 2, 16) {
                Some(value) => {
                    out.push((value & 0xff) as u8);
                    rest = &rest[2..];
                }
                None => out.extend_from_slice(b"\\x"),
            },
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|b| (b'0'..=b'7').contains(*b)).count();
                let octal = rest[..more].iter().fold(u32::from(escaped - b'0'), |n, b| n * 8 + u32::from(b - b'0'));
                out.push((octal & 0xff) as u8);
                rest = &rest[more..];
            }
            other => {
                if !matches!(other, b'\\' | b'\'' | b'"') {
                    out.push(b'\\');
                }
                out.push(other);
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The text of a `UNICODE` argument: `\uXXXX` and `\UXXXXXXXX` are characters.
fn raw_unicode_escape(text: &[u8]) -> Cow<'_, str> {
    if !text.contains(&b'\\') {
        return String::from_utf8_lossy(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let length = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        match (length > 0).then(|| digits(&after[1..], length, 16)).flatten().and_then(char::from_u32) {
            Some(c) => {
                out.push(c);
                rest = &after[1 + length..];
            }
            None => {
                out.push(char::from(byte));
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}

fn digits(bytes: &[u8], count: usize, radix: u32) -> Option<u32> {
    let text = std::str::from_utf8(bytes.get(..count)?).ok()?;
    if text.starts_with('+') { None } else { u32::from_str_radix(text, radix).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_hide_nothing() {
        for (bytes, text) in [
            (&b"S'os'\n"[..], "os"),
            (b"S\"os\"\n", "os"),
            (b"S'\\x6f\\163'\n", "os"),
            (b"Vos\n", "os"),
            (b"V\\u006f\\U00000073\n", "os"),
            (b"\x8c\x02os", "os"),
            (b"X\x02\0\0\0os", "os"),
            (b"\x8d\x02\0\0\0\0\0\0\0os", "os"),
            (b"U\x02os", "os"),
            (b"T\x02\0\0\0os", "os"),
        ] {
            assert_eq!(decode(bytes), Decoded::Op(Op::Text(text.into()), bytes.len()), "{bytes:?}");
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), Decoded::NeedMore, "{bytes:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_text_is_kept_up_to_its_limit() {
        for (size, kept) in [(MAX_KEPT - 1, true), (MAX_KEPT, true), (MAX_KEPT + 1, false)] {
            let mut bytes = vec![b'X'];
            bytes.extend(u32::try_from(size).unwrap().to_le_bytes());
            bytes.resize(5 + size, b'a');
            assert_eq!(matches!(decode(&bytes), Decoded::Op(Op::Text(_), _)), kept, "{size}");
            let line = [b"V", "a".repeat(size).as_bytes(), b"\n"].concat();
            assert_eq!(matches!(decode(&line), Decoded::Op(Op::Text(_), _)), kept, "line of {size}");
            let global = [b"c", "a".repeat(size).as_bytes(), b"\nb\n"].concat();
            assert_eq!(matches!(decode(&global), Decoded::Op(Op::Global(..), _)), kept, "global of {size}");
        }
    }

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (bytes, number) in [
            (&b"K\xff"[..], 255),
            (b"M\x01\x02", 513),
            (b"J\xff\xff\xff\xff", -1),
            (b"I42\n", 42),
            (b"L42L\n", 42),
            (b"\x8a\x02\x00\x80", -32768),
            (b"\x8a\x00", 0),
            (b"\x8b\x03\0\0\0\x00\x00\x01", 65536),
        ] {
            assert_eq!(decode(bytes), Decoded::Op(Op::Int(number), bytes.len()), "{bytes:?}");
        }
        assert_eq!(decode(b"T\xff\xff\xff\xff"), Decoded::Bad("a negative length"));
    }
}
