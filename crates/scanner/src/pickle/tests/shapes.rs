//! What is a pickle and what only looks like one, and what counts when it breaks.

use gate_core::coverage::{CoverageClass, LostReason};
use gate_core::severity::Severity;

use super::assembler::assemble;
use super::{analysed, is_analysed, rules};
use crate::pickle::looks_like_pickle;

#[test]
fn a_pickle_without_a_header_is_found_whatever_it_is_called() {
    let bytes = b"cos\nsystem\n(S'id'\ntR.";
    for name in ["weights.dat", "data.txt", "README", "image.png"] {
        assert!(looks_like_pickle(bytes, name), "{name}");
    }
    let (class, findings) = analysed(bytes);
    assert!(is_analysed(&class));
    assert_eq!(findings[0].severity, Severity::Critical);
    assert_eq!(
        findings[0].snippet.as_deref(),
        Some("os.system, called, runs programs, or gives access to the machine, at byte 0")
    );
}

#[test]
fn what_runs_before_a_break_counts() {
    for (program, lost) in [
        ("proto 2; global os system; unicode id; tuple1; reduce; junk 3", true),
        ("proto 2; global os system; unicode id; tuple1; reduce", true),
        ("proto 2; global os system", true),
        ("global os system; unicode id; tuple1; reduce; junk 3", false),
        ("mark; unicode id; inst os system; pop; pop", false),
    ] {
        let bytes = assemble(program);
        assert!(looks_like_pickle(&bytes, "x"), "{program}");
        let (class, findings) = analysed(&bytes);
        assert_eq!(rules(&findings), ["pickle-unsafe-global"], "{program}");
        let is_lost = matches!(class, CoverageClass::Lost { reason: LostReason::Unparsable, .. });
        assert_eq!((is_lost, is_analysed(&class)), (lost, !lost), "{program}");
    }
}

#[test]
fn a_broken_pickle_is_lost_and_random_data_is_not() {
    let broken = assemble("proto 4; frame 100; empty-list; mark; int 1; int 2; int 3; appends; junk 1");
    assert!(looks_like_pickle(&broken, "x"));
    assert!(matches!(analysed(&broken).0, CoverageClass::Lost { reason: LostReason::Unparsable, .. }));

    // xorshift64: 20,000 files of noise that begin with a header.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut held = 0;
    for round in 0..20_000_u64 {
        let mut bytes = vec![0x80, 2 + (round % 4) as u8];
        for _ in 0..32 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        let (class, findings) = analysed(&bytes);
        assert!(findings.is_empty(), "{findings:?}");
        held += u32::from(matches!(class, CoverageClass::Lost { .. }));
    }
    // One file in 16,000 begins with a header; of those, one in some thousands goes on like a pickle.
    assert!(held <= 10, "{held} of 20,000");
}

#[test]
fn text_is_no_pickle() {
    for text in [
        "",
        ".",
        "N.",
        "I42\n.",
        "cos\nsin\ntan\n",
        "class Foo:\n    pass\n",
        "import os\nos.system('id')\n",
        "(a, b) = 1, 2\n",
        "]\n",
        "Version 1.0\n",
        "collections of things\nOrderedDict and others\n.",
        "S'quoted'\n.",
        "x = 1\n",
        "0.5 0.25\n0.1 0.2\n",
        "{\"a\": 1}\n",
        "Lorem ipsum dolor sit amet\n",
    ] {
        assert!(!looks_like_pickle(text.as_bytes(), "data.txt"), "{text:?}");
        let (class, findings) = analysed(text.as_bytes());
        assert!(matches!(class, CoverageClass::Inert { .. }), "{text:?}: {class:?}");
        assert!(findings.is_empty(), "{text:?}");
    }
}

#[test]
fn long_text_whose_lines_begin_like_globals_is_no_pickle() {
    let fortran = "c-----------------------------------------------------------------------\nc\\BeginDoc\n".repeat(100);
    assert!(!looks_like_pickle(&fortran.as_bytes()[..crate::pickle::PREFIX_BYTES], "a.f"));
    let record = "celery/__init__.py,sha256=abc,1\n".repeat(200);
    assert!(!looks_like_pickle(&record.as_bytes()[..crate::pickle::PREFIX_BYTES], "RECORD"));
}

#[test]
fn a_long_first_argument_hides_nothing() {
    for program in [
        "letters 100000; pop; global os system; string id; tuple1; reduce; stop".to_owned(),
        "proto 2; bytes 300000; pop; global os system; string id; tuple1; reduce; stop".to_owned(),
        format!("unicode {}; pop; global os system; string id; tuple1; reduce; stop", "a".repeat(200_000)),
    ] {
        let bytes = assemble(&program);
        let prefix = &bytes[..crate::pickle::PREFIX_BYTES];
        assert!(looks_like_pickle(prefix, "notes.txt"), "{}", &program[..30]);
        assert_eq!(rules(&analysed(&bytes).1), ["pickle-unsafe-global"], "{}", &program[..30]);
    }
}

#[test]
fn the_memo_is_followed_however_it_is_written() {
    for program in [
        "proto 4; short os; put 7; pop; short system; get 7; pop; get 7; short system; stack-global; stop",
        "proto 4; short os; put-line 7; pop; short system; put 8; pop; get-line 7; long-get 8; stack-global; stop",
        "proto 4; short os; long-put 300; pop; long-get 300; short system; stack-global; stop",
        // MEMOIZE numbers by the count of entries, not by the last key.
        "proto 4; short os; put 5; pop; short posix; memoize; pop; get 1; short system; stack-global; stop",
        "proto 4; short os; dup; memoize; pop; short system; stack-global; stop",
        "proto 4; short numpy; memoize; pop; short os; put 0; pop; get 0; short system; stack-global; stop",
        "proto 4; frame 3; short os; frame 9; short system; proto 4; stack-global; stop",
        "proto 4; short os; mark; int 1; pop-mark; short system; mark; pop; stack-global; stop",
        "proto 2; short os; unicode s\\u0079stem; stack-global; stop",
        "proto 2; short os; string s\\x79stem; stack-global; stop",
    ] {
        assert_eq!(rules(&analysed(&assemble(program)).1), ["pickle-unsafe-global"], "{program}");
    }
}

#[test]
fn one_finding_for_a_global_however_often() {
    let (_, findings) = analysed(&assemble("proto 2; global os system; global os system; global os popen; stop"));
    assert_eq!(findings.len(), 2);
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let mut bytes = assemble("proto 2; empty-tuple");
    bytes.extend(std::iter::repeat_n(0x85, 1_000_000));
    bytes.push(b'.');
    assert!(is_analysed(&analysed(&bytes).0));
    let mut bytes = assemble("proto 2");
    bytes.extend(std::iter::repeat_n(b'(', 1_000_000));
    assert!(matches!(analysed(&bytes).0, CoverageClass::Lost { .. }));
}

#[test]
fn names_reach_the_report_escaped() {
    let (_, findings) = analysed(&assemble("proto 4; short a\u{202e}b; short \u{1b}[31mc; stack-global; stop"));
    let snippet = findings[0].snippet.as_deref().unwrap();
    assert!(snippet.starts_with("a\\u{202e}b.\\u{001b}[31mc, named"), "{snippet}");
}
