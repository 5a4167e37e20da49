//! The upload of an artifact to the address that the service gives.
//!
//! That address is a credential: whoever has it may write there. It is in no message and in no log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gate_core::failure::{Failure, FailureCode};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::{Host, Url};

use crate::content::SentBody;

/// To open a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// For the answer once all bytes are sent.
const ANSWER: Duration = Duration::from_secs(60);
/// The slowest upload that is waited for, in bytes a second.
const SLOWEST: u64 = 1_000_000;

/// An HTTPS client that follows no redirect.
#[derive(Clone, Debug)]
pub(super) struct Uploader {
    client: Client<HttpsConnector<HttpConnector>, SentBody>,
}

impl Uploader {
    /// With the certificate authorities that the system trusts.
    pub(super) fn new() -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider);
        let tls = tls.map_err(|_| unavailable("the system trusts no certificate authority"))?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.enforce_http(false);
        let connector = tls.https_or_http().enable_http1().wrap_connector(connector);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Puts the body there, with the headers that the address was signed for.
    pub(super) async fn put(
        &self,
        url: &str,
        headers: &HashMap<String, String>,
        size: u64,
        body: SentBody,
    ) -> Result<(), Failure> {
        let mut request = Request::builder().method(Method::PUT).uri(checked(url)?.as_str());
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| unavailable("a header of the upload has no name"))?;
            // The client sets these from the body and the address.
            if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
                let mut value =
                    HeaderValue::from_str(value).map_err(|_| unavailable("a header of the upload cannot be sent"))?;
                value.set_sensitive(true);
                request = request.header(name, value);
            }
        }
        let request = request.body(body).map_err(|_| unavailable("the upload's address cannot be used"))?;
        let patience = ANSWER + Duration::from_secs(size / SLOWEST);
        let answered = tokio::time::timeout(patience, self.client.request(request)).await;
        let answer = answered
            .map_err(|_| unavailable("the upload took too long"))?
            .map_err(|_| unavailable("the upload broke off, or its address cannot be reached"))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(unavailable(&format!("the upload was answered with status {}", answer.status().as_u16())))
        }
    }
}

/// The failure of an upload that was answered before it ended.
pub(super) fn cut() -> Failure {
    unavailable("the upload was answered before it ended")
}

fn unavailable(what: &str) -> Failure {
    Failure::new(FailureCode::ScannerUnavailable, format!("CodeGuru Security cannot be used: {what}. Try again later."))
}

/// An address to upload to: HTTPS, or this machine itself, where private endpoints and tests are.
fn checked(url: &str) -> Result<Url, Failure> {
    let url: Url = url.parse().map_err(|_| unavailable("the upload's address is none"))?;
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if is_loopback => Ok(url),
        _ => Err(unavailable("the upload's address is not HTTPS")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_uploaded_to() {
        for url in [
            "https://bucket.s3.example/key?X-Amz-Signature=s",
            "http://127.0.0.1:9000/key",
            "http://127.8.0.1/key",
            "http://[::1]:9000/key",
            "http://localhost:9000/key",
        ] {
            assert!(checked(url).is_ok(), "{url}");
        }
        for url in [
            "http://bucket.s3.example/key?X-Amz-Signature=s",
            "http://169.254.169.254/latest",
            "http://localhost.example/key",
            "http://127.0.0.1.example/key",
            "file:///etc/passwd",
            "ftp://127.0.0.1/key",
            "bucket/key",
            "",
        ] {
            let failure = checked(url).unwrap_err();
            assert_eq!(failure.code, FailureCode::ScannerUnavailable, "{url}");
            assert!(!failure.message.contains("Signature"), "{failure}");
        }
    }
}
