"""CodeGuru Security as it was: an upload URL with headers that must come back, named scans, findings by the name of the scan.

What it finds is scripted by the SHA-256 of what is uploaded; without a script a scan ends clean after one poll. The rules are
those of the API reference: findings are kept under the scan's name, whatever run they are of; a client token used twice is the
same scan; a name whose scan is in progress is a conflict.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .model import REGION, ModelFake, Refused
from .server import Answer, Request

PAGE = 20
"""Findings a page when the caller does not say; it is also the most that this fake gives, so that paging is needed."""


@dataclass
class Scenario:
    """What the scanner says of one artifact."""

    severities: list[str | None] = field(default_factory=list)
    polls: int | None = 1
    """In progress for so many polls; none never ends."""
    seconds: float = 0.0
    """In progress for so long after its start, however often it is polled."""
    state: str = "Successful"
    faults: int = 0
    """So many calls after the upload answer 500 first."""


@dataclass
class Scan:
    name: str
    run: str
    token: str | None
    scenario: Scenario
    polled: int = 0
    begun: float = field(default_factory=time.monotonic)


class CodeGuru(ModelFake):
    service = "codeguru-security"

    def __init__(self) -> None:
        self.scripts: dict[str, Scenario] = {}
        self.uploads: dict[str, str] = {}
        """The SHA-256 of what was uploaded, by its id; empty while it is expected."""
        self.scans: dict[str, Scan] = {}
        self.findings: dict[str, list[dict]] = {}
        self.broken = False
        self.account = "000000000000"
        super().__init__()

    def script(self, content: bytes, scenario: Scenario) -> None:
        with self.lock:
            self.scripts[hashlib.sha256(content).hexdigest()] = scenario

    def environment(self) -> dict[str, str]:
        """What a program needs to find it, by the variables of every AWS SDK."""
        return {
            "AWS_ENDPOINT_URL_CODEGURU_SECURITY": self.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "an example",
        }

    def answer(self, request: Request) -> Answer:
        if request.path.startswith("/upload/"):
            return self.upload(request)
        if self.broken:
            return Answer.json(500, {"message": "broken", "error": "broken"}, x_amzn_ErrorType="InternalServerException")
        return super().answer(request)

    def invalid(self, message: str) -> Refused:
        return Refused("ValidationException", message, errorCode="INVALID", reason="other")

    def denied(self, operation: str) -> Refused:
        return Refused("AccessDeniedException", f"User is not authorized to perform {operation}", errorCode="DENIED")

    def upload(self, request: Request) -> Answer:
        """A presigned PUT: S3 refuses it without the signed headers."""
        number = request.path.removeprefix("/upload/")
        with self.lock:
            if request.method != "PUT" or number not in self.uploads:
                self.fault(f"{request.method} {request.path} is no upload that was asked for")
                return Answer(403)
            if request.headers.get("x-amz-server-side-encryption") != "aws:kms" or not request.parameter("X-Amz-Signature"):
                self.fault("an upload came without the headers or the signature that CreateUploadUrl gave")
                return Answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
            if "authorization" in request.headers:
                self.fault("an upload carried credentials")
                return Answer(400)
            self.uploads[number] = hashlib.sha256(request.body).hexdigest()
        return Answer(200)

    def create_upload_url(self, p: dict, _: Request) -> dict:
        number = str(uuid.uuid4())
        self.uploads[number] = ""
        return {
            "s3Url": f"{self.url}/upload/{number}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={uuid.uuid4().hex}",
            "requestHeaders": {"x-amz-server-side-encryption": "aws:kms"},
            "codeArtifactId": number,
        }

    def create_scan(self, p: dict, _: Request) -> dict:
        number, name = p["resourceId"]["codeArtifactId"], p["scanName"]
        if not self.uploads.get(number):
            raise self.missing(number, "code artifact")
        running = self.scans.get(name)
        if running and running.token and running.token == p.get("clientToken"):
            return self.started(running, number)
        if running and self.state(running) == "InProgress":
            raise Refused("ConflictException", "a scan of this name runs", errorCode="CONFLICT", resourceId=name, resourceType="scan")
        scenario = self.scripts.get(self.uploads[number], Scenario())
        scan = Scan(name, str(uuid.uuid4()), p.get("clientToken"), scenario)
        self.scans[name] = scan
        # By name, not by run: a name used twice shows the findings of both.
        self.findings.setdefault(name, []).extend(finding(i, severity) for i, severity in enumerate(scenario.severities))
        return self.started(scan, number)

    def get_scan(self, p: dict, _: Request) -> dict:
        scan = self.scan(p["scanName"])
        if p.get("runId") not in (None, scan.run):
            raise self.missing(p["runId"], "run")
        self.perhaps_fault(scan)
        scan.polled += 1
        now = datetime.now(UTC)
        failed = {"errorMessage": "the scan failed"} if self.state(scan) == "Failed" else {}
        return {
            "scanName": scan.name,
            "runId": scan.run,
            "scanState": self.state(scan),
            "createdAt": now,
            "updatedAt": now,
            "analysisType": "All",
            **failed,
        }

    def get_findings(self, p: dict, _: Request) -> dict:
        scan = self.scan(p["scanName"])
        if self.state(scan) == "InProgress":
            raise Refused("ConflictException", "the scan runs", errorCode="CONFLICT", resourceId=scan.name, resourceType="scan")
        start = int(p.get("nextToken", "0"))
        size = min(p.get("maxResults", PAGE), PAGE)
        found = self.findings[scan.name]
        more = {"nextToken": str(start + size)} if start + size < len(found) else {}
        return {"findings": found[start : start + size], **more}

    def resource(self, p: dict) -> str:
        return f"{self.account}:scans/{p['scanName']}"

    def started(self, scan: Scan, number: str) -> dict:
        return {
            "scanName": scan.name,
            "runId": scan.run,
            "resourceId": {"codeArtifactId": number},
            "scanState": self.state(scan),
        }

    def perhaps_fault(self, scan: Scan) -> None:
        if scan.scenario.faults:
            scan.scenario.faults -= 1
            raise Refused("InternalServerException", "try again")

    def scan(self, name: str) -> Scan:
        if name not in self.scans:
            raise self.missing(name, "scan")
        return self.scans[name]

    @staticmethod
    def state(scan: Scan) -> str:
        scenario = scan.scenario
        waits = scenario.polls is None or scan.polled <= scenario.polls or time.monotonic() < scan.begun + scenario.seconds
        return "InProgress" if waits else scenario.state

    @staticmethod
    def missing(what: str, kind: str) -> Refused:
        return Refused("ResourceNotFoundException", "not found", errorCode="NOT_FOUND", resourceId=what, resourceType=kind)


def finding(number: int, severity: str | None) -> dict:
    """One finding. Every field is optional in the model: one without a severity has hardly anything else either."""
    if severity is None:
        return {"id": f"bare-{number}"}
    return {
        "id": f"finding-{number}",
        "severity": severity,
        "title": "Scripted finding",
        "detectorId": "python/scripted@v1.0",
        "detectorName": "Scripted",
        "status": "Open",
        "vulnerability": {"filePath": {"path": "core/work.py", "name": "work.py", "startLine": 1, "endLine": 1}},
        "remediation": {"recommendation": {"text": "Do it otherwise."}},
    }
