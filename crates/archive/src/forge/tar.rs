//! Forged tars and their gzip frame.

use super::gzip;

const BLOCK: usize = 512;

type Header = [u8; BLOCK];
type Edit<T> = Box<dyn FnOnce(&mut T)>;

/// The body of a pax header: `length key=value\n` for each pair.
#[must_use]
pub fn pax_records(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in pairs {
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        out.extend(format!("{length} {key}={value}\n").into_bytes());
    }
    out
}

/// One header with its data.
pub struct TarEntry {
    before: Vec<u8>,
    header: Header,
    data: Vec<u8>,
    edits: Vec<Edit<Header>>,
    late_edits: Vec<Edit<Header>>,
}

impl TarEntry {
    /// A POSIX header of any type flag. A name or a link target longer than its field needs [`TarEntry::pax`].
    #[must_use]
    pub fn new(flag: u8, name: &str, data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref().to_vec();
        let mut header = [0; BLOCK];
        put(&mut header, 0, &name.as_bytes()[..name.len().min(100)]);
        put(&mut header, 100, b"0000644\0");
        put(&mut header, 108, b"0000000\0");
        put(&mut header, 116, b"0000000\0");
        put(&mut header, 124, format!("{:011o}\0", data.len()).as_bytes());
        put(&mut header, 136, b"00000000000\0");
        header[156] = flag;
        put(&mut header, 257, b"ustar\x0000");
        Self { before: Vec::new(), header, data, edits: Vec::new(), late_edits: Vec::new() }
    }

    /// A regular file; a name of more than 100 bytes goes into a pax header.
    #[must_use]
    pub fn file(name: &str, data: impl AsRef<[u8]>) -> Self {
        let entry = Self::new(b'0', name, data);
        if name.len() > 100 { entry.pax(&[("path", name)]) } else { entry }
    }

    /// A directory; `name` without its slash.
    #[must_use]
    pub fn directory(name: &str) -> Self {
        Self::new(b'5', &format!("{name}/"), []).mode("0000755")
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(name: &str, target: &str) -> Self {
        Self::new(b'2', name, []).link(target)
    }

    /// A hard link.
    #[must_use]
    pub fn hard_link(name: &str, target: &str) -> Self {
        Self::new(b'1', name, []).link(target)
    }

    fn link(mut self, target: &str) -> Self {
        put(&mut self.header, 157, &target.as_bytes()[..target.len().min(100)]);
        self
    }

    /// Another mode, in seven octal digits.
    #[must_use]
    pub fn mode(mut self, mode: &str) -> Self {
        put(&mut self.header, 100, mode.as_bytes());
        self
    }

    /// Another size than the data's in the header.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        self.header(move |header| put(header, 124, format!("{size:011o}\0").as_bytes()))
    }

    /// Lies in the header before its checksum is computed.
    #[must_use]
    pub fn header(mut self, edit: impl FnOnce(&mut Header) + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// Lies in the header after its checksum was computed.
    #[must_use]
    pub fn header_after_checksum(mut self, edit: impl FnOnce(&mut Header) + 'static) -> Self {
        self.late_edits.push(Box::new(edit));
        self
    }

    /// Puts a pax header in front.
    #[must_use]
    pub fn pax(self, pairs: &[(&str, &str)]) -> Self {
        self.extension(b'x', pax_records(pairs))
    }

    /// Puts an extension header of any flag and body in front: `x`, `g`, `L`, `K`.
    #[must_use]
    pub fn extension(mut self, flag: u8, body: impl AsRef<[u8]>) -> Self {
        Self::new(flag, "extension", body).write(&mut self.before);
        self
    }

    fn write(mut self, out: &mut Vec<u8>) {
        out.extend(self.before);
        self.edits.into_iter().for_each(|edit| edit(&mut self.header));
        put(&mut self.header, 148, b"        ");
        let sum: u64 = self.header.iter().map(|&byte| u64::from(byte)).sum();
        put(&mut self.header, 148, format!("{sum:06o}\0 ").as_bytes());
        self.late_edits.into_iter().for_each(|edit| edit(&mut self.header));
        out.extend(self.header);
        let padding = self.data.len().next_multiple_of(BLOCK) - self.data.len();
        out.extend(self.data);
        out.extend(std::iter::repeat_n(0, padding));
    }
}

fn put(header: &mut Header, at: usize, bytes: &[u8]) {
    header[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Builds a tar, by default within one gzip member.
#[derive(Default)]
pub struct TarGz {
    tar: Vec<u8>,
    without_end: bool,
    after_end: Vec<u8>,
    gzip: Vec<Edit<Vec<u8>>>,
}

impl TarGz {
    /// A tar without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file(self, name: &str, data: impl AsRef<[u8]>) -> Self {
        self.entry(TarEntry::file(name, data))
    }

    /// Adds a file of mode 755.
    #[must_use]
    pub fn executable(self, name: &str, data: impl AsRef<[u8]>) -> Self {
        self.entry(TarEntry::file(name, data).mode("0000755"))
    }

    /// Adds a directory; `name` without its slash.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.entry(TarEntry::directory(name))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(TarEntry::symlink(name, target))
    }

    /// Adds a hard link.
    #[must_use]
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(TarEntry::hard_link(name, target))
    }

    /// Adds an entry.
    #[must_use]
    pub fn entry(mut self, entry: TarEntry) -> Self {
        entry.write(&mut self.tar);
        self
    }

    /// Adds a global pax header, as `git archive` writes one with the commit as its comment.
    #[must_use]
    pub fn global_pax(self, pairs: &[(&str, &str)]) -> Self {
        self.entry(TarEntry::new(b'g', "pax_global_header", pax_records(pairs)))
    }

    /// Adds bytes that are no entry.
    #[must_use]
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.tar.extend(bytes.as_ref());
        self
    }

    /// Leaves the two zero blocks at the end away.
    #[must_use]
    pub fn without_end(mut self) -> Self {
        self.without_end = true;
        self
    }

    /// Bytes behind the zero blocks, within the gzip member.
    #[must_use]
    pub fn after_end(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.after_end = bytes.into();
        self
    }

    /// Lies in the finished gzip file.
    #[must_use]
    pub fn gzip(mut self, edit: impl FnOnce(&mut Vec<u8>) + 'static) -> Self {
        self.gzip.push(Box::new(edit));
        self
    }

    /// The bytes of the tar.gz.
    #[must_use]
    pub fn build(mut self) -> Vec<u8> {
        let edits = std::mem::take(&mut self.gzip);
        let mut out = gzip(&self.build_tar());
        edits.into_iter().for_each(|edit| edit(&mut out));
        out
    }

    /// The bytes of the tar, not compressed.
    #[must_use]
    pub fn build_tar(self) -> Vec<u8> {
        let mut out = self.tar;
        if !self.without_end {
            out.extend([0; 2 * BLOCK]);
        }
        out.extend(self.after_end);
        out
    }
}
