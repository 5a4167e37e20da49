"""Where the functions lie, their environment by the template, and the servers around them."""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

AWS = Path(__file__).resolve().parents[1]
ROOT = AWS.parents[1]
sys.path[:0] = [str(AWS), str(AWS / "template")]

import gate_template
from fakes.packages import certificate

from .process import Failed, Function

ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""Where Debian and Amazon Linux keep the authorities that they trust."""

DATA, CONFIG = "gate-data-123456789012", "gate-config-123456789012"
RUN = "123456-f921bd05-0d1a26e67d8f5eaf1f6b-1"

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:gate-intake"
TOPIC = "arn:aws:sns:us-east-1:123456789012:gate-verdicts"


class Functions:
    """The built programs: a folder of `sam build`, of `cargo lambda build`, or of `cargo build`."""

    def __init__(self, built: Path) -> None:
        self.built, self.template = built, gate_template.functions()

    def package(self, name: str) -> str:
        return gate_template.binary(self.template[name])

    def program(self, name: str) -> Path:
        package = self.package(name)
        candidates = (self.built / name / "bootstrap", self.built / package / "bootstrap", self.built / package)
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise Failed(f"{package} is not built in {self.built}")
        return found

    def environment(self, name: str, values: dict[str, str]) -> dict[str, str]:
        """What Lambda and the template set. A variable that is no constant there needs a value here."""
        properties = self.template[name]["Properties"]
        variables = {}
        for variable, value in gate_template.environment(self.template[name]).items():
            if variable not in values and not isinstance(value, str):
                raise Failed(f"{variable} of {name} is new; give it a value in bench/world.py")
            variables[variable] = values.get(variable, value)
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "the benchmark signs with this",
            "AWS_SESSION_TOKEN": "token",
            "AWS_LAMBDA_FUNCTION_NAME": f"gate-{name}",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(properties.get("MemorySize", 128)),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/gate-{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/20/[$LATEST]0",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "LAMBDA_TASK_ROOT": "/var/task",
            **variables,
        }


class Server:
    """One of `servers.py`, in a process of its own."""

    def __init__(self, role: str, folder: Path, certificates: Path | None = None) -> None:
        self.folder = folder
        command = [sys.executable, "-B", "-m", "bench.servers", role, str(folder)]
        command += ["--certificate", str(certificates)] if certificates else []
        self.process = subprocess.Popen(command, cwd=AWS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = self.process.stdout.readline().strip()
        if not port:
            raise Failed(f"the {role} did not start")
        self.port = int(port)
        self.url = f"https://localhost:{port}" if certificates else f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


class World:
    """A store and a package host, and functions between them."""

    def __init__(self, functions: Functions, folder: Path, tls: bool = False) -> None:
        self.functions, self.folder, self.tls = functions, folder, tls
        for below in ("store", "host/simple", "host/files", "work"):
            (folder / below).mkdir(parents=True)
        # Every index has it: the fetcher asks for it before it believes that a project is not there.
        (folder / "host/simple/pip.html").write_text('<!DOCTYPE html><a href="/files/pip-1.0-py3-none-any.whl">pip</a>')
        certificates = None
        if tls:
            certificates = folder / "tls"
            certificates.mkdir()
            certificate(certificates)
            # Beside all the authorities of a real machine, which a program reads at its start.
            usual = [path for path in map(Path, ROOTS) if path.is_file()]
            texts = [path.read_text() for path in [*usual[:1], certificates / "ca.pem"]]
            (certificates / "trusted.pem").write_text("\n".join(texts))
        self.store = Server("store", folder / "store", certificates)
        self.host = Server("host", folder / "host", certificates)
        host = "localhost" if tls else "127.0.0.1"
        networks = '["127.0.0.0/8", "::1/128"]' if tls else '["127.0.0.0/8"]'
        rule = f'{{ host = "{host}", cidrs = {networks}, ports = [{self.host.port}] }}'
        self.policy = f'schema_version = 1\nrefuse_at = "medium"\n[network]\nallow = [{rule}]\n'
        self.put("policy.toml", self.policy.encode(), CONFIG)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.stop()
        self.host.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def certificates(self) -> dict[str, str]:
        authority = str(self.folder / "tls" / "trusted.pem")
        return {"SSL_CERT_FILE": authority, "AWS_CA_BUNDLE": authority} if self.tls else {}

    def values(self, **more: str) -> dict[str, str]:
        """What the template's parameters and resources would give."""
        return {
            "DATA_BUCKET": DATA,
            "CONFIG_BUCKET": CONFIG,
            "LOG_LEVEL": "info",
            "STACK_NAME": "gate",
            "AWS_ENDPOINT_URL": self.store.url,
            "WEBHOOK_SECRET": "gate-webhook",
            "ACCESS_TOKEN_SECRET": "gate-access-token",
            "ROUTES": "123456:main",
            "GITHUB_API": "https://git.corp.example/api/v3",
            "REQUEST_PATH": "external-package-request.csv",
            "INTAKE_MACHINE": MACHINE,
            "ALLOWED_MAIL_DOMAINS": "corp.example",
            "CONSOLE_URL": "https://console.example/",
            "EXTERNAL_SCANNERS": "",
            "INDEX_URL": f"{self.host.url}/simple/",
            "ADVISORIES_URL": "https://advisories.example/all.zip",
            # The template's default, 2,048 MiB.
            "MAX_ARTIFACT_BYTES": str(2048 << 20),
            "SCAN_SECONDS": "3600",
            "AWS_ENDPOINT_URL_CODEGURU_SECURITY": "",
            "AWS_ENDPOINT_URL_CODEARTIFACT": "",
            "CODEARTIFACT_DOMAIN": "corp",
            "CODEARTIFACT_OWNER": "123456789012",
            "CODEARTIFACT_REPOSITORY": "approved",
            "VERDICT_TOPIC": TOPIC,
            "INSTALL_INDEX_URL": "",
            **more,
        }

    def function(self, name: str, **more: str) -> Function:
        environment = self.functions.environment(name, self.values(**more)) | self.certificates
        return Function([str(self.functions.program(name))], environment, self.folder / "work")

    def path(self, key: str, bucket: str = DATA) -> Path:
        return self.store.folder / bucket / key

    def put(self, key: str, body: bytes | dict, bucket: str = DATA) -> None:
        path = self.path(key, bucket)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())

    def empty(self) -> None:
        """Takes every object of the data bucket away."""
        shutil.rmtree(self.store.folder / DATA, ignore_errors=True)

    def counts(self) -> dict[str, int]:
        return json.loads(self.ask("/_counts"))

    def ask(self, path: str, form: dict[str, str] | None = None) -> bytes:
        """Asks the store for something, as a person would who is not measured."""
        trusted = ssl.create_default_context(cafile=self.certificates["SSL_CERT_FILE"]) if self.tls else None
        body = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(f"{self.store.url}{path}", data=body, timeout=30, context=trusted) as answer:
            return answer.read()

    def release(self, name: str, file: Path) -> None:
        """Lists a file of a project; it stays where it is."""
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        (self.host.folder / "files" / file.name).symlink_to(file)
        page = f'<!DOCTYPE html><a href="/files/{file.name}#sha256={digest}">{file.name}</a>'
        (self.host.folder / "simple" / f"{name}.html").write_text(page)

    def row(self, name: str, line: int = 2, run: str = RUN) -> dict:
        """Stores the document of a row that asks for version 1.0, and gives the state that its machine starts in."""
        source = f"pkg:pypi/{name}@1.0"
        key = hashlib.sha256(f"{name}\n{source}\n".encode()).hexdigest()
        wanted = {"name": name, "source": source, "sha256": None, "requester": None}
        place = f"runs/{run}/rows/{line:06}.json"
        row = {"schema_version": 1, "run": run, "line": line, "key": key, "name": name, "source": source}
        self.put(place, row | {"wanted": wanted, "told": []})
        return {"row": place, "status": "new", "unscanned": [], "wait_seconds": 0}
