//! What the operator has set, checked.

use std::time::Duration;

use gate_core::route::Route;
use jiff::SignedDuration;

use crate::mail::MailDomains;

/// What the operator has set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data bucket's name, which the manifest's address carries and events are compared with.
    pub bucket: String,
    /// Which branches of which repositories are watched.
    pub routes: Vec<Route>,
    /// The file that holds the request.
    pub path: RequestPath,
    /// Where mails may go.
    pub mail_domains: MailDomains,
    /// What `RUN/report.html` is appended to for a link: the console's address of `runs/` in the data bucket.
    pub console_url: Option<String>,
    /// How long the steps wait for what comes by itself.
    pub patience: Patience,
}

/// How long the steps wait for what comes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often the authors of lines are asked for in one step, at least once.
    pub blame_tries: u32,
    /// How long after its push a run fails, and is tried again, for want of authors. A history that GitHub cannot list in its
    /// time must not stop the rows, so that the run then goes on without them.
    pub authors_within: SignedDuration,
    /// The pause before the second time; the next is twice as long.
    pub blame_pause: Duration,
    /// How long a push whose branch has moved is given to arrive before the reconciler counts it as lost.
    pub arrive_within: Duration,
}

impl Default for Patience {
    /// Three times within 6 s, until the reconciler has restarted the run; and 10 s, the time in which GitHub wants a delivery
    /// answered.
    fn default() -> Self {
        Self {
            blame_tries: 3,
            blame_pause: Duration::from_secs(2),
            authors_within: SignedDuration::from_mins(10),
            arrive_within: Duration::from_secs(10),
        }
    }
}

/// The text is no path of a file in a repository. It is not repeated: a secret in the wrong place must not be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the path of a file in a repository, such as external-package-request.csv")]
pub struct BadPath;

/// A file's path in a repository: `external-package-request.csv`, `requests/python.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath(String);

impl RequestPath {
    /// Checks a path.
    ///
    /// # Errors
    /// When a segment is empty, `.` or `..`, or holds a control character.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        if segments_are_plain(text) { Ok(Self(text.to_owned())) } else { Err(BadPath) }
    }

    /// With `/` between segments, none at the start.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn segments_are_plain(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_lies_inside_the_repository() {
        for good in ["external-package-request.csv", "a/b c.csv", "..csv"] {
            assert_eq!(RequestPath::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "/a.csv", "a/", "a/../b.csv", "./a.csv", "a\nb"] {
            assert_eq!(RequestPath::parse(bad), Err(BadPath), "{bad}");
        }
    }
}
