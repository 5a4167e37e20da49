//! The framing check: every record of a zip, in the order of the bytes, against its directory.
//!
//! After it, readers that trust the directory and readers that stream the local headers see the same members (the promise of
//! PyPI Warehouse's `utils/zipfiles.py`, whose refusals are here; honest data descriptors are accepted in addition, because
//! streaming zip writers cannot do without). The archive's data is not inflated: that comes with the bodies.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use super::end::{self, End};
use super::records::{
    CENTRAL, CENTRAL_BYTES, DEFLATED, DESCRIPTOR, END, FLAG_DESCRIPTOR, FLAG_EFFORT, FLAG_ENCRYPTED, FLAG_MASKED,
    FLAG_STRONG, FLAG_UTF8, FLAGS_KNOWN, Fields, LOCAL, LOCAL_BYTES, STORED, u16_at, u32_at, u64_at,
};
use crate::budget::Budget;
use crate::inflate::{clamp, fill};
use crate::tree::{LinkId, Node, Tree};
use crate::{Code, Fault, Limits, Refusal, Unreadable, name};

/// Read-ahead among local headers: small, because the data between them is skipped.
const HEADER_CHUNK_BYTES: usize = 8 * 1024;

/// The newest version of the format, 6.3, as headers write it.
const VERSION_MAX: u8 = 63;

const MODE_TYPE: u32 = 0o170_000;
const MODE_FILE: u32 = 0o100_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_LINK: u32 = 0o120_000;
const MODE_EXECUTE: u32 = 0o111;
/// Hosts whose external attributes hold a Unix mode (4.4.2.2): Unix and Darwin.
const UNIX_HOSTS: [u8; 2] = [3, 19];

/// One verified entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) node: Node,
    pub(super) link: Option<LinkId>,
    pub(super) executable: bool,
    pub(super) unreadable: Option<Unreadable>,
    pub(super) deflated: bool,
    pub(super) size: u64,
    pub(super) compressed: u64,
    pub(super) crc: u32,
    /// Where the data begins; until the local header is read, where that header begins.
    pub(super) position: u64,
    flags: u16,
    method: u16,
}

/// A zip whose framing holds.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order of the bytes.
    pub(super) entries: Vec<Entry>,
    pub(super) tree: Tree,
    pub(super) files: u64,
    pub(super) total_bytes: u64,
}

/// Checks the whole framing and the names, and takes the declared sizes from the budget.
pub(super) fn check<R: Read + Seek>(reader: &mut R, len: u64, limits: &Limits) -> Result<Plan, Fault> {
    let end = end::find(reader, len)?;
    let mut entries = read_directory(reader, &end, limits)?;
    entries.sort_by_key(|entry| entry.position);
    check_local_headers(reader, &mut entries, end.directory, limits)?;

    let mut budget = Budget::new(limits, len);
    let mut tree = Tree::new();
    let mut files = 0;
    for entry in &mut entries {
        entry.link = tree.add(&entry.path, entry.node, false, limits)?;
        files += u64::from(entry.node == Node::File);
        if entry.unreadable.is_none() {
            budget.take(&entry.path, entry.size)?;
        }
    }
    if files == 0 {
        return Err(Refusal::new(Code::NothingToAnalyse).into());
    }
    Ok(Plan { entries, tree, files, total_bytes: budget.total() })
}

/// Reads the directory from its first byte to its last. Nothing is allocated by its declared count or size.
fn read_directory<R: Read + Seek>(reader: &mut R, end: &End, limits: &Limits) -> Result<Vec<Entry>, Fault> {
    reader.seek(SeekFrom::Start(end.directory))?;
    let mut reader = BufReader::with_capacity(crate::body::CHUNK_BYTES, reader).take(end.directory_end - end.directory);
    let mut entries = Vec::new();
    let mut names_bytes = 0;
    while reader.limit() > 0 {
        if entries.len() as u64 == limits.members {
            return Err(Refusal::new(Code::TooManyMembers).detail(format!("more than {}", limits.members)).into());
        }
        let mut header = [0; CENTRAL_BYTES];
        read_within(&mut reader, &mut header)?;
        if !header.starts_with(&CENTRAL) {
            return Err(Refusal::new(Code::BadDirectory).into());
        }
        let raw_name = read_bytes(&mut reader, u16_at(&header, 28))?;
        let extra = read_bytes(&mut reader, u16_at(&header, 30))?;
        names_bytes += raw_name.len() as u64;
        if names_bytes > limits.names_bytes {
            return Err(Refusal::new(Code::NamesTooLarge).into());
        }
        entries.push(read_entry(&header, &raw_name, &extra, limits)?);
    }
    if entries.len() as u64 != end.entries {
        let found = format!("{} entries, not {}", entries.len(), end.entries);
        return Err(Refusal::new(Code::EndRecordLie).detail(found).into());
    }
    Ok(entries)
}

fn read_within<R: Read>(reader: &mut R, bytes: &mut [u8]) -> Result<(), Fault> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Refusal::new(Code::BadDirectory).into(),
        _ => error.into(),
    })
}

fn read_bytes<R: Read>(reader: &mut R, count: u16) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; count.into()];
    read_within(reader, &mut bytes)?;
    Ok(bytes)
}

fn read_entry(header: &[u8; CENTRAL_BYTES], raw: &[u8], extra: &[u8], limits: &Limits) -> Result<Entry, Refusal> {
    let shown = String::from_utf8_lossy(raw);
    let refuse = |code| Refusal::of(code, &shown);
    let fields = Fields::central(header, raw, extra).map_err(refuse)?;
    if fields.flags & FLAG_MASKED != 0 {
        return Err(refuse(Code::EncryptedDirectory));
    }
    if fields.flags & !FLAGS_KNOWN != 0 {
        return Err(refuse(Code::UnknownFlags).detail(format!("{:#06x}", fields.flags)));
    }
    // The low byte is the version, the high byte a host that no reader asks for (4.4.3). Python refuses to go beyond, others do not.
    if header[6] > VERSION_MAX {
        return Err(refuse(Code::UnknownVersion).detail(header[6].to_string()));
    }
    if u16_at(header, 32) != 0 {
        return Err(refuse(Code::EntryComment));
    }
    if u16_at(header, 34) != 0 {
        return Err(refuse(Code::MultiDisk));
    }
    // Without the flag some readers take UTF-8 and others code page 437 (appendix D): only ASCII is the same in both.
    let Some(path) = str::from_utf8(raw).ok().filter(|path| path.is_ascii() || fields.flags & FLAG_UTF8 != 0) else {
        return Err(refuse(Code::NameEncoding));
    };
    let (path, slash) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
    let check = if slash { name::check_directory } else { name::check };
    check(path, &shown, limits)?;

    let mode = u32_at(header, 38) >> 16;
    let node = node(slash, mode, header[5]).map_err(refuse)?;
    let unreadable = match fields.method {
        _ if fields.flags & (FLAG_ENCRYPTED | FLAG_STRONG) != 0 => Some(Unreadable::Encrypted),
        STORED | DEFLATED => None,
        method => Some(Unreadable::Method(method)),
    };
    if node == Node::Directory && (fields.size != 0 || fields.method == STORED && fields.compressed != 0) {
        return Err(refuse(Code::UnexpectedPayload));
    }
    if unreadable.is_none() && fields.method == STORED && fields.compressed != fields.size {
        return Err(refuse(Code::SizeMismatch));
    }
    Ok(Entry {
        path: path.to_owned(),
        node,
        link: None,
        executable: node == Node::File && mode & MODE_EXECUTE != 0,
        unreadable,
        deflated: fields.method == DEFLATED,
        size: fields.size,
        compressed: fields.compressed,
        crc: fields.crc,
        position: fields.offset,
        flags: fields.flags,
        method: fields.method,
    })
}

/// What an entry is. Most readers go by the slash, some by the mode: they must not differ.
fn node(slash: bool, mode: u32, host: u8) -> Result<Node, Code> {
    match (slash, mode & MODE_TYPE) {
        (true, 0 | MODE_DIRECTORY | MODE_FILE) => Ok(Node::Directory),
        (false, 0 | MODE_FILE) => Ok(Node::File),
        (false, MODE_LINK) if UNIX_HOSTS.contains(&host) => Ok(Node::Link),
        (_, MODE_LINK | MODE_DIRECTORY) => Err(Code::KindMismatch),
        _ => Err(Code::SpecialFile),
    }
}

/// The file at a position, read ahead a little: going on to the next header mostly stays within the buffer.
struct At<R> {
    reader: BufReader<R>,
    position: u64,
}

impl<R: Read + Seek> At<R> {
    fn new(mut reader: R) -> Result<Self, Fault> {
        reader.rewind()?;
        Ok(Self { reader: BufReader::with_capacity(HEADER_CHUNK_BYTES, reader), position: 0 })
    }

    fn go(&mut self, position: u64) -> Result<(), Fault> {
        let distance = i64::try_from(i128::from(position) - i128::from(self.position)).unwrap_or(i64::MAX);
        self.reader.seek_relative(distance)?;
        self.position = position;
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        self.reader.read_exact(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// Walks the local headers, which must fill the file from its first byte to the directory.
fn check_local_headers<R: Read + Seek>(
    reader: &mut R,
    entries: &mut [Entry],
    directory: u64,
    limits: &Limits,
) -> Result<(), Fault> {
    let mut reader = At::new(reader)?;
    let mut expected = 0;
    let mut previous: Option<&str> = None;
    for entry in entries.iter_mut() {
        check_adjacent(&mut reader, expected, entry.position, previous)?;
        reader.go(entry.position)?;
        expected = check_local_header(&mut reader, entry, directory, limits)?;
        previous = Some(&entry.path);
    }
    check_adjacent(&mut reader, expected, directory, previous)
}

/// `expected` is where the last record ended, `actual` where the directory says that the next begins.
fn check_adjacent<R: Read + Seek>(
    reader: &mut At<R>,
    expected: u64,
    actual: u64,
    previous: Option<&str>,
) -> Result<(), Fault> {
    if expected == actual {
        return Ok(());
    }
    if actual < expected {
        return Err(previous
            .map_or_else(|| Refusal::new(Code::Overlap), |path| Refusal::of(Code::Overlap, path))
            .into());
    }
    let mut signature = [0; 4];
    reader.go(expected)?;
    reader.read(&mut signature)?;
    Err(match previous {
        Some(path) if signature == LOCAL => Refusal::of(Code::HiddenMember, path),
        Some(path) => Refusal::of(Code::Gap, path),
        None if signature == LOCAL => Refusal::new(Code::HiddenMember),
        None => Refusal::new(Code::PrefixData),
    }
    .into())
}

/// Checks one local header and its descriptor, sets the entry's position to its data and returns where the entry ends.
fn check_local_header<R: Read + Seek>(
    reader: &mut At<R>,
    entry: &mut Entry,
    directory: u64,
    limits: &Limits,
) -> Result<u64, Fault> {
    let refuse = |code| Fault::from(Refusal::of(code, &entry.path));
    let mut header = [0; LOCAL_BYTES];
    let start = entry.position;
    let head_end = start.checked_add(LOCAL_BYTES as u64).filter(|end| *end <= directory);
    let Some(head_end) = head_end else { return Err(refuse(Code::BadLocalHeader)) };
    reader.read(&mut header)?;
    if !header.starts_with(&LOCAL) {
        return Err(refuse(Code::BadLocalHeader));
    }
    let (name_bytes, extra_bytes) = (u16_at(&header, 26), u16_at(&header, 28));
    let data = head_end + u64::from(name_bytes) + u64::from(extra_bytes);
    let data_end = data.checked_add(entry.compressed).filter(|end| *end <= directory);
    let Some(data_end) = data_end else { return Err(refuse(Code::Overlap)) };
    let mut raw = vec![0; name_bytes.into()];
    reader.read(&mut raw)?;
    let mut extra = vec![0; extra_bytes.into()];
    reader.read(&mut extra)?;

    let path = raw.strip_suffix(b"/").unwrap_or(&raw);
    if path != entry.path.as_bytes() || (path.len() != raw.len()) != (entry.node == Node::Directory) {
        return Err(refuse(Code::NameMismatch));
    }
    let local = Fields::local(&header, &raw, &extra, limits.empty_zip64).map_err(refuse)?;
    let described = local.flags & FLAG_DESCRIPTOR != 0;
    let same = |local: u64, central: u64| local == central || described && local == 0;
    if (local.flags ^ entry.flags) & !FLAG_EFFORT != 0
        || local.method != entry.method
        || !same(local.crc.into(), entry.crc.into())
        || !same(local.compressed, entry.compressed)
        || !same(local.size, entry.size)
    {
        return Err(refuse(Code::HeaderMismatch));
    }
    entry.position = data;
    if described { check_descriptor(reader, entry, data_end, directory, local.zip64) } else { Ok(data_end) }
}

/// Checks the descriptor behind an entry's data and returns where it ends.
///
/// A streaming reader finds it where the deflated data ends, which is checked when that is inflated, or, with stored data, by
/// searching for a signature: the data must then hold none. The descriptor has its signature (optional in 4.3.9.3, but
/// readers guess without it), is 64-bit exactly when the local header has the ZIP64 field (4.3.9.2), and repeats the directory.
fn check_descriptor<R: Read + Seek>(
    reader: &mut At<R>,
    entry: &Entry,
    data_end: u64,
    directory: u64,
    wide: bool,
) -> Result<u64, Fault> {
    let refuse = || Fault::from(Refusal::of(Code::DataDescriptor, &entry.path));
    let length: u8 = if wide { 24 } else { 16 };
    let end = data_end + u64::from(length);
    if end > directory {
        return Err(refuse());
    }
    if entry.method == STORED && entry.unreadable.is_none() && holds_signature(reader, entry.compressed)? {
        return Err(refuse());
    }
    reader.go(data_end)?;
    let mut bytes = [0; 24];
    let bytes = &mut bytes[..length.into()];
    reader.read(bytes)?;
    let (compressed, size) =
        if wide { (u64_at(bytes, 8), u64_at(bytes, 16)) } else { (u32_at(bytes, 8).into(), u32_at(bytes, 12).into()) };
    let honest = bytes.starts_with(&DESCRIPTOR)
        && u32_at(bytes, 4) == entry.crc
        && compressed == entry.compressed
        && size == entry.size;
    if honest { Ok(end) } else { Err(refuse()) }
}

/// Whether the next `left` bytes hold a signature at which a streaming reader could take stored data to end.
fn holds_signature<R: Read + Seek>(reader: &mut At<R>, mut left: u64) -> Result<bool, Fault> {
    let mut last = [0_u8; 4];
    while left > 0 {
        let chunk = fill(&mut reader.reader)?;
        let chunk = &chunk[..clamp(left, chunk.len())];
        if chunk.is_empty() {
            return Ok(false);
        }
        for &byte in chunk {
            last = [last[1], last[2], last[3], byte];
            if [LOCAL, CENTRAL, END, DESCRIPTOR].contains(&last) {
                return Ok(true);
            }
        }
        let count = chunk.len();
        left -= count as u64;
        reader.reader.consume(count);
        reader.position += count as u64;
    }
    Ok(false)
}
