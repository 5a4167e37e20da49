//! What users install: format, name and version; and the rules of names.

use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of repository that a package is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A Python distribution: `pip install` finds it.
    Pypi,
    /// Any other archive: downloaded by name and version.
    Generic,
    /// A JavaScript package. Nothing produces it yet; records may name it.
    Npm,
}

impl Format {
    /// The lower-case name, as in a purl and in CodeArtifact.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pypi => "pypi",
            Self::Generic => "generic",
            Self::Npm => "npm",
        }
    }
}

/// A package's name as written in the `name` column: 1 to 100 characters of `A-Z a-z 0-9 . _ -`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct PackageName(String);

/// The most characters of a [`PackageName`].
pub const NAME_CHARS: usize = 100;

/// The text is not a package name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// More than [`NAME_CHARS`].
    #[error("it is longer than {NAME_CHARS} characters")]
    TooLong,
    /// The first character is not a letter or digit.
    #[error("it must begin with a letter or a digit")]
    FirstCharacter,
    /// A character outside the allowed ones.
    #[error("only letters, digits, '.', '_' and '-' are allowed")]
    Character,
    /// A device name on Windows.
    #[error("it is a reserved device name on Windows")]
    Reserved,
}

impl PackageName {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that is compared: lower case, every run of `.`, `_` and `-` one `-` (PEP 503).
    #[must_use]
    pub fn normalized(&self) -> String {
        normalize(&self.0)
    }
}

/// The PEP 503 form of any name: lower case, every run of `.`, `_` and `-` one `-`.
#[must_use]
pub fn normalize(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut run = false;
    for c in name.chars() {
        if matches!(c, '.' | '_' | '-') {
            run = true;
        } else {
            if std::mem::take(&mut run) {
                out.push('-');
            }
            out.extend(c.to_lowercase());
        }
    }
    if run {
        out.push('-');
    }
    out
}

impl FromStr for PackageName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let first = text.chars().next().ok_or(BadName::Empty)?;
        if text.chars().count() > NAME_CHARS {
            return Err(BadName::TooLong);
        }
        if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            return Err(BadName::Character);
        }
        if !first.is_ascii_alphanumeric() {
            return Err(BadName::FirstCharacter);
        }
        let stem = text.split('.').next().unwrap_or(text).to_ascii_lowercase();
        let numbered =
            |prefix| stem.strip_prefix(prefix).is_some_and(|n: &str| n.len() == 1 && n.as_bytes()[0].is_ascii_digit());
        if matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt") {
            return Err(BadName::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for PackageName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<PackageName> for String {
    fn from(name: PackageName) -> Self {
        name.0
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What users install. Two coordinates are equal when an installer would take one for the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Coordinates {
    /// Where it is published.
    pub format: Format,
    /// Normalised (PEP 503).
    pub name: String,
    /// Normalised (PEP 440) for [`Format::Pypi`]; 16 hexadecimal digits of the SHA-256 for [`Format::Generic`].
    pub version: String,
}

impl Coordinates {
    /// Coordinates of a Python distribution; the version in its PEP 440 normal form.
    #[must_use]
    pub fn pypi(name: &str, version: &Version) -> Self {
        Self { format: Format::Pypi, name: normalize(name), version: version.to_string() }
    }

    /// Coordinates of an archive that is no distribution.
    #[must_use]
    pub fn generic(name: &PackageName, digest: &crate::digest::Sha256) -> Self {
        Self { format: Format::Generic, name: name.normalized(), version: digest.short() }
    }
}

impl fmt::Display for Coordinates {
    /// A purl: `pkg:pypi/flask@3.0.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}/{}@{}", self.format.as_str(), self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_allow_list_are_refused() {
        for (text, error) in [
            ("", BadName::Empty),
            ("../../x", BadName::Character),
            ("/etc/x", BadName::Character),
            ("a\0", BadName::Character),
            ("a b", BadName::Character),
            ("naïve", BadName::Character),
            ("а", BadName::Character),
            (".", BadName::FirstCharacter),
            ("..", BadName::FirstCharacter),
            ("-rf", BadName::FirstCharacter),
            ("=cmd", BadName::Character),
            ("CON", BadName::Reserved),
            ("nul.tar", BadName::Reserved),
            ("com1", BadName::Reserved),
        ] {
            assert_eq!(text.parse::<PackageName>(), Err(error), "{text:?}");
        }
        assert_eq!("a".repeat(NAME_CHARS + 1).parse::<PackageName>(), Err(BadName::TooLong));
        for good in ["a", "A.b_c-9", "0x", "console", "com10", &"a".repeat(NAME_CHARS), &"a".repeat(NAME_CHARS - 1)] {
            assert!(good.parse::<PackageName>().is_ok(), "{good}");
        }
    }

    #[test]
    fn normal_form_is_pep_503() {
        for (name, normal) in [("Foo_Bar.baz", "foo-bar-baz"), ("a--_.b", "a-b"), ("Flask", "flask"), ("a-", "a-")] {
            assert_eq!(normalize(name), normal);
        }
    }
}
