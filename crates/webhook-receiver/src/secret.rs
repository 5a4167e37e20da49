//! The webhook's secret: the one in use, the one before it, and a fresh look when neither fits.

use std::sync::{Mutex, PoisonError};

use gate_core::ports::{Clock, Secrets};
use gate_core::step::{ErrorName, StepError};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::signature::Signature;

/// The fewest bytes of a secret. The template generates longer ones; this stops an empty or guessable one.
pub const MIN_SECRET_BYTES: usize = 16;

/// How often a signature that does not fit makes the function ask the store past its cache: anybody can send such ones.
pub const FRESH_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// How GitHub's access tokens begin (GitHub documentation, "About authentication to GitHub").
const TOKEN_PREFIXES: [&str; 6] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"];

/// Checks signatures against the secrets of one name.
pub(crate) struct SigningSecrets<S, C> {
    secrets: S,
    clock: C,
    name: String,
    asked_at: Mutex<Option<Timestamp>>,
}

impl<S: Secrets, C: Clock> SigningSecrets<S, C> {
    pub(crate) fn new(secrets: S, clock: C, name: String) -> Self {
        Self { secrets, clock, name, asked_at: Mutex::new(None) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The secret in use, if it may be used.
    pub(crate) async fn current(&self, fresh: bool) -> Result<SecretString, StepError> {
        let secret = self.secrets.current(&self.name, fresh).await?;
        fault(&secret).map_or(Ok(secret), |fault| {
            let message = format!("the webhook's secret {} {fault}; write another one into it", self.name);
            Err(StepError::new(ErrorName::Configuration, message))
        })
    }

    /// Whether a body is signed with the current secret or the previous one, or with one that replaced them since.
    pub(crate) async fn fit(&self, signature: &Signature, body: &[u8]) -> Result<bool, StepError> {
        if signature.fits(body, &self.current(false).await?) {
            return Ok(true);
        }
        let previous = self.secrets.previous(&self.name).await?.filter(|secret| fault(secret).is_none());
        if previous.is_some_and(|previous| signature.fits(body, &previous)) {
            return Ok(true);
        }
        Ok(self.may_ask() && signature.fits(body, &self.current(true).await?))
    }

    fn may_ask(&self) -> bool {
        let now = self.now();
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let may = asked_at.is_none_or(|asked_at| now.duration_since(asked_at).abs() >= FRESH_EVERY);
        if may {
            *asked_at = Some(now);
        }
        may
    }
}

/// Why a secret may not be used, if so. With an empty one, everybody could sign.
fn fault(secret: &SecretString) -> Option<&'static str> {
    let secret = secret.expose_secret();
    if secret.trim().len() < MIN_SECRET_BYTES {
        return Some("is shorter than 16 characters");
    }
    TOKEN_PREFIXES.iter().any(|prefix| secret.starts_with(prefix)).then_some("is an access token, which must not sign")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_must_not_sign() {
        let faulty = |secret: &str| fault(&SecretString::from(secret)).is_some();
        for length in [0, 1, MIN_SECRET_BYTES - 1] {
            assert!(faulty(&"s".repeat(length)), "{length}");
        }
        assert!(!faulty(&"s".repeat(MIN_SECRET_BYTES)));
        assert!(!faulty(&"s".repeat(MIN_SECRET_BYTES + 1)));
        assert!(faulty(&" ".repeat(40)));
        for prefix in TOKEN_PREFIXES {
            assert!(faulty(&format!("{prefix}{}", "a".repeat(36))), "{prefix}");
        }
    }
}
