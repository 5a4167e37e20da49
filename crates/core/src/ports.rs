//! What the outside must supply: each trait has a local implementation in the `gate` program, and later one on AWS.
//!
//! Methods return `impl Future + Send`: steps are generic over their ports, and nothing is boxed. Every error is a
//! [`Failure`], whose code says whether trying again may help.

use std::future::Future;

use bytes::Bytes;
use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use crate::coordinates::{Coordinates, PackageName};
use crate::digest::Sha256;
use crate::evidence::{Evidence, IndexFile};
use crate::failure::Failure;
use crate::report::{ContentReport, ScannerVersion};
use crate::step::StepError;

/// The time, so that expiry and cool-down can be tested.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Where fetched bytes wait, named by their digest. Nothing is ever overwritten by other bytes.
pub trait Quarantine: Send + Sync {
    /// Takes the bytes of one artifact.
    type Writer: ArtifactWriter;
    /// Gives the bytes of one artifact.
    type Reader: ArtifactReader;

    /// The size in bytes of a stored artifact; none when it is not stored.
    fn size(&self, digest: &Sha256) -> impl Future<Output = Result<Option<u64>, Failure>> + Send;
    /// Begins a new artifact. Dropping the writer before [`ArtifactWriter::keep`] leaves nothing behind.
    fn create(&self) -> impl Future<Output = Result<Self::Writer, Failure>> + Send;
    /// Reads a stored artifact. Whoever relies on the bytes hashes them again.
    fn open(&self, digest: &Sha256) -> impl Future<Output = Result<Self::Reader, Failure>> + Send;
    /// Hashes a stored artifact, and takes it out of the way if its bytes no longer have its digest, so that it can be
    /// fetched again; says whether they were damaged. One that is whole, or not stored, is left alone: whoever doubts an
    /// artifact may call this.
    fn discard_damaged(&self, digest: &Sha256) -> impl Future<Output = Result<bool, Failure>> + Send;
}

/// One artifact on its way into a [`Quarantine`].
pub trait ArtifactWriter: Send {
    /// Appends bytes.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Stores what was written under its digest, which the caller has computed: whole or not at all, also when the power
    /// fails. Storing the same bytes twice is a success.
    fn keep(self, digest: &Sha256) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// One artifact on its way out of a [`Quarantine`].
pub trait ArtifactReader: Send {
    /// The next bytes, or none at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send;
}

/// Small JSON documents by key: reports, decisions, publications. A key is `/`-separated and holds only `A-Z a-z 0-9 . _ -`.
pub trait Records: Send + Sync {
    /// Stores a document if the key is free, whole or not at all, also when the power fails (S3: `If-None-Match: *`).
    fn put_new(&self, key: &str, body: &[u8]) -> impl Future<Output = Result<Put, Failure>> + Send;
    /// Reads a document.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, Failure>> + Send;
    /// The keys below a prefix, which ends in `/`, sorted.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;
}

/// What became of a conditional put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The key was free and is now taken.
    Created,
    /// The key was taken; nothing changed.
    Exists,
}

/// A scanner: started, asked until it is done, and read. The built-in one has the same three steps as an external one.
pub trait Scanner: Send + Sync {
    /// Whatever names a running scan.
    type Scan: Send;

    /// Who it is and by which rules it looks.
    fn version(&self) -> ScannerVersion;
    /// Begins to scan a stored artifact.
    fn start(&self, artifact: &Sha256) -> impl Future<Output = Result<Self::Scan, Failure>> + Send;
    /// Whether it is done.
    fn poll(&self, scan: &mut Self::Scan) -> impl Future<Output = Result<ScanState, Failure>> + Send;
    /// The whole report of a scan that is done. A scan that lost files says so in its coverage.
    fn collect(&self, scan: Self::Scan) -> impl Future<Output = Result<ContentReport, Failure>> + Send;
}

/// Where a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanState {
    /// Ask again.
    Running,
    /// Collect it.
    Done,
}

/// A Python index, which the operator has configured and thereby trusts for what it lists.
pub trait PackageIndex: Send + Sync {
    /// Every file of a project, in the index's order.
    fn files(&self, name: &PackageName) -> impl Future<Output = Result<Vec<IndexFile>, Failure>> + Send;
}

/// Fetches one archive into quarantine.
pub trait Downloader: Send + Sync {
    /// Streams the archive into quarantine; `expected` refuses other bytes.
    fn download(
        &self,
        url: &Url,
        origin: Origin,
        expected: Option<&Sha256>,
    ) -> impl Future<Output = Result<Downloaded, Failure>> + Send;
}

/// Who named a URL, and so where it may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A row: public addresses, and what the policy's `[network] allow` lists.
    Row,
    /// The configured index: also the addresses that the index's own host resolves to.
    Index,
}

/// A stored download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Of the bytes.
    pub digest: Sha256,
    /// In bytes.
    pub size: u64,
    /// After redirects.
    pub url: Url,
}

/// Where approved packages go. A set is published whole: `begin`, `put` each file, `commit`.
pub trait PackageRepository: Send + Sync {
    /// An unfinished publication.
    type Publication: Send;

    /// Reserves the coordinates for exactly this set of files.
    fn begin(
        &self,
        coordinates: &Coordinates,
        files: &[PublishedFile],
    ) -> impl Future<Output = Result<Begin<Self::Publication>, Failure>> + Send;
    /// Copies one file of the set; the implementation hashes what it stores.
    fn put<R: ArtifactReader>(
        &self,
        publication: &mut Self::Publication,
        file: &PublishedFile,
        bytes: R,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Makes the set visible to users.
    fn commit(&self, publication: Self::Publication) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What `begin` found.
#[derive(Debug)]
pub enum Begin<P> {
    /// The coordinates are ours to fill.
    Reserved(P),
    /// Every file of this set is published already.
    Published,
    /// Other bytes hold these coordinates. They are never overwritten.
    Taken,
    /// Some of the files are not among what is published under these coordinates, and the repository adds none to it. Holds
    /// the names of the missing ones, at least one.
    InPart(Vec<String>),
    /// A person has withdrawn what holds these coordinates. Nothing is published or brought back against that.
    Withdrawn,
}

/// One file of a publication.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PublishedFile {
    /// What users download it as.
    pub filename: String,
    /// Of its bytes.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    /// What the upstream index said of it.
    pub evidence: Evidence,
}

/// Takes a finished mail.
pub trait Outbox: Send + Sync {
    /// Stores or sends it; `key` makes sending it twice one mail. A failure that no other try can cure
    /// ([`FailureCode::is_retryable`](crate::failure::FailureCode::is_retryable)) is about this very mail: it is refused for good.
    fn send(&self, key: &str, mail: &Mail) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The most bytes of a mail's body, 250 KiB: SNS takes 262,144 bytes together with the attributes of a message (SNS quotas,
/// "Message size"), which are an address of at most 254 bytes and a key.
pub const MAX_MAIL_BODY: usize = 250 << 10;
/// The most bytes of a mail's key.
pub const MAX_MAIL_KEY: usize = 256;

/// A plain-text mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// An address, or none for the operator's default subscription.
    pub to: Option<String>,
    /// Printable ASCII, under 100 characters (the limit of SNS).
    pub subject: String,
    /// UTF-8, at most [`MAX_MAIL_BODY`] bytes.
    pub body: String,
}

/// Secrets by name. What is cached is cached for minutes, so that a rotation needs no deployment.
pub trait Secrets: Send + Sync {
    /// The secret in use. `fresh` asks the store even if a value is cached: for a caller whose peer has just refused it.
    fn current(&self, name: &str, fresh: bool) -> impl Future<Output = Result<SecretString, StepError>> + Send;
    /// The secret that was in use before the last rotation, if there is one.
    fn previous(&self, name: &str) -> impl Future<Output = Result<Option<SecretString>, StepError>> + Send;
}

/// Named executions of one state machine.
pub trait Executions: Send + Sync {
    /// Starts one, unless its name is taken: that is a success, since the name says what it does.
    fn start(&self, name: &str, input: &str) -> impl Future<Output = Result<Started, StepError>> + Send;
    /// Where the execution of this name is; none when there never was one.
    fn status(&self, name: &str) -> impl Future<Output = Result<Option<ExecutionStatus>, StepError>> + Send;
    /// The names of the executions that failed, timed out or were aborted since a time; at most some thousands, the newest.
    fn unfinished(&self, since: Timestamp) -> impl Future<Output = Result<Vec<String>, StepError>> + Send;
}

/// What became of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs.
    Now,
    /// One of this name runs or has run.
    Before,
}

/// Where an execution is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionStatus {
    /// Under way.
    Running,
    /// Ended well.
    Succeeded,
    /// Failed, timed out or aborted.
    Unfinished,
}

/// Who gets mails.
pub trait Subscriptions: Send + Sync {
    /// Makes sure that an address is subscribed to the mails that are addressed to it, and says whether they reach it.
    fn ensure(&self, address: &str) -> impl Future<Output = Result<Subscription, StepError>> + Send;
    /// Whether mails without an address reach anybody.
    fn default_is_confirmed(&self) -> impl Future<Output = Result<bool, StepError>> + Send;
}

/// Whether mails reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// They do.
    Confirmed,
    /// The owner of the address has not yet followed the link in the mail that asks for it.
    Pending,
    /// No further address can be subscribed.
    Full,
}
