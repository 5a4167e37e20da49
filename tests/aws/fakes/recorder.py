"""A recorder between the functions and the emulator: who called which action, and with what result.

The host of a request is part of its signature, so everything passes through unchanged. A test may also lose answers here, as a
network does.
"""

from __future__ import annotations

import http.client
from collections import Counter
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from ministack.core.iam_actions import extract_iam_action
from ministack.core.router import detect_service

from .server import Answer, Fake, Request

HOP = {"connection", "keep-alive", "transfer-encoding", "server", "date"}


@dataclass(frozen=True)
class Call:
    """One call of a function to the emulator."""

    access_key: str | None
    action: str | None
    method: str
    path: str
    status: int


class Recorder(Fake):
    def __init__(self, emulator_port: int) -> None:
        self.emulator_port = emulator_port
        self.calls: list[Call] = []
        self.lost: Counter[str] = Counter()
        """By action: so many answers are lost on the way back, after the emulator has acted."""
        super().__init__()

    def answer(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.emulator_port, timeout=120)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in ("expect", "transfer-encoding")}
            headers["content-length"] = str(len(request.body))
            # The template's policies refuse plain HTTP. On AWS the endpoint ends TLS; here, this hop stands for it.
            headers["x-forwarded-proto"] = "https"
            connection.request(request.method, request.target, request.body, headers)
            answer = connection.getresponse()
            body = answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP | {"content-length"}}
            if request.method == "HEAD" and answer.getheader("content-length"):
                kept["content-length"] = answer.getheader("content-length")
        finally:
            connection.close()
        query = parse_qs(urlsplit(request.target).query, keep_blank_values=True)
        service = detect_service(request.method, request.path, request.headers, query)
        action = extract_iam_action(service, request.method, request.path, request.headers, request.body, query)
        with self.lock:
            self.calls.append(Call(request.access_key, action, request.method, request.path, answer.status))
            # What is recorded is enough; the bodies are not kept.
            request.body = b""
            if action and self.lost[action] > 0 and answer.status < 300:
                self.lost[action] -= 1
                return Answer(503, b"", {"retry-after": "0"})
        return Answer(answer.status, body, kept)
