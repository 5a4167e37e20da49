//! One problem in one artifact.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::severity::{Confidence, Severity};

/// What kind of danger a finding is; the policy may set a threshold for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// A published vulnerability of this package, or of one that it pins.
    Advisory,
    /// A structure that two readers would understand differently, or that harms its reader.
    Archive,
    /// A risky construct in ordinary code.
    Code,
    /// The archive says that it is another package or version than was asked for.
    Identity,
    /// Code that runs when the package is installed, or whenever the interpreter starts.
    InstallTime,
    /// A pattern of malicious packages: hidden, downloaded or exfiltrating code.
    Malware,
    /// Data whose loading runs code.
    Pickle,
    /// A credential.
    Secret,
}

impl Category {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 8] = [
        Self::Advisory,
        Self::Archive,
        Self::Code,
        Self::Identity,
        Self::InstallTime,
        Self::Malware,
        Self::Pickle,
        Self::Secret,
    ];

    /// The kebab-case name that policy and reports use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Advisory => "advisory",
            Self::Archive => "archive",
            Self::Code => "code",
            Self::Identity => "identity",
            Self::InstallTime => "install-time",
            Self::Malware => "malware",
            Self::Pickle => "pickle",
            Self::Secret => "secret",
        }
    }
}

/// What a file is for; see [`FileRole::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileRole {
    /// Everything that is none of the others.
    Library,
    /// Runs when the package is installed or the interpreter starts: `setup.py`, a `.pth` file, a build backend in the tree.
    InstallTime,
    /// Tests, benchmarks, examples, documentation and development tools.
    Supporting,
}

impl FileRole {
    /// The role that a member's path tells. `setup.py` counts at the top of an sdist only; the scanner knows build backends.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
        let file = file.to_ascii_lowercase();
        if file.ends_with(".pth") || (file == "setup.py" && !folders.contains('/')) {
            return Self::InstallTime;
        }
        let supporting_file = file == "conftest.py"
            || file.starts_with("test_")
            || file.ends_with("_test.py")
            || file.ends_with("_tests.py");
        let supporting_folder = |folder: &str| {
            matches!(
                folder.to_ascii_lowercase().as_str(),
                "test"
                    | "tests"
                    | "testing"
                    | "test_data"
                    | "testdata"
                    | "_testing"
                    | "example"
                    | "examples"
                    | "sample"
                    | "samples"
                    | "demo"
                    | "demos"
                    | "tutorial"
                    | "tutorials"
                    | "doc"
                    | "docs"
                    | "documentation"
                    | "bench"
                    | "benches"
                    | "benchmark"
                    | "benchmarks"
                    | "asv_benchmarks"
            )
        };
        if supporting_file || folders.split('/').any(supporting_folder) { Self::Supporting } else { Self::Library }
    }
}

/// Where a finding is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// The member's path in the archive; a member of a nested archive is `outer.zip!/inner.py`, a notebook cell `a.ipynb#3`.
    pub path: String,
    /// 1-based; absent where the file has no lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// 1-based, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What the file is for.
    pub role: FileRole,
    /// Whether an installation puts this file on the user's machine or runs it: all of a wheel, and what an sdist's build runs.
    pub installed: bool,
}

/// One problem: what, how bad, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule's id (`S602`, `pickle-unsafe-global`) or the advisory's (`PYSEC-2021-142`).
    pub rule: String,
    /// One line: what is wrong.
    pub title: String,
    /// As the scanner rates it, before the policy weighs it.
    pub severity: Severity,
    /// How sure the scanner is.
    pub confidence: Confidence,
    /// What kind of danger.
    pub category: Category,
    /// The weakness, a CWE number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwe: Option<u32>,
    /// Where; absent when the whole artifact is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The line or value at fault, at most 200 characters, secrets masked. Untrusted text: escape it before showing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
    /// What the requester or the package's author can do.
    pub remedy: String,
    /// Pages that explain the rule or advisory; empty where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
}

/// The most characters of a [`Finding::snippet`].
pub const SNIPPET_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_the_path() {
        for (path, role) in [
            ("setup.py", FileRole::InstallTime),
            ("flask-3.0.3/setup.py", FileRole::InstallTime),
            ("numpy-1/numpy/core/setup.py", FileRole::Library),
            ("evil.pth", FileRole::InstallTime),
            ("a/tests/evil.pth", FileRole::InstallTime),
            ("pkg/Tests/util.py", FileRole::Supporting),
            ("pkg/test_api.py", FileRole::Supporting),
            ("pkg/conftest.py", FileRole::Supporting),
            ("pkg/latest/api.py", FileRole::Library),
            ("pkg/api.py", FileRole::Library),
        ] {
            assert_eq!(FileRole::of(path), role, "{path}");
        }
    }
}
