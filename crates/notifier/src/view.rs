use gate_core::advisory::AdvisoryDb;
use gate_core::decision::{Consulted, Decision, Weighed};
use gate_core::finding::Category;
use gate_core::outcome::{CheckDocument, Reason, RowOutcome};
use gate_core::policy::Policy;
use gate_core::report::ContentReport;
use jiff::Timestamp;

/// One run, as the page and the mails tell it.
#[derive(Clone, Debug)]
pub struct RunView<'a> {
    /// What `--json` prints.
    pub document: &'a CheckDocument,
    /// One element a row, in the document's order.
    pub rows: Vec<RowView<'a>>,
    /// The advisory export that was consulted, if any.
    pub advisories: Option<&'a Consulted>,
    /// The policy that decided.
    pub policy: &'a Policy,
    /// When the run ended; ages count from here.
    pub generated_at: Timestamp,
    /// Where a person finds the page: a path or an address, chosen by the operator.
    pub report_at: &'a str,
    /// Why the request as a whole cannot be read, if so; then there are no rows.
    pub unreadable: Option<&'a Reason>,
    /// How users get what is approved.
    pub install: &'a Install,
}

/// How users get what is approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Install {
    /// By `pip`, from the `--index-url` that the operator has chosen.
    Index(String),
    /// As assets of format `generic`, by name.
    Assets(AssetRepository),
}

/// A CodeArtifact repository that holds approved files as assets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetRepository {
    /// The domain.
    pub domain: String,
    /// The account that owns the domain.
    pub owner: String,
    /// The repository.
    pub repository: String,
}

/// One row of a run.
#[derive(Clone, Debug)]
pub struct RowView<'a> {
    /// How it ended.
    pub outcome: &'a RowOutcome,
    /// What was decided; none when there was nothing to decide on.
    pub decision: Option<&'a Decision>,
    /// The content report of each file of the set, by its file name.
    pub reports: Vec<(&'a str, &'a ContentReport)>,
    /// CSV lines that the request lacks: a dependency each.
    pub rows_to_add: Vec<String>,
    /// The oldest later version that has none of the row's known vulnerabilities, if there is one.
    pub fixed_version: Option<String>,
    /// When the gate decides the row again by itself, if it does.
    pub again_at: Option<Timestamp>,
    /// Whether findings were left out of `decision`, because the run is too large for one page. One of each kind is there.
    pub abridged: bool,
}

/// What to ask for instead of a version that is refused for its advisories; none when it is not, or no later version is better.
#[must_use]
pub fn fixed_version(decision: &Decision, advisories: &AdvisoryDb) -> Option<String> {
    let refused_for_one = |weighed: &Weighed| weighed.refuses && weighed.finding.category == Category::Advisory;
    let coordinates = decision.coordinates.as_ref().filter(|_| decision.findings.iter().any(refused_for_one))?;
    advisories.fixed_version(&coordinates.name, &coordinates.version.parse().ok()?).map(|version| version.to_string())
}
