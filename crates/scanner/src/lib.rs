//! The built-in scanner: the bytes of one archive in, a content report out.
//!
//! [`scan::scan`] reads an archive as a stream and never extracts it. [`worker`] runs the same scan in a child process
//! with limits on memory and time, because a parser that dies on one file must not take the program with it. [`step`] is
//! the function that does so for one artifact in quarantine.

pub mod content;
pub mod context;
pub mod distribution;
pub mod pickle;
pub mod pins;
pub mod python;
mod record;
pub mod scan;
pub mod scripts;
pub mod secrets;
pub mod step;
pub mod structure;
pub mod worker;

pub use scan::{Options, ScanError, scan, version};
