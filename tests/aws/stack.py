"""Starts MiniStack with IAM enforced, and deploys the project's own template on it with the real `sam deploy`."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path

import boto3
from botocore.config import Config

from fakes.recorder import Recorder

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("AWS_BUILT", ROOT / ".aws-sam" / "build" / "template.yaml"))
"""What `sam build` made; AWS_BUILT names another, to try what is built already."""
REGION = "us-east-1"
ACCOUNT = "000000000000"

WAIT_SCALE = "0.02"
"""Waits and retry intervals of the state machines take a fiftieth of their time here; their order and number stay."""


class Emulator:
    """MiniStack in its own process. Functions reach it through the recorder, and inherit its environment."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.log = folder / "ministack.log"
        self.recorder = Recorder(self.port)
        program = Path(sys.executable).with_name("ministack")
        home = folder / "home"
        home.mkdir()
        self.environment = {
            "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "TMPDIR": str(folder),
            "LANG": "C.UTF-8",
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "AWS_ENDPOINT_URL": self.recorder.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "SFN_WAIT_SCALE": WAIT_SCALE,
            "LOG_LEVEL": "INFO",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            **environment,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"MiniStack ended: {self.log.read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"MiniStack did not start: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Ends the process, and the functions that it started."""
        if self.process.poll() is None:
            functions = descendants(self.process.pid)
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            for pid in functions:
                try:
                    if b"AWS_LAMBDA_RUNTIME_API=" in Path(f"/proc/{pid}/environ").read_bytes():
                        os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
        self.recorder.stop()

    def kill(self, function: str) -> int:
        """Kills every running environment of a function; gives how many there were."""
        killed = 0
        for pid in descendants(self.process.pid):
            try:
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if b"AWS_LAMBDA_FUNCTION_NAME=" + function.encode() in variables:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            except OSError:
                continue
        return killed

    def client(self, service: str, credentials: dict[str, str] | None = None):
        keys = credentials or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        config = Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"}, read_timeout=60)
        made = boto3.session.Session().client(service, endpoint_url=self.url, region_name=REGION, config=config, **keys)
        # As the recorder does for the functions: the policies of the template refuse plain HTTP.
        made.meta.events.register("before-send", over_tls)
        return made


class Stack:
    """One deployment. The template is the one that `sam build` made of the project's, and nothing in it is changed."""

    def __init__(self, emulator: Emulator, name: str, parameters: dict[str, str]) -> None:
        self.emulator, self.name = emulator, name
        overrides = [f"{key}={value}" for key, value in parameters.items()]
        command = [
            *("sam", "deploy", "--template-file", str(BUILT), "--stack-name", name, "--resolve-s3", "--region", REGION),
            *("--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "--no-confirm-changeset"),
            *("--no-progressbar", "--no-fail-on-empty-changeset", "--parameter-overrides", *overrides),
        ]
        sam = shutil.which("sam")
        if sam is None:
            raise RuntimeError("there is no sam; .ci/aws-emulator.sh installs it")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": emulator.environment["HOME"],
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": emulator.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "SAM_CLI_TELEMETRY": "0",
        }
        done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.deployed = done.stdout + done.stderr
        if done.returncode:
            raise RuntimeError(f"sam deploy failed ({done.returncode}):\n{self.deployed[-6000:]}\n{self.events()}")

    def events(self) -> str:
        """Why a deployment failed, as CloudFormation says."""
        try:
            events = self.emulator.client("cloudformation").describe_stack_events(StackName=self.name)["StackEvents"]
        except Exception as error:
            return f"no events: {error}"
        lines = [f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason', '')}" for e in events if "FAILED" in e["ResourceStatus"]]
        return "\n".join(lines)

    def delete(self) -> None:
        self.emulator.client("cloudformation").delete_stack(StackName=self.name)

    @cached_property
    def resources(self) -> dict[str, tuple[str, str]]:
        """Type and physical id by logical id."""
        found = {}
        for page in self.emulator.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name):
            for resource in page["StackResourceSummaries"]:
                found[resource["LogicalResourceId"]] = (resource["ResourceType"], resource["PhysicalResourceId"])
        return found

    @cached_property
    def outputs(self) -> dict[str, str]:
        stack = self.emulator.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    @cached_property
    def template(self) -> dict:
        """What was deployed, after the SAM transform, as CloudFormation has it."""
        body = self.emulator.client("cloudformation").get_template(StackName=self.name, TemplateStage="Processed")
        found = body["TemplateBody"]
        return found if isinstance(found, dict) else json.loads(found)

    def id(self, logical: str) -> str:
        return self.resources[logical][1]

    @cached_property
    def functions(self) -> dict[str, dict]:
        """The configuration of every function, by logical id."""
        client = self.emulator.client("lambda")
        return {
            logical: client.get_function_configuration(FunctionName=physical)
            for logical, (kind, physical) in self.resources.items()
            if kind == "AWS::Lambda::Function"
        }

    def environment(self, function: str) -> dict[str, str]:
        return self.functions[function].get("Environment", {}).get("Variables", {})

    def session(self, function: str) -> dict[str, str]:
        """The credentials that MiniStack gives a function (core/lambda_runtime.py, `execution_credentials`, at the version that
        the tools pin): they exist from the function's first invocation on."""
        configuration = self.functions[function]
        arn, role = configuration["FunctionArn"], configuration["Role"]
        digest = hashlib.sha256(f"{arn}:{role}".encode()).hexdigest()
        return {
            "aws_access_key_id": f"ASIA{digest[:16].upper()}",
            "aws_secret_access_key": hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
            "aws_session_token": hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
        }

    @cached_property
    def callers(self) -> dict[str, str]:
        """The function behind an access key."""
        return {self.session(function)["aws_access_key_id"]: function for function in self.functions}

    def may(self, access_key: str | None, action: str, resource: str) -> bool:
        """Whether the role behind an access key has an action: what the real service would ask IAM."""
        function = self.callers.get(access_key or "")
        if function is None:
            return False
        role = self.functions[function]["Role"]
        asked = self.emulator.client("iam").simulate_principal_policy(
            PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource]
        )
        return asked["EvaluationResults"][0]["EvalDecision"] == "allowed"

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """A POST to the deployed API, as GitHub sends it."""
        api = next(physical for kind, physical in self.resources.values() if kind == "AWS::ApiGatewayV2::Api")
        url = f"{self.emulator.url}/_aws/execute-api/{api}/$default{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="POST"), timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def over_tls(request, **_: object) -> None:
    """Says of a request that it came over TLS, as a proxy that ends TLS does."""
    request.headers["x-forwarded-proto"] = "https"


def architecture() -> str:
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def descendants(pid: int) -> list[int]:
    """The processes below one, which this session has started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, ahead = [], [pid]
    while ahead:
        ahead = [child for parent in ahead for child in parents.get(parent, [])]
        found += ahead
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
