"""The fakes hold to the services' rules. No emulator is needed; botocore's own clients are the callers."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import urllib.error
import urllib.request

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import forge
from fakes.codeartifact import MAX_ASSETS, CodeArtifact
from fakes.codeguru import CodeGuru, Scenario
from fakes.github import GitHub, blob_id
from fakes.packages import Packages

WHERE = {"domain": "corp", "domainOwner": "000000000000", "repository": "approved", "format": "generic", "namespace": "gate"}
ONE = {**WHERE, "package": "example", "packageVersion": "1.0"}


def client(fake, service):
    config = Config(retries={"max_attempts": 0}, parameter_validation=False)
    return botocore.session.Session().create_client(
        service,
        endpoint_url=fake.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )


def code(call):
    with pytest.raises(ClientError) as raised:
        call()
    return raised.value.response["Error"]["Code"]


@pytest.fixture
def artifacts():
    fake = CodeArtifact()
    yield fake
    fake.stop()


@pytest.fixture
def guru():
    fake = CodeGuru()
    yield fake
    fake.stop()


@pytest.fixture
def git():
    fake = GitHub()
    yield fake
    fake.stop()


def publish(api, name, content, digest=None, unfinished=False, **changes):
    return api.publish_package_version(
        **{**ONE, **changes},
        assetName=name,
        assetContent=content,
        assetSHA256=digest or hashlib.sha256(content).hexdigest(),
        unfinished=unfinished,
    )


def test_a_version_is_unfinished_until_its_last_asset(artifacts):
    api = client(artifacts, "codeartifact")
    assert publish(api, "a.whl", b"a", unfinished=True)["status"] == "Unfinished"
    assert artifacts.assets("example", "1.0") == {}
    assert publish(api, "a.whl", b"a", unfinished=True)["status"] == "Unfinished"
    assert code(lambda: publish(api, "a.whl", b"b")) == "ConflictException"
    assert publish(api, "b.whl", b"b")["status"] == "Published"
    assert publish(api, "a.whl", b"a")["status"] == "Published", "the same bytes again"
    for unfinished in (False, True):
        assert publish(api, "a.whl", b"a", unfinished=unfinished)["status"] == "Published", "never Unfinished again"
        assert code(lambda: publish(api, "c.whl", b"c", unfinished=unfinished)) == "ConflictException"
    assert artifacts.assets("example", "1.0") == {"a.whl": b"a", "b.whl": b"b"}
    assert artifacts.published == 1 and not artifacts.faults


def test_a_version_takes_150_assets(artifacts):
    api = client(artifacts, "codeartifact")
    for number in range(MAX_ASSETS):
        publish(api, f"{number:03}.whl", b"x", unfinished=True)
    assert code(lambda: publish(api, "more.whl", b"x")) == "ServiceQuotaExceededException"
    listed, token = [], {}
    while token is not None:
        page = api.list_package_version_assets(**ONE, **token)
        listed += [asset["name"] for asset in page["assets"]]
        token = {"nextToken": page["nextToken"]} if "nextToken" in page else None
    assert listed == [f"{number:03}.whl" for number in range(MAX_ASSETS)]
    assert len(artifacts.called("ListPackageVersionAssets")) == 3


def test_bytes_that_are_not_the_digest_s_are_not_taken(artifacts):
    api = client(artifacts, "codeartifact")
    assert code(lambda: publish(api, "a.whl", b"a", "0" * 64)) == "ValidationException"
    assert not artifacts.faults, "that is the service's answer, not a malformed request"
    assert code(lambda: publish(api, "a.whl", b"a", format="pypi")) == "ValidationException"


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"package": "a b"}, "pattern|match"),
        ({"package": "x" * 256}, "above 255"),
        ({"domain": "Corp"}, "match"),
        ({"digest": "A" * 64}, "match"),
    ],
)
def test_a_request_against_the_model_is_a_fault(artifacts, changes, expected):
    api = client(artifacts, "codeartifact")
    assert code(lambda: publish(api, "a.whl", b"a", **changes)) == "ValidationException"
    assert len(artifacts.faults) == 1
    assert any(word in artifacts.faults[0] for word in expected.split("|"))


def test_an_operation_that_is_not_there_or_not_played_is_a_fault(artifacts):
    api = client(artifacts, "codeartifact")
    code(lambda: api.delete_repository(domain="corp", repository="approved"))
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{artifacts.url}/v2/nothing")
    assert len(artifacts.faults) == 2


def test_an_unsigned_request_is_a_fault(artifacts):
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{artifacts.url}/v1/package/version?domain=corp&repository=approved&format=generic&package=a&version=1")
    assert "signed for None" in artifacts.faults[0]


def test_a_version_is_withdrawn_under_its_expected_status(artifacts):
    api = client(artifacts, "codeartifact")
    publish(api, "a.whl", b"a")
    where = {**WHERE, "package": "example", "versions": ["1.0"]}
    wrong = api.update_package_versions_status(**where, expectedStatus="Unfinished", targetStatus="Archived")
    assert wrong["failedVersions"]["1.0"]["errorCode"] == "MISMATCHED_STATUS"
    assert artifacts.assets("example", "1.0")
    right = api.update_package_versions_status(**where, expectedStatus="Published", targetStatus="Archived")
    assert right["successfulVersions"]["1.0"]["status"] == "Archived"
    assert artifacts.assets("example", "1.0") == {}


@pytest.mark.parametrize("status, downloads", [("Unlisted", True), ("Archived", False)])
def test_publishing_brings_nothing_back_that_was_withdrawn(artifacts, status, downloads):
    api = client(artifacts, "codeartifact")
    publish(api, "a.whl", b"a")
    artifacts.withdraw("example", "1.0", status)
    assert code(lambda: publish(api, "b.whl", b"b")) == "ConflictException"
    assert code(lambda: publish(api, "a.whl", b"b")) == "ConflictException"
    assert publish(api, "a.whl", b"a")["status"] == status
    assert api.describe_package_version(**ONE)["packageVersion"]["status"] == status
    assert bool(artifacts.assets("example", "1.0")) == downloads
    assert artifacts.published == 1


def test_one_package_may_be_broken_alone(artifacts):
    api = client(artifacts, "codeartifact")
    artifacts.broken.add("example")
    for _ in range(5):
        assert code(lambda: api.describe_package_version(**ONE)) == "InternalServerException"
        assert code(lambda: publish(api, "a.whl", b"a")) == "InternalServerException"
    assert publish(api, "a.whl", b"a", package="other")["status"] == "Published"
    artifacts.broken.clear()
    assert publish(api, "a.whl", b"a")["status"] == "Published" and not artifacts.faults


def test_throttling_expiry_and_iam_are_answered_as_the_service_does(artifacts):
    api = client(artifacts, "codeartifact")
    artifacts.throttle(1)
    artifacts.expire(1)
    assert code(lambda: api.describe_package_version(**ONE)) == "ThrottlingException"
    assert code(lambda: api.describe_package_version(**ONE)) == "ResourceNotFoundException"
    asked = []
    artifacts.allowed = lambda *question: asked.append(question)
    assert code(lambda: publish(api, "a.whl", b"a")) == "AccessDeniedException"
    package = "arn:aws:codeartifact:us-east-1:000000000000:package/corp/approved/generic/gate/example"
    assert asked == [("test", "codeartifact:PublishPackageVersion", package)]
    assert artifacts.versions == {} and len(artifacts.faults) == 1, "a function that asks for what it may not is a fault"


def scan(api, guru, content, name="run-1", token="token-1"):
    made = api.create_upload_url(scanName=name)
    request = urllib.request.Request(made["s3Url"], content, made["requestHeaders"], method="PUT")
    urllib.request.urlopen(request).close()
    return api.create_scan(
        scanName=name, resourceId={"codeArtifactId": made["codeArtifactId"]}, clientToken=token, analysisType="All"
    )


def test_a_scan_is_uploaded_started_polled_and_read(guru):
    api = client(guru, "codeguru-security")
    guru.script(b"zip", Scenario(["Low"] * 20 + ["High"], polls=2))
    started = scan(api, guru, b"zip")
    assert started["scanState"] == "InProgress"
    assert scan(api, guru, b"zip")["runId"] == started["runId"], "the same token is the same scan"
    assert code(lambda: scan(api, guru, b"zip", token="token-2")) == "ConflictException"
    assert code(lambda: api.get_findings(scanName="run-1")) == "ConflictException"
    states = [api.get_scan(scanName="run-1")["scanState"] for _ in range(3)]
    assert states == ["InProgress", "InProgress", "Successful"]
    first = api.get_findings(scanName="run-1", status="All")
    second = api.get_findings(scanName="run-1", status="All", nextToken=first["nextToken"])
    assert {f["severity"] for f in first["findings"]} == {"Low"} and len(first["findings"]) == 20
    assert [f["severity"] for f in second["findings"]] == ["High"] and "nextToken" not in second
    scan(api, guru, b"clean", token="token-3")
    api.get_scan(scanName="run-1")
    api.get_scan(scanName="run-1")
    assert len(api.get_findings(scanName="run-1", maxResults=1)["findings"]) == 1, "a name used again shows the old findings"
    assert not guru.faults


def test_an_upload_needs_the_headers_that_were_given(guru):
    api = client(guru, "codeguru-security")
    made = api.create_upload_url(scanName="run-1")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(made["s3Url"], b"zip", method="PUT"))
    assert refused.value.code == 403 and len(guru.faults) == 1
    never = {"codeArtifactId": made["codeArtifactId"]}
    assert code(lambda: api.create_scan(scanName="run-1", resourceId=never)) == "ResourceNotFoundException"


def test_scans_that_never_end_or_fail_and_services_that_break(guru):
    api = client(guru, "codeguru-security")
    guru.script(b"slow", Scenario(polls=None))
    scan(api, guru, b"slow")
    assert all(api.get_scan(scanName="run-1")["scanState"] == "InProgress" for _ in range(10))
    guru.script(b"faulty", Scenario(faults=1, polls=0, state="Failed"))
    scan(api, guru, b"faulty", name="run-2")
    assert code(lambda: api.get_scan(scanName="run-2")) == "InternalServerException"
    assert api.get_scan(scanName="run-2")["scanState"] == "Failed"
    assert code(lambda: api.get_scan(scanName="x" * 141)) == "ValidationException" and len(guru.faults) == 1
    guru.broken = True
    assert code(lambda: api.get_scan(scanName="run-2")) == "InternalServerException"


def ask(git, path, token=None, accept="application/vnd.github+json", body=None, agent="gate"):
    headers = {"authorization": f"Bearer {token or git.token}", "accept": accept, "user-agent": agent}
    request = urllib.request.Request(git.url + path, body and json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_git_ids_are_git_s(git, tmp_path):
    first = git.push({"b.csv": "one\n", "a.txt": "x"})
    second = git.push({"b.csv": "one\ntwo\n"})

    def run(*args, **extra):
        return subprocess.run(["git", *args], cwd=tmp_path, check=True, capture_output=True, text=True, **extra).stdout.strip()

    run("init", "-q", "-b", "main")
    for number, (commit, files) in enumerate([(first, {"b.csv": "one\n", "a.txt": "x"}), (second, {"b.csv": "one\ntwo\n"})]):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        when = f"{1_795_000_000 + number} +0000"
        who = {"NAME": "ada", "EMAIL": "ada@corp.example", "DATE": when}
        env = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in who.items()}
        run("add", ".")
        run("commit", "-q", "-m", "Ask for a package", env={**env, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
        assert run("rev-parse", "HEAD") == commit.sha
    assert run("rev-parse", "HEAD:b.csv") == blob_id(b"one\ntwo\n")


def test_content_at_a_commit(git):
    first, second = git.push({"r.csv": "one\n"}), git.push({"r.csv": "x" * ((1 << 20) + 1)})
    base = f"/repositories/{git.number}"
    status, body = ask(git, f"{base}/contents/r.csv?ref={first.sha}")
    assert status == 200 and json.loads(body)["sha"] == blob_id(b"one\n")
    assert json.loads(ask(git, f"{base}/contents/r.csv?ref={second.sha}")[1])["encoding"] == "none"
    assert ask(git, f"{base}/contents/r.csv?ref={first.sha}", accept="application/vnd.github.raw+json")[1] == b"one\n"
    assert ask(git, f"{base}/contents/none.csv?ref={first.sha}")[0] == 404
    assert ask(git, f"{base}/commits/main", accept="application/vnd.github.sha")[1].decode() == second.sha
    assert not git.faults


def test_credentials_and_agents(git):
    git.push({"r.csv": ""})
    base = f"/repositories/{git.number}"
    assert ask(git, base, token="old")[0] == 401 and git.refused_tokens == 1
    assert ask(git, f"/repositories/{git.number + 1}")[0] == 404
    assert not git.faults
    assert ask(git, base, agent="")[0] == 403 and ask(git, "/repos/corp/package-requests")[0] == 404
    assert len(git.faults) == 2


def test_statuses(git):
    commit = git.push({"r.csv": ""})
    path = f"/repositories/{git.number}/statuses/{commit.sha}"
    assert ask(git, path, body={"state": "success", "description": "d" * 140, "context": "gate"})[0] == 201
    assert ask(git, path, body={"state": "success", "description": "d" * 141, "context": "gate"})[0] == 422
    assert ask(git, f"/repositories/{git.number}/statuses/{'0' * 40}", body={"state": "success"})[0] == 422
    assert len(git.statuses_of(commit)) == 1


def test_blame_gives_the_author_of_each_line(git):
    git.push({"r.csv": "name,source\none,x\n"}, author="ada@corp.example")
    commit = git.push({"r.csv": "name,source\ntwo,y\none,x\n"}, author="bob@corp.example")
    query = """query($id: ID!, $oid: GitObjectID!, $path: String!) {
      node(id: $id) { ... on Repository { object(oid: $oid) { ... on Commit { blame(path: $path) {
        ranges { startingLine endingLine commit { author { email } } } } } } } } }"""
    variables = {"id": git.node_id, "oid": commit.sha, "path": "r.csv"}
    status, body = ask(git, "/graphql", body={"query": query, "variables": variables})
    ranges = json.loads(body)["data"]["node"]["object"]["blame"]["ranges"]
    found = [(r["startingLine"], r["endingLine"], r["commit"]["author"]["email"]) for r in ranges]
    assert status == 200
    assert found == [(1, 1, "ada@corp.example"), (2, 2, "bob@corp.example"), (3, 3, "ada@corp.example")]
    assert json.loads(ask(git, "/graphql", body={"query": "{ repository { nothing } }"})[1])["errors"] and git.faults


def test_the_package_host_is_trusted_through_the_authority_alone(tmp_path):
    host = Packages(tmp_path)
    content = forge.wheel("example", "1.0")
    host.release("example", "example-1.0-py3-none-any.whl", content, 'data-yanked="why"')
    trusting = ssl.create_default_context(cafile=host.authority)
    with urllib.request.urlopen(f"{host.index_url}example/", context=trusting) as answer:
        page = answer.read().decode()
    assert hashlib.sha256(content).hexdigest() in page and 'data-yanked="why"' in page
    with urllib.request.urlopen(host.address("files/example-1.0-py3-none-any.whl"), context=trusting) as answer:
        assert answer.read() == content
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(host.index_url, context=ssl.create_default_context())
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(host.address("none"), context=trusting)
    assert host.asked() == ["/simple/example/", "/files/example-1.0-py3-none-any.whl", "/none"]
    host.stop()
