"""P5, second part: a wheel with one 400 MB member, through the program `gate` and through the scanner's function."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from pathlib import Path

from . import archives
from .process import Failed, run
from .result import Figure
from .world import Functions, World

MEMBER = 400_000_000


def figure(functions: Functions, gate: Path | None) -> Figure:
    found = Figure("P5-member", "a wheel with one member of 400 MB: the scanner's parent and child together")
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as scratch:
        folder = Path(scratch)
        for shape, (member, pieces) in archives.shapes(MEMBER).items():
            name = shape.lower().replace(" ", "_")
            wheel = archives.wheel(folder, name, [(f"{name}/{member}", pieces)], zipfile.ZIP_DEFLATED)
            if gate:
                with found.part(f"{shape}, gate scan"):
                    by_gate(found, gate, shape, wheel)
            with found.part(f"{shape}, gate-scanner"), World(functions, folder / name) as world:
                by_function(found, world, shape, wheel)
            wheel.unlink()
    if gate is None:
        found.missing.append("gate scan: build it with cargo build --release -p gate")
    if found.measured:
        found.at_most("peak MiB", max(line["peak_bytes"] for line in found.measured) / (1 << 20), 256)
    return found


def by_gate(figure: Figure, gate: Path, shape: str, wheel: Path) -> None:
    command = [str(gate), "scan", "--json", str(wheel)]
    printed, cost = run(command, {"PATH": os.environ["PATH"], "HOME": str(wheel.parent)}, may_end_with=(0, 1))
    json.loads(printed)
    figure.add("ours", f"{shape}: gate scan", [cost], bytes=MEMBER)


def by_function(figure: Figure, world: World, shape: str, wheel: Path) -> None:
    with wheel.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    place = world.path(f"quarantine/{digest}")
    place.parent.mkdir(parents=True)
    os.link(wheel, place)
    with world.function("ScannerFunction") as function:
        function.start()
        answer, cost = function.invoke({"row": "runs/x/rows/000002.json", "artifact": digest})
    (report,) = [path for path in world.path("reports").rglob("*.json")] or [None]
    if answer != {"artifact": digest} or report is None:
        raise Failed(f"{shape}: no report")
    read = json.loads(report.read_bytes())
    classes = {next(iter(file["class"])) if isinstance(file["class"], dict) else file["class"] for file in read["coverage"]}
    figure.add("ours", f"{shape}: gate-scanner", [cost], bytes=MEMBER, coverage=sorted(map(str, classes)))
