//! The configuration bucket: the policy, and the advisories. Requesters cannot write to it.

#[cfg(test)]
mod tests;

use std::io::Cursor;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::Bytes;
use gate_core::advisory::AdvisoryDb;
use gate_core::digest::Sha256;
use gate_core::policy::Policy;
use gate_core::ports::Put;
use gate_core::report::ScannerVersion;
use gate_core::run::Inputs;
use gate_core::step::{ErrorName, StepError};
use gate_core::text::escape;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::errors::Fault;
use crate::s3::{Bucket, is_absent};

/// The key of the policy. Without it the built-in policy is in force.
pub const POLICY_KEY: &str = "policy.toml";
/// The key of the pointer to the advisories in force.
pub const ADVISORIES_KEY: &str = "advisories/current.json";
/// The most bytes of a policy, and of the pointer.
const POLICY_BYTES: u64 = 1 << 20;
/// The most bytes of an advisory export: several times the one of Python of 2026, and half of a small function's memory.
const EXPORT_BYTES: u64 = 256 << 20;

/// What rows are decided by.
#[derive(Debug)]
pub struct Rules {
    /// The policy in force.
    pub policy: Policy,
    /// The advisories, if there are any yet.
    pub advisories: Option<AdvisoryDb>,
}

impl Rules {
    /// What a verdict by these rules and scanners depends on.
    #[must_use]
    pub fn inputs(&self, scanners: &[ScannerVersion]) -> Inputs {
        Inputs::of(&self.policy, self.advisories.as_ref().map(AdvisoryDb::sha256), scanners)
    }
}

/// What became of an advisory export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeptAdvisories {
    /// Of the export.
    pub sha256: Sha256,
    /// Whether another one was in force before.
    pub changed: bool,
}

/// Which export is in force: `advisories/current.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pointer {
    sha256: Sha256,
    key: String,
    /// The export that was in force before: whoever has just read the pointer may still read it.
    previous: Option<Sha256>,
    /// When it was fetched for the last time.
    fetched_at: Timestamp,
}

/// The configuration bucket. What was read stays in memory, and is asked for again by its ETag: one cheap call each.
#[derive(Clone, Debug)]
pub struct ConfigBucket {
    bucket: Bucket,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Debug, Default)]
struct Cache {
    policy: Option<Tagged<Policy>>,
    pointer: Option<Tagged<Pointer>>,
    rules: Option<Arc<Rules>>,
}

#[derive(Debug)]
struct Tagged<T> {
    tag: String,
    value: T,
}

/// What a conditional GET found.
enum Found {
    Same,
    Nothing,
    New { tag: Option<String>, bytes: Bytes },
}

impl ConfigBucket {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { bucket: Bucket::new(client, bucket), cache: Arc::default() }
    }

    /// The policy in force alone, for a function that consults no advisories.
    ///
    /// # Errors
    /// As for [`Self::rules`].
    pub async fn policy(&self) -> Result<Policy, StepError> {
        let mut cache = self.cache.lock().await;
        self.refresh(&mut cache).await.map(|(policy, _)| policy)
    }

    /// The policy and the advisories in force.
    ///
    /// # Errors
    /// [`ErrorName::Configuration`] when there is a policy that has faults: the built-in one never stands in for it.
    /// [`ErrorName::Corrupt`] when the advisories are not what the pointer says. Otherwise as S3 answers.
    pub async fn rules(&self) -> Result<Arc<Rules>, StepError> {
        let mut cache = self.cache.lock().await;
        let (policy, pointer) = self.refresh(&mut cache).await?;
        let wanted = pointer.as_ref().map(|pointer| pointer.sha256);
        let sha256_of = |rules: &Rules| rules.advisories.as_ref().map(AdvisoryDb::sha256);
        let before = cache.rules.take();
        if let Some(rules) = before.as_ref().filter(|rules| rules.policy == policy && sha256_of(rules) == wanted) {
            let rules = Arc::clone(rules);
            cache.rules = before;
            return Ok(rules);
        }
        // What has changed goes before its successor is read: two exports at a time need twice the memory.
        let before = before.and_then(Arc::into_inner).and_then(|rules| rules.advisories);
        let advisories = match (before.filter(|db| Some(db.sha256()) == wanted), pointer) {
            (Some(advisories), _) => Some(advisories),
            (None, Some(pointer)) => Some(self.read_advisories(&pointer).await?),
            (None, None) => None,
        };
        let rules = Arc::new(Rules { policy, advisories });
        cache.rules = Some(Arc::clone(&rules));
        Ok(rules)
    }

    /// The policy, and what verdicts depend on now, without reading the advisories.
    ///
    /// # Errors
    /// As for [`ConfigBucket::rules`].
    pub async fn in_force(&self, scanners: &[ScannerVersion]) -> Result<(Policy, Inputs), StepError> {
        let (policy, pointer) = self.refresh(&mut *self.cache.lock().await).await?;
        let inputs = Inputs::of(&policy, pointer.map(|pointer| pointer.sha256), scanners);
        Ok((policy, inputs))
    }

    /// Stores an advisory export, and puts it in force: first the export, then the pointer, so that whoever reads meanwhile finds
    /// the old one or the new one whole. The export that the new one makes the third newest is deleted.
    ///
    /// # Errors
    /// [`ErrorName::AdvisoriesUnavailable`] when the bytes are too many, do not have the digest, or are no export without a hole:
    /// then the one in force stays. Otherwise as S3 answers.
    pub async fn keep_advisories(
        &self,
        export: Bytes,
        digest: &Sha256,
        now: Timestamp,
    ) -> Result<KeptAdvisories, StepError> {
        if export.len() as u64 > EXPORT_BYTES || Sha256::of(&export) != *digest {
            return Err(unusable("too large, or not the bytes that were announced"));
        }
        let before = match self.get(ADVISORIES_KEY, None, POLICY_BYTES).await? {
            Found::New { bytes, .. } => serde_json::from_slice::<Pointer>(&bytes).ok(),
            Found::Same | Found::Nothing => None,
        };
        let changed = before.as_ref().is_none_or(|before| before.sha256 != *digest);
        let kept = KeptAdvisories { sha256: *digest, changed };
        let key = export_key(digest);
        if kept.changed {
            unpack(export.clone(), *digest).await.map_err(|error| unusable(&error))?;
        }
        let (size, zip) = (export.len() as u64, "application/zip");
        if self.bucket.put_new(&key, &export, Some(digest), zip).await? == Put::Exists
            && self.bucket.size(&key).await? != Some(size)
        {
            self.bucket.replace(&key, &export, Some(digest), zip).await?;
        }
        let (previous, third) = match before {
            Some(before) if changed => (Some(before.sha256), before.previous.filter(|third| third != digest)),
            Some(before) => (before.previous, None),
            None => (None, None),
        };
        // Before the pointer moves: if this process ends in between, the next refresh still knows of it.
        if let Some(third) = third {
            self.forget(&export_key(&third)).await;
        }
        let pointer = Pointer { sha256: *digest, key, previous, fetched_at: now };
        let json =
            serde_json::to_vec(&pointer).map_err(|error| StepError::new(ErrorName::Corrupt, error.to_string()))?;
        self.bucket.replace(ADVISORIES_KEY, &Bytes::from(json), None, "application/json").await?;
        Ok(kept)
    }

    /// Deletes an export that nobody consults any more. That it stays is no reason to keep stale advisories in force.
    async fn forget(&self, key: &str) {
        let delete = self.bucket.client.delete_object().bucket(&self.bucket.name).key(key);
        if let Err(error) = delete.send().await {
            let fault = Fault::of("s3:DeleteObject", &error);
            tracing::warn!(key, error = %fault, "an old advisory export stays");
        }
    }

    async fn refresh(&self, cache: &mut Cache) -> Result<(Policy, Option<Pointer>), StepError> {
        let tag = cache.policy.as_ref().map(|policy| policy.tag.as_str());
        let policy = match (self.get(POLICY_KEY, tag, POLICY_BYTES).await?, cache.policy.take()) {
            (Found::Same, cached) => cached,
            (Found::Nothing, _) => None,
            (Found::New { tag, bytes }, _) => {
                Some(Tagged { tag: tag.unwrap_or_default(), value: parse_policy(&bytes)? })
            }
        };
        cache.policy = policy;
        let tag = cache.pointer.as_ref().map(|pointer| pointer.tag.as_str());
        let pointer = match (self.get(ADVISORIES_KEY, tag, POLICY_BYTES).await?, cache.pointer.take()) {
            (Found::Same, cached) => cached,
            (Found::Nothing, _) => None,
            (Found::New { tag, bytes }, _) => {
                Some(Tagged { tag: tag.unwrap_or_default(), value: parse_pointer(&bytes)? })
            }
        };
        cache.pointer = pointer;
        let policy = match &cache.policy {
            Some(policy) => policy.value.clone(),
            None => Policy::built_in().map_err(|faults| bad_policy(&faults.to_string()))?,
        };
        Ok((policy, cache.pointer.as_ref().map(|pointer| pointer.value.clone())))
    }

    async fn read_advisories(&self, pointer: &Pointer) -> Result<AdvisoryDb, StepError> {
        let Found::New { bytes, .. } = self.get(&pointer.key, None, EXPORT_BYTES).await? else {
            return Err(corrupt(&pointer.key, "is not stored"));
        };
        if Sha256::of(&bytes) != pointer.sha256 {
            return Err(corrupt(&pointer.key, "does not have the SHA-256 in its name"));
        }
        unpack(bytes, pointer.sha256).await.map_err(|error| corrupt(&pointer.key, &error))
    }

    /// The object, unless it has this tag; refused when it has more than `limit` bytes.
    async fn get(&self, key: &str, tag: Option<&str>, limit: u64) -> Result<Found, StepError> {
        let get = self.bucket.client.get_object().bucket(&self.bucket.name).key(key);
        let tag = tag.filter(|tag| !tag.is_empty()).map(str::to_owned);
        let object = match get.set_if_none_match(tag).send().await {
            Ok(object) => object,
            Err(error) => {
                let fault = Fault::of("s3:GetObject", &error);
                return match fault.status {
                    Some(304) => Ok(Found::Same),
                    _ if is_absent(&fault) => Ok(Found::Nothing),
                    _ => Err(fault.into()),
                };
            }
        };
        let tag = object.e_tag.clone();
        Ok(Found::New { tag, bytes: collect(key, object, limit).await? })
    }
}

async fn collect(key: &str, object: GetObjectOutput, limit: u64) -> Result<Bytes, StepError> {
    if object.content_length().and_then(|length| u64::try_from(length).ok()).is_none_or(|length| length > limit) {
        let message = format!("{} in the configuration bucket has more than {limit} bytes", escape(key));
        return Err(StepError::new(ErrorName::Configuration, message));
    }
    let broken_off = |_| StepError::new(ErrorName::Transient, format!("s3:GetObject broke off within {}", escape(key)));
    Ok(object.body.collect().await.map_err(broken_off)?.into_bytes())
}

fn export_key(digest: &Sha256) -> String {
    format!("advisories/{digest}.zip")
}

fn parse_policy(bytes: &[u8]) -> Result<Policy, StepError> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad_policy("it is not UTF-8"))?;
    Policy::parse(text).map_err(|faults| bad_policy(&faults.to_string().replace('\n', "; ")))
}

fn parse_pointer(bytes: &[u8]) -> Result<Pointer, StepError> {
    let pointer: Option<Pointer> = serde_json::from_slice(bytes).ok();
    let pointer = pointer.filter(|pointer| pointer.key == export_key(&pointer.sha256));
    pointer.ok_or_else(|| corrupt(ADVISORIES_KEY, "is no pointer to an export"))
}

/// Reads the export on a thread of its own: it takes a second of CPU.
async fn unpack(zip: Bytes, digest: Sha256) -> Result<AdvisoryDb, String> {
    let read = tokio::task::spawn_blocking(move || gate_advisories::read_zip(Cursor::new(zip), digest)).await;
    read.map_err(|_| "reading it panicked".to_owned())?.map_err(|error| format!("{error:#}"))
}

fn bad_policy(faults: &str) -> StepError {
    let message = format!("{POLICY_KEY} in the configuration bucket cannot be used, and nothing is decided: {faults}");
    StepError::new(ErrorName::Configuration, message)
}

fn unusable(why: &str) -> StepError {
    let message = format!("the fetched advisories cannot be used, those in force stay: {}", escape(why));
    StepError::new(ErrorName::AdvisoriesUnavailable, message)
}

fn corrupt(key: &str, what: &str) -> StepError {
    StepError::new(ErrorName::Corrupt, format!("{key} in the configuration bucket {}", escape(what)))
}
