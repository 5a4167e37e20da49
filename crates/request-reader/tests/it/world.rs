//! A GitHub on loopback, and everything else in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use gate_core::digest::Sha256;
use gate_core::outcome::{Reason, RowOutcome, Verdict};
use gate_core::policy::Policy;
use gate_core::ports::{Clock, ExecutionStatus, Executions, Records as _, Secrets, Started};
use gate_core::route::Route;
use gate_core::run::{self, Delivery, Inputs, Intake, Look, Notice, OutcomeDocument, RowKey, RunId, RunKind};
use gate_core::step::StepError;
use gate_core::testing::MemoryRecords;
use gate_request_reader::{Address, Config, GitHub, Limits, MailDomains, Patience, Ports, RequestPath, Rules};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

pub(crate) const REPOSITORY: u64 = 123_456;
pub(crate) const PATH: &str = "external-package-request.csv";
pub(crate) const TOKEN: &str = "token-2";

pub(crate) fn commit(n: u32) -> String {
    format!("{n:02x}").repeat(20)
}

/// What the fake GitHub holds and has been asked.
#[derive(Default)]
pub(crate) struct Hub {
    pub(crate) token: String,
    pub(crate) visible: bool,
    pub(crate) head: Option<String>,
    /// By commit: the entry of the contents API, and the bytes.
    pub(crate) files: BTreeMap<String, (Value, Vec<u8>)>,
    pub(crate) commits: Vec<String>,
    /// Of whatever commit.
    pub(crate) author: String,
    /// (first, last, mail) of the file, at whatever commit.
    pub(crate) blame: Vec<(u64, u64, Option<String>)>,
    /// Answers that come before the honest ones, to requests whose line contains the text.
    pub(crate) scripted: VecDeque<(&'static str, StatusCode, HeaderMap, Vec<u8>)>,
    pub(crate) log: Vec<String>,
    pub(crate) statuses: Vec<(String, Value)>,
}

type Shared = Arc<Mutex<Hub>>;

pub(crate) fn blob_id(bytes: &[u8]) -> String {
    let digest = Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn answer(State(hub): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut hub = hub.lock().unwrap();
    let line = format!("{} {}", parts.method, parts.uri);
    hub.log.push(line.clone());
    if hub.scripted.front().is_some_and(|(text, ..)| line.contains(text)) {
        let (_, status, headers, body) = hub.scripted.pop_front().unwrap();
        return (status, headers, body).into_response();
    }
    let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert!(header("user-agent").starts_with("package-gate/"), "GitHub refuses requests without a user agent");
    assert_eq!(header("x-github-api-version"), "2022-11-28");
    if header("authorization") != format!("Bearer {}", hub.token) {
        return (StatusCode::UNAUTHORIZED, r#"{"message":"Bad credentials"}"#).into_response();
    }
    honest(&mut hub, parts.method.as_str(), &parts.uri.to_string(), &header("accept"), &body)
}

fn honest(hub: &mut Hub, method: &str, uri: &str, accept: &str, body: &Bytes) -> Response {
    let not_found = || (StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#).into_response();
    let json = |value: Value| (StatusCode::OK, value.to_string()).into_response();
    if method == "POST" && uri == "/graphql" {
        let query: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(query["variables"]["id"], "R_node");
        assert_eq!(query["variables"]["path"], PATH);
        assert!(query["query"].as_str().unwrap().contains("blame(path: $path)"));
        let range = |(first, last, mail): &(u64, u64, Option<String>)| json!({"startingLine": first, "endingLine": last, "commit": {"author": {"email": mail}}});
        let ranges: Vec<_> = hub.blame.iter().map(range).collect();
        return json(json!({"data": {"node": {"object": {"blame": {"ranges": ranges}}}}}));
    }
    let Some(rest) = uri.strip_prefix("/repositories/123456").filter(|_| hub.visible) else { return not_found() };
    if let Some(commit) = rest.strip_prefix("/statuses/") {
        let status = serde_json::from_slice(body).unwrap();
        hub.statuses.push((commit.to_owned(), status));
        return (StatusCode::CREATED, "{}").into_response();
    }
    assert_eq!(method, "GET");
    if rest.is_empty() {
        return json(json!({"id": REPOSITORY, "node_id": "R_node", "full_name": "corp/requests", "private": true}));
    }
    if let Some(branch) = rest.strip_prefix("/git/ref/heads/") {
        let Some(head) = hub.head.clone().filter(|_| branch == "main") else { return not_found() };
        return json(json!({"ref": "refs/heads/main", "object": {"type": "commit", "sha": head}}));
    }
    if let Some(commit) = rest.strip_prefix("/git/commits/") {
        return if hub.commits.iter().any(|known| known == commit) {
            json(json!({"sha": commit, "author": {"name": "A", "email": hub.author}}))
        } else {
            not_found()
        };
    }
    let Some(commit) = rest.strip_prefix(&format!("/contents/{PATH}?ref=")) else { return not_found() };
    let Some((entry, bytes)) = hub.files.get(commit) else { return not_found() };
    match accept {
        "application/vnd.github.object+json" => json(entry.clone()),
        "application/vnd.github.raw+json" => (StatusCode::OK, bytes.clone()).into_response(),
        other => panic!("a media type of another API: {other}"),
    }
}

/// A cache in front of a secret, as the adapter has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemorySecrets {
    pub(crate) stored: Arc<Mutex<String>>,
    pub(crate) cached: Arc<Mutex<Option<String>>>,
    pub(crate) fetched: Arc<Mutex<u32>>,
}

impl Secrets for MemorySecrets {
    async fn current(&self, name: &str, fresh: bool) -> Result<SecretString, StepError> {
        assert_eq!(name, "the-token");
        let mut cached = self.cached.lock().unwrap();
        if cached.is_none() || fresh {
            *self.fetched.lock().unwrap() += 1;
            *cached = Some(self.stored.lock().unwrap().clone());
        }
        Ok(cached.clone().unwrap().into())
    }

    async fn previous(&self, _: &str) -> Result<Option<SecretString>, StepError> {
        panic!("nobody signs with the token");
    }
}

/// A state machine that remembers names.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryExecutions {
    pub(crate) known: Arc<Mutex<BTreeMap<String, (String, ExecutionStatus)>>>,
    pub(crate) asked: Arc<Mutex<u32>>,
}

impl MemoryExecutions {
    pub(crate) fn names(&self) -> Vec<String> {
        self.known.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn set(&self, run: &RunId, status: ExecutionStatus) {
        self.known.lock().unwrap().insert(run.to_string(), (String::new(), status));
    }

    pub(crate) fn intake(&self, run: &RunId) -> Intake {
        serde_json::from_str(&self.known.lock().unwrap()[run.as_str()].0).unwrap()
    }
}

impl Executions for MemoryExecutions {
    async fn start(&self, name: &str, input: &str) -> Result<Started, StepError> {
        let mut known = self.known.lock().unwrap();
        if known.contains_key(name) {
            return Ok(Started::Before);
        }
        known.insert(name.to_owned(), (input.to_owned(), ExecutionStatus::Running));
        Ok(Started::Now)
    }

    async fn status(&self, name: &str) -> Result<Option<ExecutionStatus>, StepError> {
        *self.asked.lock().unwrap() += 1;
        Ok(self.known.lock().unwrap().get(name).map(|(_, status)| *status))
    }

    async fn unfinished(&self, _: Timestamp) -> Result<Vec<String>, StepError> {
        let known = self.known.lock().unwrap();
        let unfinished = known.iter().filter(|(_, (_, status))| *status == ExecutionStatus::Unfinished);
        Ok(unfinished.map(|(name, _)| name.clone()).collect())
    }
}

/// A clock that tests move.
#[derive(Clone, Debug)]
pub(crate) struct MovingClock(Arc<Mutex<Timestamp>>);

impl Clock for MovingClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct World {
    hub: Shared,
    pub(crate) records: MemoryRecords,
    pub(crate) secrets: MemorySecrets,
    pub(crate) executions: MemoryExecutions,
    pub(crate) clock: MovingClock,
    pub(crate) github: GitHub<MemorySecrets>,
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) inputs: Inputs,
}

pub(crate) fn client(base: &str, secrets: &MemorySecrets, limits: Limits) -> GitHub<MemorySecrets> {
    GitHub::new(Address::parse(base).unwrap(), secrets.clone(), "the-token".to_owned(), limits).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        let hub = Shared::default();
        {
            let mut hub = hub.lock().unwrap();
            hub.visible = true;
            TOKEN.clone_into(&mut hub.token);
            hub.author = "author@corp.example".to_owned();
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&hub));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let secrets = MemorySecrets::default();
        TOKEN.clone_into(&mut secrets.stored.lock().unwrap());
        let policy = Policy::built_in().unwrap();
        let scanners = vec!["built-in".to_owned()];
        let inputs = Inputs { policy: policy.sha256, advisories: None, scanners, fetch: None };
        Self {
            github: client(&base, &secrets, Limits::default()),
            hub,
            records: MemoryRecords::default(),
            secrets,
            executions: MemoryExecutions::default(),
            clock: MovingClock(Arc::new(Mutex::new("2026-11-20T10:00:00Z".parse().unwrap()))),
            config: Config {
                bucket: "data".to_owned(),
                routes: vec![Route { repository: REPOSITORY, branch: "main".to_owned() }],
                path: RequestPath::parse(PATH).unwrap(),
                mail_domains: MailDomains::new(["corp.example"]),
                console_url: Some("https://console.example/#runs/".to_owned()),
                patience: Patience {
                    blame_tries: 3,
                    blame_pause: Duration::ZERO,
                    authors_within: SignedDuration::from_mins(10),
                    arrive_within: Duration::ZERO,
                },
            },
            policy,
            inputs,
        }
    }

    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap()
    }

    pub(crate) fn ports(&self) -> Ports<'_, MemoryRecords, MemoryExecutions, MemorySecrets, MovingClock> {
        let Self { records, executions, github, clock, config, .. } = self;
        Ports { records, executions, github, clock, config }
    }

    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules { policy: &self.policy, inputs: &self.inputs }
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn wait(&self, time: SignedDuration) {
        *self.clock.0.lock().unwrap() += time;
    }

    /// Pushes the request as commit `n`, without its delivery. Every line is by `author@corp.example`.
    pub(crate) fn push(&self, n: u32, csv: &str) -> Delivery {
        let mut hub = self.hub();
        let entry = json!({"type": "file", "sha": blob_id(csv.as_bytes()), "size": csv.len(), "encoding": "none", "content": ""});
        hub.files.insert(commit(n), (entry, csv.as_bytes().to_vec()));
        hub.commits.push(commit(n));
        hub.head = Some(commit(n));
        hub.blame = vec![(1, 1 << 20, Some("author@corp.example".to_owned()))];
        Delivery {
            schema_version: 1,
            repository: REPOSITORY,
            full_name: "corp/requests".to_owned(),
            reference: "refs/heads/main".to_owned(),
            commit: commit(n),
            delivery_id: Some("72d3162e".to_owned()),
            received_at: self.clock.now(),
        }
    }

    /// Stores a delivery, as the webhook does.
    pub(crate) async fn deliver(&self, delivery: &Delivery) -> Intake {
        run::keep_document(&self.records, &delivery.key(), delivery).await.unwrap();
        let run = RunId::of_commit(delivery.repository, &delivery.reference, &delivery.commit, 1);
        Intake { run, kind: RunKind::Push, delivery: delivery.key() }
    }

    /// Pushes, delivers and reads; gives the intake and the lines that are to be worked on.
    pub(crate) async fn push_and_read(&self, n: u32, csv: &str) -> (Intake, Vec<u64>) {
        let intake = self.deliver(&self.push(n, csv)).await;
        let lines = self.read(&intake).await.unwrap();
        (intake, lines)
    }

    pub(crate) async fn read(&self, intake: &Intake) -> Result<Vec<u64>, StepError> {
        let answer = gate_request_reader::read(intake, &self.ports(), self.rules()).await?;
        let items: Vec<run::RowItem> = self.document(&answer.manifest.key).await;
        assert_eq!((answer.manifest.bucket.as_str(), answer.rows), ("data", items.len()));
        Ok(items.iter().map(|item| item.execution[intake.run.as_str().len() + 1..].parse().unwrap()).collect())
    }

    pub(crate) async fn document<T: serde::de::DeserializeOwned>(&self, key: &str) -> T {
        run::read(&self.records, key).await.unwrap()
    }

    pub(crate) async fn row(&self, run: &RunId, line: u64) -> run::RowDocument {
        self.document(&run.row_key(line)).await
    }

    /// Ends a row of a run, as the row machine does.
    pub(crate) async fn end(&self, run: &RunId, line: u64, verdict: Verdict, again_at: Option<Timestamp>) {
        let row = self.row(run, line).await;
        let code = verdict.as_str();
        let ended = OutcomeDocument {
            schema_version: 1,
            outcome: RowOutcome {
                line,
                name: row.name.clone(),
                source: row.source.clone(),
                coordinates: None,
                verdict,
                reasons: vec![Reason::new(code, "why")],
                artifacts: Vec::new(),
            },
            decision: None,
            inputs: Some(self.inputs.clone()),
            again_at,
        };
        let (run, at) = (run.clone(), self.clock.now());
        let look = Look { schema_version: 1, run, at, inputs: Some(self.inputs.clone()), again_at };
        run::keep_notice(&self.records, &row, &ended, at).await.unwrap();
        run::keep_look(&self.records, &row.key, &look).await.unwrap();
    }

    /// Ends a run well, as its execution does.
    pub(crate) async fn finish(&self, run: &RunId) {
        self.records.put_new(&run.summary_key(), b"{}").await.unwrap();
        self.records.put_new(&run.reported_key(), b"{}").await.unwrap();
        self.executions.set(run, ExecutionStatus::Succeeded);
    }

    pub(crate) async fn notice(&self, key: &RowKey) -> Option<Notice> {
        run::latest_notice(&self.records, key).await.unwrap()
    }

    pub(crate) fn change_inputs(&mut self) {
        self.inputs.advisories =
            Some(Sha256::of(self.inputs.advisories.map_or(String::new(), |a| a.to_string()).as_bytes()));
    }

    /// How often something was asked of GitHub.
    pub(crate) fn asked(&self, text: &str) -> usize {
        self.hub().log.iter().filter(|line| line.contains(text)).count()
    }
}
