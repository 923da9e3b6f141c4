"""Functions through real boto3 against a real server: created, looked at, changed, deleted."""
from __future__ import annotations

import base64
import hashlib
import io
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Server, refused
from tests.lambdas import ARN, ROLE, VERSION, create, packed, running, told


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(tmp_path_factory.mktemp("served") / "functions", {"hello.py": "def handler(event, context):\n    return 'hi'\n"})


@pytest.fixture
def client(server: Server) -> Any:
    return server.client()


def invoked(client: Any, name: str, **members: Any) -> Any:
    answer = client.invoke(FunctionName=name, **members)
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read())


# ---- create and look -------------------------------------------------------------------------------------------------

def test_what_a_new_function_is_told_to_be(client: Any) -> None:
    zip = packed(index=VERSION.format("one"))

    created = told(create(client, "fresh", zip))
    shown = told(client.get_function_configuration(FunctionName="fresh"))

    defaults = {
        "FunctionName": "fresh", "FunctionArn": ARN + "fresh", "Runtime": "python3.11", "Role": ROLE, "Handler": "index.handler", "CodeSize": len(zip),
        "Description": "", "Timeout": 3, "MemorySize": 128, "CodeSha256": base64.b64encode(hashlib.sha256(zip).digest()).decode(), "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"}, "PackageType": "Zip", "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"}, "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/fresh"},
    }
    varying = {"LastModified", "RevisionId", "RuntimeVersionConfig"}
    pending = {"State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating"}
    assert {name: value for name, value in created.items() if name not in varying} == defaults | pending
    assert {name: value for name, value in shown.items() if name not in varying} == defaults | {"State": "Active", "LastUpdateStatus": "Successful"}
    assert created["RevisionId"] != shown["RevisionId"]
    assert invoked(client, "fresh") == ["one", "$LATEST", ARN + "fresh"]


def test_every_setting_comes_back_and_reaches_the_handler(client: Any) -> None:
    code = """
import os
def handler(event, context):
    return [os.environ["COLOUR"], context.memory_limit_in_mb, context.log_group_name, os.environ["AWS_LAMBDA_LOG_GROUP_NAME"], os.environ["AWS_EXECUTION_ENV"]]
"""
    settings = {
        "Description": "all of it", "Timeout": 9, "MemorySize": 256, "Environment": {"Variables": {"COLOUR": "blue"}}, "TracingConfig": {"Mode": "Active"},
        "EphemeralStorage": {"Size": 1024}, "Architectures": ["arm64"], "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"},
        "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/1", "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "LogGroup": "mine"},
    }
    create(client, "full", code, **settings, Tags={"team": "a"}, VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]})

    shown = client.get_function(FunctionName="full")

    configuration = shown["Configuration"]
    assert {name: configuration[name] for name in settings} == settings | {"LoggingConfig": {**settings["LoggingConfig"], "SystemLogLevel": "INFO"}}  # type: ignore[dict-item]
    assert (configuration["VpcConfig"]["SubnetIds"], configuration["VpcConfig"]["SecurityGroupIds"]) == (["subnet-1"], ["sg-1"])
    assert shown["Tags"] == {"team": "a"}
    assert invoked(client, "full") == ["blue", "256", "mine", "mine", "AWS_Lambda_python3.11"]


def test_the_code_downloads_as_it_was_sent(client: Any) -> None:
    zip = packed(index=VERSION.format("one"), lib__deep="x = 1")
    create(client, "download", zip)

    address = client.get_function(FunctionName="download")["Code"]["Location"]

    with urllib.request.urlopen(address) as reply:
        assert reply.read() == zip
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address.replace("signature=", "signature=0"))


def test_a_folder_function_looks_like_any_other(client: Any, server: Server) -> None:
    shown = client.get_function(FunctionName="hello")

    assert shown["Configuration"]["Handler"] == "hello.handler"
    assert shown["Configuration"]["State"] == "Active"
    assert "Environment" not in shown["Configuration"]
    with urllib.request.urlopen(shown["Code"]["Location"]) as reply:
        content = reply.read()
    assert shown["Configuration"]["CodeSha256"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert zipfile.ZipFile(io.BytesIO(content)).read("hello.py") == (server.folder / "hello.py").read_bytes()
    assert "hello" in [function["FunctionName"] for function in client.list_functions()["Functions"]]


def test_code_comes_from_a_bucket(client: Any, server: Server) -> None:
    bucket = server.folder / ".microlam/buckets/deploys/v1"
    bucket.mkdir(parents=True)
    (bucket / "code.zip").write_bytes(packed(index=VERSION.format("bucket")))

    create(client, "from-bucket", Code={"S3Bucket": "deploys", "S3Key": "v1/code.zip"})

    assert invoked(client, "from-bucket")[0] == "bucket"
    (bucket / "code.zip").write_bytes(packed(index=VERSION.format("newer")))
    assert invoked(client, "from-bucket")[0] == "bucket"
    client.update_function_code(FunctionName="from-bucket", S3Bucket="deploys", S3Key="v1/code.zip")
    assert invoked(client, "from-bucket")[0] == "newer"
    for source, code in (({"S3Bucket": "nowhere", "S3Key": "x"}, "NoSuchBucket"), ({"S3Bucket": "deploys", "S3Key": "../../../hello.py"}, "NoSuchKey"),
                         ({"S3Bucket": "deploys", "S3Key": "v1/code.zip", "S3ObjectVersion": "7"}, "NoSuchVersion")):
        assert f"S3 Error Code: {code}." in refused(client.update_function_code, FunctionName="from-bucket", **source)[2]


# ---- what is refused -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("members", "says"), [
    ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip uploaded file. Please check your file, then try to upload again."),
    ({"Code": {}}, "Please provide a source for function code."),
    ({"Code": {"ZipFile": b"x", "S3Bucket": "deploys"}}, "Please do not provide other FunctionCode parameters when providing a ZipFile."),
    ({"Code": {"ZipFile": packed(package__index="")}}, 'All files of the zip are in its folder "package", but index.handler is looked for at its root.'),
    ({"Runtime": "python3.99"}, "Value python3.99 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, "),
    ({"FunctionName": "a" * 65}, f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: Member must have length"),
    ({"Environment": {"Variables": {"AWS_REGION": "x", "OWN": "y", "LAMBDA_TASK_ROOT": "z"}}}, "Reserved keys used in this request: AWS_REGION, LAMBDA_TASK_ROOT"),
    ({"Environment": {"Variables": {"BIG": "x" * 4087}}}, 'exceeded the 4KB limit. String measured: {"BIG":"xxx'),
    ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": []}}, "SubnetIds and SecurityIds must coexist or be both empty list."),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "python3.11 is not supported for SnapStart enabled functions."),
    ({"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:none:1"]}, "Layer version arn:aws:lambda:us-east-1:000000000000:layer:none:1 does not exist."),
])
def test_a_function_that_cannot_be_is_refused_in_awss_words(client: Any, members: dict[str, Any], says: str) -> None:
    status, code, sentence = refused(client.create_function, **{
        "FunctionName": "never", "Runtime": "python3.11", "Role": ROLE, "Handler": "index.handler", "Code": {"ZipFile": packed(index="")}, **members,
    })
    assert (status, code) == (400, "InvalidParameterValueException")
    assert says in sentence
    assert refused(client.get_function, FunctionName="never") == (404, "ResourceNotFoundException", f"Function not found: {ARN}never")


def test_an_environment_of_just_four_kilobytes_is_taken(client: Any) -> None:
    create(client, "roomy", "import os\ndef handler(event, context): return len(os.environ['BIG'])", Environment={"Variables": {"BIG": "x" * 4086}})
    assert invoked(client, "roomy") == 4086


def test_images_and_durable_functions_are_refused_by_name(client: Any) -> None:
    common = {"FunctionName": "never", "Role": ROLE}
    assert refused(client.create_function, **common, PackageType="Image", Code={"ImageUri": "x"})[:2] == (501, "UnknownOperationException")
    durable = {"Runtime": "python3.11", "Handler": "index.handler", "Code": {"ZipFile": packed(index="")}, "DurableConfig": {"ExecutionTimeout": 60}}
    assert "durable functions" in refused(client.create_function, **common, **durable)[2]


def test_a_name_is_taken_once(client: Any) -> None:
    create(client, "taken")
    again = {"Runtime": "python3.11", "Role": ROLE, "Handler": "index.handler", "Code": {"ZipFile": packed(index="")}}
    assert refused(client.create_function, FunctionName="taken", **again) == (409, "ResourceConflictException", "Function already exist: taken")
    assert refused(client.create_function, FunctionName="hello", **again) == (409, "ResourceConflictException", "Function already exist: hello")


def test_a_folder_function_is_changed_by_its_file_alone(client: Any, server: Server) -> None:
    for call, members in ((client.update_function_code, {"ZipFile": packed(hello="")}), (client.update_function_configuration, {"Timeout": 9}),
                          (client.delete_function, {})):
        status, _, sentence = refused(call, FunctionName="hello", **members)
        assert status == 400
        assert str(server.folder / "hello.py") in sentence
    assert invoked(client, "hello") == "hi"


def test_a_role_and_a_handler_must_be_given(client: Any) -> None:
    assert refused(client.create_function, FunctionName="never", Role=ROLE, Code={"ZipFile": packed(index="")})[2] == (
        "Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    assert refused(client.create_function, FunctionName="never", Role="r1", Code={"ZipFile": b""})[:2] == (400, "ValidationException")


# ---- change ----------------------------------------------------------------------------------------------------------

def test_what_is_not_said_stays(client: Any) -> None:
    create(client, "changing", Description="before", Timeout=7, Environment={"Variables": {"COLOUR": "blue"}})

    changed = client.update_function_configuration(FunctionName="changing", MemorySize=512)
    client.get_waiter("function_updated_v2").wait(FunctionName="changing")
    shown = client.get_function_configuration(FunctionName="changing")

    assert (changed["LastUpdateStatus"], changed["LastUpdateStatusReasonCode"], shown["LastUpdateStatus"]) == ("InProgress", "Creating", "Successful")
    assert "LastUpdateStatusReason" not in shown
    assert (shown["Description"], shown["Timeout"], shown["MemorySize"], shown["Environment"]["Variables"]) == ("before", 7, 512, {"COLOUR": "blue"})
    client.update_function_configuration(FunctionName="changing", Environment={"Variables": {}})
    assert client.get_function_configuration(FunctionName="changing")["Environment"] == {"Variables": {}}


def test_new_code_runs_at_the_next_invocation(client: Any) -> None:
    create(client, "renewed")
    assert invoked(client, "renewed")[0] == "one"
    for words in ("two", "three"):
        client.update_function_code(FunctionName="renewed", ZipFile=packed(index=VERSION.format(words)))
        assert invoked(client, "renewed")[0] == words


def test_a_change_meant_for_an_earlier_revision_is_refused(client: Any) -> None:
    created = create(client, "revised")
    current = client.get_function_configuration(FunctionName="revised")["RevisionId"]
    zip = packed(index=VERSION.format("two"))
    for call, members in ((client.update_function_code, {"ZipFile": zip}), (client.update_function_configuration, {"Timeout": 9}), (client.publish_version, {})):
        assert refused(call, FunctionName="revised", RevisionId=created["RevisionId"], **members)[:2] == (412, "PreconditionFailedException")
    changed = client.update_function_code(FunctionName="revised", ZipFile=zip, RevisionId=current)
    assert changed["RevisionId"] != current


def test_a_dry_run_changes_nothing(client: Any) -> None:
    create(client, "dry")
    zip = packed(index=VERSION.format("two"))

    would = client.update_function_code(FunctionName="dry", ZipFile=zip, DryRun=True)

    assert would["CodeSha256"] == base64.b64encode(hashlib.sha256(zip).digest()).decode()
    assert invoked(client, "dry")[0] == "one"
    assert refused(client.update_function_code, FunctionName="dry", ZipFile=b"no zip", DryRun=True)[0] == 400


def test_what_a_handler_writes_into_its_folder_is_no_part_of_the_version(client: Any) -> None:
    zip = packed(index="""
import os
def handler(event, context):
    found = sorted(os.listdir(os.environ["LAMBDA_TASK_ROOT"])), open("data.py").read()
    try:                                        # the superuser can; others are refused
        os.chmod("data.py", 0o644)
        open("data.py", "w").write("garbage")
        open("more.txt", "w").write("more")
    except OSError:
        pass
    if event.get("exit"):
        os._exit(1)
    return found
""".replace("def handler", "os.chdir(os.environ['LAMBDA_TASK_ROOT'])\ndef handler"), data="clean")
    create(client, "scribbler", zip, Publish=True)
    clean = [["data.py", "index.py"], "clean"]

    assert invoked(client, "scribbler", Qualifier="1") == clean
    client.invoke(FunctionName="scribbler", Qualifier="1", Payload=b'{"exit": true}')
    # The next worker starts from what was uploaded.
    assert invoked(client, "scribbler", Qualifier="1") == clean
    with urllib.request.urlopen(client.get_function(FunctionName="scribbler", Qualifier="1")["Code"]["Location"]) as reply:
        assert reply.read() == zip


# ---- whose ----------------------------------------------------------------------------------------------------------

def test_accounts_and_regions_never_see_each_others_functions(client: Any, server: Server) -> None:
    other = server.client(aws_access_key_id="222222222222")
    west = server.client(region_name="eu-west-1")
    for where, words in ((client, "ours"), (other, "theirs"), (west, "west")):
        create(where, "everywhere", VERSION.format(words))

    assert [invoked(where, "everywhere")[0] for where in (client, other, west)] == ["ours", "theirs", "west"]
    assert [function["FunctionName"] for function in other.list_functions()["Functions"]] == ["everywhere"]
    theirs = ARN.replace("000000000000", "222222222222") + "everywhere"
    assert invoked(client, theirs) == ["theirs", "$LATEST", theirs]
    assert refused(client.get_function, FunctionName=ARN.replace("us-east-1", "eu-west-1") + "everywhere")[2] == (
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')")
    other.delete_function(FunctionName="everywhere")
    assert invoked(client, "everywhere")[0] == "ours"


# ---- delete, list ----------------------------------------------------------------------------------------------------

def test_a_deleted_function_is_gone_with_all_that_hung_on_it(client: Any) -> None:
    create(client, "gone", Publish=True, Tags={"team": "a"})
    client.create_alias(FunctionName="gone", Name="live", FunctionVersion="1")
    client.put_function_concurrency(FunctionName="gone", ReservedConcurrentExecutions=5)

    assert client.delete_function(FunctionName="gone")["StatusCode"] == 204

    assert refused(client.delete_function, FunctionName="gone") == (404, "ResourceNotFoundException", f"Function not found: {ARN}gone")
    assert refused(client.invoke, FunctionName="gone", Qualifier="1")[2] == f"Function not found: {ARN}gone:1"
    create(client, "gone")
    shown = client.get_function(FunctionName="gone")
    assert not {"Tags", "Concurrency"} & set(shown)
    assert client.list_aliases(FunctionName="gone")["Aliases"] == []
    # Numbers are never used again, not even by a function that is created anew.
    assert client.publish_version(FunctionName="gone")["Version"] == "2"


def test_lists_page_and_can_tell_of_versions_too(server: Server) -> None:
    client = server.client(aws_access_key_id="333333333333")
    for number in range(5):
        create(client, f"listed-{number}", Publish=number % 2 == 0)

    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    every = list(client.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig={"PageSize": 3}))

    assert [[function["FunctionName"] for function in page["Functions"]] for page in pages] == [
        ["listed-0", "listed-1"], ["listed-2", "listed-3"], ["listed-4"],
    ]
    arns = [function["FunctionArn"].rpartition("function:")[2] for page in every for function in page["Functions"]]
    assert arns == ["listed-0:$LATEST", "listed-0:1", "listed-1:$LATEST", "listed-2:$LATEST", "listed-2:1", "listed-3:$LATEST", "listed-4:$LATEST", "listed-4:1"]
    assert not {"State", "LastUpdateStatus", "RuntimeVersionConfig"} & set(pages[0]["Functions"][0])


def test_every_waiter_ends(client: Any) -> None:
    create(client, "awaited", Publish=True)
    for waiter in ("function_exists", "function_active", "function_active_v2", "function_updated", "function_updated_v2"):
        client.get_waiter(waiter).wait(FunctionName="awaited", WaiterConfig={"MaxAttempts": 1})
    client.get_waiter("published_version_active").wait(FunctionName="awaited", Qualifier="1", WaiterConfig={"MaxAttempts": 1})
    assert {client.get_function_configuration(FunctionName="awaited", Qualifier=qualifier)["State"] for qualifier in ("$LATEST", "1")} == {"Active"}
