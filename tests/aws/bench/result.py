"""The figures, in the form of crates/bench: a table for people, and entries of bench.json for programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .process import Cost, Failed

SCHEMA_VERSION = 2
"""Of bench.json, as crates/bench writes it."""


def note(words: str) -> None:
    """What is going on, for whoever waits."""
    print(words, file=sys.stderr, flush=True)


@dataclass
class Figure:
    """One comparison; a figure that could not be taken says why."""

    id: str
    what: str
    measured: list[dict] = field(default_factory=list)
    targets: list[dict] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    taken_at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    """When it was begun."""

    def add(self, role: str, name: str, costs: list[Cost], **more: object) -> dict:
        """A contender's runs: `ours`, `peer` or `floor`. CPU and wall are medians; the peak is the largest."""
        cpu = [round(cost.cpu_s, 6) for cost in costs]
        self.measured.append(
            {
                "role": role,
                "name": name,
                "cpu_s": statistics.median_high(cpu),
                "cpu_s_of_each_run": cpu,
                "wall_s": round(statistics.median_high([cost.wall_s for cost in costs]), 6),
                "peak_bytes": max(cost.peak_bytes for cost in costs),
                **more,
            }
        )
        return self.measured[-1]

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """A part that cannot be taken says why, and stops no other."""
        note(f"{self.id}: {what}")
        try:
            yield
        except Failed as reason:
            note(f"{self.id}: {what}: {reason}")
            self.missing.append(f"{what}: {str(reason)[:600]}")

    def at_most(self, what: str, value: float, limit: float) -> None:
        self.targets.append({"what": what, "value": round(value, 4), "at_most": limit, "ok": value <= limit})

    def document(self) -> dict:
        out = {"id": self.id, "what": self.what, "taken_at": self.taken_at}
        out |= {"measured": self.measured, "targets": self.targets}
        return out | ({"facts": self.facts} if self.facts else {}) | ({"missing": self.missing} if self.missing else {})

    def show(self) -> None:
        print(f"\n{self.id}  {self.what}")
        if self.measured:
            print(f"  {'':5}  {'':56} {'CPU s':>9} {'wall s':>9} {'peak MB':>8} {'CPU s/GB':>9}")
        for line in self.measured:
            rate = f"{line['cpu_s'] / line['bytes'] * 1e9:9.3f}" if line.get("bytes") else ""
            numbers = f"{line['cpu_s']:9.4f} {line['wall_s']:9.4f} {line['peak_bytes'] / 1e6:8.1f} {rate}"
            more = f"{line['anonymous_bytes'] / 1e6:6.1f} MB of it anonymous" if "anonymous_bytes" in line else ""
            print(f"  {line['role']:5}  {line['name']:56} {numbers} {more}".rstrip())
        for name, value in self.facts.items():
            print(f"         {name}: {value}")
        for target in self.targets:
            word = "ok" if target["ok"] else "OVER"
            print(f"  {word:5}  {target['what']:56} {target['value']:9.2f}  (<= {target['at_most']:g})")
        for words in self.missing:
            print(f"  not taken: {words}")


def merge(path: Path, figures: list[Figure], built: str) -> None:
    """Puts the figures into bench.json in place of those with the same ids; the others stay as they are, of whichever half.

    Each carries the commit, the time and the build that it was measured at, because the others may be of another day.
    """
    document = stored(path)
    document["schema_version"] = SCHEMA_VERSION
    # gate-bench also says its compiler.
    document["machine"] = document.get("machine", {}) | machine()
    source = {"commit": commit(), "functions": built}
    ours = {figure.id: figure.document() | source for figure in figures}
    kept = [figure for figure in document.get("figures", []) if figure["id"] not in ours]
    document["figures"] = sorted([*kept, *ours.values()], key=lambda figure: figure["id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    # A run that is stopped leaves the file whole.
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(document, indent=2) + "\n")
    scratch.replace(path)


def stored(path: Path) -> dict:
    """What earlier runs have left; a file of another form is begun anew."""
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    is_ours = isinstance(document, dict) and document.get("schema_version") == SCHEMA_VERSION
    return document if is_ours and isinstance(document.get("figures"), list) else {}


def machine() -> dict:
    """As `gate-bench` says it, where it has not run here before."""
    names = [line.split(": ", 1)[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    system = platform.uname()
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": names[0] if names else "unknown",
        "system": f"{system.system} {system.release} {system.machine}",
    }


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
