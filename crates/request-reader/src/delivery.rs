//! Reading a stored delivery.

use gate_core::ports::Records;
use gate_core::run::{self, Delivery};
use gate_core::step::{ErrorName, StepError};

/// What lies under a key of the inbox. It must be where its content says, and name a branch and a commit.
pub(crate) async fn stored(records: &impl Records, key: &str) -> Result<Delivery, StepError> {
    let delivery: Delivery = run::read(records, key).await?;
    let is_good = delivery.key() == key && is_commit(&delivery.commit) && delivery.reference.starts_with("refs/heads/");
    if is_good {
        return Ok(delivery);
    }
    Err(StepError::new(
        ErrorName::Corrupt,
        format!("the delivery {key} contradicts its key, or names no commit of a branch"),
    ))
}

/// 40 hexadecimal digits, or 64 in a repository that hashes with SHA-256.
pub(crate) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}
