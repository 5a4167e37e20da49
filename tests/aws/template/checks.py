"""The rules that no linter has, as functions that give the faults they find. `test_checks.py` shows that each can fail."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gate_template import Json, as_list, status_words

RETRY_FIELDS = {"ErrorEquals", "IntervalSeconds", "BackoffRate", "MaxAttempts", "MaxDelaySeconds", "JitterStrategy"}

SERVICE_ERRORS = {
    # Step Functions, Developer Guide: "Handling errors in workflows", "Handle transient Lambda service exceptions".
    "States.Timeout",
    "States.ItemReaderFailed",
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    # A function that was idle for weeks and gets its network and its code back (API reference, Invoke, "Errors").
    "Lambda.CodeArtifactUserPendingException",
    "Lambda.EC2ThrottledException",
    "Lambda.ENINotReadyException",
    "Lambda.ResourceConflictException",
    "Lambda.ResourceNotReadyException",
    # What Lambda answers when the function's time or process ended.
    "Sandbox.Timedout",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "StepFunctions.AWSStepFunctionsException",
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.SdkClientException",
}


def states(machine: Json) -> Iterator[tuple[str, Json]]:
    """Every state, also those inside Maps."""
    for name, state in machine["States"].items():
        yield name, state
        if state["Type"] == "Map":
            yield from states(state["ItemProcessor"])


def shape_faults(machine: Json, gate_errors: set[str], retried: set[str]) -> list[str]:
    """Timeouts, retries, no Catch, Choices that refuse."""
    faults = [] if machine.get("TimeoutSeconds") else ["the machine has no TimeoutSeconds"]
    for name, state in states(machine):
        if "Catch" in state:
            faults.append(f"{name} catches: then Redrive would not run it again")
        if state["Type"] == "Task":
            faults += task_faults(name, state, retried)
        if state["Type"] == "Choice" and "Default" not in state:
            faults.append(f"{name} has no Default")
        if state["Type"] == "Choice" and state.get("Default") == "Publish":
            faults.append(f"{name} publishes by default")
        if state["Type"] == "Map":
            faults += map_faults(name, state)
        for retry in state.get("Retry", []):
            if missing := RETRY_FIELDS - retry.keys():
                faults.append(f"{name} retries without {sorted(missing)}")
            unknown = set(retry["ErrorEquals"]) - gate_errors - SERVICE_ERRORS
            if unknown:
                faults.append(f"{name} retries {sorted(unknown)}, which nobody raises")
            never = set(retry["ErrorEquals"]) & (gate_errors - retried)
            if never:
                faults.append(f"{name} retries {sorted(never)}, which the gate says not to")
    return faults


def task_faults(name: str, state: Json, retried: set[str]) -> list[str]:
    faults = [] if state.get("TimeoutSeconds", 0) > 0 else [f"{name} has no TimeoutSeconds"]
    named = [error for retry in state.get("Retry", []) for error in retry["ErrorEquals"]]
    if len(named) != len(set(named)):
        faults.append(f"{name} names an error twice; only the first counts")
    if not named:
        faults.append(f"{name} has no Retry")
    if state["Resource"].endswith(":lambda:invoke"):
        if missing := retried - set(named):
            faults.append(f"{name} does not retry {sorted(missing)}")
        if state.get("OutputPath", "$") not in ("$.Payload", None):
            faults.append(f"{name} passes on more than the function's answer")
    return faults


def map_faults(name: str, state: Json) -> list[str]:
    faults = [] if 1 <= state.get("MaxConcurrency", 0) <= 100 else [f"{name} has no bound on what runs at a time"]
    if (
        state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
        and state.get("ToleratedFailurePercentage") != 100
    ):
        faults.append(f"{name}: one row stops the others")
    if "ResultPath" not in state or state["ResultPath"] is not None:
        faults.append(f"{name} keeps the results of its items")
    # Ten thousand empty objects are 30 KB, also before they are dropped.
    for inner, item in states(state["ItemProcessor"]):
        if (item.get("End") or item["Type"] == "Succeed") and item.get("OutputPath", "$") is not None:
            faults.append(f"{name}: the answer of {inner} has no constant size")
    return faults


def status_faults(machine: Json) -> list[str]:
    """Choices compare the status with words that the gate has, and only `approved` leads to Publish."""
    faults = []
    compared = set()
    for name, state in states(machine):
        for choice in state.get("Choices", []):
            if choice["Variable"] != "$.status" or set(choice) != {"Variable", "StringEquals", "Next"}:
                faults.append(f"{name} looks at something else than the status")
                continue
            compared.add(choice["StringEquals"])
            if choice["Next"] == "Publish" and choice["StringEquals"] != "approved":
                faults.append(f"{name} publishes what is {choice['StringEquals']}")
        if state.get("Next") == "Publish":
            faults.append(f"{name} goes on to Publish without a choice")
    if machine["StartAt"] == "Publish":
        faults.append("the machine begins with Publish")
    faults += [f"no status is called {word}" for word in sorted(compared - status_words())]
    # `told` ends the machine.
    faults += [f"no choice knows {word}" for word in sorted(status_words() - compared - {"told"})]
    return faults


def substitution_faults(definition: str, substitutions: set[str]) -> list[str]:
    used = set(re.findall(r"\$\{([^}]*)\}", definition))
    faults = [f"nothing is substituted for {name}" for name in sorted(used - substitutions)]
    return faults + [f"{name} is substituted and not used" for name in sorted(substitutions - used)]


def wildcard_faults(statement: Json, allowed: set[str]) -> list[str]:
    """Wildcards in an Allow of an identity policy: in its actions, and over all resources."""
    if statement["Effect"] != "Allow":
        return []
    actions = as_list(statement["Action"])
    faults = [f"{action} is a wildcard" for action in actions if "*" in action]
    if "NotAction" in statement or "NotResource" in statement:
        faults.append(f"{statement.get('Sid')} allows by exception")
    if "*" in as_list(statement["Resource"]):
        faults += [f"{action} is allowed on everything" for action in actions if action not in allowed]
    return faults
