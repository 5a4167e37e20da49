//! What the steps of one run on AWS hand to each other: small documents among the [`Records`], and pointers to them.
//!
//! A *run* is one execution of the intake machine: a request at one commit, or the rows of it that are decided again. A state
//! holds pointers only (Step Functions takes 262,144 bytes), so that a row with 5,000 findings moves like any other. Every
//! document is written once. Keys:
//!
//! | key | document |
//! |---|---|
//! | `inbox/REPOSITORY/DIGEST.json` | [`Delivery`], by the digest of what GitHub signed |
//! | `runs/RUN/run.json` | [`RunDocument`] |
//! | `runs/RUN/manifest.json` | an array of [`RowItem`], which the Distributed Map reads |
//! | `runs/RUN/rows/000012.json` | [`RowDocument`], by line |
//! | `runs/RUN/outcomes/000012-DIGEST.json` | [`OutcomeDocument`], by line and content |
//! | `runs/RUN/scans/000012-DIGEST.json` | external scans under way, written by scan-poller |
//! | `runs/RUN/summary.json` | [`CheckDocument`](crate::outcome::CheckDocument): when it exists, the run's digests were sent |
//! | `runs/RUN/reported.json` | [`Reported`]: when it exists, the run is over |
//! | `runs/RUN/mails/KEY.json` | what a mail that was sent told to whom, written by the notifier |
//! | `runs/RUN/report.html`, `runs/RUN/report-000012-DIGEST.html` | the page that people read; of a row that ended later |
//! | `heads/REPOSITORY/REF/000001.json` | [`Head`]: what the newest push of a branch had, newest last |
//! | `again/REPOSITORY/REF/000001.json` | that rows of a branch were to be decided again, written by the reconciler; newest last |
//! | `fetched/ROW/000001.json` | [`FetchedDocument`], newest last |
//! | `notices/ROW/000001.json` | [`Notice`], newest last: a new one when the outcome changed, or somebody else asked |
//! | `looks/ROW/000001.json` | [`Look`], newest last: what the row was last decided by. May expire: then it is decided again |
//!
//! Besides them the data bucket has what rows share: `quarantine/SHA256` (artifacts, and `incoming/` while they are written),
//! `reports/…` and `decisions/…`: see [`ledger`](crate::ledger).

mod inputs;
mod ledger;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::digest::Sha256;
use crate::evidence::Evidence;
use crate::outcome::{Reason, RowOutcome, Verdict};
use crate::policy::Policy;
use crate::request::Wanted;
use crate::step::{ErrorName, StepError};

pub use inputs::{Inputs, Look};
pub use ledger::{
    Noticed, RETRY_FIRST, RETRY_FOR, RETRY_LONGEST, fetched, first_notice, hear, keep_document, keep_fetched,
    keep_head, keep_look, keep_notice, keep_outcome, latest_head, latest_look, latest_notice, read, read_json,
    retry_at,
};
pub use state::{MAX_FILES, RowState, Status};

/// The most characters of an execution's name (Step Functions API, `StartExecution`).
pub const EXECUTION_NAME_CHARS: usize = 80;

/// The name of a run and of its execution: `A-Z a-z 0-9 - _`, at most 70 characters, so that a row's line can follow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// The text is no run id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run id has 1 to 70 characters of A-Z a-z 0-9 - _")]
pub struct BadRunId;

impl RunId {
    /// The run of a commit, and the name of an execution for it. The attempt is 1, and grows only when the reconciler or a person
    /// restarts a run that did not finish: so the same push, delivered twice, has the same name. See [`RunId::attempt`].
    #[must_use]
    pub fn of_commit(repository: u64, reference: &str, commit: &str, attempt: u32) -> Self {
        let commit: String = commit.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
        Self(format!("{repository}-{}-{commit}-{attempt}", reference_digest(reference)))
    }

    /// The run that decides rows again; `why` is a digest of the rows and of what they are decided by, so that the same change
    /// has the same name.
    #[must_use]
    pub fn of_change(repository: u64, reference: &str, why: &Sha256) -> Self {
        Self(format!("{repository}-{}-again-{}-1", reference_digest(reference), why.short()))
    }

    /// The name of a later execution that goes on with this run; the first has the run's own.
    #[must_use]
    pub fn attempt(&self, attempt: u32) -> Self {
        let stem = self.0.rsplit_once('-').map_or(&*self.0, |(stem, _)| stem);
        Self(format!("{stem}-{attempt}"))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the row execution of one line.
    #[must_use]
    pub fn execution(&self, line: u64) -> String {
        format!("{}-{line:06}", self.0)
    }

    /// The key of the run's own document.
    #[must_use]
    pub fn document_key(&self) -> String {
        format!("runs/{}/run.json", self.0)
    }

    /// The key of the manifest.
    #[must_use]
    pub fn manifest_key(&self) -> String {
        format!("runs/{}/manifest.json", self.0)
    }

    /// The key of the summary.
    #[must_use]
    pub fn summary_key(&self) -> String {
        format!("runs/{}/summary.json", self.0)
    }

    /// The key of the record that the commit got its status.
    #[must_use]
    pub fn reported_key(&self) -> String {
        format!("runs/{}/reported.json", self.0)
    }

    /// The key of the page that people read.
    #[must_use]
    pub fn report_key(&self) -> String {
        format!("runs/{}/report.html", self.0)
    }

    /// The key of a row's document.
    #[must_use]
    pub fn row_key(&self, line: u64) -> String {
        format!("runs/{}/rows/{line:06}.json", self.0)
    }
}

fn reference_digest(reference: &str) -> String {
    Sha256::of(reference.as_bytes()).to_string()[..8].to_owned()
}

impl TryFrom<String> for RunId {
    type Error = BadRunId;

    fn try_from(text: String) -> Result<Self, BadRunId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if (1..=70).contains(&text.len()) && text.chars().all(allowed) { Ok(Self(text)) } else { Err(BadRunId) }
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A verified push, as the webhook stores it and as the reconciler makes one for a push that never arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// GitHub's number of the repository: names change hands.
    pub repository: u64,
    /// `owner/name`, for links and for GraphQL.
    pub full_name: String,
    /// `refs/heads/main`.
    pub reference: String,
    /// The commit: 40 or 64 hexadecimal digits.
    pub commit: String,
    /// For tracing alone: it is not signed. None when the reconciler made this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// When.
    pub received_at: Timestamp,
}

impl Delivery {
    /// The digest of what makes two deliveries one push: repository, ref and commit, all signed.
    #[must_use]
    pub fn digest(repository: u64, reference: &str, commit: &str) -> Sha256 {
        Sha256::of(format!("{repository}|{reference}|{commit}").as_bytes())
    }

    /// Where it is stored: the same push has one key, whatever its delivery id.
    #[must_use]
    pub fn key(&self) -> String {
        Self::key_of(self.repository, &self.reference, &self.commit)
    }

    /// Where the delivery of a commit is stored.
    #[must_use]
    pub fn key_of(repository: u64, reference: &str, commit: &str) -> String {
        format!("inbox/{repository}/{}.json", Self::digest(repository, reference, commit))
    }
}

/// Why a run exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// A push: rows that are new or changed.
    Push,
    /// Something changed that verdicts depend on: rows that are not approved.
    Again,
}

/// The head of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDocument {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Its own name.
    pub run: RunId,
    /// Why it exists.
    pub kind: RunKind,
    /// GitHub's number of the repository.
    pub repository: u64,
    /// `owner/name`.
    pub full_name: String,
    /// `refs/heads/main`.
    pub reference: String,
    /// The commit.
    pub commit: String,
    /// Git's id of the file at that commit; none when the commit has no such file.
    pub blob: Option<String>,
    /// When it was read.
    pub read_at: Timestamp,
    /// Whether the file is the one that the last push of the branch had: then it brings nothing that was not told.
    pub unchanged: bool,
    /// Why no row of the file can be read, if so: a sentence for people.
    pub unreadable: Option<Reason>,
    /// The lines that are part of this run, in order: those of the manifest, and those that ended while they were read.
    pub lines: Vec<u64>,
    /// Lines that ask for the same as an earlier one, and that one.
    pub same_as: Vec<(u64, u64)>,
    /// Who is told that no row can be read, if so: the author of the commit, when the address is within the allowed domains.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub told: BTreeSet<String>,
}

/// That the last step of a run is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// GitHub's word: `success`, `failure` or `error`.
    pub state: String,
    /// When.
    pub at: Timestamp,
}

/// What a push was read as. A push with the same file brings nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run.
    pub run: RunId,
    /// Git's id of the file; none when the commit has no such file.
    pub blob: Option<String>,
}

/// One row of the manifest: the input of one item of the Distributed Map. At most 300 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowItem {
    /// The name of the row's execution.
    pub execution: String,
    /// The state that it starts in.
    pub state: RowState,
}

/// A row of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowDocument {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run.
    pub run: RunId,
    /// The line of the file that the row begins on, 1-based.
    pub line: u64,
    /// See [`RowKey`].
    pub key: RowKey,
    /// The `name` cell, escaped for showing.
    pub name: String,
    /// The `source` cell, escaped for showing.
    pub source: String,
    /// What it asks for; none when it cannot be read or may not be asked for.
    pub wanted: Option<Wanted>,
    /// The addresses that are told, already within the allowed domains; empty means the default subscription.
    pub told: BTreeSet<String>,
}

/// What makes two rows the same request through all commits of a repository: name, source and pin. Line and requester do not
/// matter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowKey(Sha256);

impl RowKey {
    /// Of a row that can be read.
    #[must_use]
    pub fn of(wanted: &Wanted) -> Self {
        let pin = wanted.sha256.map(|sha256| sha256.to_string()).unwrap_or_default();
        Self(Sha256::of(format!("{}\n{}\n{pin}", wanted.name.normalized(), wanted.source.key()).as_bytes()))
    }

    /// Of a row that cannot: its cells as they are shown.
    #[must_use]
    pub fn unreadable(name: &str, source: &str) -> Self {
        Self(Sha256::of(format!("unreadable\n{name}\n{source}").as_bytes()))
    }

    /// The same row of one repository: what people asked for in one is no answer to those who ask in another.
    #[must_use]
    pub fn within(&self, repository: u64) -> Self {
        Self(Sha256::of(format!("{repository}\n{}", self.0).as_bytes()))
    }
}

impl std::fmt::Display for RowKey {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_string()[..32])
    }
}

/// What Fetch led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchedDocument {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The whole set, sorted by file name.
    pub files: Vec<FetchedFile>,
    /// What a reader of the verdict should know.
    pub notes: Vec<Reason>,
}

/// One file of the set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchedFile {
    /// What users would download it as.
    pub filename: String,
    /// Of its bytes.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    /// What the index said.
    pub evidence: Evidence,
}

/// The input of the intake machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// The run. Its first execution has the same name, a later attempt at it has another.
    pub run: RunId,
    /// Which rows are wanted.
    pub kind: RunKind,
    /// The key of the [`Delivery`] that names repository, ref and commit.
    pub delivery: String,
}

/// How a row ended in one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeDocument {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// As people read it.
    pub outcome: RowOutcome,
    /// The key of the decision, if there was anything to decide on.
    pub decision: Option<String>,
    /// What it was decided by; none when it ended before that.
    pub inputs: Option<Inputs>,
    /// When time alone may change it: a retryable failure, or the end of a cool-down.
    pub again_at: Option<Timestamp>,
}

impl OutcomeDocument {
    /// A row that ended before there was anything to decide on.
    #[must_use]
    pub fn of_reason(row: &RowDocument, verdict: Verdict, reason: Reason, again_at: Option<Timestamp>) -> Self {
        Self {
            schema_version: crate::SCHEMA_VERSION,
            outcome: row.outcome(verdict, vec![reason]),
            decision: None,
            inputs: None,
            again_at,
        }
    }

    /// Whether it is a failure that the gate tries again by itself.
    #[must_use]
    pub fn is_retried(&self) -> bool {
        self.outcome.verdict == Verdict::Failed && self.again_at.is_some()
    }

    /// The same outcome as a row of another run reads, where it may be on another line and in other words.
    #[must_use]
    pub fn told_of(mut self, row: &RowDocument) -> Self {
        self.outcome.line = row.line;
        self.outcome.name.clone_from(&row.name);
        self.outcome.source.clone_from(&row.source);
        self
    }

    /// A row that was decided on; `key` is the decision's.
    #[must_use]
    pub fn of_decision(row: &RowDocument, decision: &Decision, key: String, policy: &Policy, inputs: Inputs) -> Self {
        let reasons = decision.reasons.iter().chain(&decision.notes).cloned().collect();
        let outcome = RowOutcome {
            coordinates: decision.coordinates.as_ref().map(ToString::to_string),
            artifacts: decision.artifacts(),
            ..row.outcome(decision.verdict, reasons)
        };
        Self {
            schema_version: crate::SCHEMA_VERSION,
            outcome,
            decision: Some(key),
            inputs: Some(inputs),
            again_at: decision.cools_down_at(policy),
        }
    }
}

impl RowDocument {
    /// An outcome without a set.
    #[must_use]
    pub fn outcome(&self, verdict: Verdict, reasons: Vec<Reason>) -> RowOutcome {
        RowOutcome {
            line: self.line,
            name: self.name.clone(),
            source: self.source.clone(),
            coordinates: None,
            verdict,
            reasons,
            artifacts: Vec::new(),
        }
    }

    /// What the row asks for.
    ///
    /// # Errors
    /// [`ErrorName::Corrupt`]: a row that cannot be read has no execution.
    pub fn wanted(&self) -> Result<&Wanted, StepError> {
        let missing =
            || StepError::new(ErrorName::Corrupt, format!("line {} of {} asks for nothing", self.line, self.run));
        self.wanted.as_ref().ok_or_else(missing)
    }
}

/// A ledger record, once per row and outcome. Who is to hear of it hears of it in the digest of `run`; whoever asks for the same
/// row later, in the digest of that run, for which the record is appended once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run in which the row ended so for the first time.
    pub run: RunId,
    /// The line in that run.
    pub line: u64,
    /// The addresses that hear of it in that run; empty means the default subscription.
    pub told: BTreeSet<String>,
    /// Who asked for the row besides, and heard of the same outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Hearing>,
    /// How it ended.
    pub ended: OutcomeDocument,
    /// When it ended so for the first time.
    pub at: Timestamp,
}

/// That an outcome which is known is told to somebody who asked for the row in another run, or on another line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hearing {
    /// The run whose digest tells of it.
    pub run: RunId,
    /// The line in that run.
    pub line: u64,
    /// The addresses.
    pub told: BTreeSet<String>,
}

impl Notice {
    /// The notice of a row that ended in its own run.
    #[must_use]
    pub fn of(row: &RowDocument, ended: OutcomeDocument, at: Timestamp) -> Self {
        Self {
            schema_version: crate::SCHEMA_VERSION,
            run: row.run.clone(),
            line: row.line,
            told: row.told.clone(),
            also: Vec::new(),
            ended,
            at,
        }
    }

    /// Who hears of it in the digest of a row's run; none when that digest does not tell of it.
    #[must_use]
    pub fn hearers<'a>(&'a self, row: &'a RowDocument) -> Option<&'a BTreeSet<String>> {
        let first = (&self.run, self.line, &self.told);
        let also = self.also.iter().map(|hearing| (&hearing.run, hearing.line, &hearing.told));
        let in_run = || std::iter::once(first).chain(also.clone()).filter(|(run, ..)| **run == row.run);
        let here = in_run().find(|(_, line, _)| *line == row.line);
        // Another line of the run with the same cells has the record.
        here.map(|(.., told)| told).or_else(|| in_run().next().map(|_| &row.told))
    }

    /// Whether this row, in its run and on its line, has its part in the record.
    #[must_use]
    pub fn has(&self, row: &RowDocument) -> bool {
        let is_it = |run: &RunId, line| (run, line) == (&row.run, row.line);
        is_it(&self.run, self.line) || self.also.iter().any(|hearing| is_it(&hearing.run, hearing.line))
    }

    /// Those of the addresses that have not heard of this outcome.
    #[must_use]
    pub fn strangers(&self, addresses: &BTreeSet<String>) -> BTreeSet<String> {
        let knows = |address: &String| {
            self.told.contains(address) || self.also.iter().any(|hearing| hearing.told.contains(address))
        };
        addresses.iter().filter(|address| !knows(address)).cloned().collect()
    }

    /// Whether a requester would learn nothing new from another outcome of the same row. Why the gate cannot decide matters to
    /// nobody as long as it tries again by itself; that it has given up, and why, does.
    #[must_use]
    pub fn says_the_same_as(&self, other: &OutcomeDocument) -> bool {
        let (ours, theirs) = (&self.ended.outcome, &other.outcome);
        let codes = |outcome: &RowOutcome| -> Vec<String> {
            outcome.reasons.iter().map(|reason| reason.code.clone()).collect()
        };
        let digests = |outcome: &RowOutcome| -> Vec<Sha256> {
            outcome.artifacts.iter().map(|artifact| artifact.sha256).collect()
        };
        let (ours_is_retried, theirs_is_retried) = (self.ended.is_retried(), other.is_retried());
        ours.verdict == theirs.verdict
            && ours.coordinates == theirs.coordinates
            && digests(ours) == digests(theirs)
            && ours_is_retried == theirs_is_retried
            && (ours_is_retried || codes(ours) == codes(theirs))
    }
}
