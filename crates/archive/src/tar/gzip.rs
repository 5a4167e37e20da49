//! One gzip member (RFC 1952), from the first byte of the file to the last.

use std::io::{BufRead, BufReader, Read};

use flate2::Crc;

use crate::body::{CHUNK_BYTES, Source};
use crate::budget::check_ratio;
use crate::inflate::{Inflate, fill};
use crate::{Code, Fault, Limits, Refusal};

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Longest original name or comment in the header, in bytes. Writers put the name of a file there.
const TEXT_BYTES: usize = 4096;

/// The inflated bytes. The end is given only when the trailer is right and nothing follows it.
#[derive(Debug)]
pub(super) struct Gunzip<'l, R> {
    input: BufReader<R>,
    inflate: Inflate,
    crc: Crc,
    given: u64,
    archive_bytes: u64,
    limits: &'l Limits,
    ended: bool,
}

impl<'l, R: Read> Gunzip<'l, R> {
    /// Reads the header. `input` stands at the first byte of a file of `archive_bytes`.
    pub(super) fn new(input: R, archive_bytes: u64, limits: &'l Limits) -> Result<Self, Fault> {
        let mut input = BufReader::with_capacity(CHUNK_BYTES, input);
        read_header(&mut input)?;
        Ok(Self { input, inflate: Inflate::new(), crc: Crc::new(), given: 0, archive_bytes, limits, ended: false })
    }

    fn check_trailer(&mut self) -> Result<(), Fault> {
        let mut trailer = [0; 8];
        read_exact(&mut self.input, &mut trailer)?;
        let [c0, c1, c2, c3, s0, s1, s2, s3] = trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc.sum() {
            return Err(Refusal::new(Code::ChecksumMismatch).into());
        }
        if u64::from(u32::from_le_bytes([s0, s1, s2, s3])) != self.given & u64::from(u32::MAX) {
            return Err(Refusal::new(Code::SizeMismatch).into());
        }
        match fill(&mut self.input)? {
            [] => Ok(()),
            [0x1f, 0x8b, ..] => Err(Refusal::new(Code::SeveralGzipMembers).into()),
            _ => Err(Refusal::new(Code::TrailingData).into()),
        }
    }
}

impl<R: Read> Source for Gunzip<'_, R> {
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        if self.ended {
            return Ok(0);
        }
        let mut unbounded = u64::MAX;
        let count = self.inflate.pull(&mut self.input, &mut unbounded, out)?;
        self.crc.update(&out[..count]);
        self.given += count as u64;
        check_ratio(self.limits, self.archive_bytes, self.given)?;
        if count == 0 {
            self.check_trailer()?;
            self.ended = true;
        }
        Ok(count)
    }
}

fn read_header<R: BufRead>(input: &mut R) -> Result<(), Fault> {
    let mut header = [0; 10];
    read_exact(input, &mut header)?;
    if !header.starts_with(&[0x1f, 0x8b]) {
        return Err(Refusal::new(Code::NotAnArchive).into());
    }
    let flags = header[3];
    if header[2] != 8 || flags & RESERVED != 0 {
        return Err(Refusal::new(Code::BadGzipHeader).into());
    }
    let mut crc = Crc::new();
    crc.update(&header);
    if flags & EXTRA != 0 {
        let mut length = [0; 2];
        read_exact(input, &mut length)?;
        let mut extra = vec![0; u16::from_le_bytes(length).into()];
        read_exact(input, &mut extra)?;
        crc.update(&length);
        crc.update(&extra);
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let mut byte = [1];
            let mut left = TEXT_BYTES;
            while byte != [0] {
                left = left.checked_sub(1).ok_or_else(|| Refusal::new(Code::BadGzipHeader))?;
                read_exact(input, &mut byte)?;
                crc.update(&byte);
            }
        }
    }
    if flags & HEADER_CRC != 0 {
        let mut stored = [0; 2];
        read_exact(input, &mut stored)?;
        if u32::from(u16::from_le_bytes(stored)) != crc.sum() & 0xffff {
            return Err(Refusal::new(Code::BadGzipHeader).into());
        }
    }
    Ok(())
}

fn read_exact<R: Read>(input: &mut R, bytes: &mut [u8]) -> Result<(), Fault> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Refusal::new(Code::Truncated).into(),
        _ => error.into(),
    })
}
