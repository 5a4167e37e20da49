//! Every hop is checked anew, and no credential follows.

use std::sync::Mutex;

use gate_core::failure::FailureCode;
use gate_core::ports::{Downloader as _, Origin};

use crate::world::{LOOPBACK, Server, Step, World, always, answer, archive, ok, redirect, script};

#[tokio::test]
async fn a_redirect_is_followed_and_its_end_is_told() {
    let mut world = World::new();
    let end = world.serve("end.example", always(ok(&archive(600)))).await;
    let start = world.serve("start.example", always(redirect(&end.url("/b.zip?t=1#frag")))).await;
    let got = world.get(&start.url("/a.zip#frag")).await.unwrap();
    assert_eq!(got.url.as_str(), end.url("/b.zip?t=1"));
    assert!(world.kept(&archive(600)));
    assert!(end.heads()[0].starts_with("GET /b.zip?t=1 HTTP/1.1\r\n"));
    assert!(start.heads()[0].starts_with("GET /a.zip HTTP/1.1\r\n"));
}

#[tokio::test]
async fn no_redirect_leads_where_a_row_may_not_go() {
    let mut world = World::new();
    let victim = Server::listen(LOOPBACK, "127.0.0.1", None, always(ok(&archive(9)))).await;
    let port = victim.port;
    world.names.set("inside.example", &[&["127.0.0.1"]]);
    world.names.set("private.example", &[&["10.1.2.3"]]);
    world.names.set("public.example", &[&[]]);
    for target in [
        format!("http://127.0.0.1:{port}/a.zip"),
        format!("https://127.0.0.1:{port}/a.zip"),
        format!("https://[::ffff:127.0.0.1]:{port}/a.zip"),
        format!("https://2130706433:{port}/a.zip"),
        format!("https://0x7f.1:{port}/a.zip"),
        format!("https://inside.example:{port}/a.zip"),
        format!("//127.0.0.1:{port}/a.zip"),
        format!("\\\\127.0.0.1:{port}/a.zip"),
        "https://inside.example/a.zip".to_owned(),
        "https://private.example/a.zip".to_owned(),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
        "https://[fd00:ec2::254]/latest/meta-data/".to_owned(),
        "http://public.example/a.zip".to_owned(),
        "https://public.example:8443/a.zip".to_owned(),
        "https://user:pw@public.example/a.zip".to_owned(),
        "ftp://public.example/a.zip".to_owned(),
        "file:///etc/passwd".to_owned(),
        "data:application/zip;base64,UEsDBA==".to_owned(),
        "gopher://public.example/".to_owned(),
    ] {
        let host = format!("start{}.example", target.len());
        let start = world.serve(&host, always(redirect(&target))).await;
        assert_eq!(world.code(&start.url("/a.zip")).await, FailureCode::AddressNotAllowed, "{target}");
        assert_eq!(start.dials(), 1);
    }
    assert_eq!(victim.dials(), 0);
}

#[tokio::test]
async fn the_fifth_redirect_is_followed_and_the_sixth_is_not() {
    for (redirects, good) in [(4, true), (5, true), (6, false)] {
        let mut world = World::new();
        let server = world
            .serve(
                "hops.example",
                script(move |_, before| {
                    let reply = if before < redirects { redirect(&format!("/{before}")) } else { ok(&archive(600)) };
                    vec![Step::Send(reply)]
                }),
            )
            .await;
        let result = world.get(&server.url("/a.zip")).await;
        assert_eq!(result.is_ok(), good, "{redirects}: {result:?}");
        assert_eq!(server.heads().len(), redirects.min(5) + 1);
        if let Err(failure) = result {
            assert_eq!(failure.code, FailureCode::UnexpectedAnswer);
            assert!(failure.message.contains("more than 5 times"), "{failure}");
        }
    }
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_an_unexpected_answer() {
    for location in
        ["", "location: https://[\r\n", "location: https://caf\u{e9}.example\u{ff}/\r\n", "location: http://\r\n"]
    {
        let mut world = World::new();
        let server = world.serve("start.example", always(answer("302 Found", location, b""))).await;
        assert_eq!(world.code(&server.url("/a.zip")).await, FailureCode::UnexpectedAnswer, "{location}");
    }
}

/// What must never be in a request to a host that a row or the index names.
fn assert_clean(head: &str) {
    let lower = head.to_ascii_lowercase();
    for header in ["authorization", "cookie", "referer", "proxy-", "x-amz", "origin:"] {
        assert!(!lower.contains(header), "{head}");
    }
}

#[tokio::test]
async fn requests_carry_five_headers_and_nothing_else() {
    let mut world = World::new();
    let cookies = answer("302 Found", "location: /b.zip\r\nset-cookie: a=b\r\n", b"");
    let server = world
        .serve(
            "files.example",
            script(move |_, n| vec![Step::Send(if n == 0 { cookies.clone() } else { ok(&archive(600)) })]),
        )
        .await;
    world.get(&server.url("/a.zip")).await.unwrap();
    for head in server.heads() {
        assert_clean(&head);
        let mut names: Vec<_> = head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
        assert!(head.contains("accept-encoding: identity\r\n"));
        assert!(head.contains(&format!("user-agent: package-gate/{}\r\n", env!("CARGO_PKG_VERSION"))));
    }
}

#[tokio::test]
async fn the_index_s_credentials_stay_with_the_index() {
    const BASIC: &str = "authorization: Basic amFuZTpzM2NyM3Q=\r\n";
    let mut world = World::new();
    let files = world.serve("files.example", always(ok(&archive(600)))).await;
    let there: &'static Mutex<String> = Box::leak(Box::default());
    let index = world
        .serve(
            "index.example",
            script(move |head, _| {
                let reply =
                    if head.starts_with("GET /away") { redirect(&there.lock().unwrap()) } else { ok(&archive(700)) };
                vec![Step::Send(reply)]
            }),
        )
        .await;
    *there.lock().unwrap() = files.url("/from-redirect.zip");
    world.index = Some(format!("https://jane:s3cr3t@index.example:{}/simple", index.port));
    let downloader = world.downloader();
    let get = async |url: String, origin| downloader.download(&url.parse().unwrap(), origin, None).await.unwrap();
    get(index.url("/own.zip"), Origin::Index).await;
    get(index.url("/away"), Origin::Index).await;
    get(files.url("/from-link.zip"), Origin::Index).await;
    get(index.url("/row.zip"), Origin::Row).await;
    let sent: Vec<_> = index.heads().iter().map(|head| head.contains(BASIC)).collect();
    assert_eq!(sent, [true, true, false], "own, away, row");
    assert_eq!(files.heads().len(), 2);
    files.heads().iter().for_each(|head| assert_clean(head));
    assert!(!format!("{downloader:?}").contains("s3cr3t"));
}
