//! What the caller is told: a status and a fixed sentence, so that nothing of a request ever comes back.

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The push is stored.
    Accepted,
    /// The same push was stored before, perhaps under another delivery id, which nobody signs.
    AcceptedBefore,
    /// GitHub's test of a new webhook.
    Pong,
    /// An event that is none of ours, or none is named.
    OtherEvent,
    /// A repository or a branch that is not watched; also every tag, and every fork.
    NotWatched,
    /// The branch was deleted: there is no commit to read.
    NothingToRead,
    /// The signed body is not JSON, or not within bounds.
    NotJson,
    /// The signed body is JSON and does not say what a push says.
    NotAPush,
    /// The event of the function is not an HTTP request with plain headers.
    Unreadable,
    /// There is not exactly one signature, or it does not fit.
    Unauthorized,
    /// Over the cap.
    TooLarge,
    /// The webhook sends forms.
    NotJsonType,
    /// A secret could not be read or the push could not be stored, or not in time.
    Unavailable,
}

impl Answer {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Accepted,
        Self::AcceptedBefore,
        Self::Pong,
        Self::OtherEvent,
        Self::NotWatched,
        Self::NothingToRead,
        Self::NotJson,
        Self::NotAPush,
        Self::Unreadable,
        Self::Unauthorized,
        Self::TooLarge,
        Self::NotJsonType,
        Self::Unavailable,
    ];

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Pong => 200,
            Self::Accepted | Self::AcceptedBefore => 202,
            Self::OtherEvent | Self::NotWatched | Self::NothingToRead => 204,
            Self::NotJson | Self::NotAPush | Self::Unreadable => 400,
            Self::Unauthorized => 401,
            Self::TooLarge => 413,
            Self::NotJsonType => 415,
            Self::Unavailable => 503,
        }
    }

    /// The sentence, for whoever looks at the webhook's deliveries. A 204 has no body, so its sentence is for the log alone.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Accepted => "The push is stored and will be read.",
            Self::AcceptedBefore => "This push was stored before; nothing more is done.",
            Self::Pong => "The webhook works.",
            Self::OtherEvent => "Only push events are read.",
            Self::NotWatched => "This repository or branch is not watched.",
            Self::NothingToRead => "The push leaves no commit to read.",
            Self::NotJson => "The body is not JSON that this webhook reads.",
            Self::NotAPush => "The body is not a push event.",
            Self::Unreadable => "The request cannot be read.",
            Self::Unauthorized => {
                "The request needs exactly one X-Hub-Signature-256 header that fits the body and the webhook's secret."
            }
            Self::TooLarge => "The body is too large; the scheduled reconciler will find the commit.",
            Self::NotJsonType => "Set the webhook's content type to application/json.",
            Self::Unavailable => {
                "The push could not be stored. Redeliver it later, or wait for the scheduled reconciler."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_told_apart_and_plain() {
        let mut messages: Vec<_> = Answer::ALL.into_iter().map(Answer::message).collect();
        assert!(messages.iter().all(|message| message.is_ascii() && message.ends_with('.')));
        messages.sort_unstable();
        messages.dedup();
        assert_eq!(messages.len(), Answer::ALL.len());
    }

    #[test]
    fn only_what_is_stored_or_needs_no_storing_is_a_success() {
        for answer in Answer::ALL {
            let stored = matches!(answer, Answer::Accepted | Answer::AcceptedBefore);
            assert_eq!(answer.status() == 202, stored, "{answer:?}");
        }
        assert_eq!(Answer::Unavailable.status(), 503, "GitHub must not show a lost push as delivered");
    }
}
