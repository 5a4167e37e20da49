//! Forged zips.

use super::{crc32, deflate};

/// The fields of a local or a directory header. Those that only a directory header has are ignored in a local one.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are APPNOTE's (4.3.7 and 4.3.12)")]
pub struct ZipHeader {
    pub made_by: u16,
    pub needed: u16,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub compressed: u32,
    pub size: u32,
    pub name: Vec<u8>,
    pub extra: Vec<u8>,
    pub comment: Vec<u8>,
    pub disk: u16,
    pub external: u32,
    pub offset: u32,
}

impl ZipHeader {
    /// Adds one extra field (APPNOTE 4.5).
    pub fn add_extra(&mut self, id: u16, data: &[u8]) {
        self.extra.extend(id.to_le_bytes());
        self.extra.extend(length(data).to_le_bytes());
        self.extra.extend(data);
    }

    fn write(&self, central: bool, out: &mut Vec<u8>) {
        out.extend(if central { b"PK\x01\x02" } else { b"PK\x03\x04" });
        if central {
            out.extend(self.made_by.to_le_bytes());
        }
        // Time 00:00:00 of 1980-01-01, the earliest that a zip knows.
        for field in [self.needed, self.flags, self.method, 0, 0x21] {
            out.extend(field.to_le_bytes());
        }
        for field in [self.crc, self.compressed, self.size] {
            out.extend(field.to_le_bytes());
        }
        out.extend(length(&self.name).to_le_bytes());
        out.extend(length(&self.extra).to_le_bytes());
        if central {
            for field in [length(&self.comment), self.disk, 0] {
                out.extend(field.to_le_bytes());
            }
            out.extend(self.external.to_le_bytes());
            out.extend(self.offset.to_le_bytes());
        }
        out.extend(&self.name);
        out.extend(&self.extra);
        if central {
            out.extend(&self.comment);
        }
    }
}

fn length(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).expect("a zip's field has at most 65,535 bytes")
}

type Edit<T> = Box<dyn FnOnce(&mut T)>;

/// One entry: a local header, its data, and a directory header.
pub struct ZipEntry {
    header: ZipHeader,
    data: Vec<u8>,
    descriptor: Vec<u8>,
    local: Vec<Edit<ZipHeader>>,
    central: Vec<Edit<ZipHeader>>,
    write_local: bool,
    write_central: bool,
    after: Vec<u8>,
}

impl ZipEntry {
    fn new(name: impl AsRef<[u8]>, mode: u32, data: &[u8], method: u16) -> Self {
        let name = name.as_ref().to_vec();
        let size = u32::try_from(data.len()).expect("forged members are small");
        let utf8 = if name.is_ascii() { 0 } else { 1 << 11 };
        let crc = crc32(data);
        let data = if method == 8 { deflate(data) } else { data.to_vec() };
        let compressed = u32::try_from(data.len()).expect("forged members are small");
        let header = ZipHeader {
            made_by: 3 << 8 | 20,
            needed: 20,
            flags: utf8,
            method,
            crc,
            compressed,
            size,
            name,
            external: mode << 16,
            ..ZipHeader::default()
        };
        Self {
            header,
            data,
            descriptor: Vec::new(),
            local: Vec::new(),
            central: Vec::new(),
            write_local: true,
            write_central: true,
            after: Vec::new(),
        }
    }

    /// A deflated regular file, mode 644.
    #[must_use]
    pub fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self::new(name, 0o100_644, data.as_ref(), 8)
    }

    /// A stored regular file, mode 644.
    #[must_use]
    pub fn stored(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self::new(name, 0o100_644, data.as_ref(), 0)
    }

    /// A directory; `name` without its slash.
    #[must_use]
    pub fn directory(name: impl AsRef<[u8]>) -> Self {
        Self::new([name.as_ref(), b"/"].concat(), 0o040_755, &[], 0)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(name, 0o120_777, target.as_ref(), 0)
    }

    /// Another Unix mode, type bits included.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.header.external = mode << 16;
        self
    }

    /// Other bytes as the entry's data; sizes and checksum stay.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }

    /// Lies in the local header.
    #[must_use]
    pub fn local(mut self, edit: impl FnOnce(&mut ZipHeader) + 'static) -> Self {
        self.local.push(Box::new(edit));
        self
    }

    /// Lies in the directory header. Its offset is already right.
    #[must_use]
    pub fn central(mut self, edit: impl FnOnce(&mut ZipHeader) + 'static) -> Self {
        self.central.push(Box::new(edit));
        self
    }

    /// The same lie in both.
    #[must_use]
    pub fn both(mut self, edit: impl FnOnce(&mut ZipHeader)) -> Self {
        edit(&mut self.header);
        self
    }

    /// An honest data descriptor: flag bit 3, zeros in the local header, the 16-byte record with its signature.
    #[must_use]
    pub fn descriptor(self) -> Self {
        let mut bytes = b"PK\x07\x08".to_vec();
        for field in [self.header.crc, self.header.compressed, self.header.size] {
            bytes.extend(field.to_le_bytes());
        }
        self.descriptor_bytes(bytes)
    }

    /// A data descriptor of any bytes.
    #[must_use]
    pub fn descriptor_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.descriptor = bytes.into();
        self.both(|header| header.flags |= 1 << 3).local(|header| {
            header.crc = 0;
            header.compressed = 0;
            header.size = 0;
        })
    }

    /// Sizes in the ZIP64 field of both headers, where they fit without it.
    #[must_use]
    pub fn zip64(self) -> Self {
        self.both(|header| {
            let sizes = [header.size, header.compressed].map(|size| u64::from(size).to_le_bytes()).concat();
            header.add_extra(1, &sizes);
            header.size = u32::MAX;
            header.compressed = u32::MAX;
        })
    }

    /// No local header and no data: for a directory entry that points elsewhere.
    #[must_use]
    pub fn without_local(mut self) -> Self {
        self.write_local = false;
        self
    }

    /// No directory header: a hidden member.
    #[must_use]
    pub fn without_central(mut self) -> Self {
        self.write_central = false;
        self
    }

    /// Bytes behind the entry that belong to none.
    #[must_use]
    pub fn after(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.after = bytes.into();
        self
    }
}

/// The end record (APPNOTE 4.3.16).
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are APPNOTE's")]
pub struct ZipEnd {
    pub disk: u16,
    pub directory_disk: u16,
    pub entries_here: u16,
    pub entries: u16,
    pub size: u32,
    pub offset: u32,
    pub comment: Vec<u8>,
}

/// The ZIP64 end record and its locator (APPNOTE 4.3.14, 4.3.15).
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are APPNOTE's")]
pub struct ZipEnd64 {
    pub record_size: u64,
    pub disk: u32,
    pub entries_here: u64,
    pub entries: u64,
    pub size: u64,
    pub offset: u64,
    pub extensible: Vec<u8>,
    pub locator_disk: u32,
    pub locator_offset: u64,
    pub disks: u32,
}

/// Builds a zip.
#[derive(Default)]
pub struct Zip {
    prefix: Vec<u8>,
    entries: Vec<ZipEntry>,
    before_end: Vec<u8>,
    end: Vec<Edit<ZipEnd>>,
    zip64: bool,
    end64: Vec<Edit<ZipEnd64>>,
    suffix: Vec<u8>,
}

impl Zip {
    /// A zip without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a deflated file.
    #[must_use]
    pub fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.entry(ZipEntry::file(name, data))
    }

    /// Adds a stored file.
    #[must_use]
    pub fn stored(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.entry(ZipEntry::stored(name, data))
    }

    /// Adds a deflated file of mode 755.
    #[must_use]
    pub fn executable(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.entry(ZipEntry::file(name, data).mode(0o100_755))
    }

    /// Adds a directory; `name` without its slash.
    #[must_use]
    pub fn directory(self, name: impl AsRef<[u8]>) -> Self {
        self.entry(ZipEntry::directory(name))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(ZipEntry::symlink(name, target))
    }

    /// Adds an entry.
    #[must_use]
    pub fn entry(mut self, entry: ZipEntry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Bytes in front of everything; the offsets take them into account, as a self-extracting archive's do.
    #[must_use]
    pub fn prefix(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.prefix = bytes.into();
        self
    }

    /// Bytes between the directory and its end record.
    #[must_use]
    pub fn before_end(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.before_end = bytes.into();
        self
    }

    /// Bytes behind everything.
    #[must_use]
    pub fn suffix(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.suffix = bytes.into();
        self
    }

    /// The archive comment, as `git archive` writes the commit there.
    #[must_use]
    pub fn comment(self, comment: impl Into<Vec<u8>>) -> Self {
        let comment = comment.into();
        self.end(|end| end.comment = comment)
    }

    /// Lies in the end record.
    #[must_use]
    pub fn end(mut self, edit: impl FnOnce(&mut ZipEnd) + 'static) -> Self {
        self.end.push(Box::new(edit));
        self
    }

    /// Writes the ZIP64 end records. Done by itself from 65,536 entries on.
    #[must_use]
    pub fn zip64(mut self) -> Self {
        self.zip64 = true;
        self
    }

    /// Lies in the ZIP64 end record or its locator, which are then written.
    #[must_use]
    pub fn end64(mut self, edit: impl FnOnce(&mut ZipEnd64) + 'static) -> Self {
        self.zip64 = true;
        self.end64.push(Box::new(edit));
        self
    }

    /// The archive's bytes.
    ///
    /// # Panics
    ///
    /// When a field does not fit its place.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        let mut out = self.prefix;
        let mut directory = Vec::new();
        let mut count: u64 = 0;
        for entry in self.entries {
            let mut central = entry.header.clone();
            central.offset = u32::try_from(out.len()).expect("forged archives are small");
            entry.central.into_iter().for_each(|edit| edit(&mut central));
            if entry.write_central {
                central.write(true, &mut directory);
                count += 1;
            }
            let mut local = entry.header;
            entry.local.into_iter().for_each(|edit| edit(&mut local));
            if entry.write_local {
                local.write(false, &mut out);
                out.extend(entry.data);
                out.extend(entry.descriptor);
            }
            out.extend(entry.after);
        }
        let offset = out.len() as u64;
        let size = directory.len() as u64;
        out.extend(directory);
        out.extend(self.before_end);
        if self.zip64 || count > u64::from(u16::MAX) {
            write_end64(count, size, offset, self.end64, &mut out);
        }
        let entries = u16::try_from(count).unwrap_or(u16::MAX);
        let mut end = ZipEnd {
            entries_here: entries,
            entries,
            size: u32::try_from(size).expect("forged archives are small"),
            offset: u32::try_from(offset).expect("forged archives are small"),
            ..ZipEnd::default()
        };
        self.end.into_iter().for_each(|edit| edit(&mut end));
        out.extend(b"PK\x05\x06");
        for field in [end.disk, end.directory_disk, end.entries_here, end.entries] {
            out.extend(field.to_le_bytes());
        }
        out.extend(end.size.to_le_bytes());
        out.extend(end.offset.to_le_bytes());
        out.extend(length(&end.comment).to_le_bytes());
        out.extend(end.comment);
        out.extend(self.suffix);
        out
    }
}

fn write_end64(count: u64, size: u64, offset: u64, edits: Vec<Edit<ZipEnd64>>, out: &mut Vec<u8>) {
    let mut end = ZipEnd64 {
        record_size: 44,
        entries_here: count,
        entries: count,
        size,
        offset,
        locator_offset: out.len() as u64,
        disks: 1,
        ..ZipEnd64::default()
    };
    edits.into_iter().for_each(|edit| edit(&mut end));
    out.extend(b"PK\x06\x06");
    out.extend(end.record_size.to_le_bytes());
    out.extend([45, 0, 45, 0]);
    out.extend(end.disk.to_le_bytes());
    out.extend(end.disk.to_le_bytes());
    for field in [end.entries_here, end.entries, end.size, end.offset] {
        out.extend(field.to_le_bytes());
    }
    out.extend(end.extensible);
    out.extend(b"PK\x06\x07");
    out.extend(end.locator_disk.to_le_bytes());
    out.extend(end.locator_offset.to_le_bytes());
    out.extend(end.disks.to_le_bytes());
}
