//! Exact versions of other packages that the files of an artifact name: what advisories are looked up for besides itself.

use gate_core::dependency::{applicable, exact_pin, parse};
use gate_core::policy::{SdistPolicy, Targets};
use gate_core::report::Pin;

/// The most pins of one artifact that are no part of its installed metadata; further ones are not listed, for they decide nothing.
pub const MAX_PINS: usize = 10_000;

/// Bytes of a requirements file that are read.
pub const FILE_BYTES: usize = 256 * 1024;

/// What a file of pins is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// One requirement a line (pip).
    Requirements,
    /// `pyproject.toml`.
    Pyproject,
    /// A list of requirements in YAML (conda).
    Environment,
}

impl Syntax {
    /// The syntax of the file that has this path, if it may hold pins.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = name.to_ascii_lowercase();
        let in_requirements = folder.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case("requirements"));
        let says_so = name.contains("requirements") || name.contains("constraints") || in_requirements;
        if name == "pyproject.toml" {
            Some(Self::Pyproject)
        } else if says_so && (name.ends_with(".txt") || name.ends_with(".in")) {
            Some(Self::Requirements)
        } else if name.starts_with("environment") && (name.ends_with(".yml") || name.ends_with(".yaml")) {
            Some(Self::Environment)
        } else {
            None
        }
    }

    /// The pins in a file's text.
    pub(crate) fn pins(self, path: &str, text: &str, pins: &mut Vec<Pin>) {
        let mut add = |requirement: &str| {
            if pins.len() < MAX_PINS
                && let Some((name, version)) = exact(requirement)
            {
                pins.push(Pin { name, version, path: path.to_owned(), installed: false });
            }
        };
        match self {
            Self::Requirements => text.lines().for_each(|line| add(without_comment(line))),
            Self::Environment => {
                for line in text.lines() {
                    if let Some(item) = line.trim_start().strip_prefix("- ") {
                        add(without_comment(item).trim_matches(['"', '\'']));
                    }
                }
            }
            Self::Pyproject => {
                if let Ok(project) = toml::from_str::<toml::Table>(text) {
                    strings(&toml::Value::Table(project), 0, &mut add);
                }
            }
        }
    }
}

/// The pins of a distribution's own metadata; one that only an extra asks for, or an interpreter of long ago, is not installed.
pub(crate) fn of_metadata(requires_dist: &[String], path: &str) -> Vec<Pin> {
    let anywhere = Targets {
        python: (8..=15).map(|minor| format!("3.{minor}")).collect(),
        machines: ["x86_64", "aarch64"].map(str::to_owned).to_vec(),
        glibc: "2.99".to_owned(),
        sdist: SdistPolicy::Always,
    };
    let pin = |requirement: &String| {
        let (name, version) = exact(requirement)?;
        let installed = !applicable(std::slice::from_ref(requirement), &anywhere, &[]).applicable.is_empty();
        Some(Pin { name, version, path: path.to_owned(), installed })
    };
    requires_dist.iter().filter_map(pin).collect()
}

/// Requirements are the strings in arrays called `dependencies`, `requires`, or in a table of extras or groups; whatever else
/// parses as an exact requirement is one, too.
fn strings(value: &toml::Value, depth: usize, add: &mut impl FnMut(&str)) {
    match value {
        toml::Value::Array(items) => {
            for item in items {
                match item {
                    toml::Value::String(text) => add(text),
                    other if depth < 8 => strings(other, depth + 1, add),
                    _ => {}
                }
            }
        }
        toml::Value::Table(table) if depth < 8 => table.values().for_each(|value| strings(value, depth + 1, add)),
        _ => {}
    }
}

fn without_comment(line: &str) -> &str {
    let line = line.split(" #").next().unwrap_or(line);
    // pip's per-requirement options, such as `--hash=sha256:…`, and its line continuation
    line.split(" --").next().unwrap_or(line).trim_end_matches('\\').trim()
}

/// Name and version of `name==version` or `name===version`; none for any other requirement.
fn exact(requirement: &str) -> Option<(String, String)> {
    if !requirement.contains("==") {
        return None;
    }
    let requirement = parse(requirement).ok()?;
    let version = exact_pin(&requirement)?.to_string();
    Some((requirement.name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        let mut pins = Vec::new();
        Syntax::of(path).unwrap().pins(path, text, &mut pins);
        assert!(pins.iter().all(|pin| !pin.installed && pin.path == path));
        pins.sort();
        pins.into_iter().map(|pin| format!("{}=={}", pin.name, pin.version)).collect()
    }

    #[test]
    fn files_of_requirements_are_read() {
        let text = "# c\n-r other.txt\nflask==1.0  # why\nnumpy>=1\nscipy==1.*\nJinja2[x]===2.10 ; python_version<'3'\n\
                    six==1.16.0 --hash=sha256:aa \\\n    --hash=sha256:bb\nbad line ==\n";
        assert_eq!(of("a/requirements-dev.txt", text), ["flask==1.0", "jinja2==2.10", "six==1.16.0"]);
        assert_eq!(of("requirements/test.txt", "a==1"), ["a==1"]);
        assert_eq!(of("docs/environment.yml", "deps:\n  - numpy=1.2\n  - pip:\n    - 'b==2'\n"), ["b==2"]);
        let text = "[project]\ndependencies=['a==1','b>1']\n[project.optional-dependencies]\nx=['c==2']\n\
                    [dependency-groups]\ndev=[{include-group='x'},'d==3']\n[build-system]\nrequires=['e==4']\n";
        assert_eq!(of("a/pyproject.toml", text), ["a==1", "c==2", "d==3", "e==4"]);
        assert_eq!(Syntax::of("a/readme.txt"), None);
    }

    #[test]
    fn metadata_pins_are_installed_unless_for_an_extra_or_the_past() {
        let requires = ["a==1", "b==2; extra == 'dev'", "c==3; extra == 'gpu'", "d>=1", "e==1; python_version<'3.8'"];
        let pins = of_metadata(&requires.map(str::to_owned), "x/METADATA");
        let found: Vec<_> = pins.iter().map(|pin| (pin.name.as_str(), pin.installed)).collect();
        assert_eq!(found, [("a", true), ("b", false), ("c", false), ("e", false)]);
    }

    #[test]
    fn too_many_pins_are_not_read() {
        for (count, read) in [(MAX_PINS - 1, MAX_PINS - 1), (MAX_PINS, MAX_PINS), (MAX_PINS + 1, MAX_PINS)] {
            assert_eq!(of("requirements.txt", &"a==1\n".repeat(count)).len(), read);
        }
    }
}
