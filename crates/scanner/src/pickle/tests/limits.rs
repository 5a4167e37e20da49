//! Each limit at one below, at it, and one above.

use gate_core::coverage::{CoverageClass, LostReason};

use super::CTX;
use super::assembler::assemble;
use crate::pickle::{LIMITS, Limits, analyse_within};

fn over(limits: &Limits, bytes: &[u8]) -> bool {
    let class = analyse_within(limits, &mut &*bytes, &CTX, &mut Vec::new());
    matches!(class, CoverageClass::Lost { reason: LostReason::Limit, .. })
}

#[test]
fn opcodes() {
    // PROTO, the integers and their POPs, NONE, STOP.
    for (count, lost) in [(9, false), (10, false), (11, true)] {
        let program = format!("proto 2; {}none; stop", "none; pop; ".repeat((count - 3) / 2));
        let program = if count % 2 == 0 { program.replacen("none; stop", "none; dup; stop", 1) } else { program };
        assert_eq!(over(&Limits { opcodes: 10, ..LIMITS }, &assemble(&program)), lost, "{count}: {program}");
    }
}

#[test]
fn stack_and_marks() {
    for (count, lost) in [(9, false), (10, false), (11, true)] {
        let limits = Limits { stack: 10, ..LIMITS };
        assert_eq!(over(&limits, &assemble(&format!("proto 2; {}stop", "none; ".repeat(count)))), lost, "{count}");
        let marks = format!("proto 2; {}{}none; stop", "mark; ".repeat(count), "pop-mark; ".repeat(count));
        assert_eq!(over(&limits, &assemble(&marks)), lost, "{count} marks");
    }
}

#[test]
fn memo() {
    // An entry beyond the limit is lost only when it is needed for a name.
    for (earlier, lost) in [(8, false), (9, false), (10, true)] {
        let program = format!(
            "proto 4; {}short collections; memoize; pop; get {earlier}; short OrderedDict; stack-global; stop",
            "none; memoize; pop; ".repeat(earlier)
        );
        assert_eq!(over(&Limits { memo: 10, ..LIMITS }, &assemble(&program)), lost, "{earlier}");
    }
    let sparse = assemble("proto 4; none; put 200; stop");
    assert!(over(&Limits { memo: 10, ..LIMITS }, &sparse));
    for (size, lost) in [(9, true), (10, true), (11, false), (12, false)] {
        let program = "proto 4; short collections; memoize; pop; get 0; short OrderedDict; stack-global; stop";
        assert_eq!(over(&Limits { memo_text: size, ..LIMITS }, &assemble(program)), lost, "{size}");
    }
}

#[test]
fn globals() {
    for (count, lost) in [(9, false), (10, false), (11, true)] {
        let globals: String = (0..count).map(|n| format!("global numpy f{n}; ")).collect();
        let limits = Limits { globals: 10, ..LIMITS };
        assert_eq!(over(&limits, &assemble(&format!("proto 2; {globals}stop"))), lost, "{count}");
    }
}

#[test]
fn pickles() {
    for (count, lost) in [(9, false), (10, false), (11, true)] {
        let bytes = assemble("proto 2; none; stop").repeat(count);
        assert_eq!(over(&Limits { pickles: 10, ..LIMITS }, &bytes), lost, "{count}");
    }
}

#[test]
fn inflated_bytes() {
    use std::io::Write as _;
    for (size, lost) in [(99, false), (100, false), (101, true)] {
        let bytes = assemble(&format!("proto 2; bytes {}; stop", size - 8));
        assert_eq!(bytes.len(), size);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(&bytes).unwrap();
        assert_eq!(over(&Limits { inflated: 100, ..LIMITS }, &zlib.finish().unwrap()), lost, "{size}");
    }
}

#[test]
fn what_was_found_before_a_limit_is_reported() {
    let mut findings = Vec::new();
    let bytes = assemble("proto 2; global os system; unicode id; tuple1; reduce; pop; none; none; none; none; stop");
    analyse_within(&Limits { opcodes: 8, ..LIMITS }, &mut &*bytes, &CTX, &mut findings);
    assert_eq!(super::rules(&findings), ["pickle-unsafe-global"]);
}

#[test]
fn the_search_for_later_pickles_does_not_run_wild() {
    // Every second byte starts a pickle that runs to the end of the window.
    let mut bytes = assemble("proto 2; none; stop");
    bytes.extend([0x80, 2, b'('].repeat(100_000));
    let limits = Limits { opcodes: 1_000_000, ..LIMITS };
    assert!(over(&limits, &bytes));
}

#[test]
fn a_long_memo_key_is_a_limit_if_python_might_read_it_and_no_pickle_otherwise() {
    let keyed = |key: String| [&b"\x80\x02Np"[..], key.as_bytes(), b"\n."].concat();
    for key in ["1".repeat(5000), format!("{}1", " ".repeat(5000)), format!("0x{}1", "0_".repeat(2500))] {
        assert!(over(&LIMITS, &keyed(key)));
    }
    assert!(!over(&LIMITS, &keyed("erspective-viewer, ".repeat(300))));
}
