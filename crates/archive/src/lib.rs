//! Package archives read as streams: zip (wheels, GitHub zips), gzip-compressed tar (sdists, npm) and plain tar.
//!
//! [`walk`] never extracts to a file system. It refuses an archive that two readers would understand differently (what PyPI's
//! Warehouse calls ZIP confusion), an archive whose names would land in different places on different systems (the rules of Go's
//! `x/mod/zip`), one that lies about a size or a checksum, and one beyond the caller's [`Limits`]. What it accepts, it hands
//! member by member to a visitor, each body a bounded reader.
//!
//! Two parsers must never differ about one archive, so there is exactly one here: the framing check walks every record of a zip
//! and remembers where each verified body lies, and bodies are inflated from there with `flate2`. The `zip` and `tar` crates
//! are the independent readers of the tests.

mod body;
mod budget;
#[cfg(feature = "forge")]
pub mod forge;
mod inflate;
mod limits;
mod member;
mod name;
mod refusal;
mod tar;
mod tree;
mod zip;

use std::io::{self, Read, Seek};

pub use limits::Limits;
pub use member::{Format, Kind, Member, Summary, Unreadable};
pub use refusal::{Code, Refusal, WalkError};

/// Reads every member of the archive in the order of its bytes and shows each to `visit`.
///
/// The reader is read from its first byte to its last, wherever it stands. All of a zip's framing (its headers, never its
/// data) is checked before the first visit; a tar is checked as it is read, so a caller must drop what the visits gave it when
/// the walk ends in an error. What `visit` leaves unread of a body is read here: declared sizes, checksums and limits hold
/// for every byte whether or not anyone looks. The body of a member with [`Member::unreadable`] is empty.
///
/// # Errors
///
/// [`WalkError::Refused`] when the archive is refused, also when `visit` swallowed or replaced the error that its reader gave
/// it; [`WalkError::Visit`] as returned by `visit`, which ends the walk; [`WalkError::Io`] when `reader` itself failed.
pub fn walk<R: Read + Seek, E>(
    reader: R,
    format: Format,
    limits: &Limits,
    visit: impl FnMut(&Member, &mut dyn Read) -> Result<(), E>,
) -> Result<Summary, WalkError<E>> {
    match format {
        Format::Zip => zip::walk(reader, limits, visit),
        Format::Tar | Format::TarGz => tar::walk(reader, format, limits, visit),
    }
}

/// Why the reading stopped, inside the crate: a decision, or a failure of the local reader.
#[derive(Debug)]
enum Fault {
    Refused(Refusal),
    Io(io::Error),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<E> From<Fault> for WalkError<E> {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refusal) => Self::Refused(refusal),
            Fault::Io(error) => Self::Io(error),
        }
    }
}
