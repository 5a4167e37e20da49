//! Readers on a member's way: counted, hashed, bounded.

use std::cell::Cell;
use std::io::{self, Read};

use sha2::Digest as _;

use super::PROGRESS_BYTES;

/// Reads until the buffer is full or the reader ends; how many bytes there are.
pub(super) fn fill(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A member's bytes as they pass.
pub(super) struct Body<'r> {
    inner: &'r mut dyn Read,
    path: &'r str,
    progress: &'r dyn Fn(&str),
    hasher: Option<sha2::Sha256>,
    count: u64,
    failed: bool,
}

impl<'r> Body<'r> {
    pub(super) fn new(inner: &'r mut dyn Read, path: &'r str, progress: &'r dyn Fn(&str), hashed: bool) -> Self {
        progress(path);
        Self { inner, path, progress, hasher: hashed.then(sha2::Sha256::new), count: 0, failed: false }
    }

    /// Reads what is left, and gives the size and the hash of all of it.
    ///
    /// # Errors
    ///
    /// The reader's, also one that an analyzer got and kept to itself.
    pub(super) fn finish(mut self, window: &mut [u8]) -> io::Result<(u64, Option<[u8; 32]>)> {
        while !self.failed && self.read(window)? > 0 {}
        if self.failed {
            return Err(io::Error::other("the member could not be read to its end"));
        }
        Ok((self.count, self.hasher.map(|hasher| hasher.finalize().into())))
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                let before = self.count;
                self.count += count as u64;
                if before / PROGRESS_BYTES != self.count / PROGRESS_BYTES {
                    (self.progress)(self.path);
                }
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&buffer[..count]);
                }
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read(buffer),
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }
    }
}

/// Gives at most so many bytes, then an error and a sign.
pub(super) struct Bounded<'s, R> {
    inner: R,
    left: u64,
    exceeded: &'s Cell<bool>,
}

impl<'s, R: Read> Bounded<'s, R> {
    pub(super) fn new(inner: R, bytes: u64, exceeded: &'s Cell<bool>) -> Self {
        Self { inner, left: bytes, exceeded }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => {
                self.exceeded.set(true);
                Err(io::Error::other("larger than the limit"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_to_the_byte() {
        for (bytes, read) in [(9, None), (10, Some(10)), (11, Some(10))] {
            let exceeded = Cell::new(false);
            let result = Bounded::new(&[0; 10][..], bytes, &exceeded).read_to_end(&mut Vec::new());
            assert_eq!(result.ok(), read);
            assert_eq!(exceeded.get(), read.is_none());
        }
    }

    #[test]
    fn an_error_that_an_analyzer_kept_comes_back() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut broken = Broken;
        let mut body = Body::new(&mut broken, "a", &|_| {}, false);
        let _ = body.read(&mut [0; 1]);
        assert!(body.finish(&mut [0; 8]).is_err());
    }
}
