"""That the checks find what they are for: each is shown a machine or a statement with one fault."""

from __future__ import annotations

import copy

import checks
import delivery
import pytest
from gate_template import error_names, machine, retried_errors, template


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
    for definition in ('{"a": "${B}"}', '{"a": ${B}}'):
        assert checks.substitution_faults(definition, {"C"}) == [
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


def changed(name, change):
    """The template with one resource changed."""
    copied = copy.deepcopy(template())
    change(copied["Resources"][name]["Properties"])
    return copied


def statement(document, sid):
    return next(statement for statement in document["Statement"] if statement["Sid"] == sid)


@pytest.mark.parametrize("member", [*delivery.MEMBERS, "AlarmActions", "OKActions", "TreatMissingData"])
@pytest.mark.parametrize("name", delivery.ALARMS)
def test_every_word_of_an_alarm_counts(name, member):
    assert delivery.alarm_faults(changed(name, lambda alarm: alarm.pop(member)))


ALARM_CHANGES = {
    "a metric of all stacks": ("ReconcilerGapAlarm", lambda alarm: alarm.update(Dimensions=[])),
    "another metric": ("WebhookFaultsAlarm", lambda alarm: alarm.update(MetricName="5XXError")),
    "another queue": (
        "EventDeadLettersAlarm",
        lambda alarm: alarm["Dimensions"][0].update(Value={"Fn::GetAtt": ["InvocationDeadLetters", "QueueName"]}),
    ),
    "an average": ("EventDeadLettersAlarm", lambda alarm: alarm.update(Statistic="Average")),
    "a higher threshold": ("RowsFailedAlarm", lambda alarm: alarm.update(Threshold=1)),
    "the topic of notices": ("RowsFailedAlarm", lambda alarm: alarm.update(AlarmActions=[{"Ref": "VerdictTopic"}])),
    "no data, no alarm": ("ReconcilerSilentAlarm", lambda alarm: alarm.update(TreatMissingData="notBreaching")),
    "silence": ("RowsFailedAlarm", lambda alarm: alarm.update(ActionsEnabled=False)),
}


@pytest.mark.parametrize("name", ALARM_CHANGES)
def test_alarms(name):
    assert delivery.alarm_faults(changed(*ALARM_CHANGES[name]))


def test_alarms_that_come_and_go():
    more = copy.deepcopy(template())
    more["Resources"]["NewAlarm"] = more["Resources"]["RowsFailedAlarm"]
    fewer = copy.deepcopy(template())
    del fewer["Resources"]["RowsFailedAlarm"]
    assert delivery.alarm_faults(more) == ["NewAlarm is not in the table"]
    assert delivery.alarm_faults(fewer) == ["there is no RowsFailedAlarm"]


POLICY_CHANGES = {
    "rules that may not send": (
        "EventDeadLettersPolicy",
        lambda policy: policy["PolicyDocument"]["Statement"].remove(statement(policy["PolicyDocument"], "Rules")),
    ),
    "anybody may send": (
        "EventDeadLettersPolicy",
        lambda policy: statement(policy["PolicyDocument"], "Rules").update(Principal="*"),
    ),
    "rules of any account": (
        "EventDeadLettersPolicy",
        lambda policy: statement(policy["PolicyDocument"], "Rules").pop("Condition"),
    ),
    "the policy of another queue": (
        "EventDeadLettersPolicy",
        lambda policy: policy.update(Queues=[{"Ref": "InvocationDeadLetters"}]),
    ),
    "alarms that may not publish": (
        "OperationsTopicPolicy",
        lambda policy: statement(policy["PolicyDocument"], "Alarms").update(Action="sns:GetTopicAttributes"),
    ),
    "alarms of any account": (
        "OperationsTopicPolicy",
        lambda policy: statement(policy["PolicyDocument"], "Alarms").pop("Condition"),
    ),
    "the policy of another topic": ("OperationsTopicPolicy", lambda policy: policy.update(Topics=[{"Ref": "VerdictTopic"}])),
    "without TLS": (
        "OperationsTopicPolicy",
        lambda policy: policy["PolicyDocument"]["Statement"].remove(statement(policy["PolicyDocument"], "TlsOnly")),
    ),
    **{
        f"{sid} without {action}": (
            "Key",
            lambda key, sid=sid, action=action: statement(key["KeyPolicy"], sid)["Action"].remove(action),
        )
        for sid, wanted in delivery.POLICIES["Key"].items()
        if sid != "Account"
        for action in wanted["Action"]
    },
    "a data key for no queue": (
        "Key",
        lambda key: statement(key["KeyPolicy"], "Queues").update(Action=["kms:Decrypt", "kms:GenerateDataKeyPair"]),
    ),
    "rules that may not use the key": (
        "Key",
        lambda key: statement(key["KeyPolicy"], "Queues")["Principal"].update(Service=["sns.amazonaws.com"]),
    ),
    "alarms that may not use the key": (
        "Key",
        lambda key: key["KeyPolicy"]["Statement"].remove(statement(key["KeyPolicy"], "Topics")),
    ),
    "a service that may use it for anything": (
        "Key",
        lambda key: statement(key["KeyPolicy"], "Queues").pop("Condition"),
    ),
}


@pytest.mark.parametrize("name", POLICY_CHANGES)
def test_policies_on_the_way(name):
    assert delivery.policy_faults(changed(*POLICY_CHANGES[name]))
