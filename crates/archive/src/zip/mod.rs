//! Zip: the framing first, then the bodies.

pub(crate) mod end;
mod framing;
mod records;

use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};

use flate2::Crc;

use self::framing::{Entry, Plan};
use crate::body::{CHUNK_BYTES, Empty, Source, named, show};
use crate::inflate::{Inflate, clamp};
use crate::name::resolve_link;
use crate::tree::{Node, Tree};
use crate::{Code, Fault, Format, Kind, Limits, Member, Refusal, Summary, WalkError};

/// See [`crate::walk`].
pub(crate) fn walk<R: Read + Seek, E>(
    mut reader: R,
    limits: &Limits,
    mut visit: impl FnMut(&Member, &mut dyn Read) -> Result<(), E>,
) -> Result<Summary, WalkError<E>> {
    let Plan { entries, mut tree, files, total_bytes } = open(&mut reader, limits)?;
    let members = entries.len() as u64;
    let mut reader = BufReader::with_capacity(CHUNK_BYTES, reader);
    let mut inflate = Inflate::new();
    let mut scratch = vec![0; CHUNK_BYTES];
    let mut position = reader.seek(SeekFrom::Start(0)).map_err(WalkError::Io)?;
    for entry in entries {
        // Entries come in the order of their bytes, so this only ever skips a header, mostly within the buffer.
        let skipped = i64::try_from(entry.position - position).unwrap_or(i64::MAX);
        reader.seek_relative(skipped).map_err(WalkError::Io)?;
        position = entry.position;
        if entry.unreadable.is_some() && entry.node != Node::Link {
            let member = member(&entry, if entry.node == Node::File { Kind::File } else { Kind::Directory });
            show(&member, &mut Empty, &mut visit, &mut scratch)?;
            continue;
        }
        inflate.reset();
        let mut source = Data::new(&mut reader, &mut inflate, &entry);
        let shown = if entry.node == Node::Link {
            let target =
                read_link(&mut source, &entry, &mut tree, limits).map_err(|fault| named(fault, &entry.path))?;
            let member = Member { size: 0, ..member(&entry, Kind::Symlink { target }) };
            show(&member, &mut Empty, &mut visit, &mut scratch)
        } else {
            let kind = if entry.node == Node::File { Kind::File } else { Kind::Directory };
            show(&member(&entry, kind), &mut source, &mut visit, &mut scratch)
        };
        shown?;
        position += entry.compressed;
    }
    tree.check_links().map_err(WalkError::Refused)?;
    Ok(Summary { format: Format::Zip, members, files, total_bytes })
}

/// Everything that is checked before the first visit.
fn open<R: Read + Seek>(reader: &mut R, limits: &Limits) -> Result<Plan, Fault> {
    let len = reader.seek(SeekFrom::End(0))?;
    if len == 0 {
        return Err(Refusal::new(Code::NothingToAnalyse).into());
    }
    if crate::tar::would_open(reader)? {
        return Err(Refusal::new(Code::Polyglot).into());
    }
    framing::check(reader, len, limits)
}

fn member(entry: &Entry, kind: Kind) -> Member {
    Member {
        path: entry.path.clone(),
        size: entry.size,
        kind,
        executable: entry.executable,
        unreadable: entry.unreadable,
    }
}

/// Reads a symbolic link's target, which is the entry's data.
fn read_link<S: Source>(source: &mut S, entry: &Entry, tree: &mut Tree, limits: &Limits) -> Result<String, Fault> {
    if entry.unreadable.is_some() {
        return Err(Refusal::new(Code::EscapingLink).detail("its target cannot be read").into());
    }
    if entry.size > limits.path_bytes as u64 {
        return Err(Refusal::new(Code::PathTooLong).into());
    }
    let mut target = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let count = source.pull(&mut chunk)?;
        if count == 0 {
            break;
        }
        target.extend_from_slice(&chunk[..count]);
    }
    let target = String::from_utf8(target).map_err(|_| Refusal::new(Code::NameEncoding))?;
    let resolved = resolve_link(&entry.path, &target, limits)?;
    if let Some(link) = entry.link {
        tree.set_target(link, resolved);
    }
    Ok(target)
}

/// The data of one entry: as many compressed bytes as declared, giving as many bytes as declared, of the declared checksum.
struct Data<'a, R> {
    reader: &'a mut BufReader<R>,
    inflate: Option<&'a mut Inflate>,
    entry: &'a Entry,
    compressed_left: u64,
    left: u64,
    crc: Crc,
}

impl<'a, R: Read> Data<'a, R> {
    fn new(reader: &'a mut BufReader<R>, inflate: &'a mut Inflate, entry: &'a Entry) -> Self {
        Self {
            reader,
            inflate: entry.deflated.then_some(inflate),
            entry,
            compressed_left: entry.compressed,
            left: entry.size,
            crc: Crc::new(),
        }
    }

    fn copy_stored(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let wanted = clamp(self.compressed_left, out.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = loop {
            match self.reader.read(&mut out[..wanted]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        if count == 0 {
            return Err(Refusal::new(Code::Truncated).into());
        }
        self.compressed_left -= count as u64;
        Ok(count)
    }

    fn next(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let count = match &mut self.inflate {
            Some(inflate) => inflate.pull(self.reader, &mut self.compressed_left, out)?,
            None => self.copy_stored(out)?,
        };
        self.crc.update(&out[..count]);
        let Some(left) = self.left.checked_sub(count as u64) else {
            return Err(Refusal::new(Code::SizeMismatch).detail(format!("more than {} bytes", self.entry.size)).into());
        };
        self.left = left;
        if count > 0 {
            return Ok(count);
        }
        if self.left != 0 {
            return Err(Refusal::new(Code::SizeMismatch).detail(format!("{} bytes short", self.left)).into());
        }
        if self.compressed_left != 0 {
            return Err(Refusal::new(Code::SizeMismatch).detail("compressed data left over").into());
        }
        if self.crc.sum() != self.entry.crc {
            return Err(Refusal::new(Code::ChecksumMismatch).into());
        }
        Ok(0)
    }
}

impl<R: Read> Source for Data<'_, R> {
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        self.next(out).map_err(|fault| named(fault, &self.entry.path))
    }
}
