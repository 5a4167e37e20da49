//! The scan in a child process. A parser that overflows its stack, or eats memory or time, kills the child; the parent then
//! knows which file it was, counts that file as lost, and lets another child scan the rest.
//!
//! The two speak through three descriptors of the child:
//! - its input is the artifact, opened by the parent: the child needs no path, and no right to open one;
//! - its output is one line of JSON, an `Answer`;
//! - its error output is a file without a name that holds, at a fixed place, the member that is being read (`Status`), and
//!   behind it what the child's runtime had to say. Writing there costs a microsecond and wakes nobody.

mod child;
#[cfg(target_os = "linux")]
mod confine;
mod parent;
mod status;

use std::time::Duration;

use gate_core::digest::Sha256;
use gate_core::report::ContentReport;
use serde::{Deserialize, Serialize};

use crate::scan::Skip;

pub use child::child_main;
pub use parent::{BuiltIn, RunningScan, Worker};

/// What a child may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// For one file, or 16 MiB of a larger one, by the wall clock.
    pub file: Duration,
    /// For the whole artifact, all restarts together, by the wall clock.
    pub artifact: Duration,
    /// For one child, processor time.
    pub cpu: Duration,
    /// Address space of the child besides its stack, in bytes.
    pub memory: u64,
    /// Stack of the thread that parses, in bytes. Only what is used of it takes memory.
    pub stack: u64,
    /// How often a child that died is replaced; afterwards the whole artifact counts as lost.
    pub restarts: usize,
}

impl Default for WorkerLimits {
    /// One GiB of stack outlasts every nesting that the size limit of Python source leaves room for; two GiB
    /// besides are eight times what the largest honest file needs.
    fn default() -> Self {
        Self {
            file: Duration::from_secs(10),
            artifact: Duration::from_secs(900),
            cpu: Duration::from_secs(600),
            memory: 2 << 30,
            stack: 1 << 30,
            restarts: 8,
        }
    }
}

/// What the parent asks of a child: the child's last argument, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Job {
    digest: Sha256,
    skip: Vec<Skip>,
    cpu_seconds: u64,
    memory: u64,
    stack: u64,
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Report(Box<ContentReport>),
    NotAnArchive(String),
    OtherBytes(Sha256),
    Unreadable(String),
}
