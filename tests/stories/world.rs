use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use gate_core::digest::Sha256;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What the host serves, by path, and what it was asked for.
#[derive(Default)]
struct Site {
    files: BTreeMap<String, Vec<u8>>,
    pages: BTreeMap<String, String>,
    asked: Vec<String>,
}

/// One output folder, one index, one policy.
pub(crate) struct World {
    folder: TempDir,
    site: Arc<Mutex<Site>>,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

/// A finished `gate check --json`.
pub(crate) struct Checked {
    pub(crate) status: i32,
    pub(crate) document: Value,
}

impl Checked {
    /// The row of a line: `approved no-finding`.
    pub(crate) fn row(&self, line: u64) -> String {
        let row = self.value(line);
        format!("{} {}", row["verdict"].as_str().unwrap(), row["reasons"][0]["code"].as_str().unwrap())
    }

    /// The codes of all reasons of a line.
    pub(crate) fn codes(&self, line: u64) -> Vec<String> {
        let reasons = self.value(line)["reasons"].as_array().unwrap();
        reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
    }

    /// The first message of a line.
    pub(crate) fn message(&self, line: u64) -> &str {
        self.value(line)["reasons"][0]["message"].as_str().unwrap()
    }

    pub(crate) fn value(&self, line: u64) -> &Value {
        self.document["rows"].as_array().unwrap().iter().find(|row| row["line"] == line).unwrap()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
        let site = Arc::new(Mutex::new(Site::default()));
        let address = runtime.block_on(listen(TlsAcceptor::from(Arc::new(config)), site.clone()));
        let world = Self { folder, site, address, _runtime: runtime };
        world.policy("");
        world
    }

    /// A URL of the host. Rows may name it only because the policy lists the host with its port.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.address.port())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// Adds rules to the minimal policy, which lists the loopback host.
    pub(crate) fn policy(&self, extra: &str) {
        let port = self.address.port();
        let text = format!(
            "schema_version = 1\nrefuse_at = \"medium\"\n{extra}\n[network]\nallow = [{{ host = \"localhost\", cidrs = [\"127.0.0.0/8\", \"::1/128\"], ports = [{port}] }}]\n"
        );
        std::fs::write(self.path("policy.toml"), text).unwrap();
    }

    /// Lists a file of a project on the index, with attributes such as `data-yanked="why"`.
    pub(crate) fn release(&self, name: &str, filename: &str, bytes: Vec<u8>, attributes: &str) {
        let digest = Sha256::of(&bytes);
        let link = format!("<a href=\"/files/{filename}#sha256={digest}\" {attributes}>{filename}</a>\n");
        let mut site = self.site.lock().unwrap();
        site.pages.entry(format!("/simple/{name}/")).or_default().push_str(&link);
        site.files.insert(format!("/files/{filename}"), bytes);
    }

    /// Serves bytes at a path.
    pub(crate) fn serve(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.site.lock().unwrap().files.insert(format!("/{path}"), bytes.into());
    }

    /// What the host was asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.site.lock().unwrap().asked)
    }

    pub(crate) fn gate(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The program in this world, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gate"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("SSL_CERT_FILE", self.path("ca.pem"))
            .env_remove("SSL_CERT_DIR")
            .env("PIP_INDEX_URL", self.url("simple/"))
            // No proxy of the environment is ever asked; nothing listens here.
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .env("ALL_PROXY", "http://127.0.0.1:9");
        command
    }

    /// Writes the request and checks it.
    pub(crate) fn check(&self, request: impl AsRef<[u8]>) -> Checked {
        self.check_with(request, &[])
    }

    pub(crate) fn check_with(&self, request: impl AsRef<[u8]>, extra: &[&str]) -> Checked {
        std::fs::write(self.path("request.csv"), request).unwrap();
        let mut args = vec!["check", "request.csv", "--policy", "policy.toml", "--out", "out", "--json"];
        args.extend(extra);
        let output = self.gate(&args);
        let text = String::from_utf8(output.stdout).unwrap();
        let document = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
        Checked { status: output.status.code().unwrap(), document }
    }

    /// The names of the files below a folder of the world.
    pub(crate) fn files(&self, below: &str) -> Vec<String> {
        let root = self.path(below);
        let mut names: Vec<_> = walkdir::WalkDir::new(&root)
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| relative(&root, entry.path()))
            .collect();
        names.sort();
        names
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

async fn listen(acceptor: TlsAcceptor, site: Arc<Mutex<Site>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(site);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = TowerToHyperService::new(router);
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

async fn answer(State(site): State<Arc<Mutex<Site>>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let mut site = site.lock().unwrap();
    site.asked.push(path.clone());
    if path == "/simple/" {
        let list = site.pages.keys().map(|page| format!("<a href=\"{page}\"></a>")).collect::<String>();
        return ([(header::CONTENT_TYPE, "application/vnd.pypi.simple.v1+html")], list).into_response();
    }
    if let Some(links) = site.pages.get(&path) {
        return Html(format!("<!DOCTYPE html><html><body>{links}</body></html>")).into_response();
    }
    match site.files.get(&path) {
        Some(bytes) => ([(header::CONTENT_TYPE, "application/octet-stream")], bytes.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, Html("<!DOCTYPE html><p>not found</p>")).into_response(),
    }
}
