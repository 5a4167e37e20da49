"""P7: from the start of a function's program to its first `GET /invocation/next`, and the size of its package."""

from __future__ import annotations

import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from . import process
from .process import Cost, Failed, Function
from .result import Figure
from .world import Functions, World

PEER = Path(__file__).parent / "peers" / "boto3_start.py"
SERVICES = {
    "WebhookReceiverFunction": ["--secret", "gate-webhook", "s3", "secretsmanager"],
    "RequestReaderFunction": ["s3", "secretsmanager", "stepfunctions"],
    "ReconcilerFunction": ["s3", "secretsmanager", "stepfunctions"],
    "FetcherFunction": ["s3"],
    "AdvisoriesFunction": ["s3"],
    "ScannerFunction": ["s3"],
    "ScanPollerFunction": ["s3"],
    "PublisherFunction": ["s3", "codeartifact"],
    "NotifierFunction": ["s3", "sns"],
}
"""The clients that each function's main.rs makes. The webhook's function also reads its secret before the first call."""

GLUE_BYTES, SCANNER_BYTES = 6_000_000, 15_000_000


def figure(functions: Functions, runs: int) -> Figure:
    found = Figure("P7", f"a function from its start to its first invocation, {runs} starts in turn with Python and boto3")
    sizes = {}
    # Over TLS: what speaks before its first invocation pays for its first handshake.
    with (
        tempfile.TemporaryDirectory(prefix="gate-bench-") as scratch,
        World(functions, Path(scratch) / "world", tls=True) as world,
    ):
        for name in functions.template:
            with found.part(name):
                package = functions.package(name)
                sizes[package] = sizes.get(package) or zipped(functions.program(name))
                compare(found, world, name, runs)
    for package, size in sizes.items():
        limit = SCANNER_BYTES if package == "gate-scanner" else GLUE_BYTES
        found.at_most(f"{package}: zip MB", size / 1e6, limit / 1e6)
    return found


def compare(figure: Figure, world: World, name: str, runs: int) -> None:
    configured(world, name)
    ours, peers, anonymous = [], [], 0
    for _ in range(runs):
        with world.function(name) as function:
            ours.append(function.start())
            anonymous = max(anonymous, process.anonymous(function.pid))
        peers.append(python(world, name))
    line = figure.add("ours", f"{name} ({world.functions.package(name)})", ours, anonymous_bytes=anonymous)
    figure.add("peer", f"{name}: Python with boto3", peers)
    figure.at_most(f"{name}: CPU ms", line["cpu_s"] * 1e3, 8)
    # The median: what it takes, not what it took once.
    figure.at_most(f"{name}: resident MB", statistics.median(cost.peak_bytes for cost in ours) / 1e6, 12)


def configured(world: World, name: str) -> None:
    """A function that lacks a setting also asks for invocations, to refuse them: its start would be no start."""
    with world.function(name) as function:
        function.start()
        try:
            function.invoke({})
        except Failed as reason:
            if "Gate.Configuration" in str(reason):
                raise


def python(world: World, name: str) -> Cost:
    environment = world.functions.environment(name, world.values()) | world.certificates
    # Compiled modules are read; this run writes none.
    command = [sys.executable, "-B", str(PEER), *SERVICES[name]]
    with Function(command, environment, world.folder / "work") as function:
        return function.start()


def zipped(program: Path) -> int:
    """Bytes of the package that is deployed: the stripped program as `bootstrap`, deflated as far as it goes."""
    content = program.read_bytes()
    if shutil.which("strip"):
        with tempfile.NamedTemporaryFile() as stripped:
            done = subprocess.run(["strip", "-o", stripped.name, str(program)], stdin=subprocess.DEVNULL, capture_output=True)
            content = Path(stripped.name).read_bytes() if done.returncode == 0 else content
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
        package.writestr("bootstrap", content)
    return len(buffer.getvalue())
