//! The simple repository API over a [`DirectoryRepository`]: PEP 503 pages, and PEP 691 documents with the fields of PEP 700.

use std::io;

use gate_core::coordinates::{Format, normalize};
use gate_core::ports::PublishedFile;
use maud::{DOCTYPE, html};
use pep440_rs::Version;
use serde_json::{Value, json};

use crate::directory::{DirectoryRepository, Release};

/// The media type of PEP 691 documents.
pub const JSON: &str = "application/vnd.pypi.simple.v1+json";
/// The media type of PEP 503 pages under PEP 691.
pub const HTML: &str = "application/vnd.pypi.simple.v1+html";

/// One project, ready to be written in either form. Links are `PREFIX/NAME/VERSION/FILENAME`.
#[derive(Debug)]
pub struct Project {
    name: String,
    releases: Vec<Release>,
}

impl Project {
    /// Reads a project; none when nothing of it is published.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn read(repository: &DirectoryRepository, name: &str) -> io::Result<Option<Self>> {
        let name = normalize(name);
        let mut releases = repository.releases(Format::Pypi, &name)?;
        releases.sort_by_key(|release| release.coordinates.version.parse::<Version>().ok());
        Ok((!releases.is_empty()).then_some(Self { name, releases }))
    }

    fn files(&self) -> impl Iterator<Item = (&PublishedFile, String)> {
        self.releases.iter().flat_map(|release| {
            let link = |file: &PublishedFile| {
                format!("/packages/{}/{}/{}", self.name, release.coordinates.version, file.filename)
            };
            release.files.iter().map(move |file| (file, link(file)))
        })
    }

    /// The PEP 503 page.
    #[must_use]
    pub fn to_html(&self) -> String {
        html! {
            (DOCTYPE)
            html {
                head { meta name="pypi:repository-version" content="1.1"; title { "Links for " (self.name) } }
                body {
                    h1 { "Links for " (self.name) }
                    @for (file, link) in self.files() {
                        a href={ (link) "#sha256=" (file.sha256) }
                            data-requires-python=[&file.evidence.requires_python]
                            data-upload-time=[file.evidence.upload_time] { (file.filename) }
                        br;
                    }
                }
            }
        }
        .into_string()
    }

    /// The PEP 691 document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let files = self.files().map(|(file, link)| {
            let mut entry = json!({
                "filename": file.filename,
                "url": link,
                "hashes": { "sha256": file.sha256 },
                "size": file.size,
            });
            if let Some(requires_python) = &file.evidence.requires_python {
                entry["requires-python"] = json!(requires_python);
            }
            if let Some(upload_time) = &file.evidence.upload_time {
                entry["upload-time"] = json!(upload_time);
            }
            entry
        });
        json!({
            "meta": { "api-version": "1.1" },
            "name": self.name,
            "versions": self.releases.iter().map(|release| &release.coordinates.version).collect::<Vec<_>>(),
            "files": files.collect::<Vec<_>>(),
        })
    }
}

/// The list of projects as a PEP 503 page.
///
/// # Errors
/// When the repository cannot be read.
pub fn projects_html(repository: &DirectoryRepository) -> io::Result<String> {
    let names = repository.projects(Format::Pypi)?;
    let page = html! {
        (DOCTYPE)
        html {
            head { meta name="pypi:repository-version" content="1.1"; title { "Approved packages" } }
            body { @for name in names { a href={ "/simple/" (name) "/" } { (name) } br; } }
        }
    };
    Ok(page.into_string())
}

/// The list of projects as a PEP 691 document.
///
/// # Errors
/// When the repository cannot be read.
pub fn projects_json(repository: &DirectoryRepository) -> io::Result<Value> {
    let names = repository.projects(Format::Pypi)?;
    let projects: Vec<_> = names.into_iter().map(|name| json!({ "name": name })).collect();
    Ok(json!({ "meta": { "api-version": "1.1" }, "projects": projects }))
}
