//! One GET: over TLS, to judged addresses, redirects re-checked one by one, with limits on everything that can be long.
//!
//! There are no cookies, no proxies from the environment, no HTTP/2 and no way to switch a check off.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gate_core::failure::Failure;
use gate_core::policy::{FetchLimits, NetworkRule};
use gate_core::ports::Origin;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::connect::{GuardedConnector, Resolve, SystemResolver};
use crate::guard::{Guard, Refusal};
use crate::index_url::IndexUrl;
use crate::pace::Pace;
use crate::retry::{Retry, Trouble};
use crate::{trouble, words};

/// The `User-Agent` of every request.
pub const USER_AGENT: &str = concat!("package-gate/", env!("CARGO_PKG_VERSION"));

/// The most bytes of an answer's header, and the most that one chunk of a body holds.
pub const BUFFER_BYTES: usize = 128 * 1024;

/// The most header fields of an answer.
pub const HEADER_FIELDS: usize = 100;

/// The longest `Retry-After` that a message repeats.
const RETRY_AFTER_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// How long, how slow, how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Lookup and TCP connection of one hop.
    pub connect: Duration,
    /// From the start of one hop to the end of the answer's header: lookup, connection, TLS and the host's thinking.
    pub answer: Duration,
    /// A whole download with all hops, tries and pauses.
    pub total: Duration,
    /// The rate below which a body is given up.
    pub min_bytes_per_second: u64,
    /// What the rate is measured over.
    pub window: Duration,
    /// Redirects that are followed.
    pub redirects: usize,
    /// Tries.
    pub retry: Retry,
}

impl HttpLimits {
    /// The policy's limits; the rest is fixed.
    #[must_use]
    pub fn of_policy(limits: &FetchLimits) -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(60),
            total: Duration::from_secs(limits.file_seconds),
            min_bytes_per_second: limits.min_bytes_per_second,
            window: Duration::from_secs(30),
            redirects: 5,
            retry: Retry { tries: 3, pause: Duration::from_millis(500), longest_pause: Duration::from_secs(30) },
        }
    }
}

type HyperClient = Client<HttpsConnector<GuardedConnector>, Empty<Bytes>>;

/// The client. Connections are pooled, apart for rows and for the index: a pooled connection was judged when it was dialled.
pub struct Http {
    guard: Arc<Guard>,
    row: HyperClient,
    index: HyperClient,
    index_url: Option<IndexUrl>,
    limits: HttpLimits,
}

/// The certificate authorities that the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.
///
/// # Errors
/// When there is none.
pub fn native_roots() -> Result<RootCertStore, Failure> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(loaded.certs);
    if good == 0 {
        let why = loaded.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
        return Err(words::no_trust_store(&why));
    }
    Ok(roots)
}

impl Http {
    /// A client with the system's trust store and resolver.
    ///
    /// # Errors
    /// When the trust store is empty.
    pub fn system(network: &[NetworkRule], index: Option<IndexUrl>, limits: HttpLimits) -> Result<Self, Failure> {
        let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
        Self::new(network, index, limits, native_roots()?, &resolver)
    }

    /// A client that trusts `roots` and asks `resolver`.
    ///
    /// # Errors
    /// When the TLS library offers no protocol version.
    pub fn new(
        network: &[NetworkRule],
        index: Option<IndexUrl>,
        limits: HttpLimits,
        roots: RootCertStore,
        resolver: &Arc<dyn Resolve>,
    ) -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| words::no_trust_store(&error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let guard = Arc::new(Guard::new(network, index.as_ref()));
        let client = |origin| {
            let connector = GuardedConnector {
                guard: Arc::clone(&guard),
                resolver: Arc::clone(resolver),
                origin,
                timeout: limits.connect,
            };
            // The guard lets http through for a configured index on a listed loopback address only.
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
                .enable_http1()
                .wrap_connector(connector);
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(Duration::from_secs(30))
                .pool_max_idle_per_host(8)
                .http1_max_buf_size(BUFFER_BYTES)
                .http1_max_headers(HEADER_FIELDS)
                .build(connector)
        };
        Ok(Self { row: client(Origin::Row), index: client(Origin::Index), index_url: index, limits, guard })
    }

    /// The configured index, if there is one.
    #[must_use]
    pub fn index_url(&self) -> Option<&IndexUrl> {
        self.index_url.as_ref()
    }

    /// The limits it works under.
    #[must_use]
    pub fn limits(&self) -> &HttpLimits {
        &self.limits
    }

    /// Gets a file or page, following redirects. The answer's status is 200 and its body is not encoded.
    pub(crate) async fn get(
        &self,
        url: &Url,
        origin: Origin,
        accept: &'static str,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        self.follow(url, origin, accept, deadline).await.map_err(|trouble| trouble::of_origin(origin, trouble))
    }

    async fn follow(
        &self,
        url: &Url,
        origin: Origin,
        accept: &'static str,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let mut url = without_fragment(url.clone());
        let mut from: Option<Url> = None;
        for _ in 0..=self.limits.redirects {
            let hop = self.hop(&url, origin, accept, deadline).await.map_err(|mut trouble| {
                if let Some(from) = from.as_ref().filter(|from| from.host() != url.host()) {
                    trouble.failure = words::redirected(&trouble.failure, from);
                }
                trouble
            })?;
            match hop {
                Hop::Answer(answer) => return Ok(*answer),
                Hop::Redirect(next) => from = Some(std::mem::replace(&mut url, next)),
            }
        }
        Err(words::redirects(from.as_ref().unwrap_or(&url), origin, self.limits.redirects).into())
    }

    async fn hop(&self, url: &Url, origin: Origin, accept: &'static str, deadline: Instant) -> Result<Hop, Trouble> {
        self.guard.check_url(url, origin).map_err(Failure::from)?;
        let request = self.request(url, origin, accept).map_err(Failure::from)?;
        let client = match origin {
            Origin::Row => &self.row,
            Origin::Index => &self.index,
        };
        let patience = deadline.min(Instant::now() + self.limits.answer);
        let response = match timeout_at(patience, client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(trouble::of_request(url, origin, &error).into()),
            Err(_) if Instant::now() >= deadline => return Err(words::too_slow_total(url, self.limits.total).into()),
            Err(_) => {
                let why = format!("it did not answer within {}", words::duration(self.limits.answer));
                return Err(words::unreachable(url, &why).into());
            }
        };
        let status = response.status();
        if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(Hop::Redirect(redirect_target(url, origin, response.headers())?));
        }
        if status != StatusCode::OK {
            let retry_after = retry_after(response.headers(), jiff::Timestamp::now());
            return Err(Trouble { failure: words::status(url, origin, status, retry_after), retry_after });
        }
        if let Some(encoding) = encoding(response.headers()) {
            return Err(words::encoded(url, origin, &encoding).into());
        }
        let (parts, incoming) = response.into_parts();
        let pace = Pace::new(self.limits.min_bytes_per_second, self.limits.window);
        let body = Body { incoming, url: url.clone(), origin, pace, deadline, limits: self.limits };
        Ok(Hop::Answer(Box::new(Answer { headers: parts.headers, body, url: url.clone() })))
    }

    fn request(&self, url: &Url, origin: Origin, accept: &'static str) -> Result<Request<Empty<Bytes>>, Refusal> {
        let uri: Uri = url.as_str().parse().map_err(|_| Refusal::NoHost)?;
        // Two parsers must agree on where this goes.
        if uri.host() != url.host_str() || uri.port_u16() != url.port() {
            return Err(Refusal::NoHost);
        }
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        // A row that names the index's host does not get the index's credentials.
        let index = self.index_url.as_ref().filter(|_| origin == Origin::Index);
        if let Some(authorization) = index.and_then(|index| index.authorization_for(url)) {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("guard", &self.guard)
            .field("index_url", &self.index_url)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

enum Hop {
    Answer(Box<Answer>),
    Redirect(Url),
}

fn without_fragment(mut url: Url) -> Url {
    url.set_fragment(None);
    url
}

fn redirect_target(url: &Url, origin: Origin, headers: &HeaderMap) -> Result<Url, Failure> {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| url.join(location).ok());
    target.map(without_fragment).ok_or_else(|| words::bad_redirect(url, origin))
}

/// The first encoding that is not the plain bytes.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let all = |name, plain: &'static str| {
        let values = headers.get_all(name).into_iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .find(|value| value.split(',').any(|token| !token.trim().eq_ignore_ascii_case(plain)))
    };
    all(header::CONTENT_ENCODING, "identity").or_else(|| all(header::TRANSFER_ENCODING, "chunked"))
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), at most a day.
fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(then.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_AT_MOST))
}

/// An answer with status 200.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Where it came from in the end.
    pub(crate) url: Url,
}

impl Answer {
    /// What the host says it is.
    pub(crate) fn content_type(&self) -> Option<String> {
        self.headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// What the host says the length is; it may lie.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

/// A body that comes fast enough or fails.
pub(crate) struct Body {
    incoming: Incoming,
    url: Url,
    origin: Origin,
    pace: Pace,
    deadline: Instant,
    limits: HttpLimits,
}

impl Body {
    /// The next bytes, or none at the end. A body that ends early is a failure.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.read().await.map_err(|failure| trouble::of_origin(self.origin, failure.into()).failure)
    }

    async fn read(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let start = Instant::now();
            if start >= self.deadline {
                return Err(words::too_slow_total(&self.url, self.limits.total));
            }
            let patience = self.deadline.min(start + self.pace.tick());
            let frame = timeout_at(patience, self.incoming.frame()).await;
            let data = match frame {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(Some(Err(error))) => return Err(trouble::of_body(&self.url, self.origin, &error)),
                Err(_) => Bytes::new(),
            };
            if !self.pace.add(start.elapsed(), data.len() as u64) {
                return Err(words::too_slow_rate(&self.url, self.limits.min_bytes_per_second, self.limits.window));
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &header::HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_capped() {
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("86400", Some(86400)),
            ("86401", Some(86400)),
            ("18446744073709551615", Some(86400)),
            ("Fri, 20 Nov 2026 10:00:05 GMT", Some(5)),
            ("Fri, 20 Nov 2026 09:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let wait = retry_after(&headers(&header::RETRY_AFTER, &[text]), now);
            assert_eq!(wait, seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn any_encoding_but_identity_is_seen() {
        for (values, seen) in [
            (&["identity"][..], false),
            (&["Identity", "identity"], false),
            (&["gzip"], true),
            (&["identity, br"], true),
            (&["identity", "zstd"], true),
            (&[""], true),
        ] {
            assert_eq!(encoding(&headers(&header::CONTENT_ENCODING, values)).is_some(), seen, "{values:?}");
        }
        assert!(encoding(&headers(&header::TRANSFER_ENCODING, &["chunked"])).is_none());
        assert!(encoding(&headers(&header::TRANSFER_ENCODING, &["gzip, chunked"])).is_some());
        assert!(encoding(&HeaderMap::new()).is_none());
    }
}
