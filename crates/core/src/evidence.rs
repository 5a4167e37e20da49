//! What an index says about a file: believed only as far as a rule below says, and stored with the decision.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::digest::Sha256;

/// One file of a release as the index lists it (PEP 503, 592, 658, 691, 700, 714, 740).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// As the index names it, e.g. `six-1.16.0-py2.py3-none-any.whl`.
    pub filename: String,
    /// Where the bytes are.
    pub url: Url,
    /// The index's own SHA-256; a file without one is not fetched.
    pub sha256: Option<Sha256>,
    /// In bytes.
    pub size: Option<u64>,
    /// A PEP 440 specifier set.
    pub requires_python: Option<String>,
    /// When it was uploaded; unknown is a note, never a reason.
    pub upload_time: Option<Timestamp>,
    /// The reason, possibly empty, when the release was yanked.
    pub yanked: Option<String>,
    /// Where its provenance (PEP 740) is said to be.
    pub provenance: Option<String>,
}

/// What is kept of an [`IndexFile`] with a decision; of an archive that came from a URL only that, if it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Upload time, as the index gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_time: Option<Timestamp>,
    /// The reason, possibly empty, when the release was yanked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
    /// Where the bytes were fetched from. Without query and fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A PEP 440 specifier set: which Pythons an installer offers the file to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
}
