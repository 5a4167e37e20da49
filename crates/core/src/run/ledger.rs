//! Writing and reading the documents of a run. What is stored is never changed.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    FetchedDocument, Head, Hearing, Look, Notice, OutcomeDocument, RowDocument, RowKey, RunDocument, reference_digest,
};
use crate::digest::Sha256;
use crate::failure::FailureCode;
use crate::outcome::{Reason, Verdict};
use crate::ports::{Put, Records};
use crate::step::{ErrorName, StepError};

/// The shortest time until a retryable failure is tried again.
pub const RETRY_FIRST: SignedDuration = SignedDuration::from_mins(15);
/// The longest.
pub const RETRY_LONGEST: SignedDuration = SignedDuration::from_hours(12);
/// How long a retryable failure is tried again.
pub const RETRY_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What became of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// The outcome is news to a requester of the row's run: this notice was stored now, or by an earlier try of the same run.
    News(Box<Notice>),
    /// Every requester knows it: the newest notice says the same, and was told in other runs.
    Known(Box<Notice>),
}

/// A document that must be there.
///
/// # Errors
/// [`ErrorName::Corrupt`] when it is missing or of another form; whatever the store fails with.
pub async fn read<T: DeserializeOwned>(records: &impl Records, key: &str) -> Result<T, StepError> {
    let found = read_json(records, key).await?;
    found.ok_or_else(|| StepError::new(ErrorName::Corrupt, format!("there is no document {key}")))
}

/// A document that may be there.
///
/// # Errors
/// [`ErrorName::Corrupt`] when it is of another form; whatever the store fails with.
pub async fn read_json<T: DeserializeOwned>(records: &impl Records, key: &str) -> Result<Option<T>, StepError> {
    let Some(bytes) = records.get(key).await? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StepError::new(ErrorName::Corrupt, format!("the document {key} cannot be read: {error}")))
}

/// Stores a document; one that is there already stays, and is as good: a step that runs twice writes the same.
///
/// # Errors
/// Whatever the store fails with.
pub async fn keep_document<T: Serialize>(records: &impl Records, key: &str, value: &T) -> Result<Put, StepError> {
    Ok(records.put_new(key, &json(key, value)?).await?)
}

/// Stores how a row ended under a key made of its content, and gives the key.
///
/// # Errors
/// Whatever the store fails with.
pub async fn keep_outcome(
    records: &impl Records,
    row: &RowDocument,
    outcome: &OutcomeDocument,
) -> Result<String, StepError> {
    let bytes = json("the outcome", outcome)?;
    let key = format!("runs/{}/outcomes/{:06}-{}.json", row.run, row.line, Sha256::of(&bytes).short());
    records.put_new(&key, &bytes).await?;
    Ok(key)
}

/// What the newest fetch of a row led to: its key and the document.
///
/// # Errors
/// Whatever the store fails with.
pub async fn fetched(records: &impl Records, row: &RowKey) -> Result<Option<(String, FetchedDocument)>, StepError> {
    newest(records, &format!("fetched/{row}/")).await
}

/// Appends what a fetch led to, unless the newest says the same; gives the key.
///
/// # Errors
/// Whatever the store fails with.
pub async fn keep_fetched(
    records: &impl Records,
    row: &RowKey,
    document: &FetchedDocument,
) -> Result<String, StepError> {
    loop {
        let (next, newest) = position::<FetchedDocument>(records, &format!("fetched/{row}/")).await?;
        if let Some((key, newest)) = newest
            && newest == *document
        {
            return Ok(key);
        }
        if keep_document(records, &next, document).await? == Put::Created {
            return Ok(next);
        }
    }
}

/// The newest notice on a row.
///
/// # Errors
/// Whatever the store fails with.
pub async fn latest_notice(records: &impl Records, row: &RowKey) -> Result<Option<Notice>, StepError> {
    Ok(newest(records, &format!("notices/{row}/")).await?.map(|(_, notice)| notice))
}

/// The oldest notice on a row.
///
/// # Errors
/// Whatever the store fails with.
pub async fn first_notice(records: &impl Records, row: &RowKey) -> Result<Option<Notice>, StepError> {
    let keys = records.list(&format!("notices/{row}/")).await?;
    match keys.first() {
        Some(key) => read(records, key).await.map(Some),
        None => Ok(None),
    }
}

/// Appends the notice of how a row ended, unless its requesters know the outcome already. Two runs that end a row alike at the
/// same time for the same people leave one.
///
/// # Errors
/// Whatever the store fails with.
pub async fn keep_notice(
    records: &impl Records,
    row: &RowDocument,
    ended: &OutcomeDocument,
    now: Timestamp,
) -> Result<Noticed, StepError> {
    loop {
        let (next, newest) = position::<Notice>(records, &format!("notices/{}/", row.key)).await?;
        let notice = match newest {
            Some((_, newest)) if newest.says_the_same_as(ended) => match heard(newest, row) {
                Ok(notice) => notice,
                Err(noticed) => return Ok(noticed),
            },
            newest => {
                let mut notice = Notice::of(row, ended.clone(), now);
                // A redrive has ended the row otherwise: whoever asked meanwhile was told what is no longer so.
                let before = newest.filter(|(_, newest)| newest.run == row.run);
                notice.told.extend(before.into_iter().flat_map(|(_, newest)| newest.also).flat_map(|also| also.told));
                notice
            }
        };
        if keep_document(records, &next, &notice).await? == Put::Created {
            return Ok(Noticed::News(Box::new(notice)));
        }
    }
}

/// Appends that the requesters of a row hear of the outcome which is known, whatever it is, and gives it; none when there is none.
///
/// # Errors
/// Whatever the store fails with.
pub async fn hear(records: &impl Records, row: &RowDocument) -> Result<Option<Noticed>, StepError> {
    loop {
        let (next, newest) = position::<Notice>(records, &format!("notices/{}/", row.key)).await?;
        let Some((_, newest)) = newest else { return Ok(None) };
        let notice = match heard(newest, row) {
            Ok(notice) => notice,
            Err(noticed) => return Ok(Some(noticed)),
        };
        if keep_document(records, &next, &notice).await? == Put::Created {
            return Ok(Some(Noticed::News(Box::new(notice))));
        }
    }
}

/// The notice with those requesters of a row who do not know it; an error is what becomes of it when there are none.
fn heard(mut notice: Notice, row: &RowDocument) -> Result<Notice, Noticed> {
    let told = notice.strangers(&row.told);
    if notice.has(row) || told.is_empty() {
        let is_news = notice.hearers(row).is_some();
        let notice = Box::new(notice);
        return Err(if is_news { Noticed::News(notice) } else { Noticed::Known(notice) });
    }
    notice.also.push(Hearing { run: row.run.clone(), line: row.line, told });
    Ok(notice)
}

/// What the newest push of a branch was read as.
///
/// # Errors
/// Whatever the store fails with.
pub async fn latest_head(records: &impl Records, repository: u64, reference: &str) -> Result<Option<Head>, StepError> {
    Ok(newest(records, &heads(repository, reference)).await?.map(|(_, head)| head))
}

/// Writes down what a push was read as.
///
/// # Errors
/// Whatever the store fails with.
pub async fn keep_head(records: &impl Records, document: &RunDocument) -> Result<(), StepError> {
    let prefix = heads(document.repository, &document.reference);
    let head = Head { schema_version: crate::SCHEMA_VERSION, run: document.run.clone(), blob: document.blob.clone() };
    loop {
        let (next, newest) = position::<Head>(records, &prefix).await?;
        if newest.is_some_and(|(_, newest)| newest.run == head.run || newest.blob == head.blob) {
            return Ok(());
        }
        if keep_document(records, &next, &head).await? == Put::Created {
            return Ok(());
        }
    }
}

fn heads(repository: u64, reference: &str) -> String {
    format!("heads/{repository}/{}/", reference_digest(reference))
}

/// The newest look at a row.
///
/// # Errors
/// Whatever the store fails with.
pub async fn latest_look(records: &impl Records, row: &RowKey) -> Result<Option<Look>, StepError> {
    Ok(newest(records, &format!("looks/{row}/")).await?.map(|(_, look)| look))
}

/// Writes down that a row was looked at in a run. The same look again, by a step that runs twice, is not another.
///
/// # Errors
/// Whatever the store fails with.
pub async fn keep_look(records: &impl Records, row: &RowKey, look: &Look) -> Result<(), StepError> {
    loop {
        let (next, newest) = position::<Look>(records, &format!("looks/{row}/")).await?;
        if newest.is_some_and(|(_, newest)| Look { at: look.at, ..newest } == *look) {
            return Ok(());
        }
        if keep_document(records, &next, look).await? == Put::Created {
            return Ok(());
        }
    }
}

/// When a retryable failure of a row is tried again: after as long as it has lasted, at least [`RETRY_FIRST`] and at most
/// [`RETRY_LONGEST`], until [`RETRY_FOR`] after the first. None when nobody needs to try again, and for a row on which the gate
/// has given up so before.
///
/// # Errors
/// Whatever the store fails with.
pub async fn retry_at(
    records: &impl Records,
    row: &RowKey,
    code: FailureCode,
    now: Timestamp,
) -> Result<Option<Timestamp>, StepError> {
    if !code.is_retryable() {
        return Ok(None);
    }
    let failing = latest_notice(records, row).await?.filter(|notice| notice.ended.outcome.verdict == Verdict::Failed);
    let lasted = match failing {
        Some(notice) if notice.ended.is_retried() => now.duration_since(notice.at),
        Some(notice) if notice.ended.outcome.reasons.first().is_some_and(Reason::is_retryable) => return Ok(None),
        _ => SignedDuration::ZERO,
    };
    if lasted >= RETRY_FOR {
        return Ok(None);
    }
    Ok(now.checked_add(lasted.clamp(RETRY_FIRST, RETRY_LONGEST)).ok())
}

/// The newest document below a prefix whose keys are six-digit numbers.
async fn newest<T: DeserializeOwned>(records: &impl Records, prefix: &str) -> Result<Option<(String, T)>, StepError> {
    Ok(position(records, prefix).await?.1)
}

/// The next free key below such a prefix, and the newest document.
async fn position<T: DeserializeOwned>(
    records: &impl Records,
    prefix: &str,
) -> Result<(String, Option<(String, T)>), StepError> {
    let keys = records.list(prefix).await?;
    let number = |key: &str| key.strip_prefix(prefix)?.strip_suffix(".json")?.parse::<u32>().ok();
    let last = keys.iter().filter_map(|key| number(key)).max();
    let next = format!("{prefix}{:06}.json", last.map_or(1, |last| last.saturating_add(1)));
    let Some(last) = last else { return Ok((next, None)) };
    let key = format!("{prefix}{last:06}.json");
    let document = read(records, &key).await?;
    Ok((next, Some((key, document))))
}

fn json<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, StepError> {
    serde_json::to_vec(value)
        .map_err(|error| StepError::new(ErrorName::Corrupt, format!("{key} could not be written as JSON: {error}")))
}
