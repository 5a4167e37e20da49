//! Magic numbers. Sources: the formats' specifications and `file(1)`; pictures, sound, fonts by the crate `infer`.

use gate_archive::Format;
use gate_core::coverage::OpaqueKind::{Java, Model, Native, PythonBytecode, UnknownBinary, Wasm};

use super::Kind::{Inert, Opaque};
use super::{Compression, Kind};

/// Offset, bytes, kind; the first match wins. Only numbers long enough that no text begins with them.
const MAGIC: &[(usize, &[u8], Kind)] = &[
    (0, b"\x7fELF", Opaque(Native)),
    (0, b"\xfe\xed\xfa\xce", Opaque(Native)),
    (0, b"\xfe\xed\xfa\xcf", Opaque(Native)),
    (0, b"\xce\xfa\xed\xfe", Opaque(Native)),
    (0, b"\xcf\xfa\xed\xfe", Opaque(Native)),
    (0, b"\xca\xfe\xba\xbf", Opaque(Native)),
    (0, b"!<arch>\n", Opaque(Native)),
    (0, b"!<thin>\n", Opaque(Native)),
    (0, b"BC\xc0\xde", Opaque(Native)),
    (0, b"\0asm", Opaque(Wasm)),
    (0, b"dex\n", Opaque(Java)),
    (0, b"GGUF", Opaque(Model)),
    (0, b"\x89HDF\r\n\x1a\n", Opaque(Model)),
    (4, b"TFL3", Opaque(Model)),
    (0, b"%PDF-", Inert("application/pdf")),
    (0, b"\xde\x12\x04\x95", Inert("translation")),
    (0, b"\x95\x04\x12\xde", Inert("translation")),
    (0, b"TZif", Inert("time-zone")),
    (0, b"wOFF", Inert("font/woff")),
    (0, b"wOF2", Inert("font/woff2")),
    (0, b"icns\0", Inert("image/icns")),
    (0, b"DDS \x7c\0\0\0", Inert("image/dds")),
    (0, b"RIFX", Inert("audio/wav")),
    (0, b"PAR1", Inert("parquet")),
    (0, b"ARROW1\0\0", Inert("arrow")),
    (0, b"FEA1", Inert("feather")),
    (0, b"ORC\x0a", Inert("orc")),
    (0, b"SQLite format 3\0", Inert("sqlite")),
    (8, b"DUCK", Inert("duckdb")),
    (0, b"Obj\x01", Inert("avro")),
    (0, b"CDF\x01", Inert("netcdf")),
    (0, b"CDF\x02", Inert("netcdf")),
    (0, b"CDF\x05", Inert("netcdf")),
    (0, b"MATLAB 5.0 MAT-file", Inert("matlab")),
    (0, b"SIMPLE  =", Inert("fits")),
    (0, b"$FL2", Inert("spss")),
    (0, b"<stata_dta>", Inert("stata")),
    (0, b"\0\0\x27\x0a\0\0\0\0", Inert("shapefile")),
    (0, b"HEADER RECORD*******LIBRARY HEADER", Inert("sas-transport")),
    (12, b"\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\x00\x09\xc7\x31\x8c\x18\x1f\x10\x11", Inert("sas")),
];

/// The kind that a magic number tells for certain.
pub(super) fn of(extension: &str, prefix: &[u8]) -> Option<Kind> {
    if prefix.is_empty() {
        return Some(Inert("empty"));
    }
    if matches!(extension, "pyc" | "pyo") || is_bytecode(prefix) {
        return Some(Opaque(PythonBytecode));
    }
    let starts =
        |&&(offset, magic, _): &&(usize, &[u8], Kind)| prefix.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if let Some(&(_, _, kind)) = MAGIC.iter().find(starts) {
        return Some(kind);
    }
    if prefix.starts_with(b"\xca\xfe\xba\xbe") {
        // A fat Mach-O counts its architectures here, a class file has its version: 45 was the first (JVMS 4.1).
        let word = prefix.get(4..8).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        return Some(Opaque(if word < 45 { Native } else { Java }));
    }
    // A PE file has a NUL within its DOS header; prose that begins with MZ has not.
    if prefix.starts_with(b"MZ") && prefix.iter().take(64).any(|&b| b == 0) {
        return Some(Opaque(Native));
    }
    if is_safetensors(prefix) {
        return Some(Opaque(Model));
    }
    archive(extension, prefix)
}

fn archive(extension: &str, prefix: &[u8]) -> Option<Kind> {
    match Format::detect(prefix) {
        // Whether a tar is within shows when it is unpacked.
        Some(Format::TarGz) => return Some(Kind::Compressed(Compression::Gzip)),
        Some(Format::Zip)
            if matches!(extension, "jar" | "war" | "aar") && first_name(prefix).starts_with(b"META-INF/") =>
        {
            return Some(Opaque(Java));
        }
        Some(format) => return Some(Kind::Archive(format)),
        None => {}
    }
    if let Some(compression) = Compression::of(prefix) {
        return Some(Kind::Compressed(compression));
    }
    // A zip behind a shebang line runs as a program (PEP 441). The archive reader says what it thinks of the bytes in front.
    let line_end = prefix.iter().take(512).position(|&b| b == b'\n')?;
    (prefix.starts_with(b"#!") && prefix[line_end + 1..].starts_with(b"PK\x03\x04"))
        .then_some(Kind::Archive(Format::Zip))
}

/// The name in a zip's first local header (APPNOTE 4.3.7).
fn first_name(prefix: &[u8]) -> &[u8] {
    let length = prefix.get(26..28).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    prefix.get(30..30 + length).unwrap_or_default()
}

/// CPython 3's magic numbers lie between 3000 and 3999, PyPy's below 512; CR LF follows, then flags or a time (PEP 552).
fn is_bytecode(prefix: &[u8]) -> bool {
    let [a, b, b'\r', b'\n', rest @ ..] = prefix else { return false };
    let number = u16::from_le_bytes([*a, *b]);
    let code_object = matches!(rest.get(12), Some(0xe3 | 0x63)) || matches!(rest.get(8), Some(0xe3 | 0x63));
    (3000..4000).contains(&number) || code_object
}

/// Eight bytes of header length, then the JSON header; the format's own cap on it is 100 MB.
fn is_safetensors(prefix: &[u8]) -> bool {
    let Some((length, rest)) = prefix.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    (2..=100_000_000).contains(&length) && rest.starts_with(b"{\"")
}

/// The kind of a file that is neither text nor told by a number above.
pub(super) fn binary(extension: &str, prefix: &[u8]) -> Kind {
    use infer::MatcherType::{Audio, Font, Image, Video};
    match extension {
        "so" | "pyd" | "dll" | "exe" | "dylib" | "a" | "o" | "obj" | "lib" | "ko" | "node" | "cubin" | "fatbin" => {
            return Opaque(Native);
        }
        "onnx" | "pb" | "ckpt" | "mlmodel" | "ubj" | "tflite" | "safetensors" | "gguf" | "ggml" => {
            return Opaque(Model);
        }
        _ => {}
    }
    if prefix.starts_with(b"binf") {
        return Opaque(Model); // XGBoost's binary format
    }
    match infer::get(prefix) {
        Some(found) if matches!(found.matcher_type(), Image | Audio | Video | Font) => Inert(found.mime_type()),
        _ => Opaque(UnknownBinary),
    }
}
