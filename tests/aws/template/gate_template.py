"""The template, the state machines and what the Rust sources say, as plain values."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]

Json = Any


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, read as their long forms."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> Json:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _intrinsic)


@cache
def template() -> Json:
    return yaml.load((ROOT / "template.yaml").read_text(), _Loader)


MACHINES = {"RowMachine": "row", "IntakeMachine": "intake"}

# A number has no quotes around it: CloudFormation substitutes it before it reads the file as JSON.
NUMBER = re.compile(r"(?<=: )\$\{(\w+)\}")


def definition(name: str) -> str:
    """The text of a state machine, as it is deployed from."""
    return (ROOT / "statemachine" / f"{name}.asl.json").read_text()


@cache
def machine(name: str) -> Json:
    """A state machine with the numbers that the template's defaults give it."""
    parameters = template()["Parameters"]
    return json.loads(NUMBER.sub(lambda number: str(parameters[number[1]]["Default"]), definition(name)))


def resources(kind: str) -> dict[str, Json]:
    return {name: resource for name, resource in template()["Resources"].items() if resource["Type"] == kind}


def functions() -> dict[str, Json]:
    return resources("AWS::Serverless::Function")


def environment(function: Json) -> dict[str, Json]:
    common = template()["Globals"]["Function"]["Environment"]["Variables"]
    return common | function["Properties"].get("Environment", {}).get("Variables", {})


def binary(function: Json) -> str:
    return function["Metadata"]["BuildProperties"]["Binary"]


def kebab(logical_id: str) -> str:
    """`ScanPollerFunction` to `scan-poller`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", logical_id.removesuffix("Function")).lower()


def walk(value: Json) -> Iterator[Json]:
    """The value, and everything in it."""
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def mentions(value: Json) -> set[str]:
    """The logical ids and parameters that a value refers to."""
    found = set()
    for inner in walk(value):
        if isinstance(inner, dict):
            if "Ref" in inner:
                found.add(inner["Ref"])
            if "Fn::GetAtt" in inner:
                found.add(inner["Fn::GetAtt"][0])
            if "Fn::Sub" in inner:
                text = inner["Fn::Sub"] if isinstance(inner["Fn::Sub"], str) else inner["Fn::Sub"][0]
                found.update(name.split(".")[0] for name in re.findall(r"\$\{([A-Za-z0-9:.]+)\}", text))
    return found


def as_list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def statements(document: Json) -> list[Json]:
    """The statements of a policy; of a conditional one, what it would be."""
    found = []
    for statement in as_list(document["Statement"]):
        if "Fn::If" in statement:
            found += [branch for branch in statement["Fn::If"][1:] if "Effect" in branch]
        else:
            found.append(statement)
    return found


def role_statements(role: str) -> list[Json]:
    """What a role may do: its own policy and the policies of this template that it names."""
    properties = template()["Resources"][role]["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    for managed in properties.get("ManagedPolicyArns", []):
        documents.append(template()["Resources"][managed["Ref"]]["Properties"]["PolicyDocument"])
    return [statement for document in documents for statement in statements(document)]


# --- What the Rust sources say --------------------------------------------------------------------------------------------


def source(path: str) -> str:
    return (ROOT / path).read_text()


@cache
def error_names() -> dict[str, str]:
    """`Transient` to `Gate.Transient`."""
    return dict(re.findall(r'Self::(\w+) => "(Gate\.\w+)"', source("crates/core/src/step.rs")))


@cache
def retried_errors() -> set[str]:
    body = re.search(r"fn is_retried.*?matches!\(self, (.*?)\)\s*\}", source("crates/core/src/step.rs"), re.DOTALL)
    assert body, "ErrorName::is_retried has another form; read it anew here"
    return {error_names()[name] for name in re.findall(r"Self::(\w+)", body[1])}


@cache
def status_words() -> set[str]:
    return set(re.findall(r'Self::\w+ => "(\w+)"', source("crates/core/src/run/state.rs")))


@cache
def binaries() -> dict[str, str]:
    """The programs that are Lambda functions, and the folder of each."""
    found = {}
    for manifest in ROOT.glob("crates/*/Cargo.toml"):
        for program in tomllib.loads(manifest.read_text()).get("bin", []):
            if "lambda" in program.get("required-features", []):
                found[program["name"]] = manifest.parent.name
    return found


VARIABLE = re.compile(r'\.(?:text|optional|list|number(?:::<\w+>)?)\(\s*"([A-Z][A-Z0-9_]+)"')


def variables(crate: str) -> set[str]:
    """The environment variables that a function's program reads."""
    program = "\n".join(
        path.read_text()
        for path in sorted((ROOT / "crates" / crate / "src").rglob("*.rs"))
        if path.name == "main.rs" or "Settings" in path.read_text()
    )
    names = set(VARIABLE.findall(program))
    if "external_scanners(" in program:
        names.add("EXTERNAL_SCANNERS")
    return names


@cache
def metrics() -> set[str]:
    """The metrics that any function writes."""
    found = set()
    for path in ROOT.glob("crates/*/src/**/*.rs"):
        found.update(re.findall(r'\bmetric\(\s*"(\w+)"', path.read_text()))
    return found
