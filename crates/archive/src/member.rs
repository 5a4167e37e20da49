//! What a walk tells about an archive and its members.

/// The archive formats that can be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Zip: wheels, GitHub's archives, some sdists.
    Zip,
    /// One gzip member holding a tar: sdists, npm packages.
    TarGz,
    /// A tar that is not compressed.
    Tar,
}

impl Format {
    /// Bytes of the archive that [`Format::detect`] may look at.
    pub const PREFIX_BYTES: usize = 512;

    /// The format by content, never by name: `prefix` is the first 512 bytes of the archive (fewer when it is shorter).
    ///
    /// Zip begins with a local header or, empty, with its end record (APPNOTE 4.3.7, 4.3.16); gzip with `1f 8b` (RFC 1952);
    /// a tar has `ustar` at byte 257 (POSIX pax). Anything else, an executable or a page of HTML for example, is `None`.
    #[must_use]
    pub fn detect(prefix: &[u8]) -> Option<Self> {
        if prefix.starts_with(b"PK\x03\x04") || prefix.starts_with(b"PK\x05\x06") {
            Some(Self::Zip)
        } else if prefix.starts_with(&[0x1f, 0x8b]) {
            Some(Self::TarGz)
        } else if prefix.get(257..262) == Some(b"ustar") {
            Some(Self::Tar)
        } else {
            None
        }
    }

    /// The format's usual name: `zip`, `tar.gz`, `tar`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::TarGz => "tar.gz",
            Self::Tar => "tar",
        }
    }
}

/// One member, before its body is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Relative path with `/` between its segments; no `.`, `..` or empty segment, no trailing slash, never empty.
    pub path: String,
    /// Declared size of the body in bytes; enforced while the body is read. 0 for anything but a file.
    pub size: u64,
    /// What the member is.
    pub kind: Kind,
    /// Some execute bit is set. Set-user-id, set-group-id and sticky bits are ignored.
    pub executable: bool,
    /// Why the body cannot be read, if so; the reader is then empty and the caller counts the file as lost coverage.
    pub unreadable: Option<Unreadable>,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link that stays within the tree; never followed here.
    Symlink {
        /// The target as written, relative to the link's directory.
        target: String,
    },
    /// A second name of a file that came earlier in the archive; its body is that file's, so it has none here.
    HardLink {
        /// Path of the earlier member, in the shape of [`Member::path`].
        target: String,
    },
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The zip entry is encrypted.
    Encrypted,
    /// A compression method other than stored and deflated (PyPI accepts no other), by its number in APPNOTE 4.4.5.
    Method(u16),
}

/// What was walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The format read.
    pub format: Format,
    /// Members of any kind.
    pub members: u64,
    /// Regular files and hard links, unreadable ones included.
    pub files: u64,
    /// Inflated bytes of all members that could be read; in a zip a symbolic link's target is data and counts.
    pub total_bytes: u64,
}
