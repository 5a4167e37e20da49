//! Where a row says that its package is: an https URL of an archive, or a purl.

use std::fmt;
use std::str::FromStr;

use packageurl::PackageUrl;
use pep440_rs::Version;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::coordinates::{PackageName, normalize};

/// A checked `source` cell; stored as its text, and checked again when it is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// An archive on the web.
    Url(Url),
    /// A release on the configured Python index.
    Pypi {
        /// As written in the purl.
        name: PackageName,
        /// PEP 440.
        version: Version,
    },
    /// An archive on this machine, by its file name: `gate scan`. No row can name one.
    File(String),
}

/// What is wrong with a `source` cell; the text is for the requester.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSource {
    /// Nothing at all.
    #[error("it is empty; give an https URL of an archive, or a purl such as pkg:pypi/flask@3.0.3")]
    Empty,
    /// Neither a URL nor a purl.
    #[error("it is neither an https URL nor a purl ({0}); give for example pkg:pypi/flask@3.0.3")]
    NotAUrl(String),
    /// `http:`, `file:` and the rest.
    #[error("the scheme '{0}' is not allowed; use https")]
    Scheme(String),
    /// `https://user:password@…`.
    #[error(
        "it carries credentials, which everyone who reads the file can see; revoke them and remove them from the URL"
    )]
    Credentials,
    /// A path that names no file.
    #[error("it names a host but no archive")]
    NoPath,
    /// Characters that URL parsers read differently.
    #[error("it has a character that programs read differently in a URL ({0}); percent-encode it or leave it out")]
    Ambiguous(String),
    /// A purl of an ecosystem that the gate does not fetch.
    #[error("packages of type '{0}' cannot be fetched yet; give the https URL of the archive")]
    PurlType(String),
    /// A purl without a version.
    #[error("it names no version; give one, for example pkg:pypi/{0}@1.2.3")]
    NoVersion(String),
    /// A version outside PEP 440.
    #[error("'{0}' is not a version (PEP 440)")]
    BadVersion(String),
    /// A name outside the allowed characters, or a namespace, qualifier or subpath.
    #[error("the purl is not of the form pkg:pypi/NAME@VERSION ({0})")]
    PurlShape(String),
}

impl FromStr for Source {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Self, BadSource> {
        if text.is_empty() {
            return Err(BadSource::Empty);
        }
        if text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("pkg:")) {
            parse_purl(text)
        } else {
            parse_url(text)
        }
    }
}

impl TryFrom<String> for Source {
    type Error = BadSource;

    fn try_from(text: String) -> Result<Self, BadSource> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

fn parse_url(text: &str) -> Result<Source, BadSource> {
    if let Some(c) = text
        .chars()
        .find(|c| c.is_whitespace() || !c.is_ascii() || c.is_control() || matches!(c, '\\' | '<' | '>' | '"' | '`'))
    {
        return Err(BadSource::Ambiguous(format!("U+{:04X}", c as u32)));
    }
    let mut url = Url::parse(text).map_err(|error| BadSource::NotAUrl(error.to_string()))?;
    if url.scheme() != "https" {
        return Err(BadSource::Scheme(url.scheme().to_owned()));
    }
    let authority = text.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or("");
    if !url.username().is_empty() || url.password().is_some() || authority.contains('@') {
        return Err(BadSource::Credentials);
    }
    if url.path().trim_matches('/').is_empty() {
        return Err(BadSource::NoPath);
    }
    url.set_fragment(None);
    Ok(Source::Url(url))
}

fn parse_purl(text: &str) -> Result<Source, BadSource> {
    let purl = PackageUrl::from_str(text).map_err(|error| BadSource::PurlShape(error.to_string()))?;
    if purl.ty() != "pypi" {
        return Err(BadSource::PurlType(purl.ty().to_owned()));
    }
    if purl.namespace().is_some() || purl.subpath().is_some() || !purl.qualifiers().is_empty() {
        return Err(BadSource::PurlShape("a namespace, qualifier or subpath is not expected".to_owned()));
    }
    let name: PackageName = purl.name().parse().map_err(|error| BadSource::PurlShape(format!("its name: {error}")))?;
    let version = purl.version().ok_or_else(|| BadSource::NoVersion(name.to_string()))?;
    let version = version.parse().map_err(|_| BadSource::BadVersion(version.to_owned()))?;
    Ok(Source::Pypi { name, version })
}

impl Source {
    /// What two cells share exactly when they name the same source: `1.0` and `1.0.0` are one version.
    #[must_use]
    pub fn key(&self) -> SourceKey {
        match self {
            Self::Url(url) => SourceKey::Url(url.to_string()),
            Self::Pypi { name, version } => SourceKey::Pypi(name.normalized(), version.clone()),
            Self::File(filename) => SourceKey::File(filename.clone()),
        }
    }

    /// The version that the source names before anything is fetched: a purl's, or the one in a wheel's or sdist's file name.
    #[must_use]
    pub fn claimed_version(&self) -> Option<Version> {
        match self {
            Self::Pypi { version, .. } => Some(version.clone()),
            Self::Url(_) | Self::File(_) => DistributionFilename::parse(&self.filename()?).map(|name| name.version),
        }
    }

    /// The file name that the source itself gives: the last part of a URL's path that is not empty, percent-decoded. Untrusted
    /// text. None for a purl.
    #[must_use]
    pub fn filename(&self) -> Option<String> {
        match self {
            Self::Pypi { .. } => None,
            Self::File(filename) => Some(filename.clone()),
            Self::Url(url) => {
                let last = url.path_segments()?.rfind(|part| !part.is_empty())?;
                Some(percent_decode_str(last).decode_utf8_lossy().into_owned())
            }
        }
    }

    /// Why the bytes behind this source may change from one day to the next, if they may: a branch, or a name such as `latest`.
    ///
    /// Source: GitHub serves `/archive/refs/heads/BRANCH.zip`, `/archive/BRANCH.zip` and `/zipball/BRANCH`.
    #[must_use]
    pub fn moving(&self) -> Option<&'static str> {
        let Self::Url(url) = self else { return None };
        let segments: Vec<_> = url.path_segments()?.collect();
        let branch = segments.windows(2).any(|pair| pair == ["refs", "heads"]);
        let named = segments.iter().any(|segment| {
            let stem = segment.trim_end_matches(".zip").trim_end_matches(".tar.gz");
            matches!(stem, "main" | "master" | "develop" | "HEAD" | "trunk" | "latest")
        });
        if branch {
            Some("a branch")
        } else if named {
            Some("a name that follows the newest version")
        } else {
            None
        }
    }
}

/// See [`Source::key`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKey {
    /// The URL without its fragment.
    Url(String),
    /// The PEP 503 name and the version.
    Pypi(String, Version),
    /// The file name.
    File(String),
}

impl fmt::Display for SourceKey {
    /// The same text for the same key: `1.0` and `1.0.0` are both written `1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(text) | Self::File(text) => f.write_str(text),
            Self::Pypi(name, version) => {
                let release = version.release();
                let digits = release.iter().rposition(|digit| *digit != 0).map_or(1, |last| last + 1);
                let trimmed = version.clone().with_release(release.iter().copied().take(digits));
                write!(f, "pkg:pypi/{name}@{trimmed}")
            }
        }
    }
}

impl fmt::Display for Source {
    /// The URL without its fragment, the purl with the PEP 503 name, or the file name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::Pypi { name, version } => write!(f, "pkg:pypi/{}@{version}", name.normalized()),
            Self::File(filename) => f.write_str(filename),
        }
    }
}

/// A wheel's or sdist's file name, taken apart (PEP 427 and 625).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionFilename {
    /// Normalised (PEP 503).
    pub name: String,
    /// PEP 440.
    pub version: Version,
    /// A wheel's compatibility tags, compressed sets expanded: (python, abi, platform). Absent for an sdist.
    pub tags: Option<Vec<(String, String, String)>>,
}

impl DistributionFilename {
    /// Reads `NAME-VERSION(-BUILD)?-PY-ABI-PLATFORM.whl`, `NAME-VERSION.tar.gz` or `NAME-VERSION.zip`; anything else is none.
    #[must_use]
    pub fn parse(filename: &str) -> Option<Self> {
        if let Some(stem) = filename.strip_suffix(".whl") {
            let parts: Vec<_> = stem.split('-').collect();
            let (name, version, [python, abi, platform]) = match parts[..] {
                [name, version, python, abi, platform] | [name, version, _, python, abi, platform] => {
                    (name, version, [python, abi, platform])
                }
                _ => return None,
            };
            let expand = |set: &str| set.split('.').map(str::to_owned).collect::<Vec<_>>();
            let mut tags = Vec::new();
            for python in expand(python) {
                for abi in expand(abi) {
                    tags.extend(expand(platform).into_iter().map(|platform| (python.clone(), abi.clone(), platform)));
                }
            }
            return Some(Self { name: normalize(name), version: version.parse().ok()?, tags: Some(tags) });
        }
        let stem = filename.strip_suffix(".tar.gz").or_else(|| filename.strip_suffix(".zip"))?;
        let (name, version) = stem.rsplit_once('-')?;
        if name.is_empty() {
            return None;
        }
        Some(Self { name: normalize(name), version: version.parse().ok()?, tags: None })
    }

    /// Whether the name is a wheel's.
    #[must_use]
    pub fn is_wheel(&self) -> bool {
        self.tags.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_may_not_be_asked_for() {
        for text in [
            "",
            "flask",
            "http://example.com/a.zip",
            "file:///etc/passwd",
            "s3://bucket/a.zip",
            "https://user@example.com/a.zip",
            "https://user:pw@example.com/a.zip",
            "https://@example.com/a.zip",
            "https://example.com",
            "https://example.com/",
            "https://example.com\\@evil.example/a.zip",
            "https://example.com/a b.zip",
            "https://example。com/a.zip",
            "https://example.com/a.zip\u{202e}",
            "pkg:npm/left-pad@1.0.0",
            "pkg:pypi/flask",
            "pkg:pypi/flask@latest",
            "pkg:pypi/ns/flask@1.0",
            "pkg:pypi/flask@1.0?repository_url=https://evil.example",
            "pkg:pypi/..%2fx@1.0",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_release_has_one_written_form() {
        let forms = ["pkg:pypi/Foo_Bar@1.0", "pkg:pypi/foo-bar@1.0", "pkg:PyPI/foo.bar@1.0"];
        for form in forms {
            assert_eq!(
                form.parse::<Source>().map(|source| source.to_string()),
                Ok("pkg:pypi/foo-bar@1.0".to_owned()),
                "{form}"
            );
        }
    }

    #[test]
    fn a_key_is_written_alike_for_equal_versions() {
        for (version, written) in
            [("1.0", "1"), ("1", "1"), ("1.0.0", "1"), ("0.0", "0"), ("1.10.0rc1", "1.10rc1"), ("1!0.20", "1!0.20")]
        {
            let key = format!("pkg:pypi/a@{version}").parse::<Source>().unwrap().key();
            assert_eq!(key.to_string(), format!("pkg:pypi/a@{written}"));
        }
    }

    #[test]
    fn versions_are_claimed_by_file_names() {
        for (url, version) in [
            ("https://h.example/six-1.16.0-py2.py3-none-any.whl", Some("1.16.0")),
            ("https://h.example/d/scikit-learn-1.5.0.tar.gz", Some("1.5.0")),
            ("https://h.example/o/r/archive/refs/heads/main.zip", None),
            ("https://h.example/o/r/zipball/abc", None),
            ("https://h.example/six-1.16.0-py2.py3-none-any.whl/", Some("1.16.0")),
            ("https://h.example/six-1.16.0-py2.py3-none-any%2ewhl", Some("1.16.0")),
        ] {
            let claimed = url.parse::<Source>().unwrap().claimed_version().map(|version| version.to_string());
            assert_eq!(claimed.as_deref(), version, "{url}");
        }
    }

    #[test]
    fn a_branch_is_a_moving_source() {
        let moving = |text: &str| text.parse::<Source>().unwrap().moving();
        assert_eq!(moving("https://github.com/o/r/archive/refs/heads/topic.zip"), Some("a branch"));
        assert!(moving("https://github.com/o/r/archive/main.zip").is_some());
        assert!(moving("https://github.com/o/r/archive/refs/tags/v1.0.zip").is_none());
        assert!(moving("pkg:pypi/six@1.16.0").is_none());
    }

    #[test]
    fn wheel_names_expand_their_tags() {
        let name = DistributionFilename::parse("Foo.Bar-1.0-1-py2.py3-none-any.whl").unwrap();
        assert_eq!(name.name, "foo-bar");
        assert_eq!(name.tags.unwrap().len(), 2);
        assert_eq!(
            DistributionFilename::parse("notes-v2.zip").map(|name| name.version.to_string()).as_deref(),
            Some("2")
        );
        assert_eq!(DistributionFilename::parse("a-b-c.whl"), None);
    }
}
