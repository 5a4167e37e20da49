"""One emulator and its stacks for the whole session. Whatever a caller got wrong at a fake fails the session at its end."""

from __future__ import annotations

import sys

import pytest

import forge
import parity
from fakes.codeartifact import CodeArtifact
from fakes.codeguru import CodeGuru
from fakes.github import GitHub
from fakes.packages import Packages
from stack import BUILT, Emulator, Stack, architecture
from story import OPERATOR, Services, World

REQUESTS = 620_001
SCANNED_REQUESTS = 620_002


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks back at the whole session comes last."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: looks back at everything that the session did")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """What a reader of a failed test needs first."""
    report = yield
    if report.when == "call" and report.failed:
        for fixture in ("world", "scanned"):
            if fixture in item.funcargs:
                report.sections.append((f"the stack {fixture}", item.funcargs[fixture].trouble()))
    return report


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory):
    made = Services(GitHub(REQUESTS), CodeArtifact(), CodeGuru(), Packages(tmp_path_factory.mktemp("host")))
    yield made
    for fake in made.all():
        fake.stop()
    faults = [fault for fake in made.all() for fault in fake.faults]
    assert not faults, "requests against the services' rules:\n" + "\n".join(faults)


@pytest.fixture(scope="session")
def emulator(services: Services, tmp_path_factory: pytest.TempPathFactory):
    assert BUILT.exists(), f"{BUILT} is not there: .ci/aws-emulator.sh builds it"
    # A function trusts the authorities of its machine; here, the package host's.
    trusted = {"SSL_CERT_FILE": str(services.packages.authority)}
    started = Emulator(tmp_path_factory.mktemp("emulator"), trusted)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def policy(services: Services) -> str:
    """The operator's policy: the smallest one, and the test's own host in the network setting."""
    rule = f'{{ host = "localhost", cidrs = ["127.0.0.0/8", "::1/128"], ports = [{services.packages.port}] }}'
    return f'schema_version = 1\nrefuse_at = "medium"\n[network]\nallow = [{rule}]\n'


def parameters(services: Services, github: GitHub, **changes: str) -> dict[str, str]:
    """What an operator would answer to `sam deploy --guided`, with the fakes' addresses where theirs would stand."""
    return {
        "Architecture": architecture(),
        "Routes": f"{github.number}:{github.branch}",
        "GithubApi": github.url,
        "IndexUrl": services.packages.index_url,
        "AllowedMailDomains": "corp.example",
        "DefaultMailAddress": OPERATOR,
        "AdvisoriesUrl": services.packages.address("advisories/all.zip"),
        "AdvisoriesSchedule": "'rate(1 minute)'",
        "ReconcileSchedule": "'rate(1 minute)'",
        # The emulator does not know these types: an existing repository is used.
        "CreateCodeArtifact": "false",
        "CodeArtifactDomain": services.artifacts.domain,
        "CodeArtifactRepository": services.artifacts.repository,
        "CodeArtifactEndpointUrl": services.artifacts.url,
        "CodeGuruSecurityEndpointUrl": services.guru.url,
        **changes,
    }


def stand_up(emulator: Emulator, services: Services, github: GitHub, name: str, policy: str, **changes: str) -> World:
    stack = Stack(emulator, name, parameters(services, github, **changes))
    missing = sorted(set(stack.template["Resources"]) - set(stack.resources))
    print(f"\n{name}: {len(stack.resources)} resources; not created: {', '.join(missing) or 'none'}", file=sys.stderr)
    secrets = emulator.client("secretsmanager")
    environment = stack.environment("RequestReaderFunction")
    secrets.put_secret_value(SecretId=environment["ACCESS_TOKEN_SECRET"], SecretString=github.token)
    secret = stack.environment("WebhookReceiverFunction")["WEBHOOK_SECRET"]
    github.secret = secrets.get_secret_value(SecretId=secret)["SecretString"].encode()
    return World(emulator, stack, services, github, policy)


@pytest.fixture(scope="session")
def world(emulator: Emulator, services: Services, policy: str) -> World:
    """The stack as it is by default: the built-in scanner alone."""
    services.packages.serve("advisories/all.zip", forge.advisories())
    made = stand_up(emulator, services, services.github, "gate", policy)
    services.artifacts.allowed = services.guru.allowed = made.stack.may
    return made


@pytest.fixture(scope="session")
def scanned(emulator: Emulator, world: World, services: Services, policy: str):
    """A second stack beside the first, with the external scanner switched on and a short time for a scan."""
    github = GitHub(SCANNED_REQUESTS)
    changes = {"ExternalScanners": "codeguru-security", "ScanSeconds": "60"}
    made = stand_up(emulator, services, github, "scanned", policy, **changes)
    services.artifacts.allowed = services.guru.allowed = lambda *question: any(
        stack.may(*question) for stack in (world.stack, made.stack)
    )
    yield made
    github.stop()
    assert not github.faults, github.faults


@pytest.fixture(scope="session")
def table(services: Services) -> parity.Table:
    return parity.read(services.packages)


@pytest.fixture(scope="session")
def scanned_table(services: Services) -> parity.Table:
    return parity.read(services.packages, scanner=True)
