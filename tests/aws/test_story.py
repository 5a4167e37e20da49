"""A push goes in at the API; a verdict, a publication, a status and a mail come out."""

from __future__ import annotations

import json
import re
import time
import unicodedata

import forge
from story import recipient


def test_an_approved_wheel_is_published_and_told(world):
    content = world.services.package("happy", "2.0")
    commit = world.push("happy,pkg:pypi/happy@2.0\n")
    run = world.ended(commit)
    assert run.verdict(2) == "approved no-finding"
    published = world.services.artifacts.assets("happy", "2.0")
    assert published[forge.wheel_name("happy", "2.0")] == content
    status = world.wait(lambda: [s for s in world.statuses(commit) if s["state"] == "success"], 30, "the commit's status")[-1]
    assert "1 approved" in status["description"], status
    # Mails of what ran before may still arrive.
    mails = world.wait(lambda: [mail for mail in world.mails() if "happy" in mail["Subject"]], 30, "a mail")
    assert len(mails) == 1
    assert "happy" in mails[0]["Message"] and "approved" in mails[0]["Message"].lower()
    subject = mails[0]["Subject"]
    assert len(subject) < 100 and subject.isascii() and subject.isprintable()
    assert [notice["ended"]["outcome"]["verdict"] for notice in world.notices("happy")] == ["approved"]


def test_a_refused_package_is_not_published_and_its_requester_hears_why(world):
    world.services.package("thief", "9.0", "malware")
    commit = world.push("thief,pkg:pypi/thief@9.0\n", author="bob@corp.example")
    run = world.ended(commit)
    assert run.verdict(2) == "refused malware"
    assert world.services.artifacts.status("thief", "9.0") is None
    status = world.wait(lambda: [s for s in world.statuses(commit) if s["state"] != "pending"], 30, "the commit's status")[-1]
    assert status["state"] in ("failure", "error") and "1 refused" in status["description"], status
    mails = world.wait(world.mails, 30, "a mail")
    assert len(mails) == 1 and "refused" in mails[0]["Message"].lower()


def deceptive(text: str) -> set[str]:
    """The control and format characters of a text, among them ESC and whatever changes the direction of reading."""
    return {character for character in text if unicodedata.category(character) in ("Cc", "Cf")}


def test_mail_goes_to_the_line_s_author_and_to_nobody_outside_the_domains(world):
    for name in ("for-ada", "for-bob", "for-eve"):
        world.services.package(name)
    world.ask("for-ada,pkg:pypi/for-ada@1.0\n", author="ada@corp.example")
    world.wait(world.mails, 30, "her mail")
    rows = [
        "for-ada,pkg:pypi/for-ada@1.0",
        "for-bob,pkg:pypi/for-bob@1.0,,copy@corp.example",
        "for-eve,pkg:pypi/for-eve@1.0,,eve@evil.example",
    ]
    world.ask("\n".join(rows) + "\n", author="bob@corp.example")
    told = {recipient(mail): mail["Message"] for mail in world.wait(world.mails, 30, "mails")}
    assert set(told) == {"bob@corp.example", "copy@corp.example"}, "her row did not change, and eve is outside"
    assert "for-bob" in told["bob@corp.example"] and "for-eve" in told["bob@corp.example"]
    assert "for-bob" in told["copy@corp.example"] and "for-eve" not in told["copy@corp.example"]
    assert not any("for-ada" in text for text in told.values())
    sns = world.emulator.client("sns")
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=world.topic)
    endpoints = {found["Endpoint"] for page in pages for found in page["Subscriptions"]}
    assert {"bob@corp.example", "copy@corp.example"} <= endpoints and "eve@evil.example" not in endpoints


def test_the_operator_s_own_subscription_lets_the_operator_s_mails_through(world):
    world.services.package("for-ops")
    world.ask("for-ops,pkg:pypi/for-ops@1.0\n", author=world.operator)
    mails = world.wait(world.mails, 30, "the mail")
    assert [mail["MessageAttributes"]["requester"]["Value"] for mail in mails] == [world.operator]
    sns = world.emulator.client("sns")
    found = sns.list_subscriptions_by_topic(TopicArn=world.topic)["Subscriptions"]
    [arn] = [subscription["SubscriptionArn"] for subscription in found if subscription["Endpoint"] == world.operator]
    policy = json.loads(sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["FilterPolicy"])
    assert set(policy["requester"]) == {"default", world.operator}


def test_a_mail_leads_to_the_page_of_its_run(world):
    world.services.package("linked")
    commit = world.push("linked,pkg:pypi/linked@1.0\n")
    run = world.ended(commit)
    [mail] = world.wait(world.mails, 30, "the mail")
    links = re.findall(r"https?://\S+", mail["Message"])
    page = f"runs/{run.name}/report.html"
    assert any("/s3/" in link and world.data in link and link.endswith(page) for link in links), links
    assert b"linked" in world.object(page)
    status = world.wait(lambda: world.statuses(commit), 30, "the status")[-1]
    assert run.name in status["target_url"]


def test_a_token_that_was_rotated_is_asked_for_again(world):
    world.services.package("rotated")
    # A flood of refusals must not become a flood of questions: for ten seconds a value counts as fresh.
    time.sleep(11)
    world.github.token = "ghs_after_the_rotation"
    secret = world.stack.environment("RequestReaderFunction")["ACCESS_TOKEN_SECRET"]
    world.emulator.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=world.github.token)
    refused = world.github.refused_tokens
    run = world.ask("rotated,pkg:pypi/rotated@1.0\n")
    assert run.verdict(2) == "approved no-finding"
    assert world.github.refused_tokens <= refused + 2, "one refusal each for the functions that had it cached"


def test_an_upgrade_and_a_row_that_is_taken_away(world):
    first, second = world.services.package("grower", "1.0"), world.services.package("grower", "2.0")
    assert world.ask("grower,pkg:pypi/grower@1.0\n").verdict(2) == "approved no-finding"
    assert world.ask("grower,pkg:pypi/grower@2.0\n").verdict(2) == "approved no-finding"
    assert first in world.services.artifacts.assets("grower", "1.0").values(), "what was approved stays"
    assert second in world.services.artifacts.assets("grower", "2.0").values()


def test_rows_that_did_not_change_are_not_done_again(world):
    world.services.package("steady")
    world.services.package("newcomer")
    world.ask("steady,pkg:pypi/steady@1.0\n")
    asked = len(world.services.packages.asked())
    run = world.ask("newcomer,pkg:pypi/newcomer@1.0\nsteady,pkg:pypi/steady@1.0\n")
    assert set(run.verdicts()) == {2}
    assert not [path for path in world.services.packages.asked()[asked:] if "steady" in path]
    assert len(world.notices("steady")) == 1


def test_a_file_that_cannot_be_read_says_so(world):
    commit = world.github.push({"external-package-request.csv": "name,source,colour\na,b,c\n"})
    assert world.deliver(commit)[0] == 202
    status = world.wait(lambda: [s for s in world.statuses(commit) if s["state"] != "pending"], 60, "the commit's status")[-1]
    assert status["state"] in ("failure", "error"), status


def test_nothing_untrusted_reaches_a_mail_unescaped(world):
    world.mails()
    world.ask('"tri\u202ecky\x1b[2J",pkg:pypi/x@1.0\n')
    about = lambda: [mail for mail in world.mails() if "cky" in mail["Message"]]
    for mail in world.wait(about, 30, "a mail"):
        assert "tri\\u{202e}cky\\u{001b}" in mail["Message"], "its name is spelled out"
        assert not deceptive(mail["Subject"])
        assert deceptive(mail["Message"]) <= {"\n"}, "its own line breaks"
