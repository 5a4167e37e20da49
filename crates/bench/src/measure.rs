//! What a command costs. Each runs below a small process of its own, whose only children are the command's: so the peak of
//! memory is the command's (one below the small process's own few MB is not seen), and processor time counts all processes
//! that it started and waited for.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::{Deserialize, Serialize};

/// The cost of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// User and system, seconds.
    pub(crate) cpu_s: f64,
    pub(crate) wall_s: f64,
    /// The largest resident set of one of its processes.
    pub(crate) peak_bytes: u64,
    status: Option<i32>,
    /// What it printed.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) output: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    errors: String,
}

/// `gate-bench measure COMMAND`.
pub(crate) fn child(command: &[OsString]) -> Result<()> {
    let (program, args) = command.split_first().context("no command")?;
    let began = Instant::now();
    let done = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    let wall_s = began.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time() + usage.system_time();
    let cost = Cost {
        cpu_s: cpu.num_microseconds() as f64 / 1e6,
        wall_s,
        // Linux counts KiB.
        peak_bytes: u64::try_from(usage.max_rss()).unwrap_or_default() * 1024,
        status: done.status.code(),
        output: String::from_utf8_lossy(&done.stdout).into_owned(),
        errors: String::from_utf8_lossy(&done.stderr).into_owned(),
    };
    Ok(serde_json::to_writer(std::io::stdout(), &cost)?)
}

/// A command and how it may end.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) command: Vec<OsString>,
    pub(crate) may_end_with: &'static [i32],
}

impl Run {
    pub(crate) fn new(command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), may_end_with: &[0] }
    }

    /// The cost of one run. A run that fails says nothing about speed, and is an error.
    pub(crate) fn measure(&self, own: &Path) -> Result<Cost> {
        // One thread for the peers that would take more: the figures are processor time.
        let output = Command::new(own)
            .arg("measure")
            .args(&self.command)
            .env("RAYON_NUM_THREADS", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        let cost: Cost = serde_json::from_slice(&output.stdout).context("the measuring child said nothing")?;
        if !cost.status.is_some_and(|status| self.may_end_with.contains(&status)) {
            bail!("{:?} ended with {:?}: {}", self.command, cost.status, cost.errors);
        }
        Ok(cost)
    }
}

/// The cost of several commands that are one piece of work.
pub(crate) fn all(runs: &[Run], own: &Path) -> Result<Cost> {
    let mut total =
        Cost { cpu_s: 0.0, wall_s: 0.0, peak_bytes: 0, status: None, output: String::new(), errors: String::new() };
    for run in runs {
        let cost = run.measure(own)?;
        total.cpu_s += cost.cpu_s;
        total.wall_s += cost.wall_s;
        total.peak_bytes = total.peak_bytes.max(cost.peak_bytes);
        total.output = cost.output;
    }
    Ok(total)
}

/// The middle one; of an even number the upper middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![1.0, 9.0]), 9.0);
        assert!(median(Vec::new()).is_nan());
    }
}
