use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use gate_core::coordinates::PackageName;
use gate_core::digest::Sha256;
use gate_core::evidence::IndexFile;
use gate_core::ports::{Downloaded, Origin};
use gate_core::run::{Inputs, RETRY_FIRST, RowKey, RunId};
use gate_core::testing::{FixedClock, MemoryQuarantine, MemoryRecords};
use jiff::Timestamp;
use url::Url;

use super::*;

const URL: &str = "https://files.example/foo-1.0.zip";

/// An index of one project and a downloader of its files, whose bytes are their names.
struct Outside {
    files: Vec<String>,
    quarantine: MemoryQuarantine,
    downloads: AtomicUsize,
    failure: Option<Failure>,
    slow: bool,
}

impl PackageIndex for Outside {
    async fn files(&self, _: &PackageName) -> Result<Vec<IndexFile>, Failure> {
        let file = |name: &String| IndexFile {
            filename: name.clone(),
            url: format!("https://files.example/{name}").parse().unwrap(),
            sha256: Some(Sha256::of(name.as_bytes())),
            size: None,
            requires_python: None,
            upload_time: None,
            yanked: None,
            provenance: None,
        };
        Ok(self.files.iter().map(file).collect())
    }
}

impl Downloader for Outside {
    async fn download(&self, url: &Url, _: Origin, expected: Option<&Sha256>) -> Result<Downloaded, Failure> {
        self.downloads.fetch_add(1, Ordering::Relaxed);
        if self.slow {
            std::future::pending::<()>().await;
        }
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let name = url.path_segments().unwrap().next_back().unwrap().to_owned();
        let digest = Sha256::of(name.as_bytes());
        assert!(expected.is_none_or(|expected| *expected == digest));
        let size = name.len() as u64;
        self.quarantine.plant(digest, name);
        Ok(Downloaded { digest, size, url: url.clone() })
    }
}

struct World {
    records: MemoryRecords,
    outside: Outside,
    policy: Policy,
    ceiling: Ceiling,
    time: Duration,
    state: RowState,
    key: RowKey,
}

impl World {
    /// One row, `name,source,sha256,requester`.
    async fn of_row(row: &str) -> Self {
        let row = gate_core::request::parse(row.as_bytes()).unwrap().remove(0);
        let wanted = row.wanted.unwrap();
        let run = RunId::of_commit(1, "refs/heads/main", &"a".repeat(40), 1);
        let (state, key) = (RowState::new(run.row_key(row.line)), RowKey::of(&wanted));
        let document = RowDocument {
            schema_version: SCHEMA_VERSION,
            run,
            line: row.line,
            key: key.clone(),
            name: row.name,
            source: row.source,
            wanted: Some(wanted),
            told: BTreeSet::new(),
        };
        let records = MemoryRecords::default();
        run::keep_document(&records, &state.row, &document).await.unwrap();
        let outside = Outside {
            files: vec!["foo-1.0-py3-none-any.whl".to_owned()],
            quarantine: MemoryQuarantine::default(),
            downloads: AtomicUsize::new(0),
            failure: None,
            slow: false,
        };
        let policy = Policy::built_in().unwrap();
        Self { records, outside, policy, ceiling: Ceiling::new(1 << 20), time: TIME, state, key }
    }

    async fn fetch(&self) -> Result<RowState, StepError> {
        let ports = Ports {
            records: &self.records,
            index: &self.outside,
            downloader: &self.outside,
            quarantine: &self.outside.quarantine,
            clock: &FixedClock(Timestamp::UNIX_EPOCH),
            policy: &self.policy,
            ceiling: &self.ceiling,
            time: self.time,
            settings: self.settings(),
        };
        fetch(self.state.clone(), &ports).await
    }

    fn settings(&self) -> Sha256 {
        Inputs::fetch_settings("https://index.example/simple/", self.ceiling.bytes())
    }

    async fn document(&self, state: &RowState) -> FetchedDocument {
        assert_eq!((state.status, state.outcome.as_ref()), (Status::Fetched, None));
        run::read(&self.records, state.fetched.as_ref().unwrap()).await.unwrap()
    }

    /// Verdict, code, sentence and retry of the row's end.
    async fn end(&self) -> (Verdict, String, String, Option<Timestamp>) {
        let state = self.fetch().await.unwrap();
        assert_eq!((state.status, &state.fetched, state.row.as_str()), (Status::Ended, &None, self.state.row.as_str()));
        let ended: OutcomeDocument = run::read(&self.records, state.outcome.as_ref().unwrap()).await.unwrap();
        let [reason] = &ended.outcome.reasons[..] else { panic!("{ended:?}") };
        assert_eq!(
            (ended.outcome.line, &ended.decision, ended.inputs),
            (1, &None, Some(Inputs::of_fetch(&self.policy, self.settings())))
        );
        (ended.outcome.verdict, reason.code.clone(), reason.message.clone(), ended.again_at)
    }

    async fn fetched_documents(&self) -> usize {
        self.records.list("fetched/").await.unwrap().len()
    }
}

#[tokio::test]
async fn a_row_is_fetched_once_however_often_the_step_runs() {
    let pinned = format!("foo,{URL},{}", Sha256::of(b"foo-1.0.zip"));
    for (row, downloads) in [
        ("foo,pkg:pypi/foo@1.0", 1),
        (&format!("foo,pkg:pypi/foo@1.0,{}", Sha256::of(b"foo-1.0-py3-none-any.whl")), 1),
        // Without a digest nobody knows that the bytes are the same.
        (&format!("foo,{URL}"), 3),
        (&pinned, 1),
    ] {
        let world = World::of_row(row).await;
        let first = world.fetch().await.unwrap();
        for _ in 0..2 {
            assert_eq!(world.fetch().await, Ok(first.clone()), "{row}");
        }
        assert_eq!(world.outside.downloads.load(Ordering::Relaxed), downloads, "{row}");
        assert_eq!(world.fetched_documents().await, 1, "{row}");
        let document = world.document(&first).await;
        let [file] = &document.files[..] else { panic!("{document:?}") };
        assert!(file.evidence.url.is_some(), "{row}");
        assert_eq!(world.outside.quarantine.bytes(&file.sha256).unwrap(), file.filename.as_bytes());
        assert_eq!(file.size, file.filename.len() as u64);
    }
}

#[tokio::test]
async fn bytes_that_came_from_elsewhere_are_no_evidence_of_the_url() {
    let world = World::of_row(&format!("foo,{URL},{}", Sha256::of(b"foo-1.0.zip"))).await;
    world.outside.quarantine.plant(Sha256::of(b"foo-1.0.zip"), "foo-1.0.zip");
    let first = world.fetch().await.unwrap();
    assert_eq!(world.fetch().await, Ok(first.clone()));
    let document = world.document(&first).await;
    assert_eq!(document.files[0].evidence, gate_core::evidence::Evidence::default());
    assert_eq!(document.notes[0].code, "from-quarantine");
    // Taken out, it is fetched, and from then on that counts.
    let world = World { outside: Outside { quarantine: MemoryQuarantine::default(), ..world.outside }, ..world };
    let second = world.fetch().await.unwrap();
    assert_eq!(world.document(&second).await.files[0].evidence.url.as_deref(), Some(URL));
    assert_eq!(world.fetch().await, Ok(second));
    assert_eq!(world.fetched_documents().await, 2);
}

#[tokio::test]
async fn what_the_index_says_now_is_written_beside_what_it_said() {
    let mut world = World::of_row("foo,pkg:pypi/foo@1.0").await;
    let first = world.fetch().await.unwrap();
    world.outside.files = ["cp310", "cp311"].map(|tag| format!("foo-1.0-{tag}-{tag}-manylinux_2_17_x86_64.whl")).into();
    let second = world.fetch().await.unwrap();
    assert_ne!(first.fetched, second.fetched);
    let document = world.document(&second).await;
    assert_eq!(document.files.len(), 2);
    assert_eq!(document.notes[0].code, "target-without-wheel");
    assert_eq!(run::fetched(&world.records, &world.key).await.unwrap().unwrap().1, document);
}

#[tokio::test]
async fn a_failure_is_an_answer_or_a_fault_and_never_a_set() {
    for code in FailureCode::ALL {
        let mut world = World::of_row("foo,pkg:pypi/foo@1.0").await;
        world.outside.failure = Some(Failure::new(code, "h\u{202e}st said no"));
        if let Some(name) = gate_core::step::fault(code) {
            let error = world.fetch().await.unwrap_err();
            assert_eq!((error.name, error.message.as_str()), (name, "h\\u{202e}st said no"));
        } else {
            let again_at = code.is_retryable().then(|| Timestamp::UNIX_EPOCH + RETRY_FIRST);
            let said = (Verdict::Failed, code.as_str().to_owned(), "h\\u{202e}st said no".to_owned(), again_at);
            assert_eq!(world.end().await, said);
        }
        assert_eq!(world.fetched_documents().await, 0, "{code:?}");
    }
}

#[tokio::test]
async fn time_is_limited() {
    let mut world = World::of_row("foo,pkg:pypi/foo@1.0").await;
    world.outside.slow = true;
    world.time = Duration::from_millis(20);
    let (verdict, code, sentence, again_at) = world.end().await;
    assert_eq!((verdict, code.as_str(), again_at.is_some()), (Verdict::Failed, "too-slow", true));
    assert!(sentence.contains("20 milliseconds"), "{sentence}");
}

#[tokio::test]
async fn a_host_that_the_policy_does_not_let_a_row_name_is_invalid() {
    let mut world = World::of_row(&format!("foo,{URL}")).await;
    world.policy.source_hosts.insert("good.example".to_owned());
    let (verdict, code, _, again_at) = world.end().await;
    assert_eq!((verdict, code.as_str(), again_at), (Verdict::Invalid, "source-host-not-allowed", None));
    assert_eq!(world.outside.downloads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn stored_files_have_the_same_ceiling() {
    let length = "foo-1.0-py3-none-any.whl".len() as u64;
    for (ceiling, held) in [(length - 1, true), (length, false), (length + 1, false)] {
        let mut world = World::of_row("foo,pkg:pypi/foo@1.0").await;
        world.ceiling = Ceiling::new(ceiling);
        if held {
            let (verdict, code, sentence, again_at) = world.end().await;
            assert_eq!((verdict, code.as_str(), again_at), (Verdict::Held, "over-function-limit", None));
            assert!(sentence.contains("foo-1.0-py3-none-any.whl is larger than 23 bytes"), "{sentence}");
        } else {
            assert_eq!(world.fetch().await.unwrap().status, Status::Fetched);
        }
    }
}

#[tokio::test]
async fn a_row_over_the_ceiling_is_decided_again_when_that_is_raised() {
    let mut world = World::of_row("foo,pkg:pypi/foo@1.0").await;
    world.ceiling = Ceiling::new(1);
    let state = world.fetch().await.unwrap();
    let ended: OutcomeDocument = run::read(&world.records, state.outcome.as_ref().unwrap()).await.unwrap();
    assert!(ended.outcome.reasons[0].message.contains("raise MaxArtifactMiB"), "{:?}", ended.outcome.reasons);
    let run = RunId::of_commit(1, "refs/heads/main", &"a".repeat(40), 1);
    let (at, inputs, again_at) = (Timestamp::UNIX_EPOCH, ended.inputs, ended.again_at);
    let look = run::Look { schema_version: SCHEMA_VERSION, run, at, inputs, again_at };
    let in_force = |settings| Inputs::of(&world.policy, None, &[gate_core::testing::scanner()]).with_fetch(settings);
    assert!(!look.is_stale(&in_force(world.settings()), at));
    let index = "https://index.example/simple/";
    assert!(look.is_stale(&in_force(Inputs::fetch_settings(index, 1 << 20)), at));
    world.ceiling = Ceiling::new(1 << 20);
    assert_eq!(world.fetch().await.unwrap().status, Status::Fetched);
}

#[tokio::test]
async fn a_set_has_a_number_of_files_that_can_be_published() {
    for (count, held) in [(MAX_FILES - 1, false), (MAX_FILES, false), (MAX_FILES + 1, true)] {
        let mut world = World::of_row("foo,pkg:pypi/foo@1.0").await;
        let versions: Vec<_> = (10..10 + count).map(|minor| format!("3.{minor}")).collect();
        world.outside.files =
            (10..10 + count).map(|minor| format!("foo-1.0-cp3{minor}-cp3{minor}-manylinux_2_17_x86_64.whl")).collect();
        world.policy.targets.python = versions;
        world.policy.targets.machines = vec!["x86_64".to_owned()];
        if held {
            let (verdict, code, sentence, _) = world.end().await;
            assert_eq!((verdict, code.as_str()), (Verdict::Held, "over-function-limit"));
            assert!(sentence.contains("has 150 files") && sentence.contains("at most 149"), "{sentence}");
        } else {
            let state = world.fetch().await.unwrap();
            assert_eq!(world.document(&state).await.files.len(), count);
        }
    }
}

#[tokio::test]
async fn a_row_that_is_not_new_or_has_no_document_is_a_fault() {
    let world = World::of_row("foo,pkg:pypi/foo@1.0").await;
    for status in Status::ALL.into_iter().filter(|status| *status != Status::New) {
        let world =
            World { state: RowState { status, ..world.state.clone() }, ..World::of_row("foo,pkg:pypi/foo@1.0").await };
        assert_eq!(world.fetch().await.unwrap_err().name, ErrorName::BadInput, "{status:?}");
    }
    let missing = World { state: RowState::new("runs/a/rows/000009.json"), ..world };
    assert_eq!(missing.fetch().await.unwrap_err().name, ErrorName::Corrupt);
}

#[test]
fn the_environment_holds_no_password() {
    assert_eq!(index_url("https://i.example/simple").unwrap().base().as_str(), "https://i.example/simple/");
    for bad in ["https://jane:s3cret@i.example/simple/", "https://jane@i.example/", "i.example", ""] {
        let error = index_url(bad).unwrap_err();
        assert_eq!(error.name, ErrorName::Configuration, "{bad}");
        assert!(!error.message.contains("s3cret") && error.message.contains("INDEX_URL"), "{error}");
    }
}
