//! Names: the same table for zip and tar.

use gate_archive::Format;
use gate_archive::forge::{TarEntry, TarGz, Zip, ZipEntry};

use super::{read, refused};

/// Archives of both formats with files of these names.
fn both(names: &[&str]) -> [(Format, Vec<u8>); 2] {
    let zip = names.iter().fold(Zip::new(), |zip, name| zip.file(name, "x"));
    let tar =
        names.iter().fold(TarGz::new(), |tar, name| tar.entry(TarEntry::new(b'0', "n", "x").pax(&[("path", name)])));
    [(Format::Zip, zip.build()), (Format::TarGz, tar.build())]
}

#[track_caller]
fn check(names: &[&str], code: &str) {
    for (format, archive) in both(names) {
        assert_eq!(refused(&archive, format), code, "{format:?} {names:?}");
    }
}

#[test]
fn names_that_land_elsewhere() {
    for (name, code) in [
        ("../x", "parent-segment"),
        ("a/../../x", "parent-segment"),
        ("a/..", "parent-segment"),
        ("..", "parent-segment"),
        ("/etc/passwd", "absolute-path"),
        ("//server/share", "absolute-path"),
        ("\\\\server\\share", "backslash"),
        ("..\\x", "backslash"),
        ("a\\b", "backslash"),
        ("C:/x", "colon"),
        ("C:x", "colon"),
        ("a:b", "colon"),
        ("a/./b", "dot-segment"),
        ("a//b", "empty-segment"),
        ("a\0b", "control-character"),
        ("a\nb", "control-character"),
        ("a\x1b[31mb", "control-character"),
        ("a\x7f", "control-character"),
        ("a\u{85}b", "control-character"),
        ("invoice\u{202e}yp.exe", "deceptive-character"),
        ("a\u{200b}b", "deceptive-character"),
        ("a\u{200d}b", "deceptive-character"),
        ("a\u{fe0f}", "deceptive-character"),
        ("a\u{ff0f}b", "deceptive-character"),
        ("a\u{2215}b", "deceptive-character"),
        ("a/\u{2025}/b", "deceptive-character"),
        ("con", "reserved-name"),
        ("a/NUL.txt", "reserved-name"),
        ("Aux.tar.gz", "reserved-name"),
        ("com1/x", "reserved-name"),
        ("lpt\u{b2}", "reserved-name"),
        ("CONOUT$", "reserved-name"),
        ("con .txt", "reserved-name"),
        ("a.", "trailing-dot-or-space"),
        ("a /b", "trailing-dot-or-space"),
        ("...", "trailing-dot-or-space"),
        ("GIT~1", "short-name"),
        ("PROGRA~12.TXT", "short-name"),
    ] {
        check(&["ok", name], code);
    }
    // A tar's leading `./` is taken off; in a zip, and twice, it is a dot segment like any other.
    assert_eq!(refused(&Zip::new().file("./a", "x").build(), Format::Zip), "dot-segment");
    assert_eq!(refused(&TarGz::new().file("././a", "x").build(), Format::TarGz), "dot-segment");
    assert_eq!(refused(&Zip::new().file("", "x").build(), Format::Zip), "empty-segment");
    assert_eq!(refused(&Zip::new().directory("").file("a", "x").build(), Format::Zip), "empty-segment");
}

#[test]
fn names_that_are_honest() {
    let names = [
        "a",
        "a.b/..c",
        ".github/x",
        "naïve/é.py",
        "数据/测试.py",
        "a b/c",
        "console.py",
        "nullable.py",
        "com.py",
        "com10",
        "backup~",
        "a~b",
        "~1x",
        "x+y=z@v1,2;(3)[4]{5}'6!#$%&",
        "pages/1_📈_Plot.py",
        "pages/2_✈\u{fe0f}_Map.py",
        "pages/3_👩\u{200d}💻.py",
        "Ω/K",
        "__init__.py",
        "-flag",
        "B/x",
        "B/X.y",
        "lptx",
        "conin",
    ];
    for (format, archive) in both(&names) {
        let (members, _) = read(&archive).unwrap_or_else(|refusal| panic!("{format:?}: {refusal}"));
        assert!(members.iter().map(|(member, _)| member.path.as_str()).eq(names));
    }
}

#[test]
fn bad_encodings() {
    for name in [&b"a\xff"[..], "é".as_bytes()] {
        let zip = Zip::new().entry(ZipEntry::file(name, "x").both(|h| h.flags = 0)).build();
        assert_eq!(refused(&zip, Format::Zip), "name-encoding");
    }
    assert_eq!(refused(&Zip::new().file(b"a\xff", "x").build(), Format::Zip), "name-encoding");
    let tar = TarGz::new().entry(TarEntry::file("n", "x").header(|h| h[0] = 0xff)).build();
    assert_eq!(refused(&tar, Format::TarGz), "name-encoding");
}

#[test]
fn names_that_meet() {
    for (names, code) in [
        (&["a/b", "a/b"][..], "duplicate-name"),
        (&["README", "readme"], "name-collision"),
        (&["Lib/a", "lib/b"], "name-collision"),
        (&["a/Lib", "a/lib/b"], "name-collision"),
        (&["\u{e9}", "e\u{301}"], "name-collision"),
        (&["É", "e\u{301}"], "name-collision"),
        (&["stra\u{df}e", "STRASSE"], "name-collision"),
        (&["\u{212a}", "k"], "name-collision"),
        (&["a", "a/b"], "file-directory-clash"),
        (&["a/b", "a"], "file-directory-clash"),
        (&["a/b/c", "a/b"], "file-directory-clash"),
    ] {
        check(names, code);
    }
    let both = |zip: Zip, tar: TarGz, code: &str| {
        assert_eq!(refused(&zip.build(), Format::Zip), code);
        assert_eq!(refused(&tar.build(), Format::TarGz), code);
    };
    both(Zip::new().file("a", "").directory("a"), TarGz::new().file("a", "").directory("a"), "file-directory-clash");
    both(Zip::new().directory("a").file("a", ""), TarGz::new().directory("a").file("a", ""), "file-directory-clash");
    assert_eq!(refused(&Zip::new().directory("a").directory("a").file("b", "").build(), Format::Zip), "duplicate-name");
    // Tars list a directory again, to set its mode at last: nothing differs.
    assert!(read(&TarGz::new().directory("a").directory("a").file("a/b", "").build()).is_ok());
    assert!(read(&Zip::new().file("a/b", "").directory("a").build()).is_ok());
}

#[test]
fn symbolic_links() {
    let check = |links: &[(&str, &str)], code: &str| {
        let zip = links.iter().fold(Zip::new().file("p/q/f", "x"), |zip, (name, target)| zip.symlink(name, target));
        let tar = links.iter().fold(TarGz::new().file("p/q/f", "x"), |tar, (name, target)| tar.symlink(name, target));
        assert_eq!(refused(&zip.build(), Format::Zip), code, "{links:?}");
        assert_eq!(refused(&tar.build(), Format::TarGz), code, "{links:?}");
    };
    for (name, target, code) in [
        ("p/l", "/etc/passwd", "escaping-link"),
        ("p/l", "../../x", "escaping-link"),
        ("l", "..", "escaping-link"),
        ("p/l", "q/../../..", "escaping-link"),
        ("p/l", "q/../f", "escaping-link"),
        ("p/l", "C:/x", "escaping-link"),
        ("p/l", "..\\x", "escaping-link"),
        ("p/l", "a\nb", "escaping-link"),
        ("p/l", "", "escaping-link"),
        ("p/l", "l", "link-loop"),
        ("p/l", "../p/l", "link-loop"),
        ("p/q/f", "x", "duplicate-name"),
        ("p/q", "x", "below-link"),
    ] {
        check(&[(name, target)], code);
    }
    check(&[("p/l", "m"), ("p/m", "l")], "link-loop");
    check(&[("p/l", "m/x"), ("p/m", "l/x")], "link-loop");
    check(&[("p/l", "m"), ("p/m", "n"), ("p/n", "m")], "link-loop");
    // A chain through directories that climbs out although every target looks tame.
    check(&[("p/q/d", "../.."), ("e", "p/q/d/../x")], "escaping-link");

    let below = |zip: Zip, tar: TarGz| {
        assert_eq!(refused(&zip.build(), Format::Zip), "below-link");
        assert_eq!(refused(&tar.build(), Format::TarGz), "below-link");
    };
    below(Zip::new().symlink("l", "q").file("l/x", "1"), TarGz::new().symlink("l", "q").file("l/x", "1"));
    below(Zip::new().file("l/x", "1").symlink("l", "q"), TarGz::new().file("l/x", "1").symlink("l", "q"));

    let encrypted = Zip::new().file("a", "x").entry(ZipEntry::symlink("l", "a").both(|h| h.flags |= 1)).build();
    assert_eq!(refused(&encrypted, Format::Zip), "escaping-link");
}

#[test]
fn a_refusal_names_its_member_harmlessly() {
    let refusal = read(&Zip::new().file("a\u{202e}\x1b[2J\"b", "x").build()).unwrap_err();
    assert_eq!(refusal.member(), Some("a\u{202e}\x1b[2J\"b"));
    assert_eq!(refusal.to_string(), r#"the member "a\u{202e}\u{1b}[2J\"b" has a control character in its name"#);
    let long = read(&Zip::new().file("n".repeat(60_000), "x").build()).unwrap_err();
    assert_eq!(long.code(), "path-too-long");
    assert!(long.to_string().len() < 400);
}
