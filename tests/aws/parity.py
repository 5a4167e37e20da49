"""Reads the table of rows and verdicts, and decides it with the program `gate` on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import forge
from fakes.packages import Packages
from stack import ROOT
from story import HEADER

TABLE = Path(__file__).with_name("parity.toml")


@dataclass
class Case:
    """A named part of the table, with the lines that its rows stand on."""

    name: str
    lines: range
    expected: list[str]
    later: list[str]


@dataclass
class Table:
    rows: str
    cases: list[Case]
    policy_later: str

    def expected(self, later: bool = False) -> dict[int, str]:
        return {
            line: verdict
            for case in self.cases
            for line, verdict in zip(case.lines, case.later if later else case.expected, strict=True)
        }


def read(packages: Packages) -> Table:
    """The whole table as one request; its packages are put on the host."""
    text = tomllib.loads(TABLE.read_text())
    digests: dict[str, str] = {}
    rows, cases, line = [], [], 1 + HEADER.count("\n")
    for case in text["case"]:
        for name, version, kind, *attributes in case.get("packages", []):
            filename, content = forge.build(kind, name.replace("-", "_"), version)
            packages.release(name, filename, content, *attributes)
        for name, version, kind in case.get("archives", []):
            filename, content = forge.build(kind, name, version)
            packages.serve(f"archives/{filename}", content)
            digests[name] = hashlib.sha256(content).hexdigest()
        for row in case["rows"]:
            row = row.replace("ARCHIVES", packages.address("archives"))
            rows.append(re.sub(r"SHA\((\w+)\)", lambda found: digests[found[1]], row))
        lines = range(line, line + len(case["rows"]))
        cases.append(Case(case["name"], lines, case["expected"], case.get("later", case["expected"])))
        line = lines.stop
    return Table("".join(f"{row}\n" for row in rows), cases, text["policy_later"])


def program() -> Path | None:
    """The `gate` to compare with: what GATE names, else what was built last."""
    if named := os.environ.get("GATE"):
        return Path(named)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return next((path for path in (target / "release" / "gate", target / "debug" / "gate") if path.exists()), None)


def check(packages: Packages, request: bytes, policy: str, folder: Path) -> dict[int, dict]:
    """The rows of `gate check --json`, by line."""
    gate = program()
    assert gate, "there is no gate: cargo build --release -p gate"
    (folder / "request.csv").write_bytes(request)
    (folder / "policy.toml").write_text(policy)
    (folder / "advisories.zip").write_bytes(forge.advisories())
    command = [gate, "check", "request.csv", "--policy", "policy.toml", "--advisories", "advisories.zip", "--json"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "SSL_CERT_FILE": str(packages.authority)}
    done = subprocess.run(
        [*command, "--out", "out", "--index-url", packages.index_url], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    return {row["line"]: row for row in json.loads(done.stdout)["rows"]}


def short(rows: dict[int, dict]) -> dict[int, str]:
    """Verdict and first reason by line."""
    return {line: f"{row['verdict']} {row['reasons'][0]['code']}" for line, row in rows.items()}
