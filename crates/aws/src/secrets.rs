//! Secrets Manager behind the port [`Secrets`].

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_sdk_secretsmanager::Client;
use gate_core::ports::{Clock, Secrets};
use gate_core::step::{ErrorName, StepError};
use gate_core::text::escape;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use crate::errors::{Fault, Kind};
use crate::function::SystemClock;

/// For how long a value is used without asking again: a rotation is seen after that.
const CACHED_FOR: SignedDuration = SignedDuration::from_secs(5 * 60);
/// How old a value must be for a caller who wants a fresh one: a flood of bad signatures must not become a flood of calls.
const FRESH_FOR: SignedDuration = SignedDuration::from_secs(10);

/// What the template puts into a secret that an operator has to fill in. It is never used as a secret.
pub const PLACEHOLDER: &str = "replace-me";

/// The account's secrets. A value is a text; white space around it is cut off, since a console's text field adds line ends.
#[derive(Clone)]
pub struct SecretsManager {
    client: Client,
    clock: Arc<dyn Clock>,
    cache: Arc<Mutex<HashMap<(String, Stage), Cached>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Current,
    Previous,
}

struct Cached {
    value: Option<SecretString>,
    asked_at: Timestamp,
}

impl Cached {
    /// A clock that was put back makes it old.
    fn is_younger_than(&self, age: SignedDuration, now: Timestamp) -> bool {
        (SignedDuration::ZERO..age).contains(&now.duration_since(self.asked_at))
    }
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsManager").finish_non_exhaustive()
    }
}

impl SecretsManager {
    pub(crate) fn new(client: Client) -> Self {
        Self::with_clock(client, Arc::new(SystemClock))
    }

    fn with_clock(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock, cache: Arc::default() }
    }

    /// Whether an operator has still to fill in a secret that the template made. Of one that cannot be read, whoever uses it
    /// says why.
    pub async fn is_placeholder(&self, name: &str) -> bool {
        let asked = self.client.get_secret_value().secret_id(name).version_stage("AWSCURRENT").send().await;
        let value = asked.ok().and_then(|answer| answer.secret_string);
        value.is_some_and(|value| value.trim().eq_ignore_ascii_case(PLACEHOLDER))
    }

    /// The value of one stage; none when the secret or the stage does not exist, or its value is none.
    async fn value(&self, name: &str, stage: Stage, fresh: bool) -> Result<Option<SecretString>, StepError> {
        let mut cache = self.cache.lock().await;
        let (key, now) = ((name.to_owned(), stage), self.clock.now());
        let age = if fresh { FRESH_FOR } else { CACHED_FOR };
        if let Some(cached) = cache.get(&key).filter(|cached| cached.is_younger_than(age, now)) {
            return Ok(cached.value.clone());
        }
        let value = self.ask(name, stage).await?;
        let exposed = |value: &Option<SecretString>| value.as_ref().map(|value| value.expose_secret().to_owned());
        let before = cache.insert(key, Cached { value: value.clone(), asked_at: now });
        if stage == Stage::Current && before.is_some_and(|before| exposed(&before.value) != exposed(&value)) {
            // It was rotated: what was current is previous now.
            cache.remove(&(name.to_owned(), Stage::Previous));
        }
        Ok(value)
    }

    async fn ask(&self, name: &str, stage: Stage) -> Result<Option<SecretString>, StepError> {
        let stage = match stage {
            Stage::Current => "AWSCURRENT",
            Stage::Previous => "AWSPREVIOUS",
        };
        match self.client.get_secret_value().secret_id(name).version_stage(stage).send().await {
            Ok(answer) => Ok(answer.secret_string.as_deref().and_then(usable)),
            Err(error) => {
                let fault = Fault::of("secretsmanager:GetSecretValue", &error);
                if fault.kind == Kind::NotFound { Ok(None) } else { Err(fault.into()) }
            }
        }
    }
}

/// The secret in a value, if it is one.
fn usable(text: &str) -> Option<SecretString> {
    let text = text.trim();
    (!text.is_empty() && !text.eq_ignore_ascii_case(PLACEHOLDER)).then(|| SecretString::from(text))
}

impl Secrets for SecretsManager {
    async fn current(&self, name: &str, fresh: bool) -> Result<SecretString, StepError> {
        self.value(name, Stage::Current, fresh).await?.ok_or_else(|| {
            let message =
                format!("the secret {} has no value yet. Put one into Secrets Manager, as plain text.", escape(name));
            StepError::new(ErrorName::Configuration, message)
        })
    }

    async fn previous(&self, name: &str) -> Result<Option<SecretString>, StepError> {
        self.value(name, Stage::Previous, false).await
    }
}
