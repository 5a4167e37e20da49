//! Why no row of a request can be read: the codes, and the sentences that people read.

use gate_core::outcome::Reason;
use gate_core::request::Unreadable;

use crate::config::RequestPath;

/// The codes of [`gate_core::run::RunDocument::unreadable`], and when they are given.
pub const CODES: &[(&str, &str)] = &[
    ("request-missing", "the commit has no file of that name, or is no longer in the repository"),
    ("request-unreadable", "no row of the file can be told from another"),
];

pub(crate) fn missing(path: &RequestPath) -> Reason {
    let path = path.as_str();
    Reason::new("request-missing", &format!("this commit has no file '{path}'; add it, with one row a package"))
}

pub(crate) fn commit_gone() -> Reason {
    Reason::new("request-missing", "the commit is no longer in the repository; push the request again")
}

pub(crate) fn not_a_file(path: &RequestPath, kind: &str) -> Reason {
    let path = path.as_str();
    Reason::new("request-unreadable", &format!("'{path}' is a {kind}; make it a file, with one row a package"))
}

pub(crate) fn large_file_storage(path: &RequestPath) -> Reason {
    let path = path.as_str();
    let remedy = "take the file out of Git LFS and push it again";
    Reason::new("request-unreadable", &format!("'{path}' is kept in Git LFS, which the gate does not read; {remedy}"))
}

pub(crate) fn unreadable(unreadable: &Unreadable) -> Reason {
    Reason::new("request-unreadable", &unreadable.to_string())
}
