use std::collections::HashSet;

use gate_archive::{Code, Format};

#[test]
fn codes_are_unique_kebab_case_and_stable() {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    assert!(
        names
            .iter()
            .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'))
    );
    let benign: Vec<&str> = Code::ALL.iter().filter(|code| !code.is_hostile()).map(|code| code.as_str()).collect();
    assert_eq!(
        benign.join(" "),
        "not-an-archive truncated nothing-to-analyse too-many-members member-too-large total-too-large path-too-long \
         path-too-deep names-too-large extension-too-large"
    );
    let hostile: Vec<&str> = Code::ALL.iter().filter(|code| code.is_hostile()).map(|code| code.as_str()).collect();
    assert_eq!(
        hostile.join(" "),
        "compression-bomb prefix-data trailing-data polyglot several-end-records end-record-lie zip64-lie multi-disk \
         bad-directory encrypted-directory entry-comment unknown-flags unknown-version overlapping-members hidden-member unowned-bytes \
         bad-local-header name-mismatch header-mismatch data-descriptor bad-extra-field unicode-path-mismatch \
         bad-tar-header bad-pax-record pax-size-mismatch global-pax-override stacked-extension-headers sparse-file \
         unknown-type several-gzip-members bad-gzip-header corrupt-stream size-mismatch checksum-mismatch \
         unexpected-payload name-encoding empty-segment dot-segment parent-segment absolute-path backslash colon \
         control-character deceptive-character reserved-name trailing-dot-or-space short-name duplicate-name \
         name-collision file-directory-clash kind-mismatch special-file escaping-link link-loop below-link bad-hard-link"
    );
}

#[test]
fn formats_are_told_by_content() {
    let mut tar = [0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (prefix, format) in [
        (&b"PK\x03\x04...."[..], Some(Format::Zip)),
        (b"PK\x05\x06....", Some(Format::Zip)),
        (b"PK\x07\x08....", None),
        (b"\x1f\x8b\x08", Some(Format::TarGz)),
        (&tar, Some(Format::Tar)),
        (b"<!DOCTYPE html>", None),
        (b"\x7fELF", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ] {
        assert_eq!(Format::detect(prefix), format, "{}", prefix.escape_ascii());
    }
}
