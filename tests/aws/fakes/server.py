"""What the fakes share: an HTTP/1.1 server in a thread that records what it was asked and what was wrong with it."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_BODY = 64 << 20
"""The most bytes of a request's body that a fake takes; no test sends as much."""


@dataclass
class Request:
    """One request as it arrived; `headers` has lower-case names."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes
    target: str = ""
    """Path and query as they were written."""

    @property
    def access_key(self) -> str | None:
        """Who signed it (Signature Version 4), or none."""
        value = self.headers.get("authorization", "")
        if not value.startswith("AWS4-HMAC-SHA256 Credential="):
            return None
        return value.removeprefix("AWS4-HMAC-SHA256 Credential=").split("/", 1)[0]

    @property
    def signed_service(self) -> str | None:
        """The service in the credential scope."""
        if self.access_key is None:
            return None
        return self.headers["authorization"].split("Credential=", 1)[1].split(",")[0].split("/")[3]

    def parameter(self, name: str) -> str | None:
        return dict(self.query).get(name)


@dataclass
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, value: object, **headers: str) -> Answer:
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(status, json.dumps(value).encode(), {"content-type": "application/json", **names})


class Fake:
    """A server on a free port of loopback. A subclass answers; `faults` is what a caller got wrong, and fails the session."""

    def __init__(self, tls: ssl.SSLContext | None = None):
        self.lock = threading.RLock()
        self.faults: list[str] = []
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls:
            # The handshake belongs to the connection's own thread, not to the one that accepts.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def fault(self, words: str) -> None:
        with self.lock:
            self.faults.append(f"{type(self).__name__}: {words}")

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def serve(self) -> None:
                try:
                    body = self.body()
                except ValueError as error:
                    fake.fault(f"{self.command} {self.path}: {error}")
                    self.close_connection = True
                    return self.reply(Answer(400))
                parts = urlsplit(self.path)
                request = Request(
                    self.command,
                    unquote(parts.path),
                    parse_qsl(parts.query, keep_blank_values=True),
                    {name.lower(): value for name, value in self.headers.items()},
                    body,
                    self.path,
                )
                with fake.lock:
                    fake.requests.append(request)
                try:
                    answer = fake.answer(request)
                except Exception as error:  # a bug of the fake must be seen, not taken for a fault of the service
                    fake.fault(f"{self.command} {self.path}: the fake itself failed: {error!r}")
                    answer = Answer(500)
                self.reply(answer)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

            def body(self) -> bytes:
                if self.headers.get("transfer-encoding", "").lower() == "chunked":
                    return self.chunks()
                length = int(self.headers.get("content-length") or 0)
                if length > MAX_BODY:
                    raise ValueError("the body is too large")
                return self.rfile.read(length)

            def chunks(self) -> bytes:
                whole = b""
                while True:
                    size = int(self.rfile.readline().split(b";")[0], 16)
                    if len(whole) + size > MAX_BODY:
                        raise ValueError("the body is too large")
                    whole += self.rfile.read(size)
                    self.rfile.readline()
                    if size == 0:
                        return whole

            def reply(self, answer: Answer) -> None:
                try:
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    if "content-length" not in answer.headers:
                        self.send_header("content-length", str(len(answer.body)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(answer.body)
                except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                    self.close_connection = True

        return Handler
