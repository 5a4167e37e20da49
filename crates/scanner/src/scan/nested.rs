//! Archives within the archive: read where they lie, under what is left of the same limits.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use gate_archive::{Code, Format, Kind as MemberKind, Limits, Member, WalkError};
use gate_core::coverage::{CoverageClass, FileCoverage, LostReason, OpaqueKind};
use gate_core::finding::FileRole;

use super::body::{Body, Bounded, fill};
use super::{Pass, WINDOW, lost};
use crate::content::Compression;
use crate::context::FileContext;

/// A nested archive up to this size is kept in memory while it is read; a larger one in a file without a name.
const SPOOL_BYTES: usize = 8 << 20;

/// Between the path of a nested archive and that of its member.
const WITHIN: &str = "!/";

impl Pass<'_> {
    /// A nested zip or tar.
    pub(super) fn archive(
        &mut self,
        file: &FileContext<'_>,
        format: Format,
        head: &[u8],
        rest: &mut Body<'_>,
        depth: usize,
    ) -> io::Result<CoverageClass> {
        if depth >= self.options.nesting {
            return Ok(self.too_deep());
        }
        if head.len() < WINDOW {
            return self.members(file, format, Cursor::new(head), depth);
        }
        let mut spool = tempfile::spooled_tempfile(SPOOL_BYTES);
        io::copy(&mut head.chain(rest), &mut spool)?;
        spool.seek(SeekFrom::Start(0))?;
        self.members(file, format, spool, depth)
    }

    fn members(
        &mut self,
        file: &FileContext<'_>,
        format: Format,
        bytes: impl Read + Seek,
        depth: usize,
    ) -> io::Result<CoverageClass> {
        let limits = self.limits_left();
        let place = self.coverage.len();
        let walked = gate_archive::walk(bytes, format, &limits, |member, body| {
            self.nested_members += 1;
            self.inner(file, member, body, depth + 1)
        });
        match walked {
            Ok(_) => Ok(CoverageClass::Analysed { analyzer: "archive".to_owned() }),
            // An error of the inner body is the walk's own to report, as a refusal.
            Err(WalkError::Refused(refusal)) => {
                self.coverage.truncate(place);
                Ok(match refusal.kind() {
                    Code::NothingToAnalyse => CoverageClass::Inert { kind: "empty archive".to_owned() },
                    Code::Truncated | Code::NotAnArchive => {
                        self.unreadable_archive(file, LostReason::Unparsable, &refusal.to_string())
                    }
                    code if code.is_hostile() && code != Code::Bomb => {
                        self.unreadable_archive(file, LostReason::Unparsable, &refusal.to_string())
                    }
                    _ => self.unreadable_archive(file, LostReason::Limit, &refusal.to_string()),
                })
            }
            Err(WalkError::Visit(error) | WalkError::Io(error)) => Err(error),
            Err(other) => Err(io::Error::other(other.to_string())),
        }
    }

    /// A member of a nested archive.
    fn inner(&mut self, outer: &FileContext<'_>, member: &Member, body: &mut dyn Read, depth: usize) -> io::Result<()> {
        let path = format!("{}{WITHIN}{}", outer.path, member.path);
        // Nothing in a nested archive runs when the outer one is installed, whatever its name.
        let role = match (outer.role, FileRole::of(&member.path)) {
            (FileRole::Supporting, _) | (_, FileRole::Supporting) => FileRole::Supporting,
            _ => FileRole::Library,
        };
        let file = FileContext { path: &path, role, installed: outer.installed };
        match (&member.kind, member.unreadable) {
            (MemberKind::Directory, _) => Ok(()),
            (MemberKind::Symlink { .. } | MemberKind::HardLink { .. }, _) => {
                let class = CoverageClass::Inert { kind: "link".to_owned() };
                self.coverage.push(FileCoverage { path, size: 0, class });
                Ok(())
            }
            (MemberKind::File, Some(why)) => {
                self.unreadable(&file, member.size, why, true);
                Ok(())
            }
            (MemberKind::File, None) => {
                self.file(&file, body, depth)?;
                self.nested_bytes += member.size;
                Ok(())
            }
        }
    }

    /// A compressed tar, or one compressed file.
    pub(super) fn compressed(
        &mut self,
        file: &FileContext<'_>,
        how: Compression,
        head: &[u8],
        rest: &mut Body<'_>,
        depth: usize,
    ) -> io::Result<CoverageClass> {
        let mut start = [0; Format::PREFIX_BYTES];
        if how == Compression::Gzip {
            let filled = how.reader(head).and_then(|mut tar| fill(&mut tar, &mut start)).unwrap_or(0);
            if Format::detect(&start[..filled]) == Some(Format::Tar) {
                return self.archive(file, Format::TarGz, head, rest, depth);
            }
        }
        if depth >= self.options.nesting {
            return Ok(self.too_deep());
        }
        let limits = self.limits_left();
        let exceeded = Cell::new(false);
        let most = limits.member_bytes.min(limits.total_bytes);
        let unpacked = match how.reader(head.chain(rest)) {
            Ok(unpacked) => unpacked,
            Err(error) => {
                return Ok(self.unreadable_archive(
                    file,
                    LostReason::Unparsable,
                    &format!("it cannot be unpacked: {error}"),
                ));
            }
        };
        let mut bytes = Bounded::new(unpacked, most, &exceeded);
        let path = format!("{}{WITHIN}{}", file.path, stem(file.path));
        let inner = FileContext { path: &path, role: file.role, installed: file.installed };
        let place = self.coverage.len();
        match self.file(&inner, &mut bytes, depth + 1) {
            Ok(()) => {
                self.nested_bytes += self.coverage.get(place).map_or(0, |inner| inner.size);
                Ok(CoverageClass::Analysed { analyzer: "archive".to_owned() })
            }
            Err(error) => {
                self.coverage.truncate(place);
                Ok(if exceeded.get() {
                    self.unreadable_archive(file, LostReason::Limit, "it unpacks to more bytes than the limit")
                } else {
                    self.unreadable_archive(file, LostReason::Unparsable, &format!("it cannot be unpacked: {error}"))
                })
            }
        }
    }

    /// An archive within that cannot be read. Damaged ones and bombs are usual among the test data of sdists; where nobody
    /// installs the file, nothing that might be in it could weigh enough to decide anything.
    fn unreadable_archive(&self, file: &FileContext<'_>, reason: LostReason, why: &str) -> CoverageClass {
        if file.installed { lost(reason, why) } else { CoverageClass::Opaque { kind: OpaqueKind::UnknownBinary } }
    }

    fn too_deep(&self) -> CoverageClass {
        lost(LostReason::Limit, format!("an archive within more than {} others", self.options.nesting))
    }

    fn limits_left(&self) -> Limits {
        let mut limits = self.options.limits.clone();
        limits.total_bytes = limits.total_bytes.saturating_sub(self.nested_bytes);
        limits.members = limits.members.saturating_sub(self.nested_members);
        limits.empty_zip64 = true;
        limits
    }
}

/// The file name without its folder and last extension: what `gunzip` would write.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem })
}
