"""GitHub's REST and GraphQL answers about one repository, with real git ids, and the webhook that it sends for a push.

Rules (GitHub REST documentation): a bad or expired token is 401, a request without a User-Agent 403, an unknown commit 422 for a
status and 404 for content; `contents` gives up to 1 MB inline and the raw media type up to 100 MB; a status description has at
most 140 characters.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import hmac
import json
import re
import uuid
from dataclasses import dataclass, field

from graphql import build_schema, graphql_sync

from .server import Answer, Fake, Request

INLINE = 1 << 20
RAW = 100 << 20
STATES = ("error", "failure", "pending", "success")

SCHEMA = build_schema("""
scalar GitObjectID
scalar GitTimestamp
scalar DateTime
interface Node { id: ID! }
type Query { node(id: ID!): Node repository(owner: String!, name: String!, followRenames: Boolean = true): Repository }
type Repository implements Node { id: ID! databaseId: Int name: String! nameWithOwner: String!
  object(oid: GitObjectID, expression: String): GitObject ref(qualifiedName: String!): Ref }
type Ref { id: ID! name: String! target: GitObject }
interface GitObject { id: ID! oid: GitObjectID! abbreviatedOid: String! }
type Commit implements GitObject { id: ID! oid: GitObjectID! abbreviatedOid: String! message: String!
  author: GitActor committer: GitActor authoredDate: DateTime! committedDate: DateTime! blame(path: String!): Blame! }
type Blame { ranges: [BlameRange!]! }
type BlameRange { age: Int! startingLine: Int! endingLine: Int! commit: Commit! }
type GitActor { name: String email: String date: GitTimestamp user: User }
type User { id: ID! login: String! }
""")


@dataclass
class Commit:
    """One commit: its id is git's own."""

    sha: str
    parent: str | None
    author: str
    files: dict[str, bytes]
    authors: dict[str, list[str]] = field(default_factory=dict)
    """By path, the commit that each line comes from."""


class GitHub(Fake):
    """One private repository on one branch."""

    def __init__(self, number: int = 620_001, full_name: str = "corp/package-requests", branch: str = "main") -> None:
        self.number, self.full_name, self.branch = number, full_name, branch
        self.node_id = f"R_{number}"
        self.secret = b"set when the stack is up"
        self.token = "ghp_" + uuid.uuid4().hex
        self.commits: dict[str, Commit] = {}
        self.head: str | None = None
        self.statuses: list[tuple[str, dict]] = []
        """Commit and body of every status, in order."""
        self.refused_tokens = 0
        super().__init__()

    # What a person does.

    def push(self, files: dict[str, bytes | str], author: str = "ada@corp.example") -> Commit:
        """Commits files on the branch; the others stay as they are."""
        with self.lock:
            before = self.commits.get(self.head) if self.head else None
            now = dict(before.files) if before else {}
            now.update({path: text.encode() if isinstance(text, str) else text for path, text in files.items()})
            sha = commit_id(now, before.sha if before else None, author, len(self.commits))
            commit = Commit(sha, before.sha if before else None, author, now)
            for path, content in now.items():
                old = before.files.get(path) if before else None
                commit.authors[path] = blame(old, before.authors.get(path, []) if before else [], content, sha)
            self.commits[sha] = commit
            self.head = sha
            return commit

    def imagine(self) -> Commit:
        """A commit that is nowhere, so that nobody but a delivery can name it."""
        return Commit(uuid.uuid4().hex + "0" * 8, None, "ada@corp.example", {})

    def delivery(self, commit: Commit, **changes: object) -> tuple[bytes, dict[str, str]]:
        """Body and headers of the webhook for the push of a commit."""
        owner, name = self.full_name.split("/")
        mail = {"name": commit.author.split("@")[0], "email": commit.author}
        shown = {
            "id": commit.sha,
            "tree_id": tree_id(commit.files),
            "distinct": True,
            "message": "Ask for a package — ä",
            "timestamp": "2026-11-20T10:00:00+01:00",
            "url": f"https://git.corp.example/{self.full_name}/commit/{commit.sha}",
            "author": mail,
            "committer": mail,
            "added": [],
            "removed": [],
            "modified": sorted(commit.files),
        }
        payload = {
            "ref": f"refs/heads/{self.branch}",
            "before": commit.parent or "0" * 40,
            "after": commit.sha,
            "repository": {
                "id": self.number,
                "node_id": self.node_id,
                "name": name,
                "full_name": self.full_name,
                "private": True,
                "owner": {"name": owner, "login": owner, "id": 7, "type": "Organization"},
                "html_url": f"https://git.corp.example/{self.full_name}",
                "default_branch": self.branch,
                "pushed_at": 1_795_000_000,
            },
            "pusher": mail,
            "organization": {"login": owner, "id": 7},
            "sender": {"login": mail["name"], "id": 8, "type": "User"},
            "created": commit.parent is None,
            "deleted": False,
            "forced": False,
            "base_ref": None,
            "compare": f"https://git.corp.example/{self.full_name}/compare/x",
            "commits": [shown],
            "head_commit": shown,
            **changes,
        }
        body = json.dumps(payload, ensure_ascii=False).encode()
        return body, self.headers(body)

    def headers(self, body: bytes, event: str = "push", secret: bytes | None = None) -> dict[str, str]:
        return {
            "content-type": "application/json",
            "user-agent": "GitHub-Hookshot/0000000",
            "x-github-event": event,
            "x-github-delivery": str(uuid.uuid4()),
            "x-github-hook-id": "1",
            "x-hub-signature-256": "sha256=" + hmac.new(secret or self.secret, body, hashlib.sha256).hexdigest(),
        }

    def statuses_of(self, commit: Commit) -> list[dict]:
        with self.lock:
            return [status for sha, status in self.statuses if sha == commit.sha]

    # What GitHub answers.

    def answer(self, request: Request) -> Answer:
        with self.lock:
            if not request.headers.get("user-agent"):
                self.fault(f"{request.path} came without a User-Agent")
                return Answer.json(403, {"message": "Request forbidden by administrative rules."})
            given = request.headers.get("authorization", "")
            if given not in (f"Bearer {self.token}", f"token {self.token}"):
                self.refused_tokens += 1
                return Answer.json(401, {"message": "Bad credentials", "status": "401"})
            if request.path == "/graphql":
                return self.graphql(request)
            found = re.fullmatch(r"/repositories/(\d+)(/.*)?", request.path)
            if not found:
                self.fault(f"{request.method} {request.path}: ask by the repository's number, names change hands")
                return missing()
            if int(found[1]) != self.number:
                return missing()
            return self.rest(request, found[2] or "")

    def rest(self, request: Request, path: str) -> Answer:
        routes = (
            ("GET", r"", self.repository),
            ("GET", r"/commits/(.+)", self.commit),
            ("GET", r"/branches/(.+)", self.branch_of),
            ("GET", r"/git/ref/heads/(.+)", self.ref),
            ("GET", r"/git/commits/([0-9a-f]{40})", self.git_commit),
            ("GET", r"/contents/(.+)", self.contents),
            ("GET", r"/git/blobs/([0-9a-f]{40})", self.blob),
            ("POST", r"/statuses/([0-9a-f]{40})", self.status),
        )
        for method, pattern, played in routes:
            found = re.fullmatch(pattern, path)
            if found and method == request.method:
                return played(request, *found.groups())
        self.fault(f"{request.method} {request.path} is nothing that this fake knows")
        return missing()

    def repository(self, _: Request) -> Answer:
        return Answer.json(
            200,
            {
                "id": self.number,
                "node_id": self.node_id,
                "full_name": self.full_name,
                "default_branch": self.branch,
                "private": True,
            },
        )

    def commit(self, request: Request, reference: str) -> Answer:
        found = self.resolve(reference)
        if found is None:
            return Answer.json(422, {"message": f"No commit found for SHA: {reference}"})
        if "application/vnd.github.sha" in request.headers.get("accept", ""):
            return Answer(200, found.sha.encode(), {"content-type": "application/vnd.github.sha; charset=utf-8"})
        return Answer.json(200, self.commit_json(found))

    def branch_of(self, _: Request, name: str) -> Answer:
        if name != self.branch or self.head is None:
            return Answer.json(404, {"message": "Branch not found"})
        return Answer.json(200, {"name": name, "commit": self.commit_json(self.commits[self.head]), "protected": True})

    def ref(self, _: Request, name: str) -> Answer:
        if name != self.branch or self.head is None:
            return missing()
        return Answer.json(200, {"ref": f"refs/heads/{name}", "object": {"type": "commit", "sha": self.head}})

    def git_commit(self, _: Request, sha: str) -> Answer:
        found = self.commits.get(sha)
        if found is None:
            return missing()
        author = {"name": found.author.split("@")[0], "email": found.author, "date": "2026-11-20T10:00:00Z"}
        return Answer.json(200, {"sha": sha, "author": author, "tree": {"sha": tree_id(found.files)}})

    def contents(self, request: Request, path: str) -> Answer:
        found = self.resolve(request.parameter("ref") or self.branch)
        if found is None or path not in found.files:
            return missing()
        content = found.files[path]
        accept = request.headers.get("accept", "")
        if re.search(r"application/vnd\.github(\.v3)?\.raw", accept):
            if len(content) > RAW:
                return Answer.json(403, {"message": "This API returns blobs up to 100 MB in size."})
            return Answer(200, content, {"content-type": "application/vnd.github.raw+json; charset=utf-8"})
        inline = len(content) <= INLINE
        shown = {
            "type": "file",
            "name": path.rsplit("/")[-1],
            "path": path,
            "sha": blob_id(content),
            "size": len(content),
            "encoding": "base64" if inline else "none",
            "content": base64.encodebytes(content).decode() if inline else "",
        }
        return Answer.json(200, shown)

    def blob(self, request: Request, sha: str) -> Answer:
        for commit in self.commits.values():
            for content in commit.files.values():
                if blob_id(content) == sha:
                    if "raw" in request.headers.get("accept", ""):
                        return Answer(200, content, {"content-type": "application/vnd.github.raw+json"})
                    encoded = base64.encodebytes(content).decode()
                    return Answer.json(200, {"sha": sha, "size": len(content), "encoding": "base64", "content": encoded})
        return missing()

    def status(self, request: Request, sha: str) -> Answer:
        if sha not in self.commits:
            return Answer.json(422, {"message": f"No commit found for SHA: {sha}"})
        body = json.loads(request.body)
        problems = []
        if body.get("state") not in STATES:
            problems.append("state")
        if len(body.get("description") or "") > 140:
            problems.append("description is too long (maximum is 140 characters)")
        if body.get("target_url") and not re.match(r"https?://", body["target_url"]):
            problems.append("target_url must use http(s) scheme")
        if set(body) - {"state", "target_url", "description", "context"}:
            problems.append("unknown members")
        if problems:
            self.fault(f"a status was refused: {problems}")
            return Answer.json(422, {"message": "Validation Failed", "errors": problems})
        self.statuses.append((sha, body))
        return Answer.json(201, {"id": len(self.statuses), **body})

    def graphql(self, request: Request) -> Answer:
        asked = json.loads(request.body)
        world = {"repository": self.graphql_repository, "node": self.graphql_node}
        result = graphql_sync(SCHEMA, asked["query"], world, variable_values=asked.get("variables"))
        if result.errors:
            self.fault(f"GraphQL: {[error.message for error in result.errors]}")
        body = {"data": result.data, **({"errors": [{"message": e.message} for e in result.errors]} if result.errors else {})}
        return Answer.json(200, body)

    def graphql_node(self, _: object, id: str) -> dict | None:
        return self.graphql_repository(None, *self.full_name.split("/")) if id == self.node_id else None

    def graphql_repository(self, _: object, owner: str, name: str, **__: object) -> dict | None:
        if f"{owner}/{name}" != self.full_name:
            return None
        return {
            "__typename": "Repository",
            "id": self.node_id,
            "databaseId": self.number,
            "name": name,
            "nameWithOwner": self.full_name,
            "object": lambda _, oid=None, expression=None: self.graphql_commit(self.resolve(oid or expression or "")),
            "ref": lambda _, qualifiedName: {
                "id": "REF",
                "name": self.branch,
                "target": self.graphql_commit(self.resolve(qualifiedName.removeprefix("refs/heads/"))),
            },
        }

    def graphql_commit(self, commit: Commit | None) -> dict | None:
        if commit is None:
            return None
        actor = {"name": commit.author.split("@")[0], "email": commit.author, "date": None, "user": None}
        return {
            "__typename": "Commit",
            "id": f"C_{commit.sha}",
            "oid": commit.sha,
            "abbreviatedOid": commit.sha[:7],
            "message": "Ask for a package",
            "author": actor,
            "committer": actor,
            "authoredDate": "2026-11-20T10:00:00Z",
            "committedDate": "2026-11-20T10:00:00Z",
            "blame": lambda _, path: self.graphql_blame(commit, path),
        }

    def graphql_blame(self, commit: Commit, path: str) -> dict:
        if path not in commit.authors:
            raise ValueError(f"{path} does not exist at {commit.sha}")
        ranges: list[dict] = []
        for line, sha in enumerate(commit.authors[path], 1):
            if ranges and ranges[-1]["commit"]["oid"] == sha:
                ranges[-1]["endingLine"] = line
            else:
                of = self.graphql_commit(self.commits[sha])
                ranges.append({"age": 1, "startingLine": line, "endingLine": line, "commit": of})
        return {"ranges": ranges}

    def commit_json(self, commit: Commit) -> dict:
        person = {"name": commit.author.split("@")[0], "email": commit.author, "date": "2026-11-20T10:00:00Z"}
        return {
            "sha": commit.sha,
            "node_id": f"C_{commit.sha}",
            "commit": {"author": person, "committer": person, "message": "Ask for a package", "tree": {"sha": tree_id(commit.files)}},
            "parents": [{"sha": commit.parent}] if commit.parent else [],
        }

    def resolve(self, reference: str) -> Commit | None:
        reference = reference.removeprefix("refs/heads/").removeprefix("heads/")
        return self.commits.get(self.head or "" if reference == self.branch else reference)


def missing() -> Answer:
    return Answer.json(404, {"message": "Not Found", "status": "404"})


def git_id(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


def blob_id(content: bytes) -> str:
    return git_id("blob", content)


def tree_id(files: dict[str, bytes]) -> str:
    """The id of a flat folder; no test needs another."""
    entries = b"".join(
        b"100644 " + name.encode() + b"\0" + bytes.fromhex(blob_id(content)) for name, content in sorted(files.items())
    )
    return git_id("tree", entries)


def commit_id(files: dict[str, bytes], parent: str | None, author: str, number: int) -> str:
    who = f"{author.split('@')[0]} <{author}> {1_795_000_000 + number} +0000"
    lines = [f"tree {tree_id(files)}", *([f"parent {parent}"] if parent else []), f"author {who}", f"committer {who}"]
    return git_id("commit", "\n".join([*lines, "", "Ask for a package\n"]).encode())


def blame(old: bytes | None, authors: list[str], new: bytes, sha: str) -> list[str]:
    """The commit that each line of a file comes from."""
    before, after = (old or b"").splitlines(), new.splitlines()
    lines = [sha] * len(after)
    for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        lines[block.b : block.b + block.size] = authors[block.a : block.a + block.size]
    return lines
