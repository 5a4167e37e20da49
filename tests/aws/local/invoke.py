"""Runs the functions with their events in `sam local invoke`, and holds answers and objects against what they must be.

    invoke.py IMAGE [NAME]...    IMAGE: what the functions run in
                                 NAME: `fetcher` for events/fetcher.json, `request-reader` for all events/request-reader-*.json;
                                 all events without a name

Prints each answer. sam itself exits with 0 when a function fails, so only what is compared here counts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
EVENTS = ROOT / "events"
TIMEOUT = 300
"""Seconds that one invocation may take, the container's start included."""


class Sam:
    """`sam local invoke` on what `sam build` has made of the project's template."""

    def __init__(self, world, folder: Path) -> None:
        self.world, self.folder = world, folder
        home = folder / "sam-home"
        home.mkdir()
        passed = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ}
        self.environment = {
            **passed,
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "SAM_CLI_TELEMETRY": "0",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "DOCKER_BUILDKIT": "0",
        }

    def invoke(self, function: str, event: Path, changes: dict[str, str]) -> tuple[object, str]:
        """The answer, and what was logged."""
        from stack import BUILT, architecture
        from world import HOST

        variables = self.folder / "variables.json"
        variables.write_text(json.dumps({"Parameters": self.world.variables()}))
        parameters = {"Architecture": architecture(), **self.world.parameters(), **changes}
        command = [
            *("sam", "local", "invoke", function, "--template-file", str(BUILT), "--event", str(event)),
            *("--skip-pull-image", "--invoke-image", self.world.image, "--add-host", f"{HOST}:host-gateway"),
            *("--env-vars", str(variables), "--region", "us-east-1", "--parameter-overrides"),
            *(f"{name}={value}" for name, value in parameters.items()),
        ]
        done = subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT
        )
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines:
            raise RuntimeError(f"sam failed ({done.returncode}):\n{done.stderr[-4000:]}")
        return json.loads(lines[-1]), done.stderr


def run_case(name: str, case, world, sam: Sam) -> None:
    from cases import Mismatch, Run

    event = EVENTS / f"{name}.json"

    def first(function: str, other: dict) -> object:
        path = sam.folder / "first.json"
        path.write_text(json.dumps(other))
        answer, log = sam.invoke(function, path, dict(case.parameters))
        if isinstance(answer, dict) and "errorType" in answer:
            raise RuntimeError(f"{function}, which runs first, failed: {answer}\n{log[-4000:]}")
        return answer

    world.reset()
    run = Run(world, json.loads(event.read_text()), first)
    case.before(run)
    before = world.objects()
    run.answer, log = sam.invoke(case.function, event, dict(case.parameters))
    run.written = tuple(sorted(found.split(" ")[0] for found in world.objects() - before))
    print(json.dumps(run.answer, indent=2, ensure_ascii=False))
    for written in run.written:
        print(f"wrote {written}")
    try:
        if isinstance(run.answer, dict) and "errorType" in run.answer:
            raise Mismatch(f"the function failed: {run.answer['errorType']}: {run.answer.get('errorMessage')}")
        case.after(run)
        run.expect("what the peers complain about", world.complaints(), [])
    except (Mismatch, LookupError, TypeError, ValueError) as error:
        raise Mismatch(f"{str(error) or repr(error)}\n--- log of the function\n{log[-6000:]}") from error


def chosen(names: list[str], known: list[str]) -> list[str]:
    if not names:
        return known
    found = [name for name in known if any(name == wanted or name.startswith(f"{wanted}-") for wanted in names)]
    for wanted in names:
        if not any(name == wanted or name.startswith(f"{wanted}-") for name in known):
            sys.exit(f"error: there is no event for {wanted}; there are: {', '.join(known)}")
    return found


def holes(cases: dict) -> list[str]:
    """Events and functions that nothing here runs."""
    events = {path.stem for path in EVENTS.glob("*.json")}
    template = (ROOT / "template.yaml").read_text()
    functions = set(re.findall(r"^  (\w+):\n    Type: AWS::Serverless::Function$", template, re.M))
    return [
        *(f"events/{name}.json has no case" for name in sorted(events - set(cases))),
        *(f"there is no events/{name}.json" for name in sorted(set(cases) - events)),
        *(f"{function} has no event" for function in sorted(functions - {case.function for case in cases.values()})),
        *(f"the template has no {case.function}" for case in cases.values() if case.function not in functions),
    ]


def main() -> int:
    image, names = sys.argv[1], sys.argv[2:]
    from world import World

    from cases import CASES, Mismatch

    if problems := holes(CASES):
        print("error: " + "\n       ".join(problems), file=sys.stderr)
        return 1
    selected = chosen(names, sorted(CASES))
    folder = Path(tempfile.mkdtemp(prefix="package-gate-local-"))
    failed: list[str] = []
    try:
        world = World(folder, image)
        try:
            sam = Sam(world, folder)
            for name in selected:
                began = time.monotonic()
                print(f"\n==== {CASES[name].function}: events/{name}.json", flush=True)
                try:
                    run_case(name, CASES[name], world, sam)
                    print(f"==== as it must be, {time.monotonic() - began:.0f} s", flush=True)
                except (Mismatch, RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                    failed.append(name)
                    print(f"==== NOT as it must be: {error}", flush=True)
        finally:
            world.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{len(selected) - len(failed)} of {len(selected)} events led to what they must")
    for name in failed:
        print(f"  not {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
