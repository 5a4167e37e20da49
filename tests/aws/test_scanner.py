"""The external scanner, switched on by its parameter: everything that it can answer, and what it must not lead to."""

from __future__ import annotations

import pytest

import forge
from fakes.codeguru import Scenario

CASES = {
    "clean": (Scenario(), "approved no-finding"),
    "criticalalone": (Scenario(["Critical"]), "refused code"),
    "highonpage2": (Scenario(["Low"] * 20 + ["High"]), "refused code"),
    "lowalone": (Scenario(["Low", "Info"]), "approved no-finding"),
    "unknownseverity": (Scenario([None]), "held unknown-severity"),
    "slowscan": (Scenario(polls=5), "approved no-finding"),
    "hiccups": (Scenario(faults=2), "approved no-finding"),
}


def test_every_answer_of_the_scanner(scanned):
    rows = ""
    for name, (scenario, _) in CASES.items():
        scanned.services.guru.script(scanned.services.package(name), scenario)
        rows += f"{name},pkg:pypi/{name}@1.0\n"
    run = scanned.ask(rows, timeout=240)
    expected = {line: verdict for line, (_, verdict) in enumerate(CASES.values(), 2)}
    assert run.verdicts() == expected
    for name, (_, verdict) in CASES.items():
        published = scanned.services.artifacts.status(name, "1.0")
        assert published == ("Published" if verdict.startswith("approved") else None), name
    names = [call["scanName"] for call in scanned.services.guru.called("CreateScan")]
    assert len(set(names)) >= len(CASES), "a name of its own for each run"


@pytest.mark.parametrize("name, scenario", [("endless", Scenario(polls=None)), ("failing", Scenario(state="Failed"))])
def test_a_scan_that_does_not_succeed_approves_nothing(scanned, name, scenario):
    scanned.services.guru.script(scanned.services.package(name), scenario)
    commit = scanned.push(f"{name},pkg:pypi/{name}@1.0\n")
    scanned.deliver_failure(f"{scanned.run_name(commit)}-000002", 240)
    scanned.wait(lambda: scanned.notices(name), 60, "the notice")
    outcome = scanned.notices(name)[0]["ended"]["outcome"]
    assert (outcome["verdict"], outcome["reasons"][0]["code"]) == ("failed", "scanner-unavailable")
    assert scanned.services.artifacts.status(name, "1.0") is None
    scanned.wait(lambda: [s for s in scanned.statuses(commit) if s["state"] != "pending"], 60, "the status")


def test_a_scanner_that_is_away_is_not_clean_and_is_asked_again(scanned):
    content = scanned.services.package("patient")
    scanned.services.guru.broken = True
    try:
        commit = scanned.push("patient,pkg:pypi/patient@1.0\n")
        scanned.deliver_failure(f"{scanned.run_name(commit)}-000002", 300)
        scanned.wait(lambda: scanned.notices("patient"), 60, "the notice")
        outcome = scanned.notices("patient")[0]["ended"]["outcome"]
        assert (outcome["verdict"], outcome["reasons"][0]["code"]) == ("failed", "scanner-unavailable")
        assert scanned.services.artifacts.assets("patient", "1.0") == {}
    finally:
        scanned.services.guru.broken = False
    assert forge.wheel("patient", "1.0") == content


def test_the_default_stack_never_asks_it(world):
    world.services.package("unscanned")
    before = len(world.services.guru.calls)
    assert world.ask("unscanned,pkg:pypi/unscanned@1.0\n").verdict(2) == "approved no-finding"
    assert len(world.services.guru.calls) == before
