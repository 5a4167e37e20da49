//! The request at a commit, and how each of its rows stands.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate_core::outcome::Reason;
use gate_core::policy::Policy;
use gate_core::ports::{Records, Secrets};
use gate_core::request::{MAX_BYTES, Row, Standing, Unreadable, Wanted, parse, standings};
use gate_core::run::{Delivery, RowKey};
use gate_core::source::SourceKey;
use gate_core::step::StepError;
use gate_core::{ledger, message};
use gate_fetcher::check_source_host;

use crate::config::RequestPath;
use crate::github::{File, GitHub};
use crate::{ROWS_AT_ONCE, words};

/// What a pointer of Git LFS begins with (git-lfs, "docs/spec.md").
const LFS_POINTER: &[u8] = b"version https://git-lfs.";

/// A request file at one commit.
pub(crate) struct Request {
    /// Git's id of the file, if there is one.
    pub(crate) blob: Option<String>,
    /// Its rows, or why there are none.
    pub(crate) content: Result<Content, Reason>,
}

/// A file that has rows.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: Vec<Row>,
}

/// A row that may have to be worked on or ended.
pub(crate) struct Candidate {
    /// Where it begins.
    pub(crate) line: u64,
    /// The cells as they are shown.
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) key: RowKey,
    pub(crate) plan: Plan,
    /// Its line and those of identical rows.
    pub(crate) lines: Vec<u64>,
    /// The `requester` cells of these rows.
    pub(crate) requesters: BTreeSet<String>,
}

/// What is to be done with a row.
pub(crate) enum Plan {
    /// The row machine works on it.
    Work(Wanted),
    /// It ends as `invalid`, for this reason.
    Ends(Reason),
}

/// All rows of a request but repetitions.
pub(crate) struct Candidates {
    pub(crate) rows: Vec<Candidate>,
    /// Lines that repeat an earlier one, and that one.
    pub(crate) same_as: Vec<(u64, u64)>,
}

/// Reads the request of a delivery.
pub(crate) async fn at_commit<S: Secrets>(
    github: &GitHub<S>,
    path: &RequestPath,
    delivery: &Delivery,
) -> Result<Request, StepError> {
    let (blob, content) = match github.file(delivery.repository, path, &delivery.commit, MAX_BYTES).await? {
        File::Found { blob, bytes } => (Some(blob), content(path, bytes)),
        File::TooLarge { blob, size } => {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            (Some(blob), Err(words::unreadable(&Unreadable::TooLarge(size))))
        }
        File::Other(kind) => (None, Err(words::not_a_file(path, &kind))),
        File::Missing => (None, Err(words::missing(path))),
        File::CommitGone => (None, Err(words::commit_gone())),
    };
    Ok(Request { blob, content })
}

fn content(path: &RequestPath, bytes: Vec<u8>) -> Result<Content, Reason> {
    if bytes.starts_with(LFS_POINTER) {
        return Err(words::large_file_storage(path));
    }
    let rows = parse(&bytes).map_err(|unreadable| words::unreadable(&unreadable))?;
    Ok(Content { bytes, rows })
}

type Asked = (String, SourceKey);

fn asked(wanted: &Wanted) -> Asked {
    (wanted.name.normalized(), wanted.source.key())
}

/// Judges all rows together, with what the ledger says of those that have rivals.
pub(crate) async fn candidates(
    records: &impl Records,
    rows: &[Row],
    repository: u64,
    policy: &Policy,
) -> Result<Candidates, StepError> {
    let decided = decided_rivals(records, rows).await?;
    let standings = standings(rows, |wanted| decided.contains(&asked(wanted)));
    let mut repeated = BTreeMap::<u64, Vec<u64>>::new();
    let mut same_as = Vec::new();
    for (row, standing) in rows.iter().zip(&standings) {
        if let Standing::SameAs(first) = standing {
            repeated.entry(*first).or_default().push(row.line);
            same_as.push((row.line, *first));
        }
    }
    let candidate = |(row, standing): (&Row, Standing)| {
        let own: BTreeSet<_> = row.wanted.iter().filter_map(|wanted| wanted.requester.clone()).collect();
        let (key, plan, requesters) = match standing {
            Standing::SameAs(_) => return None,
            Standing::Invalid(problem) => {
                // The same cells may be wrong in two ways in two rows: these are two requests, each with its own notice.
                let source = format!("{}\n{}", row.source, problem.code);
                (RowKey::unreadable(&row.name, &source), Plan::Ends(message::invalid(row.line, &problem)), own)
            }
            Standing::Conflicts(lines) => {
                let key =
                    row.wanted.as_ref().map(RowKey::of).unwrap_or_else(|_| RowKey::unreadable(&row.name, &row.source));
                (key, Plan::Ends(message::conflict(&row.name, &lines)), own)
            }
            Standing::Runs { wanted, told } => {
                let plan = match check_source_host(&wanted.source, policy) {
                    Ok(()) => Plan::Work(wanted.clone()),
                    Err(reason) => Plan::Ends(reason),
                };
                (RowKey::of(&wanted), plan, told)
            }
        };
        let lines = [row.line].into_iter().chain(repeated.get(&row.line).into_iter().flatten().copied()).collect();
        let key = key.within(repository);
        let (line, name, source) = (row.line, row.name.clone(), row.source.clone());
        Some(Candidate { line, name, source, key, plan, lines, requesters })
    };
    let candidates = rows.iter().zip(standings).filter_map(candidate).collect();
    Ok(Candidates { rows: candidates, same_as })
}

/// Which of the rows that have rivals the ledger has a verdict on. The others are not looked up: it does not matter to them.
async fn decided_rivals(records: &impl Records, rows: &[Row]) -> Result<BTreeSet<Asked>, StepError> {
    let rivals = RefCell::new(BTreeMap::<Asked, Wanted>::new());
    let _ = standings(rows, |wanted| {
        rivals.borrow_mut().insert(asked(wanted), wanted.clone());
        false
    });
    let lookups = rivals.into_inner().into_iter().map(async |(asked, wanted)| {
        let decision = ledger::latest_decision(records, &wanted).await?;
        Ok::<_, StepError>(decision.is_some_and(|decision| ledger::is_verdict(&decision)).then_some(asked))
    });
    let decided: Vec<_> = stream::iter(lookups).buffer_unordered(ROWS_AT_ONCE).try_collect().await?;
    Ok(decided.into_iter().flatten().collect())
}

/// The numbers that git gives to lines of the request: git ends a line at a line feed alone, the request also at a lone carriage
/// return.
pub(crate) fn git_lines(bytes: &[u8], lines: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
    let mut numbers = BTreeMap::new();
    let (mut own, mut git) = (1_u64, 1_u64);
    let mut note = |own: u64, git: u64| {
        if lines.contains(&own) {
            numbers.insert(own, git);
        }
    };
    note(own, git);
    for (at, byte) in bytes.iter().enumerate() {
        let is_end = match byte {
            b'\n' => {
                git += 1;
                true
            }
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        if is_end {
            own += 1;
            note(own, git);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_counts_line_feeds() {
        for (bytes, git) in [
            ("a\nb\nc", [1, 2, 3]),
            ("a\r\nb\r\nc\r\n", [1, 2, 3]),
            ("a\rb\rc", [1, 1, 1]),
            ("a\r\rc", [1, 1, 1]),
            ("a\n\rc", [1, 2, 2]),
            ("a\rb\nc", [1, 1, 2]),
        ] {
            let lines = BTreeSet::from([1, 2, 3]);
            let expected = lines.iter().copied().zip(git).collect();
            assert_eq!(git_lines(bytes.as_bytes(), &lines), expected, "{bytes:?}");
            let rows = parse(bytes.as_bytes()).unwrap();
            assert!(rows.iter().all(|row| lines.contains(&row.line)), "{bytes:?}");
        }
        assert_eq!(git_lines(b"a\nb", &BTreeSet::from([2, 9])), BTreeMap::from([(2, 2)]));
    }

    #[tokio::test]
    async fn who_asks_in_another_repository_is_told_there() {
        let (records, policy) = (gate_core::testing::MemoryRecords::default(), Policy::built_in().unwrap());
        let rows = parse(b"six,pkg:pypi/six@1.16.0\nbad\n").unwrap();
        let keys = async |repository| {
            let candidates = candidates(&records, &rows, repository, &policy).await.unwrap();
            candidates.rows.into_iter().map(|row| row.key).collect::<BTreeSet<_>>()
        };
        assert_eq!(keys(1).await, keys(1).await);
        assert_eq!((keys(1).await.len(), keys(1).await.is_disjoint(&keys(2).await)), (2, true));
    }
}
