"""Reads the table of rows and verdicts, and decides it with the program `gate` on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import forge
from fakes.codeguru import CodeGuru, Scenario
from fakes.packages import Packages
from stack import ROOT
from story import HEADER

TABLE = Path(__file__).with_name("parity.toml")

SCAN_SECONDS = 10
"""How long the program waits for an external scan: for the slowest of the table that ends, and not much longer."""


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
    scripts: list[tuple[bytes, Scenario]]
    """What an external scanner says of some packages."""

    def expected(self, later: bool = False) -> dict[int, str]:
        return {
            line: verdict
            for case in self.cases
            for line, verdict in zip(case.lines, case.later if later else case.expected, strict=True)
        }


def read(packages: Packages, scanner: bool = False) -> Table:
    """The cases with or those without an external scanner, as one request; their packages are put on the host."""
    text = tomllib.loads(TABLE.read_text())
    digests: dict[str, str] = {}
    rows, cases, scripts, line = [], [], [], 1 + HEADER.count("\n")
    for case in text["case"]:
        if ("scanner" in case) != scanner:
            continue
        says = {name: scenario(**said) for name, said in case.get("scanner", {}).items()}
        for name, version, kind, *attributes in case.get("packages", []):
            filename, content = forge.build(kind, name.replace("-", "_"), version)
            packages.release(name, filename, content, *attributes)
            if name in says:
                scripts.append((content, says.pop(name)))
        assert not says, f"{case['name']}: {', '.join(says)} is no package of the case"
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
    return Table("".join(f"{row}\n" for row in rows), cases, text["policy_later"], scripts)


def scenario(finds: dict[str, int] | None = None, polls: int | str = 1, **more) -> Scenario:
    severities = [severity or None for severity, count in (finds or {}).items() for _ in range(count)]
    return Scenario(severities, None if polls == "endless" else polls, **more)


def answering(table: Table, guru: CodeGuru) -> CodeGuru:
    """The scanner, which now says what the table says."""
    for content, says in table.scripts:
        guru.script(content, replace(says))
    return guru


def program(scanner: bool = False) -> Path | None:
    """The `gate` to compare with: what GATE or, for one that has an external scanner, GATE_EXTERNAL names; else what was built
    last without it."""
    if named := os.environ.get("GATE_EXTERNAL" if scanner else "GATE"):
        return Path(named)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = (target / profile / "gate" for profile in ("release", "debug"))
    return None if scanner else next((path for path in built if path.exists()), None)


def check(packages: Packages, request: bytes, policy: str, folder: Path, guru: CodeGuru | None = None) -> dict[int, dict]:
    """The rows of `gate check --json`, by line; with an external scanner if there is one to ask."""
    gate = program(scanner=guru is not None)
    if guru:
        assert gate, "GATE_EXTERNAL names no gate with an external scanner; .ci/aws-emulator.sh builds one"
    assert gate, "there is no gate: cargo build --release -p gate"
    (folder / "request.csv").write_bytes(request)
    (folder / "policy.toml").write_text(policy)
    (folder / "advisories.zip").write_bytes(forge.advisories())
    command = [gate, "check", "request.csv", "--policy", "policy.toml", "--advisories", "advisories.zip", "--json"]
    command += ["--out", "out", "--index-url", packages.index_url]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "SSL_CERT_FILE": str(packages.authority)}
    if guru:
        command += ["--external-scanner", "codeguru-security", "--scan-seconds", str(SCAN_SECONDS)]
        environment |= guru.environment()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return {row["line"]: row for row in json.loads(done.stdout)["rows"]}


def short(rows: dict[int, dict]) -> dict[int, str]:
    """Verdict and first reason by line."""
    return {line: f"{row['verdict']} {row['reasons'][0]['code']}" for line, row in rows.items()}
