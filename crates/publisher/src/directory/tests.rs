use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gate_core::coordinates::{Coordinates, Format};
use gate_core::digest::Sha256;
use gate_core::evidence::Evidence;
use gate_core::failure::Failure;
use gate_core::ports::{ArtifactReader, Begin, PackageRepository as _, PublishedFile};
use tempfile::TempDir;

use super::files::STAGING_MAX_AGE;
use super::{DirectoryRepository, Publication, Release};

/// A file name and its bytes.
type Content<'a> = (&'a str, &'a str);

const A: Content<'_> = ("a.whl", "bytes of a");
const B: Content<'_> = ("b.whl", "bytes of b");
const C: Content<'_> = ("c.whl", "bytes of c");

struct World {
    folder: TempDir,
    repository: DirectoryRepository,
}

/// All bytes at once.
struct Whole(Option<Bytes>);

impl ArtifactReader for Whole {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        Ok(self.0.take())
    }
}

fn example() -> Coordinates {
    Coordinates::pypi("example", &"1.0".parse().unwrap())
}

fn generic(content: &str) -> Coordinates {
    Coordinates::generic(&"example".parse().unwrap(), &Sha256::of(content.as_bytes()))
}

fn file((filename, content): Content<'_>) -> PublishedFile {
    PublishedFile {
        filename: filename.to_owned(),
        sha256: Sha256::of(content.as_bytes()),
        size: content.len() as u64,
        evidence: Evidence::default(),
    }
}

/// A file as an index lists it.
fn listed(content: Content<'_>) -> PublishedFile {
    let evidence = Evidence { upload_time: Some("2024-01-02T03:04:05Z".parse().unwrap()), ..Evidence::default() };
    PublishedFile { evidence, ..file(content) }
}

/// What `begin` said; `Reserved` after everything was put.
async fn begin(
    repository: &DirectoryRepository,
    coordinates: &Coordinates,
    set: &[Content<'_>],
) -> Result<Begin<Publication>, Failure> {
    let files: Vec<_> = set.iter().copied().map(file).collect();
    let Begin::Reserved(mut publication) = repository.begin(coordinates, &files).await? else {
        return repository.begin(coordinates, &files).await;
    };
    for (file, (_, content)) in files.iter().zip(set) {
        repository.put(&mut publication, file, reader(content)).await?;
    }
    Ok(Begin::Reserved(publication))
}

fn reader(content: &str) -> Whole {
    Whole(Some(Bytes::copy_from_slice(content.as_bytes())))
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = DirectoryRepository::new(folder.path());
        Self { folder, repository }
    }

    async fn publish(&self, set: &[Content<'_>]) -> &'static str {
        self.publish_as(&example(), set).await
    }

    async fn publish_as(&self, coordinates: &Coordinates, set: &[Content<'_>]) -> &'static str {
        match begin(&self.repository, coordinates, set).await.unwrap() {
            Begin::Published => "published",
            Begin::Taken => "taken",
            Begin::Reserved(publication) => {
                self.repository.commit(publication).await.unwrap();
                "written"
            }
            // Files are added to a release, and what the gate has withdrawn it brings back itself.
            other @ (Begin::InPart(_) | Begin::Withdrawn) => panic!("{other:?}"),
        }
    }

    async fn says(&self, coordinates: &Coordinates, files: &[PublishedFile]) -> &'static str {
        match self.repository.begin(coordinates, files).await.unwrap() {
            Begin::Published => "published",
            Begin::Taken => "taken",
            Begin::Reserved(_) => "reserved",
            other @ (Begin::InPart(_) | Begin::Withdrawn) => panic!("{other:?}"),
        }
    }

    async fn withdraw(&self) {
        self.repository.withdraw(&example(), "a new advisory").await.unwrap();
    }

    fn release(&self) -> Option<Release> {
        self.repository.published(&example()).unwrap()
    }

    /// What users can download; panics when that is damaged.
    fn visible(&self) -> Vec<(String, String)> {
        visible(&self.repository)
    }

    fn path(&self, filename: &str) -> PathBuf {
        self.folder.path().join("pypi/example/1.0/files").join(filename)
    }
}

fn visible(repository: &DirectoryRepository) -> Vec<(String, String)> {
    let release = repository.published(&example()).unwrap();
    let files = release.into_iter().flat_map(|release| release.files);
    files
        .map(|file| {
            // Withdrawn since the record was read is no damage.
            let path = repository.file(&example(), &file.filename).unwrap();
            let content = path.map_or_else(String::new, |path| fs::read_to_string(path).unwrap());
            assert_eq!(Sha256::of(content.as_bytes()), file.sha256);
            (file.filename, content)
        })
        .collect()
}

fn owned(set: &[Content<'_>]) -> Vec<(String, String)> {
    set.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

/// Changes a file, a second after its release was published.
fn touch(path: &std::path::Path, content: &str) {
    fs::write(path, content).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
}

#[tokio::test]
async fn damaged_files_are_not_given_away_and_are_repaired() {
    let world = World::new();
    let damages: [fn(&std::path::Path); 5] = [
        |path| touch(path, "BYTES OF A"),
        |path| touch(path, "bytes of"),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::rename(path, path.with_extension("moved")).unwrap();
            std::os::unix::fs::symlink(path.with_extension("moved"), path).unwrap();
        },
        |path| fs::remove_dir_all(path.parent().unwrap()).unwrap(),
    ];
    assert_eq!(world.publish(&[A, B]).await, "written");
    for (at, damage) in damages.iter().enumerate() {
        assert_eq!(world.publish(&[A, B]).await, "published", "{at}");
        damage(&world.path(A.0));
        assert!(world.repository.file(&example(), A.0).is_err(), "{at}");
        assert_eq!(world.publish(&[A, B]).await, "written", "{at}");
        assert_eq!(world.visible(), owned(&[A, B]), "{at}");
    }
}

#[tokio::test]
async fn a_touched_file_is_hashed_and_an_untouched_one_is_believed() {
    let world = World::new();
    world.publish(&[A]).await;
    touch(&world.path(A.0), A.1);
    assert_eq!(world.publish(&[A]).await, "published");

    let record = world.folder.path().join("pypi/example/1.0/release.json");
    let written = fs::metadata(record).unwrap().modified().unwrap();
    for (after, says) in [(-1, "published"), (0, "published"), (1, "reserved")] {
        fs::write(world.path(A.0), A.1.to_uppercase()).unwrap();
        let modified =
            if after < 0 { written - Duration::from_millis(1) } else { written + Duration::from_millis(after as u64) };
        File::options().write(true).open(world.path(A.0)).unwrap().set_modified(modified).unwrap();
        assert_eq!(world.says(&example(), &[file(A)]).await, says, "{after}");
    }
}

#[tokio::test]
async fn a_damaged_file_outside_the_set_is_taken_out_of_the_index_until_it_is_repaired() {
    let world = World::new();
    world.publish(&[A, B]).await;
    touch(&world.path(B.0), "BYTES OF B");
    assert_eq!(world.publish(&[A]).await, "published");
    assert_eq!(world.publish(&[A, B, C]).await, "written");
    assert_eq!(world.visible(), owned(&[A, B, C]));

    touch(&world.path(B.0), "BYTES OF B");
    fs::remove_file(world.path(A.0)).unwrap();
    assert_eq!(world.publish(&[A]).await, "written");
    assert_eq!(world.visible(), owned(&[A, C]));
    assert_eq!(world.publish(&[(B.0, "other")]).await, "taken");
    assert_eq!(world.publish(&[B]).await, "written");
    assert_eq!(world.visible(), owned(&[A, B, C]));
}

#[tokio::test]
async fn what_is_withdrawn_comes_back_with_verified_bytes() {
    let world = World::new();
    world.publish(&[A, B]).await;
    world.withdraw().await;
    assert_eq!(world.release(), None);
    touch(&world.path(A.0), "BYTES OF A");
    assert_eq!(world.publish(&[A, B]).await, "written");
    assert_eq!(world.visible(), owned(&[A, B]));
}

#[tokio::test]
async fn only_what_is_approved_again_comes_back_and_the_rest_is_remembered() {
    let world = World::new();
    world.publish(&[A, B]).await;
    world.withdraw().await;
    assert_eq!(world.publish(&[A]).await, "written");
    assert_eq!(world.visible(), owned(&[A]));
    assert_eq!(world.repository.file(&example(), B.0).unwrap(), None);
    assert_eq!(world.publish(&[A, (B.0, "other")]).await, "taken");
    assert_eq!(world.publish(&[A, B]).await, "written");
    assert_eq!(world.visible(), owned(&[A, B]));
    assert_eq!(world.release().unwrap().retired, []);
}

#[tokio::test]
async fn archives_may_have_the_names_of_our_records() {
    let world = World::new();
    for name in ["release.json", "withdrawn.json", "files"] {
        let coordinates = generic(name);
        for says in ["written", "published"] {
            assert_eq!(world.publish_as(&coordinates, &[(name, name)]).await, says);
            let path = world.repository.file(&coordinates, name).unwrap().unwrap();
            assert_eq!(fs::read_to_string(path).unwrap(), name);
        }
    }
    assert_eq!(world.repository.releases(Format::Generic, "example").unwrap().len(), 3);
}

#[tokio::test]
async fn a_release_grows_by_more_files_and_never_changes_one() {
    let world = World::new();
    for (set, says, files) in [
        (&[A][..], "written", &[A][..]),
        (&[A, B], "written", &[A, B]),
        (&[A], "published", &[A, B]),
        (&[B], "published", &[A, B]),
        (&[A, B, ("c.whl", "c")], "written", &[A, B, ("c.whl", "c")]),
        (&[A, B, C], "taken", &[A, B, ("c.whl", "c")]),
        (&[(A.0, B.1)], "taken", &[A, B, ("c.whl", "c")]),
    ] {
        assert_eq!(world.publish(set).await, says, "{set:?}");
        assert_eq!(world.visible(), owned(files), "{set:?}");
    }
}

#[tokio::test]
async fn only_files_of_an_index_are_put_beside_others() {
    let elsewhere = |content| file(content);
    for (published, set, says) in [
        (vec![listed(A)], vec![listed(B)], "reserved"),
        (vec![elsewhere(A)], vec![listed(B)], "taken"),
        (vec![listed(A)], vec![elsewhere(B)], "taken"),
        (vec![elsewhere(A)], vec![elsewhere(B)], "taken"),
        (vec![elsewhere(A)], vec![elsewhere(A), elsewhere(B)], "reserved"),
        (vec![elsewhere(A), elsewhere(B)], vec![elsewhere(B), elsewhere(C)], "reserved"),
        (vec![elsewhere(A), elsewhere(B)], vec![elsewhere(C)], "taken"),
    ] {
        let world = World::new();
        let Begin::Reserved(mut publication) = world.repository.begin(&example(), &published).await.unwrap() else {
            panic!("not reserved")
        };
        for file in &published {
            let content = [A, B].into_iter().find(|(name, _)| *name == file.filename).unwrap().1;
            world.repository.put(&mut publication, file, reader(content)).await.unwrap();
        }
        world.repository.commit(publication).await.unwrap();
        assert_eq!(world.says(&example(), &set).await, says, "{published:?} {set:?}");
    }
}

#[tokio::test]
async fn one_generic_version_is_one_archive_under_any_name() {
    let world = World::new();
    let coordinates = generic("archive");
    assert_eq!(world.publish_as(&coordinates, &[("a.zip", "archive")]).await, "written");
    assert_eq!(world.publish_as(&coordinates, &[("b.zip", "a collision of 16 digits")]).await, "taken");
    assert_eq!(world.publish_as(&coordinates, &[("b.zip", "archive")]).await, "written");
    assert_eq!(world.repository.published(&coordinates).unwrap().unwrap().files.len(), 2);
}

#[tokio::test]
async fn what_the_index_says_later_is_written_down_without_new_bytes() {
    let world = World::new();
    world.publish(&[A, B]).await;
    let mut yanked = listed(A);
    yanked.evidence.yanked = Some("broken".to_owned());
    assert_eq!(world.says(&example(), &[yanked.clone()]).await, "published");
    let why = |world: &World| world.release().unwrap().files[0].evidence.yanked.clone();
    assert_eq!(why(&world).as_deref(), Some("broken"));
    // A row with a URL does not unsay it; the index may.
    assert_eq!(world.says(&example(), &[file(A)]).await, "published");
    assert_eq!(why(&world).as_deref(), Some("broken"));
    assert_eq!(world.says(&example(), &[listed(A)]).await, "published");
    assert_eq!(why(&world), None);
    assert_eq!(world.visible(), owned(&[A, B]));
}

#[tokio::test]
async fn wherever_a_writer_stops_users_see_sound_releases_and_the_next_run_ends_it() {
    let prepared = async |at: usize| {
        let world = World::new();
        if at > 0 {
            world.publish(&[A, B]).await;
        }
        match at {
            2 => touch(&world.path(A.0), "BYTES OF A"),
            3 => world.withdraw().await,
            _ => {}
        }
        world
    };
    // New; grown; repaired; restored and grown.
    for at in 0..4 {
        let before: &[Content<'_>] = if matches!(at, 0 | 3) { &[] } else { &[A, B] };
        let mut count = 0;
        loop {
            let world = prepared(at).await;
            let Begin::Reserved(publication) = begin(&world.repository, &example(), &[A, B, C]).await.unwrap() else {
                panic!("not reserved")
            };
            // The staging folder stays behind until the world ends, as when the program is killed.
            let steps = publication.steps(&world.repository).unwrap();
            for step in &steps[..count] {
                step.run().unwrap();
            }
            let all = count == steps.len();
            if at != 2 || count > 0 {
                let seen = world.visible();
                let whole = seen == owned(&[A, B, C]);
                assert!(whole || (seen == owned(before) && !all), "{at} {count} {seen:?}");
            }
            assert_eq!(world.publish(&[A, B, C]).await, if all { "published" } else { "written" }, "{at} {count}");
            assert_eq!(world.visible(), owned(&[A, B, C]));
            if all {
                break;
            }
            count += 1;
        }
        assert_eq!(count, if at == 3 { 5 } else { 4 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_and_readers_at_once_see_whole_releases_only() {
    let world = World::new();
    let sets: [&[Content<'_>]; 4] = [&[A], &[A, B], &[A, B, C], &[A, (B.0, "other"), C]];
    let mut tasks = Vec::new();
    for turn in 0..24 {
        let repository = world.repository.clone();
        let set = sets[turn % sets.len()];
        tasks.push(tokio::spawn(async move {
            // A rival may be faster: then begin or commit says so.
            if let Begin::Reserved(publication) = begin(&repository, &example(), set).await.unwrap() {
                let _ = repository.commit(publication).await;
            }
            for _ in 0..20 {
                let names: Vec<_> = visible(&repository).into_iter().map(|(name, _)| name).collect();
                assert!(names.is_empty() || names[0] == A.0, "{names:?}");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(world.visible()[0], owned(&[A])[0]);
    let leftovers = fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(leftovers.into_iter().all(|name| !name.to_str().unwrap().starts_with(".staging")));
}

#[tokio::test]
async fn a_withdrawal_while_a_set_is_copied_wins() {
    let world = World::new();
    world.publish(&[A]).await;
    let Begin::Reserved(publication) = begin(&world.repository, &example(), &[A, B]).await.unwrap() else {
        panic!("not reserved")
    };
    world.withdraw().await;
    assert!(world.repository.commit(publication).await.is_err());
    assert_eq!(world.release(), None);
}

#[tokio::test]
async fn a_file_that_was_refused_or_never_put_is_not_committed() {
    let world = World::new();
    for (wrong, size) in [("other", A.1.len()), (A.1, A.1.len() + 1)] {
        let expected = PublishedFile { size: size as u64, ..file(A) };
        let Begin::Reserved(mut publication) =
            world.repository.begin(&example(), std::slice::from_ref(&expected)).await.unwrap()
        else {
            panic!("not reserved")
        };
        assert!(world.repository.put(&mut publication, &expected, reader(wrong)).await.is_err());
        assert!(world.repository.put(&mut publication, &file(B), reader(B.1)).await.is_err());
        assert!(world.repository.commit(publication).await.is_err());
        assert_eq!(world.release(), None);
    }
    assert!(world.repository.begin(&example(), &[]).await.is_err());
    assert!(world.repository.begin(&example(), &[file(A), file(A)]).await.is_err());
}

#[tokio::test]
async fn what_killed_programs_left_is_swept_after_a_day() {
    let world = World::new();
    for (name, age) in [
        (".staging-old", STAGING_MAX_AGE + Duration::from_secs(60)),
        (".staging-young", STAGING_MAX_AGE - Duration::from_secs(60)),
        ("other", STAGING_MAX_AGE * 2),
    ] {
        let folder = world.folder.path().join(name);
        fs::create_dir_all(folder.join("files")).unwrap();
        File::open(folder).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }
    world.publish(&[A]).await;
    let left = |name| world.folder.path().join(name).exists();
    assert_eq!([".staging-old", ".staging-young", "other"].map(left), [false, true, true]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_the_trouble_of_its_project_alone() {
    let world = World::new();
    let other = Coordinates::pypi("other", &"1.0".parse().unwrap());
    world.publish(&[A]).await;
    world.publish_as(&other, &[A]).await;
    let record = world.folder.path().join("pypi/example/1.0/release.json");
    let good = fs::read_to_string(&record).unwrap();
    for bad in [
        String::new(),
        good.replace("\"schema_version\": 1", "\"schema_version\": 2"),
        good.replace("a.whl", "../a.whl"),
        good.replace("\"example\"", "\"other\""),
    ] {
        assert_ne!(bad, good);
        fs::write(&record, bad).unwrap();
        assert_eq!(world.repository.projects(Format::Pypi).unwrap(), ["other"]);
        assert!(world.repository.releases(Format::Pypi, "example").is_err());
        assert!(world.repository.begin(&example(), &[file(A)]).await.is_err());
    }
    assert_eq!(world.repository.releases(Format::Pypi, "other").unwrap().len(), 1);
}
