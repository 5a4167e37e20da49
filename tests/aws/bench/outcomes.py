"""How the rows of a large request end: the first few by the real functions, one of each kind, as the row machine calls them; the
others as copies of what these leave in the data bucket, under their own names, lines and digests."""

from __future__ import annotations

import hashlib
import json
import random
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import forge

from .process import Failed
from .transfer import step
from .world import CONFIG, ROOT, World

FIRST_LINE = 2
"""After the header."""
FILES = 250
"""In each wheel: with 1,000 rows, as many as the summary shows the coverage of (`Limits` of crates/notifier/src/step/mod.rs)."""
FINDINGS = 8
"""In each wheel, below the threshold: 10,000 rows stay under the 100,000 findings that the summary holds."""
RECORDS = 20_000
"""Of the advisory export, of 2 KB each: tens of thousands, as Python's has."""

LINE = 987_654_321
"""Stands for the row's line in a document that is to be copied."""


@dataclass(frozen=True)
class Kind:
    """A way to end, and how many of twenty rows end so."""

    name: str
    verdict: str
    of_twenty: int


KINDS = (
    Kind("clean", "approved", 14),
    Kind("risky", "refused", 2),
    Kind("undecodable", "held", 2),
    Kind("absent", "failed", 1),
    Kind("stopped", "failed", 1),
)
ORDER = tuple(kind for kind in KINDS for _ in range(kind.of_twenty))


def name(row: int) -> str:
    return f"package-{row:05}"


def version(row: int) -> str:
    """All of one length, and found in no other text."""
    return f"1.{10_000 + row}.0"


def requester(row: int) -> str:
    return f"requester-{row % 50}@corp.example"


def wheel(row: int, kind: Kind) -> bytes:
    package = name(row).replace("-", "_")
    modules = {f"{package}/module_{at:03}.py": f"VALUE = {at}\n".encode() for at in range(FILES - 4)}
    for at in range(FINDINGS):
        modules[f"{package}/module_{at:03}.py"] = b"def check(value):\n    assert value\n"
    if kind.name == "risky":
        modules[f"{package}/module_100.py"] = forge.DOWNLOADED
    if kind.name == "undecodable":
        modules[f"{package}/module_100.py"] = b"x = '\xff\xfe'\n"
    return forge.wheel(package, version(row), modules)


@dataclass
class Model:
    """What a row has left."""

    row: int
    kind: Kind
    documents: dict[str, str]
    """By key, with [`LINE`] for its line."""
    olds: dict[str, str]
    """What is the row's own in them, and whose place it takes in a copy."""


def end(world: World, items: list[dict]) -> Counter:
    """Ends all rows of a manifest; gives how many ended in each verdict."""
    verdicts = Counter(kind.verdict for kind in KINDS)
    models = {kind.name: by_the_functions(world, items[row]["state"], row, kind) for row, kind in enumerate(KINDS)}
    for row in range(len(KINDS), len(items)):
        kind = ORDER[row % len(ORDER)]
        copy(world, models[kind.name], items[row]["state"], row)
        verdicts[kind.verdict] += 1
    return verdicts


def by_the_functions(world: World, state: dict, row: int, kind: Kind) -> Model:
    """As statemachine/row.asl.json."""
    before = set(keys(world))
    place = world.path(state["row"])
    document = json.loads(place.read_bytes())
    if document["line"] != row + FIRST_LINE or document["name"] != name(row):
        raise Failed(f"{state['row']} is not of row {row}")
    if kind.name == "stopped":
        step(world, "NotifierFunction", failure(state))
    else:
        if kind.name != "absent":
            file = world.folder / forge.wheel_name(name(row).replace("-", "_"), version(row))
            file.write_bytes(wheel(row, kind))
            world.release(name(row), file)
        decide(world, state)
    left = {key: world.path(key).read_text() for key in keys(world) if key not in before}
    ended = [json.loads(text) for key, text in left.items() if "/outcomes/" in key]
    if [outcome["outcome"]["verdict"] for outcome in ended] != [kind.verdict]:
        raise Failed(f"a row that is {kind.name} ended as {ended}")
    return Model(row, kind, {key: marked(text, row + FIRST_LINE) for key, text in left.items()}, own(document, row, left))


def decide(world: World, state: dict) -> None:
    state, _ = step(world, "FetcherFunction", state)
    if state["status"] == "fetched":
        state, _ = step(world, "ScanPollerFunction", {"task": "start", "state": state})
        for artifact in state["unscanned"]:
            step(world, "ScannerFunction", {"row": state["row"], "artifact": artifact})
        state, _ = step(world, "ScanPollerFunction", {"task": "decide", "state": state})
    if state["status"] == "approved":
        state, _ = step(world, "PublisherFunction", state)
    state, _ = step(world, "NotifierFunction", {"task": "notify", "state": state})
    if state["status"] != "told":
        raise Failed(f"the row did not come to its end: {state}")


def failure(state: dict) -> dict:
    """EventBridge's event about a row's execution that failed with an error which is tried again."""
    event = json.loads((ROOT / "events" / "notifier-failed.json").read_text())
    event["detail"] |= {"input": json.dumps(state), "error": "Gate.Transient", "cause": "{}"}
    return event


def keys(world: World) -> Iterator[str]:
    """The documents of the data bucket."""
    bucket = world.path("")
    for path in bucket.rglob("*.json"):
        key = str(path.relative_to(bucket))
        if not key.startswith(("quarantine/", "inbox/")):
            yield key


def marked(text: str, line: int) -> str:
    """The document with [`LINE`] for the row's line; the lines of findings, which have a path, stay."""

    def walk(value: object) -> object:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        out = {name: walk(item) for name, item in value.items()}
        if out.get("line") == line and "path" not in out:
            out["line"] = LINE
        return out

    return json.dumps(walk(json.loads(text)), separators=(",", ":"), ensure_ascii=False)


def own(document: dict, row: int, left: dict[str, str]) -> dict[str, str]:
    """What is this row's own, by what it is."""
    olds = {"name": name(row), "module": name(row).replace("-", "_"), "version": version(row), "requester": requester(row)}
    olds |= {"key": document["key"], "folder": document["key"][:32]}
    line = row + FIRST_LINE
    olds |= {"line": f"{line:06}.json", "outcome": f"outcomes/{line:06}-", "number": str(LINE)}
    for key, text in left.items():
        if key.startswith("decisions/"):
            olds["decision"] = key.split("/")[1]
        if key.startswith("fetched/"):
            (file,) = json.loads(text)["files"]
            olds["artifact"] = file["sha256"]
    return olds


def news(model: Model, state: dict, row: int, key: str) -> dict[str, str]:
    """What another row has in the place of each."""
    line = row + FIRST_LINE
    new = {"name": name(row), "module": name(row).replace("-", "_"), "version": version(row), "requester": requester(row)}
    new |= {"key": key, "folder": key[:32], "line": f"{line:06}.json", "outcome": f"outcomes/{line:06}-", "number": str(line)}
    for what in ("decision", "artifact"):
        if old := model.olds.get(what):
            new[what] = hashlib.sha256(f"{old} {row}".encode()).hexdigest()[: len(old)]
    return {old: new[what] for what, old in model.olds.items()}


def copy(world: World, model: Model, state: dict, row: int) -> None:
    document = json.loads(world.path(state["row"]).read_bytes())
    if document["line"] != row + FIRST_LINE:
        raise Failed(f"{state['row']} is not of row {row}")
    table = news(model, state, row, document["key"])
    pattern = re.compile("|".join(map(re.escape, sorted(table, key=len, reverse=True))))
    for key, text in model.documents.items():
        body = pattern.sub(lambda found: table[found[0]], text).encode()
        place = pattern.sub(lambda found: table[found[0]], key)
        if "/outcomes/" in key:
            place = re.sub(r"-[0-9a-f]{16}\.json$", f"-{hashlib.sha256(body).hexdigest()[:16]}.json", place)
        if world.path(place).exists():
            raise Failed(f"{place} of row {row} is there already")
        world.put(place, body)


def advisories(world: World) -> int:
    """Puts an export in force, by the function that does it; gives its size. No row has an advisory: what they cost is memory."""
    words = random.Random(1)
    export = world.host.folder / "files" / "all.zip"
    with zipfile.ZipFile(export, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(RECORDS):
            project = f"library-{number % 8_000:05}"
            record = {
                "schema_version": "1.6.0",
                "id": f"PYSEC-2024-{number:05}",
                "modified": "2024-01-02T00:00:00Z",
                "published": "2024-01-01T00:00:00Z",
                "aliases": [f"CVE-2024-{number:05}", f"GHSA-{number:04x}-aaaa-bbbb"],
                "summary": f"A problem of {project}",
                "details": words.randbytes(500).hex(),
                "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
                "affected": [
                    {
                        "package": {"ecosystem": "PyPI", "name": project, "purl": f"pkg:pypi/{project}"},
                        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
                        "versions": [f"1.{minor}.{patch}" for minor in range(8) for patch in range(5)],
                    }
                ],
                "references": [{"type": "ADVISORY", "url": f"https://advisories.example/{number}"}],
            }
            archive.writestr(f"{record['id']}.json", json.dumps(record))
    event = json.loads((ROOT / "events" / "advisories.json").read_text())
    with world.function("AdvisoriesFunction", ADVISORIES_URL=f"{world.host.url}/files/{export.name}") as function:
        function.start()
        function.invoke(event)
    if not list(world.path("advisories", CONFIG).glob("*.zip")):
        raise Failed("the advisories are not in force")
    return export.stat().st_size


def mails(world: World) -> list[Path]:
    from .servers import MAILS

    return list((world.store.folder / MAILS).iterdir())
