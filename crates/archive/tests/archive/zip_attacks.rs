//! What PyPI refuses, and what its framing check alone would accept.

use std::time::Instant;

use gate_archive::forge::{Zip, ZipEntry, crc32, deflate, gzip};
use gate_archive::{Format, Kind, Unreadable};

use super::{check_refused, read, refused};

fn file(name: &str) -> ZipEntry {
    ZipEntry::file(name, "x = 1\n")
}

fn one(entry: ZipEntry) -> Vec<u8> {
    Zip::new().file("a", "first").entry(entry).file("z", "last").build()
}

fn unicode_path(version: u8, crc: u32, name: &str) -> Vec<u8> {
    [&[version][..], &crc.to_le_bytes(), name.as_bytes()].concat()
}

#[test]
fn where_a_zip_begins_and_ends() {
    let zip = || Zip::new().file("a", "1");
    let other = zip().build();
    check_refused(
        Format::Zip,
        vec![
            ("prefix, offsets right", zip().prefix("#!/bin/sh\n").build(), "prefix-data"),
            ("elf prefix", zip().prefix(b"\x7fELF".to_vec()).build(), "prefix-data"),
            ("pdf prefix", zip().prefix("%PDF-1.7\n").build(), "prefix-data"),
            ("prefix, offsets not moved", [&b"MZ"[..], &other].concat(), "end-record-lie"),
            ("trailing bytes", zip().suffix("x").build(), "trailing-data"),
            ("trailing newline", zip().suffix("\n").build(), "trailing-data"),
            ("two zips", [&other[..], &other].concat(), "end-record-lie"),
            (
                "comment cut",
                {
                    let z = zip().comment("commit").build();
                    z[..z.len() - 1].to_vec()
                },
                "truncated",
            ),
            ("comment with an end record", zip().comment(Zip::new().build()).build(), "several-end-records"),
            ("comment with a signature", zip().comment("PK\x05\x06").build(), "several-end-records"),
            ("end record cut off", other[..other.len() - 22].to_vec(), "truncated"),
            ("html", b"<!DOCTYPE html><html></html>".to_vec(), "not-an-archive"),
            ("nothing", Vec::new(), "nothing-to-analyse"),
            ("end record only", Zip::new().build(), "nothing-to-analyse"),
            ("directories only", Zip::new().directory("a").directory("a/b").build(), "nothing-to-analyse"),
            ("links only", Zip::new().symlink("a", "b").build(), "nothing-to-analyse"),
            (
                "count too small",
                zip()
                    .file("b", "2")
                    .end(|e| {
                        e.entries = 1;
                        e.entries_here = 1;
                    })
                    .build(),
                "end-record-lie",
            ),
            (
                "count too large",
                zip()
                    .end(|e| {
                        e.entries = 9;
                        e.entries_here = 9;
                    })
                    .build(),
                "end-record-lie",
            ),
            ("directory larger", zip().end(|e| e.size += 1).build(), "end-record-lie"),
            ("directory earlier", zip().end(|e| e.offset -= 1).build(), "end-record-lie"),
            (
                "directory shifted",
                zip()
                    .end(|e| {
                        e.offset -= 1;
                        e.size += 1;
                    })
                    .build(),
                "bad-directory",
            ),
            ("4 GiB directory", zip().end(|e| e.size = u32::MAX).build(), "end-record-lie"),
            ("junk before the end", zip().before_end("junk").build(), "end-record-lie"),
            ("junk in the directory", zip().before_end("junk").end(|e| e.size += 4).build(), "bad-directory"),
            ("digital signature", zip().before_end("PK\x05\x05\0\0").end(|e| e.size += 6).build(), "bad-directory"),
            ("second disk", zip().end(|e| e.disk = 1).build(), "multi-disk"),
            ("directory on another disk", zip().end(|e| e.directory_disk = 1).build(), "multi-disk"),
            ("more entries elsewhere", zip().end(|e| e.entries = 2).build(), "multi-disk"),
            ("entry on another disk", one(file("b").central(|h| h.disk = 1)), "multi-disk"),
        ],
    );
    // An earlier end record whose comment reaches to the end of the file: some readers take the first that fits.
    let inner = Zip::new().end(|end| end.comment = vec![0; 200]).build();
    let zip = Zip::new().stored("a", &inner[..22]).file("b", "2").build();
    let reach = u16::try_from(zip.len() - 31 - 22).unwrap();
    let mut lying = zip;
    lying[31 + 20..31 + 22].copy_from_slice(&reach.to_le_bytes());
    assert_eq!(refused(&lying, Format::Zip), "several-end-records");
}

#[test]
fn zip64() {
    let zip = || Zip::new().file("a", "1");
    let extra = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let twice = file("b").zip64().both(|h| h.add_extra(1, &[0; 16]));
    let (short, long, unasked) = (extra(&[6]), extra(&[6, 8, 0, 0]), extra(&[6, 8]));
    check_refused(
        Format::Zip,
        vec![
            (
                "other count",
                zip()
                    .end64(|e| {
                        e.entries = 2;
                        e.entries_here = 2;
                    })
                    .build(),
                "zip64-lie",
            ),
            (
                "other count, short at its maximum",
                zip()
                    .end64(|e| {
                        e.entries = 2;
                        e.entries_here = 2;
                    })
                    .end(|e| {
                        e.entries = 0xffff;
                        e.entries_here = 0xffff;
                    })
                    .build(),
                "end-record-lie",
            ),
            (
                "2^32 entries",
                zip()
                    .end64(|e| {
                        e.entries = 1 << 32;
                        e.entries_here = 1 << 32;
                    })
                    .end(|e| {
                        e.entries = 0xffff;
                        e.entries_here = 0xffff;
                    })
                    .build(),
                "end-record-lie",
            ),
            ("other offset", zip().end64(|e| e.offset += 1).build(), "zip64-lie"),
            (
                "offset beyond all numbers",
                zip().end64(|e| e.offset = u64::MAX).end(|e| e.offset = u32::MAX).build(),
                "end-record-lie",
            ),
            ("locator elsewhere", zip().end64(|e| e.locator_offset -= 1).build(), "zip64-lie"),
            (
                "extensible data",
                zip()
                    .end64(|e| {
                        e.extensible = vec![0; 8];
                        e.record_size += 8;
                    })
                    .build(),
                "zip64-lie",
            ),
            ("record size", zip().end64(|e| e.record_size = 45).build(), "zip64-lie"),
            ("disk", zip().end64(|e| e.disk = 1).build(), "multi-disk"),
            ("disks", zip().end64(|e| e.disks = 2).build(), "multi-disk"),
            ("entries here", zip().end64(|e| e.entries_here = 7).build(), "multi-disk"),
            ("sentinel without field", one(file("b").central(|h| h.size = u32::MAX)), "zip64-lie"),
            ("field twice", one(twice), "bad-extra-field"),
            ("field without sentinel", one(file("b").central(move |h| h.add_extra(1, &unasked))), "zip64-lie"),
            (
                "field too short",
                one(file("b").central(move |h| {
                    h.size = u32::MAX;
                    h.compressed = u32::MAX;
                    h.add_extra(1, &short);
                })),
                "zip64-lie",
            ),
            (
                "field too long",
                one(file("b").central(move |h| {
                    h.size = u32::MAX;
                    h.compressed = u32::MAX;
                    h.add_extra(1, &long);
                })),
                "zip64-lie",
            ),
            ("other size in the local field", one(file("b").zip64().local(|h| h.extra[4] += 1)), "header-mismatch"),
        ],
    );
    let (members, _) = read(&Zip::new().entry(file("a").zip64()).zip64().build()).unwrap();
    assert_eq!(members[0].1, b"x = 1\n");
}

#[test]
fn directory_and_local_headers() {
    check_refused(
        Format::Zip,
        vec![
            ("same name twice", one(file("a")), "duplicate-name"),
            ("hidden member", one(file("b").without_central()), "hidden-member"),
            (
                "hidden first member",
                Zip::new().entry(file("b").without_central()).file("a", "1").build(),
                "hidden-member",
            ),
            (
                "hidden last member",
                Zip::new().file("a", "1").entry(file("b").without_central()).build(),
                "hidden-member",
            ),
            ("no local header", one(file("b").without_local()), "overlapping-members"),
            ("offset of another", one(file("b").central(|h| h.offset = 0)), "overlapping-members"),
            ("offset beyond", one(file("b").central(|h| h.offset = 1 << 30)), "hidden-member"),
            ("bytes between", one(file("b").after("junk")), "unowned-bytes"),
            ("bytes before the directory", Zip::new().entry(file("a").after("junk")).build(), "unowned-bytes"),
            ("local name", one(file("b").local(|h| h.name = b"c".to_vec())), "name-mismatch"),
            ("local name longer", one(file("b").local(|h| h.name.push(b'/'))), "name-mismatch"),
            (
                "local name is a directory's",
                Zip::new().file("a", "").entry(ZipEntry::directory("b").local(|h| h.name = b"b".to_vec())).build(),
                "name-mismatch",
            ),
            ("local method", one(file("b").local(|h| h.method = 0)), "header-mismatch"),
            ("local flags", one(file("b").local(|h| h.flags |= 1 << 11)), "header-mismatch"),
            ("local descriptor flag", one(file("b").local(|h| h.flags |= 1 << 3)), "header-mismatch"),
            ("local encrypted", one(file("b").local(|h| h.flags |= 1)), "header-mismatch"),
            ("local crc", one(file("b").local(|h| h.crc ^= 1)), "header-mismatch"),
            ("local size", one(file("b").local(|h| h.size += 1)), "header-mismatch"),
            ("local compressed size", one(file("b").local(|h| h.compressed += 1)), "header-mismatch"),
            ("compressed size into the next", one(file("b").both(|h| h.compressed += 40)), "overlapping-members"),
            (
                "compressed size into the directory",
                Zip::new().entry(file("a").both(|h| h.compressed += 1)).build(),
                "overlapping-members",
            ),
            (
                "compressed size of the largest number",
                one(file("b").both(|h| {
                    h.compressed = u32::MAX;
                    h.add_extra(1, &[0xff; 8]);
                })),
                "overlapping-members",
            ),
            (
                "no local signature",
                {
                    let mut z = Zip::new().file("a", "1").build();
                    z[2] = 9;
                    z
                },
                "bad-local-header",
            ),
            ("comment", one(file("b").central(|h| h.comment = b"hi".to_vec())), "entry-comment"),
            ("masked directory", one(file("b").both(|h| h.flags |= 1 << 13)), "encrypted-directory"),
            ("reserved flags", one(file("b").both(|h| h.flags |= 1 << 5)), "unknown-flags"),
            ("version", one(file("b").central(|h| h.needed = 64)), "unknown-version"),
            ("half an extra field", one(file("b").central(|h| h.extra = vec![1, 2, 3])), "bad-extra-field"),
            ("extra field too long", one(file("b").local(|h| h.extra = vec![9, 9, 200, 0, 1])), "bad-extra-field"),
            (
                "unicode path",
                one(file("b").central(|h| h.add_extra(0x7075, &unicode_path(1, crc32(b"b"), "c")))),
                "unicode-path-mismatch",
            ),
            (
                "unicode path checksum",
                one(file("b").local(|h| h.add_extra(0x7075, &unicode_path(1, 1, "b")))),
                "unicode-path-mismatch",
            ),
            (
                "unicode path version",
                one(file("b").both(|h| h.add_extra(0x7075, &unicode_path(2, crc32(b"b"), "b")))),
                "unicode-path-mismatch",
            ),
            (
                "unicode path twice",
                one(file("b").both(|h| {
                    for _ in 0..2 {
                        h.add_extra(0x7075, &unicode_path(1, crc32(b"b"), "b"));
                    }
                })),
                "bad-extra-field",
            ),
            ("directory with data", one(file("b/")), "unexpected-payload"),
            ("directory with hidden data", one(file("b/").both(|h| h.size = 0)), "size-mismatch"),
            ("directory by mode only", one(file("b").mode(0o040_755)), "kind-mismatch"),
            ("link with a slash", one(ZipEntry::symlink("b/", "a")), "kind-mismatch"),
            (
                "link from a host without links",
                one(ZipEntry::symlink("b", "a").both(|h| h.made_by = 20)),
                "kind-mismatch",
            ),
            ("device", one(file("b").mode(0o060_644)), "special-file"),
            ("fifo", one(file("b").mode(0o010_644)), "special-file"),
        ],
    );
    let same = file("b").both(|h| h.add_extra(0x7075, &unicode_path(1, crc32(b"b"), "b")));
    assert_eq!(read(&one(same)).unwrap().0.len(), 3);
}

#[test]
fn lies_about_the_data() {
    let megabytes = vec![0; 10 << 20];
    let bomb = deflate(&megabytes);
    let small = |h: &mut gate_archive::forge::ZipHeader| h.size = 1024;
    check_refused(
        Format::Zip,
        vec![
            ("says 1 KiB, inflates to 10 MiB", one(ZipEntry::file("b", &megabytes).both(small)), "size-mismatch"),
            ("says more than it has", one(file("b").both(|h| h.size += 1)), "size-mismatch"),
            ("stored, sizes differ", one(ZipEntry::stored("b", "x").both(|h| h.size += 1)), "size-mismatch"),
            ("wrong crc", one(file("b").both(|h| h.crc ^= 1)), "checksum-mismatch"),
            ("stored, wrong crc", one(ZipEntry::stored("b", "x").both(|h| h.crc ^= 1)), "checksum-mismatch"),
            ("not deflate", one(file("b").data([0xff; 8])), "corrupt-stream"),
            (
                "stream ends early",
                one(file("b").both(|h| h.compressed += 3).data([&deflate(b"x = 1\n")[..], b"abc"].concat())),
                "size-mismatch",
            ),
            (
                "stream does not end",
                one(file("b").both(|h| h.compressed -= 1).data({
                    let mut d = deflate(b"x = 1\n");
                    d.pop();
                    d
                })),
                "corrupt-stream",
            ),
            ("no data", one(file("b").both(|h| h.compressed = 0).data([])), "corrupt-stream"),
            (
                "more than 64 MiB at a ratio of 1,000",
                Zip::new().file("a", vec![0; 65 << 20]).build(),
                "compression-bomb",
            ),
            ("ratio declared only", one(ZipEntry::file("b", &bomb).both(|h| h.size = 1 << 30)), "compression-bomb"),
            (
                "4 GiB",
                one(file("b").both(|h| {
                    h.size = u32::MAX;
                    h.add_extra(1, &(4_u64 << 30).to_le_bytes());
                })),
                "member-too-large",
            ),
        ],
    );
}

#[test]
fn data_descriptors() {
    let lie = |at: usize| {
        let mut bytes = b"PK\x07\x08".to_vec();
        let data = deflate(b"x = 1\n");
        for field in [crc32(b"x = 1\n"), u32::try_from(data.len()).unwrap(), 6] {
            bytes.extend(field.to_le_bytes());
        }
        bytes[at] ^= 1;
        file("b").descriptor_bytes(bytes)
    };
    let honest = file("b").descriptor();
    let unsigned = file("b").descriptor_bytes({
        let data = deflate(b"x = 1\n");
        [crc32(b"x = 1\n"), u32::try_from(data.len()).unwrap(), 6]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<_>>()
    });
    check_refused(
        Format::Zip,
        vec![
            ("signature", one(lie(0)), "data-descriptor"),
            ("crc", one(lie(4)), "data-descriptor"),
            ("compressed size", one(lie(8)), "data-descriptor"),
            ("size", one(lie(12)), "data-descriptor"),
            ("missing", one(file("b").descriptor_bytes([])), "data-descriptor"),
            ("missing at the end", Zip::new().entry(file("b").descriptor_bytes([])).build(), "data-descriptor"),
            ("without signature", one(unsigned), "data-descriptor"),
            ("local size not zero and wrong", one(file("b").descriptor().local(|h| h.size = 7)), "header-mismatch"),
            (
                "stored data with a descriptor inside",
                one(ZipEntry::stored("b", "..PK\x07\x08..").descriptor()),
                "data-descriptor",
            ),
            (
                "stored data with a member inside",
                one(ZipEntry::stored("b", Zip::new().file("x", "1").build()).descriptor()),
                "data-descriptor",
            ),
            (
                "stream ends before the descriptor",
                one(file("b")
                    .data([&deflate(b"x = 1\n")[..], b"abc"].concat())
                    .both(|h| h.compressed += 3)
                    .descriptor()),
                "size-mismatch",
            ),
        ],
    );
    for entry in [honest, ZipEntry::stored("b", "PK, said").descriptor(), ZipEntry::stored("b", "").descriptor()] {
        assert_eq!(read(&one(entry)).unwrap().0.len(), 3);
    }
}

#[test]
fn what_cannot_be_read_is_reported() {
    let encrypted = file("b").both(|h| h.flags |= 1);
    let zip = Zip::new().entry(encrypted).entry(file("c").both(|h| h.method = 93)).file("z", "1").build();
    let (members, summary) = read(&zip).unwrap();
    let unreadable: Vec<_> = members.iter().map(|(member, body)| (member.unreadable, body.len())).collect();
    assert_eq!(unreadable, [(Some(Unreadable::Encrypted), 0), (Some(Unreadable::Method(93)), 0), (None, 1)]);
    assert_eq!((summary.members, summary.files, summary.total_bytes), (3, 3, 1));
    assert_eq!(members[0].0.kind, Kind::File);
}

#[test]
fn two_formats_at_once() {
    let tar = gate_archive::forge::TarGz::new().file("a", "1").build_tar();
    let zip = Zip::new().file("b", "2").build();
    check_refused(
        Format::Tar,
        vec![
            ("tar then zip", [&tar[..], &zip].concat(), "polyglot"),
            ("tar then zip with right offsets", Zip::new().file("b", "2").prefix(tar.clone()).build(), "polyglot"),
            ("tar then an empty zip", [&tar[..], &Zip::new().build()].concat(), "polyglot"),
        ],
    );
    check_refused(
        Format::TarGz,
        vec![
            ("gzip then zip", [&gzip(&tar)[..], &zip].concat(), "polyglot"),
            ("gzip then zip64", [&gzip(&tar)[..], &Zip::new().file("b", "2").zip64().build()].concat(), "polyglot"),
        ],
    );
    // A local header of 512 bytes that is a tar header as well: the name field is `PK\x03\x04...`.
    let name = "n".repeat(600);
    let mut zip = Zip::new().stored(&name, "1").build();
    zip[148..156].fill(b' ');
    let sum: u32 = zip[..512].iter().map(|&byte| u32::from(byte)).sum();
    zip[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(refused(&zip, Format::Zip), "polyglot");
}

#[test]
fn overlap_bomb_is_refused_at_once() {
    let start = Instant::now();
    let mut zip = Zip::new().file("f0", vec![0; 1 << 20]);
    for number in 1..2000 {
        let name = format!("f{number}");
        zip = zip.entry(ZipEntry::file(&name, vec![0; 1 << 20]).without_local().central(|h| h.offset = 0));
    }
    let zip = zip.build();
    let built = start.elapsed();
    assert_eq!(refused(&zip, Format::Zip), "overlapping-members");
    assert!(start.elapsed() - built < built, "refusing must cost less than forging");
}
