//! The bytes of a tar, in blocks and in bodies.

use std::io::{ErrorKind, Read};

use super::gzip::Gunzip;
use super::header::{BLOCK_BYTES, Block};
use crate::body::{CHUNK_BYTES, Source};
use crate::inflate::clamp;
use crate::{Code, Fault, Refusal};

/// The tar as it lies in the file, or inflated.
#[derive(Debug)]
pub(super) enum Bytes<'l, R> {
    Plain(R),
    Gzip(Box<Gunzip<'l, R>>),
}

impl<R: Read> Source for Bytes<'_, R> {
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        match self {
            Self::Gzip(gunzip) => gunzip.pull(out),
            Self::Plain(reader) => loop {
                match reader.read(out) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    outcome => return Ok(outcome?),
                }
            },
        }
    }
}

/// [`Bytes`] with a buffer, so that headers come out of large reads.
#[derive(Debug)]
pub(super) struct Stream<'l, R> {
    bytes: Bytes<'l, R>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<'l, R: Read> Stream<'l, R> {
    pub(super) fn new(bytes: Bytes<'l, R>) -> Self {
        Self { bytes, buffer: vec![0; CHUNK_BYTES], start: 0, end: 0 }
    }

    /// Reads one block. `None` at the end of the bytes.
    pub(super) fn block(&mut self) -> Result<Option<Block>, Fault> {
        let mut block = [0; BLOCK_BYTES];
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            match self.pull(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(Refusal::new(Code::Truncated).into()),
                count => filled += count,
            }
        }
        Ok(Some(block))
    }

    /// The next `size` bytes and the padding behind them.
    pub(super) fn data(&mut self, size: u64) -> Data<'_, 'l, R> {
        let padding = size.next_multiple_of(BLOCK_BYTES as u64) - size;
        Data { stream: self, left: size, padding }
    }
}

impl<R: Read> Source for Stream<'_, R> {
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        if self.start == self.end {
            if out.len() >= self.buffer.len() {
                return self.bytes.pull(out);
            }
            self.start = 0;
            self.end = self.bytes.pull(&mut self.buffer)?;
        }
        let count = out.len().min(self.end - self.start);
        out[..count].copy_from_slice(&self.buffer[self.start..self.start + count]);
        self.start += count;
        Ok(count)
    }
}

/// The body of one member.
pub(super) struct Data<'s, 'l, R> {
    stream: &'s mut Stream<'l, R>,
    left: u64,
    padding: u64,
}

impl<R: Read> Source for Data<'_, '_, R> {
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let wanted = clamp(self.left, out.len());
        if wanted > 0 {
            let count = self.stream.pull(&mut out[..wanted])?;
            if count == 0 {
                return Err(Refusal::new(Code::Truncated).into());
            }
            self.left -= count as u64;
            return Ok(count);
        }
        let mut padding = [0; BLOCK_BYTES];
        while self.padding > 0 {
            let wanted = clamp(self.padding, padding.len());
            match self.stream.pull(&mut padding[..wanted])? {
                0 => return Err(Refusal::new(Code::Truncated).into()),
                count => self.padding -= count as u64,
            }
        }
        Ok(0)
    }
}
