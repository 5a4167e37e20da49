//! What a request leads to. The rows W1 to W16 are those of the threat model's table of webhooks.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::*;
use gate_core::ports::Records;
use gate_core::run::Delivery;
use gate_core::step::ErrorName;
use gate_webhook_receiver::{ANSWER_WITHIN, Answer, FRESH_EVERY, MAX_BODY_BYTES, Request};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::SignedDuration;

#[tokio::test]
async fn a_push_is_stored_under_what_github_signed() {
    let world = World::new();
    assert_eq!(world.push(&main_push()).await, Answer::Accepted);
    let key = &world.inbox().await[0];
    let stored: Delivery = serde_json::from_slice(&world.records.get(key).await.unwrap().unwrap()).unwrap();
    let expected = Delivery {
        schema_version: 1,
        repository: 123_456,
        full_name: "corp/package-requests".to_owned(),
        reference: "refs/heads/main".to_owned(),
        commit: COMMIT.to_owned(),
        delivery_id: Some("72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned()),
        received_at: "2026-11-20T09:15:32Z".parse().unwrap(),
    };
    assert_eq!((key, stored), (&expected.key(), expected));
}

/// W1.
#[tokio::test]
async fn without_a_signature_nothing_is_read_and_nobody_is_asked() {
    let world = World::new();
    for (name, value) in
        [("x-hub-signature-256", ""), ("x-hub-signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6")]
    {
        let mut headers = signed(SECRET, b"");
        headers.remove("x-hub-signature-256");
        assert_eq!(world.receive(&headers, "not JSON").await, Answer::Unauthorized);
        set(&mut headers, name, value);
        assert_eq!(world.receive(&headers, "not JSON").await, Answer::Unauthorized);
    }
    assert_eq!((world.secrets.calls(), world.inbox().await.len()), (0, 0));
}

/// W3.
#[tokio::test]
async fn the_signature_is_over_what_base64_stands_for() {
    let body = main_push();
    let (text, headers) = (STANDARD.encode(&body), signed(SECRET, body.as_bytes()));
    let receive = async |body: &str, headers: &HeaderMap, is_base64| {
        World::new().receiver.receive(Request { headers, body, is_base64 }).await
    };
    assert_eq!(receive(&text, &headers, true).await, Answer::Accepted);
    assert_eq!(receive(&text, &headers, false).await, Answer::Unauthorized);
    assert_eq!(receive(&body, &headers, true).await, Answer::Unauthorized);
    assert_eq!(receive(&text, &signed(SECRET, text.as_bytes()), true).await, Answer::Unauthorized);
}

/// W4: nobody signs the delivery id.
#[tokio::test]
async fn a_replay_under_another_delivery_id_changes_nothing() {
    let (world, body) = (World::new(), main_push());
    assert_eq!(world.push(&body).await, Answer::Accepted);
    for id in 0..100 {
        let mut headers = signed(SECRET, body.as_bytes());
        set(&mut headers, "x-github-delivery", &format!("00000000-0000-0000-0000-{id:012}"));
        assert_eq!(world.receive(&headers, &body).await, Answer::AcceptedBefore);
    }
    assert_eq!(world.inbox().await.len(), 1);
}

/// W5.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_copies_at_once_are_one_delivery() {
    let world = std::sync::Arc::new(World::new());
    let copies: Vec<_> = (0..100)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.push(&main_push()).await })
        })
        .collect();
    let mut accepted = 0;
    for copy in copies {
        match copy.await.unwrap() {
            Answer::Accepted => accepted += 1,
            other => assert_eq!(other, Answer::AcceptedBefore),
        }
    }
    assert_eq!((accepted, world.inbox().await.len()), (1, 1));
}

/// W6.
#[tokio::test]
async fn an_old_push_that_comes_again_is_not_a_new_one() {
    let world = World::new();
    let (a, b) = (main_push(), push_of(123_456, "refs/heads/main", &"b".repeat(40)).to_string());
    for (body, answer) in [(&a, Answer::Accepted), (&b, Answer::Accepted), (&a, Answer::AcceptedBefore)] {
        assert_eq!(world.push(body).await, answer);
    }
    assert_eq!(world.inbox().await.len(), 2);
}

/// W7.
#[tokio::test]
async fn other_events_are_received_and_left() {
    let (world, body) = (World::new(), main_push());
    for (event, answer) in [
        (Some("ping"), Answer::Pong),
        (Some("issues"), Answer::OtherEvent),
        (Some("Push"), Answer::OtherEvent),
        (Some("no-such-event"), Answer::OtherEvent),
        (Some(""), Answer::OtherEvent),
        (None, Answer::OtherEvent),
    ] {
        let mut headers = signed(SECRET, body.as_bytes());
        headers.remove("x-github-event");
        if let Some(event) = event {
            set(&mut headers, "x-github-event", event);
        }
        assert_eq!(world.receive(&headers, &body).await, answer, "{event:?}");
        headers.remove("x-hub-signature-256");
        assert_eq!(world.receive(&headers, &body).await, Answer::Unauthorized, "{event:?}");
    }
    assert_eq!((Answer::Pong.status(), Answer::OtherEvent.status()), (200, 204));
    assert!(world.inbox().await.is_empty());
}

/// W8.
#[tokio::test]
async fn pushes_elsewhere_and_deletions_are_left() {
    let world = World::new();
    let changed = |member: &str, value: serde_json::Value| {
        let mut body = push_of(123_456, "refs/heads/main", COMMIT);
        body[member] = value;
        body
    };
    let mut without_head = push_of(123_456, "refs/heads/main", COMMIT);
    without_head.as_object_mut().unwrap().remove("head_commit");
    for (body, answer) in [
        (push_of(123_457, "refs/heads/main", COMMIT), Answer::NotWatched),
        (push_of(0, "refs/heads/main", COMMIT), Answer::NotWatched),
        (push_of(123_456, "refs/heads/other", COMMIT), Answer::NotWatched),
        (push_of(123_456, "refs/heads/release", COMMIT), Answer::NotWatched),
        (push_of(123_456, "refs/tags/main", COMMIT), Answer::NotWatched),
        (push_of(123_456, "main", COMMIT), Answer::NotWatched),
        (changed("deleted", true.into()), Answer::NothingToRead),
        (changed("after", "0".repeat(40).into()), Answer::NothingToRead),
        (changed("after", "0".repeat(64).into()), Answer::NothingToRead),
        (changed("head_commit", serde_json::Value::Null), Answer::NothingToRead),
        (without_head, Answer::NothingToRead),
    ] {
        assert_eq!(world.push(&body.to_string()).await, answer, "{body}");
        assert_eq!(answer.status(), 204);
    }
    assert!(world.inbox().await.is_empty());
    assert_eq!(world.push(&push_of(123_456, "refs/heads/release/2", COMMIT).to_string()).await, Answer::Accepted);
}

/// W9: what is over the cap is refused before it is hashed; the reconciler finds the commit.
#[tokio::test]
async fn the_cap_holds_on_both_sides() {
    let world = World::new();
    let push = main_push();
    for (length, answer) in [
        (MAX_BODY_BYTES - 1, Answer::Accepted),
        (MAX_BODY_BYTES, Answer::AcceptedBefore),
        (MAX_BODY_BYTES + 1, Answer::TooLarge),
    ] {
        let body = format!("{push}{}", " ".repeat(length - push.len()));
        assert_eq!(world.push(&body).await, answer, "{length}");
        let (headers, body) = (signed(SECRET, body.as_bytes()), STANDARD.encode(&body));
        let answer = if answer == Answer::Accepted { Answer::AcceptedBefore } else { answer };
        let request = Request { headers: &headers, body: &body, is_base64: true };
        assert_eq!(world.receiver.receive(request).await, answer, "{length} in base64");
    }
    assert_eq!(Answer::TooLarge.status(), 413);
}

/// W10.
#[tokio::test]
async fn signed_bodies_that_are_no_push_are_refused() {
    let world = World::new();
    let with = |rest: &str| main_push().replacen('{', &format!("{{{rest},"), 1);
    let nested = |depth: usize| with(&format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth)));
    for (body, answer) in [
        (String::new(), Answer::NotJson),
        ("null".to_owned(), Answer::NotAPush),
        ("[]".to_owned(), Answer::NotAPush),
        ("{}".to_owned(), Answer::NotAPush),
        ("{".to_owned(), Answer::NotJson),
        ("payload=%7B%7D".to_owned(), Answer::NotJson),
        (format!("{} {{}}", main_push()), Answer::NotJson),
        (format!("\u{feff}{}", main_push()), Answer::NotJson),
        (nested(126), Answer::Accepted),
        (nested(127), Answer::NotJson),
        (nested(10_000), Answer::NotJson),
        (with("\"x\":1e999"), Answer::NotJson),
        (with("\"x\":NaN"), Answer::NotJson),
        (with("\"ref\":\"refs/heads/other\""), Answer::NotAPush),
        (with("\"repository\":{\"id\":123456,\"full_name\":\"a/b\"}"), Answer::NotAPush),
        (main_push().replace("123456", "123456.0"), Answer::NotAPush),
        (main_push().replace("123456", "-123456"), Answer::NotAPush),
        (main_push().replace("123456", "\"123456\""), Answer::NotAPush),
        (main_push().replace("123456", "340282366920938463463374607431768211456"), Answer::NotAPush),
        (main_push().replace(&format!("\"after\":\"{COMMIT}\""), "\"after\":\"main\""), Answer::NotAPush),
        (main_push().replace(COMMIT, &COMMIT[1..]), Answer::NotAPush),
        (main_push().replace(COMMIT, &COMMIT.to_uppercase()), Answer::NotAPush),
        (main_push().replace(COMMIT, &"../".repeat(14)[..40]), Answer::NotAPush),
        (main_push().replace("corp/package-requests", "corp"), Answer::NotAPush),
        (main_push().replace("corp/package-requests", "corp/.."), Answer::NotAPush),
        (main_push().replace("corp/package-requests", "a/b/c"), Answer::NotAPush),
        (main_push().replace("corp/package-requests", "a/b?c"), Answer::NotAPush),
        (main_push().replace("corp/package-requests", &format!("a/{}", "b".repeat(199))), Answer::NotAPush),
    ] {
        let shown: String = body.chars().take(200).collect();
        assert_eq!(world.push(&body).await, answer, "{shown}");
    }
    let mut body = main_push().into_bytes();
    let at = body.windows(2).position(|pair| pair == "ï".as_bytes()).unwrap();
    body[at + 1] = b'!';
    let (headers, text) = (signed(SECRET, &body), STANDARD.encode(&body));
    let request = Request { headers: &headers, body: &text, is_base64: true };
    assert_eq!(world.receiver.receive(request).await, Answer::NotJson);
    assert_eq!((Answer::NotJson.status(), Answer::NotAPush.status()), (400, 400));
}

/// The longest name that is taken, and commits of both kinds.
#[tokio::test]
async fn long_names_and_long_commits_are_taken() {
    let world = World::new();
    let named = main_push().replace("corp/package-requests", &format!("a/{}", "b".repeat(198)));
    assert_eq!(world.push(&named).await, Answer::Accepted);
    let sha256 = push_of(123_456, "refs/heads/main", &"c".repeat(64)).to_string();
    assert_eq!(world.push(&sha256).await, Answer::Accepted);
}

/// W11: a push that is not stored is never a success.
#[tokio::test(start_paused = true)]
async fn when_a_service_fails_or_hangs_the_push_is_not_accepted() {
    for mood in [Mood::Failing, Mood::Hanging] {
        for part in ["secrets", "records"] {
            let world = World::new();
            let be = |mood| match part {
                "secrets" => world.secrets.be(mood),
                _ => *world.records.mood.lock().unwrap() = mood,
            };
            be(mood);
            let began = tokio::time::Instant::now();
            assert_eq!(world.push(&main_push()).await, Answer::Unavailable, "{part} {mood:?}");
            assert!(began.elapsed() <= ANSWER_WITHIN);
            assert!(world.inbox().await.is_empty());
            be(Mood::Well);
            assert_eq!(world.push(&main_push()).await, Answer::Accepted, "{part} {mood:?}");
        }
    }
    assert_eq!(Answer::Unavailable.status(), 503);
    assert!(ANSWER_WITHIN.as_secs() < 10, "GitHub waits for 10 s");
}

/// W12.
#[tokio::test]
async fn a_rotated_secret_is_taken_from_both_sides() {
    let (world, body) = (World::new(), main_push());
    let (second, third) = ("the second secret of the webhook", "the third secret of the webhook");
    let push = async |secret| world.receive(&signed(secret, body.as_bytes()), &body).await;
    assert_eq!(push(SECRET).await, Answer::Accepted);
    assert_eq!(push(second).await, Answer::Unauthorized);
    assert_eq!(world.secrets.fresh(), 1);

    // GitHub is changed first, and the cache holds the old secret: one fresh look a minute finds the new one.
    world.secrets.rotate(second);
    assert_eq!(push(second).await, Answer::Unauthorized, "the fresh look is used up");
    world.clock.pass(FRESH_EVERY - SignedDuration::from_secs(1));
    assert_eq!(push(second).await, Answer::Unauthorized);
    world.clock.pass(SignedDuration::from_secs(1));
    assert_eq!(push(second).await, Answer::AcceptedBefore);
    assert_eq!(world.secrets.fresh(), 2);

    // GitHub still signs with the old one.
    assert_eq!(push(SECRET).await, Answer::AcceptedBefore);
    world.secrets.rotate(third);
    world.secrets.expire();
    assert_eq!(push(third).await, Answer::AcceptedBefore);
    assert_eq!(push(second).await, Answer::AcceptedBefore);
    world.clock.pass(FRESH_EVERY);
    assert_eq!(push(SECRET).await, Answer::Unauthorized, "it is neither the current nor the previous one");
}

/// A store that fails while it is asked past the cache does not say that a signature is wrong.
#[tokio::test(start_paused = true)]
async fn a_fresh_look_that_fails_is_no_verdict() {
    for mood in [Mood::Failing, Mood::Hanging] {
        let (world, body) = (World::new(), main_push());
        world.secrets.be_when_fresh(mood);
        let headers = signed("a secret that nobody has stored", body.as_bytes());
        assert_eq!(world.receive(&headers, &body).await, Answer::Unavailable, "{mood:?}");
        assert_eq!(world.push(&body).await, Answer::Accepted);
    }
}

/// W13.
#[tokio::test]
async fn forms_get_a_hint() {
    let world = World::new();
    let form = "payload=%7B%22zen%22%3A%22Design+for+failure.%22%7D";
    for (content_type, answer) in [
        (Some("application/x-www-form-urlencoded"), Answer::NotJsonType),
        (Some("text/plain"), Answer::NotJsonType),
        (Some("application/jsonx"), Answer::NotJsonType),
        (Some(""), Answer::NotJsonType),
        (None, Answer::NotJsonType),
        (Some("application/json"), Answer::NotJson),
        (Some("Application/JSON; charset=utf-8"), Answer::NotJson),
    ] {
        let mut headers = signed(SECRET, form.as_bytes());
        headers.remove("content-type");
        if let Some(content_type) = content_type {
            set(&mut headers, "content-type", content_type);
        }
        assert_eq!(world.receive(&headers, form).await, answer, "{content_type:?}");
        set(&mut headers, "x-hub-signature-256", &signature("another secret of nobody", form.as_bytes()));
        assert_eq!(world.receive(&headers, form).await, Answer::Unauthorized, "{content_type:?}");
    }
    assert_eq!(Answer::NotJsonType.status(), 415);
    assert!(Answer::NotJsonType.message().contains("application/json"));
}

/// W15.
#[tokio::test]
async fn exactly_one_signature_counts() {
    let (world, body) = (World::new(), main_push());
    let right = signature(SECRET, body.as_bytes());
    let wrong = signature("a secret that nobody has stored", body.as_bytes());
    let name = HeaderName::from_static("x-hub-signature-256");
    for values in [
        vec![right.clone(), right.clone()],
        vec![right.clone(), wrong.clone()],
        vec![wrong.clone(), right.clone()],
        vec![format!("{right},{right}")],
        vec![format!("{right}, {wrong}")],
        vec![format!("{wrong},{right}")],
        vec![String::new(), right.clone()],
        vec![],
    ] {
        let mut headers = signed(SECRET, body.as_bytes());
        headers.remove(&name);
        for value in &values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(world.receive(&headers, &body).await, Answer::Unauthorized, "{values:?}");
    }
    let mut headers = signed(SECRET, body.as_bytes());
    headers.remove(&name);
    headers.insert(HeaderName::from_bytes(b"X-Hub-Signature-256").unwrap(), right.parse().unwrap());
    assert_eq!(world.receive(&headers, &body).await, Answer::Accepted, "names have no case");
}

/// W16: nothing starts with a secret that everybody knows or that opens the repository.
#[tokio::test]
async fn secrets_that_must_not_sign_stop_the_function() {
    for secret in ["", " ", "tiny", "ghp_0123456789abcdefghijABCDEFGHIJ012345", "github_pat_11ABCDEFG0123456789_abcdef"]
    {
        let world = World::new();
        world.secrets.rotate(secret);
        world.secrets.expire();
        let error = world.receiver.check_secret().await.unwrap_err();
        assert_eq!(error.name, ErrorName::Configuration, "{secret}");
        assert!(secret.trim().is_empty() || !error.message.contains(secret), "{error}");
        let body = main_push();
        assert_eq!(world.receive(&signed(secret, body.as_bytes()), &body).await, Answer::Unavailable, "{secret}");
        // Nor with the empty value that stood there before the secret was written.
        let world = World::new();
        world.secrets.previous_is(secret);
        assert_eq!(world.receiver.check_secret().await, Ok(()));
        assert_eq!(world.receive(&signed(secret, body.as_bytes()), &body).await, Answer::Unauthorized, "{secret}");
        assert_eq!(world.push(&body).await, Answer::Accepted);
    }
    let world = World::new();
    world.secrets.be(Mood::Failing);
    assert_eq!(world.receiver.check_secret().await.unwrap_err().name, ErrorName::Transient);
}

#[tokio::test]
async fn a_delivery_id_of_another_form_is_not_kept() {
    for (id, kept) in [
        ("a".repeat(64), true),
        ("a".repeat(65), false),
        (String::new(), false),
        ("a b".to_owned(), false),
        ("../x".to_owned(), false),
    ] {
        let (world, body) = (World::new(), main_push());
        let mut headers = signed(SECRET, body.as_bytes());
        set(&mut headers, "x-github-delivery", &id);
        assert_eq!(world.receive(&headers, &body).await, Answer::Accepted);
        let stored = world.records.get(&world.inbox().await[0]).await.unwrap().unwrap();
        let stored: Delivery = serde_json::from_slice(&stored).unwrap();
        assert_eq!(stored.delivery_id, kept.then_some(id));
    }
}
