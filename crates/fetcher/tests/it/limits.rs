//! Size, time and rate.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gate_core::failure::FailureCode;
use gate_core::ports::{Downloader as _, Origin};
use gate_fetcher::BUFFER_BYTES;

use crate::world::{Step, World, always, archive, ok, script};

const CAP: usize = 100_000;

/// Without a stated length: the body ends where the server says so, chunk by chunk.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(1000) {
        bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[tokio::test]
async fn the_file_cap_is_a_limit() {
    for size in [CAP - 1, CAP, CAP + 1] {
        for reply in [ok(&archive(size)), chunked(&archive(size))] {
            let mut world = World::new();
            world.limits.file_bytes = CAP as u64;
            let server = world.serve("files.example", always(reply)).await;
            let result = world.get(&server.url("/a.zip")).await;
            assert_eq!(result.is_ok(), size <= CAP, "{size}: {result:?}");
            assert_eq!(world.quarantine.len(), usize::from(size <= CAP));
            if let Err(failure) = result {
                assert_eq!(failure.code, FailureCode::TooLarge);
                assert!(failure.message.contains("97.6 KiB") && failure.message.contains("file_bytes"), "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn an_endless_body_is_left_at_the_cap() {
    let mut world = World::new();
    world.limits.file_bytes = CAP as u64;
    let endless = script(|_, _| {
        let head = b"HTTP/1.1 200 OK\r\n\r\nPK\x03\x04".to_vec();
        vec![Step::Send(head), Step::Endless(vec![b'z'; 16 * 1024])]
    });
    let server = world.serve("files.example", endless).await;
    assert_eq!(world.code(&server.url("/a.zip")).await, FailureCode::TooLarge);
    assert_eq!(server.heads().len(), 1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    // What the gate took is at most the cap and one buffer; the rest is what the kernel's socket buffers hold.
    let sockets = 8 << 20;
    let sent = server.sent.load(Ordering::Relaxed);
    assert!(sent <= CAP + BUFFER_BYTES + sockets, "{sent}");
}

#[tokio::test]
async fn a_stated_length_over_the_cap_is_refused_unread() {
    let mut world = World::new();
    world.limits.file_bytes = CAP as u64;
    let lie = script(|_, _| {
        vec![
            Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nPK".to_vec()),
            Step::Wait(Duration::from_secs(9)),
        ]
    });
    let server = world.serve("files.example", lie).await;
    let start = Instant::now();
    assert_eq!(world.code(&server.url("/a.zip")).await, FailureCode::TooLarge);
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn the_files_of_a_request_share_a_budget() {
    for reply in [ok(&archive(1000)), chunked(&archive(1000))] {
        for (budget, third) in [(2999, false), (3000, true), (3001, true)] {
            let mut world = World::new();
            world.limits.request_bytes = budget;
            let server = world.serve("files.example", always(reply.clone())).await;
            let downloader = world.downloader();
            let url = server.url("/a.zip").parse().unwrap();
            for _ in 0..2 {
                downloader.download(&url, Origin::Row, None).await.unwrap();
            }
            let result = downloader.download(&url, Origin::Row, None).await;
            assert_eq!(result.is_ok(), third, "{budget}: {result:?}");
            if let Err(failure) = result {
                assert_eq!(failure.code, FailureCode::TooLarge);
                assert!(failure.message.contains("request_bytes") && failure.message.contains("2.9 KiB"), "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn failed_downloads_cost_the_request_nothing() {
    let mut world = World::new();
    world.limits.request_bytes = 5000;
    let server = world
        .serve(
            "files.example",
            script(|head, _| {
                if head.starts_with("GET /bad") {
                    let mut short = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n".to_vec();
                    short.extend_from_slice(&archive(4000));
                    return vec![Step::Send(short), Step::Close];
                }
                vec![Step::Send(ok(&archive(5000)))]
            }),
        )
        .await;
    let downloader = world.downloader();
    let get = async |path: &str| downloader.download(&server.url(path).parse().unwrap(), Origin::Row, None).await;
    assert_eq!(get("/bad.zip").await.unwrap_err().code, FailureCode::Unreachable);
    get("/good.zip").await.unwrap();
    assert_eq!(get("/good.zip").await.unwrap_err().code, FailureCode::TooLarge);
}

fn drip(bytes: usize, every: Duration) -> Vec<Step> {
    let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".to_vec())];
    for byte in archive(bytes) {
        steps.push(Step::Send(vec![byte]));
        steps.push(Step::Wait(every));
    }
    steps
}

#[tokio::test]
async fn a_body_that_drips_or_stalls_is_too_slow() {
    let stall =
        vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec()), Step::Wait(Duration::from_secs(60))];
    for steps in [drip(1000, Duration::from_millis(20)), stall] {
        let mut world = World::new();
        world.http.window = Duration::from_millis(300);
        world.http.min_bytes_per_second = 1000;
        let server = world.serve("files.example", script(move |_, _| steps.clone())).await;
        let start = Instant::now();
        let (code, message) = world.refused(&server.url("/a.zip")).await;
        assert_eq!((code, server.heads().len()), (FailureCode::TooSlow, 1));
        assert!(message.contains("min_bytes_per_second"), "{message}");
        assert!((300..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn the_deadline_ends_a_body_that_is_fast_enough() {
    let mut world = World::new();
    world.http.total = Duration::from_millis(400);
    let endless = script(|_, _| {
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\n\r\nPK\x03\x04".to_vec())];
        for _ in 0..1000 {
            steps.extend([Step::Send(vec![b'z'; 500]), Step::Wait(Duration::from_millis(5))]);
        }
        steps
    });
    let server = world.serve("files.example", endless).await;
    let start = Instant::now();
    let (code, message) = world.refused(&server.url("/a.zip")).await;
    assert_eq!(code, FailureCode::TooSlow);
    assert!(message.contains("file_seconds"), "{message}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_host_that_never_answers_is_unreachable() {
    let mut world = World::new();
    world.http.answer = Duration::from_millis(100);
    let server = world.serve("files.example", script(|_, _| vec![Step::Wait(Duration::from_secs(60))])).await;
    assert_eq!(world.code(&server.url("/a.zip")).await, FailureCode::Unreachable);
    assert_eq!(server.heads().len(), 3);
}

#[tokio::test]
async fn a_port_that_is_closed_is_unreachable() {
    let mut world = World::new();
    let server = world.serve("files.example", always(ok(b""))).await;
    let url = server.url("/a.zip");
    drop(server);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (code, message) = world.refused(&url).await;
    assert_eq!(code, FailureCode::Unreachable);
    assert!(message.contains("refuses connections"), "{message}");
}
