use gate_archive::forge::{TarGz, Zip, ZipEntry, gzip};
use gate_scanner::Options;

use crate::{class, rules, scan, scan_with, up_to};

fn evil_pickle() -> Vec<u8> {
    b"cos\nsystem\n(S'id'\ntR.".to_vec()
}

#[test]
fn members_of_archives_within_are_files_like_any_other() {
    let inner = Zip::new().file("archive/data.pkl", evil_pickle()).file("archive/version", "3\n").build();
    let tar = TarGz::new().file("pkg/mod.py", "x = 1\n").file("pkg/setup.py", "x = 1\n").build();
    let report = scan(
        &Zip::new()
            .file("p/weights.pt", &inner)
            .file("p/vendored.tgz", &tar)
            .file("p/data.csv.gz", gzip(b"a,b\n1,2\n"))
            .file("p/state.gz", gzip(&evil_pickle()))
            .build(),
    );
    assert_eq!(class(&report, "p/weights.pt"), "analysed archive");
    assert_eq!(class(&report, "p/weights.pt!/archive/data.pkl"), "analysed pickle");
    assert_eq!(class(&report, "p/weights.pt!/archive/version"), "inert text");
    assert_eq!(class(&report, "p/vendored.tgz!/pkg/mod.py"), "analysed python");
    assert_eq!(class(&report, "p/data.csv.gz"), "analysed archive");
    assert_eq!(class(&report, "p/data.csv.gz!/data.csv"), "inert text");
    assert_eq!(class(&report, "p/state.gz!/state"), "analysed pickle");
    assert!(rules(&report).contains(&"pickle-unsafe-global"), "{:?}", rules(&report));
}

#[test]
fn depth_holds_to_the_level() {
    let options = |nesting| Options { nesting, ..Options::default() };
    let mut bytes = Zip::new().file("a.txt", "a").build();
    for _ in 0..3 {
        bytes = Zip::new().file("a.zip", bytes).build();
    }
    for (nesting, lost) in [(2, 1), (3, 0), (4, 0)] {
        assert_eq!(scan_with(&bytes, &options(nesting)).unwrap().counts().lost, lost, "{nesting}");
    }
    let mut bytes = b"x".to_vec();
    for _ in 0..3 {
        bytes = gzip(&bytes);
    }
    let bytes = Zip::new().file("a.gz", bytes).build();
    for (nesting, lost) in [(2, 1), (3, 0)] {
        assert_eq!(scan_with(&bytes, &options(nesting)).unwrap().counts().lost, lost, "gzip {nesting}");
    }
}

#[test]
fn nested_archives_share_one_budget() {
    // Each holds a thousand bytes; the outer archive as a whole has some four hundred.
    let one = Zip::new().file("a.txt", "a".repeat(1000)).build();
    let bytes = Zip::new().stored("1.zip", &one).stored("2.zip", &one).stored("3.gz", gzip(&[b'a'; 1000])).build();
    for (total, lost) in [(1999, 2), (2000, 1), (2999, 1), (3000, 0)] {
        let report = scan_with(&bytes, &up_to(total)).unwrap();
        assert_eq!(report.counts().lost, lost, "{total}: {:#?}", report.coverage);
    }
}

#[test]
fn a_nested_archive_that_cannot_be_read_is_lost_unless_it_is_test_data() {
    let broken = Zip::new().file("../x", "x").build();
    let locked = Zip::new().entry(ZipEntry::file("a.txt", "a").both(|header| header.flags |= 1)).build();
    let mut cut = gzip(b"hello hello hello hello");
    cut.truncate(cut.len() - 6);
    let mut zip = Zip::new().file("z.txt", "z");
    for folder in ["p", "tests"] {
        zip = zip
            .file(format!("{folder}/broken.zip"), &broken)
            .file(format!("{folder}/locked.zip"), &locked)
            .file(format!("{folder}/cut.gz"), &cut)
            .file(format!("{folder}/empty.zip"), Zip::new().build());
    }
    let report = scan(&zip.build());
    assert_eq!(class(&report, "p/broken.zip"), "lost unparsable");
    assert_eq!(class(&report, "p/locked.zip!/a.txt"), "lost encrypted");
    assert_eq!(class(&report, "p/cut.gz"), "lost unparsable");
    assert_eq!(class(&report, "p/empty.zip"), "inert empty archive");
    assert_eq!(class(&report, "tests/broken.zip"), "opaque unknown-binary");
    assert_eq!(class(&report, "tests/locked.zip!/a.txt"), "opaque unknown-binary");
    assert_eq!(class(&report, "tests/cut.gz"), "opaque unknown-binary");
}

#[test]
fn a_large_nested_archive_is_read_through_a_spool() {
    let noise: Vec<u8> = (0..12_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect();
    let inner = Zip::new().stored("weights.bin", noise).file("data.pkl", evil_pickle()).build();
    let report = scan(&Zip::new().stored("model.pt", inner).build());
    assert_eq!(class(&report, "model.pt!/data.pkl"), "analysed pickle");
}
