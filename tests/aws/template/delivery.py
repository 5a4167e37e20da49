"""How an alarm and a lost event reach somebody, as tables: the alarms, and the policies on the way. A word of them that is wrong
is found by nobody until the day that it is needed. `test_checks.py` shows that each entry can fail.
"""

from __future__ import annotations

from gate_template import Json, as_list, statements

NAMESPACE = "PackageGate"

STACK = [{"Name": "Stack", "Value": {"Ref": "AWS::StackName"}}]


def of(name: str, value: Json) -> list[Json]:
    return [{"Name": name, "Value": value}]


def queue(name: str) -> list[Json]:
    return of("QueueName", {"Fn::GetAtt": [name, "QueueName"]})


FEWER, MORE = "LessThanThreshold", "GreaterThanThreshold"

# Alarm: namespace, metric, dimensions, statistic, period, periods, comparison, threshold. The metrics of Step Functions, SQS,
# API Gateway (HTTP APIs) and Lambda are those of their developer guides, "CloudWatch metrics".
ALARMS = {
    **{
        f"{machine}s{end}Alarm": (
            "AWS/States",
            f"Executions{end}",
            of("StateMachineArn", {"Ref": f"{machine}Machine"}),
            *("Sum", 300, 1, MORE, 0),
        )
        for machine in ("Row", "Intake")
        for end in ("Failed", "TimedOut", "Aborted")
    },
    **{
        f"{name}Alarm": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue(name), "Maximum", 300, 1, MORE, 0)
        for name in ("EventDeadLetters", "InvocationDeadLetters")
    },
    "WebhookFaultsAlarm": ("AWS/ApiGateway", "5xx", of("ApiId", {"Ref": "WebhookApi"}), "Sum", 300, 1, MORE, 0),
    "UnauthorizedDeliveriesAlarm": (NAMESPACE, "UnauthorizedDeliveries", STACK, "Sum", 300, 1, MORE, 10),
    "ReconcilerGapAlarm": (NAMESPACE, "ReconcilerGap", STACK, "Sum", 900, 1, MORE, 0),
    "ReconcilerSilentAlarm": (
        "AWS/Lambda",
        "Invocations",
        of("FunctionName", {"Ref": "ReconcilerFunction"}),
        *("Sum", 3600, 2, FEWER, 1),
    ),
    "UndeliveredNoticesAlarm": (NAMESPACE, "UndeliveredNotices", STACK, "Sum", 3600, 1, MORE, 0),
}

MEMBERS = (
    "Namespace",
    "MetricName",
    "Dimensions",
    "Statistic",
    "Period",
    "EvaluationPeriods",
    "ComparisonOperator",
    "Threshold",
)


def arn(text: str) -> Json:
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{text}"}


def tls_only(action: str, resource: Json) -> Json:
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


QUEUE = {"Fn::GetAtt": ["EventDeadLetters", "Arn"]}
TOPIC = {"Ref": "OperationsTopic"}

# Policy: its statements by Sid. Sources: EventBridge User Guide, "Using dead-letter queues"; SNS Developer Guide, "Example
# cases for access control" and "Enable compatibility between event sources from AWS services and encrypted topics";
# CloudWatch Logs User Guide, "Encrypt log data"; SQS Developer Guide, "Key management". kms:GenerateDataKey without kms:Decrypt
# is not enough for SQS and SNS: they read back the key that they have made.
POLICIES = {
    "EventDeadLettersPolicy": {
        "TlsOnly": tls_only("sqs:SendMessage", QUEUE),
        "Rules": {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": QUEUE,
            "Condition": {"ArnLike": {"aws:SourceArn": arn("events:${AWS::Region}:${AWS::AccountId}:rule/*")}},
        },
    },
    "OperationsTopicPolicy": {
        "TlsOnly": tls_only("sns:Publish", TOPIC),
        "Alarms": {
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": TOPIC,
            "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
        },
    },
    "Key": {
        "Account": {
            "Effect": "Allow",
            "Principal": {"AWS": arn("iam::${AWS::AccountId}:root")},
            "Action": "kms:*",
            "Resource": "*",
        },
        "Logs": {
            "Effect": "Allow",
            "Principal": {"Service": {"Fn::Sub": "logs.${AWS::Region}.amazonaws.com"}},
            "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
            "Resource": "*",
            "Condition": {
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": arn("logs:${AWS::Region}:${AWS::AccountId}:log-group:*")
                }
            },
        },
        "Topics": {
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {
                "ArnLike": {
                    "kms:EncryptionContext:aws:sns:topicArn": arn(
                        "sns:${AWS::Region}:${AWS::AccountId}:${AWS::StackName}-*"
                    )
                }
            },
        },
        "Queues": {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {
                "ArnLike": {"kms:EncryptionContext:aws:sqs:arn": arn("sqs:${AWS::Region}:${AWS::AccountId}:*")}
            },
        },
    },
}


def alarm_faults(template: Json) -> list[str]:
    """Where the alarms differ from the table, and those that nobody hears."""
    alarms = {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    faults = [f"{name} is not in the table" for name in sorted(set(alarms) - set(ALARMS))]
    for name, row in ALARMS.items():
        if name not in alarms:
            faults.append(f"there is no {name}")
            continue
        alarm = alarms[name]
        for member, wanted in zip(MEMBERS, row, strict=True):
            if alarm.get(member) != wanted:
                faults.append(f"{name}: {member} is {alarm.get(member)}, not {wanted}")
        for member in ("AlarmActions", "OKActions"):
            if alarm.get(member) != [TOPIC]:
                faults.append(f"{name}: {member} is not the topic of alarms")
        missing = "breaching" if row[6] == FEWER else "notBreaching"
        if alarm.get("TreatMissingData") != missing:
            faults.append(f"{name}: missing data is not {missing}")
        if alarm.get("ActionsEnabled", True) is not True:
            faults.append(f"{name} tells nobody")
        # What the gate writes itself has the dimension (crates/aws/src/function/metric.rs): without it, no alarm sees it.
        if alarm.get("Namespace") == NAMESPACE and alarm.get("Dimensions") != STACK:
            faults.append(f"{name} is not of this stack")
    return faults


def policy_faults(template: Json) -> list[str]:
    """Where the policies on the way of alarms and lost events differ from the table."""
    faults = []
    for name, wanted in POLICIES.items():
        properties = template["Resources"][name]["Properties"]
        document = properties["KeyPolicy"] if name == "Key" else properties["PolicyDocument"]
        found = {}
        for statement in statements(document):
            found[statement["Sid"]] = {member: value for member, value in statement.items() if member != "Sid"}
        for sid in sorted(set(found) | set(wanted)):
            if sid not in found or sid not in wanted:
                faults.append(f"{name}: {sid} is {'new' if sid in found else 'gone'}")
            elif found[sid] != wanted[sid]:
                faults.append(f"{name}: {sid} is another")
    attached = {
        "EventDeadLettersPolicy": ("Queues", "EventDeadLetters"),
        "OperationsTopicPolicy": ("Topics", "OperationsTopic"),
    }
    for name, (member, target) in attached.items():
        if as_list(template["Resources"][name]["Properties"][member]) != [{"Ref": target}]:
            faults.append(f"{name} is the policy of something else")
    return faults
