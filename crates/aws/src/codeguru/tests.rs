use std::sync::{Mutex, PoisonError};

use aws_sdk_codegurusecurity::operation::create_scan::CreateScanOutput;
use aws_sdk_codegurusecurity::operation::create_upload_url::CreateUploadUrlOutput;
use aws_sdk_codegurusecurity::operation::get_findings::GetFindingsOutput;
use aws_sdk_codegurusecurity::types::Finding as Found;
use aws_smithy_mocks::{Rule, mock};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use gate_core::severity::Severity;
use gate_core::testing::MemoryQuarantine;

use super::*;
use crate::testing::{answer, client, json_error};

const BYTES: &[u8] = b"PK\x05\x06 an archive of several chunks";

fn artifact() -> Sha256 {
    Sha256::of(BYTES)
}

fn code_guru(rules: &[&Rule]) -> CodeGuru<MemoryQuarantine> {
    let quarantine = MemoryQuarantine::default();
    quarantine.plant(artifact(), BYTES.to_vec());
    CodeGuru::new(client!(aws_sdk_codegurusecurity, rules), quarantine)
}

fn scan() -> CodeGuruScan {
    CodeGuruScan { scan_name: "gate-1".into(), run_id: "run-1".into(), artifact: artifact(), size: 7 }
}

/// What was uploaded: the headers that must be there, and the body.
type Uploads = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

fn taken(uploads: &Uploads) -> Vec<(HeaderMap, Bytes)> {
    std::mem::take(&mut *uploads.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A place that takes uploads and answers with this status.
async fn place(status: StatusCode) -> (String, Uploads) {
    let uploads = Uploads::default();
    let kept = Arc::clone(&uploads);
    let take = move |headers: HeaderMap, body: Bytes| async move {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push((headers, body));
        status
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/upload?X-Amz-Signature=secret", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/upload", put(take))).await });
    (url, uploads)
}

fn gives_url(url: &str) -> Rule {
    let url = url.to_owned();
    mock!(Client::create_upload_url).then_output(move || {
        CreateUploadUrlOutput::builder()
            .s3_url(&url)
            .request_headers("x-amz-server-side-encryption", "aws:kms")
            .request_headers("Content-Type", "application/zip")
            .request_headers("Host", "elsewhere.example")
            .request_headers("content-length", "1")
            .code_artifact_id("7b0c-id")
            .build()
            .unwrap()
    })
}

fn starts() -> Rule {
    mock!(Client::create_scan)
        .match_requests(|input| {
            let name = input.scan_name().unwrap();
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_$:.".contains(c);
            name.len() <= TOKEN_CHARS
                && name.chars().all(fits)
                && input.client_token() == Some(name)
                && input.scan_type() == Some(&ScanType::Standard)
                && input.analysis_type() == Some(&AnalysisType::Security)
                && input.resource_id() == Some(&ResourceId::CodeArtifactId("7b0c-id".to_owned()))
        })
        .then_compute_output(|input| {
            CreateScanOutput::builder()
                .scan_name(input.scan_name().unwrap())
                .run_id("run-1")
                .resource_id(ResourceId::CodeArtifactId("7b0c-id".to_owned()))
                .scan_state(State::InProgress)
                .build()
                .unwrap()
        })
}

fn page(severities: &[&str], next: Option<&str>) -> GetFindingsOutput {
    let findings = severities.iter().map(|word| Found::builder().rule_id(*word).severity((*word).into()).build());
    GetFindingsOutput::builder().set_findings(Some(findings.collect())).set_next_token(next.map(str::to_owned)).build()
}

#[tokio::test]
async fn a_scan_is_uploaded_and_started_under_a_name_of_its_own() {
    let (url, uploads) = place(StatusCode::OK).await;
    let (gives, starts) = (gives_url(&url), starts());
    let scanner = code_guru(&[&gives, &starts]);
    let first = scanner.start(&artifact()).await.unwrap();
    let second = scanner.start(&artifact()).await.unwrap();
    assert_ne!(first.scan_name, second.scan_name);
    assert!(first.scan_name.contains(&artifact().short()));
    assert_eq!((first.run_id.as_str(), first.artifact, first.size), ("run-1", artifact(), BYTES.len() as u64));
    let uploads = taken(&uploads);
    assert_eq!(uploads.len(), 2);
    for (headers, body) in uploads {
        assert_eq!(body, BYTES);
        assert_eq!(headers["x-amz-server-side-encryption"], "aws:kms");
        assert_eq!(headers["content-type"], "application/zip");
        assert_eq!(headers["content-length"], BYTES.len().to_string());
        assert!(headers["host"].to_str().unwrap().starts_with("127.0.0.1:"));
    }
}

#[tokio::test]
async fn a_scan_survives_the_function_that_started_it() {
    let text = serde_json::to_string(&scan()).unwrap();
    assert_eq!(serde_json::from_str::<CodeGuruScan>(&text).unwrap(), scan());
}

#[tokio::test]
async fn an_upload_that_is_refused_starts_no_scan() {
    for status in [StatusCode::FORBIDDEN, StatusCode::TEMPORARY_REDIRECT, StatusCode::INTERNAL_SERVER_ERROR] {
        let (url, _) = place(status).await;
        let (gives, starts) = (gives_url(&url), starts());
        let failure = code_guru(&[&gives, &starts]).start(&artifact()).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::ScannerUnavailable);
        assert!(failure.message.contains(status.as_str()), "{failure}");
        assert!(!failure.message.contains("secret") && !failure.message.contains("127.0.0.1"), "{failure}");
        assert_eq!(starts.num_calls(), 0);
    }
}

#[tokio::test]
async fn nobody_listens_at_the_upload_address() {
    for url in ["http://127.0.0.1:9/upload?X-Amz-Signature=secret", "http://bucket.example/?X-Amz-Signature=secret", ""]
    {
        let (gives, starts) = (gives_url(url), starts());
        let failure = code_guru(&[&gives, &starts]).start(&artifact()).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::ScannerUnavailable, "{url}");
        assert!(!failure.message.contains("secret") && starts.num_calls() == 0, "{failure}");
    }
}

#[tokio::test]
async fn bytes_that_were_swapped_are_not_scanned() {
    let (url, uploads) = place(StatusCode::OK).await;
    let (gives, starts) = (gives_url(&url), starts());
    let scanner = code_guru(&[&gives, &starts]);
    scanner.quarantine.plant(artifact(), BYTES.iter().rev().copied().collect::<Vec<_>>());
    let failure = scanner.start(&artifact()).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::DigestMismatch);
    assert_eq!((starts.num_calls(), taken(&uploads).len()), (0, 0));
    let absent = scanner.start(&Sha256::of(b"never fetched")).await.unwrap_err();
    assert_eq!(absent.code, FailureCode::Storage);
}

#[tokio::test]
async fn every_error_of_every_step_is_an_unavailable_scanner() {
    let (url, _) = place(StatusCode::OK).await;
    for (status, code) in [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (409, "ConflictException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailable"),
        (410, "Gone"),
    ] {
        let refused = move || json_error(status, code);
        let no_url = mock!(Client::create_upload_url).then_http_response(refused);
        let gives = gives_url(&url);
        let no_scan = mock!(Client::create_scan).then_http_response(refused);
        let no_state = mock!(Client::get_scan).then_http_response(refused);
        let no_findings = mock!(Client::get_findings).then_http_response(refused);
        for failure in [
            code_guru(&[&no_url]).start(&artifact()).await.unwrap_err(),
            code_guru(&[&gives, &no_scan]).start(&artifact()).await.unwrap_err(),
            code_guru(&[&no_state]).poll(&mut scan()).await.unwrap_err(),
            code_guru(&[&no_findings]).collect(scan()).await.unwrap_err(),
        ] {
            assert_eq!(failure.code, FailureCode::ScannerUnavailable, "{status}");
            assert!(failure.message.contains("codeguru-security:") && failure.message.contains(code), "{failure}");
            assert!(!failure.message.contains("PAYLOAD"), "{failure}");
        }
    }
}

#[tokio::test]
async fn only_a_successful_scan_is_done() {
    for (state, expected) in [
        ("InProgress", Ok(ScanState::Running)),
        ("Successful", Ok(ScanState::Done)),
        ("Failed", Err(FailureCode::ScannerUnavailable)),
        ("Sleeping", Err(FailureCode::ScannerUnavailable)),
        ("", Err(FailureCode::ScannerUnavailable)),
    ] {
        let rule = mock!(Client::get_scan)
            .match_requests(|input| (input.scan_name(), input.run_id()) == (Some("gate-1"), Some("run-1")))
            .then_http_response(move || {
                let body = format!(
                    r#"{{"scanName":"gate-1","runId":"run-1","createdAt":1700000000,"analysisType":"Security",
                        "scanState":"{state}","errorMessage":"PAYLOAD"}}"#
                );
                answer(200, &[], &body)
            });
        let found = code_guru(&[&rule]).poll(&mut scan()).await;
        assert!(!format!("{found:?}").contains("PAYLOAD"));
        assert_eq!(found.map_err(|failure| failure.code), expected, "{state}");
    }
    let nothing = mock!(Client::get_scan).then_http_response(|| answer(200, &[], "{}"));
    assert_eq!(code_guru(&[&nothing]).poll(&mut scan()).await.unwrap_err().code, FailureCode::ScannerUnavailable);
}

#[tokio::test]
async fn a_high_on_the_second_page_arrives() {
    let first = mock!(Client::get_findings)
        .match_requests(|input| input.next_token().is_none() && input.max_results() == Some(PAGE))
        .then_output(|| page(&["Low", "Info"], Some("2")));
    let second = mock!(Client::get_findings)
        .match_requests(|input| input.next_token() == Some("2"))
        .then_output(|| page(&["High"], None));
    let scanner = code_guru(&[&first, &second]);
    let report = scanner.collect(scan()).await.unwrap();
    let severities: Vec<_> = report.findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(severities, [Severity::High, Severity::Low, Severity::Info]);
    assert_eq!((report.artifact, report.size, &report.scanner), (artifact(), 7, &scanner.version()));
}

#[tokio::test]
async fn a_critical_alone_arrives_and_no_finding_is_a_report() {
    for (severities, expected) in [(&["Critical"][..], vec![Severity::Critical]), (&[], vec![])] {
        let rule = mock!(Client::get_findings).then_output(move || page(severities, None));
        let report = code_guru(&[&rule]).collect(scan()).await.unwrap();
        assert_eq!(report.findings.iter().map(|finding| finding.severity).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_finding_without_fields_is_unknown() {
    let rule = mock!(Client::get_findings).then_http_response(|| answer(200, &[], r#"{"findings":[{}]}"#));
    let report = code_guru(&[&rule]).collect(scan()).await.unwrap();
    assert_eq!(report.findings[0].severity, Severity::Unknown);
}

#[tokio::test]
async fn an_answer_without_a_list_is_no_clean_report() {
    for body in ["{}", r#"{"findings":null}"#, "<html>", "", r#"{"findings":{}}"#] {
        let rule = mock!(Client::get_findings).then_http_response(move || answer(200, &[], body));
        let failure = code_guru(&[&rule]).collect(scan()).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::ScannerUnavailable, "{body}");
    }
}

#[tokio::test]
async fn pages_without_end_are_no_report() {
    let again = mock!(Client::get_findings).then_output(|| page(&["Low"], Some("again")));
    let failure = code_guru(&[&again]).collect(scan()).await.unwrap_err();
    assert_eq!((failure.code, again.num_calls()), (FailureCode::ScannerUnavailable, 2));
    for (pages, fits) in [(PAGES - 1, true), (PAGES, true), (PAGES + 1, false)] {
        let rule = mock!(Client::get_findings).then_compute_output(move |input| {
            let number: usize = input.next_token().map_or(1, |token| token.parse().unwrap());
            let next = (number + 1).to_string();
            page(&["Low"], (number < pages).then_some(&next))
        });
        let report = code_guru(&[&rule]).collect(scan()).await;
        assert_eq!(report.is_ok_and(|report| report.findings.len() == pages), fits, "{pages}");
    }
}
