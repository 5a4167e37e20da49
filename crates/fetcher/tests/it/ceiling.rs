//! What a function can take, below what the policy allows: over real connections, through the whole step.

use std::sync::atomic::Ordering;

use gate_core::outcome::Verdict;
use gate_core::run::{OutcomeDocument, RowState, Status};

use crate::step;
use crate::world::{Server, Step, World, archive, ok, script};

const CEILING: usize = 2000;
const POLICY: usize = 4000;

/// Where the step leaves a row of one URL, and how the row ended.
async fn fetched(world: &World, url: &str) -> (RowState, Option<OutcomeDocument>) {
    step::fetched(world, &format!("foo,{url}"), CEILING as u64).await.unwrap()
}

async fn world(announced: bool) -> (World, Server) {
    let mut world = World::new();
    world.limits.file_bytes = POLICY as u64;
    let server = world
        .serve(
            "files.example",
            script(move |head, _| {
                let size = head.split(['/', '.']).nth(1).unwrap().parse().unwrap();
                let body = archive(size);
                if announced {
                    return vec![Step::Send(ok(&body))];
                }
                vec![
                    Step::Send(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec()),
                    Step::Send(body),
                    Step::Close,
                ]
            }),
        )
        .await;
    (world, server)
}

#[tokio::test]
async fn a_file_between_the_two_limits_is_held_and_one_beyond_the_policys_has_failed() {
    for announced in [true, false] {
        let (world, server) = world(announced).await;
        for (size, verdict) in [
            (CEILING - 1, None),
            (CEILING, None),
            (CEILING + 1, Some(Verdict::Held)),
            (POLICY - 1, Some(Verdict::Held)),
            (POLICY, Some(Verdict::Held)),
            (POLICY + 1, Some(Verdict::Failed)),
        ] {
            // That a file is beyond the policy's limit as well is known only when its host says how long it is.
            if size > POLICY && !announced {
                continue;
            }
            let kept = world.quarantine.len();
            let (state, ended) = fetched(&world, &server.url(&format!("/{size}.zip"))).await;
            assert_eq!(ended.as_ref().map(|ended| ended.outcome.verdict), verdict, "{size} {announced}");
            assert_eq!(world.quarantine.len() - kept, usize::from(verdict.is_none()), "{size} {announced}");
            let Some(ended) = ended else {
                assert_eq!(state.status, Status::Fetched);
                continue;
            };
            assert_eq!((state.status, ended.again_at), (Status::Ended, None));
            let [reason] = &ended.outcome.reasons[..] else { panic!("{ended:?}") };
            if reason.code == "over-function-limit" {
                assert!(reason.message.contains("the file at files.example is larger than 1.9 KiB"), "{reason:?}");
            } else {
                assert_eq!((reason.code.as_str(), verdict), ("too-large", Some(Verdict::Failed)));
            }
        }
    }
}

#[tokio::test]
async fn an_announced_length_is_not_waited_for() {
    let mut world = World::new();
    world.limits.file_bytes = POLICY as u64;
    let server = world
        .serve(
            "files.example",
            script(|_, _| {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", CEILING + 1);
                vec![Step::Send(head.into_bytes()), Step::Wait(std::time::Duration::from_secs(60))]
            }),
        )
        .await;
    let (_, ended) = fetched(&world, &server.url("/a.zip")).await;
    assert_eq!(ended.unwrap().outcome.verdict, Verdict::Held);
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}
