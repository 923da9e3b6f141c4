"""Layers through real boto3: published, used on the handler's path as /opt is, listed, shared, deleted."""
from __future__ import annotations

import io
import json
import signal
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.conftest import Serve, Server, refused
from tests.lambdas import create, running

LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:"
HANDLER = """
import os, sys
import {module}

def handler(event, context):
    files = {{name: open(os.path.join(os.environ["MICROLAM_OPT"], name)).read() for name in event.get("files", [])}}
    found = {{name: os.environ.get(name, "") for name in ("PATH", "LD_LIBRARY_PATH")}}
    return {{"answer": {module}.ANSWER, "files": files, "path": sys.path, **found}}
"""


def zipped(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)       # its date is fixed: the same files are the same bytes
    return packed.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(tmp_path_factory.mktemp("functions"), {})


@pytest.fixture(scope="module")
def client(server: Server) -> Any:
    return server.client("lambda")


def publish(client: Any, name: str, files: Mapping[str, str], **more: Any) -> dict[str, Any]:
    published: dict[str, Any] = client.publish_layer_version(LayerName=name, Content={"ZipFile": zipped(files)}, **more)
    return published


def create_with(client: Any, name: str, module: str, layers: list[str]) -> None:
    """A function that tells what it finds in its layers."""
    create(client, name, HANDLER.format(module=module), Runtime="python3.12", Layers=layers)


def invoke(client: Any, name: str, **event: Any) -> Any:
    reply = client.invoke(FunctionName=name, Payload=json.dumps(event))
    result = json.loads(reply["Payload"].read())
    assert "FunctionError" not in reply, result
    return result


def refusal(call: Any, **params: Any) -> str:
    return refused(call, **params)[2]


def test_a_layer_is_on_the_path_as_it_is_on_aws(client: Any) -> None:
    library = publish(client, "library", {"python/shared.py": "ANSWER = 1\n", "data/words.txt": "hello"})
    site = publish(client, "site", {"python/lib/python3.12/site-packages/shared.py": "ANSWER = 2\n", "bin/tool": ""})
    create_with(client, "layered", "shared", [library["LayerVersionArn"]])
    result = invoke(client, "layered", files=["data/words.txt"])
    assert (result["answer"], result["files"]) == (1, {"data/words.txt": "hello"})

    configuration = client.update_function_configuration(FunctionName="layered", Layers=[library["LayerVersionArn"], site["LayerVersionArn"]])
    assert configuration["Layers"] == [{"Arn": layer["LayerVersionArn"], "CodeSize": layer["Content"]["CodeSize"]} for layer in (library, site)]
    client.get_waiter("function_updated_v2").wait(FunctionName="layered")
    result = invoke(client, "layered", files=["data/words.txt"])
    assert (result["answer"], result["files"]) == (2, {"data/words.txt": "hello"})
    task, packages, modules = (next(number for number, entry in enumerate(result["path"]) if entry.endswith(end))
                               for end in ("", "/python/lib/python3.12/site-packages", "/python"))
    assert task < packages < modules
    assert result["PATH"].endswith("/bin")
    assert result["LD_LIBRARY_PATH"] == ""


def test_a_later_layer_lies_over_an_earlier_one_and_they_share_packages(client: Any) -> None:
    first = publish(client, "first", {"python/both/__init__.py": "", "python/both/one.py": "WHO = 'first'\n", "python/both/two.py": "WHO = 'first'\n"})
    second = publish(client, "second", {"python/both/two.py": "WHO = 'second'\n", "python/joined.py": "from both import one, two\nANSWER = one.WHO + two.WHO\n"})
    third = publish(client, "third", {"lib/libany.so": ""})
    create_with(client, "joined", "joined", [layer["LayerVersionArn"] for layer in (first, second, third)])
    result = invoke(client, "joined")
    assert result["answer"] == "firstsecond"
    assert result["LD_LIBRARY_PATH"].endswith("/lib")


def test_a_version_keeps_its_layers_whatever_becomes_of_them(client: Any) -> None:
    one = publish(client, "kept", {"python/kept.py": "ANSWER = 1\n"})
    two = publish(client, "kept", {"python/kept.py": "ANSWER = 2\n"})
    assert (one["Version"], two["Version"]) == (1, 2)
    create_with(client, "keeper", "kept", [one["LayerVersionArn"]])
    client.publish_version(FunctionName="keeper")
    client.update_function_configuration(FunctionName="keeper", Layers=[two["LayerVersionArn"]])
    client.delete_layer_version(LayerName="kept", VersionNumber=1)
    client.delete_layer_version(LayerName="kept", VersionNumber=1)
    assert invoke(client, "keeper")["answer"] == 2
    assert invoke(client, "keeper:1")["answer"] == 1
    assert refusal(client.get_layer_version, LayerName="kept", VersionNumber=1) == "The resource you requested does not exist."
    assert refusal(client.update_function_configuration, FunctionName="keeper", Layers=[one["LayerVersionArn"]]) == (
        f"Layer version {one['LayerVersionArn']} does not exist.")
    assert client.get_function_configuration(FunctionName="keeper", Qualifier="1")["Layers"][0]["Arn"] == one["LayerVersionArn"]
    client.delete_layer_version(LayerName="kept", VersionNumber=2)
    assert client.update_function_configuration(FunctionName="keeper", Description="on")["Layers"][0]["Arn"] == two["LayerVersionArn"]
    assert publish(client, "kept", {"python/kept.py": ""})["Version"] == 3


def test_what_was_published_is_shown_and_downloads(client: Any) -> None:
    files = {"python/shown.py": "ANSWER = 3\n"}
    said = {"Description": "shown", "LicenseInfo": "MIT", "CompatibleRuntimes": ["python3.12", "python3.13"], "CompatibleArchitectures": ["x86_64"]}
    published = publish(client, "shown", files, **said)
    assert (published["LayerArn"], published["LayerVersionArn"]) == (LAYER + "shown", LAYER + "shown:1")
    found = client.get_layer_version(LayerName="shown", VersionNumber=1)
    by_arn = client.get_layer_version_by_arn(Arn=LAYER + "shown:1")
    for shown in (published, found, by_arn):
        assert {name: shown[name] for name in said} == said
    with urllib.request.urlopen(found["Content"]["Location"]) as reply:
        assert reply.read() == zipped(files)
    assert found["Content"]["CodeSize"] == len(zipped(files))
    bare = publish(client, "bare", files)
    assert bare["Description"] == ""
    assert not {"CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo"} & bare.keys()


def test_layers_are_listed_by_what_they_suit_page_by_page(server: Server) -> None:
    client = server.client("lambda", region_name="eu-central-1")
    for name, runtime in (("a", "python3.12"), ("b", "nodejs22.x"), ("a", "python3.13"), ("c", "python3.12")):
        publish(client, name, {"python/x.py": ""}, CompatibleRuntimes=[runtime], CompatibleArchitectures=["arm64"])
    pages = list(client.get_paginator("list_layers").paginate(PaginationConfig={"PageSize": 2}))
    assert [[layer["LayerName"] for layer in page["Layers"]] for page in pages] == [["a", "b"], ["c"]]
    layers = client.list_layers(CompatibleRuntime="python3.12")["Layers"]
    assert [(layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) for layer in layers] == [("a", 1), ("c", 1)]
    assert client.list_layers(CompatibleArchitecture="x86_64")["Layers"] == []
    pages = list(client.get_paginator("list_layer_versions").paginate(LayerName="a", PaginationConfig={"PageSize": 1}))
    assert [version["Version"] for page in pages for version in page["LayerVersions"]] == [2, 1]
    assert client.list_layer_versions(LayerName="none")["LayerVersions"] == []


def test_layers_that_a_function_cannot_have_are_refused_as_aws_does(client: Any) -> None:
    arns = [publish(client, f"one-of-six-{number}", {"python/x.py": ""})["LayerVersionArn"] for number in range(6)]
    create_with(client, "picky", "json", [])

    def refused(layers: list[str]) -> str:
        return refusal(client.update_function_configuration, FunctionName="picky", Layers=layers)

    assert refused(arns) == "Cannot reference more than 5 layers."
    assert refused([arns[0], arns[0]]) == (
        f"Two different versions of the same layer are not allowed to be referenced in the same function. {arns[0]} and {arns[0]} are versions of the same layer.")
    assert refused([LAYER + "none:1"]) == f"Layer version {LAYER}none:1 does not exist."
    assert refused([arns[0].replace("us-east-1", "eu-west-1")]) == (
        "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.")
    large = [publish(client, f"large-{number}", {"data/zeros": "0" * 1_000, "more": "\0" * 131_100_000})["LayerVersionArn"] for number in range(2)]
    assert refused(large).startswith("Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is 2622")


def test_what_is_no_layer_is_refused(client: Any) -> None:
    assert refusal(client.publish_layer_version, LayerName="broken", Content={"ZipFile": b"no zip"}) == (
        "Could not unzip uploaded file. Please check your file, then try to upload again.")
    assert "outside its folder" in refusal(client.publish_layer_version, LayerName="broken", Content={"ZipFile": zipped({"../x": ""})})
    assert refusal(client.get_layer_version, LayerName="broken", VersionNumber=0) == "Layer Version Cannot be less than 1."


def test_a_layer_comes_from_a_bucket_folder(serve: Serve) -> None:
    server = serve()
    bucket = server.folder / "artifacts" / "layers"
    bucket.mkdir(parents=True)
    (bucket / "one.zip").write_bytes(zipped({"python/x.py": ""}))
    client = server.client("lambda")
    content = {"S3Bucket": "artifacts", "S3Key": "layers/one.zip"}
    assert client.publish_layer_version(LayerName="stored", Content=content)["Content"]["CodeSize"] == (bucket / "one.zip").stat().st_size
    assert "NoSuchKey" in refusal(client.publish_layer_version, LayerName="stored", Content={**content, "S3Key": "layers/two.zip"})
    server.stop(signal.SIGKILL)
    assert serve().client("lambda").list_layer_versions(LayerName="stored")["LayerVersions"][0]["Version"] == 1


def test_a_layer_version_is_shared_by_its_policy(client: Any) -> None:
    publish(client, "shared", {"python/x.py": ""})
    version = {"LayerName": "shared", "VersionNumber": 1}
    params = {**version, "Action": "lambda:GetLayerVersion"}
    assert refusal(client.get_layer_version_policy, **version) == "No policy is associated with the given resource."
    added = client.add_layer_version_permission(**params, StatementId="all", Principal="*", OrganizationId="o-1234567890")
    assert json.loads(added["Statement"]) == {
        "Sid": "all", "Effect": "Allow", "Principal": "*", "Action": "lambda:GetLayerVersion", "Resource": LAYER + "shared:1",
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}},
    }
    assert refusal(client.add_layer_version_permission, **params, StatementId="other", Principal="111111111111", RevisionId="wrong").endswith(
        "Call the GetLayerPolicy API to retrieve the latest Revision Id")
    client.add_layer_version_permission(**params, StatementId="other", Principal="111111111111", RevisionId=added["RevisionId"])
    statements = json.loads(client.get_layer_version_policy(**version)["Policy"])["Statement"]
    assert [statement["Sid"] for statement in statements] == ["all", "other"]
    client.remove_layer_version_permission(**version, StatementId="all")
    client.remove_layer_version_permission(**version, StatementId="other")
    assert refusal(client.get_layer_version_policy, **version) == "No policy is associated with the given resource."
    assert refusal(client.get_layer_version_policy, LayerName="shared", VersionNumber=2) == f"Layer version {LAYER}shared:2 does not exist."
