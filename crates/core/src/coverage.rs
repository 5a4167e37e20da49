//! What the scanner did with each file: the proof that silence means "looked, and found nothing".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One file of an artifact and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileCoverage {
    /// The member's path, as in [`crate::finding::Location::path`].
    pub path: String,
    /// Bytes after inflating.
    pub size: u64,
    /// The class, with its details.
    #[serde(flatten)]
    pub class: CoverageClass,
}

/// The four classes, by content and not by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "class", rename_all = "kebab-case")]
pub enum CoverageClass {
    /// An analyzer that knows this kind of file read all of it.
    Analysed {
        /// Which, e.g. `python`, `pickle`, `archive`.
        analyzer: String,
    },
    /// Nothing in it can run: image, text, data, translation. Secrets were still looked for in text.
    Inert {
        /// What it is, e.g. `text`, `image/png`, `numpy-array`.
        kind: String,
    },
    /// Can run, and no analyzer reads its kind: listed, and allowed unless the policy says otherwise.
    Opaque {
        /// What it is; the policy names these.
        kind: OpaqueKind,
    },
    /// Should have been analysed and was not. One of these and the artifact is never approved.
    Lost {
        /// Why.
        reason: LostReason,
        /// For people; untrusted text.
        detail: String,
    },
}

/// Kinds of file that can run and that no analyzer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OpaqueKind {
    /// ELF, Mach-O or PE shared library or executable, static library or object.
    Native,
    /// Compiled Python.
    PythonBytecode,
    /// WebAssembly.
    Wasm,
    /// Java class or archive.
    Java,
    /// A model without opcodes: safetensors, GGUF, ONNX, HDF5, protobuf graphs.
    Model,
    /// Source in a language that no analyzer reads.
    OtherSource,
    /// Binary data of no kind we know.
    UnknownBinary,
}

impl OpaqueKind {
    /// The kebab-case name that policy and reports use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::PythonBytecode => "python-bytecode",
            Self::Wasm => "wasm",
            Self::Java => "java",
            Self::Model => "model",
            Self::OtherSource => "other-source",
            Self::UnknownBinary => "unknown-binary",
        }
    }
}

/// Why a file could not be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LostReason {
    /// Larger, deeper or more numerous than an analyzer's limit.
    Limit,
    /// The analyzer died or ran out of time or memory on it.
    AnalyzerDied,
    /// Not in the encoding it claims, or in none.
    Undecodable,
    /// Does not follow the grammar of its kind, so the rules could not be applied.
    Unparsable,
    /// Encrypted.
    Encrypted,
    /// Packed by a method that no reader here knows.
    UnknownMethod,
}

/// How many files are in each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageCounts {
    /// Read by an analyzer.
    pub analysed: u64,
    /// Nothing in it can run.
    pub inert: u64,
    /// Listed, not read.
    pub opaque: u64,
    /// Should have been read and was not.
    pub lost: u64,
}

impl CoverageCounts {
    /// Counts the classes of these files.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a FileCoverage>) -> Self {
        let mut counts = Self::default();
        for file in files {
            *match file.class {
                CoverageClass::Analysed { .. } => &mut counts.analysed,
                CoverageClass::Inert { .. } => &mut counts.inert,
                CoverageClass::Opaque { .. } => &mut counts.opaque,
                CoverageClass::Lost { .. } => &mut counts.lost,
            } += 1;
        }
        counts
    }
}
