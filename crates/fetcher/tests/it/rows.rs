//! Whole rows: what is fetched, and what is not fetched again.

use std::sync::Arc;

use gate_core::digest::Sha256;
use gate_core::evidence::Evidence;
use gate_core::failure::{Failure, FailureCode};
use gate_core::policy::Policy;
use gate_fetcher::{Fetched, HttpDownloader, NOTE_CODES, SimpleIndex, check_source_host, fetch_row};

use crate::world::{Server, Step, World, answer, archive, ok, script};

/// An index with one project, whose files are made from their names.
struct Shop {
    world: World,
    server: Server,
}

fn bytes_of(filename: &str) -> Vec<u8> {
    archive(600 + filename.len())
}

async fn shop(filenames: &[&str]) -> Shop {
    let mut links = String::new();
    for name in filenames {
        links += &format!(
            "<a href='/f/{name}#sha256={}' data-requires-python='&gt;=3.8' data-upload-time='2024-01-02T03:04:05Z'>{name}</a>",
            Sha256::of(&bytes_of(name))
        );
    }
    let mut world = World::new();
    let server = world
        .serve(
            "index.example",
            script(move |head, _| {
                let path = head.split(' ').nth(1).unwrap();
                let reply = match path.strip_prefix("/f/") {
                    Some(name) => ok(&bytes_of(name)),
                    None => answer("200 OK", "content-type: text/html\r\n", links.as_bytes()),
                };
                vec![Step::Send(reply)]
            }),
        )
        .await;
    world.index = Some(server.url("/simple"));
    Shop { world, server }
}

impl Shop {
    async fn fetch(&self, source: &str, pin: Option<&Sha256>) -> Result<Fetched, Failure> {
        let http = self.world.http();
        let index = SimpleIndex::new(Arc::clone(&http));
        let quarantine = Arc::clone(&self.world.quarantine);
        let downloader = HttpDownloader::new(http, Arc::clone(&quarantine), &self.world.limits);
        let policy = Policy::built_in().unwrap();
        fetch_row(&source.parse().unwrap(), pin, &policy, &index, &downloader, &*quarantine).await
    }

    fn downloads(&self) -> Vec<String> {
        let path = |head: &String| Some(head.split(' ').nth(1)?.strip_prefix("/f/")?.to_owned());
        let mut all: Vec<_> = self.server.heads().iter().filter_map(path).collect();
        all.sort();
        all
    }
}

const X86: &str = "foo-1.0-cp310-abi3-manylinux_2_17_x86_64.whl";
const ARM: &str = "foo-1.0-cp310-abi3-manylinux_2_17_aarch64.whl";
const MAC: &str = "foo-1.0-cp310-abi3-macosx_11_0_arm64.whl";
const SDIST: &str = "foo-1.0.tar.gz";

#[tokio::test]
async fn a_purl_leads_to_the_wheels_of_its_targets() {
    let shop = shop(&[SDIST, X86, MAC, ARM]).await;
    let fetched = shop.fetch("pkg:pypi/Foo@1.0", None).await.unwrap();
    let names: Vec<_> = fetched.artifacts.iter().map(|artifact| artifact.filename.as_str()).collect();
    assert_eq!(names, [ARM, X86]);
    assert_eq!(shop.downloads(), [ARM, X86]);
    assert!(fetched.notes.is_empty(), "{:?}", fetched.notes);
    for artifact in &fetched.artifacts {
        let bytes = bytes_of(&artifact.filename);
        assert_eq!((artifact.digest, artifact.size), (Sha256::of(&bytes), bytes.len() as u64));
        assert!(shop.world.kept(&bytes));
        let evidence = &artifact.evidence;
        assert_eq!(evidence.upload_time, "2024-01-02T03:04:05Z".parse().ok());
        assert_eq!(evidence.requires_python.as_deref(), Some(">=3.8"));
        assert_eq!(evidence.url, Some(shop.server.url(&format!("/f/{}", artifact.filename))));
    }
}

#[tokio::test]
async fn the_second_time_nothing_is_downloaded_and_the_answer_is_the_same() {
    let shop = shop(&[X86, ARM]).await;
    let mut first = shop.fetch("pkg:pypi/foo@1.0", None).await.unwrap();
    let second = shop.fetch("pkg:pypi/foo@1.0", None).await.unwrap();
    assert_eq!(shop.downloads().len(), 2);
    assert!(first.artifacts.iter().all(|artifact| artifact.downloaded));
    first.artifacts.iter_mut().for_each(|artifact| artifact.downloaded = false);
    assert_eq!(first, second);
}

#[tokio::test]
async fn notes_say_what_is_missing() {
    let codes = |fetched: &Fetched| fetched.notes.iter().map(|note| note.code.clone()).collect::<Vec<_>>();
    let partly = shop(&[X86, SDIST]).await.fetch("pkg:pypi/foo@1.0", None).await.unwrap();
    assert_eq!(codes(&partly), ["target-without-wheel"; 4]);
    assert_eq!(partly.notes[0].message, "no wheel for CPython 3.10 on aarch64");
    let sdist = shop(&[MAC, SDIST]).await.fetch("pkg:pypi/foo@1.0", None).await.unwrap();
    assert_eq!((codes(&sdist), sdist.artifacts[0].filename.as_str()), (vec!["source-distribution".to_owned()], SDIST));
    let failure = shop(&[MAC]).await.fetch("pkg:pypi/foo@1.0", None).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::NoUsableFile);
}

#[tokio::test]
async fn a_pinned_purl_is_one_file_of_the_release() {
    let shop = shop(&[X86, ARM, MAC]).await;
    let pin = Sha256::of(&bytes_of(MAC));
    for _ in 0..2 {
        let fetched = shop.fetch("pkg:pypi/foo@1.0", Some(&pin)).await.unwrap();
        assert_eq!((fetched.artifacts.len(), fetched.artifacts[0].filename.as_str()), (1, MAC));
        assert_eq!(fetched.notes[0].code, "pinned-file");
    }
    assert_eq!(shop.downloads(), [MAC]);
    let failure = shop.fetch("pkg:pypi/foo@1.0", Some(&Sha256::of(b"x"))).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::DigestMismatch);
}

#[tokio::test]
async fn one_file_that_fails_fails_the_row() {
    let shop = shop(&[X86, ARM]).await;
    let mut shop = shop;
    shop.world.limits.file_bytes = bytes_of(X86).len() as u64;
    let failure = shop.fetch("pkg:pypi/foo@1.0", None).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::TooLarge);
}

#[tokio::test]
async fn a_url_row_is_one_file_and_a_stored_pin_is_not_fetched() {
    let shop = shop(&[]).await;
    let url = shop.server.url("/f/thing-1.0.zip?token=x");
    let bytes = bytes_of("thing-1.0.zip?token=x");
    let digest = Sha256::of(&bytes);
    let artifact = |fetched: Fetched| {
        let [artifact] = &fetched.artifacts[..] else { panic!("{fetched:?}") };
        assert_eq!((artifact.filename.as_str(), artifact.digest), ("thing-1.0.zip", digest));
        assert_eq!(artifact.size, bytes.len() as u64);
        (artifact.clone(), fetched.notes)
    };
    // The first run pins what is not stored yet, the second pins nothing: both ask the URL.
    for pin in [Some(&digest), None] {
        let (artifact, notes) = artifact(shop.fetch(&url, pin).await.unwrap());
        assert_eq!(artifact.evidence.url, Some(shop.server.url("/f/thing-1.0.zip")));
        assert!(artifact.downloaded && notes.is_empty(), "{notes:?}");
    }
    assert_eq!(shop.downloads().len(), 2);
    // Stored bytes prove nothing about a URL that somebody writes beside their digest.
    for url in [&url, "https://elsewhere.example/thing-1.0.zip"] {
        let (artifact, notes) = artifact(shop.fetch(url, Some(&digest)).await.unwrap());
        assert_eq!((artifact.evidence, artifact.downloaded), (Evidence::default(), false));
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert_eq!(note.code, "from-quarantine");
        assert_eq!(note.message, "the bytes with this SHA-256 were here already; the URL was not asked");
    }
    assert_eq!(shop.downloads().len(), 2);
    let failure = shop.fetch(&url, Some(&Sha256::of(b"x"))).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::DigestMismatch);
}

#[tokio::test]
async fn a_row_s_port_is_443_unless_the_operator_lists_it() {
    let mut shop = shop(&[]).await;
    let url = shop.server.url("/f/thing-1.0.zip");
    let port = shop.server.port;
    shop.fetch(&url, None).await.unwrap();
    shop.world.network.clear();
    shop.world.allow("index.example", "127.0.0.1/32", &[port ^ 1]);
    let failure = shop.fetch(&url, None).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::AddressNotAllowed);
    assert_eq!(
        failure.message,
        format!(
            "port {port} of index.example is not allowed; use port 443, or ask the operator to list it under [network] allow"
        )
    );
    assert_eq!(shop.downloads().len(), 1);
}

#[test]
fn every_note_is_explained() {
    let explained = include_str!("../../../../docs/reasons.md");
    for (code, _) in NOTE_CODES {
        assert!(explained.contains(&format!("\n| `{code}` | ")), "docs/reasons.md lacks {code}");
    }
}

#[test]
fn the_policy_may_name_the_hosts_of_rows() {
    let mut policy = Policy::built_in().unwrap();
    let check = |policy: &Policy, source: &str| {
        check_source_host(&source.parse().unwrap(), policy).map_err(|reason| reason.code)
    };
    assert_eq!(check(&policy, "https://any.example/a.zip"), Ok(()));
    policy.source_hosts.insert("good.example".to_owned());
    assert_eq!(check(&policy, "https://good.example/a.zip"), Ok(()));
    assert_eq!(check(&policy, "https://GOOD.example/a.zip"), Ok(()));
    assert_eq!(check(&policy, "pkg:pypi/six@1.16.0"), Ok(()));
    for bad in
        ["https://any.example/a.zip", "https://evil.good.example/a.zip", "https://good.example.evil.example/a.zip"]
    {
        assert_eq!(check(&policy, bad), Err("source-host-not-allowed".to_owned()), "{bad}");
    }
}
