"""The shape of the state machines, and that they, the template and the Rust sources name the same things."""

from __future__ import annotations

import re

import checks
import pytest
from gate_template import (
    MACHINES,
    NUMBER,
    definition,
    error_names,
    functions,
    machine,
    resources,
    retried_errors,
    source,
    status_words,
    template,
)

NAMES = sorted(MACHINES.values())


def test_the_sources_were_read():
    assert len(error_names()) >= 9 and retried_errors() < set(error_names().values())
    assert {"new", "approved", "told"} < status_words()


@pytest.mark.parametrize("name", NAMES)
def test_shape(name):
    assert checks.shape_faults(machine(name), set(error_names().values()), retried_errors()) == []


def test_statuses():
    assert checks.status_faults(machine("row")) == []


def test_what_publish_sends_back_is_not_told_as_an_outcome():
    """`publish_row` gives back what has to be fetched again as `new`, and what has to be scanned as `fetched`."""
    row = machine("row")["States"]
    back = {choice["StringEquals"]: choice["Next"] for choice in row["IsPublished"]["Choices"]}
    assert row["Publish"]["Next"] == "IsPublished" and row["IsPublished"]["Default"] == "Notify"
    assert back == {"new": "Fetch", "fetched": "StartScans"}


@pytest.mark.parametrize("name", NAMES)
def test_every_task_of_a_function_retries_alike(name):
    retries = {
        str(state["Retry"])
        for _, state in checks.states(machine(name))
        if state.get("Resource", "").endswith(":lambda:invoke")
    }
    assert len(retries) == 1


def test_a_rate_limit_is_met_with_minutes():
    for name in NAMES:
        for state, definition in checks.states(machine(name)):
            for retry in definition.get("Retry", []):
                if "Gate.RateLimited" in retry["ErrorEquals"]:
                    assert retry["IntervalSeconds"] >= 60 and retry["MaxDelaySeconds"] >= 600, state


@pytest.mark.parametrize("logical_id", sorted(MACHINES))
def test_substitutions(logical_id):
    properties = resources("AWS::Serverless::StateMachine")[logical_id]["Properties"]
    name = MACHINES[logical_id]
    assert properties["DefinitionUri"] == f"statemachine/{name}.asl.json"
    assert checks.substitution_faults(definition(name), set(properties["DefinitionSubstitutions"])) == []


def test_what_runs_at_a_time_is_a_number_of_the_template():
    """A placeholder in quotes would stay a text, which Step Functions does not take for a number."""
    for logical_id, state, parameter in (
        ("IntakeMachine", "Rows", "RowsAtOnce"),
        ("RowMachine", "ScanArtifacts", "ScansAtOnce"),
    ):
        properties = resources("AWS::Serverless::StateMachine")[logical_id]["Properties"]
        name = MACHINES[logical_id]
        assert properties["DefinitionSubstitutions"][parameter] == {"Ref": parameter}
        assert NUMBER.findall(definition(name)) == [parameter]
        given = template()["Parameters"][parameter]
        assert machine(name)["States"][state]["MaxConcurrency"] == given["Default"]
        assert 1 == given["MinValue"] <= given["Default"] <= given["MaxValue"], "0 would be no bound"
    # An inline Map runs 40 at most (Step Functions Developer Guide, "Map state processing modes").
    assert template()["Parameters"]["ScansAtOnce"]["MaxValue"] == 40


@pytest.mark.parametrize("logical_id", sorted(MACHINES))
def test_a_task_waits_as_long_as_its_function_may_take(logical_id):
    substitutions = resources("AWS::Serverless::StateMachine")[logical_id]["Properties"]["DefinitionSubstitutions"]
    for name, state in checks.states(machine(MACHINES[logical_id])):
        if state.get("Resource", "").endswith(":lambda:invoke"):
            target, attribute = substitutions[state["Parameters"]["FunctionName"][2:-1]]["Fn::GetAtt"]
            assert attribute == "Arn"
            assert state["TimeoutSeconds"] > functions()[target]["Properties"]["Timeout"], name


def test_rows_run_as_named_executions():
    rows = machine("intake")["States"]["Rows"]
    assert rows["ItemReader"]["ReaderConfig"] == {"InputType": "JSON"}
    row = rows["ItemProcessor"]["States"]["Row"]
    assert row["Resource"] == "arn:aws:states:::states:startExecution.sync:2"
    # RowState takes no member that it does not know, so nothing is added to the input.
    assert row["Parameters"] == {"StateMachineArn": "${RowMachineArn}", "Name.$": "$.execution", "Input.$": "$.state"}
    assert row["TimeoutSeconds"] > machine("row")["TimeoutSeconds"]


def test_a_row_fits_into_the_history():
    """25,000 events are the most of an execution (Step Functions quotas). A round of Wait and poll is 10 of them and a scan in
    the inline Map 7; a fifth is left for retries and for a redrive."""
    longest_wait = int(re.search(r"LONGEST_WAIT: u32 = (\d+)", source("crates/scan-poller/src/row.rs"))[1])
    files = int(re.search(r"MAX_FILES: usize = (\d+)", source("crates/core/src/run/state.rs"))[1])
    polls = template()["Parameters"]["ScanSeconds"]["MaxValue"] / longest_wait + 10
    assert polls * 10 + files * 7 + 100 < 20_000
