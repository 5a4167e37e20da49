//! The refresh of the advisories against a host that misbehaves.

use std::sync::Mutex;

use bytes::Bytes;
use gate_archive::forge::Zip;
use gate_core::digest::Sha256;
use gate_core::step::{ErrorName, StepError};
use gate_fetcher::advisories::{AdvisoryStore, EXPORT_BYTES, ExportUrl, Refreshed, refresh};

use crate::world::{Step, World, always, answer, ok, redirect, script};

/// Remembers what it was told to keep.
#[derive(Default)]
struct Store(Mutex<Vec<(Bytes, Sha256)>>);

impl Store {
    fn kept(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl AdvisoryStore for Store {
    async fn keep(&self, zip: Bytes, sha256: &Sha256) -> Result<Refreshed, StepError> {
        let mut all = self.0.lock().unwrap();
        let changed = all.last().is_none_or(|(_, before)| before != sha256);
        if changed {
            all.push((zip, *sha256));
        }
        Ok(Refreshed { sha256: *sha256, changed })
    }
}

fn export(ecosystem: &str, id: &str) -> Vec<u8> {
    let package = format!(r#"{{"package": {{"ecosystem": "{ecosystem}", "name": "demo"}}, "versions": ["1.0"]}}"#);
    let record = format!(r#"{{"id": "{id}", "modified": "2024-01-02T03:04:05Z", "affected": [{package}]}}"#);
    Zip::new().file(format!("{id}.json"), record).build()
}

async fn run(world: &mut World, url: &str, store: &Store, most: u64) -> Result<Refreshed, StepError> {
    let url = ExportUrl::parse(url).unwrap();
    world.index = Some(url.origin().base().to_string());
    refresh(&url, &world.http(), store, most).await
}

/// A store that has an export, and the error of a refresh from a host that answers so.
async fn error(reply: Vec<u8>) -> StepError {
    let mut world = World::new();
    let good = export("PyPI", "PYSEC-1");
    let server = world
        .serve(
            "osv.example",
            script({
                let good = good.clone();
                move |_, before| vec![Step::Send(if before == 0 { ok(&good) } else { reply.clone() })]
            }),
        )
        .await;
    let (store, url) = (Store::default(), server.url("/PyPI/all.zip"));
    run(&mut world, &url, &store, 4096).await.unwrap();
    let error = run(&mut world, &url, &store, 4096).await.unwrap_err();
    assert_eq!((store.kept(), &store.0.lock().unwrap()[0].0[..]), (1, &good[..]), "the old one stays");
    error
}

#[tokio::test]
async fn an_export_that_changed_replaces_the_one_in_use() {
    let mut world = World::new();
    let exports = [export("PyPI", "PYSEC-1"), export("PyPI", "PYSEC-1"), export("PyPI", "PYSEC-2")];
    let server = world
        .serve("osv.example", {
            let exports = exports.clone();
            script(move |_, before| vec![Step::Send(ok(&exports[before]))])
        })
        .await;
    let store = Store::default();
    for (export, changed) in exports.iter().zip([true, false, true]) {
        let refreshed = run(&mut world, &server.url("/PyPI/all.zip?generation=7"), &store, EXPORT_BYTES).await;
        assert_eq!(refreshed, Ok(Refreshed { sha256: Sha256::of(export), changed }));
    }
    assert_eq!(store.kept(), 2);
    assert!(server.heads()[0].starts_with("GET /PyPI/all.zip?generation=7 HTTP/1.1\r\n"));
    assert!(!server.heads()[0].to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn what_is_no_export_changes_nothing() {
    let whole = export("PyPI", "PYSEC-1");
    let hole = Zip::new().file("PYSEC-1.json", "{}").build();
    for (body, why) in [
        (b"<html>not found</html>".to_vec(), "zip"),
        (whole[..whole.len() - 1].to_vec(), "zip"),
        (Zip::new().file("README.md", "text").build(), "no advisory record"),
        (export("npm", "GHSA-1"), ""),
        (hole, "PYSEC-1.json"),
        (Vec::new(), "zip"),
    ] {
        let error = error(ok(&body)).await;
        assert_eq!(error.name, ErrorName::AdvisoriesUnavailable, "{error}");
        assert!(error.message.contains(why) && error.message.ends_with("those in use stay"), "{error}");
    }
}

#[tokio::test]
async fn what_does_not_arrive_changes_nothing() {
    for (status, name) in [
        ("503 Service Unavailable", ErrorName::Transient),
        ("429 Too Many Requests", ErrorName::Transient),
        ("404 Not Found", ErrorName::Configuration),
        ("403 Forbidden", ErrorName::Denied),
        ("304 Not Modified", ErrorName::Configuration),
    ] {
        let error = error(answer(status, "", b"")).await;
        assert_eq!(error.name, name, "{status}: {error}");
        assert!(error.message.contains("osv.example"), "{error}");
    }
    let error = error(redirect("http://osv.example/plain.zip")).await;
    assert_eq!(error.name, ErrorName::Configuration, "{error}");
}

#[tokio::test]
async fn an_export_has_a_size() {
    let export = export("PyPI", "PYSEC-1");
    let size = export.len() as u64;
    for (most, taken) in [(size - 1, false), (size, true), (size + 1, true)] {
        for reply in [ok(&export), [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", &export[..]].concat()] {
            let mut world = World::new();
            let script = script(move |_, _| vec![Step::Send(reply.clone()), Step::Close]);
            let server = world.serve("osv.example", script).await;
            let store = Store::default();
            let refreshed = run(&mut world, &server.url("/all.zip"), &store, most).await;
            assert_eq!((refreshed.is_ok(), store.kept()), (taken, usize::from(taken)), "{most}: {refreshed:?}");
        }
    }
}

#[tokio::test]
async fn the_address_is_the_operators_and_may_be_private_but_never_plain() {
    let mut world = World::new();
    let server = world.serve_unlisted("osv.example", always(ok(&export("PyPI", "PYSEC-1")))).await;
    let store = Store::default();
    let error = run(&mut world, &server.url("/all.zip"), &store, EXPORT_BYTES).await.unwrap_err();
    assert!(error.message.contains("loopback"), "loopback must be listed: {error}");
    world.names.set("osv.example", &[&["169.254.169.254"]]);
    let error = run(&mut world, &server.url("/all.zip"), &store, EXPORT_BYTES).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Configuration, "{error}");
    world.names.set("osv.example", &[&["127.0.0.1"]]);
    world.allow("osv.example", "127.0.0.1/32", &[]);
    assert!(run(&mut world, &server.url("/all.zip"), &store, EXPORT_BYTES).await.is_ok());
    world.names.set("osv.example", &[&["10.0.0.1"]]);
    let plain = format!("http://osv.example:{}/all.zip", server.port);
    let error = run(&mut world, &plain, &store, EXPORT_BYTES).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Configuration, "{error}");
    assert_eq!(store.kept(), 1);
}

#[test]
fn the_address_is_a_url_without_a_password() {
    assert!(ExportUrl::parse("https://osv.example/PyPI/all.zip").is_ok());
    for bad in ["", "osv.example/all.zip", "ftp://osv.example/all.zip", "https://jane:s3cret@osv.example/all.zip"] {
        let error = ExportUrl::parse(bad).unwrap_err();
        assert_eq!(error.name, ErrorName::Configuration, "{bad}");
        assert!(error.message.starts_with("ADVISORIES_URL") && !error.message.contains("s3cret"), "{error}");
    }
}
