//! The records of a zip, as PKWARE's APPNOTE 6.3.10 lays them out, without their signatures' meaning.

use crate::Code;

pub(super) const LOCAL: [u8; 4] = *b"PK\x03\x04";
pub(super) const CENTRAL: [u8; 4] = *b"PK\x01\x02";
pub(super) const END: [u8; 4] = *b"PK\x05\x06";
pub(super) const END64: [u8; 4] = *b"PK\x06\x06";
pub(super) const LOCATOR: [u8; 4] = *b"PK\x06\x07";
pub(super) const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

/// Fixed part of a local header (4.3.7).
pub(super) const LOCAL_BYTES: usize = 30;
/// Fixed part of a directory header (4.3.12).
pub(super) const CENTRAL_BYTES: usize = 46;
/// Fixed part of the end record (4.3.16).
pub(super) const END_BYTES: usize = 22;
/// The ZIP64 end record without extensible data (4.3.14).
pub(super) const END64_BYTES: usize = 56;
/// The ZIP64 locator (4.3.15).
pub(super) const LOCATOR_BYTES: usize = 20;

/// A 32-bit field that says "see the ZIP64 field" (4.4.1.4).
pub(super) const SEE_64: u64 = 0xffff_ffff;

pub(super) const FLAG_ENCRYPTED: u16 = 1;
pub(super) const FLAG_DESCRIPTOR: u16 = 1 << 3;
pub(super) const FLAG_STRONG: u16 = 1 << 6;
pub(super) const FLAG_UTF8: u16 = 1 << 11;
pub(super) const FLAG_MASKED: u16 = 1 << 13;
/// Bits 1 and 2 say how hard the compressor tried: writers differ in them between the two headers, and no reader asks.
pub(super) const FLAG_EFFORT: u16 = 0b110;
pub(super) const FLAGS_KNOWN: u16 =
    FLAG_ENCRYPTED | FLAG_EFFORT | FLAG_DESCRIPTOR | FLAG_STRONG | FLAG_UTF8 | FLAG_MASKED;

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |field| u16::from_le_bytes([field[0], field[1]]))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |field| u32::from_le_bytes([field[0], field[1], field[2], field[3]]))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The fields that stand in both headers of an entry, ZIP64 resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
    /// Offset of the local header; 0 in a local header.
    pub(super) offset: u64,
    /// A ZIP64 extra field is present.
    pub(super) zip64: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Local {
        /// See [`crate::Limits::empty_zip64`].
        empty_zip64: bool,
    },
    Central,
}

impl Fields {
    /// Reads a local header's fixed part and its extra fields.
    pub(super) fn local(
        header: &[u8; LOCAL_BYTES],
        name: &[u8],
        extra: &[u8],
        empty_zip64: bool,
    ) -> Result<Self, Code> {
        let mut fields = Self {
            flags: u16_at(header, 6),
            method: u16_at(header, 8),
            crc: u32_at(header, 14),
            compressed: u32_at(header, 18).into(),
            size: u32_at(header, 22).into(),
            offset: 0,
            zip64: false,
        };
        fields.read_extra(name, extra, Header::Local { empty_zip64 })?;
        Ok(fields)
    }

    /// Reads a directory header's fixed part and its extra fields.
    pub(super) fn central(header: &[u8; CENTRAL_BYTES], name: &[u8], extra: &[u8]) -> Result<Self, Code> {
        let mut fields = Self {
            flags: u16_at(header, 8),
            method: u16_at(header, 10),
            crc: u32_at(header, 16),
            compressed: u32_at(header, 20).into(),
            size: u32_at(header, 24).into(),
            offset: u32_at(header, 42).into(),
            zip64: false,
        };
        fields.read_extra(name, extra, Header::Central)?;
        Ok(fields)
    }

    /// Walks the extra fields (4.5): identifiers 0x0001 (ZIP64, 4.5.3) and 0x7075 (Unicode path, 4.6.9) change what a reader
    /// sees and may stand once only. The others are skipped, but must add up.
    fn read_extra(&mut self, name: &[u8], mut extra: &[u8], header: Header) -> Result<(), Code> {
        let mut unicode_path = false;
        while !extra.is_empty() {
            let Some((head, rest)) = extra.split_at_checked(4) else { return Err(Code::BadExtraField) };
            let Some((data, rest)) = rest.split_at_checked(u16_at(head, 2).into()) else {
                return Err(Code::BadExtraField);
            };
            match u16_at(head, 0) {
                0x0001 if self.zip64 => return Err(Code::BadExtraField),
                0x0001 => self.read_zip64(data, header)?,
                0x7075 if unicode_path => return Err(Code::BadExtraField),
                0x7075 => {
                    unicode_path = true;
                    check_unicode_path(data, name)?;
                }
                _ => {}
            }
            extra = rest;
        }
        let unresolved = [self.compressed, self.size, self.offset].contains(&SEE_64);
        if unresolved && !self.zip64 { Err(Code::Zip64Lie) } else { Ok(()) }
    }

    /// The field holds, in this order, exactly those of size, compressed size and offset that say "see here": readers disagree
    /// on what anything more would mean. Only a local header may say both sizes twice, alike: older `zipfile` does, and
    /// so do many `.npz` files of NumPy.
    fn read_zip64(&mut self, data: &[u8], header: Header) -> Result<(), Code> {
        self.zip64 = true;
        if let Header::Local { empty_zip64 } = header
            && self.size != SEE_64
            && self.compressed != SEE_64
            && data.len() == 16
        {
            let sizes = (u64_at(data, 0), u64_at(data, 8));
            if sizes == (self.size, self.compressed) || empty_zip64 && sizes == (0, 0) {
                return Ok(());
            }
        }
        let mut at = 0;
        for field in [&mut self.size, &mut self.compressed, &mut self.offset] {
            if *field == SEE_64 {
                if data.len() < at + 8 {
                    return Err(Code::Zip64Lie);
                }
                *field = u64_at(data, at);
                at += 8;
            }
        }
        if at == data.len() { Ok(()) } else { Err(Code::Zip64Lie) }
    }
}

/// Version 1, the checksum of the header's name, and the same name again (4.6.9).
fn check_unicode_path(data: &[u8], name: &[u8]) -> Result<(), Code> {
    let mut crc = flate2::Crc::new();
    crc.update(name);
    let same = data.first() == Some(&1) && u32_at(data, 1) == crc.sum() && data.get(5..) == Some(name);
    if same { Ok(()) } else { Err(Code::UnicodePath) }
}
