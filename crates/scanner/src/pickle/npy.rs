//! numpy's array files (`numpy/lib/_format_impl.py`): the items of an object array are a pickle behind the header.

use std::io::Read;

use gate_core::coverage::{CoverageClass, LostReason};
use gate_core::finding::Finding;

use super::{Limits, lost};
use crate::context::FileContext;

const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest header that is read, in bytes; numpy itself refuses more than 10,000 characters unless told otherwise.
const MAX_HEADER: u64 = 1024 * 1024;

/// Whether a file starts as an array file does.
#[must_use]
pub fn is_npy(prefix: &[u8]) -> bool {
    prefix.starts_with(MAGIC)
}

/// Reports what loading this array file would import and call. One without objects is inert, and its items are not read.
pub fn analyse(reader: &mut dyn Read, ctx: &FileContext<'_>, findings: &mut Vec<Finding>) -> CoverageClass {
    analyse_within(&super::LIMITS, reader, ctx, findings)
}

pub(super) fn analyse_within(
    limits: &Limits,
    reader: &mut dyn Read,
    ctx: &FileContext<'_>,
    findings: &mut Vec<Finding>,
) -> CoverageClass {
    match header(reader) {
        Err(detail) => lost(LostReason::Unparsable, detail),
        Ok(header) if may_hold_objects(&header) => match super::plain(limits, reader, ctx, findings) {
            CoverageClass::Opaque { .. } | CoverageClass::Inert { .. } => inert(),
            class => class,
        },
        Ok(_) => inert(),
    }
}

fn inert() -> CoverageClass {
    CoverageClass::Inert { kind: "numpy-array".to_owned() }
}

/// Reads the magic, the version and the header; the reader then stands at the items.
fn header(reader: &mut dyn Read) -> Result<String, &'static str> {
    const SHORT: &str = "an array file without its header";
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(|_| SHORT)?;
    let length = match start[6] {
        1 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length).map_err(|_| SHORT)?;
            u64::from(u16::from_le_bytes(length))
        }
        2 | 3 => {
            let mut length = [0; 4];
            reader.read_exact(&mut length).map_err(|_| SHORT)?;
            u64::from(u32::from_le_bytes(length))
        }
        _ => return Err("an array file of an unknown version"),
    };
    if length > MAX_HEADER {
        return Err("an array file with a header over 1 MiB");
    }
    let mut header = Vec::new();
    let read = reader.take(length).read_to_end(&mut header).map_err(|_| SHORT)?;
    if read as u64 == length { Ok(String::from_utf8_lossy(&header).into_owned()) } else { Err(SHORT) }
}

/// Whether any quoted text of the header may be a type that holds objects: `O`, `|O8`, `object`, `i4,O`. A field of such
/// a name counts as well: then the items are looked at for nothing.
fn may_hold_objects(header: &str) -> bool {
    // A backslash could spell a type in a way that this does not read.
    header.contains('\\')
        || header.split(['\'', '"']).skip(1).step_by(2).any(|text| {
            text.split(',').any(|code| {
                let code = code.trim().trim_start_matches(|c: char| c.is_ascii_digit() || "<>=|()".contains(c));
                matches!(code.trim_end_matches(|c: char| c.is_ascii_digit()), "O" | "object" | "object_")
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_object_type_is_found() {
        for descr in ["'|O'", "'O'", "\"|O8\"", "[('a', '<f8'), ('b', '|O')]", "'i4,O'", "'2O'", "'object'", "'\\x4f'"]
        {
            assert!(may_hold_objects(&format!("{{'descr': {descr}, 'fortran_order': False, }}")), "{descr}");
        }
        for descr in ["'<f8'", "[('One', '<f8'), ('b', '<U3')]", "'|V8'"] {
            assert!(!may_hold_objects(&format!("{{'descr': {descr}, 'fortran_order': False, }}")), "{descr}");
        }
    }
}
