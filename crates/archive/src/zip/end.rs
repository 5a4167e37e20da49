//! Where a zip ends and where its directory lies.

use std::io::{Read, Seek, SeekFrom};

use super::records::{
    CENTRAL, END, END_BYTES, END64, END64_BYTES, LOCAL, LOCATOR, LOCATOR_BYTES, SEE_64, u16_at, u32_at, u64_at,
};
use crate::{Code, Fault, Refusal};

/// The longest archive comment and its record: as far from the end as any reader looks.
const TAIL_BYTES: u64 = 65_535 + END_BYTES as u64;

/// What the end records say, once they agree with each other.
#[derive(Debug)]
pub(super) struct End {
    /// Entries in the directory.
    pub(super) entries: u64,
    /// Where the directory begins.
    pub(super) directory: u64,
    /// Where the directory ends: where the first end record begins.
    pub(super) directory_end: u64,
}

/// The three numbers that both end records hold.
struct Claim {
    entries: u64,
    size: u64,
    offset: u64,
}

/// Finds the end record. Readers search for it from either side of the tail and check its comment length or do not: exactly one
/// record must end where the file ends, and no signature may follow it.
pub(super) fn find<R: Read + Seek>(reader: &mut R, len: u64) -> Result<End, Fault> {
    let (start, tail) = read_tail(reader, len)?;
    let signatures = positions(&tail);
    let mut exact = signatures.iter().copied().filter(|&at| reach(&tail, at) == Some(tail.len()));
    let Some(at) = exact.next() else {
        return Err(no_end(reader, &tail, &signatures)?.into());
    };
    if exact.next().is_some() || signatures.last() != Some(&at) {
        return Err(Refusal::new(Code::SeveralEndRecords).into());
    }
    let position = start + at as u64;
    let record = &tail[at..];
    if u16_at(record, 4) != 0 || u16_at(record, 6) != 0 || u16_at(record, 8) != u16_at(record, 10) {
        return Err(Refusal::new(Code::MultiDisk).into());
    }
    let short = Claim {
        entries: u16_at(record, 10).into(),
        size: u32_at(record, 12).into(),
        offset: u32_at(record, 16).into(),
    };
    // Some readers look for the ZIP64 locator always, others only when a short field is at its maximum: a locator counts always.
    let (claim, directory_end) = match position.checked_sub(LOCATOR_BYTES as u64) {
        Some(place) => match read_at::<R, LOCATOR_BYTES>(reader, place)? {
            locator if locator.starts_with(&LOCATOR) => read_64(reader, &locator, place, &short)?,
            _ => (short, position),
        },
        None => (short, position),
    };
    if claim.offset.checked_add(claim.size) != Some(directory_end) {
        return Err(Refusal::new(Code::EndRecordLie).into());
    }
    Ok(End { entries: claim.entries, directory: claim.offset, directory_end })
}

/// Reads the ZIP64 end record in front of its locator, and holds the short record against it.
fn read_64<R: Read + Seek>(
    reader: &mut R,
    locator: &[u8],
    locator_position: u64,
    short: &Claim,
) -> Result<(Claim, u64), Fault> {
    let lie = || Fault::from(Refusal::new(Code::Zip64Lie));
    let position = locator_position.checked_sub(END64_BYTES as u64).ok_or_else(lie)?;
    let record = read_at::<R, END64_BYTES>(reader, position)?;
    let long = Claim { entries: u64_at(&record, 32), size: u64_at(&record, 40), offset: u64_at(&record, 48) };
    let in_place =
        record.starts_with(&END64) && u64_at(locator, 8) == position && u64_at(&record, 4) == (END64_BYTES - 12) as u64;
    if !in_place {
        return Err(lie());
    }
    let one_disk = u32_at(locator, 4) == 0
        && u32_at(locator, 16) <= 1
        && u32_at(&record, 16) == 0
        && u32_at(&record, 20) == 0
        && u64_at(&record, 24) == long.entries;
    if !one_disk {
        return Err(Refusal::new(Code::MultiDisk).into());
    }
    let agrees = |short: u64, long: u64, see_64: u64| short == see_64 || short == long;
    let sound = agrees(short.entries, long.entries, 0xffff)
        && agrees(short.size, long.size, SEE_64)
        && agrees(short.offset, long.offset, SEE_64);
    if sound { Ok((long, position)) } else { Err(lie()) }
}

/// Why no end record fits: bytes follow it, its comment is cut, there is none though the file begins as a zip, or it is no zip.
fn no_end<R: Read + Seek>(reader: &mut R, tail: &[u8], signatures: &[usize]) -> Result<Refusal, Fault> {
    let code = match signatures.last() {
        Some(&at) if reach(tail, at).is_some_and(|end| end < tail.len()) => Code::TrailingData,
        Some(_) => Code::Truncated,
        None => {
            reader.rewind()?;
            let mut head = [0; 4];
            match reader.read_exact(&mut head) {
                Ok(()) if head == LOCAL => Code::Truncated,
                Ok(()) => Code::NotAnArchive,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Code::NotAnArchive,
                Err(error) => return Err(error.into()),
            }
        }
    };
    Ok(Refusal::new(code))
}

/// Whether a zip reader, which searches the end of a file and accepts what stands in front, would take this file for a zip:
/// an end record, however long its comment, with a ZIP64 locator, an empty directory or a directory header where it says.
pub(crate) fn would_open<R: Read + Seek>(reader: &mut R, len: u64) -> Result<bool, Fault> {
    let (start, tail) = read_tail(reader, len)?;
    for at in positions(&tail) {
        if tail.len() - at < END_BYTES {
            continue;
        }
        let position = start + at as u64;
        let size = u64::from(u32_at(&tail, at + 12));
        if size == 0 {
            return Ok(true);
        }
        let locator = match position.checked_sub(LOCATOR_BYTES as u64) {
            Some(place) => read_at::<R, 4>(reader, place)? == LOCATOR,
            None => false,
        };
        let directory = match position.checked_sub(size) {
            Some(place) => read_at::<R, 4>(reader, place)? == CENTRAL,
            None => false,
        };
        if locator || directory {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_tail<R: Read + Seek>(reader: &mut R, len: u64) -> Result<(u64, Vec<u8>), Fault> {
    let start = len.saturating_sub(TAIL_BYTES);
    reader.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    reader.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok((start, tail))
}

/// Reads bytes that are known to lie within the file.
fn read_at<R: Read + Seek, const N: usize>(reader: &mut R, position: u64) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    reader.seek(SeekFrom::Start(position))?;
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Where end-of-directory signatures stand.
fn positions(tail: &[u8]) -> Vec<usize> {
    tail.windows(END.len()).enumerate().filter(|(_, window)| *window == END).map(|(at, _)| at).collect()
}

/// Where the record at `at` says that it ends, comment included; `None` when the record itself is cut.
fn reach(tail: &[u8], at: usize) -> Option<usize> {
    (tail.len() - at >= END_BYTES).then(|| at + END_BYTES + usize::from(u16_at(tail, at + 20)))
}
