//! Index pages, and where their links may lead.

use gate_core::digest::Sha256;
use gate_core::failure::FailureCode;
use gate_core::ports::{Downloader as _, Origin, PackageIndex as _};
use gate_fetcher::SimpleIndex;

use crate::world::{LOOPBACK, Server, Step, World, always, answer, archive, ok, script};

fn page(content_type: &str, body: &str) -> Vec<u8> {
    answer("200 OK", &format!("content-type: {content_type}\r\n"), body.as_bytes())
}

const LINK: &str = "<a href='../../files/foo-1.0-py3-none-any.whl'>foo</a>";

#[tokio::test]
async fn the_answered_type_chooses_the_reader_and_the_page_is_read_once() {
    let json = r#"{"meta":{"api-version":"1.1"},"name":"foo","files":[{"filename":"foo-1.0-py3-none-any.whl",
        "url":"../../files/foo-1.0-py3-none-any.whl","hashes":{}}]}"#;
    for (kind, body) in [
        ("text/html; charset=utf-8", LINK),
        ("application/vnd.pypi.simple.v1+html", LINK),
        ("application/vnd.pypi.simple.v1+json", json),
    ] {
        let mut world = World::new();
        let index = world.serve("index.example", always(page(kind, body))).await;
        world.index = Some(index.url("/team/simple"));
        let simple = world.simple_index();
        for name in ["Foo", "foo", "FOO"] {
            let files = simple.files(&name.parse().unwrap()).await.unwrap();
            assert_eq!(files[0].url.as_str(), index.url("/team/files/foo-1.0-py3-none-any.whl"), "{kind}");
        }
        let heads = index.heads();
        assert_eq!(heads.len(), 1);
        assert!(heads[0].starts_with("GET /team/simple/foo/ HTTP/1.1\r\n"), "{}", heads[0]);
        assert!(heads[0].contains("accept: application/vnd.pypi.simple.v1+json, "), "{}", heads[0]);
    }
}

#[tokio::test]
async fn links_are_relative_to_where_redirects_end() {
    let mut world = World::new();
    let index = world
        .serve(
            "index.example",
            script(|head, _| {
                let moved = head.starts_with("GET /new/");
                vec![Step::Send(if moved {
                    page("text/html", LINK)
                } else {
                    answer("301 Moved", "location: /new/foo/\r\n", b"")
                })]
            }),
        )
        .await;
    world.index = Some(index.url("/simple/"));
    let files = world.simple_index().files(&"foo".parse().unwrap()).await.unwrap();
    assert_eq!(files[0].url.as_str(), index.url("/files/foo-1.0-py3-none-any.whl"));
}

#[tokio::test]
async fn pages_that_cannot_be_relied_on_fail() {
    for (reply, code, says) in [
        (answer("404 Not Found", "", b""), FailureCode::BadIndex, "neither 'foo' nor 'pip'"),
        (answer("401 Unauthorized", "", b""), FailureCode::BadIndex, "the functions on AWS take none"),
        (answer("403 Forbidden", "", b""), FailureCode::BadIndex, "the functions on AWS take none"),
        (answer("503 Busy", "", b""), FailureCode::Busy, "try again"),
        (
            page("text/html", "<h1>Down for maintenance</h1>"),
            FailureCode::BadIndex,
            "operator must check the index URL",
        ),
        (page("text/html", "<a href=/help/>Help</a>"), FailureCode::BadIndex, "operator must check the index URL"),
        (ok(b"<html>"), FailureCode::BadIndex, "an HTML page"),
        (page("application/vnd.pypi.simple.v2+json", "{}"), FailureCode::BadIndex, "v2+json"),
        (page("application/vnd.pypi.simple.v1+json", "<html>"), FailureCode::BadIndex, "JSON"),
        (page("text/html", "<meta name=pypi:repository-version content=2.0>"), FailureCode::BadIndex, "version 2.0"),
    ] {
        let mut world = World::new();
        let index = world.serve("index.example", always(reply)).await;
        world.index = Some(index.url("/simple"));
        let failure = world.simple_index().files(&"foo".parse().unwrap()).await.unwrap_err();
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.code.is_retryable() && !failure.message.contains("spelling"), "{failure}");
        assert!(failure.message.contains(says) && failure.message.contains("index.example"), "{failure}");
    }
    let failure = World::new().simple_index().files(&"foo".parse().unwrap()).await.unwrap_err();
    assert!(failure.message.contains("--index-url"), "{failure}");
}

/// An index that answers for some paths.
async fn index_of(world: &mut World, pages: Vec<(&'static str, Vec<u8>)>, otherwise: Vec<u8>) -> Server {
    let index = world
        .serve(
            "index.example",
            script(move |head, _| {
                let path = head.split(' ').nth(1).unwrap();
                let page = pages.iter().find(|(known, _)| *known == path);
                vec![Step::Send(page.map_or_else(|| otherwise.clone(), |(_, reply)| reply.clone()))]
            }),
        )
        .await;
    world.index = Some(index.url("/simple"));
    index
}

#[tokio::test]
async fn a_project_is_missing_on_an_index_that_has_others() {
    let pip = || page("text/html", "<a href=pip-26.0-py3-none-any.whl>pip</a>");
    let none = || answer("404 Not Found", "", b"");
    for pages in [
        vec![("/simple/pip/", pip())],
        vec![("/simple/", page("application/vnd.pypi.simple.v1+json", "{}"))],
        vec![("/simple/", page("application/vnd.pypi.simple.v1+html; charset=utf-8", ""))],
    ] {
        let mut world = World::new();
        let index = index_of(&mut world, pages, none()).await;
        let simple = world.simple_index();
        let failure = simple.files(&"foo".parse().unwrap()).await.unwrap_err();
        assert_eq!((failure.code, failure.fault()), (FailureCode::NotFound, None), "{failure}");
        assert!(failure.message.contains("has no project 'foo'; check the spelling"), "{failure}");
        // It is not asked again whether it works.
        let asked = index.heads().len();
        assert_eq!(simple.files(&"bar".parse().unwrap()).await.unwrap_err().code, FailureCode::NotFound);
        assert_eq!(index.heads().len(), asked + 1);
    }
    for pages in [
        vec![("/simple/", page("text/html", "<a href=foo/>foo</a>"))],
        vec![("/simple/", page("application/json", "{}"))],
        vec![("/simple/pip/", page("text/html", "<a href=/help/>Help</a>"))],
        vec![("/simple/pip/", answer("403 Forbidden", "", b""))],
    ] {
        let mut world = World::new();
        let _index = index_of(&mut world, pages, none()).await;
        let failure = world.simple_index().files(&"foo".parse().unwrap()).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::BadIndex, "{failure}");
    }
    // An index that breaks down meanwhile may have had it.
    let mut world = World::new();
    let _index = index_of(&mut world, vec![("/simple/foo/", none())], answer("503 Busy", "", b"")).await;
    assert_eq!(world.simple_index().files(&"foo".parse().unwrap()).await.unwrap_err().code, FailureCode::Busy);
    // A project without files is one.
    let mut world = World::new();
    let _index =
        index_of(&mut world, vec![("/simple/foo/", page("text/html", "")), ("/simple/pip/", pip())], none()).await;
    assert_eq!(world.simple_index().files(&"foo".parse().unwrap()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_failed_page_is_not_remembered() {
    let mut world = World::new();
    let replies = script(|_, n| {
        vec![Step::Send(if n == 0 { answer("404 Not Found", "", b"") } else { page("text/html", LINK) })]
    });
    let index = world.serve("index.example", replies).await;
    world.index = Some(index.url("/simple"));
    let simple = world.simple_index();
    assert!(simple.files(&"foo".parse().unwrap()).await.is_err());
    assert_eq!(simple.files(&"foo".parse().unwrap()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_page_cap_is_a_limit() {
    let cap = 5000;
    for size in [cap - 1, cap, cap + 1] {
        for stated in [true, false] {
            let mut world = World::new();
            let body = format!("{LINK}{}", " ".repeat(size - LINK.len()));
            let reply = if stated {
                page("text/html", &body)
            } else {
                format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n")
                    .into_bytes()
            };
            let index = world.serve("index.example", always(reply)).await;
            world.index = Some(index.url("/simple"));
            let result = SimpleIndex::with_limit(world.http(), cap as u64).files(&"foo".parse().unwrap()).await;
            assert_eq!(
                result.as_ref().err().map(|failure| failure.code),
                (size > cap).then_some(FailureCode::TooLarge)
            );
        }
    }
}

/// Two names of one mirror: the index's host, and another name for the same address.
struct Mirror {
    world: World,
    index: Server,
}

/// A mirror on an address that the operator lists for the index's name alone, as loopback has to be.
async fn mirror() -> Mirror {
    let mut world = World::new();
    let index = world.serve("index.example", always(page("text/html", LINK))).await;
    world.index = Some(index.url("/simple"));
    Mirror { world, index }
}

#[tokio::test]
async fn loopback_needs_a_rule_even_for_the_index() {
    let mut mirror = mirror().await;
    mirror.world.network.clear();
    let failure = mirror.world.simple_index().files(&"foo".parse().unwrap()).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::AddressNotAllowed);
    assert_eq!(mirror.index.dials(), 0);
}

#[tokio::test]
async fn a_file_link_may_not_go_to_loopback_just_because_the_index_is_there() {
    let mirror = mirror().await;
    let files = Server::listen(LOOPBACK, "files.example", None, always(ok(&archive(600)))).await;
    mirror.world.names.set("files.example", &[&["127.0.0.1"]]);
    let http = mirror.world.http();
    SimpleIndex::new(http.clone()).files(&"foo".parse().unwrap()).await.unwrap();
    let downloader = gate_fetcher::HttpDownloader::new(http, mirror.world.quarantine.clone(), &mirror.world.limits);
    for url in [files.url("/a.whl"), mirror.index.url("/a.whl").replace("index.example", "files.example")] {
        let failure = downloader.download(&url.parse().unwrap(), Origin::Index, None).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::AddressNotAllowed, "{url}");
    }
    assert_eq!(files.dials(), 0);
}

#[tokio::test]
async fn plain_http_is_for_an_index_on_listed_loopback_alone() {
    let mut world = World::new();
    let index = Server::listen(LOOPBACK, "127.0.0.1", None, always(page("text/html", LINK))).await;
    let other = Server::listen(LOOPBACK, "127.0.0.1", None, always(ok(&archive(600)))).await;
    world.index = Some(index.url("/simple").replace("https", "http"));
    let ask =
        async |world: &World| world.simple_index().files(&"foo".parse().unwrap()).await.map_err(|failure| failure.code);
    assert_eq!(ask(&world).await, Err(FailureCode::AddressNotAllowed));
    assert_eq!(index.dials(), 0);
    world.allow("127.0.0.1", "127.0.0.0/8", &[other.port]);
    let files = ask(&world).await.unwrap();
    // The link leads back to the index, and to nobody else in the clear, and no row may use it.
    assert_eq!(files[0].url.scheme(), "http");
    let get = async |url: &str, origin| {
        world.downloader().download(&url.parse().unwrap(), origin, None).await.map_err(|failure| failure.code)
    };
    assert_eq!(get(files[0].url.as_str(), Origin::Index).await, Err(FailureCode::NotAnArchive));
    assert_eq!(
        get(&other.url("/a.zip").replace("https", "http"), Origin::Index).await,
        Err(FailureCode::AddressNotAllowed)
    );
    assert_eq!(get(files[0].url.as_str(), Origin::Row).await, Err(FailureCode::AddressNotAllowed));
    assert_eq!(other.dials(), 0);
    // An index in the clear anywhere else is refused, listed or not.
    world.index = Some("http://index.example/simple".to_owned());
    world.names.set("index.example", &[&["10.0.0.1"]]);
    world.allow("index.example", "10.0.0.0/8", &[80]);
    assert_eq!(ask(&world).await, Err(FailureCode::AddressNotAllowed));
}

#[tokio::test]
async fn a_page_s_digest_is_held_against_the_bytes() {
    let mut world = World::new();
    let good = Sha256::of(&archive(600));
    let index = world.serve("index.example", always(ok(&archive(600)))).await;
    world.index = Some(index.url("/simple"));
    let downloader = world.downloader();
    let url = index.url("/files/a.whl").parse().unwrap();
    downloader.download(&url, Origin::Index, Some(&good)).await.unwrap();
    let failure = downloader.download(&url, Origin::Index, Some(&Sha256::of(b"x"))).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::DigestMismatch);
}
