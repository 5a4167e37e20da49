"""A package host over TLS under a test authority: a simple index with hashes, its files, and plain archives."""

from __future__ import annotations

import hashlib
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .server import Answer, Fake, Request


class Packages(Fake):
    """`folder` takes the authority's certificate (`ca.pem`), which callers trust by SSL_CERT_FILE."""

    def __init__(self, folder: Path) -> None:
        self.pages: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.delays: dict[str, float] = {}
        self.statuses: dict[str, int] = {}
        self.authority = folder / "ca.pem"
        super().__init__(certificate(folder))

    @property
    def index_url(self) -> str:
        return f"{self.url}/simple/"

    def address(self, path: str) -> str:
        return f"{self.url}/{path}"

    def release(self, name: str, filename: str, content: bytes, attributes: str = "") -> None:
        """Lists a file of a project, with attributes such as `data-yanked="why"`."""
        digest = hashlib.sha256(content).hexdigest()
        link = f'<a href="/files/{filename}#sha256={digest}" {attributes}>{filename}</a><br/>\n'
        with self.lock:
            self.pages[f"/simple/{name}/"] = self.pages.get(f"/simple/{name}/", "") + link
            self.files[f"/files/{filename}"] = content

    def serve(self, path: str, content: bytes) -> None:
        with self.lock:
            self.files[f"/{path}"] = content

    def asked(self, path: str | None = None) -> list[str]:
        """Every path that was asked for, or how often one was."""
        with self.lock:
            return [request.path for request in self.requests if path in (None, request.path)]

    def answer(self, request: Request) -> Answer:
        if request.access_key or "authorization" in request.headers or "cookie" in request.headers:
            self.fault(f"{request.path}: a package host was given credentials")
        time.sleep(self.delays.get(request.path, 0))
        with self.lock:
            if request.path in self.statuses:
                return Answer(self.statuses[request.path], b"<html>no</html>", {"content-type": "text/html"})
            if request.path == "/simple/":
                names = [path.split("/")[2] for path in self.pages]
                listed = "".join(f'<a href="/simple/{name}/">{name}</a>\n' for name in names)
                page = f"<!DOCTYPE html><html><body>{listed}</body></html>"
                return Answer(200, page.encode(), {"content-type": "application/vnd.pypi.simple.v1+html"})
            if request.path in self.pages:
                page = f"<!DOCTYPE html><html><body>{self.pages[request.path]}</body></html>"
                return Answer(200, page.encode(), {"content-type": "text/html"})
            if request.path in self.files:
                return Answer(200, self.files[request.path], {"content-type": "application/octet-stream"})
        return Answer(404, b"<!DOCTYPE html><p>not found</p>", {"content-type": "text/html"})


def certificate(folder: Path) -> ssl.SSLContext:
    """Makes an authority and, below it, a certificate for `localhost` that lasts a day."""
    now = datetime.now(UTC)

    def build(name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name | None) -> x509.CertificateBuilder:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    root_key, host_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = (
        build("Package Gate test authority", root_key, None)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    host = (
        build("localhost", host_key, root.subject)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    (folder / "host.pem").write_bytes(host.public_bytes(pem))
    private = host_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "host.key").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "host.pem", folder / "host.key")
    return context
