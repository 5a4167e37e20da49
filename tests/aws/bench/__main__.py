"""`python -m bench`: takes the figures, prints a table, and puts them into bench.json."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from . import manifest, member, rows, starts, transfer
from .process import Failed
from .result import Figure, merge, note
from .world import ROOT, Functions

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ALL = ("P4", "P5", "P5-member", "P6", "P7", "manifest")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--built", type=Path, default=ROOT / ".aws-sam" / "build", help="where the functions' programs lie")
    parser.add_argument("--label", default="sam build", help="how they were built, for bench.json")
    parser.add_argument("--only", default=",".join(ALL), help="these figures, for example P5,P7")
    parser.add_argument("--runs", type=int, help="how often each contender of P6 runs, instead of 3 or 5 times")
    parser.add_argument("--starts", type=int, default=15, help="how often each function starts")
    parser.add_argument("--rows", type=int, default=manifest.ROWS, help="of the manifest; with fewer it is another figure")
    parser.add_argument("--wheels", type=Path, default=TARGET / "bench-corpus" / "wheels", help="where the wheels of P4 are kept")
    parser.add_argument("--json", type=Path, default=TARGET / "bench.json")
    arguments = parser.parse_args()
    # Whoever ends this early also wants the servers and the emulator to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended early"))
    wanted = set(arguments.only.split(","))
    if unknown := wanted - set(ALL):
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    functions = Functions(arguments.built.resolve())
    gate = TARGET / "release" / "gate"
    gate = gate if gate.is_file() else None
    # With the external scanner, as run.sh builds it for P4.
    external = TARGET / "bench-gate-external"
    external = external if external.is_file() else gate

    def taken(id: str, take) -> list[Figure]:
        """A figure that cannot be taken says why, and stops no other. Each is stored at once: together they take hours."""
        try:
            found = take()
        except Failed as reason:
            note(f"{id}: {reason}")
            found = [Figure(id, "not taken", missing=[str(reason)])]
        merge(arguments.json, found, arguments.label)
        return found

    figures = []
    if "P7" in wanted:
        figures += taken("P7", lambda: [starts.figure(functions, arguments.starts)])
    for id in ("P6", "P5"):
        if id in wanted:
            figures += taken(id, lambda id=id: transfer.figures(functions, {id}, arguments.runs))
    if "P5-member" in wanted:
        figures += taken("P5-member", lambda: [member.figure(functions, gate)])
    if "manifest" in wanted:
        figures += taken(manifest.id_of(arguments.rows), lambda: [manifest.figure(functions, arguments.rows)])
    if "P4" in wanted:
        figures += taken("P4", lambda: [rows.figure(functions, external, arguments.wheels)])
    for figure in figures:
        figure.show()
    print(f"\n{arguments.json}")


if __name__ == "__main__":
    main()
