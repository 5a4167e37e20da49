//! Writing and reading the documents of a run. What is stored is never changed.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FetchedDocument, Look, Notice, OutcomeDocument, RowDocument, RowKey};
use crate::digest::Sha256;
use crate::failure::FailureCode;
use crate::outcome::Verdict;
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
    /// The outcome is news: this notice was stored now, or by an earlier try of the same run.
    News(Box<Notice>),
    /// The requester knows it: the newest notice says the same, and is of another run.
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

/// Appends a notice, unless the requester knows the outcome already. Two runs that end a row alike at the same time leave one.
///
/// # Errors
/// Whatever the store fails with.
pub async fn keep_notice(records: &impl Records, row: &RowKey, notice: &Notice) -> Result<Noticed, StepError> {
    loop {
        let (next, newest) = position::<Notice>(records, &format!("notices/{row}/")).await?;
        if let Some((_, newest)) = newest
            && newest.says_the_same_as(&notice.ended)
        {
            let newest = Box::new(newest);
            return Ok(if newest.run == notice.run { Noticed::News(newest) } else { Noticed::Known(newest) });
        }
        if keep_document(records, &next, notice).await? == Put::Created {
            return Ok(Noticed::News(Box::new(notice.clone())));
        }
    }
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
/// [`RETRY_LONGEST`], until [`RETRY_FOR`] after the first. None when nobody needs to try again.
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
    let lasted = failing.map_or(SignedDuration::ZERO, |notice| now.duration_since(notice.at));
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
