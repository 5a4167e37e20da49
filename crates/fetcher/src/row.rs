//! The fetch step of one row: from its source to a set of artifacts in quarantine.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate_core::digest::Sha256;
use gate_core::evidence::{Evidence, IndexFile};
use gate_core::failure::{Failure, FailureCode};
use gate_core::outcome::Reason;
use gate_core::policy::Policy;
use gate_core::ports::{Downloader, Origin, PackageIndex, Quarantine};
use gate_core::source::Source;
use url::Url;

use crate::select::{Selection, select, select_pinned};

/// How many files of one row are fetched at once.
const FILES_AT_ONCE: usize = 4;

/// The most characters of a file name that is made from a URL.
const FILENAME_CHARS: usize = 128;

/// The codes of the notes and of [`check_source_host`], and when they are given.
pub const NOTE_CODES: &[(&str, &str)] = &[
    ("target-without-wheel", "note: the release has no wheel for one of the policy's targets"),
    ("source-distribution", "note: the release has no wheel for any target, so its source distribution was taken"),
    ("pinned-file", "note: the row pins one file of a release, and that file alone was taken"),
    ("from-quarantine", "note: the bytes that the row pins were stored already, and its URL was not asked"),
    ("source-host-not-allowed", "invalid: the policy does not let a row name this host"),
];

/// What a row led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The whole set, sorted by file name; all in quarantine.
    pub artifacts: Vec<FetchedArtifact>,
    /// What a reader of the verdict should know; their codes are in [`NOTE_CODES`].
    pub notes: Vec<Reason>,
}

/// One file of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedArtifact {
    /// The index's name for it, or one made from the URL's path: `A-Z a-z 0-9 . _ + ! -`, never a path.
    pub filename: String,
    /// Of its bytes.
    pub digest: Sha256,
    /// In bytes.
    pub size: u64,
    /// What the index said.
    pub evidence: Evidence,
    /// False when the bytes were in quarantine already.
    pub downloaded: bool,
}

/// Fetches what a row asks for. Every file of the set is in quarantine afterwards, or none counts.
///
/// A digest that quarantine holds is not downloaded again, whether the row pins it or the index names it.
///
/// # Errors
/// Why there is no set.
pub async fn fetch_row<I, D, Q>(
    source: &Source,
    pin: Option<&Sha256>,
    policy: &Policy,
    index: &I,
    downloader: &D,
    quarantine: &Q,
) -> Result<Fetched, Failure>
where
    I: PackageIndex,
    D: Downloader,
    Q: Quarantine,
{
    match source {
        Source::Url(url) => {
            let (filename, nothing) = (filename(source), Evidence::default());
            let mut artifact = fetch_file(filename, url, Origin::Row, pin, nothing, downloader, quarantine).await?;
            // Any URL can stand beside a digest: it is evidence only of what came from it.
            let notes = if artifact.downloaded {
                artifact.evidence.url = Some(plain(url));
                Vec::new()
            } else {
                vec![Reason::new(
                    "from-quarantine",
                    "the bytes with this SHA-256 were here already; the URL was not asked",
                )]
            };
            Ok(Fetched { artifacts: vec![artifact], notes })
        }
        Source::Pypi { name, version } => {
            let listed = index.files(name).await?;
            let (files, notes) = match pin {
                Some(pin) => pinned(select_pinned(&listed, name, version, pin)?),
                None => selected(select(&listed, name, version, &policy.targets)?),
            };
            let fetches = files.into_iter().map(|file| {
                let evidence = Evidence {
                    upload_time: file.upload_time,
                    yanked: file.yanked,
                    url: Some(plain(&file.url)),
                    requires_python: file.requires_python,
                };
                async move {
                    let digest = file.sha256.as_ref();
                    fetch_file(file.filename, &file.url, Origin::Index, digest, evidence, downloader, quarantine).await
                }
            });
            let artifacts = stream::iter(fetches).buffered(FILES_AT_ONCE).try_collect().await?;
            Ok(Fetched { artifacts, notes })
        }
        Source::File(name) => Err(Failure::new(
            FailureCode::NotFound,
            format!("{name} is a file on this machine, which is not fetched; scan it with: gate scan FILE"),
        )),
    }
}

fn pinned(file: IndexFile) -> (Vec<IndexFile>, Vec<Reason>) {
    let message = format!("the row pins {}, so that file alone was taken", file.filename);
    (vec![file], vec![Reason::new("pinned-file", &message)])
}

fn selected(selection: Selection) -> (Vec<IndexFile>, Vec<Reason>) {
    let Selection { files, uncovered, sdist } = selection;
    let mut notes = Vec::new();
    let wheels = files.iter().any(|file| file.filename.ends_with(".whl"));
    if sdist && !wheels {
        notes.push(Reason::new(
            "source-distribution",
            "the release has no wheel for the policy's targets, so its source distribution was taken; installing it runs \
             its build code",
        ));
    } else {
        notes.extend(uncovered.iter().map(|sentence| Reason::new("target-without-wheel", sentence)));
    }
    (files, notes)
}

async fn fetch_file<D: Downloader, Q: Quarantine>(
    filename: String,
    url: &Url,
    origin: Origin,
    expected: Option<&Sha256>,
    evidence: Evidence,
    downloader: &D,
    quarantine: &Q,
) -> Result<FetchedArtifact, Failure> {
    if let Some(digest) = expected
        && let Some(size) = quarantine.size(digest).await?
    {
        return Ok(FetchedArtifact { filename, digest: *digest, size, evidence, downloaded: false });
    }
    // The evidence keeps the URL that was asked for: where redirects end differs from day to day, and may hold a token.
    let got = downloader.download(url, origin, expected).await?;
    Ok(FetchedArtifact { filename, digest: got.digest, size: got.size, evidence, downloaded: true })
}

/// A URL without what may hold a secret or does not matter.
fn plain(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The file name that a source gives, made harmless: every character that is not allowed becomes `_`.
fn filename(source: &Source) -> String {
    let given = source.filename().unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '!') { c } else { '_' };
    let name: String = given.chars().map(safe).collect();
    // The end carries the type.
    let skip = name.len().saturating_sub(FILENAME_CHARS);
    let name = name[skip..].trim_start_matches(['.', '-']).to_owned();
    let device = name.parse::<gate_core::coordinates::PackageName>() == Err(gate_core::coordinates::BadName::Reserved);
    if name.is_empty() || device { format!("archive-{name}").trim_end_matches('-').to_owned() } else { name }
}

/// Whether the policy lets a row name this source's host; the sentence says why not.
///
/// # Errors
/// The reason that makes the row `invalid`.
pub fn check_source_host(source: &Source, policy: &Policy) -> Result<(), Reason> {
    let Source::Url(url) = source else { return Ok(()) };
    let host = url.host_str().unwrap_or_default();
    if policy.allows_source_host(host) {
        return Ok(());
    }
    let hosts: Vec<_> = policy.source_hosts.iter().map(String::as_str).collect();
    let message = format!(
        "the policy does not let a row name {host}; use one of {}, or a purl such as pkg:pypi/NAME@VERSION",
        hosts.join(", ")
    );
    Err(Reason::new("source-host-not-allowed", &message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_come_from_the_path_and_are_never_one() {
        for (url, name) in [
            ("https://h.example/d/six-1.16.0-py2.py3-none-any.whl?token=x#y", "six-1.16.0-py2.py3-none-any.whl"),
            ("https://h.example/o/r/archive/refs/heads/main.zip", "main.zip"),
            ("https://h.example/o/r/zipball/v1/", "v1"),
            ("https://h.example/a%2f..%2fb.zip", "a_.._b.zip"),
            ("https://h.example/%2e%2e%2fetc.zip", "_etc.zip"),
            ("https://h.example/a%00%0a%e2%80%ae.zip", "a___.zip"),
            ("https://h.example/.hidden.zip", "hidden.zip"),
            ("https://h.example/-rf.zip", "rf.zip"),
            ("https://h.example/%2e%2d", "archive"),
            ("https://h.example/con.zip", "archive-con.zip"),
            ("https://h.example/C:%5cx.zip", "C__x.zip"),
            ("https://h.example/", "archive"),
            ("https://h.example/p-1.0%2Bcpu-py3-none-any.whl", "p-1.0+cpu-py3-none-any.whl"),
        ] {
            assert_eq!(filename(&Source::Url(url.parse().unwrap())), name, "{url}");
        }
        let long = |length| filename(&Source::File(format!("{}.zip", "a".repeat(length - 4))));
        for length in [FILENAME_CHARS - 1, FILENAME_CHARS, FILENAME_CHARS + 1] {
            assert_eq!(long(length).len(), length.min(FILENAME_CHARS));
            assert!(long(length).ends_with(".zip"));
        }
    }

    #[test]
    fn a_stored_url_holds_no_query() {
        assert_eq!(plain(&"https://h.example/a.zip?sig=secret#x".parse().unwrap()), "https://h.example/a.zip");
    }
}
