//! Why an archive is refused.

use std::fmt::{self, Write as _};
use std::io;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident, $code:literal, $weight:ident, $phrase:literal;)*) => {
        /// One kind of refusal: one attack, or one limit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable kebab-case name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// True when the archive is hostile: its structure, names, sizes or checksums deceive some reader, or it is a bomb.
            /// False when it is beyond a limit, damaged by being cut short, empty, or no archive at all.
            #[must_use]
            pub const fn is_hostile(self) -> bool {
                match self { $(Self::$variant => codes!(@$weight),)* }
            }

            const fn phrase(self) -> &'static str {
                match self { $(Self::$variant => $phrase,)* }
            }
        }
    };
    (@hostile) => { true };
    (@benign) => { false };
}

codes! {
    /// Not an archive of the format at all.
    NotAnArchive, "not-an-archive", benign, "is not an archive of this format";
    /// The archive ends in the middle of something it announced.
    Truncated, "truncated", benign, "ends before its last record is complete";
    /// No byte, no member, or nothing but directories and links: nothing to analyse.
    NothingToAnalyse, "nothing-to-analyse", benign, "holds no file, so there is nothing to analyse";
    /// Beyond [`Limits::members`](crate::Limits::members).
    TooManyMembers, "too-many-members", benign, "has more members than the limit";
    /// Beyond [`Limits::member_bytes`](crate::Limits::member_bytes).
    MemberTooLarge, "member-too-large", benign, "is larger than the limit for one member";
    /// Beyond [`Limits::total_bytes`](crate::Limits::total_bytes).
    TotalTooLarge, "total-too-large", benign, "unpacks to more bytes than the limit";
    /// Beyond [`Limits::path_bytes`](crate::Limits::path_bytes).
    PathTooLong, "path-too-long", benign, "has a path or a link target longer than the limit";
    /// Beyond [`Limits::path_depth`](crate::Limits::path_depth).
    PathTooDeep, "path-too-deep", benign, "has a path deeper than the limit";
    /// Beyond [`Limits::names_bytes`](crate::Limits::names_bytes).
    NamesTooLarge, "names-too-large", benign, "brings the names of all members beyond the limit";
    /// Beyond [`Limits::extension_bytes`](crate::Limits::extension_bytes).
    ExtensionTooLarge, "extension-too-large", benign, "has an extension record larger than the limit";
    /// Beyond [`Limits::ratio`](crate::Limits::ratio).
    Bomb, "compression-bomb", hostile, "unpacks to far more bytes than an honest archive of its size would";

    /// Bytes before the first local header: a self-extracting stub, a PDF, an executable.
    PrefixData, "prefix-data", hostile, "has bytes in front of the first member";
    /// Bytes after the end of the archive.
    TrailingData, "trailing-data", hostile, "has bytes after its end";
    /// A zip reader and a tar reader would both accept it.
    Polyglot, "polyglot", hostile, "can be read as a zip and as a tar at once";
    /// More than one end record could be taken for the right one.
    SeveralEndRecords, "several-end-records", hostile, "has more than one end-of-directory record";
    /// The end record contradicts the directory.
    EndRecordLie, "end-record-lie", hostile, "has an end-of-directory record that disagrees with the directory";
    /// ZIP64 records or fields that contradict the others, or stand where they may not.
    Zip64Lie, "zip64-lie", hostile, "has ZIP64 fields that disagree with the rest";
    /// Spread over several disks.
    MultiDisk, "multi-disk", hostile, "says that it is one part of several";
    /// The central directory is damaged or is not where it should be.
    BadDirectory, "bad-directory", hostile, "has a damaged central directory";
    /// The central directory is encrypted or masked.
    EncryptedDirectory, "encrypted-directory", hostile, "has an encrypted directory of members";
    /// A comment on one entry.
    EntryComment, "entry-comment", hostile, "has a comment in its directory entry";
    /// Reserved flag bits.
    UnknownFlags, "unknown-flags", hostile, "has reserved flag bits set";
    /// A format version that no reader knows.
    UnknownVersion, "unknown-version", hostile, "needs a version of the format that does not exist";
    /// Two entries share bytes.
    Overlap, "overlapping-members", hostile, "shares its bytes with another member";
    /// A local header that the directory does not list.
    HiddenMember, "hidden-member", hostile, "is followed by a member that the directory does not list";
    /// Bytes between members that belong to none.
    Gap, "unowned-bytes", hostile, "is followed by bytes that belong to no member";
    /// No local header where the directory says there is one.
    BadLocalHeader, "bad-local-header", hostile, "has no valid local header where the directory says it is";
    /// Local header and directory name the member differently.
    NameMismatch, "name-mismatch", hostile, "has another name in its local header";
    /// Local header and directory disagree on method, flags, sizes or checksum.
    HeaderMismatch, "header-mismatch", hostile, "has a local header that disagrees with the directory";
    /// A data descriptor that contradicts the directory, or that a streaming reader could misread.
    DataDescriptor, "data-descriptor", hostile, "has a data descriptor that readers could understand differently";
    /// Extra fields that do not add up, or that appear twice.
    BadExtraField, "bad-extra-field", hostile, "has malformed extra fields";
    /// The Unicode path extra field (0x7075) names another path.
    UnicodePath, "unicode-path-mismatch", hostile, "has a Unicode path field that disagrees with its name";

    /// A tar header whose checksum, magic or numbers are wrong.
    BadTarHeader, "bad-tar-header", hostile, "has a malformed tar header";
    /// Malformed, repeated or charset-changing pax records.
    BadPax, "bad-pax-record", hostile, "has malformed or ambiguous pax records";
    /// A pax size that differs from the header's.
    PaxSize, "pax-size-mismatch", hostile, "has a pax size that disagrees with its header";
    /// A global pax header that would rename or resize every member after it.
    GlobalPax, "global-pax-override", hostile, "comes after a global pax header that changes members";
    /// Extension headers that contradict each other or that no member follows.
    StackedHeaders, "stacked-extension-headers", hostile, "has extension headers that contradict each other";
    /// A sparse file (GNU or pax).
    Sparse, "sparse-file", hostile, "is a sparse file, which readers unpack differently";
    /// A type flag that is not one of file, directory, link or a known extension.
    UnknownType, "unknown-type", hostile, "has a type that readers treat differently";
    /// More than one gzip member.
    SeveralGzipMembers, "several-gzip-members", hostile, "has more than one gzip member";
    /// A gzip header that is malformed or uses reserved bits.
    BadGzipHeader, "bad-gzip-header", hostile, "has a malformed gzip header";

    /// The compressed bytes cannot be inflated.
    CorruptStream, "corrupt-stream", hostile, "has compressed data that cannot be inflated";
    /// More or fewer bytes than declared.
    SizeMismatch, "size-mismatch", hostile, "unpacks to another size than it declares";
    /// The CRC-32 is wrong.
    ChecksumMismatch, "checksum-mismatch", hostile, "has a wrong checksum";
    /// A directory or link that carries data.
    UnexpectedPayload, "unexpected-payload", hostile, "is no file and yet carries data";

    /// A name that is not UTF-8, or not ASCII without the UTF-8 flag.
    NameEncoding, "name-encoding", hostile, "has a name that readers decode differently";
    /// An empty name or an empty segment.
    EmptySegment, "empty-segment", hostile, "has a name with an empty segment";
    /// A `.` segment.
    DotSegment, "dot-segment", hostile, "has a name with a `.` segment";
    /// A `..` segment.
    ParentSegment, "parent-segment", hostile, "has a name with a `..` segment";
    /// An absolute path.
    AbsolutePath, "absolute-path", hostile, "has an absolute name";
    /// A backslash, which some systems take as a separator (UNC paths included).
    Backslash, "backslash", hostile, "has a backslash in its name";
    /// A colon: a drive letter, or an alternate data stream.
    Colon, "colon", hostile, "has a colon in its name (a drive letter or an alternate stream)";
    /// NUL or another control character.
    ControlCharacter, "control-character", hostile, "has a control character in its name";
    /// Invisible, bidirectional or look-alike separator characters.
    DeceptiveCharacter, "deceptive-character", hostile, "has a character in its name that hides or reorders text";
    /// A Windows device name.
    ReservedName, "reserved-name", hostile, "has a name that Windows reserves for a device";
    /// A name ending in a dot or a space, which Windows drops.
    TrailingDotOrSpace, "trailing-dot-or-space", hostile, "has a name ending in a dot or a space, which Windows drops";
    /// A Windows short name such as `X~1`.
    ShortName, "short-name", hostile, "has a name that Windows could take for the short name of another file";
    /// Two members of one name.
    DuplicateName, "duplicate-name", hostile, "appears twice";
    /// Two names that some file systems take for one.
    NameCollision, "name-collision", hostile, "has a name that differs from another's only by case or Unicode form";
    /// One path is a file and a directory.
    FileDirectoryClash, "file-directory-clash", hostile, "is a file and a directory at once";
    /// Name and mode disagree on what the member is.
    KindMismatch, "kind-mismatch", hostile, "has a name and a mode that disagree on what it is";
    /// A device, fifo or socket.
    SpecialFile, "special-file", hostile, "is a device, a fifo or a socket";
    /// A link whose target is absolute, not plain, or outside the tree.
    EscapingLink, "escaping-link", hostile, "is a link that leaves the archive's tree";
    /// A link to itself, or a circle of links.
    LinkLoop, "link-loop", hostile, "is a link that leads back to itself";
    /// A member below a symbolic link.
    BelowLink, "below-link", hostile, "lies below a symbolic link";
    /// A hard link to anything but an earlier file.
    BadHardLink, "bad-hard-link", hostile, "is a hard link to something that is not an earlier file";
}

/// Longest name or detail shown by [`Refusal`]'s `Display`, in characters.
const SHOWN_CHARS: usize = 200;

/// Why an archive was refused. `Display` is one sentence, safe to show: control and formatting characters are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    member: Option<String>,
    detail: String,
}

impl Refusal {
    pub(crate) fn new(code: Code) -> Self {
        Self { code, member: None, detail: String::new() }
    }

    pub(crate) fn of(code: Code, member: &str) -> Self {
        Self { code, member: Some(member.to_owned()), detail: String::new() }
    }

    /// The same refusal, about a member.
    pub(crate) fn about(mut self, member: &str) -> Self {
        self.member = Some(member.to_owned());
        self
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// What it is, as an enum.
    #[must_use]
    pub fn kind(&self) -> Code {
        self.code
    }

    /// What it is, as a stable kebab-case name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// Whether the archive is hostile rather than too large, cut short, empty or no archive: see [`Code::is_hostile`].
    #[must_use]
    pub fn is_hostile(&self) -> bool {
        self.code.is_hostile()
    }

    /// The member it is about, as the archive names it: not escaped.
    #[must_use]
    pub fn member(&self) -> Option<&str> {
        self.member.as_deref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.member {
            Some(name) => {
                f.write_str("the member \"")?;
                write_escaped(f, name)?;
                f.write_str("\" ")?;
            }
            None => f.write_str("the archive ")?,
        }
        f.write_str(self.code.phrase())?;
        if !self.detail.is_empty() {
            f.write_str(" (")?;
            write_escaped(f, &self.detail)?;
            f.write_char(')')?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN_CHARS {
            return f.write_char('…');
        }
        if crate::name::is_deceptive(character) || character == '"' || character == '\\' {
            write!(f, "{}", character.escape_default())?;
        } else {
            f.write_char(character)?;
        }
    }
    Ok(())
}

/// How a [`walk`](crate::walk) ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError<E> {
    /// The archive is refused. Trying again gives the same answer.
    #[error(transparent)]
    Refused(Refusal),
    /// The visitor gave up.
    #[error("{0}")]
    Visit(E),
    /// The archive's bytes could not be read. Trying again may help.
    #[error("the archive could not be read: {0}")]
    Io(#[source] io::Error),
}
