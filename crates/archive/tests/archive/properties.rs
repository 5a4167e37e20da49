//! Archives with changed bytes: no panic, and what is accepted is what independent readers read.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use gate_archive::forge::{TarEntry, TarGz, Zip, ZipEntry, wheel};
use gate_archive::{Format, Kind, Limits, Member};
use proptest::prelude::*;

use super::read_as;

type Contents = BTreeMap<String, Vec<u8>>;

fn zip() -> Vec<u8> {
    Zip::new()
        .directory("pkg")
        .file("pkg/__init__.py", "x = 1\n".repeat(20))
        .stored("pkg/data", [7; 40])
        .entry(ZipEntry::file("pkg/streamed", "y = 2\n".repeat(20)).descriptor())
        .entry(ZipEntry::file("pkg/wide", "z").zip64())
        .symlink("pkg/link", "data")
        .executable("pkg/run", "#!/bin/sh\n")
        .comment("commit")
        .zip64()
        .build()
}

fn tar() -> Vec<u8> {
    TarGz::new()
        .global_pax(&[("comment", "commit")])
        .directory("pkg")
        .file("pkg/__init__.py", "x = 1\n".repeat(20))
        .entry(TarEntry::file("pkg/data", [7; 600]).pax(&[("path", "pkg/other"), ("size", "600")]))
        .entry(TarEntry::file("pkg/n", "z").extension(b'L', "pkg/long\0"))
        .symlink("pkg/link", "other")
        .hard_link("pkg/hard", "pkg/other")
        .build_tar()
}

/// Files by path; a link's content is its target.
fn contents(members: Vec<(Member, Vec<u8>)>) -> Contents {
    members
        .into_iter()
        .filter_map(|(member, body)| match member.kind {
            Kind::File => Some((member.path, body)),
            Kind::Symlink { target } => Some((member.path, target.into_bytes())),
            Kind::HardLink { .. } | Kind::Directory => None,
        })
        .collect()
}

/// The same by the `zip` crate.
fn by_zip_crate(archive: &[u8]) -> Result<Contents, zip::result::ZipError> {
    let mut reader = zip::ZipArchive::new(Cursor::new(archive))?;
    let mut contents = Contents::new();
    for index in 0..reader.len() {
        let mut file = reader.by_index(index)?;
        if !file.is_dir() {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            contents.insert(file.name().to_owned(), bytes);
        }
    }
    Ok(contents)
}

/// The same by the `zip` crate's reader of local headers, which never sees the directory.
fn by_local_headers(archive: &[u8]) -> Result<Contents, zip::result::ZipError> {
    let mut reader = archive;
    let mut contents = Contents::new();
    while let Some(mut file) = zip::read::read_zipfile_from_stream(&mut reader)? {
        if !file.is_dir() {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            contents.insert(file.name().to_owned(), bytes);
        }
    }
    Ok(contents)
}

/// The same by the `tar` crate.
fn by_tar_crate(archive: &[u8]) -> std::io::Result<Contents> {
    let mut contents = Contents::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        // A file whose name ends in a slash is how tar wrote a directory before it had a type for it; this reader does not know.
        if kind.is_file() && !path.ends_with('/') {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            contents.insert(path.trim_start_matches("./").to_owned(), bytes);
        } else if kind.is_symlink() {
            contents.insert(path, entry.link_name_bytes().unwrap_or_default().into_owned());
        }
    }
    Ok(contents)
}

fn mutations(len: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..len, prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(1)]), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_zips(changes in mutations(zip().len())) {
        let mut archive = zip();
        for (at, byte) in changes {
            archive[at] = byte;
        }
        if let Ok((members, _)) = read_as(&archive, Format::Zip, &Limits::default())
            && members.iter().all(|(member, _)| member.unreadable.is_none())
        {
            prop_assert_eq!(contents(members), by_zip_crate(&archive).unwrap());
        }
    }

    #[test]
    fn changed_wheels(changes in mutations(1000)) {
        let mut archive = wheel("demo", "1").file("demo/__init__.py", "x = 1\n").build();
        for (at, byte) in changes {
            let at = at % archive.len();
            archive[at] = byte;
        }
        if let Ok((members, _)) = read_as(&archive, Format::Zip, &Limits::default())
            && members.iter().all(|(member, _)| member.unreadable.is_none())
        {
            let ours = contents(members);
            prop_assert_eq!(&ours, &by_zip_crate(&archive).unwrap());
            prop_assert_eq!(&ours, &by_local_headers(&archive).unwrap());
        }
    }

    #[test]
    fn changed_tars(changes in mutations(tar().len()), repair in any::<bool>()) {
        let mut archive = tar();
        for (at, byte) in changes {
            archive[at] = byte;
            if repair {
                repair_checksum(&mut archive, at);
            }
        }
        // What the other reader refuses to read, such as an empty number, it cannot understand differently.
        if let (Ok((members, _)), Ok(theirs)) = (read_as(&archive, Format::Tar, &Limits::default()), by_tar_crate(&archive)) {
            prop_assert_eq!(contents(members), theirs);
        }
    }

    #[test]
    fn changed_gzips(changes in mutations(300)) {
        let mut archive = TarGz::new().file("pkg/a", "x = 1\n".repeat(9)).build();
        for (at, byte) in changes {
            let at = at % archive.len();
            archive[at] = byte;
        }
        if let Ok((members, _)) = read_as(&archive, Format::TarGz, &Limits::default()) {
            let expected = "x = 1\n".repeat(9).into_bytes();
            prop_assert_eq!(&members[0].1, &expected);
        }
    }

    #[test]
    fn any_bytes_at_all(archive in prop::collection::vec(any::<u8>(), 0..2000)) {
        for format in [Format::Zip, Format::TarGz, Format::Tar] {
            prop_assert!(read_as(&archive, format, &Limits::default()).is_err());
        }
    }
}

/// Makes the checksum of a changed header right again, so that the change reaches the rules behind it.
fn repair_checksum(archive: &mut [u8], at: usize) {
    let start = at / 512 * 512;
    let block = &mut archive[start..start + 512];
    if block[257..262] == *b"ustar" {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
