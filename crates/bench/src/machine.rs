//! What the figures were measured on.

use std::process::{Command, Stdio};

use serde::Serialize;

/// A figure without these is a rumour.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) system: String,
    /// Of this program's source; `-dirty` where it was changed since. In bench.json each figure has its own.
    #[serde(skip)]
    pub(crate) commit: String,
    pub(crate) rustc: String,
}

pub(crate) fn read() -> Machine {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let unknown = || "unknown".to_owned();
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Machine {
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        cpu: model.map_or_else(unknown, |(_, name)| name.to_owned()),
        system: said("uname", &["-srm"]).unwrap_or_else(unknown),
        commit: said("git", &["describe", "--always", "--dirty", "--abbrev=12"]).unwrap_or_else(unknown),
        rustc: said("rustc", &["--version"]).unwrap_or_else(unknown),
    }
}
