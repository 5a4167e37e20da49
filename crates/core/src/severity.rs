//! How bad a finding is, in the one scale that all scanners are mapped to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ordered from harmless to worst. `Unknown` is above `Critical`: what cannot be rated is never let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nobody would act on it.
    Info,
    /// A habit a reviewer would mention.
    Low,
    /// A reviewer would want to stop it.
    Medium,
    /// Dangerous to whoever installs or uses it.
    High,
    /// Known to be malicious, or as good as exploited.
    Critical,
    /// The scanner gave none, or a word nobody knows.
    Unknown,
}

impl Severity {
    /// The severity that a scanner's or advisory's word means, in any case; an unknown or empty word is [`Self::Unknown`].
    ///
    /// Words: CodeGuru Security, Inspector, Snyk, GitHub advisories, CVSS v3 ratings.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "info" | "informational" | "none" | "negligible" => Self::Info,
            "low" | "minor" => Self::Low,
            "medium" | "moderate" => Self::Medium,
            "high" | "important" => Self::High,
            "critical" => Self::Critical,
            _ => Self::Unknown,
        }
    }

    /// The rating of a CVSS base score, 0.0 to 10.0 (CVSS v3.1 specification, table 14; v4.0, table 22).
    #[must_use]
    pub fn from_cvss_score(score: f64) -> Self {
        match score {
            s if !(0.0..=10.0).contains(&s) => Self::Unknown,
            s if s >= 9.0 => Self::Critical,
            s if s >= 7.0 => Self::High,
            s if s >= 4.0 => Self::Medium,
            s if s >= 0.1 => Self::Low,
            _ => Self::Info,
        }
    }

    /// The lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How likely a finding is what its title says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Often something else.
    Low,
    /// Usually.
    Medium,
    /// Nearly always.
    High,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_seen_has_its_severity_and_the_rest_is_unknown() {
        for (word, severity) in [
            ("Critical", Severity::Critical),
            ("HIGH", Severity::High),
            ("moderate", Severity::Medium),
            (" Medium ", Severity::Medium),
            ("low", Severity::Low),
            ("INFORMATIONAL", Severity::Info),
            ("UNTRIAGED", Severity::Unknown),
            ("", Severity::Unknown),
            ("7", Severity::Unknown),
        ] {
            assert_eq!(Severity::from_word(word), severity, "{word:?}");
        }
    }

    #[test]
    fn cvss_ratings_change_exactly_at_their_edges() {
        for (score, severity) in [
            (-0.1, Severity::Unknown),
            (0.0, Severity::Info),
            (0.1, Severity::Low),
            (3.9, Severity::Low),
            (4.0, Severity::Medium),
            (6.9, Severity::Medium),
            (7.0, Severity::High),
            (8.9, Severity::High),
            (9.0, Severity::Critical),
            (10.0, Severity::Critical),
            (10.1, Severity::Unknown),
            (f64::NAN, Severity::Unknown),
        ] {
            assert_eq!(Severity::from_cvss_score(score), severity, "{score}");
        }
    }

    #[test]
    fn unknown_is_the_worst() {
        assert!(Severity::Unknown > Severity::Critical);
    }
}
