//! Where tar readers differ.

use gate_archive::Format;
use gate_archive::forge::{TarEntry, TarGz, gzip, pax_records};

use super::{check_refused, read, refused};

fn tar() -> TarGz {
    TarGz::new().file("p/a", "first")
}

fn one(entry: TarEntry) -> Vec<u8> {
    tar().entry(entry).file("p/z", "last").build()
}

fn file() -> TarEntry {
    TarEntry::file("p/b", "x = 1\n")
}

#[test]
fn gzip_frame() {
    let more = tar().build();
    check_refused(
        Format::TarGz,
        vec![
            ("two members", tar().gzip(move |gz| gz.extend(more)).build(), "several-gzip-members"),
            (
                "tar split over two members",
                {
                    let tar = tar().build_tar();
                    [gzip(&tar[..512]), gzip(&tar[512..])].concat()
                },
                "several-gzip-members",
            ),
            ("trailing bytes", tar().gzip(|gz| gz.push(1)).build(), "trailing-data"),
            ("trailing zeros", tar().gzip(|gz| gz.extend([0; 512])).build(), "trailing-data"),
            (
                "wrong crc",
                tar()
                    .gzip(|gz| {
                        let at = gz.len() - 8;
                        gz[at] ^= 1;
                    })
                    .build(),
                "checksum-mismatch",
            ),
            (
                "wrong length",
                tar()
                    .gzip(|gz| {
                        let at = gz.len() - 4;
                        gz[at] ^= 1;
                    })
                    .build(),
                "size-mismatch",
            ),
            ("cut in the trailer", tar().gzip(|gz| gz.truncate(gz.len() - 3)).build(), "truncated"),
            ("cut in the data", tar().gzip(|gz| gz.truncate(gz.len() / 2)).build(), "truncated"),
            ("cut in the header", vec![0x1f, 0x8b, 8, 0], "truncated"),
            ("reserved flags", tar().gzip(|gz| gz[3] = 0x20).build(), "bad-gzip-header"),
            ("unknown method", tar().gzip(|gz| gz[2] = 9).build(), "bad-gzip-header"),
            (
                "name without end",
                {
                    let mut gz = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
                    gz.extend([b'n'; 9000]);
                    gz
                },
                "bad-gzip-header",
            ),
            ("not deflate", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff], "corrupt-stream"),
            ("gzip of something else", gzip(&[b'x'; 2000]), "not-an-archive"),
            ("gzip of a little", gzip(b"hello"), "truncated"),
            ("gzip of nothing", gzip(b""), "nothing-to-analyse"),
            ("empty tar", TarGz::new().build(), "nothing-to-analyse"),
            ("directories only", TarGz::new().directory("p").build(), "nothing-to-analyse"),
            ("bomb of zeros behind the end", tar().after_end(vec![0; 65 << 20]).build(), "compression-bomb"),
            ("bomb", tar().file("p/b", vec![0; 65 << 20]).build(), "compression-bomb"),
        ],
    );
}

#[test]
fn end_of_the_tar() {
    let second = TarGz::new().file("p/hidden", "2").build_tar();
    let lone = TarGz::new().without_end().file("p/a", "1").raw([0; 512]).file("p/b", "2").build();
    check_refused(
        Format::TarGz,
        vec![
            ("a second tar behind the end", tar().after_end(second).build(), "trailing-data"),
            ("a lone zero block", lone, "trailing-data"),
            ("one byte behind the end", tar().after_end([0, 1]).build(), "trailing-data"),
            ("cut in a header", gzip(&tar().without_end().file("p/b", "2").build_tar()[..1024 + 100]), "truncated"),
            ("cut in a body", gzip(&TarGz::new().file("p/b", [7; 900]).build_tar()[..1000]), "truncated"),
            ("cut in the padding", gzip(&TarGz::new().file("p/b", [7; 9]).build_tar()[..1000]), "truncated"),
            ("size beyond the end", TarGz::new().entry(file().size(1 << 20)).build(), "truncated"),
        ],
    );
    for archive in
        [tar().after_end([0; 8192]).build(), tar().without_end().build(), tar().without_end().raw([0; 512]).build()]
    {
        assert_eq!(read(&archive).unwrap().0.len(), 1);
    }
    let raw = tar().build_tar();
    assert_eq!(read(&raw).unwrap().0.len(), 1);
    assert_eq!(refused(&[&raw[..], b"x"].concat(), Format::Tar), "trailing-data");
}

#[test]
fn headers() {
    let number = |at: usize, text: &'static [u8]| file().header(move |h| h[at..at + text.len()].copy_from_slice(text));
    check_refused(
        Format::TarGz,
        vec![
            ("checksum", one(file().header_after_checksum(|h| h[0] = b'q')), "bad-tar-header"),
            (
                "first checksum",
                TarGz::new().entry(file().header_after_checksum(|h| h[0] = b'q')).build(),
                "not-an-archive",
            ),
            ("magic", one(file().header(|h| h[257] = b'X')), "bad-tar-header"),
            (
                "prefix without POSIX magic",
                one(file().header(|h| {
                    h[257..265].copy_from_slice(b"ustar  \0");
                    h[345] = b'q';
                })),
                "bad-tar-header",
            ),
            ("size no number", one(number(124, b"0000000000x")), "bad-tar-header"),
            ("size with a sign", one(number(124, b"-0000000001")), "bad-tar-header"),
            ("size python would read", one(number(124, b"0o000000006")), "bad-tar-header"),
            ("owner no number: the end for Python", one(number(108, b"zzzzzzz\0")), "bad-tar-header"),
            ("time no number", one(number(136, b"yesterday..\0")), "bad-tar-header"),
            ("owner in no base: the end for Python", one(number(108, b"\xb0\0\0\0\0\0\0\0")), "bad-tar-header"),
            ("size in base 256, too large", one(number(124, b"\x80\0\0\0\xff\0\0\0\0\0\0\0")), "bad-tar-header"),
            (
                "size in base 256, beyond the limit",
                one(number(124, b"\x80\0\0\0\0\0\0\x01\0\0\0\0")),
                "member-too-large",
            ),
            ("device", one(TarEntry::new(b'3', "p/dev", [])), "special-file"),
            ("block device", one(TarEntry::new(b'4', "p/dev", [])), "special-file"),
            ("fifo", one(TarEntry::new(b'6', "p/fifo", [])), "special-file"),
            ("contiguous", one(TarEntry::new(b'7', "p/c", "x")), "unknown-type"),
            ("multi-volume", one(TarEntry::new(b'M', "p/m", "x")), "unknown-type"),
            ("unknown type", one(TarEntry::new(b'Z', "p/z", "x")), "unknown-type"),
            ("GNU sparse", one(TarEntry::new(b'S', "p/s", "x")), "sparse-file"),
            ("directory with data", one(TarEntry::new(b'5', "p/d/", "x")), "unexpected-payload"),
            ("old directory with data", one(TarEntry::new(0, "p/d/", "x")), "unexpected-payload"),
            ("root directory with data", one(TarEntry::new(b'5', "./", "x")), "unexpected-payload"),
            ("link with data", one(TarEntry::new(b'2', "p/l", "x").header(|h| h[157] = b'a')), "unexpected-payload"),
            (
                "hard link with data",
                one(TarEntry::new(b'1', "p/l", "x").header(|h| h[157..160].copy_from_slice(b"p/a"))),
                "unexpected-payload",
            ),
            ("file with a slash", one(TarEntry::file("p/d/", "x")), "kind-mismatch"),
        ],
    );
}

#[test]
fn extension_headers() {
    let long = "p/".to_owned() + &"n".repeat(150);
    let gnu = [long.as_bytes(), b"\0"].concat();
    let pair = |key: &str, value: &str| pax_records(&[(key, value)]);
    check_refused(
        Format::TarGz,
        vec![
            ("pax size", one(file().pax(&[("size", "7")])), "pax-size-mismatch"),
            ("pax size no number", one(file().pax(&[("size", "+6")])), "bad-pax-record"),
            ("pax sparse", one(file().pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.name", "p/x")])), "sparse-file"),
            ("pax charset", one(file().pax(&[("hdrcharset", "BINARY"), ("path", "p/x")])), "bad-pax-record"),
            ("pax path twice", one(file().pax(&[("path", "p/x"), ("path", "p/y")])), "bad-pax-record"),
            ("pax path empty", one(file().pax(&[("path", "")])), "bad-pax-record"),
            ("pax path escapes", one(file().pax(&[("path", "../x")])), "parent-segment"),
            ("pax path with NUL", one(file().pax(&[("path", "p/x\0y")])), "control-character"),
            ("pax path not UTF-8", one(file().extension(b'x', b"11 path=p\xff\n")), "name-encoding"),
            ("pax path names another member", one(file().pax(&[("path", "p/a")])), "duplicate-name"),
            ("pax length wrong", one(file().extension(b'x', "12 path=p/x\nxxxx")), "bad-pax-record"),
            ("pax length huge", one(file().extension(b'x', "99999999999999999999 path=x\n")), "bad-pax-record"),
            ("pax length octal-like", one(file().extension(b'x', "012 path=p/x\n")), "bad-pax-record"),
            ("pax no key", one(file().extension(b'x', "6 =p/x\n")), "bad-pax-record"),
            (
                "two pax headers",
                one(file().extension(b'x', pair("path", "p/x")).extension(b'x', pair("path", "p/y"))),
                "stacked-extension-headers",
            ),
            ("two long names", one(file().extension(b'L', &gnu).extension(b'L', "p/y\0")), "stacked-extension-headers"),
            (
                "long name and pax path",
                one(file().extension(b'L', &gnu).extension(b'x', pair("path", "p/y"))),
                "stacked-extension-headers",
            ),
            (
                "global between",
                one(file().extension(b'x', pair("path", "p/x")).extension(b'g', pair("comment", "c"))),
                "stacked-extension-headers",
            ),
            (
                "nothing behind",
                tar().entry(TarEntry::new(b'x', "x", pair("path", "p/x"))).build(),
                "stacked-extension-headers",
            ),
            ("long name with NUL inside", one(file().extension(b'L', "p/x\0y\0")), "control-character"),
            ("long name without NUL: longer for Python", one(file().extension(b'L', "p/x")), "bad-tar-header"),
            (
                "records in the padding: read by Python",
                tar()
                    .entry(TarEntry::new(b'x', "x", [pair("comment", "c"), pair("path", "p/x")].concat()).size(13))
                    .file("p/n", "x")
                    .build(),
                "bad-pax-record",
            ),
            ("global path", one(file().extension(b'g', pair("path", "p/x"))), "global-pax-override"),
            ("global size", one(file().extension(b'g', pair("size", "6"))), "global-pax-override"),
            ("global sparse", one(file().extension(b'g', pair("GNU.sparse.size", "6"))), "sparse-file"),
            ("Solaris pax", one(file().extension(b'X', pair("path", "p/x"))), "unknown-type"),
        ],
    );
    let gnu_link = TarEntry::symlink("p/l", "x").extension(b'K', "a\0").extension(b'L', &gnu);
    let (members, _) = read(&one(gnu_link)).unwrap();
    assert_eq!(members[1].0.path, long);
    let (members, _) = read(&one(file().pax(&[("path", &long), ("size", "6"), ("mtime", "1.5")]))).unwrap();
    assert_eq!((members[1].0.path.as_str(), members[1].1.as_slice()), (long.as_str(), &b"x = 1\n"[..]));
}

#[test]
fn hard_links() {
    check_refused(
        Format::TarGz,
        vec![
            ("to nothing", one(TarEntry::hard_link("p/l", "p/none")), "bad-hard-link"),
            ("to a later file", one(TarEntry::hard_link("p/l", "p/z")), "bad-hard-link"),
            ("to itself", one(TarEntry::hard_link("p/l", "p/l")), "bad-hard-link"),
            ("to a directory", tar().hard_link("p/l", "p").build(), "bad-hard-link"),
            ("to a link", tar().symlink("p/s", "a").hard_link("p/l", "p/s").build(), "bad-hard-link"),
            ("out of the tree", one(TarEntry::hard_link("p/l", "../../etc/passwd")), "bad-hard-link"),
            ("absolute", one(TarEntry::hard_link("p/l", "/etc/passwd")), "bad-hard-link"),
            ("another case", one(TarEntry::hard_link("p/l", "p/A")), "bad-hard-link"),
        ],
    );
}
