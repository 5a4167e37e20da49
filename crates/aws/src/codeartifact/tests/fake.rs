//! A repository with CodeArtifact's rules, on loopback: it checks signatures and digests, takes the same bytes twice and no
//! others, and gives two assets a page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use gate_core::digest::Sha256;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::super::{Client, CodeArtifact};

const SECRET: &str = "secret";

/// One version.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    pub(super) status: String,
    pub(super) assets: BTreeMap<String, Bytes>,
}

/// What the fake holds, and what it is told to do.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// By `package@version`.
    pub(super) versions: BTreeMap<String, Version>,
    /// Packages whose upstream is blocked.
    pub(super) closed: Vec<String>,
    /// Every call: operation and asset.
    pub(super) calls: Vec<String>,
    /// Answers to give to the next calls of an operation: before it is done, or instead of its answer.
    pub(super) faults: Vec<(&'static str, When, u16, &'static str)>,
    /// What another publisher does just before the next call of an operation.
    pub(super) meanwhile: Option<Meanwhile>,
}

/// An operation, and what happens before it.
type Meanwhile = (&'static str, fn(&mut Shelf));

/// Whether a call that is answered with an error was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Refused,
    AnswerLost,
}

/// The fake and a client for it.
pub(super) struct Fake {
    pub(super) repository: CodeArtifact,
    shelf: Arc<Mutex<Shelf>>,
}

type Answer = (u16, Value);

impl Fake {
    pub(super) async fn start() -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let app = Router::new().fallback(serve).layer(axum::extract::DefaultBodyLimit::max(64 << 20));
        let app = app.with_state(Arc::clone(&shelf));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::from_conf(crate::testing::loopback!(aws_sdk_codeartifact, &endpoint));
        Self { repository: CodeArtifact::new(client, "gate-domain", "111122223333", "approved"), shelf }
    }

    pub(super) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a version there, as somebody else would.
    pub(super) fn plant(&self, key: &str, status: &str, assets: &[(&str, &[u8])]) {
        let assets = assets.iter().map(|(name, bytes)| ((*name).to_owned(), Bytes::copy_from_slice(bytes))).collect();
        self.shelf().versions.insert(key.to_owned(), Version { status: status.to_owned(), assets });
    }

    pub(super) fn version(&self, key: &str) -> Option<Version> {
        self.shelf().versions.get(key).cloned()
    }

    /// The calls of one operation.
    pub(super) fn calls(&self, operation: &str) -> usize {
        self.shelf().calls.iter().filter(|call| call.starts_with(operation)).count()
    }
}

async fn serve(
    State(shelf): State<Arc<Mutex<Shelf>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<axum::body::Body> {
    let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, body) = answer(&mut shelf, &method, &uri, &headers, &body);
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body.to_string().into()).unwrap()
}

fn error(status: u16, code: &str, resource: &str) -> Answer {
    (status, json!({ "__type": code, "message": "PAYLOAD", "resourceType": resource }))
}

fn answer(shelf: &mut Shelf, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Answer {
    let operation = match (method.as_str(), uri.path()) {
        ("GET", "/v1/package/version") => "describe",
        ("POST", "/v1/package/version/assets") => "list",
        ("POST", "/v1/package/version/publish") => "publish",
        ("POST", "/v1/package") => "origin",
        other => panic!("no operation of the service: {other:?}"),
    };
    assert_eq!(signature(method, uri, headers, body), sent_signature(headers), "{operation}");
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    shelf.calls.push(format!("{operation} {}", get("asset")));
    if let Some((_, change)) = shelf.meanwhile.take_if(|(at, _)| *at == operation) {
        change(shelf);
    }
    let fault = shelf.faults.iter().position(|(at, ..)| *at == operation).map(|at| shelf.faults.remove(at));
    if let Some((_, When::Refused, status, code)) = fault {
        return error(status, code, "repository");
    }
    assert_eq!((get("domain"), get("domain-owner"), get("repository")), ("gate-domain", "111122223333", "approved"));
    assert_eq!((get("format"), get("namespace")), ("generic", "gate"));
    let done = done(shelf, operation, &query, headers, body);
    match fault {
        Some((_, _, status, code)) => error(status, code, "repository"),
        None => done,
    }
}

fn done(
    shelf: &mut Shelf,
    operation: &str,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let key = format!("{}@{}", get("package"), get("version"));
    match operation {
        "describe" => match shelf.versions.get(&key) {
            Some(version) => (200, json!({ "packageVersion": { "status": version.status } })),
            None => error(404, "ResourceNotFoundException", "package-version"),
        },
        "list" => match shelf.versions.get(&key) {
            Some(version) => page(version, get("next-token")),
            None => error(404, "ResourceNotFoundException", "package-version"),
        },
        "publish" => publish(shelf, &key, query, headers, body),
        _ => {
            let asked: Value = serde_json::from_slice(body).unwrap();
            assert_eq!(asked["restrictions"], json!({ "publish": "ALLOW", "upstream": "BLOCK" }));
            shelf.closed.push(get("package").to_owned());
            (200, json!({}))
        }
    }
}

fn page(version: &Version, token: &str) -> Answer {
    let start: usize = token.parse().unwrap_or(0);
    let assets: Vec<_> = version.assets.iter().skip(start).take(2).map(|(name, bytes)| asset(name, bytes)).collect();
    let next = (start + 2 < version.assets.len()).then(|| (start + 2).to_string());
    (200, json!({ "assets": assets, "nextToken": next }))
}

fn asset(name: &str, bytes: &Bytes) -> Value {
    json!({ "name": name, "size": bytes.len(), "hashes": { "SHA-1": "0", "SHA-256": Sha256::of(bytes) } })
}

fn publish(
    shelf: &mut Shelf,
    key: &str,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    if headers["x-amz-content-sha256"] != Sha256::of(body).to_string().as_str() {
        return error(400, "ValidationException", "");
    }
    assert_eq!(headers["content-length"], body.len().to_string().as_str());
    let name = &query["asset"];
    let version = shelf
        .versions
        .entry(key.to_owned())
        .or_insert_with(|| Version { status: "Unfinished".to_owned(), assets: BTreeMap::new() });
    let same = version.assets.get(name).map(|stored| stored == body);
    if same == Some(false) || (same.is_none() && version.status != "Unfinished") {
        return error(409, "ConflictException", "asset");
    }
    version.assets.insert(name.clone(), body.clone());
    assert!(version.assets.len() <= 150);
    if query.get("unfinished").is_none_or(|unfinished| unfinished != "true") {
        version.status = "Published".to_owned();
    }
    (200, json!({ "status": version.status, "asset": asset(name, body) }))
}

fn sent_signature(headers: &HeaderMap) -> String {
    let authorization = headers["authorization"].to_str().unwrap();
    authorization.rsplit_once("Signature=").unwrap().1.to_owned()
}

/// The signature that AWS would compute for this request: AWS Signature Version 4, with the digest that the header
/// `x-amz-content-sha256` declares, or that of the body.
fn signature(method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> String {
    let text = |name: &str| headers[name].to_str().unwrap().trim().to_owned();
    let authorization = text("authorization");
    let part = |name: &str| authorization.split_once(name).unwrap().1.split(',').next().unwrap().to_owned();
    let (signed, scope) = (part("SignedHeaders="), part("Credential=id/"));
    let mut query: Vec<_> = uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable_by_key(|pair| pair.split_once('='));
    let canonical_headers: String = signed.split(';').map(|name| format!("{name}:{}\n", text(name))).collect();
    let declared = headers.get("x-amz-content-sha256").map(|value| value.to_str().unwrap().to_owned());
    let digest = declared.unwrap_or_else(|| Sha256::of(body).to_string());
    let canonical = format!("{method}\n{}\n{}\n{canonical_headers}\n{signed}\n{digest}", uri.path(), query.join("&"));
    let canonical = Sha256::of(canonical.as_bytes());
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{canonical}", text("x-amz-date"));
    let mac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
    mac(&key, &to_sign).iter().map(|byte| format!("{byte:02x}")).collect()
}
