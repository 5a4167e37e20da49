"""Least privilege, as IAM enforced it during the session. These tests look back, so they come last."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import defaultdict
from fnmatch import fnmatchcase
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError

import forge
from stack import REGION, ROOT

pytestmark = pytest.mark.last

KEY = "denied/attempt.json"

FUNCTIONS = {
    "WebhookReceiverFunction",
    "RequestReaderFunction",
    "ReconcilerFunction",
    "FetcherFunction",
    "AdvisoriesFunction",
    "ScannerFunction",
    "ScanPollerFunction",
    "PublisherFunction",
    "NotifierFunction",
}

# Whose work it is. Nobody else may do it.
OWNERS = {
    "store a delivery": {"WebhookReceiverFunction", "ReconcilerFunction"},
    "read the webhook's secret": {"WebhookReceiverFunction"},
    "read the access token": {"RequestReaderFunction", "ReconcilerFunction"},
    "start a run": {"RequestReaderFunction", "ReconcilerFunction"},
    "start a row": set(),
    "store an artifact": {"FetcherFunction"},
    "store a scan's report": {"ScannerFunction", "ScanPollerFunction"},
    "store a decision": {"ScanPollerFunction", "PublisherFunction"},
    # The reader ends rows that cannot be worked on.
    "store a notice": {"NotifierFunction", "RequestReaderFunction"},
    "store a manifest": {"RequestReaderFunction"},
    "store the document of a row": {"RequestReaderFunction"},
    "store a summary": {"NotifierFunction"},
    "store what a mail told": {"NotifierFunction"},
    "store advisories": {"AdvisoriesFunction"},
    "delete advisories": {"AdvisoriesFunction"},
    "point to no advisories": set(),
    "change the policy": set(),
    "publish a mail": {"NotifierFunction"},
    "subscribe somebody": {"NotifierFunction"},
    "delete a record": set(),
    "change a secret": set(),
}


def attempts(world, function):
    """The calls, with the credentials of a function."""

    def client(service):
        return world.emulator.client(service, world.stack.session(function))

    def put(bucket, prefix, name=KEY):
        return lambda: client("s3").put_object(Bucket=bucket, Key=prefix + name, Body=b"{}")

    def delete(bucket, key):
        return lambda: client("s3").delete_object(Bucket=bucket, Key=key)

    token = world.stack.environment("RequestReaderFunction")["ACCESS_TOKEN_SECRET"]
    secret = world.stack.environment("WebhookReceiverFunction")["WEBHOOK_SECRET"]

    def start(machine):
        return lambda: client("stepfunctions").start_execution(stateMachineArn=world.machine(machine), name="denied", input="{}")

    return {
        "store a delivery": put(world.data, "inbox/"),
        "read the webhook's secret": lambda: client("secretsmanager").get_secret_value(SecretId=secret),
        "read the access token": lambda: client("secretsmanager").get_secret_value(SecretId=token),
        "start a run": start("IntakeMachine"),
        "start a row": start("RowMachine"),
        "store an artifact": put(world.data, "quarantine/"),
        "store a scan's report": put(world.data, "reports/"),
        "store a decision": put(world.data, "decisions/"),
        "store a notice": put(world.data, "notices/"),
        "store a manifest": put(world.data, "runs/denied/", "manifest.json"),
        "store the document of a row": put(world.data, "runs/denied/rows/"),
        "store a summary": put(world.data, "runs/denied/", "summary.json"),
        "store what a mail told": put(world.data, "runs/denied/mails/"),
        "store advisories": put(world.config, "advisories/", "denied.zip"),
        "delete advisories": delete(world.config, "advisories/denied.zip"),
        "point to no advisories": delete(world.config, "advisories/current.json"),
        "change the policy": lambda: client("s3").put_object(Bucket=world.config, Key="policy.toml", Body=b""),
        "publish a mail": lambda: client("sns").publish(TopicArn=world.topic, Message="denied", Subject="denied"),
        "subscribe somebody": lambda: client("sns").subscribe(TopicArn=world.topic, Protocol="email", Endpoint="eve@evil.example"),
        "delete a record": delete(world.data, "notices/" + KEY),
        "change a secret": lambda: client("secretsmanager").put_secret_value(SecretId=token, SecretString="denied"),
    }


def renamed(export: bytes, name: str) -> bytes:
    """An export of one advisory, under another name: other bytes that say the same."""
    with zipfile.ZipFile(io.BytesIO(export)) as archive:
        (member,) = archive.namelist()
        record = json.loads(archive.read(member))
    return forge.zipped({f"{name}.json": json.dumps(record | {"id": name}).encode()})


def test_the_newest_two_exports_of_advisories_stay(world):
    """By the deployed function and its role, with the event of its schedule."""
    client = world.emulator.client("lambda")
    event = (ROOT / "events" / "advisories.json").read_bytes()
    served = forge.advisories()
    digests = []
    try:
        for number in range(3):
            export = renamed(served, f"GHSA-test-{number:04}-bbbb")
            world.services.packages.serve("advisories/all.zip", export)
            answer = client.invoke(FunctionName=world.stack.id("AdvisoriesFunction"), Payload=event)
            assert "FunctionError" not in answer, answer["Payload"].read()
            digests.append(hashlib.sha256(export).hexdigest())
    finally:
        world.services.packages.serve("advisories/all.zip", served)
    listed = world.s3.list_objects_v2(Bucket=world.config, Prefix="advisories/")["Contents"]
    kept = {found["Key"] for found in listed}
    assert {f"advisories/{digest}.zip" for digest in digests[1:]} <= kept, kept
    assert f"advisories/{digests[0]}.zip" not in kept, kept
    pointer = json.loads(world.configured("advisories/current.json"))
    assert (pointer["sha256"], pointer["previous"]) == (digests[2], digests[1])


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_each_function_is_denied_the_others_work(world, function):
    wrong = []
    for work, attempt in attempts(world, function).items():
        if function in OWNERS[work]:
            continue
        try:
            attempt()
            wrong.append(f"{work}: allowed")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in ("AccessDenied", "AccessDeniedException", "AuthorizationError"):
                wrong.append(f"{work}: {code}")
    assert not wrong, f"{function}: {wrong}"


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_the_publisher_alone_writes_to_the_repository(world, function):
    key = world.stack.session(function)["aws_access_key_id"]
    artifacts = world.services.artifacts
    within = f"arn:aws:codeartifact:{REGION}:{artifacts.owner}:package/{artifacts.domain}/{artifacts.repository}"
    for action in ("PublishPackageVersion", "PutPackageOriginConfiguration"):
        mine = world.stack.may(key, f"codeartifact:{action}", f"{within}/generic/gate/example")
        assert mine == (function == "PublisherFunction")
        assert not world.stack.may(key, f"codeartifact:{action}", f"{within}/pypi/example")
        assert not world.stack.may(key, f"codeartifact:{action}", f"{within}/generic/others/example")
    for action in ("DeletePackageVersions", "DisposePackageVersions", "CopyPackageVersions", "UpdatePackageVersionsStatus"):
        assert not world.stack.may(key, f"codeartifact:{action}", f"{within}/generic/gate/example")


# What a role is granted and the session cannot use, and why: of every function, or of one.
UNUSED = {
    "kms:*": "the emulator encrypts without asking for the key",
    "xray:*": "the emulator keeps no traces",
    "logs:*": "the service writes the logs, not the function",
    "ec2:*": "network interfaces are made only inside a VPC",
    "s3:ListBucket": "some functions never list; without it a key that is missing is answered as forbidden",
    "sqs:SendMessage": "the service writes the dead letters of a function, not the function",
    "FetcherFunction s3:GetObject data/incoming/*": "S3 reads the source of a copy, and no call of its own does",
    "FetcherFunction s3:GetObject data/notices/*": "a row that fails for want of an answer is fetched again after minutes",
    "RequestReaderFunction s3:GetObject data/decisions/*": "only of rows that cannot both hold, after one was decided",
    "ReconcilerFunction s3:GetObject data/decisions/*": "the same",
    "ReconcilerFunction s3:GetObject data/heads/*": "the push that is lost here is the branch's first: there is no head to read",
}

# What a bucket's policy of keys is about: the grant names an action and keys, and both must have been used.
OF_OBJECTS = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}


def buckets(world) -> dict[str, str]:
    return {world.data: "data", world.config: "config"}


def granted(world, function) -> set[str]:
    """What the role's own policies grant, as they are deployed: the action, and of objects also their keys, as
    `s3:PutObject data/inbox/*`."""
    iam = world.emulator.client("iam")
    role = world.stack.functions[function]["Role"].rsplit("/", 1)[-1]
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        found = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]
        version = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=found["DefaultVersionId"])
        documents.append(version["PolicyVersion"]["Document"])
    grants = set()
    for document in documents:
        for statement in listed(document["Statement"]):
            if statement["Effect"] == "Allow":
                for action in map(unquote, listed(statement["Action"])):
                    if action in OF_OBJECTS:
                        grants |= {f"{action} {of_object(world, arn)}" for arn in listed(statement["Resource"])}
                    else:
                        grants.add(action)
    return grants


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def of_object(world, arn: str) -> str:
    """`arn:aws:s3:::BUCKET/inbox/*` to `data/inbox/*`."""
    bucket, _, keys = arn.removeprefix("arn:aws:s3:::").partition("/")
    return f"{buckets(world)[bucket]}/{keys}"


def used_by(world) -> dict[str, set[str]]:
    """What each function has called, in the same words. To ask for a key that is not there uses the right to ask."""
    used = defaultdict(set)
    for call in world.emulator.recorder.calls:
        function = world.stack.callers.get(call.access_key or "")
        if function is None or call.action is None or call.status in (401, 403) or call.status >= 500:
            continue
        bucket, _, key = unquote(call.path).removeprefix("/").partition("/")
        if call.action in OF_OBJECTS and bucket in buckets(world):
            used[function].add(f"{call.action} {buckets(world)[bucket]}/{key}")
        elif call.status < 400:
            used[function].add(call.action)
    for fake in (world.services.artifacts, world.services.guru):
        for operation, _, key in fake.calls:
            if key in world.stack.callers:
                used[world.stack.callers[key]].add(f"{fake.model.signing_name}:{operation}")
    return used


def is_used(grant: str, used: set[str]) -> bool:
    return any(fnmatchcase(call, grant) for call in used)


def is_known(function: str, grant: str) -> bool:
    return any(fnmatchcase(grant, known) or f"{function} {grant}" == known for known in UNUSED)


def test_what_a_role_may_was_used(world, scanned):
    """Over both stacks: what only the external scanner needs is granted and used in the second."""
    used = [used_by(world), used_by(scanned)]
    idle = {}
    for function in sorted(FUNCTIONS):
        grants = granted(world, function) | granted(scanned, function)
        wildcards = {grant for grant in grants if "*" in grant.split(" ")[0]}
        assert not wildcards, f"{function} is granted {wildcards}"
        calls = set().union(*(calls[function] for calls in used))
        unused = {grant for grant in grants if not is_used(grant, calls) and not is_known(function, grant)}
        if unused:
            idle[function] = sorted(unused)
    assert not idle, f"granted and never used: {idle}"
