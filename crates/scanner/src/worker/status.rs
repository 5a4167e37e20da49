//! Which member the child is at, in a file that both processes hold open.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

/// Where the runtime's messages begin; the status lies before.
const MESSAGES: u64 = 64 * 1024;

/// Count and length before the path.
const HEAD: usize = 16;

/// The longest path that is written down whole. The archive reader's limits keep paths, also nested ones, far below.
const PATH_BYTES: usize = 32 * 1024;

/// Bytes of the runtime's messages that are looked at.
const MESSAGE_BYTES: u64 = 4096;

/// The child's end.
pub(super) struct StatusWriter {
    file: File,
    count: Cell<u64>,
    buffer: RefCell<Vec<u8>>,
}

impl StatusWriter {
    pub(super) fn new(file: File) -> Self {
        Self { file, count: Cell::new(0), buffer: RefCell::new(Vec::new()) }
    }

    /// Writes down that the child is at this member now. An error changes nothing: the parent then sees no progress.
    pub(super) fn at(&self, path: &str) {
        self.count.set(self.count.get() + 1);
        let path = &path.as_bytes()[..path.len().min(PATH_BYTES)];
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        buffer.extend_from_slice(&self.count.get().to_le_bytes());
        buffer.extend_from_slice(&(path.len() as u64).to_le_bytes());
        buffer.extend_from_slice(path);
        let _ = self.file.write_all_at(&buffer, 0);
    }
}

/// The parent's end.
pub(super) struct Status {
    file: File,
}

impl Status {
    /// A new file, and what the child gets as its error output.
    pub(super) fn new() -> io::Result<(Self, File)> {
        let mut file = tempfile::tempfile()?;
        file.seek(SeekFrom::Start(MESSAGES))?;
        let child = file.try_clone()?;
        Ok((Self { file }, child))
    }

    /// How often the child has written; 0 before the first time.
    pub(super) fn count(&self) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 0).map_or(0, |()| u64::from_le_bytes(bytes))
    }

    /// The member that the child was at. Only to be asked when the child has ended, or the answer may be torn.
    pub(super) fn path(&self) -> Option<String> {
        let mut head = [0; HEAD];
        self.file.read_exact_at(&mut head, 0).ok()?;
        let length = usize::try_from(u64::from_le_bytes(*head.last_chunk()?)).ok()?;
        let mut path = vec![0; length.min(PATH_BYTES)];
        self.file.read_exact_at(&mut path, HEAD as u64).ok()?;
        String::from_utf8(path).ok()
    }

    /// What the child's runtime said; untrusted text.
    pub(super) fn messages(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.file.seek(SeekFrom::Start(MESSAGES));
        let _ = (&mut self.file).take(MESSAGE_BYTES).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_parent_reads_what_the_child_wrote() {
        let (mut status, mut child) = Status::new().unwrap();
        assert_eq!((status.count(), status.path()), (0, None));
        let writer = StatusWriter::new(child.try_clone().unwrap());
        writer.at("a/long/path.py");
        child.write_all(b"stack overflow").unwrap();
        writer.at("b");
        assert_eq!((status.count(), status.path().as_deref()), (2, Some("b")));
        assert_eq!(status.messages(), "stack overflow");
    }

    #[test]
    fn what_a_broken_child_wrote_is_bounded() {
        let (status, child) = Status::new().unwrap();
        child.write_all_at(&[0xff; 64], 0).unwrap();
        assert_eq!(status.path(), None);
        let (status, child) = Status::new().unwrap();
        StatusWriter::new(child).at(&"x".repeat(PATH_BYTES + 1));
        assert_eq!(status.path().map(|path| path.len()), Some(PATH_BYTES));
    }
}
