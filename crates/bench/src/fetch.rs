//! Fetches the corpus from the machine's Python index, once. Nothing of it is ever run: a source distribution is downloaded as a
//! file, never asked to build itself.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use gate_core::coordinates::PackageName;
use gate_core::digest::Sha256;
use gate_core::evidence::IndexFile;
use gate_core::failure::{Failure, FailureCode};
use gate_core::policy::Policy;
use gate_core::ports::{ArtifactReader, ArtifactWriter, Downloader as _, Origin, PackageIndex as _, Quarantine};
use gate_core::source::DistributionFilename;
use gate_fetcher::{Http, HttpDownloader, HttpLimits, SimpleIndex, ThisMachine, find_index};
use zip::write::SimpleFileOptions;

use crate::corpus::{Corpus, Counts, Entry, ONE, RELEASES, Release};
use crate::result::note;
use crate::work::digest_path;

/// Everything, from disk where it is there already.
pub(crate) fn corpus(folder: &Path, index_url: Option<&str>) -> Result<Corpus> {
    std::fs::create_dir_all(folder)?;
    let source = Source::new(folder, index_url)?;
    let mut entries = Vec::new();
    for release in RELEASES {
        entries.push(entry(folder, &release, &source).with_context(|| release.name)?);
    }
    let wheel = source.fetch(&ONE, true).context("the wheel")?;
    let wheel_sha256 = Sha256::of(&std::fs::read(&wheel)?).to_string();
    Ok(Corpus { entries, wheel, wheel_sha256 })
}

fn entry(folder: &Path, release: &Release, source: &Source) -> Result<Entry> {
    let stem = format!("{}-{}", release.name, release.version);
    let zip = folder.join(format!("{stem}.zip"));
    let tree = folder.join("trees").join(&stem);
    let counts_path = folder.join(format!("{stem}.json"));
    if !counts_path.exists() {
        let sdist = source.fetch(release, false)?;
        repack(&sdist, &zip)?;
        let counts = unpack(&zip, &tree)?;
        std::fs::write(digest_path(&zip), Sha256::of(&std::fs::read(&zip)?).to_string())?;
        std::fs::write(&counts_path, serde_json::to_vec(&counts)?)?;
    }
    let counts = serde_json::from_slice(&std::fs::read(&counts_path)?)?;
    Ok(Entry { sets: release.sets, zip, tree, counts })
}

/// The index, through the gate's own fetcher.
struct Source {
    runtime: tokio::runtime::Runtime,
    folder: PathBuf,
    index: SimpleIndex,
    downloader: HttpDownloader<Folder>,
}

impl Source {
    fn new(folder: &Path, index_url: Option<&str>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let policy = Policy::built_in()?;
        let found = find_index(index_url, &ThisMachine)?;
        let http = Arc::new(Http::system(&policy.network, Some(found.url), HttpLimits::of_policy(&policy.limits))?);
        let downloads = folder.join("downloads");
        std::fs::create_dir_all(&downloads)?;
        let index = SimpleIndex::new(Arc::clone(&http));
        let downloader = HttpDownloader::new(http, Arc::new(Folder(downloads.clone())), &policy.limits);
        Ok(Self { runtime, folder: downloads, index, downloader })
    }

    /// The path of a release's wheel or source distribution.
    fn fetch(&self, release: &Release, wheel: bool) -> Result<PathBuf> {
        // Kept beside the bytes: what the index said last time, so that a second run needs no network.
        let known =
            self.folder.join(format!("{}-{}.{}", release.name, release.version, if wheel { "whl" } else { "sdist" }));
        if known.exists() {
            return Ok(known);
        }
        note(&format!("fetching {} {}", release.name, release.version))?;
        let name: PackageName = release.name.parse()?;
        let files = self.runtime.block_on(self.index.files(&name))?;
        let Some(file) = files.iter().find(|file| is_wanted(file, release, wheel)) else {
            bail!("the index has no such file of {} {}", release.name, release.version);
        };
        let expected = file.sha256.as_ref().context("the index gives no SHA-256")?;
        let done = self.runtime.block_on(self.downloader.download(&file.url, Origin::Index, Some(expected)))?;
        std::fs::rename(self.folder.join(done.digest.to_string()), &known)?;
        Ok(known)
    }
}

fn is_wanted(file: &IndexFile, release: &Release, wheel: bool) -> bool {
    let Some(name) = DistributionFilename::parse(&file.filename) else { return false };
    name.is_wheel() == wheel && release.version.parse().is_ok_and(|version: pep440_rs::Version| version == name.version)
}

/// Where downloads land, by digest.
struct Folder(PathBuf);

struct Incoming {
    folder: PathBuf,
    file: tempfile::NamedTempFile,
}

struct Outgoing(File);

fn storage(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureCode::Storage, error.to_string())
}

impl Quarantine for Folder {
    type Writer = Incoming;
    type Reader = Outgoing;

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, Failure> {
        Ok(std::fs::metadata(self.0.join(digest.to_string())).ok().map(|metadata| metadata.len()))
    }

    async fn create(&self) -> Result<Incoming, Failure> {
        let file = tempfile::NamedTempFile::new_in(&self.0).map_err(storage)?;
        Ok(Incoming { folder: self.0.clone(), file })
    }

    async fn open(&self, digest: &Sha256) -> Result<Outgoing, Failure> {
        File::open(self.0.join(digest.to_string())).map(Outgoing).map_err(storage)
    }

    async fn discard_damaged(&self, digest: &Sha256) -> Result<bool, Failure> {
        let path = self.0.join(digest.to_string());
        let damaged = path.exists() && Sha256::of(&std::fs::read(&path).map_err(storage)?) != *digest;
        if damaged {
            std::fs::remove_file(path).map_err(storage)?;
        }
        Ok(damaged)
    }
}

impl ArtifactWriter for Incoming {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.file.write_all(&bytes).map_err(storage)
    }

    async fn keep(self, digest: &Sha256) -> Result<(), Failure> {
        self.file.persist(self.folder.join(digest.to_string())).map(drop).map_err(storage)
    }
}

impl ArtifactReader for Outgoing {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut chunk = Vec::new();
        (&mut self.0).take(1 << 20).read_to_end(&mut chunk).map_err(storage)?;
        Ok((!chunk.is_empty()).then(|| chunk.into()))
    }
}

/// The regular files of a source distribution as a zip.
fn repack(sdist: &Path, target: &Path) -> Result<()> {
    let scratch = tempfile::NamedTempFile::new_in(target.parent().context("no folder")?)?;
    let mut zip = zip::ZipWriter::new(BufWriter::new(scratch));
    let options =
        SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated).compression_level(Some(6));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(File::open(sdist)?)));
    let mut seen = std::collections::HashSet::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if !entry.header().entry_type().is_file() || !is_plain(&path) {
            continue;
        }
        let name = path.to_str().context("a name that is not UTF-8")?.to_owned();
        if seen.insert(name.clone()) {
            zip.start_file(name, options)?;
            io::copy(&mut entry, &mut zip)?;
        }
    }
    let scratch = zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    scratch.persist(target)?;
    Ok(())
}

/// Writes what the peers read, and counts everything.
fn unpack(zip: &Path, target: &Path) -> Result<Counts> {
    let mut counts = Counts { zip_bytes: std::fs::metadata(zip)?.len(), ..Counts::default() };
    if target.exists() {
        std::fs::remove_dir_all(target)?;
    }
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(zip)?))?;
    let mut bytes = Vec::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        bytes.clear();
        member.read_to_end(&mut bytes)?;
        counts.files += 1;
        counts.bytes += bytes.len() as u64;
        let path = PathBuf::from(member.name());
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if extension == "py" {
            counts.python_files += 1;
            counts.python_bytes += bytes.len() as u64;
            counts.python_lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        // No configuration of theirs: the peers would obey it.
        if matches!(extension, "py" | "pyi" | "ipynb") && is_plain(&path) {
            let path = target.join(path);
            std::fs::create_dir_all(path.parent().context("no folder")?)?;
            std::fs::write(path, &bytes)?;
        }
    }
    Ok(counts)
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_folder_are_plain() {
        assert!(is_plain(Path::new("six-1.16.0/six.py")));
        for path in ["/etc/passwd", "../x", "a/../../x"] {
            assert!(!is_plain(Path::new(path)), "{path}");
        }
    }
}
