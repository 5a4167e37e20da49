//! The configured Python index.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use gate_core::coordinates::PackageName;
use gate_core::evidence::IndexFile;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{Origin, PackageIndex};
use gate_core::sniff;
use gate_core::text::escape_to;
use http::header::CONTENT_TYPE;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

use crate::http::Http;
use crate::page::{self, Form};
use crate::retry::Trouble;
use crate::words;

/// The most bytes of a project's page. The longest known are about 20 MB.
pub const PAGE_BYTES: u64 = 64 * 1024 * 1024;

/// How many pages are remembered: rows often ask for the same dependencies.
const PAGES_KEPT: usize = 64;

/// Reads project pages from the index that the client is configured with, and remembers the last ones as long as it lives.
#[derive(Debug)]
pub struct SimpleIndex {
    http: Arc<Http>,
    page_bytes: u64,
    pages: Mutex<VecDeque<(String, Page)>>,
}

type Page = Arc<OnceCell<Vec<IndexFile>>>;

impl SimpleIndex {
    /// Pages of at most [`PAGE_BYTES`].
    #[must_use]
    pub fn new(http: Arc<Http>) -> Self {
        Self::with_limit(http, PAGE_BYTES)
    }

    /// Pages of at most `page_bytes`.
    #[must_use]
    pub fn with_limit(http: Arc<Http>, page_bytes: u64) -> Self {
        Self { http, page_bytes, pages: Mutex::default() }
    }

    fn remembered(&self, name: String) -> Page {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, page)) = pages.iter().find(|(known, _)| *known == name) {
            return Arc::clone(page);
        }
        if pages.len() == PAGES_KEPT {
            pages.pop_front();
        }
        let page = Page::default();
        pages.push_back((name, Arc::clone(&page)));
        page
    }

    async fn read(&self, name: &PackageName) -> Result<Vec<IndexFile>, Failure> {
        let Some(index) = self.http.index_url() else {
            return Err(Failure::new(
                FailureCode::BadIndex,
                "no Python index is configured; give --index-url, or set PIP_INDEX_URL",
            ));
        };
        let url = index.project(name);
        let limits = self.http.limits();
        let deadline = Instant::now() + limits.total;
        let files = limits.retry.run(deadline, || self.attempt(&url, deadline)).await;
        files.map_err(|failure| match failure.code {
            FailureCode::NotFound => Failure::new(
                FailureCode::NotFound,
                format!("the index at {} has no project '{name}'; check the spelling", words::host(&url)),
            ),
            FailureCode::Forbidden => Failure::new(
                FailureCode::Forbidden,
                format!(
                    "the index at {} refuses to show '{name}'; the operator must give the index URL with a user name and \
                     password that may read it",
                    words::host(&url)
                ),
            ),
            _ => failure,
        })
    }

    async fn attempt(&self, url: &Url, deadline: Instant) -> Result<Vec<IndexFile>, Trouble> {
        let mut answer = self.http.get(url, Origin::Index, page::ACCEPT, deadline).await?;
        let too_large = || words::page_too_large(url, self.page_bytes);
        if answer.content_length().is_some_and(|length| length > self.page_bytes) {
            return Err(too_large().into());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.body.next().await? {
            if (body.len() + chunk.len()) as u64 > self.page_bytes {
                return Err(too_large().into());
            }
            body.extend_from_slice(&chunk);
        }
        let content_type = answer.headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let Some(form) = content_type.as_deref().and_then(Form::of_content_type) else {
            let what = sniff::describe(&body[..body.len().min(sniff::PREFIX_BYTES)]);
            let given = content_type.map_or_else(|| "none".to_owned(), |given| escape_to(&given, 60));
            return Err(bad_page(url, &format!("it is {what}, its Content-Type {given}")).into());
        };
        // A long page takes a moment to read; other rows go on meanwhile.
        let base = answer.url;
        match tokio::task::spawn_blocking(move || page::parse(form, &body, &base)).await {
            Ok(Ok(files)) => Ok(files),
            Ok(Err(error)) => Err(bad_page(url, &error.to_string()).into()),
            Err(_) => Err(bad_page(url, "reading it stopped").into()),
        }
    }
}

fn bad_page(url: &Url, why: &str) -> Failure {
    Failure::new(
        FailureCode::BadIndex,
        format!("the index page from {} cannot be read: {why}; check the index URL", words::host(url)),
    )
}

impl PackageIndex for SimpleIndex {
    async fn files(&self, name: &PackageName) -> Result<Vec<IndexFile>, Failure> {
        let page = self.remembered(name.normalized());
        page.get_or_try_init(|| self.read(name)).await.cloned()
    }
}
