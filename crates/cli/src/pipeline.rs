//! The steps of a request over local ports: fetch, scan, decide, publish; several rows at once.
//!
//! On AWS a state machine runs the same step functions. What is here is only their order.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use gate_core::advisory::AdvisoryDb;
use gate_core::decision::{Case, Decision, Examined, decide};
use gate_core::failure::{Failure, FailureCode};
use gate_core::outcome::{Reason, RowOutcome, Verdict};
use gate_core::policy::Policy;
use gate_core::ports::{Clock, Downloader, PackageIndex, PublishedFile, Quarantine as _, Scanner};
use gate_core::report::{ContentReport, ScannerVersion};
use gate_core::request::{Row, Standing, Wanted, standings};
use gate_core::run::FetchedFile;
use gate_core::{ledger, message};
use gate_fetcher::{FetchedArtifact, check_source_host, fetch_row};
use gate_publisher::directory::DirectoryRepository;
use gate_publisher::{Outcome, Ports, ToPublish, publish};
use gate_scan_poller::{Patience, examine};

use crate::dependencies;
use crate::progress::{Progress, RowProgress, Stage};
use crate::store::DirectoryStore;

/// Everything that a run works with.
pub(crate) struct Gate<'a, I, D, S, E, C> {
    pub(crate) store: &'a DirectoryStore,
    pub(crate) repository: &'a DirectoryRepository,
    pub(crate) index: &'a I,
    pub(crate) downloader: &'a D,
    pub(crate) built_in: &'a S,
    pub(crate) patience: Patience,
    /// Each of them must report on everything as well.
    pub(crate) external: &'a [E],
    pub(crate) external_patience: Patience,
    pub(crate) clock: &'a C,
    pub(crate) policy: &'a Policy,
    pub(crate) advisories: Option<&'a AdvisoryDb>,
    pub(crate) jobs: usize,
}

/// One row at its end.
#[derive(Debug)]
pub(crate) struct RowEnd {
    pub(crate) outcome: RowOutcome,
    pub(crate) decision: Option<Decision>,
    /// By file name, in the order of the set.
    pub(crate) reports: Vec<(String, ContentReport)>,
    /// Who is told, besides the default address.
    pub(crate) told: BTreeSet<String>,
    /// CSV lines that the request lacks: a dependency each.
    pub(crate) rows_to_add: Vec<String>,
    /// What the row asked for, if it could be read.
    pub(crate) wanted: Option<Wanted>,
}

/// How a row ends that is not worked on.
enum Ending {
    /// By itself.
    Row(Box<RowEnd>),
    /// As an earlier line does.
    SameAs(u64),
}

/// A row on its way.
struct Work {
    wanted: Wanted,
    told: BTreeSet<String>,
    /// What the ledger said before this run.
    previous: Option<Decision>,
    decided: Result<Decided, Failure>,
}

struct Decided {
    decision: Decision,
    reports: Vec<(String, ContentReport)>,
    notes: Vec<Reason>,
}

impl<I: PackageIndex, D: Downloader, S: Scanner, E: Scanner, C: Clock> Gate<'_, I, D, S, E, C> {
    /// Works on all rows; the result has one element a row, in the same order. No row's trouble is another's.
    ///
    /// # Errors
    /// When the ledger cannot be read at all.
    pub(crate) async fn run(&self, rows: &[Row], progress: &Progress) -> Result<Vec<RowEnd>, Failure> {
        let mut previous = BTreeMap::new();
        for wanted in rows.iter().filter_map(|row| row.wanted.as_ref().ok()) {
            let decision = ledger::latest_decision(self.store, wanted).await?;
            previous.insert((wanted.name.normalized(), wanted.source.key()), decision);
        }
        let known = |wanted: &Wanted| previous.get(&(wanted.name.normalized(), wanted.source.key())).cloned().flatten();
        let standings = standings(rows, |wanted| known(wanted).is_some_and(|decision| ledger::is_verdict(&decision)));

        let plan = |(row, standing): (&Row, Standing)| match standing {
            Standing::Invalid(problem) => {
                Err(Ending::Row(Box::new(invalid(row, message::invalid(row.line, &problem)))))
            }
            Standing::Conflicts(lines) => {
                Err(Ending::Row(Box::new(invalid(row, message::conflict(&row.name, &lines)))))
            }
            Standing::SameAs(line) => Err(Ending::SameAs(line)),
            Standing::Runs { wanted, told } => match check_source_host(&wanted.source, self.policy) {
                Err(reason) => Err(Ending::Row(Box::new(invalid(row, reason)))),
                Ok(()) => Ok((wanted, told)),
            },
        };
        let work = rows.iter().zip(standings).map(plan).enumerate().map(|(at, planned)| {
            let known = &known;
            async move {
                let worked = match planned {
                    Err(ending) => Err(ending),
                    Ok((wanted, told)) => {
                        let line = progress.row(at, &rows[at].name);
                        let decided = self.fetch_and_decide(&wanted, &line).await;
                        line.waits();
                        Ok(Work { previous: known(&wanted), wanted, told, decided })
                    }
                };
                (at, worked)
            }
        });
        let mut work: Vec<_> = stream::iter(work).buffer_unordered(self.jobs).collect().await;
        work.sort_by_key(|(at, _)| *at);
        let mut work: Vec<Result<Work, Ending>> = work.into_iter().map(|(_, worked)| worked).collect();
        self.settle_conflicts(rows, &mut work);

        let mut ends = Vec::<RowEnd>::with_capacity(rows.len());
        for (at, (row, worked)) in rows.iter().zip(work).enumerate() {
            let line = progress.row(at, &row.name);
            let end = match worked {
                Ok(work) => self.settle(row, work, &line).await,
                Err(Ending::Row(end)) => *end,
                Err(Ending::SameAs(first)) => same_as(row, first, &ends),
            };
            line.end(end.outcome.verdict, end.outcome.reasons.first());
            ends.push(end);
        }
        dependencies::note(&mut ends, self.repository, self.index, self.policy).await;
        Ok(ends)
    }

    async fn fetch_and_decide(&self, wanted: &Wanted, progress: &RowProgress) -> Result<Decided, Failure> {
        progress.stage(Stage::Fetching);
        let fetched =
            fetch_row(&wanted.source, wanted.sha256.as_ref(), self.policy, self.index, self.downloader, self.store)
                .await?;
        // External scans take their time elsewhere: all of them run while the built-in scanner works through the set. Without its
        // report there is nothing to decide on, whatever others say.
        let external = async { Ok(self.external_reports(&fetched.artifacts).await) };
        let (built_in, external) = tokio::try_join!(self.built_in_reports(&fetched.artifacts, progress), external)?;
        let mut files = Vec::with_capacity(fetched.artifacts.len());
        for ((artifact, mut report), others) in fetched.artifacts.into_iter().zip(built_in).zip(external) {
            for other in others {
                report = report.with(self.of_sound_bytes(&artifact, other).await?);
            }
            files.push(Examined {
                filename: artifact.filename,
                sha256: artifact.digest,
                size: artifact.size,
                evidence: artifact.evidence,
                report,
            });
        }
        progress.stage(Stage::Deciding);
        let decision = decide(&Case {
            name: &wanted.name,
            source: &wanted.source,
            files: &files,
            advisories: self.advisories,
            policy: self.policy,
            now: self.clock.now(),
        });
        let reports = files.into_iter().map(|file| (file.filename, file.report)).collect();
        Ok(Decided { decision, reports, notes: fetched.notes })
    }

    /// One report a file. They are made one after the other: each takes a processor.
    async fn built_in_reports(
        &self,
        artifacts: &[FetchedArtifact],
        progress: &RowProgress,
    ) -> Result<Vec<ContentReport>, Failure> {
        let mut reports = Vec::with_capacity(artifacts.len());
        for artifact in artifacts {
            progress.stage(Stage::Scanning { filename: &artifact.filename });
            let report = examine(self.built_in, self.store, &artifact.digest, self.patience).await;
            reports.push(self.of_sound_bytes(artifact, report).await?);
        }
        if let Some(scanner) = self.external.first() {
            progress.stage(Stage::Awaiting { scanner: &scanner.version().name });
        }
        Ok(reports)
    }

    /// For each file what each external scanner says, all at once.
    async fn external_reports(&self, artifacts: &[FetchedArtifact]) -> Vec<Vec<Result<ContentReport, Failure>>> {
        join_all(artifacts.iter().map(|artifact| {
            let report = |scanner| examine(scanner, self.store, &artifact.digest, self.external_patience);
            join_all(self.external.iter().map(report))
        }))
        .await
    }

    /// The report. If it gives reason to, the stored bytes are hashed, and set aside when they are damaged.
    async fn of_sound_bytes(
        &self,
        artifact: &FetchedArtifact,
        report: Result<ContentReport, Failure>,
    ) -> Result<ContentReport, Failure> {
        let doubtful = match &report {
            Ok(report) => report.size != artifact.size,
            Err(failure) => failure.code == FailureCode::DigestMismatch,
        };
        if doubtful && self.store.discard_damaged(&artifact.digest).await? {
            let message =
                format!("the stored bytes of {} were damaged and have been set aside; try again", artifact.filename);
            return Err(Failure::new(FailureCode::Storage, message));
        }
        report
    }

    /// Whose reports a verdict needs: the built-in scanner first.
    fn scanners(&self) -> Vec<ScannerVersion> {
        std::iter::once(self.built_in.version()).chain(self.external.iter().map(Scanner::version)).collect()
    }

    /// Rows whose archives turn out to be the same package with other bytes: those that the ledger knew stand, the others are
    /// invalid, whatever their order.
    fn settle_conflicts(&self, rows: &[Row], work: &mut [Result<Work, Ending>]) {
        let mut claims = BTreeMap::<_, Vec<usize>>::new();
        for (at, work) in work.iter().enumerate() {
            if let Ok(Work { decided: Ok(Decided { decision, .. }), .. }) = work
                && let Some(coordinates) = &decision.coordinates
            {
                claims.entry(coordinates.clone()).or_default().push(at);
            }
        }
        for rivals in claims.into_values() {
            let digests = |at: &usize| match &work[*at] {
                Ok(Work { decided: Ok(Decided { decision, .. }), .. }) => {
                    decision.files.iter().map(|file| file.sha256).collect()
                }
                _ => Vec::new(),
            };
            if rivals.iter().map(digests).collect::<BTreeSet<_>>().len() < 2 {
                continue;
            }
            let lines: Vec<u64> = rivals.iter().map(|at| rows[*at].line).collect();
            for at in rivals {
                if let Ok(Work { previous, decided: Ok(Decided { decision, .. }), .. }) = &mut work[at]
                    && !previous.as_ref().is_some_and(ledger::is_verdict)
                {
                    let others: Vec<u64> = lines.iter().copied().filter(|line| *line != rows[at].line).collect();
                    decision.verdict = Verdict::Invalid;
                    decision.reasons = vec![message::conflict(&rows[at].name, &others)];
                }
            }
        }
    }

    /// Publishes what is approved, withdraws what no longer is, and writes the decision down.
    async fn settle(&self, row: &Row, work: Work, progress: &RowProgress) -> RowEnd {
        let Work { wanted, told, previous, decided } = work;
        let Decided { mut decision, reports, notes } = match decided {
            Ok(decided) => decided,
            Err(failure) => return failed(row, &failure, told),
        };
        decision.notes.extend(notes);
        let settled = async {
            match decision.verdict {
                Verdict::Approved => {
                    progress.stage(Stage::Publishing);
                    self.publish_approved(&wanted, &mut decision).await?;
                }
                Verdict::Refused | Verdict::Held => self.withdraw(previous.as_ref(), &mut decision).await?,
                Verdict::Failed | Verdict::Invalid => {}
            }
            ledger::keep_decision(self.store, &wanted, &decision).await.map(|_| ())
        };
        if let Err(failure) = settled.await {
            return failed(row, &failure, told);
        }
        let outcome = RowOutcome {
            line: row.line,
            name: row.name.clone(),
            source: row.source.clone(),
            coordinates: decision.coordinates.as_ref().map(ToString::to_string),
            verdict: decision.verdict,
            reasons: decision.reasons.iter().chain(&decision.notes).cloned().collect(),
            artifacts: decision.artifacts(),
        };
        RowEnd { outcome, decision: Some(decision), reports, told, rows_to_add: Vec::new(), wanted: Some(wanted) }
    }

    /// Hides a published release if it has bytes that are not approved any more. What is published under the same coordinates
    /// with other bytes is another row's, and stays.
    async fn withdraw(&self, previous: Option<&Decision>, decision: &mut Decision) -> Result<(), Failure> {
        let Some(coordinates) = decision.coordinates.clone() else { return Ok(()) };
        let published = self.repository.published(&coordinates).map_err(|error| {
            Failure::new(FailureCode::Storage, format!("the package repository could not be read: {error}"))
        })?;
        let ours = |file: &PublishedFile| decision.files.iter().any(|own| own.sha256 == file.sha256);
        let note = message::withdrawn(&coordinates);
        if published.is_some_and(|release| release.files.iter().any(ours)) {
            self.repository.withdraw(&coordinates, &decision.reasons[0].message).await?;
            decision.notes.push(note);
        } else if previous.is_some_and(|previous| previous.notes.contains(&note)) {
            // Still so: the next run says the same, and nobody is told twice.
            decision.notes.push(note);
        }
        Ok(())
    }

    async fn publish_approved(&self, wanted: &Wanted, decision: &mut Decision) -> Result<(), Failure> {
        let files: Vec<_> = decision
            .files
            .iter()
            .map(|file| FetchedFile {
                filename: file.filename.clone(),
                sha256: file.sha256,
                size: file.size,
                evidence: file.evidence.clone(),
            })
            .collect();
        let ports = Ports {
            quarantine: self.store,
            records: self.store,
            repository: self.repository,
            clock: self.clock,
            scanners: &self.scanners(),
            advisories: self.advisories,
            policy: self.policy,
        };
        match publish(ToPublish { wanted, files: &files }, &ports).await? {
            Outcome::Published(_) => {}
            Outcome::NotPublished(again) => {
                let notes = std::mem::take(&mut decision.notes);
                *decision = *again;
                decision
                    .notes
                    .extend(notes.into_iter().filter(|note| !decision.notes.contains(note)).collect::<Vec<_>>());
            }
        }
        Ok(())
    }
}

fn ended(row: &Row, verdict: Verdict, reason: Reason, told: BTreeSet<String>) -> RowEnd {
    let outcome = RowOutcome {
        line: row.line,
        name: row.name.clone(),
        source: row.source.clone(),
        coordinates: None,
        verdict,
        reasons: vec![reason],
        artifacts: Vec::new(),
    };
    let wanted = row.wanted.as_ref().ok().cloned();
    RowEnd { outcome, decision: None, reports: Vec::new(), told, rows_to_add: Vec::new(), wanted }
}

fn failed(row: &Row, failure: &Failure, told: BTreeSet<String>) -> RowEnd {
    ended(row, Verdict::Failed, Reason::of_failure(failure), told)
}

fn invalid(row: &Row, reason: Reason) -> RowEnd {
    let told = row.wanted.as_ref().ok().and_then(|wanted| wanted.requester.clone()).into_iter().collect();
    ended(row, Verdict::Invalid, reason, told)
}

/// An identical row shares the outcome of the first one.
fn same_as(row: &Row, line: u64, ends: &[RowEnd]) -> RowEnd {
    let mut end = invalid(row, message::same_as(line));
    if let Some(first) = ends.iter().find(|end| end.outcome.line == line) {
        end.outcome.verdict = first.outcome.verdict;
        end.outcome.coordinates.clone_from(&first.outcome.coordinates);
        end.outcome.artifacts.clone_from(&first.outcome.artifacts);
    }
    end
}

#[cfg(test)]
mod tests;
