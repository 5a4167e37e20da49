//! What a Python distribution says that it is: core metadata, `WHEEL`, `pyproject.toml`; told by content, never by a file name.

use std::collections::BTreeSet;

use gate_core::coordinates::normalize;
use gate_core::finding::{FileRole, Finding};
use gate_core::report::{Distribution, DistributionKind};
use pep440_rs::Version;

use crate::structure::{DIST_INFO_MISMATCH, METADATA_AMBIGUOUS, METADATA_INCOMPLETE, SEVERAL_DIST_INFO};

/// Bytes of a metadata file that are kept: the header block must end within. The largest seen, whose `Description` is a header,
/// are under 200 KB.
pub const METADATA_BYTES: usize = 1 << 20;

/// Bytes of a `RECORD` that are kept: 200,000 files of 150 bytes each.
pub const RECORD_BYTES: usize = 32 << 20;

/// The files that describe a distribution, collected while the archive is walked.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Folders `*.dist-info` at the top.
    dist_infos: BTreeSet<String>,
    /// First segments of paths; only whether there is one matters, so a few are kept.
    tops: BTreeSet<String>,
    /// Files of interest with their content.
    files: Vec<(String, Vec<u8>)>,
}

/// What of a member is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// At most so many of its first bytes.
    pub(crate) bytes: usize,
}

impl Parts {
    /// Takes note of a member, and says whether its content is to be given to [`Self::keep`].
    pub(crate) fn note(&mut self, path: &str) -> Option<Wanted> {
        let mut segments = path.split('/');
        let top = segments.next().unwrap_or(path);
        if self.tops.len() < 3 && !self.tops.contains(top) {
            self.tops.insert(top.to_owned());
        }
        let file = segments.next()?;
        if segments.next().is_some() {
            if is_dist_info(top) && self.dist_infos.len() < 16 {
                self.dist_infos.insert(top.to_owned());
            }
            return None;
        }
        if is_dist_info(top) {
            if self.dist_infos.len() < 16 {
                self.dist_infos.insert(top.to_owned());
            }
            return match file {
                "METADATA" | "WHEEL" => Some(Wanted { bytes: METADATA_BYTES }),
                "RECORD" => Some(Wanted { bytes: RECORD_BYTES }),
                _ => None,
            };
        }
        matches!(file, "PKG-INFO" | "pyproject.toml").then_some(Wanted { bytes: METADATA_BYTES })
    }

    /// Keeps what [`Self::note`] asked for.
    pub(crate) fn keep(&mut self, path: &str, bytes: &[u8]) {
        // Several of them are a finding, and a thousand of them are not worth the memory.
        if self.files.len() < 64 {
            self.files.push((path.to_owned(), bytes.to_owned()));
        }
    }

    /// Whether the archive is a wheel, or means to be one.
    pub(crate) fn is_wheel(&self) -> bool {
        !self.dist_infos.is_empty()
    }

    /// The one `.dist-info` folder of a wheel.
    pub(crate) fn dist_info(&self) -> Option<&str> {
        self.dist_infos.first().map(String::as_str)
    }

    /// A kept file.
    pub(crate) fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.iter().find(|(name, _)| name == path).map(|(_, bytes)| &bytes[..])
    }

    fn only_top(&self) -> Option<&str> {
        if self.tops.len() == 1 { self.tops.first().map(String::as_str) } else { None }
    }

    /// The distribution, if the archive is one, and what is wrong with its description.
    pub(crate) fn distribution(&self) -> (Option<Distribution>, Vec<Finding>) {
        let mut findings = Vec::new();
        if let Some(folder) = self.dist_info() {
            if self.dist_infos.len() > 1 {
                let names: Vec<_> = self.dist_infos.iter().map(String::as_str).collect();
                findings.push(SEVERAL_DIST_INFO.at(folder, names.join(", ")));
            }
            let path = format!("{folder}/METADATA");
            let found = self.described(DistributionKind::Wheel, &path, &mut findings);
            if let Some(metadata) = &found
                && !names_same(folder, metadata)
            {
                let said = format!("{folder} against {} {}", metadata.name, metadata.version);
                findings.push(DIST_INFO_MISMATCH.at(&path, said));
            }
            let tags = self.file(&format!("{folder}/WHEEL")).map(|bytes| Headers::parse(bytes).all("tag"));
            return (found.map(|metadata| Distribution { tags: tags.unwrap_or_default(), ..metadata }), findings);
        }
        let Some(path) = self.only_top().map(|top| format!("{top}/PKG-INFO")) else { return (None, findings) };
        if self.file(&path).is_none() {
            return (None, findings);
        }
        let found = self.described(DistributionKind::Sdist, &path, &mut findings);
        let build_requires = self.build_system().requires;
        (found.map(|metadata| Distribution { build_requires, ..metadata }), findings)
    }

    fn described(&self, kind: DistributionKind, path: &str, findings: &mut Vec<Finding>) -> Option<Distribution> {
        let Some(bytes) = self.file(path) else {
            findings.push(METADATA_INCOMPLETE.at(path, None));
            return None;
        };
        let headers = Headers::parse(bytes);
        for field in ["name", "version", "requires-python"] {
            let values = headers.all(field);
            if values.len() > 1 {
                findings.push(METADATA_AMBIGUOUS.at(path, format!("{field}: {}", values.join(", "))));
            }
        }
        if !headers.complete {
            findings.push(METADATA_AMBIGUOUS.at(path, format!("no end of the headers within {METADATA_BYTES} bytes")));
        }
        let name = headers.first("name").filter(|name| !name.is_empty());
        let version = headers.first("version").filter(|version| version.parse::<Version>().is_ok());
        let (Some(name), Some(version)) = (name, version) else {
            let said = format!("Name: {:?}, Version: {:?}", headers.first("name"), headers.first("version"));
            findings.push(METADATA_INCOMPLETE.at(path, said));
            return None;
        };
        Some(Distribution {
            kind,
            name,
            version,
            requires_python: headers.first("requires-python"),
            requires_dist: headers.all("requires-dist"),
            build_requires: Vec::new(),
            tags: Vec::new(),
        })
    }

    /// What `pyproject.toml` at the root of an sdist or source tree says about building it (PEP 517 and 518).
    fn build_system(&self) -> BuildSystem {
        let Some(top) = self.only_top() else { return BuildSystem::default() };
        let Some(bytes) = self.file(&format!("{top}/pyproject.toml")) else { return BuildSystem::default() };
        let Ok(project) = toml::from_str::<toml::Table>(&String::from_utf8_lossy(bytes)) else {
            return BuildSystem::default();
        };
        let Some(table) = project.get("build-system").and_then(toml::Value::as_table) else {
            return BuildSystem::default();
        };
        let strings = |key: &str| -> Vec<String> {
            let list = table.get(key).and_then(toml::Value::as_array).into_iter().flatten();
            list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let backend = table.get("build-backend").and_then(toml::Value::as_str).unwrap_or_default();
        let module = backend.split([':', '.']).next().unwrap_or_default();
        let prefixes = strings("backend-path")
            .iter()
            .map(|folder| {
                let folder = folder.trim_start_matches("./").trim_matches('/');
                let folder =
                    if folder.is_empty() || folder == "." { top.to_owned() } else { format!("{top}/{folder}") };
                format!("{folder}/{module}")
            })
            .collect();
        BuildSystem { requires: strings("requires"), backends: prefixes }
    }

    /// What the walk has shown about the archive's layout.
    pub(crate) fn layout(&self) -> Layout {
        if self.is_wheel() {
            return Layout { wheel: true, backends: Vec::new() };
        }
        Layout { wheel: false, backends: self.build_system().backends }
    }
}

#[derive(Debug, Default)]
struct BuildSystem {
    requires: Vec<String>,
    backends: Vec<String>,
}

/// What decides a file's role besides its path. Before the walk it is a guess; after the walk it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// A wheel: all of it is installed, and its files are hashed for `RECORD`.
    pub(crate) wheel: bool,
    /// Paths, without `.py` or `/`, of the build backend's module or package within the tree.
    pub(crate) backends: Vec<String>,
}

impl Layout {
    /// What a member of the outermost archive is for, and whether an installation copies or runs it.
    pub(crate) fn place(&self, path: &str) -> (FileRole, bool) {
        if self.wheel {
            return (Self::in_wheel(path), true);
        }
        let role = if self.is_backend(path) { FileRole::InstallTime } else { FileRole::of(path) };
        (role, role != FileRole::Supporting)
    }

    fn is_backend(&self, path: &str) -> bool {
        self.backends.iter().any(|module| {
            path.strip_prefix(module.as_str())
                .is_some_and(|rest| rest.starts_with('/') || rest == ".py" || module.ends_with('/'))
        })
    }

    /// Nothing of a wheel runs when it is installed; `.pth` files and two module names run whenever the interpreter starts.
    fn in_wheel(path: &str) -> FileRole {
        // `name-1.0.data/purelib/pkg/a.py` is installed as `pkg/a.py` (binary distribution format, "The .data directory").
        let mut parts = path.splitn(3, '/');
        let inner = match (parts.next(), parts.next(), parts.next()) {
            (Some(folder), Some(scheme), Some(rest)) if folder.ends_with(".data") => {
                if scheme == "scripts" {
                    return FileRole::Library;
                }
                rest
            }
            _ => path,
        };
        let file = inner.rsplit('/').next().unwrap_or(inner);
        match FileRole::of(inner) {
            FileRole::InstallTime if file.eq_ignore_ascii_case("setup.py") => FileRole::Library,
            _ if matches!(inner, "sitecustomize.py" | "usercustomize.py") => FileRole::InstallTime,
            role => role,
        }
    }
}

fn is_dist_info(folder: &str) -> bool {
    folder.to_ascii_lowercase().ends_with(".dist-info")
}

/// Whether `NAME-VERSION.dist-info` says what the metadata says.
fn names_same(folder: &str, metadata: &Distribution) -> bool {
    let stem = folder.rsplit_once('.').map_or(folder, |(stem, _)| stem);
    let Some((name, version)) = stem.split_once('-') else { return false };
    let same_version = match (version.parse::<Version>(), metadata.version.parse::<Version>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => version == metadata.version,
    };
    normalize(name) == normalize(&metadata.name) && same_version
}

/// The header block of a core metadata or `WHEEL` file: an e-mail header as Python's `email` reads it.
struct Headers {
    fields: Vec<(String, String)>,
    /// The block ended by a blank line, a body or the file's end, not by our limit.
    complete: bool,
}

impl Headers {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut complete = bytes.len() < METADATA_BYTES;
        for line in text.split('\n') {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
                continue;
            }
            match line.split_once(':') {
                Some((name, value)) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => {
                    fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                // A blank line, or the first line of a body that none announced.
                _ => {
                    complete = true;
                    break;
                }
            }
        }
        Self { fields, complete }
    }

    fn first(&self, name: &str) -> Option<String> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(files: &[(&str, &str)]) -> Parts {
        let mut parts = Parts::default();
        for (path, text) in files {
            if let Some(wanted) = parts.note(path) {
                parts.keep(path, &text.as_bytes()[..text.len().min(wanted.bytes)]);
            }
        }
        parts
    }

    fn rules(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.rule.as_str()).collect()
    }

    #[test]
    fn a_wheel_is_told_by_its_dist_info() {
        let parts = parts(&[
            (
                "Foo_Bar-1.0.dist-info/METADATA",
                "Metadata-Version: 2.1\r\nName: foo.bar\r\nVersion: 1.0\r\nRequires-Dist: a>1\r\nRequires-Dist: b==2\r\n\r\nName: body\r\n",
            ),
            ("Foo_Bar-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n"),
            ("foo/__init__.py", ""),
        ]);
        let (distribution, findings) = parts.distribution();
        let distribution = distribution.unwrap();
        assert_eq!(rules(&findings), Vec::<&str>::new());
        assert_eq!((distribution.name.as_str(), distribution.version.as_str()), ("foo.bar", "1.0"));
        assert_eq!(distribution.requires_dist, ["a>1", "b==2"]);
        assert_eq!(distribution.tags, ["py2-none-any", "py3-none-any"]);
        assert!(parts.layout().wheel);
    }

    #[test]
    fn descriptions_that_two_installers_read_differently_are_findings() {
        for (files, rule) in [
            (vec![("a-1.dist-info/METADATA", "Name: b\nVersion: 1\n\n")], "dist-info-mismatch"),
            (vec![("a-1.dist-info/METADATA", "Name: a\nVersion: 2\n\n")], "dist-info-mismatch"),
            (vec![("a-1.dist-info/METADATA", "Name: a\nname: b\nVersion: 1\n\n")], "metadata-ambiguous"),
            (vec![("a-1.dist-info/METADATA", "Name: a\n\nVersion: 1\n")], "metadata-incomplete"),
            (vec![("a-1.dist-info/METADATA", "Name: a\nVersion: one\n\n")], "metadata-incomplete"),
            (vec![("a-1.dist-info/WHEEL", "")], "metadata-incomplete"),
            (vec![("a-1/PKG-INFO", "Version: 1\n")], "metadata-incomplete"),
            (
                vec![("a-1.dist-info/METADATA", "Name: a\nVersion: 1\n\n"), ("b-1.dist-info/METADATA", "")],
                "several-dist-info",
            ),
        ] {
            let (_, findings) = parts(&files).distribution();
            assert_eq!(rules(&findings), [rule], "{files:?}");
        }
    }

    #[test]
    fn equal_names_and_versions_have_many_spellings() {
        for (folder, name, version) in [
            ("foo_bar-1.0.dist-info", "Foo-Bar", "1.0"),
            ("foo-1.0.0rc1.dist-info", "foo", "1.0.0-rc.1"),
            ("foo-1.0+cpu.dist-info", "foo", "1.0+cpu"),
            ("foo-1.dist-info", "foo", "1.0"),
        ] {
            let metadata = format!("Name: {name}\nVersion: {version}\n\n");
            let (_, findings) = parts(&[(&format!("{folder}/METADATA"), &metadata)]).distribution();
            assert_eq!(rules(&findings), Vec::<&str>::new(), "{folder}");
        }
    }

    #[test]
    fn an_sdist_has_one_top_folder_with_pkg_info() {
        let pkg_info = ("a-1/PKG-INFO", "Name: a\nVersion: 1\n");
        let pyproject =
            ("a-1/pyproject.toml", "[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n");
        let (found, _) = parts(&[pkg_info, pyproject]).distribution();
        let found = found.unwrap();
        assert_eq!(
            (found.kind, found.build_requires.as_slice()),
            (DistributionKind::Sdist, &["hatchling".to_owned()][..])
        );
        assert_eq!(parts(&[pkg_info, ("b/x.py", "")]).distribution().0, None);
        assert_eq!(parts(&[("a-1/src/PKG-INFO", "Name: a\nVersion: 1\n")]).distribution().0, None);
    }

    #[test]
    fn a_header_block_that_ends_beyond_the_limit_is_a_finding() {
        for (padding, expected) in [(METADATA_BYTES - 29, vec![]), (METADATA_BYTES, vec!["metadata-ambiguous"])] {
            let text = format!("Name: a\nVersion: 1\nSummary: {}\n\n", "x".repeat(padding));
            let (_, findings) = parts(&[("a-1.dist-info/METADATA", &text)]).distribution();
            assert_eq!(rules(&findings), expected, "{padding}");
        }
    }

    #[test]
    fn roles_know_backends_and_wheels() {
        let text =
            "[build-system]\nrequires = []\nbuild-backend = 'back.api:main'\nbackend-path = ['.', './docs/build']\n";
        let layout = parts(&[("a-1/pyproject.toml", text)]).layout();
        for (path, role) in [
            ("a-1/back.py", FileRole::InstallTime),
            ("a-1/back/api.py", FileRole::InstallTime),
            ("a-1/docs/build/back/x.py", FileRole::InstallTime),
            ("a-1/backpack.py", FileRole::Library),
            ("a-1/docs/other.py", FileRole::Supporting),
            ("a-1/setup.py", FileRole::InstallTime),
        ] {
            assert_eq!(layout.place(path), (role, role != FileRole::Supporting), "{path}");
        }
        let wheel = Layout { wheel: true, backends: Vec::new() };
        for (path, role) in [
            ("numpy/setup.py", FileRole::Library),
            ("sitecustomize.py", FileRole::InstallTime),
            ("a-1.data/purelib/usercustomize.py", FileRole::InstallTime),
            ("pkg/sitecustomize.py", FileRole::Library),
            ("a-1.data/scripts/run", FileRole::Library),
            ("a-1.data/purelib/x.pth", FileRole::InstallTime),
            ("pkg/tests/a.py", FileRole::Supporting),
        ] {
            assert_eq!(wheel.place(path), (role, true), "{path}");
        }
    }
}
