"""What happens without a push: a delivery that never came, and rows whose verdict depends on something that changed."""

from __future__ import annotations

import hashlib

SCHEDULE_SECONDS = 150
"""The schedule of the test is a minute; the emulator looks every ten seconds, and a run takes its time."""


def test_the_schedule_finds_a_push_whose_delivery_was_lost(world):
    world.services.package("unheard")
    commit = world.push("unheard,pkg:pypi/unheard@1.0\n", deliver=False)
    run = world.ended(commit, SCHEDULE_SECONDS)
    assert run.verdict(2) == "approved no-finding"
    assert len(world.notices("unheard")) == 1


def test_a_refused_row_is_approved_under_a_waiver_without_a_push_and_without_fetching(world):
    content = world.services.package("forgiven", "1.0", "risky")
    commit = world.push("forgiven,pkg:pypi/forgiven@1.0\n")
    assert world.ended(commit).verdict(2) == "refused code"
    world.mails()
    asked = len(world.services.packages.asked())
    runs = set(world.runs())
    strict = world.policy_text
    waiver = """
[[waivers]]
rule = "downloaded-pickle"
package = "forgiven"
version = "1.0"
approver = "jane.doe@corp.example"
reason = "the model is our own, reviewed in SEC-124"
expires = "2099-01-31"
"""
    world.policy(strict + waiver)
    try:
        world.wait(lambda: len(world.notices("forgiven")) == 2, SCHEDULE_SECONDS, "the second notice")
        assert [n["ended"]["outcome"]["verdict"] for n in world.notices("forgiven")] == ["refused", "approved"]
        assert content in world.services.artifacts.assets("forgiven", "1.0").values()
        assert not [path for path in world.services.packages.asked()[asked:] if "forgiven" in path], "it was not fetched again"
        new = [run for run in world.runs() if run not in runs]
        assert len(new) == 1 and "-again-" in new[0], new
        mails = world.wait(world.mails, 60, "the mail")
        assert len(mails) == 1 and "approved" in mails[0]["Message"].lower()
    finally:
        world.policy(strict)


def test_a_set_that_expired_is_fetched_again_when_it_has_to_be_scanned(world):
    name = "expired"
    content = world.services.package(name, "1.0", "risky")
    commit = world.push(f"{name},pkg:pypi/{name}@1.0\n")
    assert world.ended(commit).verdict(2) == "refused code"
    digest = hashlib.sha256(content).hexdigest()
    # The lifecycle rule has removed the bytes, and the gate's rules are newer than the report.
    for key in [f"quarantine/{digest}", *world.keys(f"reports/{digest}/")]:
        world.s3.delete_object(Bucket=world.data, Key=key)
    asked = len(world.services.packages.asked())
    strict = world.policy_text
    world.policy(strict + "\n[thresholds]\ncode = \"high\"\n")
    try:
        world.wait(lambda: len(world.notices(name)) == 2, SCHEDULE_SECONDS, "the second notice")
        assert world.notices(name)[1]["ended"]["outcome"]["verdict"] == "approved"
        assert [path for path in world.services.packages.asked()[asked:] if path.endswith(f"{name}-1.0-py3-none-any.whl")]
    finally:
        world.policy(strict)


def test_a_policy_that_changes_nothing_tells_nobody(world):
    world.services.package("hopeless", "1.0", "malware")
    commit = world.push("hopeless,pkg:pypi/hopeless@1.0\n")
    assert world.ended(commit).verdict(2) == "refused malware"
    world.wait(world.mails, 30, "the mail")
    runs = set(world.runs())
    strict = world.policy_text
    world.policy(strict + "\n# reviewed\n[thresholds]\ncode = \"high\"\n")
    try:
        again = world.wait(lambda: [run for run in world.runs() if run not in runs], SCHEDULE_SECONDS, "a run")
        world.ended_run(again[0])
        assert len(world.notices("hopeless")) == 1
        assert world.mails() == []
    finally:
        world.policy(strict)


def test_a_policy_with_a_fault_stops_the_run_until_it_is_mended(world):
    world.services.package("halted")
    strict = world.policy_text
    world.policy("schema_version = 1\nrefuse_at = \"never\"\n")
    try:
        commit = world.push("halted,pkg:pypi/halted@1.0\n")
        name = world.run_name(commit)
        world.wait(lambda: world.executions("IntakeMachine").get(name, {}).get("status") == "FAILED", 90, "the failure")
        assert world.services.artifacts.status("halted", "1.0") is None
    finally:
        world.policy(strict)
    # A later attempt is another execution of the same run.
    run = world.ended_run(name, SCHEDULE_SECONDS)
    assert run.verdict(2) == "approved no-finding"
