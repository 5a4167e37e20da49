//! One member: classified, read by the analyzer of its kind, and written down.

use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::LazyLock;

use gate_archive::{Kind as MemberKind, Member, Unreadable};
use gate_core::coverage::{CoverageClass, FileCoverage, LostReason, OpaqueKind};
use regex::bytes::Regex;

use super::body::{Body, fill};
use super::links::Link;
use super::{Pass, WINDOW, lost};
use crate::content::{self, Encoding, Kind, TextCheck};
use crate::context::FileContext;
use crate::pins::{self, Syntax};
use crate::record::Seen;
use crate::{pickle, python, scripts, secrets};

/// How an HDF5 file begins.
const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

impl Pass<'_> {
    /// A member of the outermost archive.
    pub(super) fn visit(&mut self, member: &Member, body: &mut dyn Read) -> io::Result<()> {
        match &member.kind {
            MemberKind::Directory => return Ok(()),
            MemberKind::Symlink { target } => self.links.push(Link::symbolic(&member.path, target)),
            MemberKind::HardLink { target } => {
                self.links.push(Link { path: member.path.clone(), target: target.clone() });
            }
            MemberKind::File => {
                let (role, installed) = self.layout.place(&member.path);
                let context = FileContext { path: &member.path, role, installed };
                match member.unreadable {
                    Some(why) => self.unreadable(&context, member.size, why, false),
                    None => self.file(&context, body, 0)?,
                }
            }
        }
        Ok(())
    }

    /// Writes down a member whose bytes cannot be had.
    pub(super) fn unreadable(&mut self, file: &FileContext<'_>, size: u64, why: Unreadable, nested: bool) {
        let class = match why {
            _ if nested && !file.installed => CoverageClass::Opaque { kind: OpaqueKind::UnknownBinary },
            Unreadable::Encrypted => lost(LostReason::Encrypted, "the archive holds it encrypted"),
            Unreadable::Method(number) => {
                lost(LostReason::UnknownMethod, format!("packed by method {number}; only stored and deflated are read"))
            }
        };
        self.coverage.push(FileCoverage { path: file.path.to_owned(), size, class });
    }

    /// Reads one file to its end. `depth` counts the archives around it besides the outermost.
    ///
    /// # Errors
    ///
    /// The reader's.
    pub(super) fn file(&mut self, file: &FileContext<'_>, bytes: &mut dyn Read, depth: usize) -> io::Result<()> {
        let hashed = depth == 0 && self.layout.wheel;
        let mut body = Body::new(bytes, file.path, self.progress, hashed);
        let mut window = self.windows.pop().unwrap_or_else(|| vec![0; WINDOW]);
        let filled = fill(&mut body, &mut window)?;
        // The place of the container in the coverage is before that of its members.
        let place = self.coverage.len();
        self.coverage.push(FileCoverage {
            path: file.path.to_owned(),
            size: 0,
            class: lost(LostReason::AnalyzerDied, ""),
        });
        let class = self.read(file, &window[..filled], &mut body, depth)?;
        let (size, sha256) = body.finish(&mut window)?;
        self.windows.push(window);
        if let Some(sha256) = sha256 {
            self.hashes.push((file.path.to_owned(), Seen { sha256, size }));
        }
        self.coverage[place].size = size;
        self.coverage[place].class = class;
        self.tally.add(self.found.drain(..));
        Ok(())
    }

    /// What becomes of a file that begins with `head`, a whole window or all of it, and goes on in `rest`.
    fn read(
        &mut self,
        file: &FileContext<'_>,
        head: &[u8],
        rest: &mut Body<'_>,
        depth: usize,
    ) -> io::Result<CoverageClass> {
        let mut held = Cow::Borrowed(head);
        if depth == 0
            && let Some(wanted) = self.parts.note(file.path)
        {
            hold(&mut held, rest, wanted.bytes)?;
            self.parts.keep(file.path, &held[..held.len().min(wanted.bytes)]);
        }
        if let Some(skip) = self.options.skip.iter().find(|skip| skip.path == file.path) {
            return Ok(lost(LostReason::AnalyzerDied, skip.detail.clone()));
        }
        let kind = content::classify(file.path, &held[..held.len().min(content::PREFIX_BYTES)]);
        self.by_kind(kind, file, held, rest, depth)
    }

    fn by_kind(
        &mut self,
        kind: Kind,
        file: &FileContext<'_>,
        held: Cow<'_, [u8]>,
        rest: &mut Body<'_>,
        depth: usize,
    ) -> io::Result<CoverageClass> {
        match kind {
            Kind::Python => self.source(file, held, rest, python::MAX_BYTES, python::analyse),
            Kind::Script => self.script(file, held, rest),
            Kind::Notebook => self.source(file, held, rest, python::MAX_NOTEBOOK_BYTES, python::analyse_notebook),
            Kind::Pth => self.source(file, held, rest, python::MAX_BYTES, python::analyse_pth),
            Kind::Pickle => self.pickle(file, held, rest, depth),
            Kind::Archive(format) => self.archive(file, format, &held, rest, depth),
            Kind::Compressed(how) => self.compressed(file, how, &held, rest, depth),
            Kind::Text(encoding) => self.text(file, held, rest, encoding),
            Kind::Inert(kind) => Ok(CoverageClass::Inert { kind: kind.to_owned() }),
            Kind::Opaque(OpaqueKind::Model) => self.model(file, &held, rest),
            Kind::Opaque(OpaqueKind::OtherSource) => self.other_source(file, held, rest),
            Kind::Opaque(kind) => {
                if matches!(kind, OpaqueKind::UnknownBinary | OpaqueKind::PythonBytecode) {
                    self.stream(file, held, rest, Encoding::Utf8)?;
                }
                Ok(CoverageClass::Opaque { kind })
            }
        }
    }

    /// Source code, which is analysed whole.
    fn source(
        &mut self,
        file: &FileContext<'_>,
        mut held: Cow<'_, [u8]>,
        rest: &mut Body<'_>,
        most: usize,
        analyse: Analyse,
    ) -> io::Result<CoverageClass> {
        hold(&mut held, rest, most + 1)?;
        if held.len() > most {
            self.stream(file, held, rest, Encoding::Utf8)?;
            return Ok(lost(LostReason::Limit, format!("it is larger than the {most} bytes that are analysed")));
        }
        secrets::scan(&held, 1, file, &mut self.found);
        Ok(analyse(&held, file, &mut self.found))
    }

    /// A file that asks for Python in its first line, under another name. Cython's and templates do so, too, and do not parse.
    fn script(
        &mut self,
        file: &FileContext<'_>,
        held: Cow<'_, [u8]>,
        rest: &mut Body<'_>,
    ) -> io::Result<CoverageClass> {
        let before = self.found.len();
        Ok(match self.source(file, held, rest, python::MAX_BYTES, python::analyse)? {
            CoverageClass::Lost { reason: LostReason::Unparsable, .. } => {
                self.found.truncate(before);
                CoverageClass::Opaque { kind: OpaqueKind::OtherSource }
            }
            class => class,
        })
    }

    /// Another language. Scripts are searched, and opaque all the same: only what is searched for is known of them.
    fn other_source(
        &mut self,
        file: &FileContext<'_>,
        mut held: Cow<'_, [u8]>,
        rest: &mut Body<'_>,
    ) -> io::Result<CoverageClass> {
        let opaque = CoverageClass::Opaque { kind: OpaqueKind::OtherSource };
        let Some(syntax) = scripts::Syntax::of(file.path, &held) else {
            self.stream(file, held, rest, Encoding::Utf8)?;
            return Ok(opaque);
        };
        hold(&mut held, rest, scripts::MAX_BYTES + 1)?;
        if held.len() > scripts::MAX_BYTES {
            self.stream(file, held, rest, Encoding::Utf8)?;
            return Ok(lost(LostReason::Limit, format!("a script of more than {} bytes", scripts::MAX_BYTES)));
        }
        secrets::scan(&held, 1, file, &mut self.found);
        scripts::analyse(&held, syntax, self.layout.wheel, file, &mut self.found);
        Ok(opaque)
    }

    fn pickle(
        &mut self,
        file: &FileContext<'_>,
        held: Cow<'_, [u8]>,
        rest: &mut Body<'_>,
        depth: usize,
    ) -> io::Result<CoverageClass> {
        if held.len() == WINDOW {
            // Too large to be read twice: what only begins like a pickle may be a text, with secrets.
            let mut secrets = Secrets::new((&held[..]).chain(rest), file);
            let class = pickle::analyse(&mut secrets, file, &mut self.found);
            self.found.append(&mut secrets.finish()?);
            return Ok(class);
        }
        match pickle::analyse(&mut (&held[..]).chain(&mut *rest), file, &mut self.found) {
            CoverageClass::Inert { kind } if kind != "text" => Ok(CoverageClass::Inert { kind }),
            // It only began like one.
            CoverageClass::Inert { .. } | CoverageClass::Opaque { .. } => {
                let kind = content::classify_no_pickle(file.path, &held[..held.len().min(content::PREFIX_BYTES)]);
                self.by_kind(kind, file, held, rest, depth)
            }
            class @ (CoverageClass::Analysed { .. } | CoverageClass::Lost { .. }) => {
                secrets::scan(&held, 1, file, &mut self.found);
                Ok(class)
            }
        }
    }

    /// An HDF5 file may be a Keras model, and that may hold code.
    fn model(&mut self, file: &FileContext<'_>, held: &[u8], rest: &mut Body<'_>) -> io::Result<CoverageClass> {
        if held.starts_with(HDF5) {
            pickle::keras::analyse(&mut held.chain(rest), file, &mut self.found)?;
        }
        Ok(CoverageClass::Opaque { kind: OpaqueKind::Model })
    }

    fn text(
        &mut self,
        file: &FileContext<'_>,
        held: Cow<'_, [u8]>,
        rest: &mut Body<'_>,
        encoding: Encoding,
    ) -> io::Result<CoverageClass> {
        if let Some(syntax) = Syntax::of(file.path) {
            let head = &held[..held.len().min(pins::FILE_BYTES)];
            syntax.pins(file.path, &String::from_utf8_lossy(head), &mut self.pins);
        }
        // The configuration within a `.keras` archive, or beside the weights.
        if file.path.ends_with("config.json") && held.len() < WINDOW {
            pickle::keras::analyse(&mut &held[..], file, &mut self.found)?;
        }
        if held.len() < WINDOW
            && let Some(class) = self.hidden_python(file, &held, encoding)
        {
            return Ok(class);
        }
        let is_text = self.stream(file, held, rest, encoding)?;
        Ok(if is_text {
            CoverageClass::Inert { kind: "text".to_owned() }
        } else {
            CoverageClass::Opaque { kind: OpaqueKind::UnknownBinary }
        })
    }

    /// A text without a Python name that is a Python program all the same, for `exec(open(…).read())`.
    fn hidden_python(&mut self, file: &FileContext<'_>, text: &[u8], encoding: Encoding) -> Option<CoverageClass> {
        let decoded = match encoding.decoder() {
            Some(mut decoder) => {
                let mut utf8 = String::with_capacity(decoder.max_utf8_buffer_length(text.len())?);
                let _ = decoder.decode_to_string(text, &mut utf8, true);
                Cow::Owned(utf8.into_bytes())
            }
            None => Cow::Borrowed(text),
        };
        if decoded.len() > python::MAX_BYTES || !imports_something(&decoded) {
            return None;
        }
        let before = self.found.len();
        match python::analyse(&decoded, file, &mut self.found) {
            class @ CoverageClass::Analysed { .. } if class == analysed(python::ANALYZER) => {
                secrets::scan(&decoded, 1, file, &mut self.found);
                Some(class)
            }
            _ => {
                self.found.truncate(before);
                None
            }
        }
    }

    /// Looks for secrets in a file of any size; says whether all of it is text.
    fn stream(
        &mut self,
        file: &FileContext<'_>,
        held: Cow<'_, [u8]>,
        rest: &mut Body<'_>,
        encoding: Encoding,
    ) -> io::Result<bool> {
        let mut check = TextCheck::default();
        let mut secrets = secrets::Scanner::new();
        let mut decoder = encoding.decoder();
        let mut more = held.len() >= WINDOW;
        let mut window = held;
        loop {
            match &mut decoder {
                Some(decoder) => {
                    let mut utf8 = String::with_capacity(decoder.max_utf8_buffer_length(window.len()).unwrap_or(0));
                    let _ = decoder.decode_to_string(&window, &mut utf8, !more);
                    secrets.feed(utf8.as_bytes(), file, &mut self.found);
                }
                None => {
                    check.feed(&window);
                    secrets.feed(&window, file, &mut self.found);
                }
            }
            if !more {
                secrets.finish(file, &mut self.found);
                return Ok(check.is_text());
            }
            let buffer = window.to_mut();
            buffer.resize(WINDOW, 0);
            let filled = fill(rest, buffer)?;
            buffer.truncate(filled);
            more = filled == WINDOW;
        }
    }
}

/// Looks for secrets in whatever is read through it.
struct Secrets<'a, R> {
    inner: R,
    scanner: secrets::Scanner,
    file: &'a FileContext<'a>,
    found: Vec<gate_core::finding::Finding>,
}

impl<'a, R: Read> Secrets<'a, R> {
    fn new(inner: R, file: &'a FileContext<'a>) -> Self {
        Self { inner, scanner: secrets::Scanner::new(), file, found: Vec::new() }
    }

    /// Reads to the end.
    fn finish(mut self) -> io::Result<Vec<gate_core::finding::Finding>> {
        io::copy(&mut self, &mut io::sink())?;
        self.scanner.finish(self.file, &mut self.found);
        Ok(self.found)
    }
}

impl<R: Read> Read for Secrets<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.scanner.feed(&buffer[..count], self.file, &mut self.found);
        Ok(count)
    }
}

fn analysed(analyzer: &str) -> CoverageClass {
    CoverageClass::Analysed { analyzer: analyzer.to_owned() }
}

type Analyse = fn(&[u8], &FileContext<'_>, &mut Vec<gate_core::finding::Finding>) -> CoverageClass;

/// Makes `held` longer from `rest`, up to so many bytes.
fn hold(held: &mut Cow<'_, [u8]>, rest: &mut Body<'_>, bytes: usize) -> io::Result<()> {
    if held.len() < WINDOW || held.len() >= bytes {
        return Ok(());
    }
    let more = (bytes - held.len()) as u64;
    rest.take(more).read_to_end(held.to_mut())?;
    Ok(())
}

/// Bytes before an `import` in which its line begins.
const LINE_BYTES: usize = 4096;

/// Whether a line begins as a Python import does: no program that does harm can do without one, or without `__import__`.
fn imports_something(text: &[u8]) -> bool {
    // The words first, which a search finds at gigabytes a second; then the lines that they are in.
    static WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?-u)import|exec\(").ok());
    static LINE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"\A(?-u)[\t ]*(?:import[\t ]+[A-Za-z_]|from[\t ]+[A-Za-z_.]+[\t ]+import[\t (]|__import__\(|exec\()",
        )
        .ok()
    });
    // A pattern that does not compile, which a test would show, sends every text to the parser.
    let (Some(words), Some(line)) = (&*WORDS, &*LINE) else { return true };
    words.find_iter(text).any(|word| {
        let before = &text[word.start().saturating_sub(LINE_BYTES)..word.start()];
        let start = before.iter().rposition(|b| matches!(b, b'\n' | b'\r')).map_or(0, |end| end + 1);
        line.is_match(&text[word.start() - before.len() + start..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_seen_at_the_start_of_a_line() {
        for (text, expected) in [
            ("import os", true),
            ("x\n  from a.b import c\n", true),
            ("\r\n\t__import__('os')", true),
            ("exec(x)", true),
            ("if 1: import os", false),
            (&format!("if x:\n{}import os", " ".repeat(4000)), true),
            (&format!("{}important", "import ".repeat(2000)), true),
            ("Imports:\nimportant\nfrom here on\n", false),
            ("", false),
        ] {
            assert_eq!(imports_something(text.as_bytes()), expected, "{text:?}");
        }
    }
}
