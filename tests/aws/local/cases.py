"""One case for each file of events/: what has to be there before the function runs, and what it must leave behind.

The documents are those of crates/core/src/run; keys and names come from the event, so that an event can change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import forge
from fakes.github import Commit
from world import CONFIG, CONSOLE, DATA, World

REQUEST = "external-package-request.csv"
NAME, VERSION = "tidy", "1.0"
ROWS = f"name,source,sha256,requester\n{NAME},pkg:pypi/{NAME}@{VERSION},,ada@corp.example\n"
FILENAME, WHEEL = forge.build("clean", NAME, VERSION)
WHEEL_SHA256 = hashlib.sha256(WHEEL).hexdigest()
ROW_KEY = hashlib.sha256(f"{NAME}\npkg:pypi/{NAME}@1\n".encode()).hexdigest()
"""`RowKey::of` of the row above."""
WANTED = {"name": NAME, "source": f"pkg:pypi/{NAME}@{VERSION}", "sha256": None, "requester": "ada@corp.example"}
HEAD = f"heads/123456/{hashlib.sha256(b'refs/heads/main').hexdigest()[:8]}/000001.json"
"""What the newest push of the branch had."""
CODEGURU = (("ExternalScanners", "codeguru-security"),)
FILE = {"filename": FILENAME, "sha256": WHEEL_SHA256, "size": len(WHEEL), "evidence": {}}


class Mismatch(Exception):
    """The function did not do what it must."""


@dataclass
class Run:
    """A case under way: the event, and what the function answered and wrote."""

    world: World
    event: dict
    first: Callable[[str, dict], dict]
    """Runs another function first, for what only it can make."""
    answer: object = None
    written: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return json.dumps(self.event)

    @property
    def name(self) -> str:
        """The run's id, as the event has it."""
        return re.search(r"\d+-[0-9a-f]{8}-[0-9a-f]{20}-\d+", self.text)[0]

    @property
    def row(self) -> str:
        return re.search(r"runs/[^/\s]+/rows/\d{6}\.json", self.text)[0]

    @property
    def line(self) -> int:
        return int(self.row[-11:-5])

    def key(self, prefix: str) -> str:
        """The key below a prefix that the event names."""
        return re.search(rf"{prefix}[^\"\\]+", self.text)[0]

    def expect(self, what: str, got: object, wanted: object) -> None:
        if got != wanted:
            raise Mismatch(f"{what}:\n  got    {got!r}\n  wanted {wanted!r}")

    def answers(self, wanted: object) -> None:
        self.expect("the answer", self.answer, wanted)

    def wrote(self, *patterns: str) -> list[str]:
        """Holds the objects that were written against patterns of `s3://BUCKET/KEY`, or of keys in the data bucket, one each.
        Gives the keys in the order of the patterns."""
        whole = [pattern if "://" in pattern else rf"s3://{re.escape(DATA)}/{pattern}" for pattern in patterns]
        found = [[written for written in self.written if re.fullmatch(pattern, written)] for pattern in whole]
        if len(self.written) != len(whole) or any(len(one) != 1 for one in found):
            self.expect("the objects written", list(self.written), whole)
        return [one[0].split("/", 3)[3] for one in found]


@dataclass(frozen=True)
class Case:
    function: str
    before: Callable[[Run], None]
    after: Callable[[Run], None]
    parameters: tuple[tuple[str, str], ...] = ()
    """What the operator has set otherwise."""


# --- what is there before --------------------------------------------------------------------------------------------


def nothing(_: Run) -> None:
    pass


def delivered(run: Run, commit: str) -> None:
    run.world.put(
        run.key("inbox/"),
        {
            "schema_version": 1,
            "repository": run.world.github.number,
            "full_name": run.world.github.full_name,
            "reference": f"refs/heads/{run.world.github.branch}",
            "commit": commit,
            "received_at": "2026-11-20T10:00:00Z",
        },
    )


def committed(run: Run, sha: str) -> None:
    github = run.world.github
    authors = {REQUEST: [sha] * ROWS.count("\n")}
    github.commits[sha] = Commit(sha, None, "ada@corp.example", {REQUEST: ROWS.encode()}, authors)
    github.head = sha


def pushed_commit() -> str:
    """The commit of `events/webhook-receiver.json`, whose delivery the events of request-reader name."""
    from invoke import EVENTS

    return json.loads(json.loads((EVENTS / "webhook-receiver.json").read_text())["body"])["after"]


def listed(run: Run) -> None:
    run.world.index.release(NAME, FILENAME, WHEEL)


def run_document(run: Run, commit: str) -> None:
    github = run.world.github
    run.world.put(
        f"runs/{run.name}/run.json",
        {
            "schema_version": 1,
            "run": run.name,
            "kind": "push",
            "repository": github.number,
            "full_name": github.full_name,
            "reference": f"refs/heads/{github.branch}",
            "commit": commit,
            "blob": hashlib.sha1(f"blob {len(ROWS)}\0{ROWS}".encode()).hexdigest(),
            "read_at": "2026-11-20T10:00:02Z",
            "unchanged": False,
            "unreadable": None,
            "lines": [2],
            "same_as": [],
        },
    )


def row_document(run: Run, key: str | None = None) -> None:
    run.world.put(
        key or run.row,
        {
            "schema_version": 1,
            "run": run.name,
            "line": int((key or run.row)[-11:-5]),
            "key": ROW_KEY,
            "name": NAME,
            "source": WANTED["source"],
            "wanted": WANTED,
            "told": ["ada@corp.example"],
        },
    )


def fetched(run: Run, key: str) -> None:
    run.world.put(key, {"schema_version": 1, "files": [FILE], "notes": []})
    run.world.put(f"quarantine/{WHEEL_SHA256}", WHEEL)


def outcome_document(verdict: str, code: str, message: str) -> dict:
    return {
        "schema_version": 1,
        "outcome": {
            "line": 2,
            "name": NAME,
            "source": WANTED["source"],
            "verdict": verdict,
            "reasons": [{"code": code, "message": message}],
            "artifacts": [],
        },
        "decision": None,
        "inputs": None,
        "again_at": None,
    }


NOT_FOUND = outcome_document("failed", "not-found", "The index does not have version 1.0 of tidy.")


def notice(run: Run, outcome: dict) -> None:
    document = {"schema_version": 1, "run": run.name, "line": 2, "told": ["ada@corp.example"]}
    document |= {"ended": outcome, "at": "2026-11-20T10:00:05Z"}
    run.world.put(f"notices/{ROW_KEY[:32]}/000001.json", document)


# --- the cases -------------------------------------------------------------------------------------------------------


def after_webhook(run: Run) -> None:
    body = json.loads(run.event["body"])
    key = f"{run.world.github.number}|{body['ref']}|{body['after']}"
    run.expect("the status", run.answer["statusCode"], 202)
    run.expect("the body", json.loads(run.answer["body"]), {"message": "The push is stored and will be read."})
    (stored,) = run.wrote(f"inbox/{run.world.github.number}/{hashlib.sha256(key.encode()).hexdigest()}\\.json")
    delivery = run.world.document(stored)
    run.expect("the commit", delivery["commit"], body["after"])
    run.expect("the delivery's id", delivery["delivery_id"], run.event["headers"]["x-github-delivery"])


def before_start(run: Run) -> None:
    delivered(run, pushed_commit())


def after_start(run: Run) -> None:
    reference = hashlib.sha256(b"refs/heads/main").hexdigest()[:8]
    name = f"{run.world.github.number}-{reference}-{pushed_commit()[:20]}-1"
    run.answers({"run": name, "started": True})
    run.wrote()
    intake = {"run": name, "kind": "push", "delivery": run.key("inbox/")}
    run.expect("the executions", run.world.executions(), {name: intake})


def before_read(run: Run) -> None:
    delivered(run, pushed_commit())
    committed(run, pushed_commit())


def after_read(run: Run) -> None:
    manifest = f"runs/{run.name}/manifest.json"
    run.answers({"run": run.name, "rows": 1, "manifest": {"bucket": DATA, "key": manifest}})
    *_, head = run.wrote(manifest, f"runs/{run.name}/rows/000002.json", f"runs/{run.name}/run.json", HEAD)
    run.expect("the branch's head", run.world.document(head)["run"], run.name)
    (item,) = run.world.document(manifest)
    run.expect("the row's execution", item["execution"], f"{run.name}-000002")
    run.expect("the row's state", item["state"]["status"], "new")
    row = run.world.document(item["state"]["row"])
    run.expect("what the row asks for", row["wanted"]["source"], WANTED["source"])
    run.expect("who is told", row["told"], ["ada@corp.example"])


def before_report(run: Run) -> None:
    commit = pushed_commit()
    committed(run, commit)
    run_document(run, commit)
    row_document(run, f"runs/{run.name}/rows/000002.json")
    notice(run, outcome_document("refused", "finding", "A finding."))


def after_report(run: Run) -> None:
    run.answers({"run": run.name, "state": "failure"})
    run.wrote(f"runs/{run.name}/reported.json")
    ((commit, status),) = run.world.github.statuses
    run.expect("the commit", commit, pushed_commit())
    run.expect("its status", (status["state"], status["description"]), ("failure", "1 refused"))
    run.expect("its link", status["target_url"].startswith(CONSOLE + run.name), True)


def before_reconciler(run: Run) -> None:
    committed(run, pushed_commit())
    run.world.put(HEAD, {"schema_version": 1, "run": "123456-0-0-1", "blob": None})


def after_reconciler(run: Run) -> None:
    (stored,) = run.wrote(r"inbox/123456/[0-9a-f]{64}\.json")
    run.expect("the lost commit", run.world.document(stored)["commit"], pushed_commit())
    run.expect("what was found", run.answer["lost"], 1)


def before_fetcher(run: Run) -> None:
    row_document(run)
    listed(run)


def after_fetcher(run: Run) -> None:
    key = f"fetched/{ROW_KEY[:32]}/000001.json"
    run.expect("the answer", (run.answer["status"], run.answer["row"], run.answer["fetched"]), ("fetched", run.row, key))
    run.wrote(key, f"quarantine/{WHEEL_SHA256}")
    (file,) = run.world.document(key)["files"]
    run.expect("the file", {**file, "evidence": {}}, FILE)
    run.expect("the bytes", run.world.get(f"quarantine/{WHEEL_SHA256}") == WHEEL, True)


def before_advisories(run: Run) -> None:
    run.world.index.serve("advisories/all.zip", forge.advisories())


def after_advisories(run: Run) -> None:
    export = forge.advisories()
    digest = hashlib.sha256(export).hexdigest()
    run.answers({"sha256": digest, "changed": True})
    run.wrote(rf"s3://{CONFIG}/advisories/{digest}\.zip", rf"s3://{CONFIG}/advisories/current\.json")
    run.expect("the export", run.world.get(f"advisories/{digest}.zip", CONFIG) == export, True)


def before_scanner(run: Run) -> None:
    row_document(run)
    content = b"" if run.event["artifact"] == hashlib.sha256(b"").hexdigest() else WHEEL
    run.expect("the event's artifact", run.event["artifact"], hashlib.sha256(content).hexdigest())
    run.world.put(f"quarantine/{run.event['artifact']}", content)


def after_scanner(run: Run) -> None:
    run.answers({"artifact": run.event["artifact"]})
    run.wrote(rf"reports/{run.event['artifact']}/\S+\.json")


def scanned(run: Run) -> None:
    """The set is in quarantine, and the built-in scanner has looked at it: nothing but the scanner can make its report."""
    row_document(run)
    fetched(run, run.key("fetched/"))
    run.first("ScannerFunction", {"row": run.row, "artifact": WHEEL_SHA256})


def state(run: Run) -> dict:
    """The state of the row that the event has."""
    return run.event.get("state", run.event)


def before_scan_start(run: Run) -> None:
    row_document(run)
    fetched(run, run.key("fetched/"))


def after_scan_start(run: Run) -> None:
    run.answers({**state(run), "status": "scanned", "unscanned": [WHEEL_SHA256], "wait_seconds": 0})
    run.wrote()


def before_scan_poll(run: Run) -> None:
    """An external scan is under way: scan-poller itself has started it, under the key that the event names."""
    scanned(run)
    begun = {name: value for name, value in state(run).items() if name not in ("scans", "wait_seconds")}
    answer = run.first("ScanPollerFunction", {"task": "start", "state": {**begun, "status": "fetched"}})
    run.expect("the start of the scan", answer["status"], "scanning")
    run.world.put(state(run)["scans"], run.world.get(answer["scans"]))


def after_scan_poll(run: Run) -> None:
    run.expect("the status", run.answer["status"], "scanning")
    run.expect("the wait is longer", run.answer["wait_seconds"] > state(run)["wait_seconds"], True)
    run.wrote()


def after_decide(run: Run) -> None:
    run.answers({**state(run), "status": "approved", "unscanned": []})
    run.wrote()


def after_publisher(run: Run) -> None:
    decided, ended = run.wrote(r"decisions/[0-9a-f]+/000001\.json", rf"runs/{run.name}/outcomes/{run.line:06}-\S+\.json")
    run.answers({**state(run), "status": "ended", "unscanned": [], "outcome": ended})
    outcome = run.world.document(ended)
    run.expect("the verdict", outcome["outcome"]["verdict"], "approved")
    run.expect("the decision", outcome["decision"], decided)
    run.expect("what users can install", run.world.artifacts.assets(NAME, VERSION).get(FILENAME) == WHEEL, True)


def before_notify(run: Run) -> None:
    row_document(run)
    run.world.put(run.key("runs/[^\"\\\\]+/outcomes/"), NOT_FOUND)


def after_notify(run: Run) -> None:
    run.answers({**state(run), "status": "told"})
    told, _ = run.wrote(rf"notices/{ROW_KEY[:32]}/000001\.json", rf"looks/{ROW_KEY[:32]}/000001\.json")
    run.expect("the notice", run.world.document(told)["ended"], NOT_FOUND)
    run.expect("the mails, which come at the end of the run", run.world.mails(), [])


def before_failed(run: Run) -> None:
    row_document(run)


def after_failed(run: Run) -> None:
    run.answers({"row": run.row})
    told, *_ = run.wrote(
        rf"notices/{ROW_KEY[:32]}/000001\.json",
        rf"looks/{ROW_KEY[:32]}/000001\.json",
        rf"runs/{run.name}/outcomes/{run.line:06}-\S+\.json",
    )
    outcome = run.world.document(told)["ended"]["outcome"]
    run.expect("the verdict", (outcome["verdict"], outcome["reasons"][0]["code"]), ("failed", "scanner-unavailable"))


def before_summarise(run: Run) -> None:
    run_document(run, pushed_commit())
    row_document(run, f"runs/{run.name}/rows/000002.json")
    run.world.put(f"runs/{run.name}/outcomes/000002-0000000000000000.json", NOT_FOUND)
    notice(run, NOT_FOUND)


def after_summarise(run: Run) -> None:
    run.answers({"run": run.name, "mails": 1})
    prefix = f"runs/{run.name}"
    summary, page, _ = run.wrote(rf"{prefix}/summary\.json", rf"{prefix}/report\.html", rf"{prefix}/mails/\S+\.json")
    (row,) = run.world.document(summary)["rows"]
    run.expect("the row", (row["line"], row["verdict"]), (2, "failed"))
    run.expect("the page", NAME in run.world.get(page).decode(), True)
    (mail,) = run.world.mails()
    subject = mail["Subject"]
    fits = subject.isascii() and subject.isprintable() and len(subject) < 100
    run.expect(f"whether SNS takes the subject {subject!r}", fits, True)
    run.expect("the mail's link", f"{CONSOLE}{run.name}/report.html" in mail["Message"], True)


CASES: dict[str, Case] = {
    "webhook-receiver": Case("WebhookReceiverFunction", nothing, after_webhook),
    "request-reader-start": Case("RequestReaderFunction", before_start, after_start),
    "request-reader-read": Case("RequestReaderFunction", before_read, after_read),
    "request-reader-report": Case("RequestReaderFunction", before_report, after_report),
    "reconciler": Case("ReconcilerFunction", before_reconciler, after_reconciler),
    "fetcher": Case("FetcherFunction", before_fetcher, after_fetcher),
    "advisories": Case("AdvisoriesFunction", before_advisories, after_advisories),
    "scanner": Case("ScannerFunction", before_scanner, after_scanner),
    "scan-poller-start": Case("ScanPollerFunction", before_scan_start, after_scan_start),
    "scan-poller-poll": Case("ScanPollerFunction", before_scan_poll, after_scan_poll, CODEGURU),
    "scan-poller-decide": Case("ScanPollerFunction", scanned, after_decide),
    "publisher": Case("PublisherFunction", scanned, after_publisher),
    "notifier-notify": Case("NotifierFunction", before_notify, after_notify),
    "notifier-failed": Case("NotifierFunction", before_failed, after_failed),
    "notifier-summarise": Case("NotifierFunction", before_summarise, after_summarise),
}
