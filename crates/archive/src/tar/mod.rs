//! Tar, read header by header: what the extension headers mean is decided here, in one place, and refused where readers differ.

mod extension;
mod gzip;
mod header;
mod stream;

use std::io::{Read, Seek, SeekFrom};

use self::extension::{Extensions, check_global};
use self::gzip::Gunzip;
use self::header::{BLOCK_BYTES, Block, Header, checksum_holds};
use self::stream::{Bytes, Stream};
use crate::body::{CHUNK_BYTES, Empty, Source, show};
use crate::budget::Budget;
use crate::inflate::clamp;
use crate::tree::{Node, Tree};
use crate::{Code, Fault, Format, Kind, Limits, Member, Refusal, Summary, WalkError, name, zip};

const MODE_EXECUTE: u64 = 0o111;

/// See [`crate::walk`].
pub(crate) fn walk<R: Read + Seek, E>(
    reader: R,
    format: Format,
    limits: &Limits,
    mut visit: impl FnMut(&Member, &mut dyn Read) -> Result<(), E>,
) -> Result<Summary, WalkError<E>> {
    let (mut stream, archive_bytes) = open(reader, format, limits)?;
    let mut state = State {
        limits,
        budget: Budget::new(limits, archive_bytes),
        tree: Tree::new(),
        extensions: Extensions::default(),
        members: 0,
        files: 0,
        blocks: 0,
    };
    let mut scratch = vec![0; CHUNK_BYTES];
    while let Some(header) = state.next_header(&mut stream)? {
        let Some(member) = state.member(&header).map_err(WalkError::Refused)? else { continue };
        if member.kind == Kind::File {
            let mut data = stream.data(member.size);
            show(&member, &mut data, &mut visit, &mut scratch)?;
        } else {
            show(&member, &mut Empty, &mut visit, &mut scratch)?;
        }
    }
    state.check_end(&mut stream, &mut scratch)?;
    Ok(Summary { format, members: state.members, files: state.files, total_bytes: state.budget.total() })
}

/// Whether a tar reader would accept the file, as far as its first block tells.
pub(crate) fn would_open<R: Read + Seek>(reader: &mut R) -> Result<bool, Fault> {
    reader.rewind()?;
    let mut block = [0; BLOCK_BYTES];
    match reader.read_exact(&mut block) {
        Ok(()) => Ok(checksum_holds(&block)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn open<R: Read + Seek>(mut reader: R, format: Format, limits: &Limits) -> Result<(Stream<'_, R>, u64), Fault> {
    let len = reader.seek(SeekFrom::End(0))?;
    if len == 0 {
        return Err(Refusal::new(Code::NothingToAnalyse).into());
    }
    if zip::end::would_open(&mut reader, len)? {
        return Err(Refusal::new(Code::Polyglot).into());
    }
    reader.rewind()?;
    let bytes = match format {
        Format::TarGz => Bytes::Gzip(Box::new(Gunzip::new(reader, len, limits)?)),
        Format::Tar | Format::Zip => Bytes::Plain(reader),
    };
    Ok((Stream::new(bytes), len))
}

/// What is known between two members.
struct State<'l> {
    limits: &'l Limits,
    budget: Budget<'l>,
    tree: Tree,
    extensions: Extensions,
    members: u64,
    files: u64,
    /// Headers read, of any kind.
    blocks: u64,
}

impl State<'_> {
    /// Reads on to the next member's header, taking in the extension headers before it. `None` at the end of the archive: its
    /// zero block, or the end of the bytes, where all readers agree to stop as well.
    fn next_header<R: Read>(&mut self, stream: &mut Stream<'_, R>) -> Result<Option<Header>, Fault> {
        while let Some(block) = stream.block()? {
            if block == [0; BLOCK_BYTES] {
                return Ok(None);
            }
            let header = self.parse(&block)?;
            self.blocks += 1;
            match header.kind {
                b'x' => {
                    let body = self.read_extension(stream, &header)?;
                    self.extensions.add_pax(&body).map_err(|code| refuse(code, &header))?;
                }
                b'L' | b'K' => {
                    let body = self.read_extension(stream, &header)?;
                    let link = header.kind == b'K';
                    self.extensions.add_long(link, &body).map_err(|code| refuse(code, &header))?;
                }
                b'g' if self.extensions.pending() => return Err(refuse(Code::StackedHeaders, &header).into()),
                b'g' => {
                    let body = self.read_extension(stream, &header)?;
                    check_global(&body).map_err(|code| refuse(code, &header))?;
                }
                _ => return Ok(Some(header)),
            }
        }
        Ok(None)
    }

    fn parse(&self, block: &Block) -> Result<Header, Refusal> {
        if !checksum_holds(block) {
            let code = if self.blocks == 0 { Code::NotAnArchive } else { Code::BadTarHeader };
            return Err(Refusal::new(code));
        }
        Header::parse(block).map_err(Refusal::new)
    }

    fn read_extension<R: Read>(&self, stream: &mut Stream<'_, R>, header: &Header) -> Result<Vec<u8>, Fault> {
        if header.size > self.limits.extension_bytes {
            return Err(refuse(Code::ExtensionTooLarge, header).detail(format!("{} bytes", header.size)).into());
        }
        let size = clamp(header.size, usize::MAX);
        let mut body = Vec::new();
        while body.len() < size {
            match stream.block()? {
                Some(block) => body.extend_from_slice(&block),
                None => return Err(Refusal::new(Code::Truncated).into()),
            }
        }
        // Python parses records and names on into the padding.
        if body[size..].iter().any(|&byte| byte != 0) {
            return Err(refuse(Code::BadPax, header).detail("its padding is not empty").into());
        }
        body.truncate(size);
        Ok(body)
    }

    /// Decides what a header is. `None` for the root directory itself, which `tar` writes as `./`.
    fn member(&mut self, header: &Header) -> Result<Option<Member>, Refusal> {
        let extensions = std::mem::take(&mut self.extensions);
        let raw = extensions.path.as_deref().unwrap_or(&header.name);
        let shown = String::from_utf8_lossy(raw).into_owned();
        let refuse = |code| Refusal::of(code, &shown);

        self.members += 1;
        if self.members > self.limits.members {
            return Err(refuse(Code::TooManyMembers).detail(format!("more than {}", self.limits.members)));
        }
        if extensions.size.is_some_and(|size| size != header.size) {
            return Err(refuse(Code::PaxSize));
        }
        let text = str::from_utf8(raw).map_err(|_| refuse(Code::NameEncoding))?;
        let (path, slash) = text.strip_suffix('/').map_or((text, false), |path| (path, true));
        let (node, kind) = kind(header.kind, slash).map_err(refuse)?;
        if node == Node::Directory && matches!(path, "" | ".") && slash | (path == ".") {
            return if header.size == 0 { Ok(None) } else { Err(refuse(Code::UnexpectedPayload)) };
        }
        // `tar` run on `.` writes `./` in front of every name; no reader differs about it.
        let path = path.strip_prefix("./").unwrap_or(path);
        name::check(path, &shown, self.limits)?;
        if kind != b'0' && header.size != 0 {
            return Err(refuse(Code::UnexpectedPayload));
        }
        self.budget.take(path, header.size)?;

        let target = extensions.link.as_deref().unwrap_or(&header.link);
        let target = || str::from_utf8(target).map_err(|_| refuse(Code::NameEncoding));
        let kind = match kind {
            b'1' => Kind::HardLink { target: self.hard_link(path, target()?)? },
            b'2' => Kind::Symlink { target: target()?.to_owned() },
            b'5' => Kind::Directory,
            _ => Kind::File,
        };
        let link = self.tree.add(path, node, true, self.limits)?;
        if let (Kind::Symlink { target }, Some(link)) = (&kind, link) {
            self.tree.set_target(link, name::resolve_link(path, target, self.limits)?);
        }
        self.files += u64::from(node == Node::File);
        Ok(Some(Member {
            path: path.to_owned(),
            size: header.size,
            executable: kind == Kind::File && header.mode & MODE_EXECUTE != 0,
            kind,
            unreadable: None,
        }))
    }

    /// The path of an earlier file, in the shape of a member's path.
    fn hard_link(&self, path: &str, target: &str) -> Result<String, Refusal> {
        let target = target.strip_prefix("./").unwrap_or(target);
        if self.tree.is_file(target) {
            Ok(target.to_owned())
        } else {
            Err(Refusal::of(Code::BadHardLink, path).detail(target))
        }
    }

    /// After the first zero block: nothing but zeros. Some readers stop there, others go on at the next header.
    fn check_end<R: Read>(&self, stream: &mut Stream<'_, R>, scratch: &mut [u8]) -> Result<(), Fault> {
        if self.extensions.pending() {
            return Err(Refusal::new(Code::StackedHeaders).into());
        }
        loop {
            let count = stream.pull(scratch)?;
            if count == 0 {
                break;
            }
            if scratch[..count].iter().any(|&byte| byte != 0) {
                return Err(Refusal::new(Code::TrailingData).into());
            }
        }
        self.tree.check_links()?;
        if self.files == 0 {
            return Err(Refusal::new(Code::NothingToAnalyse).into());
        }
        Ok(())
    }
}

fn refuse(code: Code, header: &Header) -> Refusal {
    Refusal::of(code, &String::from_utf8_lossy(&header.name))
}

/// The node of a type flag, and the flag itself with the old forms of file and directory resolved.
fn kind(flag: u8, slash: bool) -> Result<(Node, u8), Code> {
    match (flag, slash) {
        (b'0' | 0, false) => Ok((Node::File, b'0')),
        // Before ustar a directory was a file whose name ends in a slash; every reader still knows.
        (0, true) | (b'5', _) => Ok((Node::Directory, b'5')),
        (b'1', false) => Ok((Node::File, b'1')),
        (b'2', false) => Ok((Node::Link, b'2')),
        (b'0'..=b'2', true) => Err(Code::KindMismatch),
        (b'3' | b'4' | b'6', _) => Err(Code::SpecialFile),
        (b'S', _) => Err(Code::Sparse),
        _ => Err(Code::UnknownType),
    }
}
