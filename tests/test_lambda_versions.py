"""Versions, aliases and their weights, over the API and plain HTTP, against a real server."""
from __future__ import annotations

import http.client
import json
import math
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import Serve, Server, refused, until
from tests.lambdas import ARN, VERSION, create, packed, running, told

COUNTED = "def handler(event, context):\n    return context.function_version\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(tmp_path_factory.mktemp("served") / "functions", {}, "--seed", "7")


@pytest.fixture
def client(server: Server) -> Any:
    return server.client()


def ran(client: Any, name: str, qualifier: str | None = None) -> tuple[str, Any]:
    """Which version an invocation ran, as the reply's head says, and what it returned."""
    answer = client.invoke(FunctionName=name, **({"Qualifier": qualifier} if qualifier else {}))
    assert "FunctionError" not in answer, answer["Payload"].read()
    return answer["ExecutedVersion"], json.loads(answer["Payload"].read())


def two_versions(client: Any, name: str, **members: Any) -> None:
    create(client, name, VERSION.format("one"), **members)
    client.publish_version(FunctionName=name)
    client.update_function_code(FunctionName=name, ZipFile=packed(index=VERSION.format("two")), Publish=True)


# ---- versions --------------------------------------------------------------------------------------------------------

def test_a_version_is_what_the_function_was_when_it_was_published(client: Any) -> None:
    create(client, "kept", VERSION.format("one"), Environment={"Variables": {"COLOUR": "blue"}}, Description="first")
    first = client.publish_version(FunctionName="kept", Description="frozen")

    client.update_function_code(FunctionName="kept", ZipFile=packed(index=VERSION.format("two")))
    client.update_function_configuration(FunctionName="kept", Environment={"Variables": {"COLOUR": "red"}}, Timeout=9)

    assert (first["Version"], first["FunctionArn"], first["Description"], first["State"]) == ("1", ARN + "kept:1", "frozen", "Active")
    assert ran(client, "kept", "1") == ("1", ["one", "1", ARN + "kept:1"])
    assert ran(client, "kept") == ("$LATEST", ["two", "$LATEST", ARN + "kept"])
    assert ran(client, "kept", "$LATEST")[1][2] == ARN + "kept:$LATEST"
    shown = client.get_function_configuration(FunctionName="kept:1")
    assert (shown["Environment"]["Variables"], shown["Timeout"], shown["RevisionId"]) == ({"COLOUR": "blue"}, 3, first["RevisionId"])


def test_numbers_grow_only_when_something_has_changed_and_are_not_used_again(client: Any) -> None:
    create(client, "numbered")

    def publish(**members: Any) -> Any:
        return client.publish_version(FunctionName="numbered", **members)["Version"]

    assert [publish(), publish(), publish(Description="other words")] == ["1", "1", "1"]
    client.update_function_configuration(FunctionName="numbered", Description="new words")
    assert [publish(), publish()] == ["2", "2"]
    client.delete_function(FunctionName="numbered", Qualifier="2")
    assert publish() == "3"
    listed = client.list_versions_by_function(FunctionName="numbered")["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1", "3"]
    assert listed[0]["FunctionArn"] == ARN + "numbered:$LATEST"
    assert refused(client.invoke, FunctionName="numbered", Qualifier="2")[:2] == (404, "ResourceNotFoundException")


def test_a_publication_can_insist_on_what_it_numbers(client: Any) -> None:
    created = create(client, "insisting")
    sentence = refused(client.publish_version, FunctionName="insisting", CodeSha256="x" * 44)[2]
    assert sentence == (f"CodeSHA256 ({'x' * 44}) is different from current CodeSHA256 in $LATEST ({created['CodeSha256']}). "
                        "Please try again with the CodeSHA256 in $LATEST.")
    assert client.publish_version(FunctionName="insisting", CodeSha256=created["CodeSha256"])["Version"] == "1"


def test_what_is_in_use_is_not_deleted(client: Any) -> None:
    two_versions(client, "used")
    client.create_alias(FunctionName="used", Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    for number in ("1", "2"):
        assert refused(client.delete_function, FunctionName="used", Qualifier=number) == (
            409, "ResourceConflictException", "Unable to delete version because the following aliases reference it: [live]")
    assert refused(client.delete_function, FunctionName="used", Qualifier="$LATEST")[2] == (
        "$LATEST version cannot be deleted without deleting the function.")
    assert refused(client.delete_function, FunctionName="used", Qualifier="live")[0] == 400


def test_versions_and_aliases_page(client: Any) -> None:
    create(client, "paged")
    for number in range(1, 12):
        client.update_function_configuration(FunctionName="paged", Description=f"number {number}")
        client.publish_version(FunctionName="paged")
        client.create_alias(FunctionName="paged", Name=f"alias-{number:02}", FunctionVersion=str(number))

    versions = client.get_paginator("list_versions_by_function").paginate(FunctionName="paged", PaginationConfig={"PageSize": 5})
    aliases = client.get_paginator("list_aliases").paginate(FunctionName="paged", PaginationConfig={"PageSize": 5})

    assert [[version["Version"] for version in page["Versions"]] for page in versions] == [
        ["$LATEST", "1", "2", "3", "4"], ["5", "6", "7", "8", "9"], ["10", "11"],
    ]
    assert [len(page["Aliases"]) for page in aliases] == [5, 5, 1]
    assert [alias["Name"] for alias in client.list_aliases(FunctionName="paged", FunctionVersion="7")["Aliases"]] == ["alias-07"]


# ---- aliases ---------------------------------------------------------------------------------------------------------

def test_an_alias_from_its_making_to_its_end(client: Any) -> None:
    two_versions(client, "named")
    made = told(client.create_alias(FunctionName="named", Name="live", FunctionVersion="1", Description="what people use"))
    assert {name: value for name, value in made.items() if name != "RevisionId"} == {
        "AliasArn": ARN + "named:live", "Name": "live", "FunctionVersion": "1", "Description": "what people use",
    }
    assert told(client.get_alias(FunctionName="named", Name="live")) == made
    assert ran(client, "named", "live") == ("1", ["one", "1", ARN + "named:live"])
    assert client.get_function(FunctionName="named:live")["Configuration"]["FunctionArn"] == ARN + "named:live"

    moved = client.update_alias(FunctionName="named", Name="live", FunctionVersion="2", RevisionId=made["RevisionId"])
    assert (moved["FunctionVersion"], moved["Description"]) == ("2", "what people use")
    assert ran(client, ARN + "named:live")[0] == "2"
    assert refused(client.update_alias, FunctionName="named", Name="live", FunctionVersion="1", RevisionId=made["RevisionId"])[:2] == (
        412, "PreconditionFailedException")

    client.delete_alias(FunctionName="named", Name="live")
    client.delete_alias(FunctionName="named", Name="live")
    assert refused(client.get_alias, FunctionName="named", Name="live")[2] == f"Cannot find alias arn: {ARN}named:live"
    assert refused(client.update_alias, FunctionName="named", Name="live")[2] == f"Alias not found: {ARN}named:live"
    assert refused(client.invoke, FunctionName="named", Qualifier="live")[2] == f"Function not found: {ARN}named:live"


def test_an_alias_of_latest_follows_it(client: Any) -> None:
    create(client, "following")
    client.create_alias(FunctionName="following", Name="head", FunctionVersion="$LATEST")
    assert ran(client, "following", "head") == ("$LATEST", ["one", "$LATEST", ARN + "following:head"])
    client.update_function_code(FunctionName="following", ZipFile=packed(index=VERSION.format("two")))
    assert ran(client, "following", "head")[1][0] == "two"


@pytest.mark.parametrize(("members", "status", "says"), [
    ({"RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1, "2": 0.1}}}, 400, "Number of items in AdditionalVersionWeights cannot be greater than 1"),
    ({"RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}}, 400, "Invalid function version 1. Function version 1 is already included in routing configuration."),
    ({"FunctionVersion": "9"}, 404, f"Function not found: {ARN}weighed:9"),
    ({"RoutingConfig": {"AdditionalVersionWeights": {"9": 0.1}}}, 404, f"Function not found: {ARN}weighed:9"),
    ({"FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}}, 400, "$LATEST is not supported for an alias pointing to more than 1 version"),
    ({"Name": "taken"}, 409, f"Alias already exists: {ARN}weighed:taken"),
    ({"Name": "7"}, 400, "Member must satisfy regular expression pattern"),
    ({"FunctionName": "nobody"}, 404, f"Function not found: {ARN}nobody:1"),
])
def test_an_alias_that_cannot_be_is_refused_in_awss_words(client: Any, members: dict[str, Any], status: int, says: str) -> None:
    if ARN + "weighed" not in [function["FunctionArn"] for function in client.list_functions()["Functions"]]:
        two_versions(client, "weighed")
        client.create_alias(FunctionName="weighed", Name="taken", FunctionVersion="1")
    found = refused(client.create_alias, **{"FunctionName": "weighed", "Name": "new", "FunctionVersion": "1", **members})
    assert found[0] == status
    assert says in found[2]


def test_weights_come_and_go(client: Any) -> None:
    two_versions(client, "canary")
    weights = {"AdditionalVersionWeights": {"2": 0.1}}
    assert client.create_alias(FunctionName="canary", Name="live", FunctionVersion="1", RoutingConfig=weights)["RoutingConfig"] == weights
    assert client.update_alias(FunctionName="canary", Name="live", Description="said")["RoutingConfig"] == weights
    cleared = client.update_alias(FunctionName="canary", Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    assert "RoutingConfig" not in cleared
    assert {ran(client, "canary", "live")[0] for _ in range(30)} == {"1"}
    client.update_alias(FunctionName="canary", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}})
    assert {ran(client, "canary", "live")[0] for _ in range(30)} == {"2"}


# ---- the split -------------------------------------------------------------------------------------------------------

def invoke_over(server: Server, path: str, count: int, each: Callable[[http.client.HTTPResponse, bytes], None]) -> None:
    """Invoke over one connection that is kept open."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    for _ in range(count):
        connection.request("POST", path, b"{}")
        reply = connection.getresponse()
        each(reply, reply.read())
    connection.close()


def test_ten_thousand_invocations_are_split_by_weight(server: Server, client: Any) -> None:
    create(client, "split", COUNTED, Publish=True)
    client.update_function_configuration(FunctionName="split", Description="two")
    client.publish_version(FunctionName="split")
    client.create_alias(FunctionName="split", Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}})
    ran_version: Counter[str] = Counter()

    def count(reply: http.client.HTTPResponse, body: bytes) -> None:
        assert reply.status == 200
        number = reply.headers["X-Amz-Executed-Version"]
        assert json.loads(body) == number      # what the head says is what really ran
        ran_version[number] += 1

    total = 10_000
    invoke_over(server, "/2015-03-31/functions/split:live/invocations", total, count)

    # Four standard deviations of a binomial: one fair run in 16,000 lies outside, and the seed makes this run the same each time.
    assert abs(ran_version["2"] - total * 0.1) < 4 * math.sqrt(total * 0.1 * 0.9)
    assert set(ran_version) == {"1", "2"}


def test_a_seed_makes_the_choices_the_same_again(serve: Serve) -> None:
    def choices(server: Server) -> list[str]:
        return [ran(server.client(), "again", "live")[0] for _ in range(40)]

    first = serve({}, "--seed", "42")
    two_versions(first.client(), "again")
    first.client().create_alias(FunctionName="again", Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    chosen = choices(first)
    first.stop()
    assert set(chosen) == {"1", "2"}
    assert choices(serve({}, "--seed", "42")) == chosen


def test_moving_an_alias_under_load_fails_no_request_and_shows_no_third_version(server: Server, client: Any) -> None:
    create(client, "moving", COUNTED, Publish=True)
    for words in ("two", "three"):
        client.update_function_configuration(FunctionName="moving", Description=words)
        client.publish_version(FunctionName="moving")
    client.create_alias(FunctionName="moving", Name="live", FunctionVersion="1")
    seen: list[tuple[int, str, str]] = []
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            invoke_over(server, "/2015-03-31/functions/moving:live/invocations", 50,
                        lambda reply, body: seen.append((reply.status, reply.headers["X-Amz-Executed-Version"], json.loads(body))))

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in ("2", "1") * 20:
        client.update_alias(FunctionName="moving", Name="live", FunctionVersion=number)
        # Whoever asks after the answer gets the new one.
        assert ran(client, "moving", "live") == (number, number)
    until(lambda: len(seen) > 500, "for requests")
    stop.set()
    for thread in threads:
        thread.join()

    assert {status for status, _, _ in seen} == {200}
    assert {(executed, body) for _, executed, body in seen} == {("1", "1"), ("2", "2")}


# ---- folder functions ------------------------------------------------------------------------------------------------

def test_a_published_file_stays_what_it_was(serve: Serve) -> None:
    handler = "import os\nfrom helper import words\ndef handler(event, context):\n    return [words, os.environ['COLOUR'], context.function_version]\n"
    server = serve({"hello.py": handler, "helper.py": "words = 'one'\n", ".env": "COLOUR=blue\n"})
    client = server.client()
    assert client.publish_version(FunctionName="hello")["Version"] == "1"
    assert client.publish_version(FunctionName="hello")["Version"] == "1"

    server.write({"helper.py": "words = 'two'\n", ".env": "COLOUR=red\n"})

    assert until(lambda: (found := ran(client, "hello")[1]) == ["two", "red", "$LATEST"] and found)
    assert ran(client, "hello", "1")[1] == ["one", "blue", "1"]
    assert client.publish_version(FunctionName="hello")["Version"] == "2"

    server.write({"hello.py": "import nothing_of_that_name\n" + handler})
    status, code, sentence = refused(client.publish_version, FunctionName="hello")
    assert (status, code) == (400, "InvalidParameterValueException")
    assert "Runtime.ImportModuleError" in sentence
    assert "nothing_of_that_name" in sentence

    (server.folder / "hello.py").unlink()
    assert until(lambda: refused(client.invoke, FunctionName="hello")[2]) == f"Function not found: {ARN}hello:$LATEST"
    assert ran(client, "hello", "1")[1] == ["one", "blue", "1"]
    assert ran(client, "hello", "2")[1] == ["two", "red", "2"]
    assert [version["Version"] for version in client.list_versions_by_function(FunctionName="hello")["Versions"]] == ["1", "2"]
    server.stop()
    again = serve({}).client()
    assert ran(again, "hello", "1")[1] == ["one", "blue", "1"]
    again.delete_function(FunctionName="hello")
    assert refused(again.invoke, FunctionName="hello", Qualifier="1")[0] == 404


def test_routes_schedules_and_files_lead_to_an_alias(serve: Serve) -> None:
    server = serve({
        "shop.py": "def handler(event, context):\n    return [context.function_version, context.invoked_function_arn]\n",
        "mixed.py": """
            from microlam import http

            @http("GET /mixed")
            @http("GET /preview", qualifier="$LATEST")
            def handler(event, context):
                return context.function_version
        """,
        "microlam.toml": """
            [functions.shop]
            serve = "live"
            http = ["GET /shop", {route = "GET /shop/next", qualifier = "next"}]
            schedule = ["rate(1 day)"]

            [functions.mixed]
            serve = "live"
        """,
    })
    client = server.client()
    assert server.get("/shop").status == 500
    assert "microlam alias shop live --version 1" in server.printed("shop:live was asked for")
    for name in ("shop", "mixed"):
        client.publish_version(FunctionName=name)
        client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert server.get("/shop").json() == ["1", ARN + "shop:live"]
    assert [server.get(path).text for path in ("/mixed", "/preview")] == ["1", "$LATEST"]

    server.write({"shop.py": "def handler(event, context):\n    return [context.function_version, context.invoked_function_arn, 'new']\n"})
    client.publish_version(FunctionName="shop")
    client.create_alias(FunctionName="shop", Name="next", FunctionVersion="2")
    client.update_alias(FunctionName="shop", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})

    # A canary over plain HTTP; 60 tosses that all fall the same way are none of this world.
    assert {server.get("/shop").json()[0] for _ in range(60)} == {"1", "2"}
    assert server.get("/shop/next").json()[0] == "2"
    fired = server.request("POST", "/_microlam/functions/shop/fire", b"{}", {"Content-Type": "application/json"}).json()["id"]
    [record] = server.ended(1, function="shop", cause="schedule")
    assert (record["id"], record["qualifier"]) == (fired, "live")
    assert record["version"] in ("1", "2")


# ---- what is on disk -------------------------------------------------------------------------------------------------

def test_what_was_answered_survives_a_kill(serve: Serve) -> None:
    server = serve({"hello.py": VERSION.format("hi")})
    client = server.client()
    client.publish_version(FunctionName="hello")
    two_versions(client, "made", Environment={"Variables": {"COLOUR": "blue"}})
    client.create_alias(FunctionName="made", Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}})
    client.put_function_concurrency(FunctionName="made", ReservedConcurrentExecutions=7)
    client.put_provisioned_concurrency_config(FunctionName="made", Qualifier="2", ProvisionedConcurrentExecutions=1)
    client.update_function_configuration(FunctionName="made", Timeout=11)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()

    again = serve({}).client()

    shown = again.get_function(FunctionName="made")
    assert (shown["Configuration"]["Timeout"], shown["Configuration"]["State"], shown["Concurrency"]) == (11, "Active", {"ReservedConcurrentExecutions": 7})
    assert again.get_alias(FunctionName="made", Name="live")["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.25}}
    assert [ran(again, "made", number)[1][0] for number in ("1", "2", "$LATEST")] == ["one", "two", "two"]
    assert ran(again, "hello", "1")[1][0] == "hi"
    until(lambda: again.get_provisioned_concurrency_config(FunctionName="made", Qualifier="2")["Status"] == "READY", "for workers")
    assert again.publish_version(FunctionName="made")["Version"] == "3"
