//! A package repository in a directory: `FORMAT/NAME/VERSION/` holds the files of one release and its `release.json`.
//!
//! A release appears by renaming a complete folder into place, so that no reader ever sees half of one, and two programs that
//! publish the same coordinates cannot both succeed. Withdrawing adds `withdrawn.json`; nothing is deleted.

use std::io;
use std::path::{Path, PathBuf};

use gate_core::SCHEMA_VERSION;
use gate_core::coordinates::{Coordinates, Format};
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ArtifactReader, Begin, PackageRepository, PublishedFile};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

const RELEASE: &str = "release.json";
const WITHDRAWN: &str = "withdrawn.json";

/// The repository. The directory is made when it is first written to.
#[derive(Clone, Debug)]
pub struct DirectoryRepository {
    root: PathBuf,
}

/// A published set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What users install.
    pub coordinates: Coordinates,
    /// In the order of their names.
    pub files: Vec<PublishedFile>,
}

impl Release {
    /// What makes two releases the same: names and bytes.
    fn set(&self) -> Vec<(&str, Sha256)> {
        self.files.iter().map(|file| (file.filename.as_str(), file.sha256)).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct Withdrawal {
    schema_version: u32,
    reason: String,
}

/// A release on its way.
#[derive(Debug)]
pub struct Publication {
    release: Release,
    staging: TempDir,
    target: PathBuf,
    restores: bool,
}

impl DirectoryRepository {
    /// A repository below this directory.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The names of the projects with at least one release that is not withdrawn, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn projects(&self, format: Format) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for name in children(&self.root.join(format.as_str()))? {
            if !self.releases(format, &name)?.is_empty() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The releases of a project that are not withdrawn; empty when there is no such project.
    ///
    /// # Errors
    /// When the directory or a record cannot be read.
    pub fn releases(&self, format: Format, name: &str) -> io::Result<Vec<Release>> {
        if !is_safe(name) {
            return Ok(Vec::new());
        }
        let project = self.root.join(format.as_str()).join(name);
        let releases =
            children(&project)?.into_iter().filter(|version| !project.join(version).join(WITHDRAWN).exists());
        releases
            .map(|version| read_release(&project.join(version))?.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .collect()
    }

    /// The path of a file that users may download.
    ///
    /// # Errors
    /// When the directory or a record cannot be read.
    pub fn file(&self, format: Format, name: &str, version: &str, filename: &str) -> io::Result<Option<PathBuf>> {
        let releases = self.releases(format, name)?;
        let release = releases.iter().find(|release| release.coordinates.version == version);
        let file = release.and_then(|release| release.files.iter().find(|file| file.filename == filename));
        Ok(file.map(|file| {
            self.folder(&Coordinates { format, name: name.to_owned(), version: version.to_owned() })
                .join(&file.filename)
        }))
    }

    fn folder(&self, coordinates: &Coordinates) -> PathBuf {
        self.root.join(coordinates.format.as_str()).join(&coordinates.name).join(&coordinates.version)
    }

    fn begin_now(&self, coordinates: &Coordinates, files: &[PublishedFile]) -> io::Result<Begin<Publication>> {
        let names =
            [&coordinates.name, &coordinates.version].into_iter().chain(files.iter().map(|file| &file.filename));
        if let Some(name) = names.into_iter().find(|name| !is_safe(name)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{name}' cannot be a file name")));
        }
        let release =
            Release { schema_version: SCHEMA_VERSION, coordinates: coordinates.clone(), files: files.to_vec() };
        let target = self.folder(coordinates);
        let mut restores = false;
        if let Some(published) = read_release(&target)? {
            let set = |release: &Release| -> Vec<_> {
                release.files.iter().map(|file| (file.filename.clone(), file.sha256)).collect()
            };
            if set(&published) != set(&release) {
                return Ok(Begin::Taken);
            }
            restores = target.join(WITHDRAWN).exists();
            if !restores {
                return Ok(Begin::Published);
            }
        }
        std::fs::create_dir_all(&self.root)?;
        let staging = tempfile::Builder::new().prefix(".staging-").tempdir_in(&self.root)?;
        Ok(Begin::Reserved(Publication { release, staging, target, restores }))
    }
}

impl PackageRepository for DirectoryRepository {
    type Publication = Publication;

    async fn begin(&self, coordinates: &Coordinates, files: &[PublishedFile]) -> Result<Begin<Publication>, Failure> {
        self.begin_now(coordinates, files).map_err(storage)
    }

    async fn put<R: ArtifactReader>(
        &self,
        publication: &mut Publication,
        file: &PublishedFile,
        mut bytes: R,
    ) -> Result<(), Failure> {
        let path = publication.staging.path().join(&file.filename);
        let mut out = tokio::fs::File::create_new(&path).await.map_err(storage)?;
        let mut hasher = sha2::Sha256::new();
        while let Some(chunk) = bytes.next().await? {
            hasher.update(&chunk);
            out.write_all(&chunk).await.map_err(storage)?;
        }
        out.flush().await.map_err(storage)?;
        let stored = Sha256::finish(hasher);
        if stored != file.sha256 {
            let message = format!(
                "the stored bytes of {} have the SHA-256 {stored} and not {}; fetch it again",
                file.filename, file.sha256
            );
            return Err(Failure::new(FailureCode::DigestMismatch, message));
        }
        Ok(())
    }

    async fn commit(&self, publication: Publication) -> Result<(), Failure> {
        let Publication { release, staging, target, restores } = publication;
        let commit = || -> io::Result<()> {
            for file in &release.files {
                if !staging.path().join(&file.filename).is_file() {
                    return Err(io::Error::other(format!("{} was never put", file.filename)));
                }
            }
            if restores {
                return std::fs::remove_file(target.join(WITHDRAWN));
            }
            std::fs::write(staging.path().join(RELEASE), serde_json::to_vec_pretty(&release)?)?;
            if let Some(project) = target.parent() {
                std::fs::create_dir_all(project)?;
            }
            // Renaming onto a folder that is not empty fails: somebody else was faster.
            match std::fs::rename(staging.path(), &target) {
                Err(error) if read_release(&target)?.is_none_or(|there| there.set() != release.set()) => Err(error),
                _ => Ok(()),
            }
        };
        commit().map_err(storage)
    }

    async fn withdraw(&self, coordinates: &Coordinates, reason: &str) -> Result<(), Failure> {
        let folder = self.folder(coordinates);
        let withdraw = || -> io::Result<()> {
            if !is_safe(&coordinates.name) || !is_safe(&coordinates.version) || !folder.join(RELEASE).exists() {
                return Ok(());
            }
            let body =
                serde_json::to_vec_pretty(&Withdrawal { schema_version: SCHEMA_VERSION, reason: reason.to_owned() })?;
            let mut file = tempfile::NamedTempFile::new_in(&folder)?;
            io::Write::write_all(&mut file, &body)?;
            match file.persist_noclobber(folder.join(WITHDRAWN)) {
                Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
                _ => Ok(()),
            }
        };
        withdraw().map_err(storage)
    }
}

/// A name that is one component of a path and nothing else.
fn is_safe(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']) && !name.contains(char::is_control)
}

fn read_release(folder: &Path) -> io::Result<Option<Release>> {
    match std::fs::read(folder.join(RELEASE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(bytes) => {
            let release: Release = serde_json::from_slice(&bytes)?;
            if release.schema_version != SCHEMA_VERSION {
                return Err(io::Error::other(format!(
                    "{} is of an unknown schema version",
                    folder.join(RELEASE).display()
                )));
            }
            Ok(Some(release))
        }
    }
}

fn children(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok().filter(|name| is_safe(name)));
    }
    names.sort();
    Ok(names)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn storage(error: io::Error) -> Failure {
    Failure::new(FailureCode::Storage, format!("the package repository could not be used: {error}"))
}
