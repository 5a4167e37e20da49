//! Streaming an archive into quarantine, hashed on the way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use gate_core::digest::Sha256;
use gate_core::failure::Failure;
use gate_core::policy::FetchLimits;
use gate_core::ports::{ArtifactWriter as _, Downloaded, Downloader, Origin, Quarantine};
use gate_core::sniff;
use sha2::Digest as _;
use tokio::time::Instant;
use url::Url;

use crate::http::{Answer, Http};
use crate::retry::Trouble;
use crate::words;

/// The most bytes of one file that can be taken here, whatever the policy allows. It remembers a file that had more.
#[derive(Debug)]
pub struct Ceiling {
    bytes: u64,
    passed_by: OnceLock<String>,
}

impl Ceiling {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { bytes, passed_by: OnceLock::new() }
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first file that was larger, in words for a person that are not escaped yet.
    #[must_use]
    pub fn passed_by(&self) -> Option<&str> {
        self.passed_by.get().map(String::as_str)
    }
}

/// Fetches for one request: its files share one budget of bytes.
#[derive(Debug)]
pub struct HttpDownloader<Q> {
    http: Arc<Http>,
    quarantine: Arc<Q>,
    file_bytes: u64,
    ceiling: Option<Arc<Ceiling>>,
    request_bytes: u64,
    spent: AtomicU64,
}

impl<Q: Quarantine> HttpDownloader<Q> {
    /// A downloader with a full budget.
    pub fn new(http: Arc<Http>, quarantine: Arc<Q>, limits: &FetchLimits) -> Self {
        Self {
            http,
            quarantine,
            file_bytes: limits.file_bytes,
            ceiling: None,
            request_bytes: limits.request_bytes,
            spent: AtomicU64::new(0),
        }
    }

    /// The same, below a ceiling: a larger file is [`TooLarge`](gate_core::failure::FailureCode::TooLarge) and remembered
    /// there, unless it is known to be beyond the policy's limit as well.
    #[must_use]
    pub fn below(self, ceiling: Arc<Ceiling>) -> Self {
        Self { ceiling: Some(ceiling), ..self }
    }

    async fn attempt(
        &self,
        url: &Url,
        origin: Origin,
        expected: Option<&Sha256>,
        deadline: Instant,
    ) -> Result<Downloaded, Trouble> {
        let answer = self.http.get(url, origin, "*/*", deadline).await?;
        let mut account = Account { spent: &self.spent, cap: self.request_bytes, drawn: 0 };
        if let Some(length) = answer.content_length() {
            self.check_size(&answer.url, length)?;
            account.check(&answer.url, length)?;
        }
        let downloaded = self.store(answer, expected, &mut account).await?;
        account.settle();
        Ok(downloaded)
    }

    /// Copies the body. Whatever fails here drops the writer, which leaves nothing behind.
    async fn store(
        &self,
        answer: Answer,
        expected: Option<&Sha256>,
        account: &mut Account<'_>,
    ) -> Result<Downloaded, Failure> {
        let Answer { mut body, url, .. } = answer;
        let mut writer = self.quarantine.create().await?;
        let mut hasher = sha2::Sha256::new();
        let mut size = 0_u64;
        let mut prefix = Prefix::default();
        while let Some(chunk) = body.next().await? {
            size = size.saturating_add(chunk.len() as u64);
            self.check_size(&url, size)?;
            account.draw(&url, chunk.len() as u64)?;
            if let Some(ready) = prefix.add(chunk) {
                prefix.check(&url, &ready)?;
                hasher.update(&ready);
                writer.write(ready).await?;
            }
        }
        if let Some(short) = prefix.rest() {
            prefix.check(&url, &short)?;
            hasher.update(&short);
            writer.write(short).await?;
        }
        let digest = Sha256::finish(hasher);
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(words::digest_mismatch(&url, expected, &digest));
        }
        writer.keep(&digest).await?;
        Ok(Downloaded { digest, size, url })
    }

    fn check_size(&self, url: &Url, size: u64) -> Result<(), Failure> {
        if size > self.file_bytes {
            return Err(words::file_too_large(url, self.file_bytes));
        }
        match self.ceiling.as_deref().filter(|ceiling| size > ceiling.bytes) {
            None => Ok(()),
            Some(ceiling) => {
                ceiling.passed_by.get_or_init(|| words::file_at(url));
                Err(words::file_over_ceiling(url, ceiling.bytes))
            }
        }
    }
}

impl<Q: Quarantine> Downloader for HttpDownloader<Q> {
    async fn download(&self, url: &Url, origin: Origin, expected: Option<&Sha256>) -> Result<Downloaded, Failure> {
        let limits = self.http.limits();
        let deadline = Instant::now() + limits.total;
        limits.retry.run(deadline, || self.attempt(url, origin, expected, deadline)).await
    }
}

/// What one download draws from the request's budget. Dropped before it is settled, it gives everything back: a host that
/// breaks off again and again must not use up what the other rows may fetch.
struct Account<'a> {
    spent: &'a AtomicU64,
    cap: u64,
    drawn: u64,
}

impl Account<'_> {
    /// Whether so many bytes are left.
    fn check(&self, url: &Url, bytes: u64) -> Result<(), Failure> {
        if self.spent.load(Ordering::Relaxed).saturating_add(bytes) > self.cap {
            return Err(words::request_too_large(url, self.cap));
        }
        Ok(())
    }

    fn draw(&mut self, url: &Url, bytes: u64) -> Result<(), Failure> {
        self.drawn = self.drawn.saturating_add(bytes);
        if self.spent.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.cap {
            return Err(words::request_too_large(url, self.cap));
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.drawn = 0;
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.spent.fetch_sub(self.drawn, Ordering::Relaxed);
    }
}

/// Holds back the first bytes until it can be told what the file is.
#[derive(Default)]
struct Prefix {
    held: BytesMut,
    passed: bool,
}

impl Prefix {
    /// Takes a chunk and gives what may go on.
    fn add(&mut self, chunk: Bytes) -> Option<Bytes> {
        if self.passed {
            return Some(chunk);
        }
        if self.held.is_empty() && chunk.len() >= sniff::PREFIX_BYTES {
            return Some(chunk);
        }
        self.held.extend_from_slice(&chunk);
        (self.held.len() >= sniff::PREFIX_BYTES).then(|| self.held.split().freeze())
    }

    /// What is still held at the end of a file shorter than the prefix, an empty one included.
    fn rest(&mut self) -> Option<Bytes> {
        (!self.passed).then(|| self.held.split().freeze())
    }

    /// Refuses what is not an archive, the first time.
    fn check(&mut self, url: &Url, start: &[u8]) -> Result<(), Failure> {
        if !self.passed && !is_archive(start) {
            return Err(words::not_an_archive(url, sniff::describe(&start[..start.len().min(sniff::PREFIX_BYTES)])));
        }
        self.passed = true;
        Ok(())
    }
}

/// Zip (also an empty one), gzip or POSIX tar, by their magic numbers.
fn is_archive(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04")
        || start.starts_with(b"PK\x05\x06")
        || start.starts_with(b"\x1f\x8b")
        || start.get(257..262).is_some_and(|magic| magic == b"ustar")
}
