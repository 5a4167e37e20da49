//! The last asset of a version.

use gate_core::SCHEMA_VERSION;
use gate_core::coordinates::Coordinates;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::PublishedFile;
use serde::Serialize;

/// What was published, and which Pythons each file is for. The same set always gives the same bytes: a commit that is repeated
/// must not look like other bytes. So the order is fixed, and nothing is in it that an index may say otherwise tomorrow.
#[derive(Debug, Serialize)]
struct Record<'a> {
    schema_version: u32,
    coordinates: &'a Coordinates,
    files: Vec<RecordedFile<'a>>,
}

#[derive(Debug, Serialize)]
struct RecordedFile<'a> {
    filename: &'a str,
    sha256: Sha256,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_python: Option<&'a str>,
}

/// The record of a set, as JSON.
pub(super) fn write(coordinates: &Coordinates, files: &[PublishedFile]) -> Result<Vec<u8>, Failure> {
    let mut files: Vec<_> = files
        .iter()
        .map(|file| RecordedFile {
            filename: &file.filename,
            sha256: file.sha256,
            size: file.size,
            requires_python: file.evidence.requires_python.as_deref(),
        })
        .collect();
    files.sort_by_key(|file| file.filename);
    let record = Record { schema_version: SCHEMA_VERSION, coordinates, files };
    serde_json::to_vec(&record).map_err(|error| {
        Failure::new(FailureCode::Storage, format!("the record of {coordinates} could not be written: {error}"))
    })
}
