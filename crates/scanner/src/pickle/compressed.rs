//! Pickles in zlib, joblib's default compression, and in gzip. Formats of other programs' making are unpacked by the caller,
//! which then sees the pickle itself.

use std::io::{self, Read};

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use gate_core::coverage::{CoverageClass, LostReason};

use super::{Limits, lost};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Zlib,
    Gzip,
}

impl Method {
    /// By the first bytes.
    pub(super) fn of(prefix: &[u8]) -> Option<Self> {
        match prefix {
            // Deflate with a window of 32 KiB, as Python's zlib writes it, and the header's check (RFC 1950). Smaller windows
            // begin with characters that are opcodes.
            [0x78, flags, ..] if (0x7800 + u16::from(*flags)).is_multiple_of(31) => Some(Self::Zlib),
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            _ => None,
        }
    }

    fn inflate<'a>(self, source: &'a mut dyn Read) -> Box<dyn Read + 'a> {
        match self {
            Self::Zlib => Box::new(ZlibDecoder::new(source)),
            Self::Gzip => Box::new(MultiGzDecoder::new(source)),
        }
    }

    /// What the first bytes inflate to, at most `max` bytes of it.
    pub(super) fn start(self, prefix: &[u8], max: usize) -> Vec<u8> {
        let mut source = prefix;
        let mut inflated = self.inflate(&mut source);
        let mut out = vec![0; max];
        let mut filled = 0;
        while filled < max {
            match inflated.read(&mut out[filled..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        out.truncate(filled);
        out
    }

    /// Analyses what the stream inflates to.
    pub(super) fn analyse(
        self,
        limits: &Limits,
        source: &mut dyn Read,
        analyse: impl FnOnce(&mut dyn Read) -> CoverageClass,
    ) -> CoverageClass {
        let mut capped = Capped { inner: self.inflate(source), left: limits.inflated, over: false };
        let class = analyse(&mut capped);
        if capped.over { lost(LostReason::Limit, "it inflates to more bytes than the limit") } else { class }
    }
}

/// Ends the stream at a number of bytes, and remembers whether there were more.
struct Capped<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
    over: bool,
}

impl Read for Capped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.over |= self.inner.read(&mut [0])? > 0;
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}
