//! What a file is, told by its content; its name is a hint only where content cannot tell.
//!
//! Two rules keep this honest. A name that an interpreter acts on (`.py`, `.pth`) always leads to that analyzer, whatever the
//! bytes look like: `GIF89a = 1` is Python. And a name never makes a file harmless: without a known magic number or readable
//! text it is [`OpaqueKind::UnknownBinary`].

mod compressed;
mod magic;
mod text;

use gate_core::coverage::OpaqueKind;

pub use compressed::Compression;
pub use text::Encoding;
pub(crate) use text::TextCheck;

use crate::pickle;

/// How many of a file's first bytes [`classify`] looks at; more does no harm.
pub const PREFIX_BYTES: usize = 64 * 1024;

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Python source.
    Python,
    /// A script that asks for Python in its first line, not in its name.
    Script,
    /// A Jupyter notebook.
    Notebook,
    /// A `.pth` file: the interpreter runs its `import` lines at every start.
    Pth,
    /// A pickle, several one after the other, or what may hold one: a NumPy array.
    Pickle,
    /// An archive with members: they are classified themselves.
    Archive(gate_archive::Format),
    /// One compressed file, which is unpacked and classified again.
    Compressed(Compression),
    /// Text, in this encoding, that nothing runs.
    Text(Encoding),
    /// Nothing in it can run.
    Inert(&'static str),
    /// Can run, and no analyzer reads it.
    Opaque(OpaqueKind),
}

/// What a file is. `prefix` is its beginning, at least [`PREFIX_BYTES`] of it unless the file is shorter; `path` is the member's.
#[must_use]
pub fn classify(path: &str, prefix: &[u8]) -> Kind {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let extension = extension(&name);
    let by_magic = magic::of(extension, prefix);
    match extension {
        // `.pyi` and `.pyw` are read by type checkers and by the Windows launcher.
        "py" | "pyw" | "pyi" => return Kind::Python,
        // PyTorch calls checkpoints `.pth` too: a container is read as one, and only where the interpreter would not.
        "pth" if is_site_root(path) || !holds_weights(by_magic, prefix) => return Kind::Pth,
        "ipynb" => return Kind::Notebook,
        _ => {}
    }
    // Before other magic numbers: PNG's first byte is an opcode, too. Archives have members, which are asked one by one.
    if !is_container(by_magic) && pickle::looks_like_pickle(&prefix[..prefix.len().min(pickle::PREFIX_BYTES)], &name) {
        return Kind::Pickle;
    }
    by_magic.unwrap_or_else(|| without_magic(&name, extension, prefix))
}

/// What a file is that has turned out to be no pickle.
pub(crate) fn classify_no_pickle(path: &str, prefix: &[u8]) -> Kind {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let extension = extension(&name);
    magic::of(extension, prefix).unwrap_or_else(|| without_magic(&name, extension, prefix))
}

fn without_magic(name: &str, extension: &str, prefix: &[u8]) -> Kind {
    match Encoding::of(prefix) {
        Some(encoding) => text::classify(name, extension, prefix, encoding),
        // A minified script may hold control characters.
        None if text::is_source_name(name, extension) => Kind::Opaque(OpaqueKind::OtherSource),
        None => magic::binary(extension, prefix),
    }
}

/// The last extension of a lower-case file name, without the dot; empty where there is none.
fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(stem, extension)| if stem.is_empty() { "" } else { extension })
}

fn is_container(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Archive(_) | Kind::Compressed(_)))
}

/// Whether a `.pth` file is a PyTorch checkpoint: a zip, or a pickle.
fn holds_weights(kind: Option<Kind>, prefix: &[u8]) -> bool {
    is_container(kind) || (Encoding::of(prefix).is_none() && pickle::looks_like_pickle(prefix, ""))
}

/// Whether an installer copies the member to the top of a directory that the interpreter searches for `.pth` files.
fn is_site_root(path: &str) -> bool {
    match path.split_once('/') {
        None => true,
        Some((folder, _)) => folder.to_ascii_lowercase().ends_with(".data"),
    }
}

/// Whether two names lead to the same analyzer for the same bytes; asked of links, whose bytes are read under one name only.
pub(crate) fn same_reading(a: &str, b: &str) -> bool {
    let class = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        match extension(&name) {
            "py" | "pyw" | "pyi" => 1,
            "pth" => 2,
            "ipynb" => 3,
            _ => 0,
        }
    };
    class(a) == class(b)
}

#[cfg(test)]
mod tests {
    use gate_archive::Format;

    use super::*;

    const NATIVE: Kind = Kind::Opaque(OpaqueKind::Native);
    const SOURCE: Kind = Kind::Opaque(OpaqueKind::OtherSource);
    const UNKNOWN: Kind = Kind::Opaque(OpaqueKind::UnknownBinary);
    const UTF8: Kind = Kind::Text(Encoding::Utf8);

    #[track_caller]
    fn check(table: &[(&str, &[u8], Kind)]) {
        for (path, bytes, kind) in table {
            assert_eq!(classify(path, bytes), *kind, "{path} {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn names_that_interpreters_act_on_are_never_anything_else() {
        check(&[
            ("a/b.py", b"GIF89a = 1\nimport os\n", Kind::Python),
            ("a/b.py", b"\x7fELF\x02\x01\x01\0\0", Kind::Python),
            ("a/b.PY", b"", Kind::Python),
            ("a/b.pyw", b"PK\x03\x04", Kind::Python),
            ("a/__init__.pyi", b"x: int", Kind::Python),
            ("evil.pth", b"import os; os.system('x')", Kind::Pth),
            ("evil.pth", b"PK\x03\x04\nimport os", Kind::Pth),
            ("x-1.data/purelib/evil.pth", b"PK\x03\x04\nimport os", Kind::Pth),
            ("pkg/weights/model.pth", b"PK\x03\x04\x14\0", Kind::Archive(Format::Zip)),
            ("n.ipynb", b"not json at all", Kind::Notebook),
            ("bin/tool", b"#!/usr/bin/env python3\nimport os\n", Kind::Script),
            ("bin/tool.txt", b"#!/usr/bin/python\nimport os\n", Kind::Script),
            ("bin/tool.sh", b"#!/usr/bin/env -S pypy3 -u\nimport os\n", Kind::Script),
        ]);
    }

    #[test]
    fn content_decides_over_a_harmless_name() {
        check(&[
            ("logo.png", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", NATIVE),
            ("data.csv", b"MZ\x90\0\x03\0\0\0", NATIVE),
            ("notes.txt", b"\xcf\xfa\xed\xfe\x07\0\0\x01", NATIVE),
            ("notes.txt", b"\xca\xfe\xba\xbe\0\0\0\x02\x01\0\0\x07", NATIVE),
            ("notes.txt", b"\xca\xfe\xba\xbe\0\0\0\x34\0\x1d", Kind::Opaque(OpaqueKind::Java)),
            ("lib.txt", b"!<arch>\n/               0", NATIVE),
            ("notes.txt", b"\0asm\x01\0\0\0", Kind::Opaque(OpaqueKind::Wasm)),
            ("notes.txt", b"\xcb\r\r\n\0\0\0\0\0\0\0\0\0\0\0\0\xe3", Kind::Opaque(OpaqueKind::PythonBytecode)),
            ("a.pyc", b"\0\0\0\0garbage", Kind::Opaque(OpaqueKind::PythonBytecode)),
            ("logo.png", b"PK\x03\x04\x14\0\0\0", Kind::Archive(Format::Zip)),
            ("d.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0", Kind::Compressed(Compression::Gzip)),
            ("readme.md", b"\0\x01\x02\x03\xff", UNKNOWN),
            ("logo.png", b"\x01\x02\x03\x04\0\xff", UNKNOWN),
            ("a.pyz", b"#!/usr/bin/env python3\nPK\x03\x04\x14\0\0\0", Kind::Archive(Format::Zip)),
        ]);
    }

    #[test]
    fn what_cannot_run_is_inert() {
        check(&[
            ("x", b"", Kind::Inert("empty")),
            ("logo", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Kind::Inert("image/png")),
            ("manual", b"%PDF-1.4\n%\xe2\xe3", Kind::Inert("application/pdf")),
            ("de.mo", b"\xde\x12\x04\x95\0\0\0\0", Kind::Inert("translation")),
            ("Europe/Berlin", b"TZif2\0\0\0", Kind::Inert("time-zone")),
            ("d.parquet", b"PAR1\x15\x04\x15\0", Kind::Inert("parquet")),
            ("d.db", b"SQLite format 3\0\x10\0", Kind::Inert("sqlite")),
            ("a.npy", b"\x93NUMPY\x01\0v\0", Kind::Pickle),
            ("README", b"hello\n", UTF8),
            ("README", "naïve\n".as_bytes(), UTF8),
            ("README", b"\xef\xbb\xbfhello\n", UTF8),
            ("README", b"caf\xe9 au lait\n", Kind::Text(Encoding::SingleByte)),
            ("README", b"\xff\xfeh\0i\0", Kind::Text(Encoding::Utf16Le)),
            ("README", b"\xfe\xff\0h\0i", Kind::Text(Encoding::Utf16Be)),
            ("config.json", b"{\"a\": 1}", UTF8),
            ("index.html", b"<!doctype html><p>hello", UTF8),
        ]);
    }

    #[test]
    fn what_can_run_and_is_not_read_is_opaque() {
        check(&[
            ("w.safetensors", b"\x10\0\0\0\0\0\0\0{\"a\":{}}        ", Kind::Opaque(OpaqueKind::Model)),
            ("w.gguf", b"GGUF\x03\0\0\0", Kind::Opaque(OpaqueKind::Model)),
            ("w.h5", b"\x89HDF\r\n\x1a\n\0", Kind::Opaque(OpaqueKind::Model)),
            ("w.onnx", b"\x08\x07\x12\x07pytorch\0", Kind::Opaque(OpaqueKind::Model)),
            (
                "w.jar",
                b"PK\x03\x04\x14\0\x08\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x14\0\x04\0META-INF/MANIFEST.MF",
                Kind::Opaque(OpaqueKind::Java),
            ),
            (
                "w.jar",
                b"PK\x03\x04\x14\0\x08\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0a.py",
                Kind::Archive(Format::Zip),
            ),
            ("static/app.js", b"fetch('x')", SOURCE),
            ("static/app.js", b"a='\0\x01'", SOURCE),
            ("configure", b"#!/bin/sh\nexit 0\n", SOURCE),
            ("a.pyx", b"cdef int x\n", SOURCE),
            ("a.pyx", b"#!python\ncdef int x\n", SOURCE),
            ("Makefile", b"all:\n\techo\n", SOURCE),
            ("CMakeLists.txt", b"project(x)\n", SOURCE),
            ("index.html", b"<!doctype html><SCRIPT src=x></script>", SOURCE),
            ("pic.svg", b"<svg onload=\"x()\"><script>1</script></svg>", SOURCE),
        ]);
    }

    #[test]
    fn a_prefix_that_ends_within_a_character_is_still_text() {
        let text = "a".repeat(PREFIX_BYTES - 1) + "é";
        assert_eq!(classify("README", &text.as_bytes()[..PREFIX_BYTES]), UTF8);
    }

    #[test]
    fn links_read_the_same_only_under_the_same_kind_of_name() {
        assert!(same_reading("README", "docs/README.md"));
        assert!(same_reading("a.py", "b/c.PY"));
        assert!(!same_reading("setup.py", "docs/notes.txt"));
        assert!(!same_reading("x.pth", "x.py"));
    }
}
