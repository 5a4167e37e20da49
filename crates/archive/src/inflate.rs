//! Raw deflate, driven by hand: `flate2`'s readers do not tell whether the stream ended within its input.

use std::io::BufRead;

use flate2::{Decompress, FlushDecompress, Status};

use crate::{Code, Fault, Refusal};

/// An inflater that is used again for every member: its window is allocated once.
#[derive(Debug)]
pub(crate) struct Inflate {
    state: Decompress,
    ended: bool,
}

impl Inflate {
    pub(crate) fn new() -> Self {
        Self { state: Decompress::new(false), ended: false }
    }

    /// Makes it ready for another stream.
    pub(crate) fn reset(&mut self) {
        self.state.reset(false);
        self.ended = false;
    }

    /// Inflates into `out` from at most `left` bytes of `input`, which it takes from `left`. 0 is the end of the stream.
    pub(crate) fn pull<R: BufRead>(&mut self, input: &mut R, left: &mut u64, out: &mut [u8]) -> Result<usize, Fault> {
        while !self.ended && !out.is_empty() {
            let available = fill(input)?;
            let available = &available[..clamp(*left, available.len())];
            let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(available, out, FlushDecompress::None);
            let starved = available.is_empty();
            let consumed = self.state.total_in() - before_in;
            let produced = self.state.total_out() - before_out;
            input.consume(usize::try_from(consumed).unwrap_or(0));
            *left -= consumed;
            match status {
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(Status::Ok | Status::BufError) => {}
                Err(_) => return Err(Refusal::new(Code::CorruptStream).into()),
            }
            if produced > 0 {
                return Ok(clamp(produced, out.len()));
            }
            if starved && !self.ended {
                let code = if *left == 0 { Code::CorruptStream } else { Code::Truncated };
                return Err(Refusal::new(code).detail("the compressed data does not end").into());
            }
        }
        Ok(0)
    }
}

/// The bytes at hand, waiting out interruptions; empty at the end of the file.
pub(crate) fn fill<R: BufRead>(input: &mut R) -> Result<&[u8], Fault> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(input.fill_buf()?)
}

/// `count` as a length of at most `max`.
pub(crate) fn clamp(count: u64, max: usize) -> usize {
    usize::try_from(count).unwrap_or(max).min(max)
}
