"""Who may do what, and how things are kept."""

from __future__ import annotations

import re

import checks
import delivery
import pytest
from gate_template import as_list, functions, mentions, resources, role_statements, source, statements, template, walk

ROLES = sorted(resources("AWS::IAM::Role"))
FUNCTION_ROLES = sorted(name.removesuffix("Function") + "Role" for name in functions())

# Actions whose service knows no resource to name (Service Authorization Reference).
ON_EVERYTHING = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "sns:GetSubscriptionAttributes",
    "sns:SetSubscriptionAttributes",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}

KEY = {"Fn::If": ["CreateKey", {"Fn::GetAtt": ["Key", "Arn"]}, {"Ref": "KeyArn"}]}


def allowed(role: str, action: str) -> list:
    """The resources that a role has an action on."""
    return [
        resource
        for statement in role_statements(role)
        if statement["Effect"] == "Allow" and action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]


def holders(action: str) -> set[str]:
    return {role for role in ROLES if allowed(role, action)}


def prefixes(role: str, action: str) -> set[str]:
    """Below which keys a role has an action, as `DataBucket/inbox/*`."""
    found = set()
    for resource in allowed(role, action):
        bucket, _, prefix = resource["Fn::Sub"].removeprefix("${").partition(".Arn}/")
        found.add(f"{bucket}/{prefix}")
    return found


@pytest.mark.parametrize("role", ROLES)
def test_roles(role):
    properties = template()["Resources"][role]["Properties"]
    assert properties["Path"] == {"Ref": "RolePath"}
    assert "HasBoundary" in str(properties["PermissionsBoundary"])
    trust = statements(properties["AssumeRolePolicyDocument"])
    service = "lambda.amazonaws.com" if role in FUNCTION_ROLES else "states.amazonaws.com"
    assert [statement["Principal"] for statement in trust] == [{"Service": service}]
    faults = [
        fault for statement in role_statements(role) for fault in checks.wildcard_faults(statement, ON_EVERYTHING)
    ]
    assert faults == []


def test_every_role_belongs_to_a_function_or_a_machine():
    assert set(ROLES) == {*FUNCTION_ROLES, "RowMachineRole", "IntakeMachineRole"}


def test_secrets_are_read_by_those_who_need_them():
    secrets = {
        role: allowed(role, "secretsmanager:GetSecretValue") for role in holders("secretsmanager:GetSecretValue")
    }
    token, webhook = ([{"Fn::GetAtt": [name, "Id"]}] for name in ("AccessTokenSecret", "WebhookSecret"))
    assert secrets == {"WebhookReceiverRole": webhook, "RequestReaderRole": token, "ReconcilerRole": token}


def test_who_writes_what():
    writes = {role: prefixes(role, "s3:PutObject") for role in holders("s3:PutObject")}
    assert writes == {
        "WebhookReceiverRole": {"DataBucket/inbox/*"},
        "RequestReaderRole": {
            "DataBucket/runs/*/run.json",
            "DataBucket/runs/*/manifest.json",
            "DataBucket/runs/*/rows/*",
            "DataBucket/runs/*/outcomes/*",
            "DataBucket/runs/*/reported.json",
            "DataBucket/heads/*",
            "DataBucket/notices/*",
            "DataBucket/looks/*",
        },
        "ReconcilerRole": {"DataBucket/inbox/*", "DataBucket/again/*"},
        "FetcherRole": {
            "DataBucket/runs/*/outcomes/*",
            "DataBucket/fetched/*",
            "DataBucket/quarantine/*",
            "DataBucket/incoming/*",
        },
        "AdvisoriesRole": {"ConfigBucket/advisories/*.zip", "ConfigBucket/advisories/current.json"},
        "ScannerRole": {"DataBucket/reports/*"},
        "ScanPollerRole": {
            "DataBucket/runs/*/outcomes/*",
            "DataBucket/runs/*/scans/*",
            "DataBucket/reports/*",
            "DataBucket/decisions/*",
        },
        "PublisherRole": {"DataBucket/runs/*/outcomes/*", "DataBucket/decisions/*"},
        "NotifierRole": {
            "DataBucket/runs/*/outcomes/*",
            "DataBucket/runs/*/mails/*",
            "DataBucket/runs/*/summary.json",
            "DataBucket/runs/*/report*.html",
            "DataBucket/notices/*",
            "DataBucket/looks/*",
        },
    }


def test_every_kind_of_record_has_its_writers_and_is_written_once():
    """The kinds are those of the sources; a put without If-None-Match is denied to everybody, also to who runs the stack."""
    keys = set(re.findall(r"^//! \| `([a-z]+)/", source("crates/core/src/run/mod.rs"), re.MULTILINE))
    keys |= set(re.findall(r'(?:format!\(|&str = )"([a-z]+)/', source("crates/core/src/ledger.rs")))
    artifacts = {"quarantine", "incoming"}
    records = keys - artifacts
    assert {"runs", "notices", "reports", "decisions"} <= records
    written = {key.split("/")[1] for role in holders("s3:PutObject") for key in prefixes(role, "s3:PutObject")}
    assert written == records | artifacts | {"advisories"}
    (once,) = [
        statement
        for statement in statements(template()["Resources"]["DataBucketPolicy"]["Properties"]["PolicyDocument"])
        if statement["Sid"] == "WrittenOnce"
    ]
    assert (once["Effect"], once["Principal"], once["Action"]) == ("Deny", "*", "s3:PutObject")
    assert {resource["Fn::Sub"] for resource in once["Resource"]} == {f"${{DataBucket.Arn}}/{kind}/*" for kind in records}
    # S3 User Guide, "Enforce conditional writes on Amazon S3 buckets".
    assert once["Condition"] == {
        "Bool": {"s3:ObjectCreationOperation": "true"},
        "Null": {"s3:if-none-match": "true"},
    }
    # The one way of the sources to such a record sends the header.
    put = re.search(r"async fn put_new\(.*?\n    \}", source("crates/aws/src/s3/records.rs"), re.DOTALL)
    assert put and "self.bucket.put_new(" in put[0]
    bucket = source("crates/aws/src/s3/bucket.rs")
    assert '.if_none_match("*")' in bucket.partition("async fn put_new(")[2].partition("async fn")[0]
    assert ".replace(" not in source("crates/aws/src/s3/records.rs")


def test_only_artifacts_and_old_advisories_are_ever_deleted():
    deletes = {role: prefixes(role, "s3:DeleteObject") for role in holders("s3:DeleteObject")}
    quarantine = {"DataBucket/quarantine/*"}
    assert deletes == {
        "FetcherRole": {"DataBucket/incoming/*"},
        "ScannerRole": quarantine,
        "PublisherRole": quarantine,
        "AdvisoriesRole": {"ConfigBucket/advisories/*.zip"},
    }


def test_readers_read_and_nothing_else():
    """The policy for those who install."""
    document = template()["Resources"]["ReaderPolicy"]["Properties"]["PolicyDocument"]
    granted = {}
    for statement in statements(document):
        assert statement["Effect"] == "Allow"
        assert checks.wildcard_faults(statement, {"sts:GetServiceBearerToken"}) == []
        for action in as_list(statement["Action"]):
            granted[action] = (statement["Resource"], statement.get("Condition"))
    owner = {"Owner": {"Fn::If": ["OwnsCodeArtifact", {"Ref": "AWS::AccountId"}, {"Ref": "CodeArtifactOwner"}]}}

    service = "arn:${AWS::Partition}:codeartifact:${AWS::Region}:${Owner}"

    def within(kind, rest):
        return {"Fn::Sub": [f"{service}:{kind}/${{CodeArtifactDomain}}{rest}", owner]}

    repository = within("repository", "/${CodeArtifactRepository}")
    packages = within("package", "/${CodeArtifactRepository}/generic/gate/*")
    # The resource of each action is the one that it has (Service Authorization Reference, AWS CodeArtifact).
    assert granted == {
        "codeartifact:ListPackages": (repository, None),
        "codeartifact:ReadFromRepository": (repository, None),
        "codeartifact:GetRepositoryEndpoint": (repository, None),
        "codeartifact:ListPackageVersions": (packages, None),
        "codeartifact:ListPackageVersionAssets": (packages, None),
        "codeartifact:DescribePackageVersion": (packages, None),
        "codeartifact:GetPackageVersionAsset": (packages, None),
        "codeartifact:GetAuthorizationToken": (within("domain", ""), None),
        "sts:GetServiceBearerToken": ("*", {"StringEquals": {"sts:AWSServiceName": "codeartifact.amazonaws.com"}}),
        "s3:GetObject": ({"Fn::Sub": "${DataBucket.Arn}/runs/*/report*.html"}, None),
        "kms:Decrypt": (KEY, {"StringEquals": {"kms:ViaService": {"Fn::Sub": "s3.${AWS::Region}.amazonaws.com"}}}),
    }
    assert all("ReaderPolicy" not in mentions(template()["Resources"][role]) for role in ROLES), "no function has it"


def test_nobody_but_the_publisher_publishes_and_the_notifier_tells():
    assert holders("codeartifact:PublishPackageVersion") == {"PublisherRole"}
    assert holders("sns:Publish") == {"NotifierRole"}
    assert holders("states:StartExecution") == {"RequestReaderRole", "ReconcilerRole", "IntakeMachineRole"}
    assert holders("lambda:InvokeFunction") == {"RowMachineRole", "IntakeMachineRole"}


@pytest.mark.parametrize("role", FUNCTION_ROLES)
def test_who_reads_may_also_list(role):
    """S3 says 404 of a missing key only to those who may list it."""
    for bucket in ("DataBucket", "ConfigBucket"):
        read = {key.partition("/")[2] for key in prefixes(role, "s3:GetObject") if key.startswith(f"{bucket}/")}
        listed = set()
        for statement in role_statements(role):
            if statement["Action"] == "s3:ListBucket" and bucket in mentions(statement["Resource"]):
                listed |= set(statement["Condition"]["StringLikeIfExists"]["s3:prefix"])
        assert read == listed, bucket


@pytest.mark.parametrize("machine", ["RowMachine", "IntakeMachine"])
def test_machines(machine):
    properties = resources("AWS::Serverless::StateMachine")[machine]["Properties"]
    assert properties["Type"] == "STANDARD"
    assert properties["Tracing"] == {"Enabled": True}
    assert properties["Logging"]["Level"] == "ALL"
    assert properties["Logging"]["IncludeExecutionData"] is False
    invoked = {name for resource in allowed(f"{machine}Role", "lambda:InvokeFunction") for name in mentions(resource)}
    substituted = {name for name in mentions(properties["DefinitionSubstitutions"]) if name in functions()}
    assert invoked == substituted


def test_the_key():
    key = template()["Resources"]["Key"]["Properties"]
    assert key["EnableKeyRotation"] is True
    services = set()
    for statement in statements(key["KeyPolicy"]):
        assert statement["Effect"] == "Allow" and statement["Principal"] != "*"
        if "Service" in statement["Principal"]:
            # EventBridge gives KMS no aws:SourceAccount (SNS, Developer Guide, "Managing encryption keys"): the context does.
            keys = {key for test in statement["Condition"].values() for key in test}
            assert all(key.startswith("kms:EncryptionContext:") for key in keys), statement["Sid"]
            assert not any(action == "kms:*" for action in as_list(statement["Action"]))
            services |= {str(service) for service in as_list(statement["Principal"]["Service"])}
    assert services == {
        "cloudwatch.amazonaws.com",
        "events.amazonaws.com",
        "sns.amazonaws.com",
        str({"Fn::Sub": "logs.${AWS::Region}.amazonaws.com"}),
    }


@pytest.mark.parametrize(
    "kind, member",
    [
        ("AWS::Logs::LogGroup", "KmsKeyId"),
        ("AWS::SNS::Topic", "KmsMasterKeyId"),
        ("AWS::SQS::Queue", "KmsMasterKeyId"),
        ("AWS::SecretsManager::Secret", "KmsKeyId"),
        ("AWS::CodeArtifact::Domain", "EncryptionKey"),
    ],
)
def test_everything_is_under_the_key(kind, member):
    assert resources(kind)
    for name, resource in resources(kind).items():
        assert resource["Properties"][member] == KEY, name
    assert template()["Globals"]["Function"]["KmsKeyArn"] == KEY


def test_logs_end():
    for name, group in resources("AWS::Logs::LogGroup").items():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name


@pytest.mark.parametrize("name", ["Data", "Config", "Log"])
def test_buckets(name):
    bucket = template()["Resources"][f"{name}Bucket"]
    properties = bucket["Properties"]
    assert bucket["DeletionPolicy"].startswith("Retain") and bucket["UpdateReplacePolicy"] == "Retain"
    assert (
        set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        and len(properties["PublicAccessBlockConfiguration"]) == 4
    )
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    rule = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
    assert rule == ({"SSEAlgorithm": "AES256"} if name == "Log" else {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY})
    assert any("AbortIncompleteMultipartUpload" in rule for rule in properties["LifecycleConfiguration"]["Rules"])
    denied = {
        statement["Sid"]
        for statement in statements(template()["Resources"][f"{name}BucketPolicy"]["Properties"]["PolicyDocument"])
        if statement["Effect"] == "Deny"
    }
    more = {"Data": {"OtherKeys", "WrittenOnce"}, "Config": {"OtherKeys"}, "Log": set()}
    assert denied == {"TlsOnly", *more[name]}
    if name != "Log":
        assert properties["LoggingConfiguration"]["DestinationBucketName"] == {"Ref": "LogBucket"}


def test_the_data_bucket_forgets():
    rules = {
        rule.get("Prefix"): rule
        for rule in template()["Resources"]["DataBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    }
    assert rules["incoming/"]["ExpirationInDays"] == 1
    assert rules["quarantine/"]["ExpirationInDays"] == {"Ref": "QuarantineDays"}
    assert rules["looks/"]["ExpirationInDays"] == 90
    assert set(rules) == {None, "incoming/", "quarantine/", "looks/"}, "records never expire"


def test_old_advisories_leave_nothing_behind():
    """The function deletes them (crates/aws/src/config.rs); the versions and the markers that this leaves expire."""
    rules = template()["Resources"]["ConfigBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (old,) = [rule for rule in rules if rule.get("Prefix") == "advisories/"]
    assert old["NoncurrentVersionExpiration"]["NoncurrentDays"] <= 30 and old["ExpiredObjectDeleteMarker"] is True
    assert not any("ExpirationInDays" in rule for rule in rules), "an export in force never expires"


def test_only_the_gate_fills_the_repository():
    repository = template()["Resources"]["PackageRepository"]["Properties"]
    assert not {"Upstreams", "ExternalConnections"} & set(repository)
    (deny,) = statements(repository["PermissionsPolicyDocument"])
    assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
    assert "codeartifact:PublishPackageVersion" in deny["Action"]
    assert deny["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": {"Fn::GetAtt": ["PublisherRole", "Arn"]}}}
    groups = {
        group["Properties"]["Pattern"]: group["Properties"]["OriginConfiguration"]["Restrictions"]
        for group in resources("AWS::CodeArtifact::PackageGroup").values()
    }
    # The formats of CodeArtifact (API reference, PackageFormat). The group /* always exists and cannot be made.
    assert set(groups) == {
        f"/{form}/*" for form in ("cargo", "generic", "maven", "npm", "nuget", "pypi", "ruby", "swift")
    }
    for pattern, restrictions in groups.items():
        assert restrictions["ExternalUpstream"] == restrictions["InternalUpstream"] == {"RestrictionMode": "BLOCK"}, (
            pattern
        )
        ours = pattern in ("/generic/*", "/pypi/*")
        assert restrictions["Publish"]["RestrictionMode"] == ("ALLOW_SPECIFIC_REPOSITORIES" if ours else "BLOCK"), (
            pattern
        )
    made = {
        name for name, resource in template()["Resources"].items() if resource["Type"].startswith("AWS::CodeArtifact::")
    }
    assert {template()["Resources"][name].get("Condition") for name in made} == {"CreateCodeArtifact"}
    # A domain that outlives its stack keeps its groups: by itself it lets packages of any origin in.
    for name in made:
        resource = template()["Resources"][name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain"), name


def test_what_is_not_delivered_is_kept():
    for name, rule in resources("AWS::Events::Rule").items():
        for target in rule["Properties"]["Targets"]:
            assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["EventDeadLetters", "Arn"]}}, name
            assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0, name
            permission = template()["Resources"][name.removesuffix("Rule") + "Permission"]["Properties"]
            assert permission["SourceArn"] == {"Fn::GetAtt": [name, "Arn"]}
            assert permission["FunctionName"]["Ref"] in mentions(target["Arn"])
    queue = template()["Globals"]["Function"]["DeadLetterQueue"]
    assert queue == {"Type": "SQS", "TargetArn": {"Fn::GetAtt": ["InvocationDeadLetters", "Arn"]}}
    assert set(FUNCTION_ROLES) <= holders("sqs:SendMessage")


def test_who_may_tell_of_alarms_and_lost_events():
    assert delivery.policy_faults(template()) == []


def test_notices_always_have_somewhere_to_go():
    default = template()["Resources"]["DefaultSubscription"]
    assert "Condition" not in default
    assert default["Properties"]["Endpoint"] == {"Ref": "DefaultMailAddress"}
    assert default["Properties"]["FilterPolicy"] == {"requester": ["default"]}
    pattern = template()["Parameters"]["DefaultMailAddress"]["AllowedPattern"]
    for address, fits in (("gate@corp.example", True), ("", False), ("gate", False), ("a@b", False), ("a@b.c,d@e.f", False)):
        assert bool(re.fullmatch(pattern, address)) == fits, address


def test_the_failure_of_a_row_is_told():
    pattern = template()["Resources"]["RowFailedRule"]["Properties"]["EventPattern"]
    assert pattern["source"] == ["aws.states"]
    assert pattern["detail"] == {
        "stateMachineArn": [{"Ref": "RowMachine"}],
        "status": ["FAILED", "TIMED_OUT", "ABORTED"],
    }


def test_the_webhook():
    stage = template()["Resources"]["WebhookStage"]["Properties"]
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] <= 100
    assert "AccessLogSettings" in stage
    assert template()["Resources"]["WebhookRoute"]["Properties"]["RouteKey"] == "POST /webhook"
    source = template()["Resources"]["WebhookPermission"]["Properties"]["SourceArn"]
    assert source["Fn::Sub"].endswith("${WebhookApi}/*/POST/webhook")


def test_secrets_are_generated_or_a_placeholder_that_is_refused():
    secrets = template()["Resources"]
    assert secrets["WebhookSecret"]["Properties"]["GenerateSecretString"]["PasswordLength"] >= 32
    placeholder = secrets["AccessTokenSecret"]["Properties"]["SecretString"]
    assert f'PLACEHOLDER: &str = "{placeholder}"' in source("crates/aws/src/secrets.rs")


def test_waivers():
    """At most three, each with its rule, resource and reason."""
    waivers = []
    for name, resource in template()["Resources"].items():
        for tool, key in (
            ("checkov", "skip"),
            ("cfn-lint", "config"),
            ("cfn_nag", "rules_to_suppress"),
            ("guard", "SuppressedRules"),
        ):
            if tool in resource.get("Metadata", {}):
                assert tool == "checkov", f"{name}: {tool} is not waived here"
                waivers += [(name, waiver["id"], waiver["comment"]) for waiver in resource["Metadata"][tool][key]]
    assert len(waivers) <= 3
    assert all(len(reason) > 40 for _, _, reason in waivers)
    assert "cfn-lint" not in template()["Metadata"]


def test_reserved_concurrency_is_a_parameter():
    reserved = template()["Globals"]["Function"]["ReservedConcurrentExecutions"]
    assert reserved == {"Fn::If": ["Reserve", {"Ref": "ReservedConcurrency"}, {"Ref": "AWS::NoValue"}]}


def test_everything_that_takes_tags_has_them():
    untagged = {
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::Events::Rule",
        "AWS::IAM::ManagedPolicy",
        "AWS::KMS::Alias",
        "AWS::Lambda::Permission",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
    }
    for name, resource in template()["Resources"].items():
        if resource["Type"] not in untagged:
            tags = resource["Properties"].get("Tags", template()["Globals"]["Function"]["Tags"])
            assert {"TagOwner", "TagCostCenter"} <= mentions(tags), name


def test_nothing_names_an_account_or_a_region():
    for value in walk(template()["Resources"]):
        if isinstance(value, str):
            assert "us-east-1" not in value and "arn:aws:" not in value
