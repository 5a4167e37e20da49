"""The external scanner, switched on by its parameter: what its answers lead to is in parity.toml; here is the rest."""

from __future__ import annotations

import forge


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
        scanned.wait(lambda: [s for s in scanned.statuses(commit) if s["state"] != "pending"], 60, "the status")
    finally:
        scanned.services.guru.broken = False
    assert forge.wheel("patient", "1.0") == content


def test_the_default_stack_never_asks_it(world):
    world.services.package("unscanned")
    before = len(world.services.guru.calls)
    assert world.ask("unscanned,pkg:pypi/unscanned@1.0\n").verdict(2) == "approved no-finding"
    assert len(world.services.guru.calls) == before
