"""A request of 10,000 rows: the read step, the manifest, and what the state machine carries."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from .process import Failed
from .result import Figure, note
from .servers import SECRET
from .world import DATA, Functions, World

ROWS = 10_000
STATE_BYTES = 262_144
"""Step Functions: the most that a state's input or output may have."""
ITEM_BYTES = 300
"""`gate_core::run::RowItem` says so of itself."""
REPOSITORY = 123_456
PATH = "external-package-request.csv"


def figure(functions: Functions) -> Figure:
    from fakes.github import GitHub

    found = Figure("manifest", f"a request of {ROWS:,} new rows: the read step of gate-request-reader, one invocation")
    note(found.what)
    github = GitHub(REPOSITORY)
    github.token = SECRET
    try:
        with tempfile.TemporaryDirectory(prefix="gate-bench-") as scratch, World(functions, Path(scratch) / "world") as world:
            read(found, world, github)
    finally:
        github.stop()
    found.missing += [f"against the fake of GitHub's rules: {words}" for words in github.faults]
    return found


def read(figure: Figure, world: World, github) -> None:
    rows = (f"package-{row:05},pkg:pypi/package-{row:05}@1.{row}.0,,requester-{row % 50}@corp.example\n" for row in range(ROWS))
    commit = github.push({PATH: "name,source,sha256,requester\n" + "".join(rows)})
    reference = "refs/heads/main"
    digest = hashlib.sha256(f"{REPOSITORY}|{reference}|{commit.sha}".encode()).hexdigest()
    inbox = f"inbox/{REPOSITORY}/{digest}.json"
    delivery = {"schema_version": 1, "repository": REPOSITORY, "full_name": github.full_name, "reference": reference}
    world.put(inbox, delivery | {"commit": commit.sha, "received_at": "2026-11-20T10:00:00Z"})
    short = hashlib.sha256(reference.encode()).hexdigest()[:8]
    run = f"{REPOSITORY}-{short}-{commit.sha[:20]}-1"
    event = {"task": "read", "intake": {"run": run, "kind": "push", "delivery": inbox}}

    with world.function("RequestReaderFunction", GITHUB_API=github.url) as function:
        started = function.start()
        answer, cost = function.invoke(event)
    if answer["rows"] != ROWS:
        raise Failed(f"{answer['rows']} rows of {ROWS} were read")
    manifest = world.path(answer["manifest"]["key"]).read_bytes()
    items = json.loads(manifest)
    if answer["manifest"]["bucket"] != DATA or len({item["execution"] for item in items}) != ROWS:
        raise Failed("the manifest is not of this run")

    def compact(value: object) -> int:
        return len(json.dumps(value, separators=(",", ":")).encode())

    figure.add("ours", "read step", [cost])
    asked = {method: count for method, count in sorted(world.counts().items())}
    figure.facts |= {
        "request, bytes": len(commit.files[PATH]),
        "manifest, bytes": len(manifest),
        "requests to S3 and Secrets Manager": json.dumps(asked),
        "memory beyond the start, MB": round((cost.peak_bytes - started.peak_bytes) / 1e6, 1),
    }
    # What Read gives is all that the intake machine carries through its Map, whose results are empty objects and dropped.
    carried = compact(answer)
    figure.at_most("peak MiB, of the function's 1,024", cost.peak_bytes / (1 << 20), 256)
    figure.at_most("seconds, of the function's 900", cost.wall_s, 900)
    figure.at_most("largest item, bytes", max(map(compact, items)), ITEM_BYTES)
    figure.at_most("largest input of a row's execution, bytes", max(compact(item["state"]) for item in items), STATE_BYTES)
    figure.at_most("state of the intake machine, bytes", carried, STATE_BYTES)
    figure.at_most("results of the Map before they are dropped, bytes", ROWS * len("{},"), STATE_BYTES)
