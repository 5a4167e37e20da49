//! What page and mails are made of, and how much of it is held in memory.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate_core::SCHEMA_VERSION;
use gate_core::advisory::AdvisoryDb;
use gate_core::decision::{Consulted, Decision};
use gate_core::failure::Failure;
use gate_core::ledger;
use gate_core::outcome::{CheckDocument, Reason, RowOutcome};
use gate_core::policy::Policy;
use gate_core::ports::Records;
use gate_core::report::{ContentReport, ScannerVersion};
use gate_core::run::OutcomeDocument;
use jiff::Timestamp;

use super::Config;
use crate::view::{RowView, RunView, fixed_version};

/// How many reports are read at the same time: one may have megabytes of findings.
const REPORTS_AT_ONCE: usize = 8;

/// One row.
#[derive(Debug)]
pub(super) struct RowPaper {
    pub(super) outcome: RowOutcome,
    decision: Option<Decision>,
    reports: Vec<(String, ContentReport)>,
    fixed_version: Option<String>,
    pub(super) again_at: Option<Timestamp>,
    abridged: bool,
}

impl RowPaper {
    /// A row without a decision.
    pub(super) fn plain(outcome: RowOutcome, again_at: Option<Timestamp>) -> Self {
        Self { outcome, decision: None, reports: Vec::new(), fixed_version: None, again_at, abridged: false }
    }

    /// A row with its decision, if there is one that can be read.
    pub(super) async fn of(records: &impl Records, ended: OutcomeDocument) -> Result<Self, Failure> {
        let decision = match &ended.decision {
            Some(key) => ledger::decision(records, key).await?,
            None => None,
        };
        Ok(Self { decision, ..Self::plain(ended.outcome, ended.again_at) })
    }

    async fn read_reports(&mut self, records: &impl Records, external: &[ScannerVersion]) -> Result<(), Failure> {
        for file in self.decision.iter().flat_map(|decision| &decision.files) {
            let scanners: Vec<_> = std::iter::once(&file.scanner).chain(external).cloned().collect();
            let report = match ledger::merged_report(records, &file.sha256, &scanners).await? {
                // Decided before the operator switched another scanner on.
                None => ledger::report(records, &file.sha256, &file.scanner).await?,
                merged => merged,
            };
            // The findings are the decision's.
            let report = report.map(|report| ContentReport { findings: Vec::new(), ..report });
            self.reports.extend(report.map(|report| (file.filename.clone(), report)));
        }
        Ok(())
    }
}

/// What the rows of a run have in common, and what is left of the limits.
#[derive(Debug)]
pub(super) struct Paper<'a> {
    config: &'a Config,
    policy: &'a Policy,
    advisories: Option<&'a AdvisoryDb>,
    consulted: Option<Consulted>,
    now: Timestamp,
    findings: usize,
    covered_files: u64,
    rows_with_reports: usize,
}

impl<'a> Paper<'a> {
    pub(super) fn new(
        config: &'a Config,
        policy: &'a Policy,
        advisories: Option<&'a AdvisoryDb>,
        now: Timestamp,
    ) -> Self {
        let limits = config.limits;
        Self {
            config,
            policy,
            advisories,
            consulted: advisories.map(Consulted::from),
            now,
            findings: limits.findings,
            covered_files: limits.covered_files,
            rows_with_reports: limits.rows_with_reports,
        }
    }

    /// Looks for a better version, and then leaves out findings beyond the limit: one of each category stays, for the words
    /// that depend on it.
    pub(super) fn abridge(&mut self, row: &mut RowPaper) {
        let Some(decision) = &mut row.decision else { return };
        row.fixed_version = self.advisories.and_then(|advisories| fixed_version(decision, advisories));
        if let Some(left) = self.findings.checked_sub(decision.findings.len()) {
            self.findings = left;
            return;
        }
        // They are sorted, the weightiest first.
        let mut kinds = BTreeSet::new();
        decision.findings.retain(|weighed| kinds.insert((weighed.refuses, weighed.finding.category)));
        decision.findings.shrink_to_fit();
        row.abridged = true;
    }

    /// Whether the limits allow to read the content reports of a row; without them the page has the counts alone.
    fn wants_reports(&mut self, row: &RowPaper) -> bool {
        let Some(decision) = row.decision.as_ref().filter(|_| !row.abridged) else { return false };
        let files = decision.files.iter().map(|file| {
            let counts = file.coverage;
            counts.analysed.saturating_add(counts.inert).saturating_add(counts.opaque).saturating_add(counts.lost)
        });
        let files = files.fold(0, u64::saturating_add);
        let left = (self.covered_files.checked_sub(files), self.rows_with_reports.checked_sub(1));
        let (Some(covered_files), Some(rows_with_reports)) = left else { return false };
        (self.covered_files, self.rows_with_reports) = (covered_files, rows_with_reports);
        true
    }

    /// Reads the content reports of these rows, as far as the limits allow.
    pub(super) async fn add_reports(&mut self, records: &impl Records, rows: &mut [RowPaper]) -> Result<(), Failure> {
        let external = &self.config.external;
        let rows: Vec<_> = rows.iter_mut().filter(|row| self.wants_reports(row)).collect();
        let reading = stream::iter(rows.into_iter().map(async |row| row.read_reports(records, external).await));
        reading.buffer_unordered(REPORTS_AT_ONCE).try_collect().await
    }

    /// The summary of these rows.
    pub(super) fn document(&self, rows: &[RowPaper]) -> CheckDocument {
        // Rows may have been decided before, or while the policy was replaced.
        let mut policies = rows.iter().filter_map(|row| row.decision.as_ref()).map(|decision| decision.policy_sha256);
        let decided_by = policies.next().filter(|first| policies.all(|policy| policy == *first));
        CheckDocument {
            schema_version: SCHEMA_VERSION,
            rows: rows.iter().map(|row| row.outcome.clone()).collect(),
            policy_sha256: decided_by.unwrap_or(self.policy.sha256),
            advisories_sha256: self.advisories.map(AdvisoryDb::sha256),
            scanner: self.config.built_in.clone(),
        }
    }

    /// All rows, as page and mails tell them.
    pub(super) fn view<'v>(
        &'v self,
        document: &'v CheckDocument,
        rows: &'v [RowPaper],
        report_at: &'v str,
        unreadable: Option<&'v Reason>,
    ) -> RunView<'v> {
        let row = |row: &'v RowPaper| RowView {
            outcome: &row.outcome,
            decision: row.decision.as_ref(),
            reports: row.reports.iter().map(|(filename, report)| (filename.as_str(), report)).collect(),
            rows_to_add: Vec::new(),
            fixed_version: row.fixed_version.clone(),
            again_at: row.again_at,
            abridged: row.abridged,
        };
        RunView {
            document,
            rows: rows.iter().map(row).collect(),
            advisories: self.consulted.as_ref(),
            policy: self.policy,
            generated_at: self.now,
            report_at,
            unreadable,
            install: &self.config.install,
        }
    }
}
