//! What real tools write is accepted, and read as it was written.

use gate_archive::forge::{TarEntry, TarGz, Zip, ZipEntry, sdist, wheel};
use gate_archive::{Format, Kind, Limits};

use super::{read, read_within, refused};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn a_git_archive_zip() {
    let zip = Zip::new()
        .comment(COMMIT)
        .directory("repo-1")
        .file("repo-1/README.md", "# read\n")
        .executable("repo-1/run.sh", "#!/bin/sh\n")
        .directory("repo-1/submodule")
        .symlink("repo-1/docs/README.md", "../README.md")
        .symlink("repo-1/latest", "docs")
        .symlink("repo-1/broken", "nowhere")
        .file("repo-1/donn\u{e9}es.txt", "")
        .build();
    let (members, summary) = read(&zip).unwrap();
    assert_eq!((summary.format, summary.members, summary.files, summary.total_bytes), (Format::Zip, 8, 3, 40));
    assert_eq!(members[4].0.kind, Kind::Symlink { target: "../README.md".to_owned() });
    let executable: Vec<_> = members.iter().filter(|(m, _)| m.executable).map(|(m, _)| m.path.as_str()).collect();
    assert_eq!(executable, ["repo-1/run.sh"]);
}

#[test]
fn a_git_archive_tar() {
    let tar = TarGz::new()
        .global_pax(&[("comment", COMMIT)])
        .directory("repo-1")
        .file("repo-1/README.md", "# read\n")
        .executable("repo-1/run.sh", "#!/bin/sh\n")
        .symlink("repo-1/docs/README.md", "../README.md")
        .file(&format!("repo-1/{}/x.py", "long".repeat(40)), "x")
        .build();
    let (members, summary) = read(&tar).unwrap();
    assert_eq!((summary.members, summary.files, summary.total_bytes), (5, 3, 18));
    assert!(members[2].0.executable);
}

#[test]
fn a_tar_of_the_current_directory() {
    let tar = TarGz::new()
        .entry(TarEntry::new(b'5', "./", []))
        .file("./setup.py", "x")
        .directory("./pkg")
        .executable("./pkg/a", "y")
        .hard_link("./pkg/b", "./pkg/a")
        .build();
    let (members, summary) = read(&tar).unwrap();
    let paths: Vec<_> = members.iter().map(|(member, _)| member.path.as_str()).collect();
    assert_eq!(paths, ["setup.py", "pkg", "pkg/a", "pkg/b"]);
    assert_eq!(members[3].0.kind, Kind::HardLink { target: "pkg/a".to_owned() });
    assert_eq!((summary.members, summary.files, summary.total_bytes), (5, 3, 2));
}

#[test]
fn old_and_gnu_headers() {
    let tar = TarGz::new()
        .entry(TarEntry::new(0, "old/", []).header(|h| h[257..265].fill(0)))
        .entry(TarEntry::new(0, "old/file", "x").header(|h| h[257..265].fill(0)))
        .entry(TarEntry::file("gnu", "y").header(|h| h[257..265].copy_from_slice(b"ustar  \0")))
        .entry(TarEntry::file("setuid", "z").mode("0004755"))
        .entry(TarEntry::file("name", "w").header(|h| h[345..348].copy_from_slice(b"pre")))
        .build();
    let (members, _) = read(&tar).unwrap();
    let paths: Vec<_> = members.iter().map(|(member, _)| member.path.as_str()).collect();
    assert_eq!(paths, ["old", "old/file", "gnu", "setuid", "pre/name"]);
    assert_eq!(members[0].0.kind, Kind::Directory);
}

#[test]
fn zip64_with_70_070_entries() {
    let mut zip = Zip::new().comment(COMMIT);
    for number in 0..70_070 {
        zip = zip.stored(format!("repo/d{}/f{number}", number % 100), "x");
    }
    let (_, summary) = read(&zip.build()).unwrap();
    assert_eq!(summary.members, 70_070);
}

#[test]
fn sizes_that_the_zip64_field_repeats() {
    let repeats = |size: u64, compressed: u64| {
        ZipEntry::stored("vinit.npy", "data").local(move |header| {
            header.add_extra(1, &[size.to_le_bytes(), compressed.to_le_bytes()].concat());
        })
    };
    let (members, _) = read(&Zip::new().entry(repeats(4, 4)).build()).unwrap();
    assert_eq!(members[0].1, b"data");
    for (size, compressed) in [(5, 4), (4, 5), (0, 0)] {
        let zip = Zip::new().entry(repeats(size, compressed)).build();
        assert_eq!(refused(&zip, Format::Zip), "zip64-lie");
        let allowed = read_within(&zip, &Limits { empty_zip64: true, ..Limits::default() });
        assert_eq!(allowed.is_ok(), (size, compressed) == (0, 0));
    }
}

#[test]
fn a_directory_that_ends_in_a_dot() {
    let (members, _) = read(&Zip::new().directory("pyarrow.").file("a.py", "").build()).unwrap();
    assert_eq!(members[0].0.path, "pyarrow.");
    for zip in
        [Zip::new().file("pyarrow./a.py", ""), Zip::new().file("a.", ""), Zip::new().directory(".").file("a", "")]
    {
        assert!(matches!(refused(&zip.build(), Format::Zip), "trailing-dot-or-space" | "dot-segment"));
    }
}

#[test]
fn the_most_entries_without_zip64() {
    let mut zip = Zip::new();
    for number in 0..65_535 {
        zip = zip.stored(format!("f{number}"), "");
    }
    assert_eq!(read(&zip.build()).unwrap().1.members, 65_535);
}

#[test]
fn zips_within_a_zip() {
    let inner = Zip::new().file("x", "1").build();
    let zip = Zip::new().stored("a.zip", &inner).stored("b.zip", &inner).entry(ZipEntry::stored("e", "")).build();
    assert_eq!(read(&zip).unwrap().0[1].1, inner);
    let tar = TarGz::new().file("a.zip", &inner).file("b", vec![1; 100_000]).build();
    assert_eq!(read(&tar).unwrap().0[0].1, inner);
}

#[test]
fn a_wheel_and_an_sdist() {
    let wheel = wheel("My-Demo", "1.0").file("my_demo/__init__.py", "x = 1\n").requires("six>=1");
    assert_eq!(wheel.filename(), "my_demo-1.0-py3-none-any.whl");
    let (members, _) = read(&wheel.build()).unwrap();
    let paths: Vec<_> = members.iter().map(|(member, _)| member.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "my_demo/__init__.py",
            "my_demo-1.0.dist-info/METADATA",
            "my_demo-1.0.dist-info/WHEEL",
            "my_demo-1.0.dist-info/RECORD"
        ]
    );
    assert!(members[1].1.ends_with(b"Name: My-Demo\nVersion: 1.0\nRequires-Dist: six>=1\n"));
    let record = String::from_utf8(members[3].1.clone()).unwrap();
    assert!(
        record.starts_with("my_demo/__init__.py,sha256=nia_NpkRxFwkPGhBR7I_yeHc_PJX0pmhxjIBam_NM_Q,6\n"),
        "{record}"
    );
    assert!(record.ends_with("my_demo-1.0.dist-info/RECORD,,\n"));

    let sdist = sdist("My-Demo", "1.0").file("setup.py", "import setuptools\n");
    assert_eq!(sdist.filename(), "my_demo-1.0.tar.gz");
    let (members, _) = read(&sdist.build()).unwrap();
    assert_eq!(members[2].0.path, "my_demo-1.0/setup.py");
}
