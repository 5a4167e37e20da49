"""Holds requests and answers of a fake against botocore's model of the service."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import datetime
from urllib.parse import unquote

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

from .server import Answer, Fake, Request

REGION = "us-east-1"

# Java's classes of characters, which Python's `re` does not have.
CLASSES = {
    r"\P{C}*": lambda text: all(map(printable, text)),
    r"\P{C}+": lambda text: bool(text) and all(map(printable, text)),
    r"[\P{C}\s]+": lambda text: bool(text) and all(printable(c) or c.isspace() for c in text),
    r"[^\p{C}\p{IsWhitespace}]+": lambda text: bool(text) and all(printable(c) and not c.isspace() for c in text),
}

# What the protocol and the signature add to any request (AWS Signature Version 4, rest-json, the SDKs' own).
COMMON_HEADERS = re.compile(
    r"accept|accept-encoding|authorization|connection|content-length|content-type|expect|host|te|transfer-encoding|user-agent"
    r"|amz-sdk-.*|x-amz-date|x-amz-security-token|x-amz-user-agent|x-amz-content-sha256|x-amzn-trace-id"
)


class Refused(Exception):
    """The service answers with an error of its model: its name, and the members that the error has."""

    def __init__(self, error: str, message: str, **members: str):
        super().__init__(message)
        self.error, self.members = error, {"message": message, **members}


def printable(character: str) -> bool:
    return not unicodedata.category(character).startswith("C")


class ModelFake(Fake):
    """A fake of one AWS service with a rest-json model. A subclass has a method for each operation that it plays."""

    service = ""

    def __init__(self) -> None:
        self.model = ServiceModel(Loader().load_service_model(self.service, "service-2"))
        self.operations = [self.model.operation_model(name) for name in self.model.operation_names]
        self.calls: list[tuple[str, dict, str | None]] = []
        """Operation, parameters and access key of every valid request, in order."""
        self.allowed = lambda access_key, action, resource: True
        """Whether a caller may; the stack's IAM answers once there is one."""
        super().__init__()

    def answer(self, request: Request) -> Answer:
        operation, labels = self.match(request)
        if operation is None:
            self.fault(f"{request.method} {request.path} is no operation of {self.service}")
            return Answer.json(404, {"message": "no such operation"}, x_amzn_ErrorType="UnknownOperationException")
        try:
            parameters = self.parse(operation, request, labels)
            problems = check(parameters, operation.input_shape) + self.check_envelope(operation, request)
            if problems:
                self.fault(f"{operation.name}: {'; '.join(problems)}")
                raise self.invalid("; ".join(problems))
            played = getattr(self, snake(operation.name), None)
            if played is None:
                self.fault(f"{operation.name} is not played by this fake: teach it, or do not call it")
                return Answer.json(501, {"message": "not played"})
            with self.lock:
                self.calls.append((operation.name, parameters, request.access_key))
            action, resource = f"{self.model.signing_name}:{operation.name}", self.resource(parameters)
            if not self.allowed(request.access_key, action, f"arn:aws:{self.model.signing_name}:{REGION}:{resource}"):
                self.fault(f"{action} on {resource} is not allowed to its caller")
                raise self.denied(operation.name)
            with self.lock:
                result = played(parameters, request)
        except Refused as refused:
            return self.refuse(operation, refused)
        if isinstance(result, Answer):
            return result
        problems = check(result, operation.output_shape)
        if problems:
            raise AssertionError(f"the fake's own answer to {operation.name} is against the model: {problems}")
        return Answer.json(operation.http.get("responseCode", 200), plain(result), x_amzn_RequestId="fake")

    def invalid(self, message: str) -> Refused:
        return Refused("ValidationException", message)

    def resource(self, parameters: dict) -> str:
        """The account and the resource that IAM is asked about (Service Authorization Reference)."""
        raise NotImplementedError

    def denied(self, operation: str) -> Refused:
        return Refused("AccessDeniedException", f"User is not authorized to perform {operation}")

    def called(self, operation: str) -> list[dict]:
        with self.lock:
            return [parameters for name, parameters, _ in self.calls if name == operation]

    def match(self, request: Request) -> tuple[OperationModel | None, dict[str, str]]:
        for operation in self.operations:
            uri = operation.http["requestUri"].split("?")[0]
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(uri))
            found = re.fullmatch(pattern, request.path)
            if found and operation.http["method"] == request.method:
                return operation, {name: unquote(value) for name, value in found.groupdict().items()}
        return None, {}

    def check_envelope(self, operation: OperationModel, request: Request) -> list[str]:
        problems = []
        if request.signed_service != self.model.signing_name:
            problems.append(f"it is signed for {request.signed_service}, not for {self.model.signing_name}")
        if "x-amz-date" not in request.headers:
            problems.append("there is no x-amz-date")
        members = (operation.input_shape.members if operation.input_shape else {}).values()
        known = {m.serialization["name"] for m in members if m.serialization.get("location") == "querystring"}
        problems += [f"unknown query parameter {name}" for name, _ in request.query if name not in known]
        headers = {m.serialization["name"].lower() for m in members if m.serialization.get("location") == "header"}
        for name in request.headers:
            if name not in headers and not COMMON_HEADERS.fullmatch(name):
                problems.append(f"unknown header {name}")
        return problems

    def parse(self, operation: OperationModel, request: Request, labels: dict[str, str]) -> dict:
        shape = operation.input_shape
        if shape is None:
            return {}
        parameters: dict = {}
        payload = shape.serialization.get("payload")
        in_body = set()
        for name, member in shape.members.items():
            location, wire = member.serialization.get("location"), member.serialization.get("name", name)
            if name == payload:
                parameters[name] = request.body
            elif location == "uri":
                parameters[name] = labels[wire]
            elif location == "querystring":
                found = [value for key, value in request.query if key == wire]
                if found:
                    parameters[name] = found if isinstance(member, ListShape) else scalar(found[-1], member)
            elif location == "header":
                if wire.lower() in request.headers:
                    parameters[name] = scalar(request.headers[wire.lower()], member)
            else:
                in_body.add(name)
        if payload is None and request.body:
            try:
                body = json.loads(request.body)
            except ValueError:
                raise self.invalid("the body is no JSON") from None
            unknown = set(body) - in_body
            if unknown:
                self.fault(f"{operation.name}: unknown members {sorted(unknown)}")
            parameters.update({name: value for name, value in body.items() if value is not None})
        return parameters

    def refuse(self, operation: OperationModel, refused: Refused) -> Answer:
        shapes = {shape.name: shape for shape in operation.error_shapes}
        if refused.error not in shapes:
            raise AssertionError(f"{operation.name} has no error {refused.error}")
        shape = shapes[refused.error]
        missing = set(shape.required_members) - set(refused.members)
        if missing:
            raise AssertionError(f"{refused.error} lacks {missing}")
        headers = {"x_amzn_ErrorType": refused.error}
        body = {}
        for name, value in refused.members.items():
            member = shape.members[name]
            if member.serialization.get("location") == "header":
                headers[member.serialization["name"].replace("-", "_")] = value
            else:
                body[name] = value
        return Answer.json(shape.metadata["error"]["httpStatusCode"], body, **headers)


def check(value: dict, shape: Shape | None) -> list[str]:
    """What the model has against parameters: members, types, lengths, patterns and words."""
    if shape is None:
        return [] if not value else ["no members are expected"]
    report = ParamValidator().validate(value, shape)
    problems = [report.generate_report()] if report.has_errors() else []
    return problems + list(details(value, shape, shape.name))


def details(value: object, shape: Shape, where: str):
    """What botocore leaves to the service: unknown members, most lengths, patterns and words."""
    limits = shape.metadata
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name, inner in value.items():
            if name not in shape.members:
                yield f"{where} has no member {name}"
            else:
                yield from details(inner, shape.members[name], f"{where}.{name}")
        if limits.get("union") and len(value) != 1:
            yield f"{where} takes exactly one member"
        return
    if isinstance(shape, ListShape) and isinstance(value, list):
        for number, inner in enumerate(value):
            yield from details(inner, shape.member, f"{where}[{number}]")
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        for key, inner in value.items():
            yield from details(key, shape.key, f"{where}.key")
            yield from details(inner, shape.value, f"{where}.{key}")
    size = value if isinstance(value, int) else len(value) if hasattr(value, "__len__") else None
    if size is not None and not isinstance(value, bool):
        if "min" in limits and size < limits["min"]:
            yield f"{where} is below {limits['min']}"
        if "max" in limits and size > limits["max"]:
            yield f"{where} is above {limits['max']}"
    if isinstance(value, str):
        pattern = limits.get("pattern")
        fits = CLASSES.get(pattern) or (lambda text: re.fullmatch(pattern, text))
        if pattern and not fits(value):
            yield f"{where} does not match {pattern}"
        if limits.get("enum") and value not in limits["enum"]:
            yield f"{where} is none of {', '.join(limits['enum'])}"


def scalar(text: str, shape: Shape) -> object:
    match shape.type_name:
        case "integer" | "long":
            return int(text) if text.lstrip("-").isdigit() else text
        case "boolean":
            return {"true": True, "false": False}.get(text, text)
    return text


def plain(value: object) -> object:
    """As rest-json writes it: a time is seconds since 1970."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.timestamp() if isinstance(value, datetime) else value


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
