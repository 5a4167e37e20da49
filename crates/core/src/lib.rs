//! The words and rules of Package Gate: what a request is, what a finding is, and how a verdict follows from them.
//!
//! Nothing here touches the network, a clock, the environment, a file system or AWS: every function is a value in, a value
//! out, and what the outside must supply is a trait in [`ports`].

pub mod advisory;
pub mod coordinates;
pub mod coverage;
pub mod decision;
pub mod dependency;
pub mod digest;
pub mod evidence;
pub mod failure;
pub mod finding;
pub mod ledger;
pub mod message;
pub mod outcome;
pub mod policy;
pub mod ports;
pub mod report;
pub mod request;
pub mod route;
pub mod run;
pub mod severity;
pub mod sniff;
pub mod source;
pub mod step;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;

/// The version that every stored record carries as `schema_version`; a reader refuses a record of another version.
pub const SCHEMA_VERSION: u32 = 1;
