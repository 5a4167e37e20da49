//! What the gate asks of GitHub: by number, since names change hands, and at a commit, since branches move.

mod address;
mod blob;
mod client;

use std::fmt;

use gate_core::ports::Secrets;
use gate_core::step::{ErrorName, StepError};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

pub use address::{Address, BadAddress};
pub use client::Limits;

use crate::config::RequestPath;
use crate::delivery::is_commit;
use client::{Answer, Client};

const JSON: &str = "application/vnd.github+json";
/// A directory is an object, too; the default media type gives an array.
const OBJECT: &str = "application/vnd.github.object+json";
/// Up to 100 MB, the largest file that GitHub takes.
const RAW: &str = "application/vnd.github.raw+json";

/// The most characters of a status's description (GitHub's REST API, "Create a commit status").
pub const DESCRIPTION_CHARS: usize = 140;

/// GitHub, or a GitHub Enterprise Server.
pub struct GitHub<S> {
    client: Client<S>,
    limits: Limits,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Repository {
    /// Its number.
    pub id: u64,
    /// What GraphQL calls it.
    pub node_id: String,
    /// `owner/name`, today.
    pub full_name: String,
}

/// What a path is at a commit.
#[derive(Clone, PartialEq, Eq)]
pub enum File {
    /// A file.
    Found {
        /// Git's id of its content, which the bytes have.
        blob: String,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// A file larger than was asked for.
    TooLarge {
        /// Git's id of its content.
        blob: String,
        /// In bytes.
        size: u64,
    },
    /// A directory, a link to nowhere, a submodule.
    Other(String),
    /// The commit has nothing of that name.
    Missing,
    /// The repository has no such commit any more.
    CommitGone,
}

/// Who wrote each line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame(Vec<Range>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    mail: Option<String>,
}

impl Blame {
    /// The address of the author of a line, 1-based, as git counts lines: by line feeds.
    #[must_use]
    pub fn author(&self, line: u64) -> Option<&str> {
        let at = self.0.partition_point(|range| range.last < line);
        self.0.get(at).filter(|range| range.first <= line)?.mail.as_deref()
    }
}

/// The word of a commit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All is approved.
    Success,
    /// A row is not.
    Failure,
    /// A row could not be decided.
    Error,
}

impl State {
    /// GitHub's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }
}

/// A status of a commit. A newer one of the same context replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The word.
    pub state: State,
    /// At most [`DESCRIPTION_CHARS`] characters.
    pub description: String,
    /// Where it leads to.
    pub link: Option<String>,
    /// Whose it is.
    pub context: &'static str,
}

impl<S: Secrets> GitHub<S> {
    /// A client that trusts the system's certificate authorities. `secret` names the secret that holds the access token.
    ///
    /// # Errors
    /// [`ErrorName::Configuration`] when the system trusts no authority.
    pub fn new(address: Address, secrets: S, secret: String, limits: Limits) -> Result<Self, StepError> {
        Ok(Self { client: Client::new(address, secrets, secret, limits.seconds)?, limits })
    }

    /// A repository by its number.
    ///
    /// # Errors
    /// [`ErrorName::Denied`] when the token cannot see it, which GitHub does not tell apart from its absence.
    pub async fn repository(&self, id: u64) -> Result<Repository, StepError> {
        match self.find_repository(id).await? {
            Some(repository) => Ok(repository),
            None => Err(StepError::new(
                ErrorName::Denied,
                format!("GitHub shows no repository {id} to this access token; give the token access to its contents"),
            )),
        }
    }

    async fn find_repository(&self, id: u64) -> Result<Option<Repository>, StepError> {
        let Some(body) = self.get(&repository_path(id, &[]), &[], JSON, self.limits.json_bytes).await? else {
            return Ok(None);
        };
        let repository: Repository = decode(&body, "a repository")?;
        if repository.id != id {
            return Err(unexpected("another repository than was asked for"));
        }
        Ok(Some(repository))
    }

    /// The commit that a branch is at; none when there is no such branch.
    ///
    /// # Errors
    /// [`ErrorName::Denied`] when the token cannot see the repository; see [`StepError`] for the rest.
    pub async fn branch_head(&self, repository: u64, branch: &str) -> Result<Option<String>, StepError> {
        #[derive(Deserialize)]
        struct Reference {
            r#ref: String,
            object: Object,
        }
        #[derive(Deserialize)]
        struct Object {
            r#type: String,
            sha: String,
        }
        let mut path = repository_path(repository, &["git", "ref", "heads"]);
        path.extend(branch.split('/').map(str::to_owned));
        let Some(body) = self.get(&path, &[], JSON, self.limits.json_bytes).await? else {
            self.repository(repository).await?;
            return Ok(None);
        };
        let Reference { r#ref, object } = decode(&body, "a branch")?;
        let is_good = r#ref == format!("refs/heads/{branch}") && object.r#type == "commit" && is_commit(&object.sha);
        if is_good { Ok(Some(object.sha)) } else { Err(unexpected("another branch than was asked for")) }
    }

    /// A file at a commit; its bytes have the id that git gives them. At most `at_most` bytes are read.
    ///
    /// # Errors
    /// [`ErrorName::Transient`] when the bytes are not those of the id.
    pub async fn file(
        &self,
        repository: u64,
        path: &RequestPath,
        commit: &str,
        at_most: usize,
    ) -> Result<File, StepError> {
        #[derive(Deserialize)]
        struct Entry {
            r#type: String,
            sha: String,
            size: u64,
        }
        let mut segments = repository_path(repository, &["contents"]);
        segments.extend(path.as_str().split('/').map(str::to_owned));
        let at_commit = [("ref", commit)];
        let Some(body) = self.get(&segments, &at_commit, OBJECT, self.limits.json_bytes).await? else {
            return self.why_missing(repository, commit).await;
        };
        let entry: Entry = decode(&body, "a file")?;
        if entry.r#type != "file" {
            return Ok(File::Other(entry.r#type));
        }
        if entry.size > at_most as u64 {
            return Ok(File::TooLarge { blob: entry.sha, size: entry.size });
        }
        let Some(bytes) = self.get(&segments, &at_commit, RAW, at_most).await? else {
            return Err(unexpected("a file that was there a moment ago"));
        };
        if !blob::has_id(&bytes, &entry.sha) {
            let message = format!("GitHub sent {} bytes that are not the blob {}", bytes.len(), shown_id(&entry.sha));
            return Err(StepError::new(ErrorName::Transient, message));
        }
        Ok(File::Found { blob: entry.sha, bytes })
    }

    /// A file that is not there is an answer about the request; a repository that the token cannot see is a fault.
    async fn why_missing(&self, repository: u64, commit: &str) -> Result<File, StepError> {
        let path = repository_path(repository, &["git", "commits", commit]);
        if self.get(&path, &[], JSON, self.limits.json_bytes).await?.is_some() {
            return Ok(File::Missing);
        }
        self.repository(repository).await?;
        Ok(File::CommitGone)
    }

    /// The address of a commit's author, whatever they have written there; none when the commit is gone.
    ///
    /// # Errors
    /// See [`StepError`].
    pub async fn author(&self, repository: u64, commit: &str) -> Result<Option<String>, StepError> {
        #[derive(Deserialize)]
        struct Commit {
            author: Author,
        }
        #[derive(Deserialize)]
        struct Author {
            email: String,
        }
        let path = repository_path(repository, &["git", "commits", commit]);
        let Some(body) = self.get(&path, &[], JSON, self.limits.json_bytes).await? else { return Ok(None) };
        let Commit { author } = decode(&body, "a commit")?;
        Ok(Some(author.email))
    }

    /// The authors of a file's lines at a commit.
    ///
    /// # Errors
    /// [`ErrorName::Transient`] when GitHub does not make the list, as of a file with too long a history.
    pub async fn blame(&self, repository: u64, path: &RequestPath, commit: &str) -> Result<Blame, StepError> {
        const QUERY: &str = "query($id: ID!, $commit: GitObjectID!, $path: String!) { node(id: $id) { ... on Repository { \
            object(oid: $commit) { ... on Commit { blame(path: $path) { ranges { startingLine endingLine \
            commit { author { email } } } } } } } } }";
        let node = self.repository(repository).await?.node_id;
        let query = json!({"query": QUERY, "variables": {"id": node, "commit": commit, "path": path.as_str()}});
        let answer: Value =
            decode(&self.client.graphql(&query, self.limits.graphql_bytes).await?, "a list of authors")?;
        if let Some(error) = answer["errors"].as_array().and_then(|errors| errors.first()) {
            return Err(client::graphql_error(error));
        }
        let ranges = answer["data"]["node"]["object"]["blame"]["ranges"].as_array();
        let ranges = ranges.ok_or_else(|| unexpected("no list of authors"))?;
        let range = |range: &Value| {
            let mail = range["commit"]["author"]["email"].as_str().map(str::to_owned);
            Some(Range { first: range["startingLine"].as_u64()?, last: range["endingLine"].as_u64()?, mail })
        };
        let ranges: Option<Vec<_>> = ranges.iter().map(range).collect();
        let mut ranges = ranges.ok_or_else(|| unexpected("a list of authors without lines"))?;
        ranges.sort_by_key(|range| range.first);
        Ok(Blame(ranges))
    }

    /// Sets a status of a commit. One that was pushed over and is gone needs none.
    ///
    /// # Errors
    /// [`ErrorName::Denied`] when the token may not.
    pub async fn set_status(&self, repository: u64, commit: &str, status: &Status) -> Result<(), StepError> {
        let mut body = json!({
            "state": status.state.as_str(),
            "description": status.description,
            "context": status.context,
        });
        if let Some(link) = &status.link {
            body["target_url"] = Value::String(link.clone());
        }
        let path = repository_path(repository, &["statuses", commit]);
        let sent = self.client.send(Method::POST, &path, &[], JSON, Some(&body), self.limits.json_bytes).await;
        let refused = match sent {
            Ok(Answer::Body(_)) => return Ok(()),
            Ok(Answer::Missing) => StepError::new(
                ErrorName::Denied,
                "GitHub lets this access token set no status of the commit; give it write access to commit statuses",
            ),
            // 422 is GitHub's answer about a commit that is gone, too.
            Err(error) if error.name == ErrorName::Configuration => error,
            Err(error) => return Err(error),
        };
        match self.why_missing(repository, commit).await? {
            File::CommitGone => Ok(()),
            _ => Err(refused),
        }
    }

    async fn get(
        &self,
        path: &[String],
        query: &[(&str, &str)],
        accept: &'static str,
        at_most: usize,
    ) -> Result<Option<Vec<u8>>, StepError> {
        match self.client.send(Method::GET, path, query, accept, None, at_most).await? {
            Answer::Body(bytes) => Ok(Some(bytes)),
            Answer::Missing => Ok(None),
        }
    }
}

impl<S> fmt::Debug for GitHub<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("client", &self.client).field("limits", &self.limits).finish()
    }
}

/// No content: it is not for logs.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { blob, bytes } => write!(f, "Found({blob}, {} bytes)", bytes.len()),
            Self::TooLarge { blob, size } => write!(f, "TooLarge({blob}, {size} bytes)"),
            Self::Other(kind) => write!(f, "Other({kind})"),
            Self::Missing => f.write_str("Missing"),
            Self::CommitGone => f.write_str("CommitGone"),
        }
    }
}

fn repository_path(id: u64, rest: &[&str]) -> Vec<String> {
    ["repositories".to_owned(), id.to_string()].into_iter().chain(rest.iter().map(|part| (*part).to_owned())).collect()
}

/// The answer came whole and is not what was asked for: a proxy's page, or a service between two states.
fn decode<T: serde::de::DeserializeOwned>(body: &[u8], what: &str) -> Result<T, StepError> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        StepError::new(ErrorName::Transient, format!("GitHub's answer is not {what} (JSON, {place})"))
    })
}

fn unexpected(what: &str) -> StepError {
    StepError::new(ErrorName::Transient, format!("GitHub's answer is {what}"))
}

fn shown_id(id: &str) -> String {
    gate_core::text::escape_to(id, 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_author_of_its_range() {
        let range = |first, last, mail: Option<&str>| Range { first, last, mail: mail.map(str::to_owned) };
        let blame =
            Blame(vec![range(1, 1, Some("a")), range(2, 4, Some("b")), range(6, 6, None), range(7, 7, Some("c"))]);
        let authors: Vec<_> = (0..=8).map(|line| blame.author(line)).collect();
        assert_eq!(
            authors,
            [None, Some("a"), Some("b"), Some("b"), Some("b"), None, None, Some("c"), None],
            "no author is guessed"
        );
    }
}
