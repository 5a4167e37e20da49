//! Scripted TLS servers, made-up names, and a fetcher between them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::policy::{FetchLimits, NetworkRule};
use gate_core::ports::{Downloaded, Downloader as _, Origin};
use gate_core::testing::MemoryQuarantine;
use gate_fetcher::{BoxFuture, Http, HttpDownloader, HttpLimits, IndexUrl, Resolve, Retry, SimpleIndex};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a server does after it has read a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// The same bytes again and again until the client hangs up.
    Endless(Vec<u8>),
    Close,
}

/// Given the head of a request and how many came before it, what to do.
pub(crate) type Script = Arc<dyn Fn(&str, usize) -> Vec<Step> + Send + Sync>;

pub(crate) fn script(f: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static) -> Script {
    Arc::new(f)
}

/// A server that answers every request alike.
pub(crate) fn always(reply: Vec<u8>) -> Script {
    script(move |_, _| vec![Step::Send(reply.clone())])
}

pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "", body)
}

pub(crate) fn redirect(to: &str) -> Vec<u8> {
    answer("302 Found", &format!("location: {to}\r\n"), b"")
}

/// Bytes that begin as a zip does.
pub(crate) fn archive(size: usize) -> Vec<u8> {
    let mut bytes = b"PK\x03\x04".to_vec();
    bytes.resize(size, b'z');
    bytes
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A server's TLS for a name, its certificate changed by `edit`.
    pub(crate) fn acceptor(&self, name: &str, edit: impl Fn(&mut CertificateParams)) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        acceptor(certificate, &key)
    }
}

pub(crate) fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Names with scripted answers: every lookup takes the next one, the last stays.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>,
    pub(crate) lookups: AtomicUsize,
}

impl Names {
    pub(crate) fn set(&self, name: &str, answers: &[&[&str]]) {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        self.answers.lock().unwrap().insert(name.to_owned(), answers.iter().map(parse).collect());
    }
}

impl Resolve for Names {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let mut all = self.answers.lock().unwrap();
        let answer = match all.get_mut(host) {
            None => Err(io::Error::other("no such name")),
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers[0].clone()),
        };
        Box::pin(async move { answer })
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) connections: Arc<AtomicUsize>,
    /// The heads of the requests.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    /// How many bytes went out.
    pub(crate) sent: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Listens on an address; `tls` absent means plain http.
    pub(crate) async fn listen(address: SocketAddr, host: &str, tls: Option<TlsAcceptor>, script: Script) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests, sent) = (Arc::default(), Arc::default(), Arc::default());
        let (c, r, s) = (Arc::clone(&connections), Arc::clone(&requests), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            let connections: Arc<AtomicUsize> = c;
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(stream, tls.clone(), Arc::clone(&script), Arc::clone(&r), Arc::clone(&s)));
            }
        });
        Self { host: host.to_owned(), port, connections, requests, sent, task }
    }

    /// A server that answers whatever it is sent with these bytes.
    pub(crate) async fn greeting(host: &str, bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut hello = [0; 5];
                let _ = stream.read_exact(&mut hello).await;
                let _ = stream.write_all(bytes).await;
            }
        });
        let (connections, requests, sent) = (Arc::default(), Arc::default(), Arc::default());
        Self { host: host.to_owned(), port, connections, requests, sent, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.host, self.port)
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn dials(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    script: Script,
    requests: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicUsize>,
) {
    match tls {
        None => converse(stream, script, requests, sent).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                converse(stream, script, requests, sent).await;
            }
        }
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Script,
    requests: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicUsize>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let before = {
            let mut requests = requests.lock().unwrap();
            requests.push(head.clone());
            requests.len() - 1
        };
        for step in script(&head, before) {
            match step {
                Step::Wait(pause) => tokio::time::sleep(pause).await,
                Step::Close => {
                    let _ = stream.shutdown().await;
                    return;
                }
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                    sent.fetch_add(bytes.len(), Ordering::Relaxed);
                }
                Step::Endless(bytes) => loop {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                    sent.fetch_add(bytes.len(), Ordering::Relaxed);
                },
            }
        }
    }
}

/// Everything a fetch stands in.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) names: Arc<Names>,
    pub(crate) quarantine: Arc<MemoryQuarantine>,
    pub(crate) network: Vec<NetworkRule>,
    pub(crate) index: Option<String>,
    pub(crate) http: HttpLimits,
    pub(crate) limits: FetchLimits,
}

pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl World {
    pub(crate) fn new() -> Self {
        let http = HttpLimits {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(5),
            total: Duration::from_secs(20),
            min_bytes_per_second: 0,
            window: Duration::from_secs(5),
            redirects: 5,
            retry: Retry { tries: 3, pause: Duration::from_millis(5), longest_pause: Duration::from_millis(1500) },
        };
        let limits =
            FetchLimits { file_bytes: 1 << 20, request_bytes: 1 << 22, file_seconds: 20, min_bytes_per_second: 0 };
        Self {
            authority: Authority::new(),
            names: Arc::default(),
            quarantine: Arc::default(),
            network: Vec::new(),
            index: None,
            http,
            limits,
        }
    }

    /// Lets rows reach a host at an address and a port.
    pub(crate) fn allow(&mut self, host: &str, cidr: &str, ports: &[u16]) {
        self.network.push(NetworkRule {
            host: host.to_owned(),
            cidrs: vec![cidr.parse().unwrap()],
            ports: ports.to_vec(),
        });
    }

    /// A server with a good certificate, a name that leads to it, and a rule that lists it.
    pub(crate) async fn serve(&mut self, host: &str, script: Script) -> Server {
        let server = self.serve_unlisted(host, script).await;
        self.allow(host, "127.0.0.1/32", &[server.port]);
        server
    }

    /// The same without the rule.
    pub(crate) async fn serve_unlisted(&mut self, host: &str, script: Script) -> Server {
        let tls = self.authority.acceptor(host, |_| {});
        self.names.set(host, &[&["127.0.0.1"]]);
        Server::listen(LOOPBACK, host, Some(tls), script).await
    }

    pub(crate) fn http(&self) -> Arc<Http> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.root.clone()).unwrap();
        let index = self.index.as_deref().map(|text| IndexUrl::parse(text).unwrap());
        let names: Arc<dyn Resolve> = Arc::clone(&self.names) as _;
        Arc::new(Http::new(&self.network, index, self.http, roots, &names).unwrap())
    }

    pub(crate) fn downloader(&self) -> HttpDownloader<MemoryQuarantine> {
        HttpDownloader::new(self.http(), Arc::clone(&self.quarantine), &self.limits)
    }

    pub(crate) fn simple_index(&self) -> SimpleIndex {
        SimpleIndex::new(self.http())
    }

    /// Downloads as a row would.
    pub(crate) async fn get(&self, url: &str) -> Result<Downloaded, Failure> {
        self.downloader().download(&url.parse().unwrap(), Origin::Row, None).await
    }

    /// Downloads as a row would, to see only how it failed; nothing is kept then.
    pub(crate) async fn refused(&self, url: &str) -> (FailureCode, String) {
        let failure = self.get(url).await.expect_err(url);
        assert!(self.quarantine.is_empty(), "{url}: something was kept");
        (failure.code, failure.message)
    }

    pub(crate) async fn code(&self, url: &str) -> FailureCode {
        self.refused(url).await.0
    }

    pub(crate) fn kept(&self, bytes: &[u8]) -> bool {
        self.quarantine.bytes(&Sha256::of(bytes)).is_some_and(|kept| kept == bytes)
    }
}
