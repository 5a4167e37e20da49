"""Runs a function's program as Lambda does, with a runtime interface of our own on loopback, and reads what it costs."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

API = "/2018-06-01/runtime"
"""Where Lambda's runtime interface lies."""

REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"


class Failed(Exception):
    """The program did not do its work, so that its cost would say nothing."""


@dataclass(frozen=True)
class Cost:
    """What a piece of work took."""

    cpu_s: float
    """User and system, of the process and of the children that it waited for."""
    wall_s: float
    peak_bytes: int
    """The largest resident set (`VmHWM`) of the process since its start; with live children, the sum of theirs and its own."""


def processor_time(pid: int) -> float:
    """Seconds of processor time, user and system, of all threads of a process, also of those that have ended.

    The kernel's clock of a process counts nanoseconds; its number is made of the pid (clock_getcpuclockid(3), CPUCLOCK_SCHED).
    Children that were waited for are counted in hundredths of a second (proc(5), `cutime` and `cstime`).
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    waited_for = int(fields[13]) + int(fields[14])
    return time.clock_gettime((~pid << 3) | 2) + waited_for / os.sysconf("SC_CLK_TCK")


def high_water(pid: int) -> int:
    """`VmHWM` in bytes: of this program alone, unlike `ru_maxrss`, which keeps what the process was before `exec`."""
    return status(pid, "VmHWM")


def anonymous(pid: int) -> int:
    """`RssAnon` in bytes: what is resident now and is not a page of a file, as the program's own pages are."""
    return status(pid, "RssAnon")


def status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def children(pid: int) -> list[int]:
    """The processes below one, at any depth."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *children(int(child))]
    return found


class Tree:
    """Watches a process and those below it: the largest sum of their high-water marks at any one time.

    Each mark is a peak of its own time and counts what is shared twice, so the sum is never too small for processes that live
    at the same time. It is read every few milliseconds; what a child gains in the last of them before its end is not seen.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self.peak, self.children = pid, 0, 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.done.is_set():
            self.look()
            time.sleep(0.002)

    def look(self) -> None:
        total = 0
        with suppress(OSError):
            total = high_water(self.pid)
            below = children(self.pid)
            self.children = max(self.children, len(below))
            for child in below:
                with suppress(OSError):
                    total += high_water(child)
        self.peak = max(self.peak, total)

    def stop(self) -> int:
        self.done.set()
        self.thread.join()
        return self.peak


class Runtime:
    """Lambda's runtime interface for one process."""

    def __init__(self) -> None:
        self.events: queue.Queue[dict | None] = queue.Queue()
        self.answers: queue.Queue[tuple[str, object]] = queue.Queue()
        self.asked = threading.Semaphore(0)
        """Released at each `GET /invocation/next`."""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.events.put(None)
        self.server.shutdown()
        self.server.server_close()

    def handler(runtime: Runtime) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                runtime.asked.release()
                event = runtime.events.get()
                if event is None:
                    self.close_connection = True
                    return
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": REQUEST_ID,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + 900) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:measured",
                    "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
                }
                self.reply(200, json.dumps(event).encode(), headers)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0)) or b"null"
                if (self.headers.get("transfer-encoding") or "").lower() == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                runtime.answers.put((self.path.rsplit("/", 1)[1], json.loads(body)))
                self.reply(202, b"{}", {})

            def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                with suppress(OSError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

        return Handler


class Function:
    """A process that asks for invocations. `with Function(...) as f: f.start(); f.invoke(event)`."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.runtime = Runtime()
        self.log = folder / "function.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env=environment | {"AWS_LAMBDA_RUNTIME_API": self.runtime.address},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self.process.pid

    def __enter__(self) -> Function:
        return self

    def __exit__(self, *_: object) -> None:
        for child in [*children(self.pid), self.pid]:
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)
        self.process.wait()
        self.runtime.stop()

    def start(self, timeout: float = 60) -> Cost:
        """Until the process rests in its first `GET /invocation/next`."""
        begun = time.monotonic()
        self.await_next(timeout)
        wall = time.monotonic() - begun
        return Cost(self.rest(), wall, high_water(self.pid))

    def invoke(self, event: dict, timeout: float = 900) -> tuple[object, Cost]:
        """One invocation, from rest to rest; memory is that of the whole life of the process until then."""
        before, begun, tree = processor_time(self.pid), time.monotonic(), Tree(self.pid)
        self.runtime.events.put(event)
        try:
            kind, answer = self.runtime.answers.get(timeout=timeout)
        except queue.Empty:
            raise Failed(f"no answer in {timeout} s: {self.words()}") from None
        finally:
            peak = tree.stop()
        wall = time.monotonic() - begun
        if kind != "response":
            raise Failed(f"{kind}: {answer}: {self.words()}")
        self.await_next(60)
        return answer, Cost(self.rest() - before, wall, max(peak, high_water(self.pid)))

    def await_next(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not self.runtime.asked.acquire(timeout=0.2):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the process did not ask for an invocation: {self.words()}")

    def rest(self) -> float:
        """The processor time, once it no longer grows."""
        last = processor_time(self.pid)
        for _ in range(200):
            time.sleep(0.005)
            now = processor_time(self.pid)
            if now == last:
                break
            last = now
        return last

    def words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def run(
    command: list[str], environment: dict[str, str], may_end_with: tuple[int, ...] = (0,), timeout: float = 900
) -> tuple[str, Cost]:
    """Runs a program to its end, and gives what it printed; the cost is that of its whole tree."""
    begun = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    tree = Tree(process.pid)
    printed: list[bytes] = [b"", b""]

    def read(at: int, pipe) -> None:
        printed[at] = pipe.read()

    readers = [threading.Thread(target=read, args=(at, pipe)) for at, pipe in enumerate((process.stdout, process.stderr))]
    for reader in readers:
        reader.start()
    killer = threading.Timer(timeout, process.kill)
    killer.start()
    # Its own numbers and those of its children; no other process of ours is in them.
    _, status, usage = os.wait4(process.pid, 0)
    killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = tree.stop()
    for reader in readers:
        reader.join()
    if process.returncode not in may_end_with:
        raise Failed(f"{command[0]} ended with {process.returncode}: {printed[1].decode(errors='replace')[-2000:]}")
    return printed[0].decode(), Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - begun, peak)
