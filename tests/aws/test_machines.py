"""The state machines themselves: steps that are killed, lose their answers, run twice or fail, and the size of what they carry."""

from __future__ import annotations

import hashlib
import json

import pytest

import forge

LIMIT = 262_144
"""Bytes of an input or output (Step Functions quotas); the emulator does not enforce it."""
ROW_LIMIT = 16 << 10
"""Bytes of a row's state, whatever the row has."""

SIZES = ("input", "output", "parameters")


def entered(history: list[dict], state: str) -> dict:
    """The input of a state's last entry."""
    events = [event["stateEnteredEventDetails"] for event in history if "stateEnteredEventDetails" in event]
    return json.loads([event for event in events if event["name"] == state][-1]["input"])


def row_execution(world, commit, line=2):
    return world.executions("RowMachine")[f"{world.run_name(commit)}-{line:06}"]


def redrive(world, execution: dict) -> None:
    """Ends a row whose Publish step failed. The emulator has no Redrive. What it would do is done here: the failed state's own
    input, through the same function, and then the rest of the machine."""
    history = world.history(execution["executionArn"])
    names = [event["stateEnteredEventDetails"]["name"] for event in history if "stateEnteredEventDetails" in event]
    assert names[-1] == "Publish", "nothing exits after the failed state, so Redrive runs it again"
    ended = invoke(world, "PublisherFunction", entered(history, "Publish"))
    assert ended["status"] == "ended"
    states = world.emulator.client("stepfunctions")
    name = f"{execution['name']}-redrive"
    states.start_execution(stateMachineArn=world.machine("RowMachine"), name=name, input=json.dumps(ended))
    world.wait(lambda: world.executions("RowMachine")[name]["status"] == "SUCCEEDED", 60, "the redriven row")


def invoke(world, function: str, payload: object) -> dict:
    client = world.emulator.client("lambda")
    answer = client.invoke(FunctionName=world.stack.id(function), Payload=json.dumps(payload).encode())
    body = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


def test_a_failed_step_is_told_and_can_be_run_again(world):
    content = world.services.package("redriven")
    world.services.artifacts.down = True
    try:
        commit = world.push("redriven,pkg:pypi/redriven@1.0\n")
        world.wait(lambda: world.notices("redriven"), 180, "the notice of the failure")
    finally:
        world.services.artifacts.down = False
        world.services.artifacts.troubles.clear()
    execution = row_execution(world, commit)
    assert execution["status"] == "FAILED"
    outcome = world.notices("redriven")[0]["ended"]["outcome"]
    assert (outcome["verdict"], outcome["reasons"][0]["code"]) == ("failed", "storage")
    run = world.ended(commit)
    assert run.verdict(2) == "failed storage", "the run ended all the same"
    world.mails()

    published = world.services.artifacts.published
    redrive(world, execution)
    assert content in world.services.artifacts.assets("redriven", "1.0").values()
    assert world.services.artifacts.published == published + 1
    assert [n["ended"]["outcome"]["verdict"] for n in world.notices("redriven")] == ["failed", "approved"]


def test_a_row_that_fails_by_a_fault_of_the_system_stops_no_other(world):
    names = ["amongfive", "besidefive", "brokenfive", "calmfive", "lastfive"]
    broken, line = "brokenfive", 4
    contents = {name: world.services.package(name) for name in names}
    artifacts, states = world.services.artifacts, world.emulator.client("stepfunctions")
    world.mails()
    artifacts.broken.add(broken)
    try:
        commit = world.push("".join(f"{name},pkg:pypi/{name}@1.0\n" for name in names))
        world.deliver_failure(f"{world.run_name(commit)}-{line:06}", 180)
        run = world.ended(commit)
    finally:
        artifacts.broken.discard(broken)
    expected = {at: "approved no-finding" for at in range(2, 7)} | {line: "failed storage"}
    assert run.verdicts() == expected
    for at, name in enumerate(names, 2):
        assert row_execution(world, commit, at)["status"] == ("FAILED" if name == broken else "SUCCEEDED"), name
        assert (contents[name] in artifacts.assets(name, "1.0").values()) == (name != broken), name
        assert len(world.notices(name)) == 1, name

    intake = world.executions("IntakeMachine")[run.name]["executionArn"]
    world.wait(lambda: states.describe_execution(executionArn=intake)["status"] != "RUNNING", 60, "the end of the run")
    assert states.describe_execution(executionArn=intake)["status"] == "SUCCEEDED"
    [found] = states.list_map_runs(executionArn=intake)["mapRuns"]
    rows = states.describe_map_run(mapRunArn=found["mapRunArn"])
    counts = rows["itemCounts"]
    assert (rows["status"], counts["succeeded"], counts["failed"], counts["total"]) == ("SUCCEEDED", 4, 1, 5)
    status = world.wait(lambda: [s for s in world.statuses(commit) if s["state"] != "pending"], 30, "the commit's status")[-1]
    assert "4 approved" in status["description"] and "1 failed" in status["description"], status

    [mail] = world.wait(world.mails, 30, "the digest")
    assert all(name in mail["Message"] for name in names)
    assert world.mails() == [], "one digest"

    # That row alone is run again, and its requester hears of it alone.
    published = artifacts.published
    redrive(world, row_execution(world, commit, line))
    assert contents[broken] in artifacts.assets(broken, "1.0").values()
    assert artifacts.published == published + 1
    assert [n["ended"]["outcome"]["verdict"] for n in world.notices(broken)] == ["failed", "approved"]
    [mail] = world.wait(world.mails, 30, "the mail about the row")
    assert broken in mail["Message"] and not any(name in mail["Message"] for name in names if name != broken)


def test_every_step_may_run_twice(world):
    world.services.package("repeated")
    commit = world.push("repeated,pkg:pypi/repeated@1.0\n")
    world.ended(commit)
    world.wait(lambda: world.statuses(commit), 30, "the status")
    world.wait(world.mails, 30, "the mail")
    history = world.history(row_execution(world, commit)["executionArn"])
    published, before = world.services.artifacts.published, set(world.keys())
    fetched = entered(history, "StartScans")
    assert invoke(world, "FetcherFunction", entered(history, "Fetch")) == fetched
    invoke(world, "ScanPollerFunction", {"task": "start", "state": fetched})
    [artifact] = entered(history, "ScanArtifacts")["unscanned"]
    invoke(world, "ScannerFunction", {"row": fetched["row"], "artifact": artifact})
    decided = invoke(world, "ScanPollerFunction", {"task": "decide", "state": entered(history, "Decide")})
    assert decided["status"] == "approved"
    ended = invoke(world, "PublisherFunction", entered(history, "Publish"))
    invoke(world, "NotifierFunction", {"task": "notify", "state": ended})
    run = world.run_name(commit)
    invoke(world, "NotifierFunction", {"task": "summarise", "run": run})
    invoke(world, "RequestReaderFunction", {"task": "report", "run": run})
    assert world.services.artifacts.published == published
    assert len(world.notices("repeated")) == 1
    assert world.mails() == []
    assert set(world.keys()) == before, "nothing was written anew"


@pytest.mark.parametrize(
    "name, function, slow",
    [("killfetch", "FetcherFunction", "page"), ("killpublish", "PublisherFunction", "publication")],
)
def test_a_function_that_is_killed_is_run_again(world, name, function, slow):
    world.services.package(name)
    if slow == "page":
        world.services.packages.delays[f"/simple/{name}/"] = 3
    else:
        world.services.artifacts.delay = 3
    published = world.services.artifacts.published
    try:
        commit = world.push(f"{name},pkg:pypi/{name}@1.0\n")

        def busy() -> bool:
            if slow == "page":
                return bool(world.services.packages.asked(f"/simple/{name}/"))
            return any(call["package"] == name for call in world.services.artifacts.called("PublishPackageVersion"))

        world.wait(busy, 60, "the step")
        assert world.emulator.kill(world.stack.id(function)) > 0
    finally:
        world.services.artifacts.delay = 0.0
    assert world.ended(commit).verdict(2) == "approved no-finding"
    world.services.packages.delays.clear()
    assert world.services.artifacts.status(name, "1.0") == "Published"
    assert world.services.artifacts.published == published + 1
    assert len(world.notices(name)) == 1


def test_answers_that_are_lost_on_the_way_change_nothing(world):
    content = world.services.package("unlucky")
    world.mails()
    lost = world.emulator.recorder.lost
    lost.update({"s3:PutObject": 6, "s3:GetObject": 2, "sns:Publish": 1, "states:StartExecution": 1, "s3:ListBucket": 2})
    commit = world.push("unlucky,pkg:pypi/unlucky@1.0\n")
    assert world.ended(commit).verdict(2) == "approved no-finding"
    assert content in world.services.artifacts.assets("unlucky", "1.0").values()
    assert len(world.notices("unlucky")) == 1
    assert lost["s3:PutObject"] == 0 and lost["states:StartExecution"] == 0
    lost.clear()
    world.wait(world.mails, 30, "the mail")


def test_throttled_and_expired_calls_to_the_repository_are_made_again(world):
    content = world.services.package("throttled")
    artifacts = world.services.artifacts
    # The SDK tries a throttled call again. It takes an expired token for a repository that is not there, and gives up: the step
    # fails, and the machine runs it again. So the first and the second invocation of the publisher end at their first call.
    artifacts.throttle(2)
    artifacts.expire(2)
    commit = world.push("throttled,pkg:pypi/throttled@1.0\n")
    assert world.ended(commit).verdict(2) == "approved no-finding"
    assert artifacts.troubles == []
    asked = [call["package"] for call in artifacts.called("DescribePackageVersion")]
    assert asked.count("throttled") >= 5, "throttled twice, refused twice, and answered"
    assert row_execution(world, commit)["status"] == "SUCCEEDED"
    assert content in artifacts.assets("throttled", "1.0").values()
    assert len(world.notices("throttled")) == 1


def test_other_bytes_under_the_same_coordinates_are_never_overwritten(world):
    artifacts, name = world.services.artifacts, forge.wheel_name("contested", "1.0")
    first = world.services.package("contested")
    assert world.ask("contested,pkg:pypi/contested@1.0\n").verdict(2) == "approved no-finding"
    before, published = artifacts.assets("contested", "1.0"), artifacts.published
    assert before[name] == first
    # A wheel has the coordinates that it says itself, wherever it comes from.
    second = forge.wheel("contested", "1.0", {"contested/more.py": forge.DOCSTRING})
    assert second != first
    world.services.packages.serve(f"archives/{name}", second)
    url, digest = world.services.packages.address(f"archives/{name}"), hashlib.sha256(second).hexdigest()
    run = world.ask(f"contested,{url},{digest}\n")
    assert run.verdict(2) == "invalid coordinates-taken"
    assert run.row(2)["coordinates"] == "pkg:pypi/contested@1.0"
    assert run.row(2)["artifacts"][0]["sha256"] == digest, "it was the other wheel that was decided on"
    assert (artifacts.assets("contested", "1.0"), artifacts.published) == (before, published)


@pytest.mark.parametrize("status", ["Archived", "Unlisted"])
def test_a_version_that_a_person_has_withdrawn_stays_withdrawn(world, status):
    name, artifacts = f"taken{status.lower()}", world.services.artifacts
    content = world.services.package(name)
    assert world.ask(f"{name},pkg:pypi/{name}@1.0\n").verdict(2) == "approved no-finding"
    artifacts.withdraw(name, "1.0", status)
    published, calls = artifacts.published, len(artifacts.calls)
    # Another request for the same version: the row that was approved is not looked at again.
    commit = world.push(f"{name},pkg:pypi/{name}@1.0,{hashlib.sha256(content).hexdigest()}\n")
    run = world.ended(commit)
    assert run.verdict(2) == "held withdrawn-by-hand"
    assert "ask InfoSec" in run.row(2)["reasons"][0]["message"]
    assert row_execution(world, commit)["status"] == "SUCCEEDED", "an answer, and no fault of the system"
    assert (artifacts.status(name, "1.0"), artifacts.published) == (status, published)
    made = {operation for operation, asked, _ in artifacts.calls[calls:] if asked["package"] == name}
    assert made == {"DescribePackageVersion"}, "it is looked at, and nothing else"


def test_a_release_of_which_one_file_was_published_first_is_held_and_says_which_files_lack(world):
    """CodeArtifact adds no asset to a published version; `gate check` adds the file to its directory."""
    artifacts, name = world.services.artifacts, "piecemeal"
    universal, special = f"{name}-1.0-py3-none-any.whl", f"{name}-1.0-cp312-none-any.whl"
    content = forge.wheel(name, "1.0")
    world.services.packages.release(name, universal, content)
    world.services.packages.release(name, special, forge.wheel(name, "1.0", {f"{name}/quick.py": forge.DOCSTRING}))
    pinned = f"{name},pkg:pypi/{name}@1.0,{hashlib.sha256(content).hexdigest()}\n"
    assert world.ask(pinned).verdict(2) == "approved no-finding"
    before, published = artifacts.assets(name, "1.0"), artifacts.published
    commit = world.push(f"{name},pkg:pypi/{name}@1.0\n")
    run = world.ended(commit)
    assert [artifact["filename"] for artifact in run.row(2)["artifacts"]] == [special, universal]
    assert run.verdict(2) == "held published-in-part"
    assert f"without {special}," in run.row(2)["reasons"][0]["message"]
    assert row_execution(world, commit)["status"] == "SUCCEEDED"
    assert (artifacts.assets(name, "1.0"), artifacts.published) == (before, published)


def test_a_stored_artifact_that_was_damaged_is_set_aside_and_never_used(world):
    url = world.services.archive("rotten")
    content = world.services.packages.files["/archives/rotten-1.0.zip"]
    digest = hashlib.sha256(content).hexdigest()
    world.s3.put_object(Bucket=world.data, Key=f"quarantine/{digest}", Body=content[:-1] + b"x")
    run = world.ask(f"rotten,{url},{digest}\n")
    # The next run fetches it again.
    assert run.verdict(2) == "failed storage"
    assert world.object(f"quarantine/{digest}") is None
    assert "rotten-1.0.zip" not in {name for name, _ in world.services.artifacts.downloadable()}


def test_an_artifact_that_was_damaged_after_its_scan_is_fetched_again_for_publishing(world):
    content = world.services.package("swapped", "1.0", "risky")
    commit = world.push("swapped,pkg:pypi/swapped@1.0\n")
    assert world.ended(commit).verdict(2) == "refused code"
    digest = hashlib.sha256(content).hexdigest()
    world.s3.put_object(Bucket=world.data, Key=f"quarantine/{digest}", Body=content[:-1] + b"x")
    strict = world.policy_text
    world.policy(strict + "\n[thresholds]\ncode = \"high\"\n")
    try:
        world.wait(lambda: len(world.notices("swapped")) == 2, 150, "the second notice")
    finally:
        world.policy(strict)
    assert world.notices("swapped")[1]["ended"]["outcome"]["verdict"] == "approved"
    assert world.object(f"quarantine/{digest}") == content
    assert world.services.artifacts.assets("swapped", "1.0")[forge.wheel_name("swapped", "1.0")] == content


def test_a_large_file_is_stored_in_parts_or_not_at_all(world):
    content = forge.plain("large-1.0", {"example.py": forge.DOCSTRING, "noise.txt": forge.noise(24 << 20)})
    world.services.packages.serve("archives/large-1.0.zip", content)
    url, digest = world.services.packages.address("archives/large-1.0.zip"), hashlib.sha256(content).hexdigest()
    run = world.ask(f"large,{url},{digest}\nother-large,{url},{'0' * 64}\n")
    assert run.row(2)["artifacts"][0]["sha256"] == digest
    assert run.verdict(3) == "failed digest-mismatch"
    assert hashlib.sha256(world.object(f"quarantine/{digest}")).hexdigest() == digest
    assert world.keys("incoming/") == [] and world.keys(f"quarantine/{'0' * 64}") == []
    assert not world.s3.list_multipart_uploads(Bucket=world.data).get("Uploads")


@pytest.mark.last
@pytest.mark.parametrize("machine", ["IntakeMachine", "RowMachine"])
def test_what_the_machines_carry_stays_small(world, machine):
    largest = 0
    executions = world.executions(machine)
    assert executions
    for execution in executions.values():
        for event in world.history(execution["executionArn"]):
            for details in event.values():
                if isinstance(details, dict):
                    largest = max([largest, *(len((details.get(size) or "").encode()) for size in SIZES)])
    assert 0 < largest < (ROW_LIMIT if machine == "RowMachine" else LIMIT // 8), largest
    print(f"{machine}: {len(executions)} executions, at most {largest} bytes in a state")
