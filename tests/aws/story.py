"""What the tests act with and read back from: pushes go in at the API; S3, the queue behind the topic, and the fakes come out."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import forge
from fakes.codeartifact import CodeArtifact
from fakes.codeguru import CodeGuru
from fakes.github import Commit, GitHub
from fakes.packages import Packages
from stack import ROOT, Emulator, Stack

REQUEST = "external-package-request.csv"
OPERATOR = "ops@corp.example"
HEADER = "name,source,sha256,requester\n"


@dataclass
class Services:
    """The fakes that one emulator's stacks speak to."""

    github: GitHub
    artifacts: CodeArtifact
    guru: CodeGuru
    packages: Packages

    def all(self):
        return (self.github, self.artifacts, self.guru, self.packages)

    def package(self, name: str, version: str = "1.0", kind: str = "clean", attributes: str = "") -> bytes:
        """Lists a package on the index."""
        filename, content = forge.build(kind, name, version)
        self.packages.release(name, filename, content, attributes)
        return content

    def archive(self, name: str, version: str = "1.0", kind: str = "plain") -> str:
        """Serves an archive beside the index, and gives its URL."""
        filename, content = forge.build(kind, name, version)
        self.packages.serve(f"archives/{filename}", content)
        return self.packages.address(f"archives/{filename}")


@dataclass
class Run:
    """A run that has ended, as its summary says."""

    name: str
    document: dict

    def row(self, line: int) -> dict:
        return next(row for row in self.document["rows"] if row["line"] == line)

    def verdict(self, line: int) -> str:
        """`approved no-finding`."""
        row = self.row(line)
        return f"{row['verdict']} {row['reasons'][0]['code']}"

    def verdicts(self) -> dict[int, str]:
        return {row["line"]: self.verdict(row["line"]) for row in self.document["rows"]}


class World:
    """One deployed stack, its repository and everything that it speaks to."""

    def __init__(self, emulator: Emulator, stack: Stack, services: Services, github: GitHub, policy: str) -> None:
        self.emulator, self.stack, self.services, self.github = emulator, stack, services, github
        self.operator = OPERATOR
        self.s3 = emulator.client("s3")
        environment = stack.environment("NotifierFunction")
        self.data, self.config = environment["DATA_BUCKET"], environment["CONFIG_BUCKET"]
        self.topic = environment["VERDICT_TOPIC"]
        self.queue = self.subscribe()
        self.policy_text = policy
        self.policy(policy)

    # What people do.

    def policy(self, text: str) -> None:
        """The operator's setting: the policy object."""
        self.policy_text = text
        self.s3.put_object(Bucket=self.config, Key="policy.toml", Body=text.encode())

    def push(self, rows: str, author: str = "ada@corp.example", deliver: bool = True) -> Commit:
        """Commits the request with these rows, and lets GitHub tell the gate."""
        commit = self.github.push({REQUEST: HEADER + rows}, author)
        if deliver:
            status, text = self.deliver(commit)
            assert status == 202, f"{status} {text}"
        return commit

    def deliver(self, commit: Commit) -> tuple[int, str]:
        body, headers = self.github.delivery(commit)
        return self.stack.post("/webhook", body, headers)

    def ask(self, rows: str, author: str = "ada@corp.example", timeout: float = 120) -> Run:
        """Pushes rows and waits for the end of their run."""
        return self.ended(self.push(rows, author), timeout)

    # What comes out.

    def run_name(self, commit: Commit, attempt: int = 1) -> str:
        """`RunId::of_commit`."""
        reference = hashlib.sha256(f"refs/heads/{self.github.branch}".encode()).hexdigest()[:8]
        return f"{self.github.number}-{reference}-{commit.sha[:20]}-{attempt}"

    def ended(self, commit: Commit, timeout: float = 120) -> Run:
        return self.ended_run(self.run_name(commit), timeout)

    def ended_run(self, name: str, timeout: float = 120) -> Run:
        found = self.wait(lambda: self.document(f"runs/{name}/summary.json"), timeout, f"the summary of {name}")
        return Run(name, found)

    def wait(self, look: Callable[[], object], timeout: float, what: str):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.3)
        raise AssertionError(f"{what} did not come in {timeout} s")

    def document(self, key: str) -> dict | None:
        content = self.object(key)
        return None if content is None else json.loads(content)

    def object(self, key: str) -> bytes | None:
        try:
            return self.s3.get_object(Bucket=self.data, Key=key)["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return None

    def configured(self, key: str) -> bytes | None:
        """An object of the configuration bucket."""
        try:
            return self.s3.get_object(Bucket=self.config, Key=key)["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return None

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.data, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def stored(self, commit: Commit) -> bool:
        """Whether a delivery of a commit was taken."""
        return any(self.document(key)["commit"] == commit.sha for key in self.keys("inbox/"))

    def notices(self, name: str) -> list[dict]:
        """The ledger's notices on rows of a name, in order."""
        found = [(key, self.document(key)) for key in sorted(self.keys("notices/"))]
        return [notice for _, notice in found if notice["ended"]["outcome"]["name"] == name]

    def mails(self) -> list[dict]:
        """The messages of the verdict topic since the last call: subject, text and attributes."""
        sqs, found = self.emulator.client("sqs"), []
        while True:
            got = sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", [])
            if not got:
                return found
            for message in got:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])

    def statuses(self, commit: Commit) -> list[dict]:
        return self.github.statuses_of(commit)

    def runs(self) -> list[str]:
        """The names of all runs, by their documents."""
        return sorted(key.split("/")[1] for key in self.keys("runs/") if key.endswith("/run.json"))

    # Inside, for the checks on the machines themselves.

    def machine(self, logical: str) -> str:
        return self.stack.id(logical)

    def executions(self, logical: str) -> dict[str, dict]:
        states, found = self.emulator.client("stepfunctions"), {}
        for page in states.get_paginator("list_executions").paginate(stateMachineArn=self.machine(logical)):
            for execution in page["executions"]:
                found[execution["name"]] = execution
        return found

    def deliver_failure(self, execution: str, timeout: float) -> None:
        """The event of a row's execution that failed, as the rule RowFailedRule gives it to the notifier.

        The emulator sends none for an execution that another one has started and waits for; Step Functions does.
        """
        failed = lambda: self.executions("RowMachine").get(execution, {}).get("status") == "FAILED"
        self.wait(failed, timeout, f"the failure of {execution}")
        states = self.emulator.client("stepfunctions")
        found = states.describe_execution(executionArn=self.executions("RowMachine")[execution]["executionArn"])
        last = self.history(found["executionArn"])[-1]["executionFailedEventDetails"]
        event = json.loads((ROOT / "events" / "notifier-failed.json").read_text())
        event["detail"].update(
            executionArn=found["executionArn"],
            stateMachineArn=found["stateMachineArn"],
            name=execution,
            stopDate=int(found["stopDate"].timestamp() * 1000),
            input=found["input"],
            error=last["error"],
            cause=last.get("cause"),
        )
        client = self.emulator.client("lambda")
        answer = client.invoke(FunctionName=self.stack.id("NotifierFunction"), Payload=json.dumps(event).encode())
        assert "FunctionError" not in answer, answer["Payload"].read()

    def history(self, arn: str) -> list[dict]:
        states = self.emulator.client("stepfunctions")
        pages = states.get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]

    def trouble(self) -> str:
        """What a reader of a failed test needs first."""
        words = [f"faults: {fake.faults}" for fake in self.services.all() if fake.faults]
        for logical in ("IntakeMachine", "RowMachine"):
            if logical not in self.stack.resources:
                continue
            for name, execution in sorted(self.executions(logical).items())[-4:]:
                words.append(f"{logical} {name}: {execution['status']}")
                if execution["status"] != "SUCCEEDED":
                    last = self.history(execution["executionArn"])[-2:]
                    words += [json.dumps(event, default=str)[:1500] for event in last]
        return "\n".join([*words, *self.complaints()[-20:]])

    def complaints(self) -> list[str]:
        """What the functions logged above `info`, oldest first."""
        logs, found = self.emulator.client("logs"), []
        for kind, group in self.stack.resources.values():
            if kind == "AWS::Logs::LogGroup" and "/lambda/" in group:
                for event in logs.filter_log_events(logGroupName=group, limit=10_000)["events"]:
                    if any(level in event["message"] for level in ('"ERROR"', '"WARN"', "panicked")):
                        found.append((event["timestamp"], f"{group}: {event['message'].strip()[:1500]}"))
        return [line for _, line in sorted(found)]

    def subscribe(self) -> str:
        """A queue behind the verdict topic, as a mailbox."""
        sqs, sns = self.emulator.client("sqs"), self.emulator.client("sns")
        queue = sqs.create_queue(QueueName=f"{self.stack.name}-mailbox")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)
        return queue


def recipient(mail: dict) -> str:
    """Who a message is for: its filter attribute, or the name in a mail that the default address gets instead."""
    instead = re.match(r"This mail is for (\S+),", mail["Message"])
    return instead[1] if instead else mail["MessageAttributes"]["requester"]["Value"]
