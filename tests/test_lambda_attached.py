"""What hangs on functions, through real boto3: tags, policies, URLs, event-invoke settings, code signing, runtime settings."""
from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve, Server, refused
from tests.lambdas import ARN, create, packed, running, told

SIGNER = "arn:aws:signer:us-east-1:111111111111:/signing-profiles/test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all; each test has a function of its own."""
    names = ("tagged", "allowed", "addressed", "said", "signed", "run", "many", "apart")
    files = {f"{name}.py": "def handler(event, context):\n    return context.function_name\n" for name in names}
    yield from running(tmp_path_factory.mktemp("functions"), files)


@pytest.fixture(scope="module")
def client(server: Server) -> Any:
    return server.client("lambda")


# ---- tags ------------------------------------------------------------------------------------------------------------

def test_tags_are_added_replaced_and_removed(client: Any) -> None:
    arn = ARN + "tagged"
    assert client.list_tags(Resource=arn)["Tags"] == {}
    assert client.tag_resource(Resource=arn, Tags={"b": "1", "a": "x y+z"})["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.tag_resource(Resource=arn, Tags={"b": "2"})
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "x y+z", "b": "2"}
    client.untag_resource(Resource=arn, TagKeys=["a", "none"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}


def test_what_cannot_be_tagged_is_refused_as_aws_does(client: Any) -> None:
    assert refused(client.tag_resource, Resource=ARN + "tagged", Tags={}) == (
        400, "InvalidParameterValueException", "An error occurred and the request cannot be processed.")
    assert refused(client.list_tags, Resource=ARN + "tagged:live") == (
        400, "InvalidParameterValueException", "Tags on function aliases and versions are not supported. Please specify a function ARN.")
    assert refused(client.list_tags, Resource=ARN + "none") == (404, "ResourceNotFoundException", f"Function not found: {ARN}none")
    mapping = "arn:aws:lambda:us-east-1:000000000000:event-source-mapping:00000000-0000-4000-8000-000000000000"
    assert refused(client.tag_resource, Resource=mapping, Tags={"a": "b"}) == (404, "ResourceNotFoundException", f"Event source mapping not found: {mapping}")
    assert refused(client.untag_resource, Resource=ARN + "tagged", TagKeys=[]) == (
        400, "ValidationException", "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null")
    too_many = refused(client.tag_resource, Resource=ARN + "tagged", Tags={f"n{number}": "" for number in range(51)})
    assert too_many[:2] == (400, "InvalidParameterValueException")


# ---- policies --------------------------------------------------------------------------------------------------------

def test_a_policy_grows_and_shrinks_a_statement_at_a_time(client: Any) -> None:
    first = client.add_permission(FunctionName="allowed", StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
                                  SourceArn="arn:aws:s3:::bucket", SourceAccount="000000000000")
    assert json.loads(first["Statement"]) == {
        "Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "lambda:InvokeFunction", "Resource": ARN + "allowed",
        "Condition": {"StringEquals": {"AWS:SourceAccount": "000000000000"}, "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}},
    }
    client.add_permission(FunctionName=ARN + "allowed", StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
    policy = client.get_policy(FunctionName="000000000000:function:allowed")
    document = json.loads(policy["Policy"])
    assert (document["Version"], document["Id"], [statement["Sid"] for statement in document["Statement"]]) == ("2012-10-17", "default", ["s3", "all"])

    assert refused(client.remove_permission, FunctionName="allowed", StatementId="s3", RevisionId="another")[:2] == (412, "PreconditionFailedException")
    client.remove_permission(FunctionName="allowed", StatementId="s3", RevisionId=policy["RevisionId"])
    assert client.get_policy(FunctionName="allowed")["RevisionId"] != policy["RevisionId"]
    client.remove_permission(FunctionName="allowed", StatementId="all")
    assert refused(client.get_policy, FunctionName="allowed") == (404, "ResourceNotFoundException", "The resource you requested does not exist.")


@pytest.mark.parametrize(("said", "meant"), [
    ("111111111111", {"AWS": "arn:aws:iam::111111111111:root"}),
    ("arn:aws:iam::111111111111:user/me", {"AWS": "arn:aws:iam::111111111111:user/me"}),
    ("events.amazonaws.com", {"Service": "events.amazonaws.com"}),
    ("*", "*"),
])
def test_who_is_meant_is_written_as_iam_does(client: Any, said: str, meant: object) -> None:
    reply = client.add_permission(FunctionName="allowed", StatementId="who", Action="lambda:InvokeFunction", Principal=said)
    client.remove_permission(FunctionName="allowed", StatementId="who")
    assert json.loads(reply["Statement"])["Principal"] == meant


def test_permissions_that_cannot_be_are_refused_as_aws_does(client: Any) -> None:
    params = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    assert refused(client.add_permission, FunctionName="allowed", Qualifier="$LATEST", **params)[2] == (
        "We currently do not support adding policies for $LATEST.")
    assert refused(client.add_permission, FunctionName="allowed", **params | {"Principal": "elsewhere.example.com"})[2] == (
        "The provided principal was invalid. Please check the principal and try again.")
    assert refused(client.add_permission, FunctionName="none", **params)[2] == f"Function not found: {ARN}none"
    assert refused(client.add_permission, FunctionName="allowed", Qualifier="live", **params)[2] == f"Cannot find alias arn: {ARN}allowed:live"
    assert refused(client.add_permission, FunctionName="allowed", Qualifier="42", **params)[2] == f"Function not found: {ARN}allowed:42"
    assert refused(client.remove_permission, FunctionName="none", StatementId="s")[2] == f"No policy found for: {ARN}none"
    assert refused(client.remove_permission, FunctionName="allowed", StatementId="s")[2] == "No policy is associated with the given resource."
    client.add_permission(FunctionName="allowed", **params)
    assert refused(client.add_permission, FunctionName="allowed", **params)[:2] == (409, "ResourceConflictException")
    assert refused(client.remove_permission, FunctionName="allowed", StatementId="t")[2] == "Statement t is not found in resource policy."
    long = {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::" + "b" * 7000}
    client.add_permission(FunctionName="allowed", StatementId="a", **long)
    client.add_permission(FunctionName="allowed", StatementId="b", **long)
    assert refused(client.add_permission, FunctionName="allowed", StatementId="c", **long)[1] == "PolicyLengthExceededException"


# ---- URLs ------------------------------------------------------------------------------------------------------------

def test_a_function_url_is_made_changed_and_taken_away(client: Any) -> None:
    made = client.create_function_url_config(FunctionName="addressed", AuthType="NONE", Cors={"AllowOrigins": ["*"], "MaxAge": 5})
    assert re.fullmatch(r"http://[0-9a-f]{32}\.lambda-url\.us-east-1\.localhost:\d+/", made["FunctionUrl"])
    assert set(told(made)) == {"AuthType", "Cors", "CreationTime", "FunctionArn", "FunctionUrl"}
    conflict = refused(client.create_function_url_config, FunctionName="addressed", AuthType="NONE")
    assert conflict[:2] == (409, "ResourceConflictException")
    assert ARN + "addressed" in conflict[2]

    changed = client.update_function_url_config(FunctionName="addressed", AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM")
    assert (changed["AuthType"], changed["InvokeMode"], changed["Cors"]) == ("AWS_IAM", "RESPONSE_STREAM", {"AllowOrigins": ["*"], "MaxAge": 5})
    shown = client.get_function_url_config(FunctionName="addressed")
    assert told(shown) == told(changed)
    assert shown["FunctionUrl"] == made["FunctionUrl"]
    assert client.list_function_url_configs(FunctionName="addressed")["FunctionUrlConfigs"] == [told(shown)]

    client.delete_function_url_config(FunctionName="addressed")
    for call in (client.get_function_url_config, client.delete_function_url_config, client.update_function_url_config):
        assert refused(call, FunctionName="addressed") == (404, "ResourceNotFoundException", "The resource you requested does not exist.")
    assert refused(client.update_function_url_config, FunctionName="none")[2] == "Function does not exist"
    assert refused(client.list_function_url_configs, FunctionName="none")[2] == "Function does not exist"


# ---- asynchronous invocations ----------------------------------------------------------------------------------------

def test_event_invoke_settings_are_replaced_by_put_and_changed_by_update(client: Any) -> None:
    queue = "arn:aws:sqs:us-east-1:000000000000:late"
    put = client.put_function_event_invoke_config(FunctionName="said", MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": queue}})
    assert put["FunctionArn"] == ARN + "said:$LATEST"
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue}}
    updated = client.update_function_event_invoke_config(FunctionName="said", MaximumEventAgeInSeconds=60)
    assert (updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"], updated["DestinationConfig"]) == (0, 60, put["DestinationConfig"])
    put = client.put_function_event_invoke_config(FunctionName="said", Qualifier="$LATEST", MaximumEventAgeInSeconds=120)
    assert "MaximumRetryAttempts" not in put
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    assert told(client.get_function_event_invoke_config(FunctionName="said")) == told(put)
    assert client.list_function_event_invoke_configs(FunctionName="said")["FunctionEventInvokeConfigs"] == [told(put)]
    client.delete_function_event_invoke_config(FunctionName="said")
    assert refused(client.get_function_event_invoke_config, FunctionName="said") == (
        404, "ResourceNotFoundException", f"The function {ARN}said:$LATEST doesn't have an EventInvokeConfig")


def test_event_invoke_settings_that_cannot_be_are_refused(client: Any) -> None:
    put = client.put_function_event_invoke_config
    assert refused(put, FunctionName="said")[2] == "You must specify at least one of error handling or destination setting."
    assert refused(put, FunctionName="none", MaximumRetryAttempts=1)[:2] == (404, "ResourceNotFoundException")
    assert refused(put, FunctionName="said", DestinationConfig={"OnSuccess": {"Destination": ARN + "said"}})[2] == (
        "You can't specify the function as a destination for itself.")
    assert refused(put, FunctionName="said", DestinationConfig={"OnSuccess": {"Destination": ARN + "none"}})[2] == (
        f"The destination ARN {ARN}none is invalid.")
    assert refused(put, FunctionName="said", MaximumRetryAttempts=3)[:2] == (400, "ValidationException")


def test_what_is_said_of_retries_holds_for_the_next_invocation(serve: Serve) -> None:
    server = serve({"broken.py": """
        def handler(event, context):
            raise ValueError("no")
    """}, "--retry-delay", "0.05")
    client = server.client()
    client.put_function_event_invoke_config(FunctionName="broken", MaximumRetryAttempts=1)
    client.invoke(FunctionName="broken", InvocationType="Event")
    assert sorted(record["attempt"] for record in server.ended(2, function="broken")) == [1, 2]
    client.put_function_event_invoke_config(FunctionName="broken", MaximumRetryAttempts=0)
    client.invoke(FunctionName="broken", InvocationType="Event")
    server.ended(3, function="broken")
    client.delete_function_event_invoke_config(FunctionName="broken")
    # One more, of which all three attempts are seen: then whatever else was to come has come.
    client.invoke(FunctionName="broken", InvocationType="Event")
    assert sorted(record["attempt"] for record in server.ended(6, function="broken")) == [1, 1, 1, 2, 2, 3]


# ---- code signing, runtimes, recursion -------------------------------------------------------------------------------

def test_a_code_signing_configuration_is_used_by_functions(client: Any) -> None:
    made = client.create_code_signing_config(AllowedPublishers={"SigningProfileVersionArns": [SIGNER]}, Tags={"team": "a"})["CodeSigningConfig"]
    arn = made["CodeSigningConfigArn"]
    assert re.fullmatch(r"csc-[a-z0-9]{17}", made["CodeSigningConfigId"])
    assert made["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    assert client.list_tags(Resource=arn)["Tags"] == {"team": "a"}
    enforced = {"UntrustedArtifactOnDeployment": "Enforce"}
    changed = client.update_code_signing_config(CodeSigningConfigArn=arn, Description="strict", CodeSigningPolicies=enforced)["CodeSigningConfig"]
    assert (changed["Description"], changed["CodeSigningPolicies"], changed["AllowedPublishers"]) == ("strict", enforced, made["AllowedPublishers"])
    assert client.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"] == changed

    assert told(client.get_function_code_signing_config(FunctionName="signed")) == {"FunctionName": "signed"}
    client.put_function_code_signing_config(FunctionName="signed", CodeSigningConfigArn=arn)
    assert told(client.get_function_code_signing_config(FunctionName="signed")) == {"FunctionName": "signed", "CodeSigningConfigArn": arn}
    assert client.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)["FunctionArns"] == [ARN + "signed"]
    assert refused(client.delete_code_signing_config, CodeSigningConfigArn=arn)[:2] == (409, "ResourceConflictException")
    client.delete_function_code_signing_config(FunctionName="signed")
    client.delete_code_signing_config(CodeSigningConfigArn=arn)
    assert refused(client.get_code_signing_config, CodeSigningConfigArn=arn)[:2] == (404, "ResourceNotFoundException")
    assert refused(client.put_function_code_signing_config, FunctionName="signed", CodeSigningConfigArn=arn)[1] == "CodeSigningConfigNotFoundException"


def test_runtime_updates_and_recursion_are_kept(client: Any) -> None:
    assert told(client.get_runtime_management_config(FunctionName="run")) == {"FunctionArn": ARN + "run", "UpdateRuntimeOn": "Auto"}
    runtime = "arn:aws:lambda:us-east-1::runtime:" + "0" * 64
    client.put_runtime_management_config(FunctionName="run", UpdateRuntimeOn="Manual", RuntimeVersionArn=runtime)
    assert client.get_runtime_management_config(FunctionName="run", Qualifier="$LATEST")["RuntimeVersionArn"] == runtime
    assert refused(client.put_runtime_management_config, FunctionName="run", UpdateRuntimeOn="Manual")[:2] == (400, "InvalidParameterValueException")

    assert client.get_function_recursion_config(FunctionName="run")["RecursiveLoop"] == "Terminate"
    client.put_function_recursion_config(FunctionName="run", RecursiveLoop="Allow")
    assert client.get_function_recursion_config(FunctionName="run")["RecursiveLoop"] == "Allow"
    assert refused(client.get_function_recursion_config, FunctionName="none")[2] == f"Function not found: {ARN}none"


# ---- versions, aliases, and the end of a function --------------------------------------------------------------------

def created(client: Any, name: str, **more: Any) -> str:
    """A function of the API, with a version and the alias live of it; gives its ARN."""
    create(client, name, **more)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=client.publish_version(FunctionName=name)["Version"])
    return ARN + name


def test_versions_and_aliases_have_things_of_their_own_that_go_with_them(client: Any) -> None:
    arn = created(client, "owner", Tags={"a": "b"})
    mapping = client.create_event_source_mapping(FunctionName="owner:live", EventSourceArn="arn:aws:sqs:us-east-1:000000000000:owners")
    assert mapping["FunctionArn"] == f"{arn}:live"
    for qualifier in ({}, {"Qualifier": "1"}, {"Qualifier": "live"}):
        name = qualifier.get("Qualifier", "none")
        client.add_permission(FunctionName="owner", StatementId=name, Action="lambda:InvokeFunction", Principal="s3.amazonaws.com", **qualifier)
        client.put_function_event_invoke_config(FunctionName="owner", MaximumRetryAttempts=1, **qualifier)
    for qualifier in ({}, {"Qualifier": "live"}):
        client.create_function_url_config(FunctionName="owner", AuthType="NONE", **qualifier)
    statement, = json.loads(client.get_policy(FunctionName=f"{arn}:live")["Policy"])["Statement"]
    assert (statement["Sid"], statement["Resource"]) == ("live", f"{arn}:live")
    pages = list(client.get_paginator("list_function_url_configs").paginate(FunctionName="owner", PaginationConfig={"PageSize": 1}))
    assert [page["FunctionUrlConfigs"][0]["FunctionArn"] for page in pages] == [arn, f"{arn}:live"]
    pages = list(client.get_paginator("list_function_event_invoke_configs").paginate(FunctionName="owner", PaginationConfig={"PageSize": 2}))
    assert [[config["FunctionArn"].rpartition(":")[2] for config in page["FunctionEventInvokeConfigs"]] for page in pages] == [["$LATEST", "1"], ["live"]]

    client.delete_alias(FunctionName="owner", Name="live")
    client.create_alias(FunctionName="owner", Name="live", FunctionVersion="1")
    for call in (client.get_policy, client.get_function_url_config, client.get_function_event_invoke_config):
        assert refused(call, FunctionName="owner", Qualifier="live")[:2] == (404, "ResourceNotFoundException")
    client.delete_function(FunctionName="owner")
    created(client, "owner")
    assert client.list_tags(Resource=arn)["Tags"] == {}
    for call in (client.get_policy, client.get_function_url_config, client.get_function_event_invoke_config):
        assert refused(call, FunctionName="owner")[:2] == (404, "ResourceNotFoundException")
    assert client.get_event_source_mapping(UUID=mapping["UUID"])["FunctionArn"] == f"{arn}:live"
    client.delete_event_source_mapping(UUID=mapping["UUID"])


def test_permissions_and_tags_are_part_of_a_revision(client: Any) -> None:
    arn = created(client, "revised")

    def revision(**qualifier: str) -> str:
        found: str = client.get_function_configuration(FunctionName="revised", **qualifier)["RevisionId"]
        return found

    params = {"FunctionName": "revised", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    seen = [revision()]
    client.tag_resource(Resource=arn, Tags={"a": "b"})
    seen.append(revision())
    client.add_permission(StatementId="a", RevisionId=seen[-1], **params)
    seen.append(revision())
    assert client.get_policy(FunctionName="revised")["RevisionId"] == seen[-1]
    assert refused(client.add_permission, StatementId="b", RevisionId=seen[0], **params)[:2] == (412, "PreconditionFailedException")
    client.remove_permission(FunctionName="revised", StatementId="a", RevisionId=seen[-1])
    assert len({*seen, revision()}) == 4
    before = client.get_alias(FunctionName="revised", Name="live")["RevisionId"]
    client.add_permission(StatementId="a", Qualifier="live", RevisionId=before, **params)
    after = client.get_alias(FunctionName="revised", Name="live")["RevisionId"]
    assert before != after == client.get_policy(FunctionName="revised", Qualifier="live")["RevisionId"]


def test_account_settings_count_functions_and_the_bytes_of_every_version_and_layer(server: Server) -> None:
    client = server.client(region_name="ap-south-1")
    assert client.get_account_settings()["AccountUsage"] == {"FunctionCount": 0, "TotalCodeSize": 0}
    created(client, "counted")
    size = client.get_function_configuration(FunctionName="counted")["CodeSize"]
    layer = packed(python__any="")
    client.publish_layer_version(LayerName="counted", Content={"ZipFile": layer})
    client.put_function_concurrency(FunctionName="counted", ReservedConcurrentExecutions=10)
    settings = client.get_account_settings()
    assert settings["AccountUsage"] == {"FunctionCount": 1, "TotalCodeSize": 2 * size + len(layer)}
    assert settings["AccountLimit"] == {
        "TotalCodeSize": 80_530_636_800, "CodeSizeUnzipped": 262_144_000, "CodeSizeZipped": 52_428_800, "ConcurrentExecutions": 1000,
        "UnreservedConcurrentExecutions": 990,
    }


# ---- lists, accounts, restarts ---------------------------------------------------------------------------------------

def test_lists_come_page_by_page_without_gaps(client: Any) -> None:
    made = {client.create_code_signing_config(AllowedPublishers={"SigningProfileVersionArns": [SIGNER]})["CodeSigningConfig"]["CodeSigningConfigArn"]
            for _ in range(5)}
    pages = list(client.get_paginator("list_code_signing_configs").paginate(PaginationConfig={"PageSize": 2}))
    listed = [config["CodeSigningConfigArn"] for page in pages for config in page["CodeSigningConfigs"]]
    assert made <= set(listed)
    assert len(listed) == len(set(listed))
    assert max(len(page["CodeSigningConfigs"]) for page in pages) == 2
    for arn in made:
        client.put_function_code_signing_config(FunctionName="many", CodeSigningConfigArn=arn)
    assert refused(client.list_code_signing_configs, Marker="not a marker")[:2] == (400, "InvalidParameterValueException")


def test_another_account_or_region_has_things_of_its_own(server: Server, client: Any) -> None:
    client.create_code_signing_config(AllowedPublishers={"SigningProfileVersionArns": [SIGNER]})
    for other in (server.client(aws_access_key_id="111111111111"), server.client(region_name="eu-west-1")):
        assert other.list_code_signing_configs()["CodeSigningConfigs"] == []
        assert refused(other.get_function_recursion_config, FunctionName="apart")[:2] == (404, "ResourceNotFoundException")
    assert server.client(aws_access_key_id="111111111111").get_function_recursion_config(FunctionName=ARN + "apart")["RecursiveLoop"] == "Terminate"


def test_all_of_it_survives_the_server_being_killed(serve: Serve, tmp_path: Path) -> None:
    server = serve({"hello.py": "def handler(event, context): return 1\n"})
    client = server.client()
    client.tag_resource(Resource=ARN + "hello", Tags={"a": "b"})
    client.add_permission(FunctionName="hello", StatementId="s", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com")
    url = client.create_function_url_config(FunctionName="hello", AuthType="NONE", Cors={"AllowMethods": ["GET"]})
    policy = told(client.get_policy(FunctionName="hello"))
    server.stop(signal.SIGKILL)

    client = serve().client()
    assert client.list_tags(Resource=ARN + "hello")["Tags"] == {"a": "b"}
    assert told(client.get_policy(FunctionName="hello")) == policy
    again = client.get_function_url_config(FunctionName="hello")
    assert (again["CreationTime"], again["Cors"]) == (url["CreationTime"], {"AllowMethods": ["GET"]})
