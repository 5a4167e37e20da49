"""Least privilege, as IAM enforced it during the session. Both tests look back, so they come last."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError

from stack import REGION

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
    "store advisories": {"AdvisoriesFunction"},
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

    def put(bucket, prefix):
        return lambda: client("s3").put_object(Bucket=bucket, Key=prefix + KEY, Body=b"{}")

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
        "store advisories": put(world.config, "advisories/"),
        "change the policy": lambda: client("s3").put_object(Bucket=world.config, Key="policy.toml", Body=b""),
        "publish a mail": lambda: client("sns").publish(TopicArn=world.topic, Message="denied", Subject="denied"),
        "subscribe somebody": lambda: client("sns").subscribe(TopicArn=world.topic, Protocol="email", Endpoint="eve@evil.example"),
        "delete a record": lambda: client("s3").delete_object(Bucket=world.data, Key="notices/" + KEY),
        "change a secret": lambda: client("secretsmanager").put_secret_value(SecretId=token, SecretString="denied"),
    }


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


# What a role is granted and the session cannot use, and why.
UNUSED = {
    "kms:*": "the emulator encrypts without asking for the key",
    "xray:*": "the emulator keeps no traces",
    "logs:*": "the service writes the logs, not the function",
    "ec2:*": "network interfaces are made only inside a VPC",
    "s3:ListBucket": "some functions never list; without it a key that is missing is answered as forbidden",
    "sqs:SendMessage": "the service writes the dead letters of a function, not the function",
}


def granted(world, function) -> set[str]:
    """The actions of the role's own policies, as they are deployed."""
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
    actions = set()
    for document in documents:
        statements = document["Statement"]
        for statement in statements if isinstance(statements, list) else [statements]:
            if statement["Effect"] == "Allow":
                named = statement["Action"]
                actions |= set(named if isinstance(named, list) else [named])
    return {unquote(action) for action in actions}


def test_every_action_that_a_role_has_was_used(world, scanned):
    """Over both stacks: what only the external scanner needs is granted and used in the second."""
    used = defaultdict(set)
    for stack in (world.stack, scanned.stack):
        for call in world.emulator.recorder.calls:
            if call.status < 400 and call.access_key in stack.callers:
                used[stack.callers[call.access_key]].add(call.action)
        for fake in (world.services.artifacts, world.services.guru):
            for operation, _, key in fake.calls:
                if key in stack.callers:
                    used[stack.callers[key]].add(f"{fake.model.signing_name}:{operation}")
    idle = {}
    for function in sorted(FUNCTIONS):
        actions = granted(world, function) | granted(scanned, function)
        wildcards = [action for action in actions if "*" in action and not any(fnmatch.fnmatch(action, known) for known in UNUSED)]
        assert not wildcards, f"{function} is granted {wildcards}"
        unused = {action for action in actions - used[function] if not any(fnmatch.fnmatch(action, known) for known in UNUSED)}
        if unused:
            idle[function] = sorted(unused)
    assert not idle, f"granted and never used: {idle}"
