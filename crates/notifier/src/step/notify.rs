//! The end of one row.

use gate_core::ports::{Clock, Outbox, Records, Subscriptions};
use gate_core::run::{self, Noticed, OutcomeDocument, RowDocument, RowState, Status};
use gate_core::step::{ErrorName, StepError};

use super::ending::End;
use super::mailing::{Mailed, Mailing, News};
use super::paper::{Paper, RowPaper};
use super::{InForce, Notified, Notifier, Rules as _, ending};
use crate::page;

/// What was sent after the end of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Late {
    pub(super) mails: usize,
    /// Requesters that were not reached.
    pub(super) undelivered: usize,
}

impl<R: Records, O: Outbox, S: Subscriptions, C: Clock, F: InForce> Notifier<'_, R, O, S, C, F> {
    /// Writes down how a row ended, unless another run has decided it since. If its run is over already, as when somebody has
    /// redriven the row, its requesters hear of it at once; otherwise in the digest of the run.
    ///
    /// # Errors
    /// [`ErrorName::BadInput`] when the row has not ended; [`ErrorName::Corrupt`] when its outcome is missing or another row's;
    /// whatever a port fails with. Doing it again tells nobody twice.
    pub async fn notify(&self, state: RowState) -> Result<Notified, StepError> {
        let (Status::Ended, Some(key)) = (state.status, &state.outcome) else {
            return Err(StepError::new(ErrorName::BadInput, format!("{} has no outcome to tell of", state.row)));
        };
        let row: RowDocument = run::read(self.records, &state.row).await?;
        let ended: OutcomeDocument = run::read(self.records, key).await?;
        if ended.outcome.line != row.line || !key.starts_with(&format!("runs/{}/", row.run)) {
            return Err(StepError::new(ErrorName::Corrupt, format!("{key} is not an outcome of {}", state.row)));
        }
        let known = match ending::is_overtaken(self.records, &row, &ended).await? {
            true => run::hear(self.records, &row).await?,
            false => None,
        };
        let noticed = match known {
            Some(noticed) => noticed,
            None => ending::keep(self.records, &row, ended, self.clock.now()).await?,
        };
        let undelivered = self.tell_late(&row, noticed).await?.undelivered;
        Ok(Notified { state: RowState { status: Status::Told, ..state }, undelivered })
    }

    /// Tells of a row at once, if it is news and the digests of its run were sent without it.
    pub(super) async fn tell_late(&self, row: &RowDocument, noticed: Noticed) -> Result<Late, StepError> {
        let Noticed::News(notice) = noticed else { return Ok(Late::default()) };
        if self.records.get(&row.run.summary_key()).await?.is_none() {
            return Ok(Late::default());
        }
        let says = ending::says(&notice.ended.outcome, notice.ended.again_at);
        let Some(told) = notice.hearers(row) else { return Ok(Late::default()) };
        let news = News { at: 0, line: row.line, says: says.clone(), told };
        let mailing = Mailing::of(self.records, &row.run, [news]).await?;
        if mailing.is_empty() {
            return Ok(Late::default());
        }
        let before = mailing.sent_before;
        let rules = self.in_force.rules().await?;
        let mut paper = Paper::new(self.config, rules.policy(), rules.advisories(), self.clock.now());
        let mut rows = [RowPaper::of(self.records, End::of(row, &notice, &[]).ended).await?];
        paper.abridge(&mut rows[0]);
        paper.add_reports(self.records, &mut rows).await?;
        let name = format!("report-{:06}-{says}.html", row.line);
        let document = paper.document(&rows);
        let at = self.config.page_at(&row.run, &name);
        let view = paper.view(&document, &rows, &at, None);
        self.records.put_new(&format!("runs/{}/{name}", row.run), page::render(&view).as_bytes()).await?;
        let Mailed { mails, undelivered } = mailing.send(self, &view).await?;
        Ok(Late { mails: mails - before, undelivered })
    }
}
