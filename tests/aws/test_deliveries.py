"""What arrives at the webhook: unsigned, unwatched, twice, a hundred times, in the wrong order, and all at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from story import REQUEST, recipient


def test_only_what_github_signed_is_taken(world):
    commit = world.github.imagine()
    body, headers = world.github.delivery(commit)
    wrong = {**headers, "x-hub-signature-256": "sha256=" + "0" * 64}
    unsigned = {name: value for name, value in headers.items() if name != "x-hub-signature-256"}
    by_token = world.github.headers(body, secret=world.github.token.encode())
    for given in (wrong, unsigned, by_token, {**headers, "x-hub-signature-256": "sha1=0"}):
        status, text = world.stack.post("/webhook", body, given)
        assert 400 <= status < 500, (status, text)
    assert 400 <= world.stack.post("/webhook", body + b" ", headers)[0] < 500
    assert not world.stored(commit)


@pytest.mark.parametrize(
    "changes",
    [
        {"ref": "refs/heads/other"},
        {"ref": "refs/tags/main"},
        {"deleted": True, "after": "0" * 40},
        {"repository": {"id": 7, "full_name": "corp/other"}},
    ],
)
def test_signed_pushes_to_elsewhere_are_passed_over(world, changes):
    commit = world.github.imagine()
    body, headers = world.github.delivery(commit, **changes)
    status, text = world.stack.post("/webhook", body, headers)
    assert 200 <= status < 300, (status, text)
    assert not world.stored(commit)


def test_a_ping_is_answered(world):
    body = b'{"zen":"Keep it logically awesome.","hook_id":1}'
    status, _ = world.stack.post("/webhook", body, world.github.headers(body, event="ping"))
    assert 200 <= status < 300


def test_after_a_rotation_the_secret_before_it_fits_as_well(world):
    secrets = world.emulator.client("secretsmanager")
    name = world.stack.environment("WebhookReceiverFunction")["WEBHOOK_SECRET"]
    old, new = world.github.secret, b"a secret that is long enough to be one"
    secrets.put_secret_value(SecretId=name, SecretString=new.decode())
    assert world.deliver(world.github.push({"notes.txt": "rotation"}))[0] == 202, "signed with the one before"
    world.github.secret = new
    commit = world.github.push({"notes.txt": "rotated"})
    # Signatures that do not fit make the function ask again once a minute, and the tests before have sent some.
    world.wait(lambda: world.deliver(commit)[0] == 202, 90, "an answer to the new secret's signature")
    world.github.secret = old
    late = world.deliver(world.github.push({"notes.txt": "signed before the rotation"}))
    world.github.secret = new
    assert late[0] == 202, late


def test_a_hundred_deliveries_of_one_push_are_one(world):
    world.services.package("hundredfold")
    world.mails()
    published = world.services.artifacts.published
    commit = world.push("hundredfold,pkg:pypi/hundredfold@1.0\n", deliver=False)

    def post(_: int) -> int:
        body, headers = world.github.delivery(commit)
        return world.stack.post("/webhook", body, headers)[0]

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(post, range(100))) == {202}
    assert world.ended(commit).verdict(2) == "approved no-finding"
    name = world.run_name(commit)
    world.wait(lambda: world.statuses(commit), 30, "the status")
    assert [run for run in world.runs() if commit.sha[:20] in run] == [name]
    assert [key for key in world.executions("IntakeMachine") if commit.sha[:20] in key] == [name]
    assert [key for key in world.executions("RowMachine") if commit.sha[:20] in key] == [f"{name}-000002"]
    assert world.services.artifacts.published == published + 1
    assert len(world.notices("hundredfold")) == 1
    assert len(world.wait(world.mails, 30, "the mail")) == 1


def test_pushes_that_arrive_in_the_wrong_order(world):
    world.services.package("earlier")
    world.services.package("later")
    first = world.push("earlier,pkg:pypi/earlier@1.0\n", deliver=False)
    second = world.push("earlier,pkg:pypi/earlier@1.0\nlater,pkg:pypi/later@1.0\n", deliver=False)
    assert world.deliver(second)[0] == 202
    world.ended(second)
    assert world.deliver(first)[0] == 202
    world.wait(lambda: world.executions("IntakeMachine").get(world.run_name(first), {}).get("status") == "SUCCEEDED", 60, "the first")
    for name in ("earlier", "later"):
        assert world.services.artifacts.status(name, "1.0") == "Published"
        assert [notice["ended"]["outcome"]["verdict"] for notice in world.notices(name)] == ["approved"], name


def test_a_second_push_while_the_first_runs(world):
    world.services.package("slow")
    world.services.package("quick")
    world.services.packages.delays["/simple/slow/"] = 6
    published = world.services.artifacts.published
    first = world.push("slow,pkg:pypi/slow@1.0\n")
    world.wait(lambda: f"{world.run_name(first)}-000002" in world.executions("RowMachine"), 60, "the first row")
    second = world.push("slow,pkg:pypi/slow@1.0\nquick,pkg:pypi/quick@1.0\n")
    world.ended(first)
    world.ended(second)
    assert world.services.artifacts.published == published + 2
    for name in ("slow", "quick"):
        assert [notice["ended"]["outcome"]["verdict"] for notice in world.notices(name)] == ["approved"], name


def test_who_asks_for_a_package_that_has_its_answer_hears_of_it(world):
    world.services.package("sought", "1.0", "malware")
    row = "sought,pkg:pypi/sought@1.0\n"
    assert world.ask(row, author="ada@corp.example").verdict(2) == "refused malware"
    world.wait(world.mails, 30, "her mail")
    world.services.package("between")
    world.ask("between,pkg:pypi/between@1.0\n", author="ada@corp.example")
    world.wait(world.mails, 30, "her other mail")
    # Deleted by now, and added by somebody else; the same file once more tells nobody.
    commit = world.push(row, author="bob@corp.example")
    assert world.ended(commit).verdict(2) == "refused malware"
    [mail] = world.wait(world.mails, 30, "his mail")
    assert recipient(mail) == "bob@corp.example" and "sought" in mail["Message"]
    assert world.wait(lambda: world.statuses(commit), 30, "the status")[-1]["state"] == "failure"
    assert world.run_name(commit) + "-000002" not in world.executions("RowMachine"), "nothing was to be done"
    same = world.push(row, author="cat@corp.example")
    assert world.ended(same).document["rows"] == []
    assert world.wait(lambda: world.statuses(same), 30, "the status")[-1]["description"] == "No new rows"
    assert world.mails() == []


def test_who_pushes_what_cannot_be_read_is_told(world):
    world.mails()
    commit = world.github.push({REQUEST: "name,source,colour\n"}, author="bob@corp.example")
    assert world.deliver(commit)[0] == 202
    assert world.ended(commit).document["rows"] == []
    [mail] = world.wait(world.mails, 30, "the mail")
    assert recipient(mail) == "bob@corp.example" and "colour" in mail["Message"]
    assert world.wait(lambda: world.statuses(commit), 30, "the status")[-1]["state"] == "failure"
