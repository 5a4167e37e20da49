//! Trying again: only what another try may cure, a few times, with growing pauses.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use gate_core::failure::{Failure, FailureCode};
use tokio::time::Instant;

/// A failure, and what the host said about when to come back.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    pub(crate) retry_after: Option<Duration>,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, retry_after: None }
    }
}

/// How often and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub tries: u32,
    /// The pause before the second try; it doubles before each further one. Up to half of it is added by chance.
    pub pause: Duration,
    /// The longest `Retry-After` that is waited for; a longer one ends the tries at once.
    pub longest_pause: Duration,
}

impl Retry {
    /// Runs `attempt` until it succeeds, fails for good, or the tries or the time are used up. The last failure is the answer.
    pub(crate) async fn run<T, F>(self, deadline: Instant, mut attempt: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut pause = self.pause;
        for _ in 1..self.tries {
            let trouble = match attempt().await {
                Ok(value) => return Ok(value),
                Err(trouble) => trouble,
            };
            let wait = trouble.retry_after.unwrap_or_else(|| pause + jitter(pause / 2));
            let curable = matches!(trouble.failure.code, FailureCode::Unreachable | FailureCode::Busy);
            if !curable || wait > self.longest_pause || Instant::now() + wait >= deadline {
                return Err(trouble.failure);
            }
            tokio::time::sleep(wait).await;
            pause = pause.saturating_mul(2);
        }
        attempt().await.map_err(|trouble| trouble.failure)
    }
}

/// A random part of `most`, so that rows that failed together do not come back together.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8);
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % millis.saturating_add(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const RETRY: Retry = Retry { tries: 3, pause: Duration::from_millis(1), longest_pause: Duration::from_millis(50) };

    async fn tries(code: FailureCode, retry_after: Option<Duration>, good_at: u32) -> (u32, Result<(), FailureCode>) {
        let count = Cell::new(0);
        let deadline = Instant::now() + Duration::from_secs(5);
        let result = RETRY
            .run(deadline, || async {
                count.set(count.get() + 1);
                if count.get() == good_at {
                    Ok(())
                } else {
                    Err(Trouble { failure: Failure::new(code, "x"), retry_after })
                }
            })
            .await;
        (count.get(), result.map_err(|failure| failure.code))
    }

    #[tokio::test]
    async fn only_what_a_try_may_cure_is_tried_again() {
        for code in [FailureCode::Unreachable, FailureCode::Busy] {
            assert_eq!(tries(code, None, 3).await, (3, Ok(())));
            assert_eq!(tries(code, None, 4).await, (3, Err(code)));
        }
        for code in [
            FailureCode::NotFound,
            FailureCode::Forbidden,
            FailureCode::UnexpectedAnswer,
            FailureCode::AddressNotAllowed,
            FailureCode::TooLarge,
            FailureCode::TooSlow,
            FailureCode::DigestMismatch,
            FailureCode::NotAnArchive,
            FailureCode::Storage,
        ] {
            assert_eq!(tries(code, None, 2).await, (1, Err(code)));
        }
    }

    #[tokio::test]
    async fn a_long_retry_after_is_left_to_the_requester() {
        let limit = RETRY.longest_pause;
        assert_eq!(tries(FailureCode::Busy, Some(limit), 2).await.0, 2);
        assert_eq!(tries(FailureCode::Busy, Some(limit + Duration::from_millis(1)), 2).await.0, 1);
    }
}
