//! What an analyzer is told of the file that it reads.

use gate_core::finding::{FileRole, Location};

/// One file of an artifact, as its analyzers and findings name it.
#[derive(Clone, Copy, Debug)]
pub struct FileContext<'a> {
    /// The member's path, as in [`Location::path`].
    pub path: &'a str,
    /// What the file is for.
    pub role: FileRole,
    /// Whether an installation puts it on the user's machine or runs it.
    pub installed: bool,
}

impl FileContext<'_> {
    /// A place in this file; both numbers are 1-based.
    #[must_use]
    pub fn location(&self, line: Option<u32>, column: Option<u32>) -> Location {
        Location { path: self.path.to_owned(), line, column, role: self.role, installed: self.installed }
    }
}
