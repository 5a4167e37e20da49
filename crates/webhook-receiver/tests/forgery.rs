//! W2 and W14: what is not signed is never accepted, however near it comes and however often.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::*;
use gate_webhook_receiver::{Answer, Request};
use http::HeaderValue;
use proptest::prelude::*;
use proptest::sample::Index;
use tracing_subscriber::fmt::MakeWriter;

/// One change to bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    Swap(Index, Index),
    Append(Vec<u8>),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Self::Flip(at, 1 << bit)),
            (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Self::Insert(at, byte)),
            any::<Index>().prop_map(Self::Remove),
            any::<Index>().prop_map(Self::Cut),
            (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Self::Swap(a, b)),
            proptest::collection::vec(any::<u8>(), 1..80).prop_map(Self::Append),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
            Self::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Swap(a, b) => {
                let length = bytes.len();
                bytes.swap(a.index(length), b.index(length));
            }
            Self::Append(more) => bytes.extend_from_slice(more),
        }
    }
}

/// A header value near the right one.
fn near(right: String) -> impl Strategy<Value = Vec<u8>> {
    let changed = |right: String| {
        Change::any().prop_map(move |change| {
            let mut value = right.clone().into_bytes();
            change.apply(&mut value);
            value
        })
    };
    let digits = right["sha256=".len()..].to_owned();
    let fixed = [
        right.to_uppercase(),
        format!("SHA256={digits}"),
        format!("sha256={}", digits.to_uppercase()),
        format!("sha1={digits}"),
        format!("sha512={digits}"),
        format!("sha256={digits}00"),
        format!("sha256=0x{digits}"),
        format!("sha256 ={digits}"),
        format!("sha256={digits},"),
        format!("\"{right}\""),
        digits.clone(),
        "sha256=".to_owned(),
        format!("sha256={}", "0".repeat(64)),
    ];
    prop_oneof![
        8 => changed(right),
        1 => proptest::sample::select(fixed.map(String::into_bytes).to_vec()),
        1 => "sha256=[0-9a-f]{64}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..100),
    ]
}

fn answer(world: &World, signature: &[u8], body: &[u8]) -> Answer {
    let mut headers = signed(SECRET, body);
    headers.remove("x-hub-signature-256");
    if let Ok(value) = HeaderValue::from_bytes(signature) {
        headers.insert("x-hub-signature-256", value);
    }
    let (text, runtime) = (STANDARD.encode(body), tokio::runtime::Builder::new_current_thread().enable_time().build());
    let request = Request { headers: &headers, body: &text, is_base64: true };
    runtime.unwrap().block_on(world.receiver.receive(request))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(10_000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_body_is_accepted(changes in proptest::collection::vec(Change::any(), 1..4)) {
        let (world, right) = (World::new(), main_push().into_bytes());
        let tag = signature(SECRET, &right);
        let mut body = right.clone();
        for change in &changes {
            if !body.is_empty() {
                change.apply(&mut body);
            }
        }
        prop_assume!(body != right);
        prop_assert_eq!(answer(&world, tag.as_bytes(), &body), Answer::Unauthorized);
        prop_assert_eq!(answer(&world, tag.as_bytes(), &right), Answer::Accepted);
    }

    #[test]
    fn no_changed_signature_is_accepted(value in near(signature(SECRET, main_push().as_bytes()))) {
        let (world, body) = (World::new(), main_push().into_bytes());
        let right = signature(SECRET, &body);
        prop_assume!(value != right.as_bytes());
        prop_assert_eq!(answer(&world, &value, &body), Answer::Unauthorized);
        prop_assert_eq!(answer(&world, right.as_bytes(), &body), Answer::Accepted);
    }

    /// Whatever is signed is answered, and only a push of a watched branch is stored.
    #[test]
    fn no_signed_body_is_too_odd(changes in proptest::collection::vec(Change::any(), 1..4)) {
        let (world, mut body) = (World::new(), main_push().into_bytes());
        for change in &changes {
            if !body.is_empty() {
                change.apply(&mut body);
            }
        }
        let answered = answer(&world, signature(SECRET, &body).as_bytes(), &body);
        prop_assert!(matches!(answered.status(), 202 | 204 | 400), "{answered:?}");
        let watched = serde_json::from_slice::<serde_json::Value>(&body)
            .is_ok_and(|push| push["ref"] == "refs/heads/main" && push["repository"]["id"] == 123_456);
        prop_assert!(answered != Answer::Accepted || watched);
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn logged(level: tracing::Level, run: impl FnOnce()) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(level).with_writer(log.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    log.text()
}

/// W14.
#[test]
fn a_thousand_bad_requests_cost_one_look_at_the_store_and_no_line() {
    let (world, body) = (World::new(), main_push().into_bytes());
    let tag = signature("a secret that nobody has stored", &body);
    let log = logged(tracing::Level::INFO, || {
        for _ in 0..1_000 {
            assert_eq!(answer(&world, tag.as_bytes(), &body), Answer::Unauthorized);
        }
    });
    assert_eq!((world.secrets.fresh(), log.as_str()), (1, ""));
}

#[test]
fn nothing_of_a_request_or_a_secret_is_logged() {
    let body = main_push().into_bytes();
    let (right, wrong) = (signature(SECRET, &body), signature("a secret that nobody has stored", &body));
    let log = logged(tracing::Level::TRACE, || {
        let world = World::new();
        assert_eq!(answer(&world, right.as_bytes(), &body), Answer::Accepted);
        assert_eq!(answer(&world, wrong.as_bytes(), &body), Answer::Unauthorized);
        assert_eq!(answer(&world, signature(SECRET, b"{").as_bytes(), b"{"), Answer::NotJson);
        world.secrets.be(Mood::Failing);
        assert_eq!(answer(&world, right.as_bytes(), &body), Answer::Unavailable);
    });
    assert_eq!(log.lines().count(), 4, "{log}");
    assert!(log.contains("72d3162e-cc78-11e3-81ab-4c9367dc0958"), "{log}");
    for word in [SECRET, &right[7..], &wrong[7..], "package-requests", "head_commit"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
}
