//! Keras models that carry Python code: a `Lambda` layer holds a function's bytecode, marshalled and in base64, in the
//! model's configuration (`keras/src/utils/python_utils.py`, `func_dump`), and loading the model runs it.

use std::io::{self, Read};
use std::sync::LazyLock;

use gate_core::finding::Finding;
use regex::bytes::Regex;

use super::rules::TABLES;
use crate::context::FileContext;

const RULE: &str = "model-lambda-layer";
/// Bytes read at once, and bytes kept from one window to the next.
const WINDOW: usize = 1024 * 1024;
const OVERLAP: usize = 8 * 1024;

/// A quoted, marshalled code object: type byte `c` (0x63), with or without the reference flag 0x80, then the number of
/// arguments in four bytes, of which three are zero (CPython, `Python/marshal.c`). What stands around it may be in any order.
static CODE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?-u)"(?:4w|Yw)[A-Za-z0-9+/]AAA[A-Za-z0-9+/=\\n]{60,}"#).ok());

/// Reports a `Lambda` layer with code in a Keras configuration: the `config.json` of a `.keras` archive, or an HDF5 file,
/// whose attributes hold the same text. Reads the whole stream.
///
/// # Errors
/// What the reader gives.
pub fn analyse(reader: &mut dyn Read, ctx: &FileContext<'_>, findings: &mut Vec<Finding>) -> io::Result<()> {
    let mut window = Vec::new();
    loop {
        let read = reader.take(WINDOW as u64).read_to_end(&mut window)?;
        if has_code(&window) {
            let tables = TABLES.as_ref().map_err(|error| io::Error::other(error.clone()))?;
            findings.push(tables.finding(RULE, "a Lambda layer with marshalled code", None, ctx));
            return Ok(());
        }
        if read < WINDOW {
            return Ok(());
        }
        window.drain(..window.len().saturating_sub(OVERLAP));
    }
}

/// Whether this text has such a code object; `true` also where the pattern itself would not compile.
pub(super) fn has_code(text: &[u8]) -> bool {
    CODE.as_ref().is_none_or(|pattern| pattern.is_match(text))
}
