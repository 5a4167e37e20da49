//! The end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use gate_core::advisory::AdvisoryDb;
use gate_core::failure::FailureCode;
use gate_core::message;
use gate_core::outcome::{Reason, RowOutcome, Verdict};
use gate_core::ports::{Clock, Outbox, Records, Subscriptions};
use gate_core::run::{self, Inputs, Notice, OutcomeDocument, RowDocument, RunDocument, RunId};
use gate_core::step::{ErrorName, StepError};
use gate_core::text::escape;
use jiff::Timestamp;

use super::ending::{self, End};
use super::mailing::{Mailed, Mailing, News};
use super::notify::Late;
use super::paper::{Paper, RowPaper};
use super::{InForce, Notifier, ROWS_AT_ONCE, Rules as _, Summarised};
use crate::page;

/// Between two looks for failure events.
const POLL: Duration = Duration::from_secs(1);

/// The name of the page among the documents of its run.
const PAGE: &str = "report.html";

/// One line of a run.
struct Line {
    paper: RowPaper,
    /// Who hears of it; none when it is no news.
    told: Option<BTreeSet<String>>,
    /// The row, if it can still end otherwise while this step works: see [`End::may_change`].
    row: Option<RowDocument>,
}

impl<R: Records, O: Outbox, S: Subscriptions, C: Clock, F: InForce> Notifier<'_, R, O, S, C, F> {
    /// Ends a run: every row of it has one verdict, everybody who has to hear of one hears of it in one mail, and page and
    /// summary are stored. The summary is the last: where it is, the mails were sent.
    ///
    /// # Errors
    /// [`ErrorName::Corrupt`] when the run was not read; whatever a port fails with. Doing it again tells nobody twice: a mail
    /// is sent again only if the function dies between sending and recording it.
    pub async fn summarise(&self, run: &RunId) -> Result<Summarised, StepError> {
        let head: RunDocument = run::read(self.records, &run.document_key()).await?;
        if head.run != *run {
            return Err(StepError::new(ErrorName::Corrupt, format!("{} is of another run", run.document_key())));
        }
        let now = self.clock.now();
        let rules = self.in_force.rules().await?;
        let mut paper = Paper::new(self.config, rules.policy(), rules.advisories(), now);
        let scanners: Vec<_> = std::iter::once(&self.config.built_in).chain(&self.config.external).cloned().collect();
        let inputs = Inputs::of(rules.policy(), rules.advisories().map(AdvisoryDb::sha256), &scanners)
            .with_fetch(self.config.fetch_settings);
        let outcomes = self.outcomes(run).await?;
        self.wait_for_failure_events(&head, &outcomes).await?;
        let lines = self.lines(&head, &outcomes, &mut paper, &inputs, now).await?;

        let (mut papers, mut others) = (Vec::with_capacity(lines.len()), Vec::with_capacity(lines.len()));
        for Line { paper, told, row } in lines {
            papers.push(paper);
            others.push((told, row));
        }
        paper.add_reports(self.records, &mut papers).await?;
        let at = self.config.page_at(run, PAGE);
        let document = paper.document(&papers);
        let view = paper.view(&document, &papers, &at, head.unreadable.as_ref());

        let Mailed { mails, undelivered } = match &head.unreadable {
            Some(reason) if !head.unchanged => self.tell_unreadable(&head, reason, &at).await?,
            _ => {
                let news = papers.iter().zip(&others).enumerate();
                let news = news.filter_map(|(at, (paper, (told, _)))| Some(news_of(at, paper, told.as_ref()?)));
                Mailing::of(self.records, run, news).await?.send(self, &view).await?
            }
        };
        self.records.put_new(&run.report_key(), page::render(&view).as_bytes()).await?;
        run::keep_document(self.records, &run.summary_key(), &document).await?;

        let rows = papers.iter().zip(others).filter_map(|(paper, (_, row))| Some((row?, says(paper))));
        let late = self.redriven_meanwhile(rows.collect()).await?;
        let mut verdicts = BTreeMap::new();
        for row in &document.rows {
            *verdicts.entry(row.verdict).or_default() += 1;
        }
        tracing::info!(%run, rows = document.rows.len(), mails, undelivered, "a run was summarised");
        Ok(Summarised {
            run: run.clone(),
            mails: mails + late.mails,
            verdicts,
            undelivered: undelivered + late.undelivered,
        })
    }

    /// Waits until every row has an outcome or a notice, at most [`Limits::failure_events`](super::Limits::failure_events): the
    /// event of an execution that failed says why, and what is written first stays.
    async fn wait_for_failure_events(
        &self,
        head: &RunDocument,
        outcomes: &BTreeMap<u64, Vec<String>>,
    ) -> Result<(), StepError> {
        let mut waited = Duration::ZERO;
        let mut open: Vec<u64> = head.lines.iter().copied().filter(|line| !outcomes.contains_key(line)).collect();
        let same_as: BTreeSet<u64> = head.same_as.iter().map(|(line, _)| *line).collect();
        open.retain(|line| !same_as.contains(line));
        while !open.is_empty() && waited < self.config.limits.failure_events {
            let mut still_open = Vec::new();
            let mut looks = stream::iter(open.iter().map(async |line| (*line, self.is_open(head, *line).await)))
                .buffer_unordered(ROWS_AT_ONCE);
            while let Some((line, is_open)) = looks.next().await {
                match is_open {
                    Ok(true) => still_open.push(line),
                    Ok(false) => {}
                    // The line is told of as damaged, below.
                    Err(error) if error.name == ErrorName::Corrupt => {}
                    Err(error) => return Err(error),
                }
            }
            drop(looks);
            open = still_open;
            if !open.is_empty() {
                tokio::time::sleep(POLL).await;
                waited += POLL;
            }
        }
        Ok(())
    }

    async fn is_open(&self, head: &RunDocument, line: u64) -> Result<bool, StepError> {
        let row: RowDocument = run::read(self.records, &head.run.row_key(line)).await?;
        let newest = run::latest_look(self.records, &row.key).await?;
        Ok(newest.is_none_or(|look| look.run != head.run && look.at < head.read_at))
    }

    /// Every line of the run, in order.
    async fn lines(
        &self,
        head: &RunDocument,
        outcomes: &BTreeMap<u64, Vec<String>>,
        paper: &mut Paper<'_>,
        inputs: &Inputs,
        now: Timestamp,
    ) -> Result<Vec<Line>, StepError> {
        let same_as: BTreeMap<u64, u64> = head.same_as.iter().copied().collect();
        let own: BTreeSet<u64> = head.lines.iter().copied().filter(|line| !same_as.contains_key(line)).collect();
        let mut reading = stream::iter(own.iter().map(async |line| {
            let outcomes = outcomes.get(line).map_or(&[][..], Vec::as_slice);
            (*line, self.line(head, *line, outcomes, inputs, now).await)
        }))
        .buffered(ROWS_AT_ONCE);
        let mut lines = BTreeMap::new();
        while let Some((number, line)) = reading.next().await {
            let mut line = match line {
                Err(error) if error.name == ErrorName::Corrupt => {
                    tracing::error!(run = %head.run, line = number, error = %escape(&error.message), "a row is damaged");
                    damaged(number)
                }
                line => line?,
            };
            paper.abridge(&mut line.paper);
            lines.insert(number, line);
        }
        drop(reading);
        for (number, first) in same_as {
            let Some(line) = lines.get(&first).map(|first| shared(number, first)) else { continue };
            lines.insert(number, line);
        }
        Ok(lines.into_values().collect())
    }

    async fn line(
        &self,
        head: &RunDocument,
        number: u64,
        outcomes: &[String],
        inputs: &Inputs,
        now: Timestamp,
    ) -> Result<Line, StepError> {
        let row: RowDocument = run::read(self.records, &head.run.row_key(number)).await?;
        if row.run != head.run || row.line != number {
            let message = format!("{} is of another row", head.run.row_key(number));
            return Err(StepError::new(ErrorName::Corrupt, message));
        }
        let End { ended, told, may_change } =
            ending::of(self.records, &row, outcomes, head.read_at, inputs, now).await?;
        let row = may_change.then_some(row);
        Ok(Line { paper: RowPaper::of(self.records, ended).await?, told, row })
    }

    /// The keys of all outcomes of a run, by line.
    async fn outcomes(&self, run: &RunId) -> Result<BTreeMap<u64, Vec<String>>, StepError> {
        let prefix = format!("runs/{run}/outcomes/");
        let mut outcomes = BTreeMap::<u64, Vec<String>>::new();
        for key in self.records.list(&prefix).await? {
            let line = key.strip_prefix(&prefix).and_then(|name| name.split_once('-')?.0.parse().ok());
            if let Some(line) = line {
                outcomes.entry(line).or_default().push(key);
            }
        }
        Ok(outcomes)
    }

    /// A row that was not decided may have been redriven after it was read here and before the summary was there: then neither
    /// the digest nor its own Notify step has told of it.
    async fn redriven_meanwhile(&self, rows: Vec<(RowDocument, String)>) -> Result<Late, StepError> {
        let notices = stream::iter(rows.iter().map(async |(row, said)| {
            let notice = run::latest_notice(self.records, &row.key).await?;
            let says = |ended: &OutcomeDocument| ending::says(&ended.outcome, ended.again_at);
            let other = |notice: &Notice| notice.hearers(row).is_some() && says(&notice.ended) != *said;
            Ok::<_, StepError>(notice.filter(other).map(|notice| (row, notice)))
        }));
        let mut notices = notices.buffered(ROWS_AT_ONCE);
        let mut late = Late::default();
        while let Some(found) = notices.next().await {
            let Some((row, notice)) = found? else { continue };
            let told = self.tell_late(row, run::Noticed::News(Box::new(notice))).await?;
            late = Late { mails: late.mails + told.mails, undelivered: late.undelivered + told.undelivered };
        }
        Ok(late)
    }
}

fn news_of<'a>(at: usize, paper: &RowPaper, told: &'a BTreeSet<String>) -> News<'a> {
    News { at, line: paper.outcome.line, says: says(paper), told }
}

fn says(paper: &RowPaper) -> String {
    ending::says(&paper.outcome, paper.again_at)
}

/// A line whose documents cannot be read. The default address hears of it.
fn damaged(line: u64) -> Line {
    let outcome = RowOutcome {
        line,
        name: String::new(),
        source: String::new(),
        coordinates: None,
        verdict: Verdict::Failed,
        reasons: vec![ending::fault(FailureCode::Storage, None)],
        artifacts: Vec::new(),
    };
    Line { paper: RowPaper::plain(outcome, None), told: Some(BTreeSet::new()), row: None }
}

/// A line that asks for the same as an earlier one, whose outcome it shares; whoever asked in either hears of the earlier one.
fn shared(line: u64, first: &Line) -> Line {
    let RowOutcome { line: number, name, source, coordinates, verdict, artifacts, .. } = &first.paper.outcome;
    let reasons: Vec<Reason> = vec![message::same_as(*number)];
    let outcome = RowOutcome {
        line,
        name: name.clone(),
        source: source.clone(),
        coordinates: coordinates.clone(),
        verdict: *verdict,
        reasons,
        artifacts: artifacts.clone(),
    };
    let paper = RowPaper::plain(outcome, first.paper.again_at);
    Line { paper, told: None, row: None }
}
