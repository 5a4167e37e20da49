"""P4: 50 rows of mixed real packages, from the push to the summary on the emulator, and by `gate check` alone; both also with an
external scanner that takes its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .process import Cost, Failed, high_water, processor_time, run
from .result import Figure, note
from .world import Functions, World

RELEASES = """
    accelerate 0.33.0, ansible-core 2.17.3, attrs 23.2.0, azure-identity 1.17.1, bandit 1.7.9, boto3 1.34.150, celery 5.4.0,
    cffi 1.17.0, cloudpickle 3.0.0, coverage 7.6.1, cryptography 43.0.0, cython 3.0.11, dask 2024.8.0, datasets 2.21.0,
    dill 0.3.8, distributed 2024.8.0, django 4.2.11, docutils 0.21.2, execnet 2.1.1, fabric 3.2.2, flask 3.0.3,
    fsspec 2024.6.1, future 1.0.0, google-auth 2.34.0, gunicorn 23.0.0, huggingface-hub 0.24.6, hypothesis 6.111.1,
    invoke 2.2.0, ipython 8.26.0, jedi 0.19.1, jinja2 3.1.4, joblib 1.4.2, keras 3.5.0, langchain 0.2.5, locust 2.31.4,
    nbconvert 7.16.4, networkx 3.3, nltk 3.9.1, openai 1.42.0, paramiko 3.4.0, pillow 10.4.0, poetry 1.8.3, psutil 6.0.0,
    pydantic 2.8.2, pytest 8.3.2, requests 2.32.3, setuptools 72.1.0, six 1.16.0, tqdm 4.66.5, werkzeug 3.0.4
"""
SEED = "the script that this replaces, measured on another machine: 114 s when a scan takes 2 s, 11.6 s when it takes none"
SEED_SCANS_S = 114
"""Of it: seconds with scans of 2 s. A twentieth is the target."""
SCAN_S = 2.0
"""What each scan of the external scanner takes, seconds; a release here is one wheel, and so one scan."""
AT_ONCE = 16
"""Rows, and so scans, at a time."""
WITH_SCANNER = ", with external scans of 2 s"

DEADLINE = 600
"""Seconds for all rows on the emulator."""


def releases() -> list[tuple[str, str]]:
    return [tuple(release.split()) for release in RELEASES.replace("\n", " ").split(",")]


def fetch(folder: Path) -> dict[tuple[str, str], Path]:
    """The wheels, from this machine's Python index unless they are there. They are files here: none is installed or run."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, version in releases():
        if (name, version) not in (kept := wheels(folder)):
            note(f"P4: fetching {name} {version}")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary", ":all:", "--dest", str(folder), f"{name}=={version}"]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                raise Failed(f"the Python index does not give {name} {version}: {done.stderr[-500:]}")
            kept = wheels(folder)
        found[name, version] = kept[name, version]
    return found


def wheels(folder: Path) -> dict[tuple[str, str], Path]:
    found = {}
    for path in folder.glob("*.whl"):
        name, version, _ = path.name.split("-", 2)
        found[name.lower().replace("_", "-").replace(".", "-"), version] = path
    return found


def figure(functions: Functions, gate: Path | None, folder: Path) -> Figure:
    found = Figure("P4", f"{len(releases())} rows of mixed real packages, scan included")
    packages = fetch(folder.resolve())
    found.facts |= {"wheels, MB": round(sum(path.stat().st_size for path in packages.values()) / 1e6, 1), "quoted": SEED}
    rounds = -(-len(packages) // AT_ONCE)
    found.facts["least wall s of such scans, 16 at a time"] = f"{len(packages) * SCAN_S / AT_ONCE:g}; {rounds * SCAN_S:g} in rounds"
    for scan_s, words in ((0.0, ""), (SCAN_S, WITH_SCANNER)):
        if gate:
            with found.part(f"gate check{words}"):
                by_gate(found, functions, gate, packages, scan_s)
        else:
            found.missing.append(f"gate check{words}: build it with cargo build --release -p gate --features external")
        with found.part(f"on the emulator{words}"):
            template = functions.built / "template.yaml"
            if not template.is_file():
                raise Failed(f"{template} is not there: it deploys what `sam build` leaves")
            try:
                on_the_emulator(found, packages, template, scan_s)
            except (AssertionError, RuntimeError) as reason:
                raise Failed(str(reason)) from reason
    return found


def request(packages: dict[tuple[str, str], Path]) -> str:
    return "".join(f"{name},pkg:pypi/{name}@{version},,\n" for name, version in packages)


def scanner(packages: dict[tuple[str, str], Path], scan_s: float):
    """The fake of the external scanner, for which each of these packages takes so many seconds."""
    from fakes.codeguru import CodeGuru, Scenario

    guru = CodeGuru()
    for path in packages.values():
        guru.script(path.read_bytes(), Scenario(polls=0, seconds=scan_s))
    return guru


def by_gate(
    figure: Figure, functions: Functions, gate: Path, packages: dict[tuple[str, str], Path], scan_s: float
) -> None:
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as scratch, World(functions, Path(scratch) / "world") as world:
        for (name, _), path in packages.items():
            world.release(name, path)
        work = Path(scratch)
        (work / "request.csv").write_text("name,source,sha256,requester\n" + request(packages))
        (work / "policy.toml").write_text(world.policy)
        command = [str(gate), "check", str(work / "request.csv"), "--json", "--policy", str(work / "policy.toml")]
        command += ["--index-url", f"{world.host.url}/simple/", "--out", str(work / "out")]
        environment = {"PATH": os.environ["PATH"], "HOME": scratch}
        guru = scanner(packages, scan_s)
        if scan_s:
            command += ["--external-scanner", "codeguru-security", "--jobs", str(AT_ONCE)]
            environment |= guru.environment()
        try:
            printed, cost = run(command, environment, may_end_with=(0, 1, 2))
        finally:
            guru.stop()
    if scan_s and not guru.calls:
        raise Failed("this gate asks no external scanner: cargo build --release -p gate --features external")
    scans = len(guru.called("CreateScan"))
    if guru.faults or scans != (len(packages) if scan_s else 0):
        raise Failed(f"{scans} external scans of {len(packages)} packages: {guru.faults[:3]}")
    document = json.loads(printed)
    words = WITH_SCANNER if scan_s else ""
    figure.add("ours", f"gate check, one program{words}", [cost])
    figure.facts[f"verdicts, gate check{words}"] = json.dumps(count(row["verdict"] for row in document["rows"]))
    if scan_s:
        figure.at_most(f"wall s, gate check{words}: 1/20 of {SEED_SCANS_S}", cost.wall_s, SEED_SCANS_S / 20)


def on_the_emulator(figure: Figure, packages: dict[tuple[str, str], Path], template: Path, scan_s: float) -> None:
    # The end-to-end tests' own stack.
    import forge
    import stack as deployment
    from conftest import parameters
    from fakes.codeartifact import CodeArtifact
    from fakes.github import GitHub
    from fakes.packages import Packages
    from story import Services
    from story import World as Deployed

    deployment.BUILT = template
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as scratch:
        folder = Path(scratch)
        (folder / "host").mkdir()
        services = Services(GitHub(), CodeArtifact(), scanner(packages, scan_s), Packages(folder / "host"))
        (folder / "emulator").mkdir()
        emulator = deployment.Emulator(folder / "emulator", {"SSL_CERT_FILE": str(services.packages.authority)})
        try:
            for (name, _), path in packages.items():
                services.packages.release(name, path.name, path.read_bytes())
            services.packages.serve("advisories/all.zip", forge.advisories())
            # The schedules would start functions in the middle of the measured time.
            changes = {"ReconcileSchedule": "'rate(1 day)'", "AdvisoriesSchedule": "'rate(1 day)'"}
            if scan_s:
                changes |= {"ExternalScanners": "codeguru-security"}
            stack = deployment.Stack(emulator, "gate", parameters(services, services.github, **changes))
            secrets = emulator.client("secretsmanager")
            token = stack.environment("RequestReaderFunction")["ACCESS_TOKEN_SECRET"]
            secrets.put_secret_value(SecretId=token, SecretString=services.github.token)
            secret = stack.environment("WebhookReceiverFunction")["WEBHOOK_SECRET"]
            services.github.secret = secrets.get_secret_value(SecretId=secret)["SecretString"].encode()
            rule = f'{{ host = "localhost", cidrs = ["127.0.0.0/8", "::1/128"], ports = [{services.packages.port}] }}'
            policy = f'schema_version = 1\nrefuse_at = "medium"\n[network]\nallow = [{rule}]\n'
            world = Deployed(emulator, stack, services, services.github, policy)
            before = processor_time(emulator.process.pid)
            begun = time.monotonic()
            done = ended(world, world.push(request(packages)))
            wall = time.monotonic() - begun
            emulator_s = processor_time(emulator.process.pid) - before
            spent, alive, peak = 0.0, 0, 0
            for pid in deployment.descendants(emulator.process.pid):
                with suppress(OSError):
                    if b"AWS_LAMBDA_RUNTIME_API=" in Path(f"/proc/{pid}/environ").read_bytes():
                        spent, alive, peak = spent + processor_time(pid), alive + 1, max(peak, high_water(pid))
            if len(done["rows"]) != len(packages):
                raise Failed(f"{len(done['rows'])} rows of {len(packages)} ended")
            words = WITH_SCANNER if scan_s else ""
            figure.add("ours", f"on the emulator{words}, push to summary; function processes", [Cost(spent, wall, peak)])
            figure.facts |= {
                f"verdicts, emulator{words}": json.dumps(count(row["verdict"] for row in done["rows"])),
                f"function processes that lived to the end, whose CPU is counted{words}": alive,
                f"CPU s of the emulator itself{words}": round(emulator_s, 1),
            }
        finally:
            emulator.stop()
            for fake in services.all():
                fake.stop()


def ended(world, commit) -> dict:
    """The summary of the run; a run that fails has none."""
    name, deadline = world.run_name(commit), time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if summary := world.document(f"runs/{name}/summary.json"):
            return summary
        execution = world.executions("IntakeMachine").get(name)
        if execution and execution["status"] not in ("RUNNING", "SUCCEEDED"):
            raise Failed(f"the run {execution['status']}: {world.trouble()}")
        time.sleep(0.2)
    raise Failed(f"the run did not end in {DEADLINE} s: {world.trouble()}")


def count(verdicts) -> dict[str, int]:
    found: dict[str, int] = {}
    for verdict in verdicts:
        found[verdict] = found.get(verdict, 0) + 1
    return dict(sorted(found.items()))
