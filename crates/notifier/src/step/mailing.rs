//! Who hears of which rows, and the record of what was said.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate_core::SCHEMA_VERSION;
use gate_core::digest::Sha256;
use gate_core::outcome::Reason;
use gate_core::ports::{Clock, Mail, Outbox, Records, Subscription, Subscriptions};
use gate_core::run::{self, RunDocument, RunId};
use gate_core::step::StepError;
use gate_core::text::escape;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Notifier, ROWS_AT_ONCE};
use crate::digest;
use crate::plain::count;
use crate::view::RunView;

/// The most addresses that a mail for many names.
const ADDRESSES_NAMED: usize = 100;

/// What is said of a request as a whole.
const UNREADABLE: &str = "unreadable";

/// A row that somebody has to hear of.
#[derive(Clone, Debug)]
pub(super) struct News<'a> {
    /// Its index in the view.
    pub(super) at: usize,
    pub(super) line: u64,
    /// See [`super::ending::says`].
    pub(super) says: String,
    pub(super) told: &'a BTreeSet<String>,
}

/// The record of a mail: `runs/RUN/mails/KEY.json`, written after it was sent. Nobody is told of the same outcome again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// [`gate_core::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The requesters that it was for, in lower case; empty for rows without one.
    pub told: Vec<String>,
    /// The line of each row, and a digest of what its outcome says.
    pub rows: Vec<(u64, String)>,
    /// When it was sent.
    pub at: Timestamp,
}

/// One row in a mail.
#[derive(Clone, Debug)]
struct Row {
    at: usize,
    line: u64,
    says: String,
}

/// What is to be sent for a run.
#[derive(Debug)]
pub(super) struct Mailing {
    run: RunId,
    /// How many mails the run has already.
    pub(super) sent_before: usize,
    /// By address in lower case; the empty one for rows that nobody asked for by name.
    rows: BTreeMap<String, Vec<Row>>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mailed {
    /// Mails, with those of earlier calls.
    pub(super) mails: usize,
    /// How many requesters this call has not reached, and nobody for them.
    pub(super) undelivered: usize,
}

/// One mail to be made.
#[derive(Debug)]
struct Letter {
    /// As in [`Told`].
    told: Vec<String>,
    rows: Vec<Row>,
    /// What comes before the body of a mail that goes to the default address instead.
    instead: Option<String>,
}

fn folder(run: &RunId) -> String {
    format!("runs/{run}/mails/")
}

impl Mailing {
    /// What is left to say of these rows.
    pub(super) async fn of<'n>(
        records: &impl Records,
        run: &RunId,
        news: impl IntoIterator<Item = News<'n>>,
    ) -> Result<Self, StepError> {
        let keys = records.list(&folder(run)).await?;
        let sent_before = keys.len();
        let sent = stream::iter(keys.iter().map(async |key| run::read::<Told>(records, key).await));
        let sent: Vec<Told> = sent.buffered(ROWS_AT_ONCE).try_collect().await?;
        let mut said = BTreeMap::<&str, BTreeSet<(u64, &str)>>::new();
        for mail in &sent {
            let rows = || mail.rows.iter().map(|(line, says)| (*line, says.as_str()));
            for address in mail.told.iter().map(String::as_str).chain(mail.told.is_empty().then_some("")) {
                said.entry(address).or_default().extend(rows());
            }
        }
        let mut rows = BTreeMap::<String, Vec<Row>>::new();
        for News { at, line, says, told } in news {
            let addresses: BTreeSet<_> =
                told.iter().filter(|address| digest::is_address(address)).map(|to| to.to_ascii_lowercase()).collect();
            let nobody = addresses.is_empty().then(String::new);
            for address in addresses.into_iter().chain(nobody) {
                if said.get(&*address).is_none_or(|said| !said.contains(&(line, &says))) {
                    rows.entry(address).or_default().push(Row { at, line, says: says.clone() });
                }
            }
        }
        Ok(Self { run: run.clone(), sent_before, rows })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Sends digests of the rows of the view.
    pub(super) async fn send<R: Records, O: Outbox, S: Subscriptions, C: Clock, F>(
        self,
        notifier: &Notifier<'_, R, O, S, C, F>,
        view: &RunView<'_>,
    ) -> Result<Mailed, StepError> {
        let digest = |letter: &Letter| {
            let rows = letter.rows.iter().filter_map(|row| view.rows.get(row.at)).cloned().collect();
            digest::digests(&RunView { rows, ..view.clone() }, &[]).pop()
        };
        self.send_each(notifier, digest, view.report_at).await
    }

    /// Sends one mail a letter, and records each after it was sent. What goes wrong with one mail is told after the others were
    /// sent; one that is refused for good holds nothing up.
    async fn send_each<R: Records, O: Outbox, S: Subscriptions, C: Clock, F>(
        self,
        notifier: &Notifier<'_, R, O, S, C, F>,
        mail_of: impl Fn(&Letter) -> Option<Mail>,
        report_at: &str,
    ) -> Result<Mailed, StepError> {
        let Self { run, sent_before, rows } = self;
        let mut first_error = None;
        let (letters, mut undelivered) = address(notifier, rows, &mut first_error).await;
        let mut mails = sent_before;
        for letter in letters {
            let Some(mail) = mail_of(&letter) else { continue };
            let (mail, requesters) = (letter.addressed(mail, report_at), letter.requesters());
            let said: Vec<_> = letter.rows.into_iter().map(|row| (row.line, row.says)).collect();
            let text: String = said.iter().map(|(line, says)| format!("{line} {says}\n")).collect();
            let to = match &letter.told[..] {
                [address] => Some(address.as_str()),
                _ => None,
            };
            let key = digest::key(&format!("{run}-{}", Sha256::of(text.as_bytes()).short()), to);
            match notifier.deliver(&run, &key, &mail, letter.told, said).await {
                Ok(Delivered::Sent) => mails += 1,
                Ok(Delivered::Refused) => undelivered += requesters,
                Err(error) => {
                    tracing::warn!(%run, key, error = %escape(&error.message), "a mail was not sent");
                    first_error = first_error.or(Some(error));
                }
            }
        }
        first_error.map_or(Ok(Mailed { mails, undelivered }), Err)
    }
}

impl Letter {
    fn addressed(&self, mail: Mail, report_at: &str) -> Mail {
        match &self.instead {
            Some(lines) => digest::forwarded(mail, lines, report_at),
            None => Mail { to: self.told.first().cloned(), ..mail },
        }
    }

    fn goes_to_default(&self) -> bool {
        self.told.is_empty() || self.instead.is_some()
    }

    /// How many people wait for it: whoever asked without a name is one.
    fn requesters(&self) -> usize {
        self.told.len().max(1)
    }
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivered {
    Sent,
    /// It will never be taken as it is.
    Refused,
}

/// Finds out whom mails reach. Mails for the others go to the default address: as many as the limit says, and one for the rest.
/// Gives how many requesters nobody hears for, because nothing reaches the default address either.
async fn address<R, O, S: Subscriptions, C, F>(
    notifier: &Notifier<'_, R, O, S, C, F>,
    rows: BTreeMap<String, Vec<Row>>,
    first_error: &mut Option<StepError>,
) -> (Vec<Letter>, usize) {
    let limits = notifier.config.limits;
    let (mut letters, mut others) = (Vec::new(), Vec::new());
    let mut asked = 0;
    for (address, rows) in rows {
        if address.is_empty() {
            letters.push(Letter { told: Vec::new(), rows, instead: None });
            continue;
        }
        asked += 1;
        let subscription = match asked <= limits.addresses {
            true => notifier.subscriptions.ensure(&address).await,
            false => Ok(Subscription::Full),
        };
        let instead = match subscription {
            Ok(Subscription::Confirmed) => {
                letters.push(Letter { told: vec![address], rows, instead: None });
                continue;
            }
            Ok(Subscription::Pending) => format!(
                "This mail is for {address}, who does not get it yet: the subscription is pending confirmation. The owner of the address must follow the link in the mail that asks for it."
            ),
            Err(error) if error.name.is_retried() => {
                *first_error = first_error.take().or(Some(error));
                continue;
            }
            result => {
                if let Err(error) = result {
                    tracing::error!(error = %escape(&error.message), "an address cannot be subscribed");
                }
                format!("This mail is for {address}, who does not get it: no further address can be subscribed.")
            }
        };
        others.push(Letter { told: vec![address], rows, instead: Some(instead) });
    }
    let rest = others.split_off(limits.forwarded.min(others.len()));
    letters.extend(others);
    letters.extend(together(rest));
    if !letters.iter().any(Letter::goes_to_default) {
        return (letters, 0);
    }
    let is_confirmed = match notifier.subscriptions.default_is_confirmed().await {
        Err(error) if error.name.is_retried() => {
            *first_error = first_error.take().or(Some(error));
            letters.retain(|letter| !letter.goes_to_default());
            return (letters, 0);
        }
        Err(error) => {
            tracing::error!(error = %escape(&error.message), "nobody knows whether mails reach the default address");
            false
        }
        Ok(is_confirmed) => is_confirmed,
    };
    let lost = letters.iter().filter(|letter| letter.goes_to_default() && !is_confirmed);
    let undelivered = lost.map(Letter::requesters).sum();
    (letters, undelivered)
}

/// One mail instead of many.
fn together(letters: Vec<Letter>) -> Option<Letter> {
    if letters.is_empty() {
        return None;
    }
    let told: Vec<_> = letters.iter().flat_map(|letter| letter.told.iter().cloned()).collect();
    let rows: BTreeMap<u64, Row> =
        letters.into_iter().flat_map(|letter| letter.rows).map(|row| (row.line, row)).collect();
    let mut instead = format!(
        "This mail is for {}, whom it does not reach: their subscriptions are pending confirmation, or cannot be made.",
        count(told.len(), "further requester"),
    );
    for address in told.iter().take(ADDRESSES_NAMED) {
        instead.push_str(&format!("\n  {address}"));
    }
    if told.len() > ADDRESSES_NAMED {
        instead.push_str(&format!("\nand {} more", told.len() - ADDRESSES_NAMED));
    }
    Some(Letter { told, rows: rows.into_values().collect(), instead: Some(instead) })
}

impl<R: Records, O: Outbox, S: Subscriptions, C: Clock, F> Notifier<'_, R, O, S, C, F> {
    async fn deliver(
        &self,
        run: &RunId,
        key: &str,
        mail: &Mail,
        told: Vec<String>,
        rows: Vec<(u64, String)>,
    ) -> Result<Delivered, StepError> {
        match self.outbox.send(key, mail).await {
            Ok(()) => {}
            Err(failure) if failure.code.is_retryable() => return Err(failure.into()),
            Err(failure) => {
                tracing::error!(%run, key, error = %escape(&failure.message), "a mail is refused for good");
                return Ok(Delivered::Refused);
            }
        }
        let record = Told { schema_version: SCHEMA_VERSION, told, rows, at: self.clock.now() };
        run::keep_document(self.records, &format!("{}{key}.json", folder(run)), &record).await?;
        Ok(Delivered::Sent)
    }

    /// Says once that no row of a request can be read.
    pub(super) async fn tell_unreadable(
        &self,
        head: &RunDocument,
        reason: &Reason,
        report_at: &str,
    ) -> Result<Mailed, StepError> {
        let request = format!("{} in {} at {}", head.reference, head.full_name, head.commit);
        let news = News { at: 0, line: 0, says: UNREADABLE.to_owned(), told: &head.told };
        let mail = |_: &Letter| Some(digest::unreadable(&request, reason, report_at));
        Mailing::of(self.records, &head.run, [news]).await?.send_each(self, mail, report_at).await
    }
}
