//! Amazon CodeGuru Security as an external scanner.
//!
//! **The service ended on 2025-11-20**: no account can call it. The adapter is for private endpoints that speak the same API,
//! and is off unless an operator switches it on. An endpoint that cannot be reached is `scanner-unavailable`, never a clean
//! report.
//!
//! It takes zip archives: a scan of another archive fails, and its package is then not approved. Its documentation said that it
//! leaves out code of third parties and tests, and it does not say which files it has read: so it adds findings to the built-in
//! scanner's report, and no coverage.

mod findings;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_codegurusecurity::Client;
use aws_sdk_codegurusecurity::config::ProvideCredentials as _;
use aws_sdk_codegurusecurity::types::{AnalysisType, ResourceId, ScanState as State, ScanType, Status};
use gate_core::SCHEMA_VERSION;
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{Quarantine, ScanState, Scanner};
use gate_core::report::{ContentReport, ScannerVersion};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::client::Aws;
use crate::content::{self, Expected};
use crate::errors::Fault;
use crate::function::Settings;
use upload::Uploader;

/// The name in the setting `EXTERNAL_SCANNERS` and in reports.
pub const CODE_GURU: &str = "codeguru-security";

/// Characters of a scan's name (botocore, codeguru-security 2018-05-10: `ScanName`, `[a-zA-Z0-9-_$:.]*`, 1 to 140), and of a
/// client token (`ClientToken`, `\S+`, 1 to 64). Ours is both.
pub(crate) const TOKEN_CHARS: usize = 64;
/// Findings on one page (botocore: `GetFindingsRequestMaxResultsInteger`, 1 to 1,000).
pub(crate) const PAGE: i32 = 1_000;
/// Pages of findings that are read. A scan with more is not believed.
pub(crate) const PAGES: usize = 100;

const CREATE_URL: &str = "codeguru-security:CreateUploadUrl";
const CREATE_SCAN: &str = "codeguru-security:CreateScan";
const GET_SCAN: &str = "codeguru-security:GetScan";
const GET_FINDINGS: &str = "codeguru-security:GetFindings";

/// The scanner. The service ended on 2025-11-20; see the module.
#[derive(Clone, Debug)]
pub struct CodeGuru<Q> {
    client: Client,
    quarantine: Q,
    uploader: Arc<OnceCell<Uploader>>,
}

/// A scan under way; kept as JSON between two invocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeGuruScan {
    scan_name: String,
    run_id: String,
    artifact: Sha256,
    /// Of the artifact, in bytes.
    size: u64,
}

impl<Q> CodeGuru<Q> {
    pub(crate) fn new(client: Client, quarantine: Q) -> Self {
        Self { client, quarantine, uploader: Arc::default() }
    }
}

impl<Q: Quarantine> CodeGuru<Q> {
    /// The scanner for a program on somebody's own machine: region, credentials and endpoint are found as every AWS SDK finds
    /// them.
    ///
    /// # Errors
    /// [`FailureCode::ScannerUnavailable`] when there is no region or there are no credentials, so that it cannot be asked.
    pub async fn from_env(quarantine: Q) -> Result<Self, Failure> {
        let aws = Aws::load().await;
        let lacks = |what: &str| {
            Failure::new(FailureCode::ScannerUnavailable, format!("{CODE_GURU} cannot be asked: there {what}"))
        };
        if aws.config.region().is_none() {
            return Err(lacks("is no region; set AWS_REGION"));
        }
        let credentials = match aws.config.credentials_provider() {
            Some(provider) => provider.provide_credentials().await.is_ok(),
            None => false,
        };
        if !credentials {
            return Err(lacks("are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"));
        }
        Ok(aws.code_guru(quarantine))
    }
}

/// What the reports of CodeGuru Security are kept under. The service names no version of its rules: this is its API's.
fn version() -> ScannerVersion {
    ScannerVersion { name: CODE_GURU.to_owned(), version: "2018-05-10".to_owned(), rules: "of-the-service".to_owned() }
}

/// The external scanners that the operator has switched on: `EXTERNAL_SCANNERS`, a list in which `codeguru-security` is known.
/// Another name is a fault of the configuration.
pub fn external_scanners(settings: &mut Settings) -> Vec<ScannerVersion> {
    const VARIABLE: &str = "EXTERNAL_SCANNERS";
    let mut names = settings.list(VARIABLE);
    names.dedup();
    if names.iter().any(|name| name != CODE_GURU) {
        settings.fault(VARIABLE, "names a scanner that is not known; codeguru-security is");
    }
    names.iter().map(|_| version()).collect()
}

impl<Q: Quarantine> Scanner for CodeGuru<Q> {
    type Scan = CodeGuruScan;

    fn version(&self) -> ScannerVersion {
        version()
    }

    async fn start(&self, artifact: &Sha256) -> Result<CodeGuruScan, Failure> {
        let size = self.quarantine.size(artifact).await?.ok_or_else(|| {
            Failure::new(FailureCode::Storage, format!("artifact {artifact} is not in quarantine; fetch it again"))
        })?;
        let scan_name = scan_name(artifact);
        let place = self.client.create_upload_url().scan_name(&scan_name).send().await;
        let place = place.map_err(|error| Fault::of(CREATE_URL, &error).scanner())?;
        let uploader = self.uploader.get_or_try_init(|| async { Uploader::new() }).await?;
        let reader = self.quarantine.open(artifact).await?;
        let put = |body| uploader.put(place.s3_url(), place.request_headers(), size, body);
        content::send(reader, Expected { sha256: *artifact, size }, upload::cut, put).await?;
        // Findings are kept by the scan's name alone, so a name is used once.
        let request = self.client.create_scan().scan_name(&scan_name).client_token(&scan_name);
        let request = request.resource_id(ResourceId::CodeArtifactId(place.code_artifact_id().to_owned()));
        let started = request.scan_type(ScanType::Standard).analysis_type(AnalysisType::Security).send().await;
        let started = started.map_err(|error| Fault::of(CREATE_SCAN, &error).scanner())?;
        Ok(CodeGuruScan { scan_name, run_id: started.run_id().to_owned(), artifact: *artifact, size })
    }

    async fn poll(&self, scan: &mut CodeGuruScan) -> Result<ScanState, Failure> {
        let run = (!scan.run_id.is_empty()).then(|| scan.run_id.clone());
        let found = self.client.get_scan().scan_name(&scan.scan_name).set_run_id(run).send().await;
        let found = found.map_err(|error| Fault::of(GET_SCAN, &error).scanner())?;
        match found.scan_state() {
            State::InProgress => Ok(ScanState::Running),
            State::Successful => Ok(ScanState::Done),
            State::Failed => Err(Fault::unexpected(GET_SCAN, "the scan failed").scanner()),
            _ => Err(Fault::unexpected(GET_SCAN, "unknown state").scanner()),
        }
    }

    async fn collect(&self, scan: CodeGuruScan) -> Result<ContentReport, Failure> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let request = self.client.get_findings().scan_name(&scan.scan_name).max_results(PAGE);
            let page = request.status(Status::All).set_next_token(token).send().await;
            let page = page.map_err(|error| Fault::of(GET_FINDINGS, &error).scanner())?;
            // An empty list is a list. What has none is not an answer to the question.
            let findings = page.findings.ok_or_else(|| Fault::unexpected(GET_FINDINGS, "no findings").scanner())?;
            found.extend(findings.iter().map(findings::read));
            match page.next_token {
                None => return Ok(report(self.version(), &scan, found)),
                Some(next) if !seen.insert(next.clone()) => break,
                Some(next) => token = Some(next),
            }
        }
        Err(Fault::unexpected(GET_FINDINGS, "pages without end").scanner())
    }
}

fn report(
    scanner: ScannerVersion,
    scan: &CodeGuruScan,
    mut findings: Vec<gate_core::finding::Finding>,
) -> ContentReport {
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.location.cmp(&b.location)));
    ContentReport {
        schema_version: SCHEMA_VERSION,
        artifact: scan.artifact,
        size: scan.size,
        scanner,
        distribution: None,
        pins: Vec::new(),
        findings,
        analyzers: Vec::new(),
        coverage: Vec::new(),
    }
}

/// A name that no other scan has: the start of the artifact's digest, for people, and a random part.
fn scan_name(artifact: &Sha256) -> String {
    let name = format!("gate-{}-{}", artifact.short(), Uuid::new_v4().simple());
    debug_assert!(name.len() <= TOKEN_CHARS);
    name
}
