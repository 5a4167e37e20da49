//! Answers that are not the file.

use gate_core::digest::Sha256;
use gate_core::failure::FailureCode;
use gate_core::ports::{Downloader as _, Origin};

use crate::world::{Step, World, always, answer, archive, ok, script};

#[tokio::test]
async fn statuses_fall_into_classes() {
    for (status, code, tries) in [
        ("404 Not Found", FailureCode::NotFound, 1),
        ("410 Gone", FailureCode::NotFound, 1),
        ("401 Unauthorized", FailureCode::Forbidden, 1),
        ("403 Forbidden", FailureCode::Forbidden, 1),
        ("429 Too Many Requests", FailureCode::Busy, 3),
        ("500 Internal Server Error", FailureCode::Busy, 3),
        ("503 Service Unavailable", FailureCode::Busy, 3),
        ("204 No Content", FailureCode::UnexpectedAnswer, 1),
        ("206 Partial Content", FailureCode::UnexpectedAnswer, 1),
        ("304 Not Modified", FailureCode::UnexpectedAnswer, 1),
        ("400 Bad Request", FailureCode::UnexpectedAnswer, 1),
        ("418 I'm a teapot", FailureCode::UnexpectedAnswer, 1),
    ] {
        let mut world = World::new();
        let body: &[u8] = if status.starts_with("204") || status.starts_with("304") { b"" } else { b"PK\x03\x04" };
        let server = world.serve("files.example", always(answer(status, "", body))).await;
        let (found, message) = world.refused(&server.url("/a.zip")).await;
        assert_eq!(found, code, "{status}");
        assert_eq!(server.heads().len(), tries, "{status}");
        assert!(
            message.contains("files.example") && message.contains(&status[..3]) && message.contains("; "),
            "{message}"
        );
    }
}

#[tokio::test]
async fn retry_after_is_waited_for_or_told() {
    let mut world = World::new();
    let short = script(|_, n| {
        vec![Step::Send(if n == 0 { answer("503 Busy", "retry-after: 1\r\n", b"") } else { ok(&archive(600)) })]
    });
    let server = world.serve("short.example", short).await;
    let start = std::time::Instant::now();
    world.get(&server.url("/a.zip")).await.unwrap();
    assert!(start.elapsed().as_millis() >= 1000);
    let mut world = World::new();
    let server = world.serve("long.example", always(answer("429 Slow down", "retry-after: 3600\r\n", b""))).await;
    let (code, message) = world.refused(&server.url("/a.zip")).await;
    assert_eq!((code, server.heads().len()), (FailureCode::Busy, 1));
    assert!(message.contains("in 3600 seconds"), "{message}");
}

#[tokio::test]
async fn what_is_no_archive_is_named_for_what_it_is() {
    for (body, name) in [
        (&b"<!DOCTYPE html><title>Sign in</title>"[..], "an HTML page"),
        (b"{\"message\":\"Not Found\"}", "a JSON document"),
        (b"", "an empty file"),
        (b"PK", "plain text"),
        (b"%PDF-1.7", "a PDF"),
        (b"\x7fELF\x02\x01", "an ELF program"),
        (b"BZh91AY&SY", "a bzip2 archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ] {
        let mut world = World::new();
        let server = world.serve("files.example", always(ok(body))).await;
        let (code, message) = world.refused(&server.url("/a.zip")).await;
        assert_eq!(code, FailureCode::NotAnArchive, "{name}");
        assert!(message.contains(name), "{message}");
        assert_eq!(server.heads().len(), 1);
    }
}

#[tokio::test]
async fn a_long_page_is_told_by_its_first_bytes() {
    let mut world = World::new();
    let mut page = b"HTTP/1.1 200 OK\r\n\r\n<html>".to_vec();
    page.resize(9000, b' ');
    let server = world
        .serve("files.example", script(move |_, _| vec![Step::Send(page.clone()), Step::Endless(vec![b' '; 4096])]))
        .await;
    world.limits.file_bytes = u64::MAX;
    world.limits.request_bytes = u64::MAX;
    assert_eq!(world.code(&server.url("/a.zip")).await, FailureCode::NotAnArchive);
}

#[tokio::test]
async fn zip_gzip_and_tar_pass_however_they_are_cut() {
    let mut tar = vec![b'a'; 700];
    tar[257..262].copy_from_slice(b"ustar");
    let mut gzip = b"\x1f\x8b\x08".to_vec();
    gzip.resize(511, 0);
    for body in [archive(4), archive(511), archive(512), archive(513), b"PK\x05\x06".to_vec(), gzip, tar] {
        for piece in [1, 100, 511, 512, 1024] {
            let mut world = World::new();
            let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())];
            for part in body.chunks(piece) {
                let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
                chunk.extend_from_slice(part);
                chunk.extend_from_slice(b"\r\n");
                steps.push(Step::Send(chunk));
            }
            steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
            let server = world.serve("files.example", script(move |_, _| steps.clone())).await;
            let got = world.get(&server.url("/a.zip")).await.unwrap();
            assert_eq!((got.digest, got.size), (Sha256::of(&body), body.len() as u64));
            assert!(world.kept(&body), "{} in pieces of {piece}", body.len());
        }
    }
}

#[tokio::test]
async fn an_encoded_answer_is_refused() {
    for header in ["content-encoding: gzip", "content-encoding: br", "content-encoding: identity, zstd"] {
        let mut world = World::new();
        let server =
            world.serve("files.example", always(answer("200 OK", &format!("{header}\r\n"), &archive(600)))).await;
        assert_eq!(world.code(&server.url("/a.zip")).await, FailureCode::UnexpectedAnswer, "{header}");
    }
    let mut world = World::new();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nPK\x03\x04\r\n0\r\n\r\n";
    let server = world.serve("files.example", always(chunked.to_vec())).await;
    assert_eq!(world.code(&server.url("/a.zip")).await, FailureCode::UnexpectedAnswer);
}

#[tokio::test]
async fn a_broken_body_is_fetched_again_from_its_start() {
    let body = archive(5000);
    for cut in [0, 3, 600, 4999] {
        for header in ["content-length: 5000", "transfer-encoding: chunked"] {
            let mut world = World::new();
            let whole = body.clone();
            let server = world
                .serve(
                    "files.example",
                    script(move |_, n| {
                        if n > 0 {
                            return vec![Step::Send(ok(&whole))];
                        }
                        let mut short = format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n").into_bytes();
                        if header.starts_with("transfer") {
                            short.extend_from_slice(b"1388\r\n");
                        }
                        short.extend_from_slice(&whole[..cut]);
                        vec![Step::Send(short), Step::Close]
                    }),
                )
                .await;
            let got = world.get(&server.url("/a.zip")).await.unwrap();
            assert_eq!((got.digest, server.heads().len()), (Sha256::of(&body), 2), "{cut} {header}");
            assert_eq!(world.quarantine.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_body_that_always_breaks_is_unreachable() {
    let mut world = World::new();
    let short = script(|_, _| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nPK\x03\x04".to_vec()), Step::Close]
    });
    let server = world.serve("files.example", short).await;
    assert_eq!(world.code(&server.url("/a.zip")).await, FailureCode::Unreachable);
    assert_eq!(server.heads().len(), 3);
}

#[tokio::test]
async fn bytes_beyond_the_stated_length_are_not_read() {
    let mut world = World::new();
    let mut reply = ok(&archive(600));
    reply.extend_from_slice(b"and more");
    let server = world.serve("files.example", always(reply)).await;
    world.get(&server.url("/a.zip")).await.unwrap();
    assert!(world.kept(&archive(600)));
}

#[tokio::test]
async fn other_bytes_than_promised_are_refused_and_not_tried_again() {
    let mut world = World::new();
    let server = world.serve("files.example", always(ok(&archive(600)))).await;
    let downloader = world.downloader();
    let url = server.url("/a.zip").parse().unwrap();
    let promised = Sha256::of(b"other");
    let failure = downloader.download(&url, Origin::Row, Some(&promised)).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::DigestMismatch);
    assert!(failure.message.contains(&promised.to_string()), "{failure}");
    assert!(failure.message.contains(&Sha256::of(&archive(600)).to_string()), "{failure}");
    assert!(world.quarantine.is_empty());
    assert_eq!(server.heads().len(), 1);
    downloader.download(&url, Origin::Row, Some(&Sha256::of(&archive(600)))).await.unwrap();
}

/// A host that gives other bytes to the second reader has no second reader.
#[tokio::test]
async fn a_file_is_asked_for_once() {
    let mut world = World::new();
    let server = world.serve("files.example", script(|_, n| vec![Step::Send(ok(&archive(600 + n)))])).await;
    let got = world.get(&server.url("/a.zip")).await.unwrap();
    assert_eq!((got.digest, server.heads().len()), (Sha256::of(&archive(600)), 1));
}

#[tokio::test]
async fn heads_that_are_no_http_are_refused() {
    let header = |bytes: usize| answer("200 OK", &format!("x: {}\r\n", "a".repeat(bytes)), &archive(600));
    let many = |count: usize| answer("200 OK", &"x: y\r\n".repeat(count), &archive(600));
    for (reply, good) in [
        (header(60 * 1024), true),
        (header(1 << 20), false),
        // content-length is one more.
        (many(98), true),
        (many(99), true),
        (many(100), false),
        (many(10_000), false),
        (b"HTTP/1.1 abc OK\r\n\r\n".to_vec(), false),
        (b"HTTP/9.9 200 OK\r\n\r\n".to_vec(), false),
        (b"PK\x03\x04 not http at all\r\n\r\n".to_vec(), false),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nPK\x03\x04".to_vec(), false),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nPK\x03\x04".to_vec(), false),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nPK\x03\x04".to_vec(), false),
    ] {
        let mut world = World::new();
        let shown = reply[..reply.len().min(60)].escape_ascii().to_string();
        let server = world.serve("files.example", always(reply)).await;
        let result = world.get(&server.url("/a.zip")).await;
        assert_eq!(result.is_ok(), good, "{shown}: {result:?}");
        if let Err(failure) = result {
            assert_eq!(failure.code, FailureCode::UnexpectedAnswer, "{shown}");
        }
    }
}
