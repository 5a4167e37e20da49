//! A package repository in a directory: `FORMAT/NAME/VERSION/` holds `release.json`, and the files of the release in `files/`.
//!
//! Users see what `release.json` lists, and nothing else: files are moved in first, each complete and verified, and the record
//! is replaced last, by a rename. So a reader never sees half of a set, wherever a writer stops. Writers take turns by a lock
//! that the kernel frees when a program ends. Withdrawing adds `withdrawn.json`, which hides the release; nothing is deleted.

mod files;
mod publication;
mod release;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gate_core::SCHEMA_VERSION;
use gate_core::coordinates::{Coordinates, Format};
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ArtifactReader, Begin, PackageRepository, PublishedFile};
use serde::{Deserialize, Serialize};

pub use publication::Publication;
use release::Relation;
pub use release::Release;

const RELEASE: &str = "release.json";
const WITHDRAWN: &str = "withdrawn.json";
const FILES: &str = "files";
const LOCK: &str = ".lock";

/// The repository. The directory is made when it is first written to.
#[derive(Clone, Debug)]
pub struct DirectoryRepository {
    root: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Withdrawal {
    schema_version: u32,
    reason: String,
}

/// What is stored under some coordinates.
struct State {
    record: Option<Record>,
    /// The document that hides the release.
    withdrawal: Option<Vec<u8>>,
}

struct Record {
    release: Release,
    /// Files that were not changed since were sound when the record was written.
    written: SystemTime,
}

impl DirectoryRepository {
    /// A repository below this directory.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The names of the projects with at least one release that is not withdrawn, sorted. A project with a record that cannot
    /// be read is left out: [`Self::releases`] says what is wrong with it.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn projects(&self, format: Format) -> io::Result<Vec<String>> {
        let mut names = children(&self.root.join(format.as_str()))?;
        names.retain(|name| self.releases(format, name).is_ok_and(|releases| !releases.is_empty()));
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
        let versions = children(&self.root.join(format.as_str()).join(name))?.into_iter();
        versions
            .filter_map(|version| self.published(&Coordinates { format, name: name.to_owned(), version }).transpose())
            .collect()
    }

    /// What users see under these coordinates; none when nothing was published, or it is withdrawn.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn published(&self, coordinates: &Coordinates) -> io::Result<Option<Release>> {
        let State { record, withdrawal } = self.state(coordinates)?;
        Ok(record.filter(|_| withdrawal.is_none()).map(|record| record.release))
    }

    /// The path of a file that users may download; none when no release lists it.
    ///
    /// # Errors
    /// When a record cannot be read, and when the file is missing or no longer has its published bytes.
    pub fn file(&self, coordinates: &Coordinates, filename: &str) -> io::Result<Option<PathBuf>> {
        let State { record: Some(Record { release, written }), withdrawal: None } = self.state(coordinates)? else {
            return Ok(None);
        };
        let Some(file) = release.file(filename) else { return Ok(None) };
        let folder = self.folder(coordinates).join(FILES);
        if files::is_sound(&folder, file, written)? {
            return Ok(Some(folder.join(filename)));
        }
        let message = format!("{filename} of {coordinates} is damaged; check its request again to repair it");
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }

    fn folder(&self, coordinates: &Coordinates) -> PathBuf {
        self.root.join(coordinates.format.as_str()).join(&coordinates.name).join(&coordinates.version)
    }

    /// What is stored. The withdrawal is read first: while a withdrawn release is published again, its record changes first.
    fn state(&self, coordinates: &Coordinates) -> io::Result<State> {
        if !is_safe(&coordinates.name) || !is_safe(&coordinates.version) {
            return Ok(State { record: None, withdrawal: None });
        }
        let folder = self.folder(coordinates);
        let withdrawal = optional(std::fs::read(folder.join(WITHDRAWN)))?;
        Ok(State { record: read_record(&folder.join(RELEASE), coordinates)?, withdrawal })
    }

    /// Waits for its turn to write; the turn ends when the file is dropped, or the program ends.
    fn turn(&self) -> io::Result<std::fs::File> {
        std::fs::create_dir_all(&self.root)?;
        let lock = std::fs::OpenOptions::new().create(true).append(true).open(self.root.join(LOCK))?;
        lock.lock()?;
        Ok(lock)
    }

    fn begin_now(&self, coordinates: &Coordinates, set: &[PublishedFile]) -> io::Result<Begin<Publication>> {
        check_names(coordinates, set)?;
        files::sweep(&self.root);
        let state = self.state(coordinates)?;
        if let Some(Record { release, written }) = &state.record {
            match release.relation(set) {
                Relation::Conflicts => return Ok(Begin::Taken),
                Relation::Covered if state.withdrawal.is_none() && self.are_sound(coordinates, set, *written)? => {
                    self.refresh(coordinates, set, release)?;
                    return Ok(Begin::Published);
                }
                Relation::Covered | Relation::Extends => {}
            }
        }
        let staging = files::staging(&self.root)?;
        Ok(Begin::Reserved(Publication::new(Release::new(coordinates, set), staging, state.withdrawal)?))
    }

    fn are_sound(&self, coordinates: &Coordinates, set: &[PublishedFile], written: SystemTime) -> io::Result<bool> {
        let folder = self.folder(coordinates).join(FILES);
        for file in set {
            if !files::is_sound(&folder, file, written)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes down what an index says today of files that are published already, such as that they were yanked.
    fn refresh(&self, coordinates: &Coordinates, set: &[PublishedFile], seen: &Release) -> io::Result<()> {
        let same = seen.with(set, |_| io::Result::Ok(true))?;
        if same == *seen {
            return Ok(());
        }
        let _turn = self.turn()?;
        let state = self.state(coordinates)?;
        if let State { record: Some(Record { release, .. }), withdrawal: None } = &state
            && release.relation(set) == Relation::Covered
        {
            let staging = files::staging(&self.root)?;
            let next = self.next(&state, &Release::new(coordinates, set))?;
            let from = files::write_record(staging.path(), RELEASE, &next)?;
            files::Step::Move { from, to: self.folder(coordinates).join(RELEASE) }.run()?;
        }
        Ok(())
    }

    /// The record that publishing a set leads to. Whatever it lists besides the set is sound now.
    fn next(&self, state: &State, set: &Release) -> io::Result<Release> {
        let Some(Record { release, written }) = &state.record else { return Ok(set.clone()) };
        let folder = self.folder(&set.coordinates).join(FILES);
        release.with(&set.files, |file| Ok(state.withdrawal.is_none() && files::is_sound(&folder, file, *written)?))
    }

    /// Hides a published set again, for a reason; what is not published is a success. The record stays, and approving the set
    /// again brings it back.
    ///
    /// # Errors
    /// [`FailureCode::Storage`] when the directory cannot be read or written.
    pub async fn withdraw(&self, coordinates: &Coordinates, reason: &str) -> Result<(), Failure> {
        let (repository, coordinates, reason) = (self.clone(), coordinates.clone(), reason.to_owned());
        blocking(move || repository.withdraw_now(&coordinates, &reason)).await
    }

    fn withdraw_now(&self, coordinates: &Coordinates, reason: &str) -> io::Result<()> {
        let folder = self.folder(coordinates);
        let safe = is_safe(&coordinates.name) && is_safe(&coordinates.version);
        if !safe || !folder.join(RELEASE).try_exists()? {
            return Ok(());
        }
        let _turn = self.turn()?;
        if folder.join(WITHDRAWN).try_exists()? {
            return Ok(());
        }
        let staging = files::staging(&self.root)?;
        let withdrawal = Withdrawal { schema_version: SCHEMA_VERSION, reason: reason.to_owned() };
        let from = files::write_record(staging.path(), WITHDRAWN, &withdrawal)?;
        files::Step::Move { from, to: folder.join(WITHDRAWN) }.run()
    }
}

impl PackageRepository for DirectoryRepository {
    type Publication = Publication;

    async fn begin(&self, coordinates: &Coordinates, files: &[PublishedFile]) -> Result<Begin<Publication>, Failure> {
        let (repository, coordinates, files) = (self.clone(), coordinates.clone(), files.to_vec());
        blocking(move || repository.begin_now(&coordinates, &files)).await
    }

    async fn put<R: ArtifactReader>(
        &self,
        publication: &mut Publication,
        file: &PublishedFile,
        bytes: R,
    ) -> Result<(), Failure> {
        publication.put(file, bytes).await
    }

    async fn commit(&self, publication: Publication) -> Result<(), Failure> {
        let repository = self.clone();
        blocking(move || {
            let _turn = repository.turn()?;
            publication.steps(&repository)?.iter().try_for_each(files::Step::run)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(storage)
}

/// A name that is one component of a path and nothing else.
fn is_safe(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']) && !name.contains(char::is_control)
}

fn check_names(coordinates: &Coordinates, set: &[PublishedFile]) -> io::Result<()> {
    let fault = |fault: String| Err(io::Error::new(io::ErrorKind::InvalidInput, fault));
    let mut names: Vec<_> = set.iter().map(|file| &file.filename).collect();
    if let Some(name) = [&coordinates.name, &coordinates.version].iter().chain(&names).find(|name| !is_safe(name)) {
        return fault(format!("'{name}' cannot be a file name"));
    }
    names.sort();
    names.dedup();
    if names.len() != set.len() || set.is_empty() {
        return fault(format!("a release of {} files cannot have {} names", set.len(), names.len()));
    }
    Ok(())
}

fn read_record(path: &Path, coordinates: &Coordinates) -> io::Result<Option<Record>> {
    let Some(bytes) = optional(std::fs::read(path))? else { return Ok(None) };
    let fault = |fault: &str| {
        let remedy = "move its folder away and check the request again";
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} {fault}; {remedy}", path.display())))
    };
    let release: Release = match serde_json::from_slice(&bytes) {
        Ok(release) => release,
        Err(error) => return fault(&format!("is not the record of a release ({error})")),
    };
    if release.schema_version != SCHEMA_VERSION {
        return fault("is of an unknown schema version");
    }
    if release.coordinates != *coordinates || !release.known().all(|file| is_safe(&file.filename)) {
        return fault("is the record of something else");
    }
    Ok(Some(Record { release, written: std::fs::metadata(path)?.modified()? }))
}

/// None for what does not exist.
fn optional<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        result => result.map(Some),
    }
}

fn children(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in optional(std::fs::read_dir(folder))?.into_iter().flatten() {
        names.extend(entry?.file_name().into_string().ok().filter(|name| is_safe(name)));
    }
    names.sort();
    Ok(names)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn storage(error: io::Error) -> Failure {
    Failure::new(FailureCode::Storage, format!("the package repository could not be used: {error}"))
}
