//! The configured Python index.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gate_core::coordinates::PackageName;
use gate_core::evidence::IndexFile;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{Origin, PackageIndex};
use gate_core::sniff;
use gate_core::step::ErrorName;
use gate_core::text::escape_to;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

use crate::http::Http;
use crate::index_url::IndexUrl;
use crate::page::{self, Form};
use crate::retry::Trouble;
use crate::select::lists;
use crate::words;

/// The most bytes of a project's page. The longest known are about 20 MB.
pub const PAGE_BYTES: u64 = 64 * 1024 * 1024;

/// A project that every mirror of open source has.
pub(crate) const KNOWN_PROJECT: &str = "pip";

/// How many pages are remembered: rows often ask for the same dependencies.
const PAGES_KEPT: usize = 64;

/// Reads project pages from the index that the client is configured with, and remembers the last ones as long as it lives.
#[derive(Debug)]
pub struct SimpleIndex {
    http: Arc<Http>,
    page_bytes: u64,
    /// Whether it has shown something.
    works: AtomicBool,
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
        Self { http, page_bytes, works: AtomicBool::new(false), pages: Mutex::default() }
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
            return Err(words::no_index());
        };
        let url = index.project(name);
        let limits = self.http.limits();
        let deadline = Instant::now() + limits.total;
        let failure = match limits.retry.run(deadline, || self.attempt(&url, deadline)).await {
            Ok(files) if lists(&files, name) => {
                self.works.store(true, Ordering::Relaxed);
                return Ok(files);
            }
            // A project without releases, or a page that any address is answered with.
            Ok(files) if self.works(index, deadline).await? => return Ok(files),
            Ok(_) => return Err(words::no_projects(&url, name)),
            Err(failure) => failure,
        };
        Err(match failure.code {
            FailureCode::NotFound if self.works(index, deadline).await? => words::no_such_project(&url, name),
            FailureCode::NotFound => words::no_projects(&url, name),
            // The page's address is the operator's alone.
            FailureCode::AddressNotAllowed => failure.with_name(ErrorName::Configuration),
            _ if failure.named == Some(ErrorName::Denied) => words::index_denies(&url, name),
            _ => failure,
        })
    }

    /// Whether the address is that of an index: under a wrong one, every project is missing. Not every index lists its projects,
    /// and not every one has [`KNOWN_PROJECT`]; one of the two will do. A list in plain HTML says nothing: any home page looks
    /// like one.
    async fn works(&self, index: &IndexUrl, deadline: Instant) -> Result<bool, Failure> {
        if self.works.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let retry = self.http.limits().retry;
        let list = || async {
            let answer = self.http.get(index.base(), Origin::Index, page::ACCEPT, deadline).await?;
            Ok(answer.content_type().is_some_and(|given| page::is_marked(&given)))
        };
        let known = || async {
            let Ok(name) = KNOWN_PROJECT.parse() else { return Ok(false) };
            Ok(lists(&self.attempt(&index.project(&name), deadline).await?, &name))
        };
        let works = yes(retry.run(deadline, known).await)? || yes(retry.run(deadline, list).await)?;
        self.works.fetch_or(works, Ordering::Relaxed);
        Ok(works)
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
        let content_type = answer.content_type();
        let Some(form) = content_type.as_deref().and_then(Form::of_content_type) else {
            let what = sniff::describe(&body[..body.len().min(sniff::PREFIX_BYTES)]);
            let given = content_type.map_or_else(|| "none".to_owned(), |given| escape_to(&given, 60));
            return Err(words::bad_page(url, &format!("it is {what}, its Content-Type {given}")).into());
        };
        // A long page takes a moment to read; other rows go on meanwhile.
        let base = answer.url;
        match tokio::task::spawn_blocking(move || page::parse(form, &body, &base)).await {
            Ok(Ok(files)) => Ok(files),
            Ok(Err(error)) => Err(words::bad_page(url, &error.to_string()).into()),
            Err(_) => Err(words::bad_page(url, "reading it stopped").into()),
        }
    }
}

/// A yes or no; no answer at all is neither.
fn yes(answer: Result<bool, Failure>) -> Result<bool, Failure> {
    let is_no_answer =
        |failure: &Failure| matches!(failure.code, FailureCode::Unreachable | FailureCode::Busy | FailureCode::TooSlow);
    match answer {
        Err(failure) if is_no_answer(&failure) => Err(failure),
        answer => Ok(answer.unwrap_or(false)),
    }
}

impl PackageIndex for SimpleIndex {
    async fn files(&self, name: &PackageName) -> Result<Vec<IndexFile>, Failure> {
        let page = self.remembered(name.normalized());
        page.get_or_try_init(|| self.read(name)).await.cloned()
    }
}
