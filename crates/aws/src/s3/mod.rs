//! S3 behind the ports.

mod bucket;
#[cfg(test)]
pub(crate) mod fake;
mod quarantine;
mod records;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use bucket::{Bucket, is_absent};
pub use quarantine::{ArtifactDownload, S3Quarantine};
pub use records::S3Records;
pub use upload::ArtifactUpload;
