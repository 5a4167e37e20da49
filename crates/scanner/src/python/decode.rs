//! Python source bytes to text, by the rules that CPython follows: byte order mark, then the PEP 263 cookie, else UTF-8.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// Why source bytes give no text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes are not in the encoding that they claim, or CPython would not take that encoding.
    Undecodable(String),
    /// The cookie names a codec that turns one text into another, so that a reader sees other code than runs.
    Deceptive {
        /// As the cookie names it.
        codec: String,
        /// 1-based.
        line: u32,
    },
}

/// Codecs that Python knows, that are no character sets in the plain sense, and that hide ASCII code behind other bytes.
/// `cp037` and its kin are EBCDIC.
const DECEPTIVE: &[&str] = &[
    "utf7",
    "unicode11utf7",
    "rot13",
    "unicodeescape",
    "rawunicodeescape",
    "stringescape",
    "punycode",
    "idna",
    "hex",
    "base64",
    "bz2",
    "zip",
    "zlib",
    "uu",
    "quopri",
    "quotedprintable",
    "hz",
    "hzgb",
    "hzgb2312",
    "cp037",
    "ibm037",
    "cp273",
    "cp424",
    "cp500",
    "ibm500",
    "cp875",
    "cp1026",
    "cp1140",
    "ibm1140",
];

/// Python's names of encodings whose ASCII half is ASCII, in the form of [`plain`], with the label by which `encoding_rs` knows
/// a superset. Everything else is undecodable: a codec whose bytes mean something else to CPython could hide code.
const LABELS: &[(&str, &str)] = &[
    ("cp1250", "windows-1250"),
    ("windows1250", "windows-1250"),
    ("cp1251", "windows-1251"),
    ("windows1251", "windows-1251"),
    ("cp1252", "windows-1252"),
    ("windows1252", "windows-1252"),
    ("cp1253", "windows-1253"),
    ("cp1254", "windows-1254"),
    ("cp1255", "windows-1255"),
    ("cp1256", "windows-1256"),
    ("cp1257", "windows-1257"),
    ("cp1258", "windows-1258"),
    ("iso88592", "iso-8859-2"),
    ("latin2", "iso-8859-2"),
    ("iso88593", "iso-8859-3"),
    ("iso88594", "iso-8859-4"),
    ("iso88595", "iso-8859-5"),
    ("cyrillic", "iso-8859-5"),
    ("iso88596", "iso-8859-6"),
    ("iso88597", "iso-8859-7"),
    ("greek", "iso-8859-7"),
    ("iso88598", "iso-8859-8"),
    ("iso88599", "windows-1254"),
    ("latin5", "windows-1254"),
    ("iso885910", "iso-8859-10"),
    ("iso885913", "iso-8859-13"),
    ("iso885914", "iso-8859-14"),
    ("iso885915", "iso-8859-15"),
    ("latin9", "iso-8859-15"),
    ("iso885916", "iso-8859-16"),
    ("koi8r", "koi8-r"),
    ("koi8u", "koi8-u"),
    ("cp866", "ibm866"),
    ("macroman", "macintosh"),
    ("eucjp", "euc-jp"),
    ("ujis", "euc-jp"),
    ("shiftjis", "shift_jis"),
    ("sjis", "shift_jis"),
    ("cp932", "shift_jis"),
    ("gb2312", "gbk"),
    ("euccn", "gbk"),
    ("gbk", "gbk"),
    ("cp936", "gbk"),
    ("gb18030", "gb18030"),
    ("big5", "big5"),
    ("cp950", "big5"),
    ("euckr", "euc-kr"),
    ("cp949", "euc-kr"),
];

/// The text of a source file, without its byte order mark.
pub(super) fn decode(source: &[u8]) -> Result<Cow<'_, str>, Fault> {
    let (body, marked) = match source.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => (rest, true),
        None => (source, false),
    };
    if body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff") {
        return Err(Fault::Undecodable("UTF-16 or UTF-32, which Python does not read as source".to_owned()));
    }
    let Some((cookie, line)) = cookie(body) else { return utf8(body) };
    let codec = plain(&cookie);
    if is_utf8(&codec) {
        return utf8(body);
    }
    if DECEPTIVE.contains(&codec.as_str()) || codec.starts_with("iso2022") || codec.starts_with("utf16") {
        return Err(Fault::Deceptive { codec: cookie, line });
    }
    if marked {
        return Err(Fault::Undecodable(format!("UTF-8 byte order mark, yet the cookie says {cookie}")));
    }
    if matches!(codec.as_str(), "ascii" | "usascii" | "646" | "ansix341968") {
        let text = std::str::from_utf8(body).ok().filter(|text| text.is_ascii());
        return text.map(Cow::Borrowed).ok_or_else(|| wrong(&cookie));
    }
    if is_latin1(&codec) {
        return Ok(encoding_rs::mem::decode_latin1(body));
    }
    let encoding = LABELS.iter().find(|(name, _)| *name == codec).and_then(|(_, label)| {
        let encoding = Encoding::for_label(label.as_bytes())?;
        encoding.is_ascii_compatible().then_some(encoding)
    });
    let Some(encoding) = encoding else {
        return Err(Fault::Undecodable(format!("the cookie names the encoding {cookie}, which is not read here")));
    };
    encoding.decode_without_bom_handling_and_without_replacement(body).ok_or_else(|| wrong(&cookie))
}

fn utf8(body: &[u8]) -> Result<Cow<'_, str>, Fault> {
    match std::str::from_utf8(body) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) => {
            let line = 1 + body[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            Err(Fault::Undecodable(format!("not UTF-8 at line {line}, and no cookie says otherwise")))
        }
    }
}

fn wrong(cookie: &str) -> Fault {
    Fault::Undecodable(format!("not in the encoding that the cookie names: {cookie}"))
}

/// Lower case, letters and digits alone: Python's codec lookup ignores the rest, or nearly so.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// `utf8unix`, `utf8dos`, `utf8sig` and so on: CPython takes every name that starts with `utf-8-`.
fn is_utf8(codec: &str) -> bool {
    matches!(codec, "utf8" | "u8" | "utf" | "cp65001" | "utf8ucs2" | "utf8ucs4")
        || ["utf8unix", "utf8dos", "utf8mac", "utf8sig", "utf8emacs", "utf8with"]
            .iter()
            .any(|name| codec.starts_with(name))
}

fn is_latin1(codec: &str) -> bool {
    matches!(codec, "latin1" | "latin" | "l1" | "iso88591" | "isolatin1" | "8859" | "cp819" | "iso8859")
        || ["latin1unix", "latin1dos", "iso88591unix", "iso88591dos", "isolatin1unix"].contains(&codec)
}

/// The encoding that the first two lines name, and the 1-based line that does. As in CPython's tokenizer, the second line counts
/// only when the first holds nothing but blanks or a comment.
fn cookie(body: &[u8]) -> Option<(String, u32)> {
    let mut rest = body;
    for number in 1..=2 {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let line = &rest[..end];
        let start = line.iter().position(|byte| !matches!(byte, b' ' | b'\t' | 0x0c));
        match start.map(|start| &line[start..]) {
            Some(comment) if comment[0] == b'#' => {
                if let Some(name) = cookie_in(comment) {
                    return Some((name, number));
                }
            }
            Some(_) => return None,
            None => {}
        }
        rest = &rest[end..];
        rest = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
    }
    None
}

fn cookie_in(comment: &[u8]) -> Option<String> {
    let mut from = 0;
    while let Some(at) = comment[from..].windows(6).position(|window| window == b"coding") {
        let after = from + at + 6;
        if matches!(comment.get(after), Some(b':' | b'=')) {
            let name: String = comment[after + 1..]
                .iter()
                .skip_while(|byte| matches!(byte, b' ' | b'\t'))
                .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
                .map(|&byte| char::from(byte))
                .collect();
            if !name.is_empty() {
                return Some(name);
            }
        }
        from = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &[u8]) -> String {
        decode(source).unwrap().into_owned()
    }

    #[test]
    fn utf8_is_the_default_with_and_without_a_mark() {
        assert_eq!(text("é = 1\n".as_bytes()), "é = 1\n");
        assert_eq!(text(b"\xef\xbb\xbfx = 1\n"), "x = 1\n");
        assert_eq!(text(b"\xef\xbb\xbf# coding: utf8\nx"), "# coding: utf8\nx");
        assert_eq!(text(b"# vim: set fileencoding=utf-8-unix :\n"), "# vim: set fileencoding=utf-8-unix :\n");
        assert!(matches!(decode(b"a\nx = '\xe9'\n"), Err(Fault::Undecodable(why)) if why.contains("line 2")));
    }

    #[test]
    fn the_cookie_is_read_where_cpython_reads_it() {
        for source in [
            &b"# -*- coding: latin-1 -*-\n'\xe9'"[..],
            b"#!/usr/bin/python\r\n# vim: fileencoding=iso_8859_1\r\n'\xe9'",
            b"\x0c \t# coding=  Latin1\n'\xe9'",
            b"\n#coding:cp1252\n'\xe9'",
            b"#!x\r# coding: latin1\r'\xe9'",
        ] {
            assert!(text(source).ends_with("'é'"), "{:?}", String::from_utf8_lossy(source));
        }
        for source in [
            &b"x = 1\n# coding: latin-1\n'\xe9'"[..],
            b"\n\n# coding: latin-1\n'\xe9'",
            b"'coding: latin-1'\n'\xe9'",
            b"# coding : latin-1\n'\xe9'",
            b"# coding: coding=latin1\n'\xe9'",
        ] {
            assert!(matches!(decode(source), Err(Fault::Undecodable(_))), "{:?}", String::from_utf8_lossy(source));
        }
    }

    #[test]
    fn multibyte_encodings_are_decoded_and_checked() {
        assert_eq!(text(b"# coding: shift_jis\n'\x83\x5c'"), "# coding: shift_jis\n'ソ'");
        assert_eq!(text(b"# coding: gb2312\n'\xc4\xe3'"), "# coding: gb2312\n'你'");
        assert!(matches!(decode(b"# coding: euc-jp\n'\xff'"), Err(Fault::Undecodable(_))));
        assert!(matches!(decode(b"# coding: ascii\n'\xe9'"), Err(Fault::Undecodable(_))));
    }

    #[test]
    fn codecs_that_hide_code_are_named() {
        for codec in [
            "utf-7",
            "UTF7",
            "rot13",
            "rot_13",
            "unicode_escape",
            "raw-unicode-escape",
            "hz",
            "cp037",
            "utf-16-le",
            "iso-2022-jp",
        ] {
            let source = format!("#!/bin/x\n# coding: {codec}\n");
            assert_eq!(decode(source.as_bytes()), Err(Fault::Deceptive { codec: codec.to_owned(), line: 2 }));
        }
    }

    #[test]
    fn what_python_would_not_read_is_undecodable() {
        for source in [
            &b"\xff\xfei\0"[..],
            b"\xfe\xff\0i",
            b"\xef\xbb\xbf# coding: latin-1\n",
            b"# coding: no-such-codec\n",
            b"# coding: future_fstrings\n",
            b"# coding: mbcs\n",
        ] {
            assert!(matches!(decode(source), Err(Fault::Undecodable(_))), "{:?}", String::from_utf8_lossy(source));
        }
    }
}
