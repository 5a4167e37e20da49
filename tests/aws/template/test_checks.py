"""That the checks find what they are for: each is shown a machine or a statement with one fault."""

from __future__ import annotations

import copy

import checks
import pytest
from gate_template import error_names, machine, retried_errors


def shape(changed):
    return checks.shape_faults(changed, set(error_names().values()), retried_errors())


def row(change):
    changed = copy.deepcopy(machine("row"))
    change(changed["States"])
    return changed


def drop(state, field):
    return lambda states: states[state].pop(field)


def put(state, field, value):
    return lambda states: states[state].__setitem__(field, value)


SHAPES = {
    "a catch": put("Fetch", "Catch", [{"ErrorEquals": ["States.ALL"], "Next": "Notify"}]),
    "no timeout": drop("Publish", "TimeoutSeconds"),
    "no retry": drop("Decide", "Retry"),
    "no default": drop("IsApproved", "Default"),
    "publishing by default": put("IsScanned", "Default", "Publish"),
    "no bound": drop("ScanArtifacts", "MaxConcurrency"),
    "kept results": drop("ScanArtifacts", "ResultPath"),
    "no jitter": lambda states: states["Fetch"]["Retry"][0].pop("JitterStrategy"),
    "no cap": lambda states: states["Fetch"]["Retry"][0].pop("MaxDelaySeconds"),
    "an unknown error": lambda states: states["Fetch"]["Retry"][0]["ErrorEquals"].append("Gate.Transitory"),
    "an error that stays": lambda states: states["Fetch"]["Retry"][0]["ErrorEquals"].append("Gate.Denied"),
    "a retry of everything": lambda states: states["Fetch"]["Retry"][0]["ErrorEquals"].append("States.ALL"),
    "an error twice": lambda states: states["Fetch"]["Retry"][1]["ErrorEquals"].append("Gate.RateLimited"),
    "an error forgotten": lambda states: states["Fetch"]["Retry"].pop(0),
    "the whole answer": drop("Fetch", "OutputPath"),
    "a fault inside a map": lambda states: states["ScanArtifacts"]["ItemProcessor"]["States"]["Scan"].pop(
        "TimeoutSeconds"
    ),
    "results of any size": lambda states: states["ScanArtifacts"]["ItemProcessor"]["States"]["Scan"].pop("OutputPath"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    assert shape(row(SHAPES[name]))


def test_a_row_that_stops_the_others():
    changed = copy.deepcopy(machine("intake"))
    changed["States"]["Rows"]["ToleratedFailurePercentage"] = 99
    assert len(shape(changed)) == 1


STATUSES = {
    "a word nobody writes": lambda states: states["IsApproved"]["Choices"][0].update(StringEquals="aproved"),
    "publishing what is scanned": lambda states: states["IsScanned"]["Choices"][0].update(Next="Publish"),
    "publishing without a choice": put("Decide", "Next", "Publish"),
    "another variable": lambda states: states["IsApproved"]["Choices"][0].update(Variable="$.outcome"),
    "a negation": lambda states: states["IsApproved"]["Choices"][0].update(
        Not={"Variable": "$.status", "StringEquals": "ended"}
    ),
}


@pytest.mark.parametrize("name", STATUSES)
def test_statuses(name):
    assert checks.status_faults(row(STATUSES[name]))


def test_substitutions():
    assert checks.substitution_faults({"a": "${B}"}, {"C"}) == [
        "nothing is substituted for B",
        "C is substituted and not used",
    ]


@pytest.mark.parametrize(
    "statement",
    [
        {"Action": "s3:*", "Resource": "arn"},
        {"Action": ["s3:GetObject"], "Resource": "*"},
        {"Action": ["s3:GetObject"], "Resource": ["arn", "*"]},
        {"Action": "xray:PutTraceSegments", "NotResource": "arn", "Resource": "arn"},
    ],
)
def test_wildcards(statement):
    assert checks.wildcard_faults({"Effect": "Allow", **statement}, {"xray:PutTraceSegments"})


def test_listed_wildcards():
    assert (
        checks.wildcard_faults(
            {"Effect": "Allow", "Action": "xray:PutTraceSegments", "Resource": "*"}, {"xray:PutTraceSegments"}
        )
        == []
    )
