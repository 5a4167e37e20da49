//! The trust store decides on TLS, and nothing switches it off.

use std::time::Duration;

use gate_core::failure::FailureCode;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::world::{Authority, LOOPBACK, Server, World, acceptor, always, archive, ok};

async fn refused(world: &mut World, tls: Option<TlsAcceptor>) -> (FailureCode, String, usize) {
    let server = Server::listen(LOOPBACK, "files.example", tls, always(ok(&archive(600)))).await;
    world.names.set("files.example", &[&["127.0.0.1"]]);
    world.allow("files.example", "127.0.0.1/32", &[server.port]);
    let (code, message) = world.refused(&server.url("/a.zip")).await;
    (code, message, server.heads().len())
}

#[tokio::test]
async fn certificates_that_do_not_hold_are_refused() {
    let mut world = World::new();
    let expired = world.authority.acceptor("files.example", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let early = world.authority.acceptor("files.example", |params| {
        params.not_before = date_time_ymd(3001, 1, 1);
        params.not_after = date_time_ymd(3002, 1, 1);
    });
    let other_name = world.authority.acceptor("other.example", |_| {});
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["files.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let self_signed = acceptor(own.der().clone(), &key);
    let stranger = Authority::new().acceptor("files.example", |_| {});
    for (tls, why) in [
        (expired, "it has expired"),
        (early, "it is not valid yet"),
        (other_name, "it is for another name"),
        (self_signed, "it"),
        (stranger, "it"),
    ] {
        let (code, message, requests) = refused(&mut world, Some(tls)).await;
        assert_eq!((code, requests), (FailureCode::UnexpectedAnswer, 0), "{why}");
        assert!(message.contains("certificate") && message.contains(why), "{message}");
        assert!(message.contains("files.example") && message.contains("trust store"), "{message}");
    }
}

#[tokio::test]
async fn a_port_without_tls_gets_no_request() {
    let mut world = World::new();
    // The plain server waits for a whole head and never sees one.
    world.http.answer = Duration::from_millis(300);
    let (code, _, requests) = refused(&mut world, None).await;
    assert_eq!((code, requests), (FailureCode::Unreachable, 0));
}

/// A server that answers the first bytes of a handshake with its own.
async fn refused_after(answer: &'static [u8], hold: Duration) -> FailureCode {
    let mut world = World::new();
    world.http.answer = Duration::from_millis(300);
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 5];
            let _ = stream.read_exact(&mut hello).await;
            let _ = stream.write_all(answer).await;
            tokio::time::sleep(hold).await;
        }
    });
    world.names.set("files.example", &[&["127.0.0.1"]]);
    world.allow("files.example", "127.0.0.1/32", &[port]);
    world.code(&format!("https://files.example:{port}/a.zip")).await
}

#[tokio::test]
async fn old_protocols_and_stalled_handshakes_fail() {
    // A ServerHello of TLS 1.0: record, handshake of 38 bytes, version 3.1, random, no session, suite, no compression.
    const TLS_1_0: &[u8] = b"\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01\
        0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";
    assert_eq!(refused_after(TLS_1_0, Duration::ZERO).await, FailureCode::UnexpectedAnswer);
    assert_eq!(refused_after(b"SSH-2.0-x\r\n", Duration::ZERO).await, FailureCode::UnexpectedAnswer);
    assert_eq!(refused_after(b"\x16\x03\x01", Duration::from_secs(5)).await, FailureCode::Unreachable);
}
