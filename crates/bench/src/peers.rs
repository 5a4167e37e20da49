//! The tools that ours is compared with, from the Python index, in a virtual environment of their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::measure::Run;
use crate::result::note;

/// Named by version, so that figures of two days compare with the same thing.
const RUFF: &str = "0.17.5";
const BANDIT: &str = "1.9.4";
/// Large, so a machine that cannot have it goes without.
const SEMGREP: &str = "1.182.0";

/// Three plain patterns, so that semgrep does the least that it can do.
const SEMGREP_RULES: &str = r#"rules:
  - { id: shell, languages: [python], severity: ERROR, message: m, pattern: "subprocess.$F(..., shell=True, ...)" }
  - { id: eval, languages: [python], severity: ERROR, message: m, pattern: "eval(...)" }
  - { id: pickle, languages: [python], severity: ERROR, message: m, pattern: "pickle.loads(...)" }
"#;

/// Those that could be installed.
#[derive(Debug)]
pub(crate) struct Peers {
    venv: PathBuf,
    semgrep: bool,
}

pub(crate) fn install(venv: &Path) -> Result<Peers> {
    let stamp = venv.join("installed");
    let (ruff, bandit, semgrep) = (format!("ruff=={RUFF}"), format!("bandit=={BANDIT}"), format!("semgrep=={SEMGREP}"));
    let wanted = format!("{ruff} {bandit} {semgrep}");
    let with = |semgrep| Peers { venv: venv.to_owned(), semgrep };
    match std::fs::read_to_string(&stamp) {
        Ok(installed) if installed == wanted => return Ok(with(true)),
        Ok(installed) if installed == format!("{ruff} {bandit}") => return Ok(with(false)),
        _ => {}
    }
    note(&format!("installing {wanted}"))?;
    said(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    // Wheels only: a source distribution would run its build.
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"];
    said(Command::new(venv.join("bin/python")).args(pip).args([&ruff, &bandit]))?;
    let and_semgrep = said(Command::new(venv.join("bin/python")).args(pip).args([&ruff, &bandit, &semgrep]));
    if let Err(error) = &and_semgrep {
        note(&format!("semgrep is left out: {error}"))?;
    }
    std::fs::write(venv.join("semgrep.yml"), SEMGREP_RULES)?;
    std::fs::write(stamp, if and_semgrep.is_ok() { wanted } else { format!("{ruff} {bandit}") })?;
    Ok(with(and_semgrep.is_ok()))
}

fn said(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

impl Peers {
    pub(crate) fn versions(&self) -> BTreeMap<&'static str, &'static str> {
        let mut versions = BTreeMap::from([("ruff", RUFF), ("bandit", BANDIT)]);
        if self.semgrep {
            versions.insert("semgrep", SEMGREP);
        }
        versions
    }

    /// Bandit's rules in ruff, over unpacked trees. It prints nothing, which is the fastest that it can be.
    pub(crate) fn ruff<'a>(&self, trees: impl Iterator<Item = &'a Path>) -> Run {
        let args = ["check", "--select", "S", "--isolated", "--no-cache", "--ignore-noqa", "--silent", "--exit-zero"];
        Run::new(command(&self.venv.join("bin/ruff"), &args, trees))
    }

    /// Bandit over unpacked trees.
    pub(crate) fn bandit<'a>(&self, trees: impl Iterator<Item = &'a Path>) -> Run {
        let args = ["-m", "bandit", "--recursive", "--quiet", "--ignore-nosec", "--exit-zero", "--format", "json"];
        let args: Vec<_> = args.into_iter().chain(["--output", "/dev/null"]).collect();
        Run::new(command(&self.venv.join("bin/python"), &args, trees))
    }

    /// Semgrep over unpacked trees, every file of them, one job; none where it is not installed.
    pub(crate) fn semgrep<'a>(&self, trees: impl Iterator<Item = &'a Path>) -> Option<Run> {
        let home = format!("HOME={}", self.venv.display());
        let (semgrep, rules) = (self.venv.join("bin/semgrep"), self.venv.join("semgrep.yml"));
        let (semgrep, rules) = (semgrep.to_str()?, rules.to_str()?);
        let args =
            [&home, semgrep, "scan", "--config", rules, "--metrics", "off", "--disable-version-check", "--jobs", "1"];
        let all_files = ["--no-git-ignore", "--x-ignore-semgrepignore-files", "--disable-nosem"];
        let args: Vec<_> =
            args.into_iter().chain(all_files).chain(["--quiet", "--json", "--output", "/dev/null"]).collect();
        self.semgrep.then(|| Run::new(command(Path::new("env"), &args, trees)))
    }
}

fn command<'a>(program: &Path, args: &[&str], trees: impl Iterator<Item = &'a Path>) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec![program.into()];
    command.extend(args.iter().map(OsString::from));
    command.extend(trees.map(OsString::from));
    command
}
