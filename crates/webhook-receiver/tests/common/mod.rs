//! The world of the tests: a store, secrets that can be rotated, broken and slow, and GitHub's signature.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "shared by several test programs")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{Clock, Put, Records, Secrets};
use gate_core::route::Route;
use gate_core::step::{ErrorName, StepError};
use gate_core::testing::MemoryRecords;
use gate_webhook_receiver::{Answer, Receiver, Request};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

pub const SECRET: &str = "only the tests sign with this secret";
pub const COMMIT: &str = "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c";

/// How a fake behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    Failing,
    /// Never answers.
    Hanging,
}

async fn be<T>(mood: Mood, error: T) -> Result<(), T> {
    match mood {
        Mood::Well => Ok(()),
        Mood::Failing => Err(error),
        Mood::Hanging => std::future::pending().await,
    }
}

/// A store of secrets behind a cache that never expires by itself.
#[derive(Clone, Default)]
pub struct FakeSecrets(Arc<Mutex<Kept>>, Arc<AtomicUsize>);

#[derive(Default)]
struct Kept {
    cached: String,
    stored: String,
    previous: Option<String>,
    mood: Mood,
    /// Only a look past the cache behaves so.
    fresh_mood: Mood,
    calls: usize,
}

impl FakeSecrets {
    pub fn new(secret: &str) -> Self {
        let secrets = Self::default();
        secrets.with(|kept| (kept.cached, kept.stored) = (secret.to_owned(), secret.to_owned()));
        secrets
    }

    fn with<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Somebody rotates the secret; the cache does not know.
    pub fn rotate(&self, secret: &str) {
        self.with(|kept| kept.previous = Some(std::mem::replace(&mut kept.stored, secret.to_owned())));
    }

    /// The cache expires.
    pub fn expire(&self) {
        self.with(|kept| kept.cached = kept.stored.clone());
    }

    pub fn previous_is(&self, secret: &str) {
        self.with(|kept| kept.previous = Some(secret.to_owned()));
    }

    pub fn be(&self, mood: Mood) {
        self.with(|kept| kept.mood = mood);
    }

    pub fn be_when_fresh(&self, mood: Mood) {
        self.with(|kept| kept.fresh_mood = mood);
    }

    pub fn calls(&self) -> usize {
        self.with(|kept| kept.calls)
    }

    /// How often the store was asked past the cache.
    pub fn fresh(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

fn no_secret() -> StepError {
    StepError::new(ErrorName::Transient, "the secret could not be read")
}

impl Secrets for FakeSecrets {
    async fn current(&self, _: &str, fresh: bool) -> Result<SecretString, StepError> {
        let mood = self.with(|kept| {
            kept.calls += 1;
            if fresh && kept.mood == Mood::Well { kept.fresh_mood } else { kept.mood }
        });
        if fresh {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
        be(mood, no_secret()).await?;
        if fresh {
            self.expire();
        }
        Ok(SecretString::from(self.with(|kept| kept.cached.clone())))
    }

    async fn previous(&self, _: &str) -> Result<Option<SecretString>, StepError> {
        let (mood, previous) = self.with(|kept| {
            kept.calls += 1;
            (kept.mood, kept.previous.clone())
        });
        be(mood, no_secret()).await?;
        Ok(previous.map(SecretString::from))
    }
}

/// Records that can fail or hang.
#[derive(Clone, Default)]
pub struct FakeRecords {
    pub memory: MemoryRecords,
    pub mood: Arc<Mutex<Mood>>,
}

impl Records for FakeRecords {
    async fn put_new(&self, key: &str, body: &[u8]) -> Result<Put, Failure> {
        let mood = *self.mood.lock().unwrap();
        be(mood, Failure::new(FailureCode::Storage, "the store is down")).await?;
        tokio::task::yield_now().await;
        self.memory.put_new(key, body).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.memory.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        self.memory.list(prefix).await
    }
}

/// A clock that is set by hand.
#[derive(Clone)]
pub struct HandClock(Arc<Mutex<Timestamp>>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl HandClock {
    pub fn pass(&self, time: SignedDuration) {
        let mut now = self.0.lock().unwrap();
        *now += time;
    }
}

pub struct World {
    pub records: FakeRecords,
    pub secrets: FakeSecrets,
    pub clock: HandClock,
    pub receiver: Receiver<FakeRecords, FakeSecrets, HandClock>,
}

impl World {
    pub fn new() -> Self {
        let (records, secrets) = (FakeRecords::default(), FakeSecrets::new(SECRET));
        let clock = HandClock(Arc::new(Mutex::new("2026-11-20T09:15:32Z".parse().unwrap())));
        let routes = Route::parse_list("123456:main,123456:release/2").unwrap();
        let receiver = Receiver::new(records.clone(), secrets.clone(), clock.clone(), "webhook", routes);
        Self { records, secrets, clock, receiver }
    }

    pub async fn receive(&self, headers: &HeaderMap, body: &str) -> Answer {
        self.receiver.receive(Request { headers, body, is_base64: false }).await
    }

    /// A body that GitHub signs.
    pub async fn push(&self, body: &str) -> Answer {
        self.receive(&signed(SECRET, body.as_bytes()), body).await
    }

    pub async fn inbox(&self) -> Vec<String> {
        self.records.list("inbox/").await.unwrap()
    }
}

pub fn signature(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
    mac.finalize().into_bytes().iter().fold("sha256=".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
}

pub fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
}

/// The headers of a push, signed.
pub fn signed(secret: &str, body: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, "content-type", "application/json");
    set(&mut headers, "x-github-event", "push");
    set(&mut headers, "x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    set(&mut headers, "x-hub-signature-256", &signature(secret, body));
    headers
}

/// A push of `commit` to `reference`.
pub fn push_of(repository: u64, reference: &str, commit: &str) -> serde_json::Value {
    serde_json::json!({
        "ref": reference, "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "after": commit,
        "created": false, "deleted": false, "forced": false,
        "commits": [], "head_commit": { "id": commit, "modified": ["naïve.csv"] },
        "repository": { "id": repository, "full_name": "corp/package-requests", "fork": false },
    })
}

pub fn main_push() -> String {
    push_of(123_456, "refs/heads/main", COMMIT).to_string()
}
