//! What a host cannot do is an answer about the row when the row names the host, and a fault of the system when the operator does.

use gate_core::digest::Sha256;
use gate_core::outcome::Verdict;
use gate_core::step::ErrorName;
use rcgen::date_time_ymd;
use tokio_rustls::TlsAcceptor;

use crate::step::fetched;
use crate::world::{Authority, LOOPBACK, Script, Server, Step, World, always, answer, archive, ok, redirect, script};

const CEILING: u64 = 1 << 20;
const WHEEL: &str = "foo-1.0-py3-none-any.whl";

/// How a host fails.
#[derive(Clone)]
enum Host {
    Expired,
    OfAStranger,
    WithoutTls,
    Answers(Vec<u8>),
}

/// What a host does, the code of a row that names it, and the name of the fault of an index that leads to it.
fn faults() -> Vec<(&'static str, Host, &'static str, ErrorName)> {
    let reply = |status: &str, headers: &str| Host::Answers(answer(status, headers, b"no"));
    vec![
        ("expired certificate", Host::Expired, "unexpected-answer", ErrorName::Configuration),
        ("unknown authority", Host::OfAStranger, "unexpected-answer", ErrorName::Configuration),
        ("no HTTP", Host::Answers(b"220 mail.example\r\n\r\n".to_vec()), "unexpected-answer", ErrorName::Configuration),
        ("no TLS", Host::WithoutTls, "unexpected-answer", ErrorName::Configuration),
        ("401", reply("401 Unauthorized", ""), "forbidden", ErrorName::Denied),
        ("403", reply("403 Forbidden", ""), "forbidden", ErrorName::Denied),
        ("418", reply("418 I'm a teapot", ""), "unexpected-answer", ErrorName::Configuration),
        ("encoded", reply("200 OK", "content-encoding: gzip\r\n"), "unexpected-answer", ErrorName::Configuration),
        ("for ever", Host::Answers(redirect("/foo/")), "unexpected-answer", ErrorName::Configuration),
        ("nowhere", Host::Answers(redirect("https://")), "unexpected-answer", ErrorName::Configuration),
        ("500", reply("500 Oops", ""), "busy", ErrorName::Transient),
        ("503", reply("503 Busy", ""), "busy", ErrorName::Transient),
        ("59 s", reply("503 Busy", "retry-after: 59\r\n"), "busy", ErrorName::Transient),
        ("60 s", reply("429 Slow down", "retry-after: 60\r\n"), "busy", ErrorName::RateLimited),
        ("breaks off", Host::Answers(Vec::new()), "unreachable", ErrorName::Transient),
    ]
}

/// A host that fails so, listed in the policy.
async fn serve(world: &mut World, name: &str, host: &Host) -> Server {
    let tls: Option<TlsAcceptor> = match host {
        Host::Expired => Some(world.authority.acceptor(name, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })),
        Host::OfAStranger => Some(Authority::new().acceptor(name, |_| {})),
        Host::WithoutTls => None,
        Host::Answers(_) => Some(world.authority.acceptor(name, |_| {})),
    };
    let script: Script = match host {
        Host::Answers(reply) if reply.is_empty() => script(|_, _| vec![Step::Close]),
        Host::Answers(reply) => always(reply.clone()),
        _ => always(ok(&archive(600))),
    };
    let server = match host {
        Host::WithoutTls => Server::greeting(name, b"SSH-2.0-x\r\n").await,
        _ => Server::listen(LOOPBACK, name, tls, script).await,
    };
    world.names.set(name, &[&["127.0.0.1"]]);
    world.allow(name, "127.0.0.1/32", &[server.port]);
    server
}

fn page_of(link: &str) -> Vec<u8> {
    let digest = Sha256::of(&archive(600));
    let links = format!("<a href='{link}#sha256={digest}'>{WHEEL}</a>");
    answer("200 OK", "content-type: text/html\r\n", links.as_bytes())
}

#[tokio::test]
async fn a_row_that_names_the_host_has_its_answer() {
    for (what, host, code, _) in faults() {
        let mut world = World::new();
        let server = serve(&mut world, "bad.example", &host).await;
        let (_, ended) = fetched(&world, &format!("foo,{}", server.url("/a.zip")), CEILING).await.unwrap();
        let outcome = ended.unwrap().outcome;
        assert_eq!((outcome.verdict, outcome.reasons[0].code.as_str()), (Verdict::Failed, code), "{what}");
        assert!(!outcome.reasons[0].message.contains("is configured with"), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_index_that_fails_is_a_fault_of_the_system() {
    for (what, host, _, name) in faults() {
        let mut world = World::new();
        let index = serve(&mut world, "index.example", &host).await;
        world.index = Some(index.url("/"));
        let error = fetched(&world, "foo,pkg:pypi/foo@1.0", CEILING).await.unwrap_err();
        assert_eq!(error.name, name, "{what}: {error}");
        assert!(error.message.contains("index.example"), "{what}: {error}");
        assert!(!error.message.contains("browser") && !error.message.contains("use a URL"), "{what}: {error}");
        assert!(error.name.failure_code().is_retryable(), "{what}: the reconciler tries again");
    }
}

#[tokio::test]
async fn a_host_that_the_index_leads_to_fails_for_the_system_too() {
    for (what, host, _, name) in faults() {
        let mut world = World::new();
        let files = serve(&mut world, "bad.example", &host).await;
        let index = world.serve("index.example", always(page_of(&files.url(&format!("/{WHEEL}"))))).await;
        world.index = Some(index.url("/"));
        let error = fetched(&world, "foo,pkg:pypi/foo@1.0", CEILING).await.unwrap_err();
        assert_eq!(error.name, name, "{what}: {error}");
        assert!(error.message.contains("bad.example") && world.quarantine.is_empty(), "{what}: {error}");
    }
}

#[tokio::test]
async fn what_the_index_says_of_a_file_is_an_answer() {
    for (reply, code) in [
        (answer("404 Not Found", "", b""), "not-found"),
        (answer("410 Gone", "", b""), "not-found"),
        (ok(b"<html>sign in</html>"), "not-an-archive"),
        (ok(&archive(601)), "digest-mismatch"),
    ] {
        let mut world = World::new();
        let files = serve(&mut world, "files.example", &Host::Answers(reply)).await;
        let index = world.serve("index.example", always(page_of(&files.url(&format!("/{WHEEL}"))))).await;
        world.index = Some(index.url("/"));
        let (_, ended) = fetched(&world, "foo,pkg:pypi/foo@1.0", CEILING).await.unwrap();
        let ended = ended.unwrap();
        assert_eq!((ended.outcome.reasons[0].code.as_str(), ended.again_at), (code, None));
    }
}

#[tokio::test]
async fn an_index_that_may_not_be_reached_is_the_operators() {
    let mut world = World::new();
    let index = world.serve_unlisted("index.example", always(page_of("/a.whl"))).await;
    world.index = Some(index.url("/"));
    let error = fetched(&world, "foo,pkg:pypi/foo@1.0", CEILING).await.unwrap_err();
    assert_eq!((error.name, index.dials()), (ErrorName::Configuration, 0), "{error}");
    // A name that nobody has: trying again soon helps when it is only the resolver that is ill.
    world.index = Some("https://nobody.example/simple/".to_owned());
    let error = fetched(&world, "foo,pkg:pypi/foo@1.0", CEILING).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Transient, "{error}");
}
