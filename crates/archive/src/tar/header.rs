//! One 512-byte header of a tar (POSIX `pax`, "ustar Interchange Format"; GNU tar, "Basic Tar Format").

use crate::Code;

/// Everything in a tar comes in blocks of this many bytes.
pub(super) const BLOCK_BYTES: usize = 512;

/// A block as it lies in the archive.
pub(super) type Block = [u8; BLOCK_BYTES];

/// What a header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) size: u64,
    pub(super) mode: u64,
    /// Prefix and name, put together.
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
}

/// Whether the stored checksum is the sum of the block's bytes, its own field taken as spaces.
///
/// Old writers added signed bytes, which differs for bytes above 127 only; that form is not accepted.
pub(super) fn checksum_holds(block: &Block) -> bool {
    let sum: u64 =
        block.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { byte.into() }).sum();
    number(&block[148..156]) == Some(sum) && block[148] & 0x80 == 0
}

impl Header {
    /// Reads a block whose checksum holds.
    ///
    /// Every number must be sound, also those nobody needs here: Python's `tarfile` takes a header with one bad number for the
    /// end of the archive, others read on.
    pub(super) fn parse(block: &Block) -> Result<Self, Code> {
        let posix = &block[257..265] == b"ustar\x0000";
        let gnu = &block[257..265] == b"ustar  \0";
        let old = block[257..265].iter().all(|&byte| byte == 0);
        if !(posix || gnu || old) {
            return Err(Code::BadTarHeader);
        }
        // Only POSIX has a prefix, but some readers (Python) put it in front whatever the magic says.
        let prefix = text(&block[345..500]);
        if !posix && !prefix.is_empty() {
            return Err(Code::BadTarHeader);
        }
        for field in [108..116, 116..124, 136..148, 329..337, 337..345] {
            let field = &block[field];
            let negative = field[0] == 0xff;
            if !negative && number(field).is_none() {
                return Err(Code::BadTarHeader);
            }
        }
        let mut name = Vec::new();
        if !prefix.is_empty() {
            name.extend_from_slice(prefix);
            name.push(b'/');
        }
        name.extend_from_slice(text(&block[..100]));
        Ok(Self {
            kind: block[156],
            size: number(&block[124..136]).ok_or(Code::BadTarHeader)?,
            mode: number(&block[100..108]).ok_or(Code::BadTarHeader)?,
            name,
            link: text(&block[157..257]).to_owned(),
        })
    }
}

/// A text field, up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number: octal digits between spaces, ended by NUL or space, or GNU's base 256 (a first byte of 0x80). An empty field is 0.
/// `None` for anything else, a sign or a number beyond 63 bits included.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let fits = |value: &u64| *value < 1 << 55;
        let digits = field[1..].iter();
        let value = digits
            .copied()
            .try_fold(0, |value, digit| Some(value).filter(fits).map(|value| value << 8 | u64::from(digit)));
        return value.filter(|_| field[0] == 0x80);
    }
    let field = text(field).trim_ascii();
    if field.iter().any(|byte| !(b'0'..=b'7').contains(byte)) {
        return None;
    }
    Some(field.iter().fold(0, |value, &digit| value << 3 | u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers() {
        for (field, value) in [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"00000644", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"0o00644\0", None),
            (b"000_644\0", None),
            (b"644\x00junk", Some(0o644)),
            (b"\x80\0\0\0\0\0\x02\x01", Some(513)),
            (b"\x81\0\0\0\0\0\x02\x01", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x01\0\0\0\0"), Some(1 << 32));
        assert_eq!(number(b"\x80\0\0\0\xff\0\0\0\0\0\0\0"), None);
    }
}
