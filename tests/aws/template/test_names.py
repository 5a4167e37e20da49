"""Functions, programs, environment variables, events, metrics and alarms have the same names on both sides."""

from __future__ import annotations

import json
import re
import tomllib

import delivery
import pytest
from gate_template import (
    ROOT,
    binaries,
    binary,
    environment,
    functions,
    kebab,
    machine,
    mentions,
    metrics,
    resources,
    source,
    template,
    variables,
)

FUNCTIONS = sorted(functions())

# Read by the SDK, by the code that all functions share, or set by Lambda.
SHARED = {
    "LOG_LEVEL",
    "STACK_NAME",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_CODEARTIFACT",
    "AWS_ENDPOINT_URL_CODEGURU_SECURITY",
    "DATA_BUCKET",
    "CONFIG_BUCKET",
}
BY_LAMBDA = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE"}


def test_every_program_is_a_function_and_every_function_a_program():
    assert {binary(function) for function in functions().values()} == set(binaries())


def test_cargo_builds_every_program():
    build = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["metadata"]["lambda"]["build"]
    assert build["packages"] == sorted(binaries())
    assert build["features"] == [f"{name}/lambda" for name in sorted(binaries())]


@pytest.mark.parametrize("program", sorted(binaries()))
def test_a_program_reads_what_the_template_sets(program):
    read = variables(binaries()[program]) - BY_LAMBDA
    assert read, "no variable was found in the program's main.rs"
    given = set().union(*(environment(function) for function in functions().values() if binary(function) == program))
    assert read - given == set(), "read and not set"
    assert given - read - SHARED == set(), "set and not read"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_an_event(name):
    """`events/NAME.json`, or `events/NAME-TASK.json` for each of its tasks."""
    events = [
        path
        for path in (ROOT / "events").glob("*.json")
        if path.stem == kebab(name) or path.stem.startswith(f"{kebab(name)}-")
    ]
    assert events
    assert all(json.loads(path.read_text()) for path in events)


def test_an_event_has_a_function():
    names = {kebab(name) for name in FUNCTIONS}
    strays = [
        path.name
        for path in (ROOT / "events").iterdir()
        if not any(path.stem == name or path.stem.startswith(f"{name}-") for name in names)
    ]
    assert strays == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_role_and_a_log_group_of_its_own(name):
    properties = functions()[name]["Properties"]
    stem = name.removesuffix("Function")
    assert properties["Role"] == {"Fn::GetAtt": [f"{stem}Role", "Arn"]}
    assert properties["LoggingConfig"] == {"LogGroup": {"Ref": f"{stem}Logs"}}
    users = [other for other in FUNCTIONS if f"{stem}Role" in mentions(functions()[other])]
    assert users == [name]


def test_alarms():
    assert delivery.alarm_faults(template()) == []
    for name, alarm in resources("AWS::CloudWatch::Alarm").items():
        assert alarm["Properties"]["AlarmDescription"].endswith("."), name


def test_the_readme_says_what_to_do_about_each_alarm():
    section = source("README.md").partition("## When an alarm rings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .{20,} \| .{20,} \|$", section, re.MULTILINE)
    ordered = sorted(delivery.ALARMS, key=list(template()["Resources"]).index)
    assert rows == ordered, "one row an alarm, in the template's order"


def test_the_readme_names_what_one_needs_to_deploy():
    """The versions that CI builds with, and every parameter that has no default."""
    section = source("README.md").partition("## Deploy\n")[2].partition("\n## ")[0]
    tools = source(".ci/aws-tools.sh")
    for tool in ("aws-sam-cli", "cargo-lambda", "ziglang"):
        version = re.search(rf"\b{tool}==([0-9.]+)", tools)[1]
        assert f"{version} or later" in section, tool
    named = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert named <= set(template()["Parameters"])
    assert {name for name, parameter in template()["Parameters"].items() if "Default" not in parameter} <= named


def test_the_gates_own_metrics_are_of_their_stack():
    """Both sides: what every function writes, and what the alarms look at."""
    program = source("crates/aws/src/function/metric.rs")
    assert f'const STACK: &str = "{delivery.STACK[0]["Name"]}";' in program
    assert f'NAMESPACE: &str = "{delivery.NAMESPACE}"' in program
    assert 'settings.text("STACK_NAME")' in source("crates/aws/src/function/settings.rs")
    for name in FUNCTIONS:
        assert environment(functions()[name])["STACK_NAME"] == delivery.STACK[0]["Value"], name


def test_the_gates_own_metrics_are_written():
    named = {
        alarm["Properties"]["MetricName"]
        for alarm in resources("AWS::CloudWatch::Alarm").values()
        if alarm["Properties"]["Namespace"] == "PackageGate"
    }
    assert named == {"UnauthorizedDeliveries", "ReconcilerGap", "UndeliveredNotices"}
    assert named <= metrics()


def test_limits_are_one_set_of_figures():
    """A file of the largest size fits into the scanner's /tmp, beside nothing else."""
    sizes = [int(size) for size in template()["Parameters"]["MaxArtifactMiB"]["AllowedValues"]]
    table = template()["Mappings"]["MiB"]
    assert {int(size): int(row["Bytes"]) for size, row in table.items()} == {size: size << 20 for size in sizes}
    assert functions()["ScannerFunction"]["Properties"]["EphemeralStorage"]["Size"] >= max(sizes) + 512
    for name in ("FetcherFunction", "ScannerFunction"):
        assert environment(functions()[name])["MAX_ARTIFACT_BYTES"] == {
            "Fn::FindInMap": ["MiB", {"Ref": "MaxArtifactMiB"}, "Bytes"]
        }


def test_a_new_accounts_quotas_are_enough():
    """3,008 MB of memory and 10 concurrent executions are what a new account has (Lambda quotas). A row runs one function at a
    time, or its scans; the webhook must be answered meanwhile, and the reconciler's tick comes. What events invoke waits in
    Lambda's own queue, and the machines try again."""
    rows = machine("intake")["States"]["Rows"]["MaxConcurrency"]
    scans = machine("row")["States"]["ScanArtifacts"]["MaxConcurrency"]
    webhook, reconciler = 1, 1
    assert rows * max(scans, 1) + webhook + reconciler <= 10
    parallel = [state for state in machine("row")["States"].values() if state["Type"] in ("Map", "Parallel")]
    assert len(parallel) == 1, "nothing else of a row runs at the same time"
    for name in FUNCTIONS:
        assert functions()[name]["Properties"]["MemorySize"] <= 3008
        assert functions()[name]["Properties"]["Timeout"] <= 900
    assert functions()["WebhookReceiverFunction"]["Properties"]["Timeout"] <= 10, "GitHub waits ten seconds"
    assert template()["Parameters"]["ReservedConcurrency"]["Default"] == 0


def test_parameters_are_explained_and_checked():
    for name, parameter in template()["Parameters"].items():
        assert len(parameter["Description"]) >= 20, name
        assert parameter["Description"].endswith((".", "_-", "main.")) or ":" in parameter["Description"], name
        if parameter["Type"] == "Number":
            assert "AllowedValues" in parameter or {"MinValue", "MaxValue"} <= set(parameter), name
        else:
            assert "AllowedValues" in parameter or {"AllowedPattern", "ConstraintDescription"} <= set(parameter), name
            pattern = parameter.get("AllowedPattern", "^$")
            assert pattern.startswith("^") and pattern.endswith("$"), name
    grouped = [
        name
        for group in template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for name in group["Parameters"]
    ]
    assert sorted(grouped) == sorted(template()["Parameters"]), "each parameter stands in one group"
    required = {name for name, parameter in template()["Parameters"].items() if "Default" not in parameter}
    assert required == {"Routes", "IndexUrl", "DefaultMailAddress"}


def test_outputs_are_explained():
    assert {
        "WebhookUrl",
        "WebhookSecretArn",
        "AccessTokenSecretArn",
        "IntakeConsole",
        "RowConsole",
        "PipIndexUrl",
        "PublisherRoleArn",
        "ReaderPolicyArn",
        "DataBucketName",
        "ConfigBucketName",
    } <= set(template()["Outputs"])
    assert all(output["Description"] for output in template()["Outputs"].values())
