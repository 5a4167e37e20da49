"""A request of 10,000 rows: the steps of its intake machine, the manifest, and what the state machines carry."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from pathlib import Path

from . import outcomes
from .process import Cost, Failed
from .result import Figure, note
from .servers import SECRET
from .world import DATA, TOPIC, Functions, World

ROWS = 10_000
STATE_BYTES = 262_144
"""Step Functions: the most that a state's input or output may have."""
ITEM_BYTES = 300
"""`gate_core::run::RowItem` says so of itself."""
READ_MIB = 256
"""A quarter of the function's memory."""
REPOSITORY = 123_456
PATH = "external-package-request.csv"
AUTHOR = "ada@corp.example"


def id_of(rows: int) -> str:
    """With other rows it is another figure."""
    return "manifest" if rows == ROWS else f"manifest of {rows}"


def figure(functions: Functions, rows: int = ROWS) -> Figure:
    from fakes.github import GitHub

    found = Figure(id_of(rows), f"a request of {rows:,} new rows: the steps of its intake machine, one invocation each; TLS")
    note(found.what)
    github = GitHub(REPOSITORY)
    github.token = SECRET
    try:
        with (
            tempfile.TemporaryDirectory(prefix="gate-bench-") as scratch,
            World(functions, Path(scratch) / "world", tls=True) as world,
        ):
            run, items = read(found, world, github, rows)
            with found.part("how the rows end"):
                verdicts = end(found, world, items)
                summarise(found, world, run, verdicts)
                report(found, world, github, run, verdicts)
    finally:
        github.stop()
    found.missing += [f"against the fake of GitHub's rules: {words}" for words in github.faults]
    return found


def invoke(figure: Figure, world: World, step: str, name: str, event: dict, mib: int | None = None, **more: str) -> dict:
    """One invocation of a new process, beside what the template gives the function."""
    note(f"{figure.id}: {step}")
    properties = world.functions.template[name]["Properties"]
    memory, seconds = properties["MemorySize"], properties["Timeout"]
    before = Counter(world.counts())
    with world.function(name, **more) as function:
        started = function.start()
        answer, cost = function.invoke(event, timeout=seconds)
    added(figure, step, cost, started, Counter(world.counts()) - before)
    figure.at_most(f"{step}: peak MiB, of the function's {memory:,}", cost.peak_bytes / (1 << 20), mib or memory)
    figure.at_most(f"{step}: seconds, of the function's {seconds}", cost.wall_s, seconds)
    return answer


def added(figure: Figure, step: str, cost: Cost, started: Cost, asked: Counter) -> None:
    figure.add("ours", f"{step} step", [cost])
    figure.facts |= {
        f"{step}: requests to S3 and others": json.dumps(dict(sorted(asked.items()))),
        f"{step}: memory beyond the start, MB": round((cost.peak_bytes - started.peak_bytes) / 1e6, 1),
    }


def end(figure: Figure, world: World, items: list[dict]) -> Counter:
    """Every row has its outcome, as the row machine leaves it, and every requester a confirmed subscription."""
    note(f"{figure.id}: an export of advisories")
    figure.facts["advisories, MB"] = round(outcomes.advisories(world) / 1e6, 1)
    note(f"{figure.id}: the outcomes of {len(items):,} rows")
    verdicts = outcomes.end(world, items)
    left = [path.stat().st_size for path in map(world.path, outcomes.keys(world))]
    figure.facts["documents of the run"] = f"{len(left):,}, {sum(left) / 1e6:.0f} MB"
    figure.facts["outcomes"] = json.dumps(dict(verdicts))
    for address in addresses(len(items)):
        policy = json.dumps({"requester": [address]})
        asked = {"Action": "Subscribe", "TopicArn": TOPIC, "Protocol": "email", "Endpoint": address}
        world.ask("/", asked | {"Attributes.entry.1.key": "FilterPolicy", "Attributes.entry.1.value": policy})
    return verdicts


def addresses(rows: int) -> list[str]:
    return [AUTHOR, *sorted({outcomes.requester(row) for row in range(rows)})]


def summarise(figure: Figure, world: World, run: str, verdicts: Counter) -> None:
    answer = invoke(figure, world, "summarise", "NotifierFunction", {"task": "summarise", "run": run})
    summary = world.path(f"runs/{run}/summary.json").read_bytes()
    told = Counter(row["verdict"] for row in json.loads(summary)["rows"])
    sent, people = outcomes.mails(world), addresses(sum(verdicts.values()))
    if told != verdicts:
        raise Failed(f"the summary has {dict(told)}")
    # A digest is one mail a requester.
    if len(sent) != len(people) or answer["mails"] != len(people):
        raise Failed(f"{len(sent)} mails were sent to {len(people)} people, {answer['mails']} by its own word")
    figure.facts |= {
        "summarise: mails": len(sent),
        "summarise: largest mail, bytes": max(path.stat().st_size for path in sent),
        "summarise: summary, bytes": len(summary),
        "summarise: page, bytes": world.path(f"runs/{run}/report.html").stat().st_size,
    }


def report(figure: Figure, world: World, github, run: str, verdicts: Counter) -> None:
    event = {"task": "report", "run": run}
    answer = invoke(figure, world, "report", "RequestReaderFunction", event, GITHUB_API=github.url)
    words = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in ("approved", "refused", "held", "failed"))
    ((_, status),) = github.statuses
    if answer["state"] != "failure" or status["description"] != words:
        raise Failed(f"the commit's status is {status}, and not of {words}")


def read(figure: Figure, world: World, github, rows: int) -> tuple[str, list[dict]]:
    """Gives the run and its manifest."""
    asked = (f"{outcomes.name(row)},pkg:pypi/{outcomes.name(row)}@{outcomes.version(row)}" for row in range(rows))
    lines = (f"{cells},,{outcomes.requester(row)}\n" for row, cells in enumerate(asked))
    commit = github.push({PATH: "name,source,sha256,requester\n" + "".join(lines)}, AUTHOR)
    reference = "refs/heads/main"
    digest = hashlib.sha256(f"{REPOSITORY}|{reference}|{commit.sha}".encode()).hexdigest()
    inbox = f"inbox/{REPOSITORY}/{digest}.json"
    delivery = {"schema_version": 1, "repository": REPOSITORY, "full_name": github.full_name, "reference": reference}
    world.put(inbox, delivery | {"commit": commit.sha, "received_at": "2026-11-20T10:00:00Z"})
    short = hashlib.sha256(reference.encode()).hexdigest()[:8]
    run = f"{REPOSITORY}-{short}-{commit.sha[:20]}-1"
    event = {"task": "read", "intake": {"run": run, "kind": "push", "delivery": inbox}}

    answer = invoke(figure, world, "read", "RequestReaderFunction", event, READ_MIB, GITHUB_API=github.url)
    if answer["rows"] != rows:
        raise Failed(f"{answer['rows']} rows of {rows} were read")
    manifest = world.path(answer["manifest"]["key"]).read_bytes()
    items = json.loads(manifest)
    if answer["manifest"]["bucket"] != DATA or len({item["execution"] for item in items}) != rows:
        raise Failed("the manifest is not of this run")

    def compact(value: object) -> int:
        return len(json.dumps(value, separators=(",", ":")).encode())

    figure.facts |= {"request, bytes": len(commit.files[PATH]), "manifest, bytes": len(manifest)}
    # What Read gives is all that the intake machine carries through its Map, whose results are empty objects and dropped.
    figure.at_most("largest item, bytes", max(map(compact, items)), ITEM_BYTES)
    figure.at_most("largest input of a row's execution, bytes", max(compact(item["state"]) for item in items), STATE_BYTES)
    figure.at_most("state of the intake machine, bytes", compact(answer), STATE_BYTES)
    figure.at_most("results of the Map before they are dropped, bytes", rows * len("{},"), STATE_BYTES)
    return run, items
