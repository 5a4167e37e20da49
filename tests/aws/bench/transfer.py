"""P5 and P6: archives of 1 MiB to 1 GiB through the built functions, each in a process of its own."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from . import archives
from .process import Cost, Failed, run
from .result import Figure, note
from .world import Functions, World

PEERS = Path(__file__).parent / "peers"
MIB = 1 << 20
SIZES = {1: 5, 16: 5, 256: 3, 1024: 3}
"""MiB, and how often each is moved."""
TLS_SIZE = 256


def name(mib: int) -> str:
    return f"large{mib}"


def p6(functions: Functions, folder: Path, built: dict[int, Path], runs: int | None) -> Figure:
    """Fetch, hash and store alone, against Python and the floor."""
    figure = Figure("P6", "fetch, hash and store of one archive: the fetcher's function, one invocation without its start")
    with World(functions, folder / "plain") as world:
        for mib in SIZES:
            with figure.part(f"{mib} MiB, http"):
                compare(figure, world, mib, built[mib], runs or SIZES[mib])
    with World(functions, folder / "tls", tls=True) as world, figure.part(f"{TLS_SIZE} MiB, TLS"):
        compare(figure, world, TLS_SIZE, built[TLS_SIZE], runs or SIZES[TLS_SIZE])
    return figure


def compare(figure: Figure, world: World, mib: int, archive: Path, runs: int) -> None:
    """All contenders in turn, so that a busy minute hits them all."""
    how = "TLS" if world.tls else "http"
    size = archive.stat().st_size
    world.release(name(mib), archive)
    url = f"{world.host.url}/files/{archive.name}"
    ours, peers, floors = [], [], []
    for _ in range(runs):
        ours.append(fetch(world, mib, size)[1])
        peers.append(peer(world, "boto3_copy.py", size, url, world.store.url))
        floors.append(peer(world, "floor.py", size, url))
        world.empty()
    more = {"bytes": size}
    fetched = figure.add("ours", f"{mib} MiB, {how}: gate-fetcher", ours, **more)
    python = figure.add("peer", f"{mib} MiB, {how}: boto3 upload_fileobj, hashed", peers, **more)
    floor = figure.add("floor", f"{mib} MiB, {how}: read, hashed, dropped", floors, **more)
    # Below this, what a call costs hides what a byte costs.
    if mib >= 256:
        figure.at_most(f"{mib} MiB, {how}: ours / floor, CPU", fetched["cpu_s"] / floor["cpu_s"], 2.0)
        figure.at_most(f"{mib} MiB, {how}: ours / Python, CPU", fetched["cpu_s"] / python["cpu_s"], 0.85)


def fetch(world: World, mib: int, size: int) -> tuple[dict, Cost]:
    """One row through the fetcher; it must lie in quarantine whole."""
    state = world.row(name(mib))
    with world.function("FetcherFunction") as function:
        function.start()
        answer, cost = function.invoke(state)
    if answer["status"] != "fetched":
        raise Failed(f"{mib} MiB: {outcome(world, answer)}")
    document = json.loads(world.path(answer["fetched"]).read_bytes())
    (file,) = document["files"]
    if world.path(f"quarantine/{file['sha256']}").stat().st_size != size or file["size"] != size:
        raise Failed(f"{mib} MiB: not stored whole")
    return answer, cost


def outcome(world: World, answer: dict) -> str:
    key = answer.get("outcome")
    return world.path(key).read_text() if key else json.dumps(answer)


def peer(world: World, program: str, size: int, *arguments: str) -> Cost:
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "the benchmark signs with this",
        **world.certificates,
    }
    printed, cost = run([sys.executable, "-B", "-I", str(PEERS / program), *arguments], environment)
    said = json.loads(printed)
    if said["size"] != size:
        raise Failed(f"{program} moved {said['size']} bytes of {size}")
    return Cost(said["cpu_s"], cost.wall_s, cost.peak_bytes)


def p5(functions: Functions, folder: Path, built: dict[int, Path]) -> Figure:
    """The whole row: fetch, scan, decide, publish. Each function is a new process, whose memory is that of its whole life."""
    figure = Figure("P5", "memory of each function while one archive is fetched, scanned, decided on and published; TLS")
    moving: dict[int, int] = {}
    # Over TLS, as it is deployed: its buffers count.
    with World(functions, folder / "row", tls=True) as world:
        for mib, archive in built.items():
            with figure.part(f"{mib} MiB"):
                world.empty()
                world.release(name(mib), archive)
                moving[mib] = row(figure, world, mib, archive.stat().st_size)
    if moving:
        figure.at_most(f"fetch, hash, store, publish, up to {max(moving)} MiB: peak MiB", max(moving.values()) / MIB, 64)
        figure.at_most("with scan: peak MiB", max(line["peak_bytes"] for line in figure.measured) / MIB, 256)
    if {256, 1024} <= moving.keys():
        figure.at_most("fetch, hash, store, publish: peak of 1 GiB / 256 MiB", moving[1024] / moving[256], 1.1)
    return figure


def row(figure: Figure, world: World, mib: int, size: int) -> int:
    """Gives the peak of fetching and publishing."""
    more, peaks = {"bytes": size}, []
    state, cost = fetch(world, mib, size)
    peaks.append(figure.add("ours", f"{mib} MiB: fetch, hash, store", [cost], **more)["peak_bytes"])
    state, _ = step(world, "ScanPollerFunction", {"task": "start", "state": state})
    costs = []
    for artifact in state["unscanned"]:
        costs.append(step(world, "ScannerFunction", {"row": state["row"], "artifact": artifact})[1])
    figure.add("ours", f"{mib} MiB: scan, parent and child together", costs, **more)
    state, cost = step(world, "ScanPollerFunction", {"task": "decide", "state": state})
    if state["status"] != "approved":
        raise Failed(f"{mib} MiB: {outcome(world, state)}")
    figure.add("ours", f"{mib} MiB: decide", [cost])
    state, cost = step(world, "PublisherFunction", state)
    verdict = json.loads(world.path(state["outcome"]).read_bytes())["outcome"]["verdict"]
    if verdict != "approved":
        raise Failed(f"{mib} MiB: {outcome(world, state)}")
    peaks.append(figure.add("ours", f"{mib} MiB: publish", [cost], **more)["peak_bytes"])
    return max(peaks)


def step(world: World, name: str, event: dict) -> tuple[dict, Cost]:
    with world.function(name) as function:
        function.start()
        answer, cost = function.invoke(event)
    return answer, cost


def figures(functions: Functions, wanted: set[str], runs: int | None) -> list[Figure]:
    found = []
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as scratch:
        folder = Path(scratch)
        note("building archives of " + ", ".join(f"{mib} MiB" for mib in SIZES))
        built = {mib: archives.large(folder, name(mib), mib * MIB) for mib in SIZES}
        if "P6" in wanted:
            found.append(p6(functions, folder, built, runs))
        if "P5" in wanted:
            found.append(p5(functions, folder, built))
    return found
