//! A gate in memory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gate_core::SCHEMA_VERSION;
use gate_core::advisory::AdvisoryDb;
use gate_core::decision::{Case, Examined, decide};
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::finding::{Category, Finding};
use gate_core::ledger;
use gate_core::outcome::{CheckDocument, Reason, RowOutcome, Verdict};
use gate_core::policy::Policy;
use gate_core::ports::{Clock, MAX_MAIL_BODY, MAX_MAIL_KEY, Mail, Outbox, Put, Records, Subscription, Subscriptions};
use gate_core::report::ScannerVersion;
use gate_core::request::{Wanted, parse};
use gate_core::run::{
    self, Inputs, OutcomeDocument, RowDocument, RowKey, RowState, RunDocument, RunId, RunKind, keep_document,
};
use gate_core::severity::Severity;
use gate_core::step::{ErrorName, StepError};
use gate_core::testing;
use gate_notifier::Install;
use gate_notifier::step::{Config, InForce, Limits, Notifier, Rules, Summarised};
use jiff::{SignedDuration, Timestamp};

pub(crate) const ADA: &str = "ada@corp.example";
pub(crate) const BOB: &str = "bob@corp.example";

/// Records in memory that find a prefix among many thousand keys.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Records for Shelf {
    async fn put_new(&self, key: &str, body: &[u8]) -> Result<Put, Failure> {
        match self.0.lock().unwrap().entry(key.to_owned()) {
            Entry::Occupied(_) => Ok(Put::Exists),
            Entry::Vacant(free) => {
                free.insert(body.to_vec());
                Ok(Put::Created)
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let documents = self.0.lock().unwrap();
        let from = documents.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        Ok(from.map(|(key, _)| key.clone()).take_while(|key| key.starts_with(prefix)).collect())
    }
}

/// Records that count, and that can fail at one call.
#[derive(Clone, Default)]
pub(crate) struct Counting {
    pub(crate) inner: Shelf,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    calls: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    fails_at: AtomicUsize,
}

impl Counting {
    async fn call<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let call = self.counts.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let now = self.counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.counts.most.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let done = work.await;
        self.counts.now.fetch_sub(1, Ordering::SeqCst);
        if call == self.counts.fails_at.load(Ordering::SeqCst) {
            return Err(Failure::new(FailureCode::Storage, "the store does not answer"));
        }
        done
    }

    /// Calls since the last time, and how many of them were under way at once.
    pub(crate) fn take(&self) -> (usize, usize) {
        (self.counts.calls.swap(0, Ordering::SeqCst), self.counts.most.swap(0, Ordering::SeqCst))
    }

    /// From now on the call of this number is done and then fails; 0 for none.
    pub(crate) fn fail_at(&self, call: usize) {
        self.take();
        self.counts.fails_at.store(call, Ordering::SeqCst);
    }
}

impl Records for Counting {
    async fn put_new(&self, key: &str, body: &[u8]) -> Result<Put, Failure> {
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)), "{key}");
        self.call(self.inner.put_new(key, body)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.call(self.inner.get(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        assert!(prefix.ends_with('/'), "{prefix}");
        self.call(self.inner.list(prefix)).await
    }
}

/// Mails in memory; those to `broken` cannot be sent now, and those to `refused` never.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) mails: Mutex<Vec<(String, Mail)>>,
    pub(crate) broken: Mutex<Option<String>>,
    pub(crate) refused: Mutex<Option<String>>,
}

impl Outbox for Sent {
    async fn send(&self, key: &str, mail: &Mail) -> Result<(), Failure> {
        assert!(mail.subject.len() < 100 && mail.subject.chars().all(|c| (' '..='~').contains(&c)), "{}", mail.subject);
        assert!(mail.body.len() <= MAX_MAIL_BODY && key.len() <= MAX_MAIL_KEY, "{key}");
        if mail.to.is_some() && mail.to == *self.broken.lock().unwrap() {
            return Err(Failure::new(FailureCode::Storage, "no answer"));
        }
        if mail.to.is_some() && mail.to == *self.refused.lock().unwrap() {
            return Err(Failure::new(FailureCode::TooLarge, "too large"));
        }
        self.mails.lock().unwrap().push((key.to_owned(), mail.clone()));
        Ok(())
    }
}

/// Subscriptions in memory: confirmed unless said otherwise; the state of the empty address is that of the default one.
#[derive(Default)]
pub(crate) struct Members {
    pub(crate) states: Mutex<BTreeMap<String, Result<Subscription, ErrorName>>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Members {
    fn state(&self, address: &str) -> Result<Subscription, StepError> {
        let state = self.states.lock().unwrap().get(address).copied().unwrap_or(Ok(Subscription::Confirmed));
        state.map_err(|name| StepError::new(name, "it cannot be subscribed"))
    }
}

impl Subscriptions for Members {
    async fn ensure(&self, address: &str) -> Result<Subscription, StepError> {
        self.asked.lock().unwrap().push(address.to_owned());
        self.state(address)
    }

    async fn default_is_confirmed(&self) -> Result<bool, StepError> {
        Ok(self.state("")? == Subscription::Confirmed)
    }
}

#[derive(Default)]
pub(crate) struct Moving(AtomicI64);

impl Clock for Moving {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

#[derive(Clone)]
pub(crate) struct Fixed(Arc<(Policy, Option<AdvisoryDb>)>, Arc<AtomicUsize>);

impl InForce for Fixed {
    type Rules = Self;

    async fn rules(&self) -> Result<Self, StepError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(self.clone())
    }

    async fn inputs(&self) -> Result<Inputs, StepError> {
        Ok(Inputs::of(self.policy(), self.advisories().map(AdvisoryDb::sha256), &[testing::scanner()]))
    }
}

impl Rules for Fixed {
    fn policy(&self) -> &Policy {
        &self.0.0
    }

    fn advisories(&self) -> Option<&AdvisoryDb> {
        self.0.1.as_ref()
    }
}

pub(crate) struct World {
    pub(crate) records: Counting,
    pub(crate) sent: Sent,
    pub(crate) members: Members,
    pub(crate) clock: Moving,
    pub(crate) rules: Fixed,
    pub(crate) config: Config,
}

pub(crate) fn start() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

pub(crate) fn run_id(attempt: u32) -> RunId {
    RunId::of_commit(123_456, "refs/heads/main", &"a".repeat(40), attempt)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let rules = (Policy::built_in().unwrap(), Some(advisories()));
        let world = Self {
            records: Counting::default(),
            sent: Sent::default(),
            members: Members::default(),
            clock: Moving::default(),
            rules: Fixed(Arc::new(rules), Arc::default()),
            config: Config {
                console_url: Some("https://console.example/s3/object/data?prefix=runs/".to_owned()),
                bucket: "data".to_owned(),
                install: Install::Index("https://index.example/simple/".to_owned()),
                built_in: testing::scanner(),
                external: Vec::new(),
                fetch_settings: Sha256::of(b"fetch settings"),
                limits: Limits { failure_events: Duration::ZERO, ..limits },
            },
        };
        world.at(0);
        world
    }

    /// Moves the clock to so many minutes after the start.
    pub(crate) fn at(&self, minutes: i64) {
        self.clock.0.store((start() + SignedDuration::from_mins(minutes)).as_second(), Ordering::SeqCst);
    }

    pub(crate) fn notifier(&self) -> Notifier<'_, Counting, Sent, Members, Moving, Fixed> {
        Notifier {
            records: &self.records,
            outbox: &self.sent,
            subscriptions: &self.members,
            clock: &self.clock,
            in_force: &self.rules,
            config: &self.config,
        }
    }

    pub(crate) fn policy(&self) -> Sha256 {
        self.rules.policy().sha256
    }

    pub(crate) fn set_policy(&mut self, text: &str) {
        self.rules = Fixed(Arc::new((Policy::parse(text).unwrap(), Some(advisories()))), Arc::default());
    }

    pub(crate) fn times_rules_were_read(&self) -> usize {
        self.rules.1.load(Ordering::SeqCst)
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.sent.mails.lock().unwrap().iter().map(|(_, mail)| mail.clone()).collect()
    }

    /// The body of the only mail to an address; the empty one for the default subscription.
    pub(crate) fn body(&self, to: &str) -> String {
        let to = Some(to.to_owned()).filter(|to| !to.is_empty());
        let mails: Vec<_> = self.mails().into_iter().filter(|mail| mail.to == to).collect();
        assert_eq!(mails.len(), 1, "{to:?}: {mails:#?}");
        mails[0].body.clone()
    }

    pub(crate) async fn text(&self, key: &str) -> String {
        String::from_utf8(self.records.inner.get(key).await.unwrap().unwrap_or_else(|| panic!("no {key}"))).unwrap()
    }

    pub(crate) async fn summary(&self, run: &RunId) -> CheckDocument {
        serde_json::from_str(&self.text(&run.summary_key()).await).unwrap()
    }

    pub(crate) async fn summarise(&self, run: &RunId) -> Summarised {
        self.notifier().summarise(run).await.unwrap()
    }

    /// Writes the head of a run with these lines.
    pub(crate) async fn head(&self, run: &RunId, lines: impl IntoIterator<Item = u64>, same_as: &[(u64, u64)]) {
        self.keep_head(&self.head_of(run, lines, same_as)).await;
    }

    pub(crate) async fn keep_head(&self, head: &RunDocument) {
        keep_document(&self.records.inner, &head.run.document_key(), head).await.unwrap();
    }

    pub(crate) fn head_of(
        &self,
        run: &RunId,
        lines: impl IntoIterator<Item = u64>,
        same_as: &[(u64, u64)],
    ) -> RunDocument {
        RunDocument {
            schema_version: SCHEMA_VERSION,
            run: run.clone(),
            kind: RunKind::Push,
            repository: 123_456,
            full_name: "corp/requests".to_owned(),
            reference: "refs/heads/main".to_owned(),
            commit: "a".repeat(40),
            blob: None,
            read_at: self.clock.now(),
            unchanged: false,
            unreadable: None,
            lines: lines.into_iter().collect(),
            same_as: same_as.to_vec(),
            told: BTreeSet::new(),
        }
    }

    /// Writes the document of a row that asks for `name` 1.0.
    pub(crate) async fn row(&self, run: &RunId, line: u64, name: &str, told: &[&str]) -> RowDocument {
        let wanted = wanted(name);
        let row = RowDocument {
            schema_version: SCHEMA_VERSION,
            run: run.clone(),
            line,
            key: RowKey::of(&wanted),
            name: name.to_owned(),
            source: wanted.source.to_string(),
            wanted: Some(wanted),
            told: told.iter().map(|address| (*address).to_owned()).collect(),
        };
        keep_document(&self.records.inner, &run.row_key(line), &row).await.unwrap();
        row
    }

    /// Decides on a row for real, on one wheel with these findings, and gives the state that the row machine is in then.
    pub(crate) async fn decided(&self, row: &RowDocument, findings: Vec<Finding>) -> RowState {
        let mut file = testing::wheel(&row.name, "1.0");
        file.report.findings = findings;
        self.examined(row, file).await
    }

    pub(crate) async fn examined(&self, row: &RowDocument, file: Examined) -> RowState {
        let (wanted, records) = (row.wanted.as_ref().unwrap(), &self.records.inner);
        ledger::keep_report(records, &file.report).await.unwrap();
        let (policy, advisories) = (self.rules.policy(), self.rules.advisories());
        let decision = decide(&Case {
            name: &wanted.name,
            source: &wanted.source,
            files: &[file],
            advisories,
            policy,
            now: self.clock.now(),
        });
        let key = ledger::keep_decision(records, wanted, &decision).await.unwrap();
        let inputs = Inputs::of(policy, advisories.map(AdvisoryDb::sha256), &[testing::scanner()]);
        let outcome = OutcomeDocument::of_decision(row, &decision, key, policy, inputs);
        self.ended(row, outcome).await
    }

    pub(crate) async fn ended(&self, row: &RowDocument, outcome: OutcomeDocument) -> RowState {
        let key = run::keep_outcome(&self.records.inner, row, &outcome).await.unwrap();
        RowState::new(row.run.row_key(row.line)).ended(key)
    }

    /// A row of the run that was approved, and noticed.
    pub(crate) async fn approved(&self, run: &RunId, line: u64, name: &str, told: &[&str]) -> RowDocument {
        let row = self.row(run, line, name, told).await;
        let state = self.decided(&row, Vec::new()).await;
        self.notifier().notify(state).await.unwrap();
        row
    }

    /// A row of the run that was refused for code in it, and noticed.
    pub(crate) async fn refused(&self, run: &RunId, line: u64, name: &str, told: &[&str]) -> RowDocument {
        let row = self.row(run, line, name, told).await;
        let state = self.decided(&row, vec![testing::finding("S602", Severity::High)]).await;
        self.notifier().notify(state).await.unwrap();
        row
    }
}

pub(crate) fn wanted(name: &str) -> Wanted {
    parse(format!("{name},pkg:pypi/{name}@1.0").as_bytes()).unwrap().remove(0).wanted.unwrap()
}

/// An outcome without a set, as of a row that cannot be fetched.
pub(crate) fn without_set(row: &RowDocument, verdict: Verdict, code: &str, message: &str) -> OutcomeDocument {
    let outcome: RowOutcome = row.outcome(verdict, vec![Reason::new(code, message)]);
    OutcomeDocument { schema_version: SCHEMA_VERSION, outcome, decision: None, inputs: None, again_at: None }
}

pub(crate) fn malware() -> Finding {
    Finding { category: Category::Malware, ..testing::finding("GATE-EXFIL", Severity::Critical) }
}

pub(crate) fn external() -> ScannerVersion {
    ScannerVersion { name: "external".to_owned(), version: "1".to_owned(), rules: "r".to_owned() }
}

pub(crate) fn told(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(|address| (*address).to_owned()).collect()
}

/// `old` has an advisory that 1.1 cures.
fn advisories() -> AdvisoryDb {
    let record = serde_json::json!({
        "schema_version": "1.6.0", "id": "PYSEC-1", "modified": "2026-11-19T00:00:00Z", "summary": "Remote code execution",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [{"package": {"ecosystem": "PyPI", "name": "old"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}]}],
    });
    let mut builder = AdvisoryDb::builder();
    builder.add("PYSEC-1.json", record.to_string().as_bytes()).unwrap();
    builder.finish(Sha256::of(b"advisories")).unwrap()
}
