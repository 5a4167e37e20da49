//! The only crate that names an AWS SDK: one file per port.

mod client;
mod codeartifact;
mod codeguru;
mod config;
mod content;
mod errors;
mod executions;
pub mod function;
mod s3;
mod secrets;
#[cfg(test)]
mod testing;
mod topic;

pub use client::Aws;
pub use codeartifact::{AssetPublication, CodeArtifact};
pub use codeguru::{CODE_GURU, CodeGuru, CodeGuruScan, external_scanners};
pub use config::{ADVISORIES_KEY, ConfigBucket, KeptAdvisories, POLICY_KEY, Rules};
pub use executions::StateMachine;
pub use s3::{ArtifactDownload, ArtifactUpload, S3Quarantine, S3Records};
pub use secrets::{PLACEHOLDER, SecretsManager};
pub use topic::Topic;
