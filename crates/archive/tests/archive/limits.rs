//! Every limit at L-1, L and L+1, for both formats.

use gate_archive::forge::{TarEntry, TarGz, Zip};
use gate_archive::{Limits, Refusal};

use super::{read, read_within};

fn check(limits: &Limits, archives: [Vec<u8>; 2], code: Option<&str>) {
    for archive in archives {
        let outcome = read_within(&archive, limits).map(|_| ());
        assert_eq!(outcome.as_ref().err().map(Refusal::code), code, "{outcome:?}");
    }
}

fn files(count: usize, bytes: usize) -> [Vec<u8>; 2] {
    let names: Vec<String> = (0..count).map(|number| format!("f{number}")).collect();
    let zip = names.iter().fold(Zip::new(), |zip, name| zip.file(name, vec![7; bytes]));
    let tar = names.iter().fold(TarGz::new(), |tar, name| tar.file(name, vec![7; bytes]));
    [zip.build(), tar.build()]
}

fn named(name: &str) -> [Vec<u8>; 2] {
    let tar = TarEntry::new(b'0', "n", "x").pax(&[("path", name)]);
    [Zip::new().file(name, "x").build(), TarGz::new().entry(tar).build()]
}

#[test]
fn members() {
    let limits = Limits { members: 5, ..Limits::default() };
    check(&limits, files(4, 1), None);
    check(&limits, files(5, 1), None);
    check(&limits, files(6, 1), Some("too-many-members"));
}

#[test]
fn member_bytes() {
    let limits = Limits { member_bytes: 1000, ..Limits::default() };
    check(&limits, files(1, 999), None);
    check(&limits, files(1, 1000), None);
    check(&limits, files(1, 1001), Some("member-too-large"));
}

#[test]
fn total_bytes() {
    let limits = Limits { total_bytes: 3000, ..Limits::default() };
    check(&limits, files(3, 999), None);
    check(&limits, files(3, 1000), None);
    check(&limits, files(3, 1001), Some("total-too-large"));
}

#[test]
fn ratio() {
    let limits = Limits { ratio: 2, ratio_from_bytes: 100_000, ..Limits::default() };
    check(&limits, files(1, 90_000), None);
    check(&limits, files(1, 200_000), Some("compression-bomb"));
    let zip = Zip::new().file("a", vec![7; 99_999]).build();
    let exact = |ratio_from_bytes| Limits { ratio: 2, ratio_from_bytes, ..Limits::default() };
    assert!(read_within(&zip, &exact(100_000)).is_ok());
    assert!(read_within(&zip, &exact(99_999)).is_ok());
    assert!(read_within(&zip, &exact(99_998)).is_err());
    let stored = Zip::new().stored("a", vec![7; 100_001]).build();
    assert!(read_within(&stored, &limits).is_ok());
    // 1,000 bytes in an archive of n bytes: accepted up to a ratio of exactly 1,000 / n.
    let zip = Zip::new().file("a", vec![7; 1000]).build();
    let n = zip.len() as u64;
    let zip_of = |ratio| Limits { ratio, ratio_from_bytes: 0, ..Limits::default() };
    assert!(read_within(&zip, &zip_of(1000_u64.div_ceil(n))).is_ok());
    assert!(read_within(&zip, &zip_of(1000_u64.div_ceil(n) - 1)).is_err());
}

#[test]
fn path_bytes_and_depth() {
    let limits = Limits { path_bytes: 20, path_depth: 5, ..Limits::default() };
    check(&limits, named(&"n".repeat(19)), None);
    check(&limits, named(&"n".repeat(20)), None);
    check(&limits, named(&"n".repeat(21)), Some("path-too-long"));
    check(&limits, named("a/b/c/d"), None);
    check(&limits, named("a/b/c/d/e"), None);
    check(&limits, named("a/b/c/d/e/f"), Some("path-too-deep"));
    let link = |bytes: usize| {
        let target = "t".repeat(bytes);
        [
            Zip::new().file("a", "x").symlink("l", &target).build(),
            TarGz::new().file("a", "x").symlink("l", &target).build(),
        ]
    };
    check(&limits, link(19), None);
    check(&limits, link(20), None);
    check(&limits, link(21), Some("path-too-long"));
}

#[test]
fn deep_and_many_directories() {
    check(&Limits::default(), named(&["d"; 500].join("/")), Some("path-too-deep"));
    let limits = Limits { members: 10, ..Limits::default() };
    // Two members, yet twelve directories that only their names imply.
    let archive = |depth: usize| {
        let name = |top: &str| format!("{top}/{}/f", vec!["d"; depth].join("/"));
        [
            Zip::new().file(name("a"), "x").file(name("b"), "x").build(),
            TarGz::new().file(&name("a"), "x").file(&name("b"), "x").build(),
        ]
    };
    check(&limits, archive(4), None);
    check(&limits, archive(5), Some("too-many-members"));
}

#[test]
fn names_bytes() {
    let limits = Limits { names_bytes: 10, ..Limits::default() };
    check(&Limits { names_bytes: 11, ..limits.clone() }, files(5, 1), None);
    check(&limits, files(5, 1), None);
    check(&Limits { names_bytes: 9, ..limits }, files(5, 1), Some("names-too-large"));
}

#[test]
fn extension_bytes() {
    let archive = TarGz::new().entry(TarEntry::file("a", "x").pax(&[("comment", &"c".repeat(83))])).build();
    let within = |extension_bytes| read_within(&archive, &Limits { extension_bytes, ..Limits::default() });
    assert!(within(96).is_ok());
    assert!(within(95).is_ok());
    assert_eq!(within(94).unwrap_err().code(), "extension-too-large");
}

#[test]
fn a_million_empty_files_are_too_many() {
    let mut zip = Zip::new();
    for number in 0..200_001 {
        zip = zip.stored(number.to_string(), "");
    }
    assert_eq!(read(&zip.build()).unwrap_err().code(), "too-many-members");
}
