//! The few members of GitHub's push event that matter here (GitHub documentation, "Webhook events and payloads", `push`).

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Longer than GitHub's longest `owner/name`.
const MAX_FULL_NAME: usize = 200;

/// A push, as it is written.
#[derive(Debug, Deserialize)]
pub(crate) struct Push {
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    after: String,
    #[serde(default)]
    deleted: bool,
    head_commit: Option<IgnoredAny>,
    pub(crate) repository: Repository,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Repository {
    pub(crate) id: u64,
    full_name: String,
}

/// Why a body is no push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPush {
    /// Not UTF-8, not JSON, nested deeper than 127 levels (the JSON reader's bound), or a number beyond what a float holds.
    NotJson,
    /// A member is missing, there twice, or of another kind.
    NotAPush,
}

impl Push {
    /// Reads a body. All of it is looked at, also what is not kept.
    pub(crate) fn read(body: &[u8]) -> Result<Self, NoPush> {
        let body = str::from_utf8(body).map_err(|_| NoPush::NotJson)?;
        let Anything = serde_json::from_str(body).map_err(|_| NoPush::NotJson)?;
        serde_json::from_str(body).map_err(|_| NoPush::NotAPush)
    }

    /// Whether the branch has a commit after the push.
    pub(crate) fn leaves_a_commit(&self) -> bool {
        !self.deleted && self.head_commit.is_some() && self.after.bytes().any(|c| c != b'0')
    }

    /// The full name of the repository and the commit, if they are what they claim: both end up in keys and addresses.
    pub(crate) fn name_and_commit(&self) -> Option<(&str, &str)> {
        let word = |part: &str| {
            let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
            !part.is_empty() && !matches!(part, "." | "..") && part.bytes().all(plain)
        };
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let name = self.repository.full_name.as_str();
        let (owner, repository) = name.split_once('/')?;
        let named = name.len() <= MAX_FULL_NAME && word(owner) && word(repository);
        (named && matches!(self.after.len(), 40 | 64) && self.after.bytes().all(hex)).then_some((name, &self.after))
    }
}

/// Any JSON value. Unlike [`IgnoredAny`], which skips, this looks: at the depth of nesting and the range of numbers.
struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Anything {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while let Some(Self) = items.next_element()? {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while let Some((Self, Self)) = members.next_entry()? {}
        Ok(self)
    }
}
