"""What a function finds when `sam local invoke` runs it here: an emulator of AWS, and the fakes of everything else.

A container reaches them as HOST: emulator and fakes listen on loopback, and a relay on the Docker bridge leads there.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fakes.codeartifact import CodeArtifact
from fakes.codeguru import CodeGuru
from fakes.github import GitHub
from fakes.packages import Packages
from fakes.server import Fake
from stack import Emulator

HOST = "host.docker.internal"
DATA, CONFIG = "gate-data-123456789012", "gate-config-123456789012"
WEBHOOK_SECRET, TOKEN_SECRET = "gate-webhook", "gate-access-token"
SIGNED_WITH = "only the tests sign with this secret"
"""What signs `events/webhook-receiver.json`; a test of crates/webhook-receiver computes the signature with it."""
CONSOLE = "https://console.example/"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for HOST that lasts a day and is its own authority, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    public, private = folder / "host.docker.pem", folder / "host.docker.key"
    public.write_bytes(signed.public_bytes(pem))
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return public, private


def known_as_host(fake: Fake, chain: tuple[Path, Path] | None = None) -> None:
    """Lets a fake call itself what a container calls it; with a certificate and its key, under TLS."""
    if chain:
        listener = fake._server.socket
        if not isinstance(listener, ssl.SSLSocket):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            listener = context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
            fake._server.socket = listener
        listener.context.load_cert_chain(*chain)
    fake.url = f"{'https' if chain else 'http'}://{HOST}:{fake.port}"


class Relay:
    """Takes connections at one address and leads them to the same port of loopback."""

    def __init__(self, address: str, port: int) -> None:
        self.port = port
        self.listener = socket.create_server((address, port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, target), daemon=True).start()

    @staticmethod
    def carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while some := source.recv(1 << 16):
                target.sendall(some)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            target.close()

    def stop(self) -> None:
        self.listener.close()


class World:
    """Everything outside the functions. `reset` empties it between two events."""

    def __init__(self, folder: Path, image: str) -> None:
        self.folder, self.cases = folder, 0
        self.bridge = gateway(image)
        chain = certificate(folder)
        self.image = trusting(image, chain[0], folder)
        self.github, self.index = GitHub(number=123_456), Packages(folder)
        self.artifacts, self.guru = CodeArtifact(), CodeGuru()
        # None of these is spoken to without TLS beyond loopback.
        for fake in (self.github, self.index, self.guru):
            known_as_host(fake, chain)
        known_as_host(self.artifacts)
        self.relays = [Relay(self.bridge, fake.port) for fake in self.fakes]
        self.emulator = Emulator(folder, {})
        try:
            self.relays.append(Relay(self.bridge, self.emulator.port))
            self.stock()
        except BaseException:
            self.stop()
            raise

    def stock(self) -> None:
        """What lasts through all cases."""
        self.s3 = self.emulator.client("s3")
        for bucket in (DATA, CONFIG):
            self.s3.create_bucket(Bucket=bucket)
        trust = policy(Principal={"Service": "states.amazonaws.com"}, Action="sts:AssumeRole")
        iam = self.emulator.client("iam")
        self.role = iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        secrets = self.emulator.client("secretsmanager")
        secrets.create_secret(Name=WEBHOOK_SECRET, SecretString=SIGNED_WITH)
        secrets.create_secret(Name=TOKEN_SECRET, SecretString=self.github.token)

    @property
    def fakes(self) -> tuple:
        return (self.github, self.artifacts, self.guru, self.index)

    def stop(self) -> None:
        for relay in self.relays:
            relay.stop()
        self.emulator.stop()
        for fake in self.fakes:
            fake.stop()
        docker("image", "rm", "--force", self.image, rapid(self.image))

    def reset(self) -> None:
        """As after a first deployment: a policy that lets the fetcher reach the index, and nothing else."""
        self.cases += 1
        for bucket in (DATA, CONFIG):
            for key in self.keys(bucket):
                self.s3.delete_object(Bucket=bucket, Key=key)
        self.github.commits.clear()
        self.github.statuses.clear()
        self.github.head = None
        self.artifacts.versions.clear()
        self.index.pages.clear()
        self.index.files.clear()
        index = f'{{ host = "{HOST}", cidrs = ["{self.bridge}/32"], ports = [{self.index.port}] }}'
        rules = f'schema_version = 1\nrefuse_at = "medium"\n[network]\nallow = [{index}]\n'
        self.s3.put_object(Bucket=CONFIG, Key="policy.toml", Body=rules.encode())
        states, sns, sqs = (self.emulator.client(service) for service in ("stepfunctions", "sns", "sqs"))
        definition = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
        self.machine = states.create_state_machine(
            name=f"gate-{self.cases}-intake", definition=json.dumps(definition), roleArn=self.role
        )["stateMachineArn"]
        self.topic = sns.create_topic(Name=f"gate-{self.cases}-verdicts")["TopicArn"]
        self.queue = sqs.create_queue(QueueName=f"gate-{self.cases}-mails")["QueueUrl"]
        queue = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allow = policy(Principal={"Service": "sns.amazonaws.com"}, Action="sqs:SendMessage", Resource=queue)
        sqs.set_queue_attributes(QueueUrl=self.queue, Attributes={"Policy": allow})
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=queue)
        self.faults = {fake: len(fake.faults) for fake in self.fakes}

    # What an operator answers to `sam deploy`, and what the resources of a stack would give.

    def parameters(self) -> dict[str, str]:
        return {
            "Routes": f"{self.github.number}:{self.github.branch}",
            "GithubApi": self.github.url,
            "IndexUrl": self.index.index_url,
            "AdvisoriesUrl": self.index.address("advisories/all.zip"),
            "AllowedMailDomains": "corp.example",
            "DefaultMailAddress": "operator@corp.example",
            "AwsEndpointUrl": f"http://{HOST}:{self.emulator.port}",
            "CreateCodeArtifact": "false",
            "CodeArtifactDomain": self.artifacts.domain,
            "CodeArtifactOwner": self.artifacts.owner,
            "CodeArtifactRepository": self.artifacts.repository,
            "CodeArtifactEndpointUrl": self.artifacts.url,
            "CodeGuruSecurityEndpointUrl": self.guru.url,
        }

    def variables(self) -> dict[str, str]:
        return {
            "DATA_BUCKET": DATA,
            "CONFIG_BUCKET": CONFIG,
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
            "ACCESS_TOKEN_SECRET": TOKEN_SECRET,
            "INTAKE_MACHINE": self.machine,
            "VERDICT_TOPIC": self.topic,
            "CONSOLE_URL": CONSOLE,
        }

    # What is there before, and what is there afterwards.

    def put(self, key: str, body: bytes | dict, bucket: str = DATA) -> None:
        self.s3.put_object(Bucket=bucket, Key=key, Body=body if isinstance(body, bytes) else json.dumps(body).encode())

    def get(self, key: str, bucket: str = DATA) -> bytes:
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def document(self, key: str, bucket: str = DATA) -> dict | list:
        return json.loads(self.get(key, bucket))

    def keys(self, bucket: str = DATA) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return sorted(found["Key"] for page in pages for found in page.get("Contents", []))

    def objects(self) -> set[str]:
        """All objects, with their content: `s3://BUCKET/KEY ETAG`."""
        found = set()
        for bucket in (DATA, CONFIG):
            for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                found |= {f"s3://{bucket}/{entry['Key']} {entry['ETag']}" for entry in page.get("Contents", [])}
        return found

    def executions(self) -> dict[str, dict]:
        """The input of every execution of the intake machine, by name."""
        states = self.emulator.client("stepfunctions")
        listed = states.list_executions(stateMachineArn=self.machine)["executions"]
        described = (states.describe_execution(executionArn=one["executionArn"]) for one in listed)
        return {one["name"]: json.loads(one["input"]) for one in described}

    def mails(self) -> list[dict]:
        got = self.emulator.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in got]

    def complaints(self) -> list[str]:
        """What the fakes have had to say about this event's requests."""
        return [fault for fake in self.fakes for fault in fake.faults[self.faults[fake] :]]


def rapid(image: str) -> str:
    """The name of the image that sam builds on one: it is kept when the one below changes."""
    architecture = "arm64" if image.endswith("arm64") else "x86_64"
    return f"{image.split(':')[0]}:rapid-{architecture}"


def policy(**statement: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def gateway(image: str) -> str:
    """Where a container finds HOST: the address of the Docker bridge."""
    hosts = docker("run", "--rm", "--add-host", f"{HOST}:host-gateway", "--entrypoint", "cat", image, "/etc/hosts")
    return next(line.split()[0] for line in hosts.splitlines() if HOST in line.split())


def trusting(image: str, authority: Path, folder: Path) -> str:
    """The image, with this authority as the one that TLS trusts; under a name of its own, so that two may work at once."""
    made = f"package-gate-local-{os.getpid()}:al2023-{'arm64' if image.endswith('arm64') else 'x86_64'}"
    context = folder / "image"
    context.mkdir()
    shutil.copy(authority, context / "authority.pem")
    (context / "Dockerfile").write_text(
        f"FROM {image}\nCOPY authority.pem /etc/package-gate/authority.pem\nENV SSL_CERT_FILE=/etc/package-gate/authority.pem\n"
    )
    docker("build", "--no-cache", "--quiet", "--tag", made, str(context))
    return made


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode and arguments[:2] != ("image", "rm"):
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()
