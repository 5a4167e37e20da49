//! The pages of an index over a [`DirectoryRepository`]: PEP 503 pages, PEP 691 documents with the fields of PEP 700, yanked
//! files as in PEP 592; and plain lists of the archives that are no Python distributions.

use std::io;

use gate_core::coordinates::{Coordinates, Format, normalize};
use gate_core::ports::PublishedFile;
use gate_core::text::escape;
use maud::{DOCTYPE, Markup, html};
use pep440_rs::Version;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::directory::{DirectoryRepository, Release};

/// All but the unreserved characters of RFC 3986, section 2.3. A `+` is encoded too: some clients and proxies take it for a
/// space.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a file is downloaded: `/packages/NAME/VERSION/FILENAME`, or `/generic/…` for an archive that is no distribution.
#[must_use]
pub fn link(coordinates: &Coordinates, filename: &str) -> String {
    let place = match coordinates.format {
        Format::Pypi => "packages",
        Format::Generic => "generic",
        Format::Npm => "npm",
    };
    let segment = |text| utf8_percent_encode(text, SEGMENT);
    format!("/{place}/{}/{}/{}", segment(&coordinates.name), segment(&coordinates.version), segment(filename))
}

/// One project, ready to be written in either form.
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

    /// The PEP 503 page.
    #[must_use]
    pub fn to_html(&self) -> String {
        let title = format!("Links for {}", self.name);
        let list = html! {
            @for (file, link) in files(&self.releases) {
                a href={ (link) "#sha256=" (file.sha256) }
                    data-requires-python=[&file.evidence.requires_python]
                    data-upload-time=[file.evidence.upload_time]
                    data-yanked=[file.evidence.yanked.as_deref().map(escape)] { (file.filename) }
                br;
            }
        };
        page(&title, &list)
    }

    /// The PEP 691 document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let files = files(&self.releases).map(|(file, link)| {
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
            if let Some(why) = &file.evidence.yanked {
                // A reason is not empty (PEP 691).
                entry["yanked"] = if why.is_empty() { json!(true) } else { json!(escape(why)) };
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
    Ok(page("Approved packages", &html! { @for name in names { a href={ "/simple/" (name) "/" } { (name) } br; } }))
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

/// The list of the names of archives that are no distributions.
///
/// # Errors
/// When the repository cannot be read.
pub fn assets_html(repository: &DirectoryRepository) -> io::Result<String> {
    let names = repository.projects(Format::Generic)?;
    Ok(page("Approved archives", &html! { @for name in names { a href={ "/generic/" (name) "/" } { (name) } br; } }))
}

/// The archives of one name, with digest and size; none when nothing of it is published.
///
/// # Errors
/// When the repository cannot be read.
pub fn asset_html(repository: &DirectoryRepository, name: &str) -> io::Result<Option<String>> {
    let releases = repository.releases(Format::Generic, name)?;
    let list = html! {
        @for (file, link) in files(&releases) {
            p { a href=(link) { (escape(&file.filename)) } br; "SHA-256 " (file.sha256) ", " (file.size) " bytes" }
        }
    };
    Ok((!releases.is_empty()).then(|| page(&format!("Approved archives of {name}"), &list)))
}

fn files(releases: &[Release]) -> impl Iterator<Item = (&PublishedFile, String)> {
    releases
        .iter()
        .flat_map(|release| release.files.iter().map(|file| (file, link(&release.coordinates, &file.filename))))
}

fn page(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html {
            head { meta name="pypi:repository-version" content="1.1"; title { (title) } }
            body { h1 { (title) } (body) }
        }
    }
    .into_string()
}
