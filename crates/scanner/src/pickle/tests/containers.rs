//! Several pickles in one file, arrays between opcodes, and compressed files.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use gate_core::coverage::{CoverageClass, LostReason};

use super::assembler::assemble;
use super::{analysed, is_analysed, rules};
use crate::pickle::looks_like_pickle;

const EVIL: &str = "proto 2; global os system; unicode id; tuple1; reduce; stop";
const FINE: &str = "proto 2; global collections OrderedDict; empty-tuple; reduce; stop";

/// A joblib file up to the end of an array's description: two-byte floats, so many of them.
fn wrapper(items: usize, aligned: bool) -> Vec<u8> {
    let alignment = if aligned { "unicode numpy_array_alignment_bytes; int 16;" } else { "" };
    assemble(&format!(
        "proto 4; frame 200; short joblib.numpy_pickle; memoize; short NumpyArrayWrapper; memoize; stack-global; memoize; \
         empty-tuple; newobj; memoize; empty-dict; memoize; mark; short subclass; short numpy; short ndarray; stack-global; \
         short shape; int {items}; tuple1; memoize; short dtype; short numpy; short dtype; stack-global; short f2; false; \
         true; tuple3; reduce; memoize; mark; int 3; short <; none; none; none; int 4294967295; int 4294967295; int 0; \
         tuple; build; {alignment} setitems; build"
    ))
}

fn joblib(items: &[u8], aligned: bool, rest: &str) -> Vec<u8> {
    let padding: &[u8] = if aligned { &[3, 0xff, 0xff, 0xff] } else { &[] };
    [&wrapper(items.len() / 2, aligned), padding, items, &assemble(rest)].concat()
}

#[test]
fn pickles_after_the_first_are_found() {
    for file in [
        [assemble(FINE), assemble(EVIL)].concat(),
        [assemble(FINE), assemble("global os system; unicode id; tuple1; reduce; stop")].concat(),
        [assemble(FINE), vec![0; 200_000], assemble(EVIL)].concat(),
        [assemble(FINE), assemble(FINE), assemble(FINE), assemble(EVIL), vec![0; 10]].concat(),
        [assemble("int 1; stop"), assemble("global os system; unicode id; tuple1; reduce; stop")].concat(),
        [assemble("int 1; stop"), assemble(EVIL)].concat(),
    ] {
        assert!(looks_like_pickle(&file[..file.len().min(crate::pickle::PREFIX_BYTES)], "x"));
        let (class, findings) = analysed(&file);
        assert_eq!(rules(&findings), ["pickle-unsafe-global"]);
        assert!(is_analysed(&class), "{class:?}");
    }
}

#[test]
fn raw_data_after_a_pickle_is_not_a_fault() {
    let mut raw: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    raw.splice(0..0, assemble(FINE));
    let (class, findings) = analysed(&raw);
    assert!(is_analysed(&class), "{class:?}");
    assert!(findings.is_empty());
}

#[test]
fn a_joblib_array_is_skipped_by_its_description() {
    for aligned in [true, false] {
        for size in [0, 2, 64 * 1024, 300_000] {
            let items = vec![0xff; size];
            let (class, findings) = analysed(&joblib(&items, aligned, "stop"));
            assert!(is_analysed(&class) && findings.is_empty(), "{aligned} {size} {class:?} {findings:?}");
            let (class, findings) =
                analysed(&joblib(&items, aligned, "global os system; unicode id; tuple1; reduce; stop"));
            assert_eq!(rules(&findings), ["pickle-unsafe-global"], "{aligned} {size} {class:?}");
        }
    }
}

#[test]
fn a_joblib_array_is_also_read_as_opcodes() {
    // For `pickle.load` the items are opcodes; they come from the array's own bytes.
    let hidden = assemble("global os system; unicode id; tuple1; reduce; stop");
    let (_, findings) = analysed(&joblib(&hidden, false, "stop"));
    assert_eq!(rules(&findings), ["pickle-unsafe-global"]);
    // A padding byte that is an opcode.
    let mut file = wrapper(0, true);
    file.extend(assemble("global os system; unicode id; tuple1; reduce; stop"));
    file.extend([0; 200]);
    assert_eq!(rules(&analysed(&file).1), ["pickle-unsafe-global"]);
}

#[test]
fn a_joblib_array_of_unknown_size_is_lost() {
    let file = assemble(
        "proto 4; short joblib.numpy_pickle; short NumpyArrayWrapper; stack-global; empty-tuple; newobj; empty-dict; build; stop",
    );
    assert!(matches!(analysed(&file).0, CoverageClass::Lost { reason: LostReason::Unparsable, .. }));
}

#[test]
fn object_arrays_are_pickles_and_others_are_not() {
    let npy = |descr: &str, items: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1,), }}\n");
        [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), items].concat()
    };
    let (class, findings) = analysed(&npy("|O", &assemble(EVIL)));
    assert!(is_analysed(&class));
    assert_eq!(rules(&findings), ["pickle-unsafe-global"]);
    assert_eq!(analysed(&npy("<f8", &[0; 8])).0, CoverageClass::Inert { kind: "numpy-array".to_owned() });
    assert!(looks_like_pickle(&npy("|O", &[]), "x"));
    assert!(matches!(analysed(b"\x93NUMPY\x01\0\xff\xff{").0, CoverageClass::Lost { .. }));
    assert!(matches!(analysed(b"\x93NUMPY\x09\0\0\0\0\0").0, CoverageClass::Lost { .. }));
}

#[test]
fn zlib_and_gzip_are_looked_into() {
    let big = [assemble("proto 2; bytes 500000; pop"), assemble(EVIL)].concat();
    for pickle in [assemble(EVIL), big] {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&pickle).unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&pickle).unwrap();
        for file in [zlib.finish().unwrap(), gzip.finish().unwrap()] {
            assert!(looks_like_pickle(&file[..file.len().min(4096)], "data.bin"));
            let (class, findings) = analysed(&file);
            assert!(is_analysed(&class), "{class:?}");
            assert_eq!(rules(&findings), ["pickle-unsafe-global"]);
            let (class, _) = analysed(&file[..file.len() - 20]);
            assert!(matches!(class, CoverageClass::Lost { .. }), "cut: {class:?}");
        }
    }
}

#[test]
fn torch_legacy_files_are_read_through() {
    // Magic number, protocol version, system information, the object, the storages' keys; then the storages.
    let storages = (1_u64..2000).flat_map(|n| (n * 0x0123_4567).to_le_bytes()).collect::<Vec<_>>();
    let file = [
        assemble("proto 2; int 42; stop"),
        assemble("proto 2; int 1001; stop"),
        assemble("proto 2; empty-dict; put 0; mark; binunicode little_endian; put 1; true; setitems; stop"),
        assemble("proto 2; global torch._utils _rebuild_tensor_v2; put 0; mark; mark; binunicode storage; global torch FloatStorage; binunicode 0; binunicode cpu; int 4; tuple; persistent 0; pop; int 0; empty-tuple; empty-tuple; false; global collections OrderedDict; empty-tuple; reduce; tuple; reduce; stop"),
        assemble("proto 2; empty-list; mark; binunicode 0; appends; stop"),
        storages,
    ]
    .concat();
    let (class, findings) = analysed(&file);
    assert!(is_analysed(&class) && findings.is_empty(), "{class:?} {findings:?}");
}
