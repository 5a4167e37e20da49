//! Which Python index to ask: what the operator says, else what the machine's own pip or uv is configured with or carries.
//!
//! No host is named here. Settings of the working directory (a project's `uv.toml` or `pyproject.toml`) are not read: the
//! gate may run inside a checkout that requesters can push to, and they must not choose the index (invariant 6).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gate_core::failure::{Failure, FailureCode};

use crate::index_url::IndexUrl;

/// The machine that the settings are looked up on. A trait so that tests can make one up.
pub trait Machine {
    /// An environment variable that is set and not blank.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file, if it can be read.
    fn read(&self, path: &Path) -> Option<String>;
    /// What a program prints, if it exists, ends well and soon.
    fn output(&self, program: &str, arguments: &[&str]) -> Option<String>;
}

/// Where the address was found, as a message names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundIndex {
    /// The address.
    pub url: IndexUrl,
    /// `--index-url`, `PIP_INDEX_URL`, a file's path, `the default of pip`.
    pub origin: String,
}

/// Asks a Python for the index that its pip carries, or the pip that its standard library bundles.
const ASK_PIP: &str = "
import sys
try:
    import pip._internal.models.index
except ImportError:
    import ensurepip, glob, os
    sys.path[:0] = glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), '_bundled', 'pip-*.whl'))
from pip._internal.models.index import PyPI
print(PyPI.simple_url)
";

/// The address of the index, from the first of: `given` (`--index-url`); `PIP_INDEX_URL`; `UV_DEFAULT_INDEX`,
/// `UV_INDEX_URL`; pip's configuration files; uv's; what pip carries; what uv carries.
///
/// # Errors
/// `BadIndex` when there is none, or the first one found is not the address of an index.
pub fn find_index(given: Option<&str>, machine: &impl Machine) -> Result<FoundIndex, Failure> {
    let variable = |name: &str| machine.variable(name).map(|text| (text, name.to_owned()));
    let found = given
        .map(|text| (text.to_owned(), "--index-url".to_owned()))
        .or_else(|| ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"].into_iter().find_map(variable))
        .or_else(|| of_pip_files(machine))
        .or_else(|| of_uv_files(machine))
        .or_else(|| carried_by_pip(machine))
        .or_else(|| carried_by_uv(machine));
    let Some((text, origin)) = found else {
        return Err(Failure::new(
            FailureCode::BadIndex,
            "no Python index is known: neither --index-url nor PIP_INDEX_URL is set, and no pip or uv was found on this \
             machine; give --index-url https://HOST/simple/",
        ));
    };
    match IndexUrl::parse(unnamed(&text)) {
        Ok(url) => Ok(FoundIndex { url, origin }),
        // The text itself is not repeated: it may hold a password.
        Err(why) => Err(Failure::new(
            FailureCode::BadIndex,
            format!("the index address from {origin} cannot be used: {why}; give one like https://HOST/simple/"),
        )),
    }
}

/// uv writes `NAME=URL` where an index has a name.
fn unnamed(text: &str) -> &str {
    match text.split_once('=') {
        Some((name, url))
            if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) =>
        {
            url
        }
        _ => text,
    }
}

/// The last file that sets it wins, as in pip: global, user, virtual environment, then `PIP_CONFIG_FILE`.
fn of_pip_files(machine: &impl Machine) -> Option<(String, String)> {
    let special = machine.variable("PIP_CONFIG_FILE");
    if special.as_deref().is_some_and(|path| path == "/dev/null" || path.eq_ignore_ascii_case("nul")) {
        return None;
    }
    let mut paths = Vec::new();
    let mut add = |base: Option<String>, rest: &str| paths.extend(base.map(|base| Path::new(&base).join(rest)));
    let home = || machine.variable("HOME");
    if cfg!(windows) {
        add(machine.variable("PROGRAMDATA"), "pip/pip.ini");
        add(machine.variable("USERPROFILE"), "pip/pip.ini");
        add(machine.variable("APPDATA"), "pip/pip.ini");
        add(machine.variable("VIRTUAL_ENV"), "pip.ini");
    } else {
        if cfg!(target_os = "macos") {
            add(Some("/Library/Application Support".to_owned()), "pip/pip.conf");
        }
        let shared = machine.variable("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".to_owned());
        for base in shared.split(':') {
            add(Some(base.to_owned()), "pip/pip.conf");
        }
        add(Some("/etc".to_owned()), "pip.conf");
        add(home(), ".pip/pip.conf");
        if cfg!(target_os = "macos") {
            add(home(), "Library/Application Support/pip/pip.conf");
        }
        add(user_config(machine), "pip/pip.conf");
        add(machine.variable("VIRTUAL_ENV"), "pip.conf");
    }
    paths.extend(special.map(PathBuf::from));
    last_set(machine, &paths, pip_index_url)
}

/// uv's user file wins over its system file; `UV_CONFIG_FILE` replaces both.
fn of_uv_files(machine: &impl Machine) -> Option<(String, String)> {
    let paths = match machine.variable("UV_CONFIG_FILE") {
        Some(path) => vec![PathBuf::from(path)],
        None => {
            let user = if cfg!(windows) { machine.variable("APPDATA") } else { user_config(machine) };
            let system = if cfg!(windows) { machine.variable("PROGRAMDATA") } else { Some("/etc".to_owned()) };
            [system, user].into_iter().flatten().map(|base| Path::new(&base).join("uv").join("uv.toml")).collect()
        }
    };
    last_set(machine, &paths, uv_index_url)
}

fn user_config(machine: &impl Machine) -> Option<String> {
    machine.variable("XDG_CONFIG_HOME").or_else(|| Some(format!("{}/.config", machine.variable("HOME")?)))
}

fn last_set(
    machine: &impl Machine,
    paths: &[PathBuf],
    read: impl Fn(&str) -> Option<String>,
) -> Option<(String, String)> {
    let found = |path: &PathBuf| Some((read(&machine.read(path)?)?, path.display().to_string()));
    paths.iter().rev().find_map(found)
}

/// `index-url` of a pip.conf: what `[install]` or `[download]` says goes before `[global]`.
fn pip_index_url(text: &str) -> Option<String> {
    const SECTIONS: [&str; 3] = ["install", "download", "global"];
    let mut found: [Option<String>; 3] = [const { None }; 3];
    let mut section = None;
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = SECTIONS.iter().position(|section| *section == name.trim());
            continue;
        }
        // A comment, or the continuation of a longer value.
        if line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else { continue };
        let key = key.trim().to_ascii_lowercase().replace('_', "-");
        if let Some(section) = section.filter(|_| key == "index-url" && !value.trim().is_empty()) {
            found[section] = Some(value.trim().to_owned());
        }
    }
    found.into_iter().flatten().next()
}

/// The `[[index]]` with `default = true`, else `index-url`, here or below `[pip]`.
fn uv_index_url(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    let url = |table: &toml::Table, key: &str| Some(table.get(key)?.as_str()?.to_owned());
    let default = table.get("index").and_then(toml::Value::as_array).and_then(|indexes| {
        let mut tables = indexes.iter().filter_map(toml::Value::as_table);
        let default = tables.find(|index| index.get("default").and_then(toml::Value::as_bool) == Some(true))?;
        url(default, "url")
    });
    default.or_else(|| url(&table, "index-url")).or_else(|| url(table.get("pip")?.as_table()?, "index-url"))
}

fn carried_by_pip(machine: &impl Machine) -> Option<(String, String)> {
    ["python3", "python"].into_iter().find_map(|python| {
        let output = machine.output(python, &["-I", "-c", ASK_PIP])?;
        let address = output.lines().last()?.trim();
        (!address.is_empty()).then(|| (address.to_owned(), "the default of pip".to_owned()))
    })
}

/// uv has no command that tells it, but its help does: `--default-index … (by default: <URL>)`.
fn carried_by_uv(machine: &impl Machine) -> Option<(String, String)> {
    let help = machine.output("uv", &["help", "pip", "install"])?;
    // The help is wrapped to some width.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, after) = help.split_once("--default-index")?;
    let (_, after) = after.split_once("by default:")?;
    let (_, after) = after.split_once('<')?;
    let (address, _) = after.split_once('>')?;
    Some((address.trim().to_owned(), "the default of uv".to_owned()))
}

/// The machine that the program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

/// The most that a configuration file may hold.
const FILE_BYTES: u64 = 1024 * 1024;
/// How long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Machine for ThisMachine {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|text| !text.trim().is_empty())
    }

    fn read(&self, path: &Path) -> Option<String> {
        let metadata = std::fs::metadata(path).ok()?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES {
            return None;
        }
        std::fs::read_to_string(path).ok()
    }

    /// Runs in the root directory, so that nothing in the working directory is imported, and without Python's variables.
    fn output(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PYTHON") {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn().ok()?;
        let stdout = child.stdout.take()?;
        // Read beside the wait: a long output would fill the pipe.
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let read = std::io::Read::read_to_string(&mut std::io::Read::take(stdout, FILE_BYTES), &mut text);
            read.ok().map(|_| text)
        });
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return None;
                }
            }
        };
        reader.join().ok().flatten().filter(|_| status.success())
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
