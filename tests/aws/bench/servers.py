"""The other side, in processes of its own, so that a measured process is ours alone: `python -m bench.servers store|host FOLDER`.

`store` is an S3 with objects as files, and the calls of Secrets Manager, CodeArtifact, SNS and Step Functions that the functions make.
It is only as much of each as a figure needs; whether the functions use the services rightly is for the tests to say.
`host` is a package index: `simple/NAME.html` and `files/NAME` of a folder.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import json
import os
import shutil
import ssl
import sys
import threading
import uuid
from bisect import bisect_right
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

PIECE = 1 << 20
MAILS = ".mails"
"""Where the store keeps what was published on its topic, a file each."""
PAGE = 1000
"""The most keys of one answer of ListObjectsV2."""
SECRET = "only the benchmark signs with this secret"


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with bodies as pieces."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = PIECE
    folder: Path

    def log_message(self, *_: object) -> None:
        pass

    def pieces(self) -> Iterator[bytes]:
        """The body; what S3 calls `aws-chunked` is taken apart."""
        left = int(self.headers.get("content-length") or 0)
        if "aws-chunked" not in (self.headers.get("content-encoding") or ""):
            while left:
                piece = self.rfile.read(min(left, PIECE))
                if not piece:
                    raise ConnectionError("the body broke off")
                left -= len(piece)
                yield piece
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            while size:
                piece = self.rfile.read(min(size, PIECE))
                if not piece:
                    raise ConnectionError("the body broke off")
                size -= len(piece)
                yield piece
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        # The size of the object is the answer to HEAD.
        if "content_length" not in headers:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, path: Path, **headers: str) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.reply(200, b"", content_length=str(size), **headers)
            if self.command != "HEAD":
                # sendfile(2) on plain sockets: what the other side costs is not to slow the measured one down.
                self.connection.sendfile(file)


class Host(Handler):
    """A package index."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/simple/"):
            file, kind = self.folder / "simple" / f"{Path(path).name}.html", "text/html"
        else:
            file, kind = self.folder / "files" / Path(path).name, "application/octet-stream"
        if file.is_file():
            self.send_file(file, content_type=kind)
        else:
            self.reply(404, b"<!DOCTYPE html><p>not found</p>", content_type="text/html")

    do_HEAD = do_GET


class Store(Handler):
    """S3 in path style, Secrets Manager, CodeArtifact, SNS, Step Functions."""

    counts: dict[str, int] = {}
    """By method, and by action of SNS and Step Functions; and how many of S3's answers were refusals."""
    versions: dict[str, str] = {}
    subscriptions: list[tuple[str, str]] = []
    """Address and filter policy. Whoever subscribes has followed the link in the mail before anybody looks again."""
    lock = threading.Lock()
    numbers = itertools.count()

    def do(self) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        path = unquote(parts.path)
        if path == "/_counts":
            return self.reply(200, json.dumps(self.counts).encode(), content_type="application/json")
        target = self.headers.get("x-amz-target") or ""
        if target.startswith("AWSStepFunctions."):
            return self.execution(target)
        if self.headers.get("content-type") == "application/x-www-form-urlencoded":
            return self.topic()
        self.count(self.command)
        if target:
            return self.secret()
        if path.startswith("/v1/"):
            return self.artifact(path)
        bucket, _, key = path.lstrip("/").partition("/")
        self.file = self.folder / bucket / key
        if not self.file.resolve().is_relative_to(self.folder):
            return self.error(400, "InvalidArgument")
        return getattr(self, f"s3_{self.command.lower()}")(bucket, key)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    # S3

    def s3_get(self, bucket: str, key: str) -> None:
        if not key:
            return self.listed(bucket)
        if not self.file.is_file():
            return self.error(404, "NoSuchKey")
        tag = self.tag(self.file)
        if self.headers.get("if-none-match") == tag:
            return self.reply(304, etag=tag)
        return self.send_file(self.file, etag=tag)

    s3_head = s3_get

    def s3_put(self, _: str, key: str) -> None:
        if "partNumber" in self.query:
            part = self.uploads(key) / f"{int(self.query['partNumber']):06}"
            self.take(part)
            return self.reply(200, etag=f'"{uuid.uuid4().hex}"')
        if source := self.headers.get("x-amz-copy-source"):
            return self.copied(self.folder / unquote(source).lstrip("/"))
        scratch = self.scratch()
        self.take(scratch)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            if self.headers.get("if-none-match") == "*":
                os.link(scratch, self.file)
                scratch.unlink()
            else:
                scratch.rename(self.file)
        except FileExistsError:
            scratch.unlink()
            return self.error(412, "PreconditionFailed")
        return self.reply(200, etag=self.tag(self.file))

    def s3_post(self, _: str, key: str) -> None:
        if "uploads" in self.query:
            self.query["uploadId"] = uuid.uuid4().hex
            self.uploads(key).mkdir(parents=True)
            upload = f"<UploadId>{self.query['uploadId']}</UploadId>"
            return self.xml(f"<InitiateMultipartUploadResult>{upload}</InitiateMultipartUploadResult>")
        for _ in self.pieces():
            pass
        folder = self.uploads(key)
        first, *others = sorted(folder.iterdir())
        with first.open("ab") as whole:
            for part in others:
                with part.open("rb") as more:
                    shutil.copyfileobj(more, whole, PIECE)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        first.rename(self.file)
        shutil.rmtree(folder)
        tag = f"<ETag>{escape(self.tag(self.file))}</ETag>"
        return self.xml(f"<CompleteMultipartUploadResult>{tag}</CompleteMultipartUploadResult>")

    def s3_delete(self, _: str, key: str) -> None:
        if "uploadId" in self.query:
            shutil.rmtree(self.uploads(key), ignore_errors=True)
        else:
            self.file.unlink(missing_ok=True)
        self.reply(204)

    def listed(self, bucket: str) -> None:
        """Of one folder, in pages as S3 gives them."""
        root, prefix = self.folder / bucket, self.query.get("prefix", "")
        top = root / prefix.rpartition("/")[0]
        keys = sorted(str(found.relative_to(root)) for found in top.rglob("*") if found.is_file())
        keys = [key for key in keys if key.startswith(prefix)]
        keys = keys[bisect_right(keys, self.query.get("continuation-token", "")) :]
        page, more = keys[:PAGE], ""
        if len(keys) > PAGE:
            more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
        shown = "".join(f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in page)
        return self.xml(
            f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{shown}</ListBucketResult>"
        )

    def copied(self, source: Path) -> None:
        if not source.is_file():
            return self.error(404, "NoSuchKey")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        os.link(source, self.file)
        with self.file.open("rb") as file:
            digest = base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode()
        tag = escape(self.tag(self.file))
        return self.xml(f"<CopyObjectResult><ETag>{tag}</ETag><ChecksumSHA256>{digest}</ChecksumSHA256></CopyObjectResult>")

    def uploads(self, _: str) -> Path:
        return self.folder / ".uploads" / Path(self.query["uploadId"]).name

    def scratch(self) -> Path:
        return self.folder / ".uploads" / f"{next(self.numbers)}.tmp"

    def take(self, path: Path) -> None:
        with path.open("wb") as file:
            for piece in self.pieces():
                file.write(piece)

    @staticmethod
    def tag(path: Path) -> str:
        status = path.stat()
        return f'"{status.st_ino:x}-{status.st_size:x}"'

    def xml(self, text: str) -> None:
        self.reply(200, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(), content_type="application/xml")

    def error(self, status: int, code: str) -> None:
        self.count(f"of them {status}")
        body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        self.reply(status, b"" if self.command == "HEAD" else body, content_type="application/xml")

    # Secrets Manager

    def secret(self) -> None:
        asked = json.loads(b"".join(self.pieces()))
        if asked.get("VersionStage", "AWSCURRENT") != "AWSCURRENT":
            return self.json(400, {"__type": "ResourceNotFoundException", "Message": "no such version"})
        name = asked["SecretId"]
        found = {"ARN": f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}", "Name": name, "SecretString": SECRET}
        return self.json(200, found | {"VersionId": str(uuid.UUID(int=1)), "VersionStages": ["AWSCURRENT"]})

    # Step Functions: every first attempt runs, and there is no other.

    def execution(self, target: str) -> None:
        self.count(f"states:{target.removeprefix('AWSStepFunctions.')}")
        asked = json.loads(b"".join(self.pieces()))
        name = asked.get("executionArn", "")
        if target != "AWSStepFunctions.DescribeExecution" or not name.endswith("-1"):
            return self.json(400, {"__type": "ExecutionDoesNotExist", "message": f"Execution Does Not Exist: '{name}'"})
        machine = name.replace(":execution:", ":stateMachine:").rpartition(":")[0]
        shown = {"executionArn": name, "stateMachineArn": machine, "name": name.rpartition(":")[2], "status": "RUNNING"}
        return self.json(200, shown | {"startDate": 1_795_000_000.0, "input": "{}", "redriveCount": 0})

    # SNS: one topic.

    def topic(self) -> None:
        asked = dict(parse_qsl(b"".join(self.pieces()).decode(), keep_blank_values=True))
        action = asked.get("Action", "")
        self.count(f"sns:{action}")
        answer = {
            "ListSubscriptionsByTopic": self.sns_listed,
            "GetSubscriptionAttributes": self.sns_attributes,
            "SetSubscriptionAttributes": lambda _: "",
            "Subscribe": self.sns_subscribed,
            "Publish": self.sns_published,
        }.get(action)
        if answer is None:
            error = f"<Error><Type>Sender</Type><Code>InvalidAction</Code><Message>{escape(action)}</Message></Error>"
            return self.reply(400, f"<ErrorResponse>{error}</ErrorResponse>".encode(), content_type="text/xml")
        result = f"<{action}Result>{answer(asked)}</{action}Result>"
        metadata = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        body = f'<{action}Response xmlns="http://sns.amazonaws.com/doc/2010-03-31/">{result}{metadata}</{action}Response>'
        return self.reply(200, body.encode(), content_type="text/xml")

    def sns_listed(self, asked: dict[str, str]) -> str:
        first = int(asked.get("NextToken") or 0)
        with self.lock:
            page, more = self.subscriptions[first : first + 100], len(self.subscriptions) > first + 100
        shown = "".join(
            f"<member><TopicArn>{asked['TopicArn']}</TopicArn><Protocol>email</Protocol><Owner>123456789012</Owner>"
            f"<SubscriptionArn>{asked['TopicArn']}:{first + at}</SubscriptionArn><Endpoint>{escape(address)}</Endpoint></member>"
            for at, (address, _) in enumerate(page)
        )
        return f"<Subscriptions>{shown}</Subscriptions>" + (f"<NextToken>{first + 100}</NextToken>" if more else "")

    def sns_attributes(self, asked: dict[str, str]) -> str:
        with self.lock:
            _, policy = self.subscriptions[int(asked["SubscriptionArn"].rpartition(":")[2])]
        entry = f"<entry><key>FilterPolicy</key><value>{escape(policy)}</value></entry>" if policy else ""
        return f"<Attributes>{entry}</Attributes>"

    def sns_subscribed(self, asked: dict[str, str]) -> str:
        with self.lock:
            self.subscriptions.append((asked["Endpoint"], asked.get("Attributes.entry.1.value", "")))
            number = len(self.subscriptions) - 1
        return f"<SubscriptionArn>{asked['TopicArn']}:{number}</SubscriptionArn>"

    def sns_published(self, asked: dict[str, str]) -> str:
        (self.folder / MAILS / f"{next(self.numbers)}.txt").write_text(asked["Message"])
        return f"<MessageId>{uuid.uuid4()}</MessageId>"

    # CodeArtifact: a version is what was published of it last.

    def artifact(self, path: str) -> None:
        names = {name: self.query.get(name, "") for name in ("namespace", "package", "version")}
        version = "/".join(names.values())
        shown = {"format": "generic", "namespace": names["namespace"], "package": names["package"], "version": names["version"]}
        if path == "/v1/package/version/publish":
            return self.published(version, shown)
        for _ in self.pieces():
            pass
        if path == "/v1/package" and self.command == "POST":
            return self.json(200, {"originConfiguration": {"restrictions": {"publish": "ALLOW", "upstream": "BLOCK"}}})
        status = self.versions.get(version)
        if status is None:
            missing = {"message": "not found", "resourceType": "package-version", "resourceId": version}
            return self.json(404, missing, x_amzn_errortype="ResourceNotFoundException")
        if path == "/v1/package/version/assets":
            return self.json(200, shown | {"assets": []})
        return self.json(200, {"packageVersion": shown | {"packageName": names["package"], "status": status}})

    def published(self, version: str, shown: dict) -> None:
        digest, size = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            size += len(piece)
        if digest.hexdigest() != self.headers.get("x-amz-content-sha256"):
            return self.json(400, {"message": "the asset does not have this SHA-256"}, x_amzn_errortype="ValidationException")
        status = "Unfinished" if self.query.get("unfinished") == "true" else "Published"
        with self.lock:
            self.versions[version] = status
        asset = {"name": self.query["asset"], "size": size, "hashes": {"SHA-256": digest.hexdigest()}}
        return self.json(200, shown | {"status": status, "asset": asset})

    def json(self, status: int, value: dict, **headers: str) -> None:
        self.reply(status, json.dumps(value).encode(), content_type="application/json", **headers)


class Listener(ThreadingHTTPServer):
    """The functions open dozens of connections at a time."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["store", "host"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--certificate", type=Path, help="a folder with host.pem and host.key: serve over TLS")
    arguments = parser.parse_args()
    kind = {"store": Store, "host": Host}[arguments.role]
    kind.folder = arguments.folder.resolve()
    for below in (".uploads", MAILS):
        (kind.folder / below).mkdir(parents=True, exist_ok=True)
    server = Listener(("127.0.0.1", 0), kind)
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate / "host.pem", arguments.certificate / "host.key")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    # It ends with whoever started it.
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
