//! Text: which encoding, and whether it is source code in a language that nobody here reads.

use gate_core::coverage::OpaqueKind;

use super::Kind;

/// How a text's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark; ASCII.
    Utf8,
    /// UTF-16, little end first, with a byte order mark or unmistakable without one.
    Utf16Le,
    /// UTF-16, big end first, likewise.
    Utf16Be,
    /// Latin-1, Shift JIS and their like: no NUL, no control characters, not UTF-8.
    SingleByte,
}

impl Encoding {
    /// The encoding of a text that begins with these bytes; none when they are no text.
    pub(crate) fn of(prefix: &[u8]) -> Option<Self> {
        if prefix.starts_with(b"\xff\xfe") && !prefix.starts_with(b"\xff\xfe\0\0") {
            return Some(Self::Utf16Le);
        }
        if prefix.starts_with(b"\xfe\xff") {
            return Some(Self::Utf16Be);
        }
        let mut check = TextCheck::default();
        check.feed(prefix);
        if check.controls {
            return Self::bare_utf16(prefix);
        }
        Some(if check.utf8 { Self::Utf8 } else { Self::SingleByte })
    }

    /// UTF-16 without a mark: nearly every second byte is NUL and the others are printable ASCII.
    fn bare_utf16(prefix: &[u8]) -> Option<Self> {
        let pairs = prefix.as_chunks::<2>().0;
        if pairs.len() < 8 {
            return None;
        }
        let printable = |b: u8| (0x20..0x7f).contains(&b) || matches!(b, b'\t' | b'\n' | b'\r');
        let most = pairs.len() - pairs.len() / 16;
        if pairs.iter().filter(|[low, high]| *high == 0 && printable(*low)).count() >= most {
            Some(Self::Utf16Le)
        } else if pairs.iter().filter(|[high, low]| *high == 0 && printable(*low)).count() >= most {
            Some(Self::Utf16Be)
        } else {
            None
        }
    }

    /// The decoder for UTF-16; none for encodings whose ASCII is ASCII, which need none.
    pub(crate) fn decoder(self) -> Option<encoding_rs::Decoder> {
        match self {
            Self::Utf16Le => Some(encoding_rs::UTF_16LE.new_decoder_with_bom_removal()),
            Self::Utf16Be => Some(encoding_rs::UTF_16BE.new_decoder_with_bom_removal()),
            Self::Utf8 | Self::SingleByte => None,
        }
    }
}

/// Whether bytes that arrive in pieces are text in an encoding that extends ASCII.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextCheck {
    /// Valid UTF-8 so far; the end of a piece may cut a character.
    utf8: bool,
    /// A control character that texts do not have.
    controls: bool,
    /// The unfinished character at the end of the last piece.
    tail: [u8; 3],
    tail_len: usize,
}

impl Default for TextCheck {
    fn default() -> Self {
        Self { utf8: true, controls: false, tail: [0; 3], tail_len: 0 }
    }
}

impl TextCheck {
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.controls = self.controls || has_controls(piece);
        if self.utf8 {
            self.feed_utf8(piece);
        }
    }

    /// Whether no piece had a control character that texts do not have.
    pub(crate) fn is_text(&self) -> bool {
        !self.controls
    }

    fn feed_utf8(&mut self, mut piece: &[u8]) {
        while self.tail_len > 0 && !piece.is_empty() {
            let mut joined = [0; 4];
            joined[..self.tail_len].copy_from_slice(&self.tail[..self.tail_len]);
            joined[self.tail_len] = piece[0];
            piece = &piece[1..];
            match std::str::from_utf8(&joined[..=self.tail_len]) {
                Ok(_) => self.tail_len = 0,
                Err(error) if error.error_len().is_none() && self.tail_len < 3 => {
                    self.tail[self.tail_len] = joined[self.tail_len];
                    self.tail_len += 1;
                }
                Err(_) => {
                    self.utf8 = false;
                    return;
                }
            }
        }
        if let Err(error) = std::str::from_utf8(piece) {
            let rest = &piece[error.valid_up_to()..];
            if error.error_len().is_some() || rest.len() > 3 {
                self.utf8 = false;
            } else {
                self.tail[..rest.len()].copy_from_slice(rest);
                self.tail_len = rest.len();
            }
        }
    }
}

/// Control characters that no text has: all of C0 but tab, line feed, form feed, carriage return, backspace, escape and SUB (DOS).
fn has_controls(bytes: &[u8]) -> bool {
    const NOT_TEXT: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 0x20 {
            table[byte] = !matches!(byte as u8, b'\t' | b'\n' | b'\r' | 0x08 | 0x0b | 0x0c | 0x1a | 0x1b);
            byte += 1;
        }
        table
    };
    // In blocks, so that the loop within is free of branches and the compiler can make it wide.
    bytes.chunks(256).any(|block| block.iter().fold(false, |found, &b| found | NOT_TEXT[usize::from(b)]))
}

/// What a text is, from its name and first line.
pub(super) fn classify(name: &str, extension: &str, prefix: &[u8], encoding: Encoding) -> Kind {
    let text = prefix.strip_prefix(b"\xef\xbb\xbf").unwrap_or(prefix);
    // Cython asks for itself as for Python.
    if matches!(extension, "pyx" | "pxd" | "pxi") {
        return Kind::Opaque(OpaqueKind::OtherSource);
    }
    if let Some(line) = text.strip_prefix(b"#!") {
        let line = &line[..line.iter().position(|&b| b == b'\n').unwrap_or(line.len()).min(256)];
        return if runs_python(line) { Kind::Script } else { Kind::Opaque(OpaqueKind::OtherSource) };
    }
    if is_source_name(name, extension) || (is_markup(extension) && has_script(text)) {
        return Kind::Opaque(OpaqueKind::OtherSource);
    }
    Kind::Text(encoding)
}

fn runs_python(shebang: &[u8]) -> bool {
    let line = String::from_utf8_lossy(shebang).to_ascii_lowercase();
    line.split([' ', '\t', '/', '\r']).any(|word| word.starts_with("python") || word.starts_with("pypy"))
}

fn is_markup(extension: &str) -> bool {
    matches!(extension, "html" | "htm" | "xhtml" | "svg" | "xml" | "hta" | "mht" | "jinja" | "j2" | "")
}

/// A script element, or an attribute that runs one.
fn has_script(text: &[u8]) -> bool {
    text.windows(7).any(|window| window[0] == b'<' && window.eq_ignore_ascii_case(b"<script"))
}

/// Names that another interpreter, a compiler or a build tool acts on.
pub(super) fn is_source_name(name: &str, extension: &str) -> bool {
    matches!(
        extension,
        "c" | "h"
            | "cc"
            | "cpp"
            | "cxx"
            | "c++"
            | "hh"
            | "hpp"
            | "hxx"
            | "inl"
            | "ipp"
            | "tcc"
            | "cu"
            | "cuh"
            | "cl"
            | "m"
            | "mm"
            | "metal"
            | "f"
            | "for"
            | "f77"
            | "f90"
            | "f95"
            | "f03"
            | "f08"
            | "pyf"
            | "pyx"
            | "pxd"
            | "pxi"
            | "pyx_t"
            | "r"
            | "rmd"
            | "jl"
            | "java"
            | "kt"
            | "kts"
            | "scala"
            | "groovy"
            | "gradle"
            | "clj"
            | "rs"
            | "go"
            | "swift"
            | "zig"
            | "nim"
            | "d"
            | "hs"
            | "ml"
            | "mli"
            | "erl"
            | "ex"
            | "exs"
            | "lua"
            | "rb"
            | "pl"
            | "pm"
            | "php"
            | "tcl"
            | "cs"
            | "fs"
            | "vb"
            | "js"
            | "mjs"
            | "cjs"
            | "jsx"
            | "ts"
            | "mts"
            | "cts"
            | "tsx"
            | "vue"
            | "svelte"
            | "coffee"
            | "sh"
            | "bash"
            | "zsh"
            | "fish"
            | "ksh"
            | "csh"
            | "ps1"
            | "psm1"
            | "psd1"
            | "bat"
            | "cmd"
            | "vbs"
            | "vbe"
            | "jse"
            | "wsf"
            | "hta"
            | "applescript"
            | "s"
            | "asm"
            | "ll"
            | "ptx"
            | "y"
            | "yy"
            | "cmake"
            | "mk"
            | "mak"
            | "am"
            | "ac"
            | "m4"
            | "bzl"
            | "bazel"
            | "sql"
            | "awk"
            | "sed"
            | "el"
            | "lisp"
            | "scm"
            | "nix"
            | "desktop"
            | "service"
            | "reg"
    ) || matches!(
        name,
        "makefile"
            | "gnumakefile"
            | "cmakelists.txt"
            | "meson.build"
            | "meson.options"
            | "meson_options.txt"
            | "build"
            | "sconstruct"
            | "sconscript"
            | "dockerfile"
            | "containerfile"
            | "jenkinsfile"
            | "vagrantfile"
            | "rakefile"
            | "gemfile"
            | "justfile"
            | "configure"
            | "autogen"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_may_cut_characters() {
        let text = "añ日🦀".repeat(9);
        for cut in 1..text.len() {
            let mut check = TextCheck::default();
            text.as_bytes().chunks(cut).for_each(|piece| check.feed(piece));
            assert!(check.utf8 && check.is_text(), "{cut}");
        }
        let mut check = TextCheck::default();
        [&b"a\xc3"[..], b"b"].iter().for_each(|piece| check.feed(piece));
        assert!(!check.utf8 && check.is_text());
    }

    #[test]
    fn a_nul_anywhere_is_no_text() {
        let mut check = TextCheck::default();
        check.feed(b"text");
        check.feed(&[b'a'; 1000]);
        assert!(check.is_text());
        check.feed(b"\0");
        assert!(!check.is_text());
    }

    #[test]
    fn utf16_is_told_without_a_mark() {
        let bytes: Vec<u8> = "import os # hidden".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(Encoding::of(&bytes), Some(Encoding::Utf16Le));
        let bytes: Vec<u8> = "import os # hidden".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(Encoding::of(&bytes), Some(Encoding::Utf16Be));
    }

    #[test]
    fn each_shebang_is_understood() {
        for (line, python) in [
            ("/usr/bin/python", true),
            ("/usr/bin/env python3.12", true),
            ("python", true),
            ("/bin/sh", false),
            ("/usr/bin/env node", false),
        ] {
            assert_eq!(runs_python(line.as_bytes()), python, "{line}");
        }
    }
}
