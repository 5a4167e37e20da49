"""One table of rows, decided by the program on this machine and by the deployed stack: the same verdicts."""

from __future__ import annotations

import pytest

import parity
from fakes.codeguru import CodeGuru
from story import HEADER, REQUEST

SCHEDULE_SECONDS = 200


@pytest.fixture(scope="module")
def local(services, table, policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    request = (HEADER + table.rows).encode()
    before = parity.check(services.packages, request, policy, folder)
    after = parity.check(services.packages, request, policy + table.policy_later, folder)
    return before, after


@pytest.fixture(scope="module")
def local_scanned(services, scanned_table, policy, tmp_path_factory):
    guru = parity.answering(scanned_table, CodeGuru())
    try:
        request = (HEADER + scanned_table.rows).encode()
        yield parity.check(services.packages, request, policy, tmp_path_factory.mktemp("gate"), guru)
        assert not guru.faults, guru.faults
    finally:
        guru.stop()


@pytest.fixture(scope="module")
def deployed(world, table):
    # A scheduled function of the deployment fetches them.
    world.wait(lambda: world.configured("advisories/current.json"), 120, "the advisories")
    commit = world.github.push({REQUEST: HEADER + table.rows})
    assert world.deliver(commit)[0] == 202
    return world.ended(commit, 300)


@pytest.fixture(scope="module")
def deployed_scanned(scanned, scanned_table):
    parity.answering(scanned_table, scanned.services.guru)
    commit = scanned.push(scanned_table.rows)
    for line, verdict in scanned_table.expected().items():
        if verdict == "failed scanner-unavailable":
            scanned.deliver_failure(f"{scanned.run_name(commit)}-{line:06}", 300)
    return scanned.ended(commit, 120)


def test_the_table_is_what_the_program_decides(local, table):
    assert parity.short(local[0]) == table.expected()
    assert parity.short(local[1]) == table.expected(later=True)


def test_with_an_external_scanner_too(local_scanned, scanned_table):
    assert parity.short(local_scanned) == scanned_table.expected()


def assert_the_same(deployed, local, table):
    assert deployed.verdicts() == table.expected()
    for row in deployed.document["rows"]:
        here = local[row["line"]]
        # A row that shares the outcome of an earlier one is shown in that one's words.
        words = () if row["reasons"][0]["code"] == "same-as" else ("name", "source")
        for member in (*words, "verdict", "coordinates", "artifacts"):
            assert row.get(member) == here.get(member), (row["line"], member)


def test_the_stack_decides_the_same(local, deployed, table):
    assert_the_same(deployed, local[0], table)


def test_the_stack_with_the_external_scanner_decides_the_same(local_scanned, deployed_scanned, scanned_table):
    assert_the_same(deployed_scanned, local_scanned, scanned_table)


def test_every_scan_has_a_name_of_its_own(services, deployed_scanned):
    # Findings are kept by that name alone.
    names = [call["scanName"] for call in services.guru.called("CreateScan")]
    assert len(set(names)) >= len(deployed_scanned.document["rows"])


@pytest.mark.parametrize("run", ["deployed", "deployed_scanned"])
def test_what_is_approved_is_published_and_nothing_else(services, request, run):
    rows = request.getfixturevalue(run).document["rows"]
    published = services.artifacts.downloadable()
    for row in rows:
        files = {(artifact["filename"], artifact["sha256"]) for artifact in row["artifacts"]}
        if row["verdict"] == "approved":
            assert files and files <= published, row
        else:
            assert not files & published, row


def test_a_waiver_that_is_added_later_gives_the_same_verdicts(world, deployed, table):
    changed = {line: now for line, now in table.expected(later=True).items() if now != table.expected()[line]}
    assert changed
    strict = world.policy_text
    world.policy(strict + table.policy_later)
    try:
        for line, verdict in changed.items():
            name = deployed.row(line)["name"]
            world.wait(lambda: len(world.notices(name)) == 2, SCHEDULE_SECONDS, f"the second notice on {name}")
            ended = world.notices(name)[1]["ended"]["outcome"]
            assert f"{ended['verdict']} {ended['reasons'][0]['code']}" == verdict
    finally:
        world.policy(strict)
