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

/// What a machine with little memory keeps for other things than a child's heap and stack: the parent, which reads the child's
/// answer, and the child's own program.
const OTHER_BYTES: u64 = 384 << 20;

impl WorkerLimits {
    /// The same, on a machine with so many bytes of memory in all and nothing else to do: where memory runs out, the kernel
    /// ends what it likes, the parent included. A child that dies at its own limit costs one file.
    #[must_use]
    pub fn within(self, bytes: u64) -> Self {
        let room = bytes.saturating_sub(OTHER_BYTES);
        let stack = self.stack.min(room / 3);
        Self { stack, memory: self.memory.min(room - stack), ..self }
    }
}

/// Hides this process from others of the same user (Linux): they can read neither its memory nor its environment. For a parent
/// that holds credentials. A child is confined by the kernel where it has Landlock; this holds where it has not, too.
///
/// # Errors
/// When the kernel refuses.
pub fn hide_this_process() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// How far this kernel takes rights from a child besides limiting its memory and time: `full`, `partial` or `none`.
///
/// Without them a scan is as sound: no code of a package is run, and nothing that the scanner does needs those rights. They are a
/// second wall, and whoever runs the gate should know whether it stands.
#[must_use]
pub fn confinement() -> &'static str {
    #[cfg(target_os = "linux")]
    // A thread of its own, since rights do not come back.
    return match std::thread::spawn(confine::this_thread).join() {
        Ok(landlock::RulesetStatus::FullyEnforced) => "full",
        Ok(landlock::RulesetStatus::PartiallyEnforced) => "partial",
        Ok(landlock::RulesetStatus::NotEnforced) | Err(_) => "none",
    };
    #[cfg(not(target_os = "linux"))]
    "none"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_leave_room_for_the_parent() {
        let full = WorkerLimits::default();
        let enough = OTHER_BYTES + full.memory + full.stack;
        for (bytes, memory, stack) in [
            (enough + 1, full.memory, full.stack),
            (enough, full.memory, full.stack),
            (enough - 1, full.memory, full.stack - 1),
            (3008 << 20, 1_834_308_950, 917_154_474),
            (OTHER_BYTES + 3, 2, 1),
            (OTHER_BYTES, 0, 0),
            (0, 0, 0),
            (u64::MAX, full.memory, full.stack),
        ] {
            let limits = full.clone().within(bytes);
            assert_eq!((limits.memory, limits.stack), (memory, stack), "{bytes}");
            assert!(bytes < OTHER_BYTES || limits.memory + limits.stack + OTHER_BYTES <= bytes);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_can_hide() {
        use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

        hide_this_process().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
    }

    #[test]
    fn the_confinement_is_told_and_keeps_nothing_from_this_thread() {
        assert!(["full", "partial", "none"].contains(&confinement()));
        assert!(std::fs::File::open("/proc/self/status").is_ok() || !cfg!(target_os = "linux"));
    }
}
