//! Test support (feature `forge`): archives built by code, honest by default, with a way to lie in every field.
//!
//! ```
//! use gate_archive::forge::{TarGz, Zip, wheel};
//!
//! let zip = Zip::new().file("pkg/__init__.py", "x = 1\n").build();
//! let tar = TarGz::new().file("pkg-1/setup.py", "import os\n").build();
//! let whl = wheel("demo", "1.0").file("demo/__init__.py", "").build();
//! assert!(zip.starts_with(b"PK") && whl.starts_with(b"PK") && tar.starts_with(&[0x1f, 0x8b]));
//! ```
#![expect(
    clippy::expect_used,
    reason = "test support: writing to memory does not fail, and a forger's mistake must be loud"
)]

mod dist;
mod tar;
mod zip;

use std::io::Read as _;

use flate2::{Compression, Crc};

pub use dist::{SdistBuilder, WheelBuilder, sdist, wheel};
pub use tar::{TarEntry, TarGz, pax_records};
pub use zip::{Zip, ZipEnd, ZipEnd64, ZipEntry, ZipHeader};

/// The CRC-32 of zip and gzip.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Raw deflate, without zlib's or gzip's frame.
#[must_use]
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::DeflateEncoder::new(bytes, Compression::default()).read_to_end(&mut out).expect("memory");
    out
}

/// One gzip member.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzEncoder::new(bytes, Compression::default()).read_to_end(&mut out).expect("memory");
    out
}
