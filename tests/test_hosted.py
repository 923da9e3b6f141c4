"""Functions of the host's own: coroutines in its loop, with routes, versions, aliases and a place in the record and the admin."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from botocore.exceptions import ClientError

import microlam
from microlam.errors import FunctionExists, InvalidParameter
from tests.conftest import write


async def test_a_coroutine_of_the_host_shares_its_loop_and_has_all_that_functions_have(tmp_path: Path) -> None:
    app, running, most = web.Application(), 0, 0
    loop = asyncio.get_running_loop()
    lam = microlam.setup(app, tmp_path, prefix="/fn", data=tmp_path / ".data")

    @lam.function("greet", http=["GET /greet/{name}"], timeout=10)
    async def greet(event: Any, context: Any) -> str:
        nonlocal running, most
        assert asyncio.get_running_loop() is loop
        print("greeting")
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return f"Hello, {event['pathParameters']['name']}!"

    def total(event: Any, context: Any) -> int:
        return sum(event)

    lam.function("total", handler=total)
    async with TestClient(TestServer(app)) as http:
        answers = await asyncio.gather(*(http.get(f"/fn/greet/{number}") for number in range(20)))
        assert [await answer.text() for answer in answers] == [f"Hello, {number}!" for number in range(20)]
        assert most > 10
        assert (await lam.invoke("total", [1, 2])).value == 3
        assert (await http.get("/fn/total")).status == 500      # it has the route of its name, and wants a list
        record = (await (await http.get("/admin/invocations.json?function=greet&limit=1")).json())["invocations"][0]
        assert (record["cause"], record["status"], record["version"]) == ("http", "succeeded", "$LATEST")
        listed = {function["name"]: function for function in (await (await http.get("/admin/functions.json")).json())["functions"]}
        assert [trigger["summary"] for trigger in listed["greet"]["triggers"]] == ["GET /greet/{name}"]
        assert listed["greet"]["handler"].endswith("greet")
        with pytest.raises(RuntimeError, match="before"):
            lam.function("late", handler=total)


async def test_an_alias_weighs_between_two_callables_and_the_record_says_which_it_was(tmp_path: Path) -> None:
    def new_lam() -> microlam.Microlam:
        lam = microlam.Microlam(tmp_path, data=tmp_path / ".data", seed=7)

        async def old(event: Any, context: Any) -> str:
            return f"old {context.function_version}"

        @lam.function("price", version=2, http="GET /price", serve="live")
        async def new(event: Any, context: Any) -> str:
            return f"new {context.function_version}"

        lam.function("price", handler=old, version=1)
        lam.function("price", handler=new, version=2)
        return lam

    async with new_lam() as lam:
        arn = lam.functions.named("price")
        await lam.functions.create_alias(arn, "live", "1", other="2", weight=0.5, origin="host")
        outcomes = [await lam.invoke("price", qualifier="live") for _ in range(40)]
        assert {outcome.value for outcome in outcomes} == {"old 1", "new 2"}
        assert all(str(outcome.value).endswith(outcome.version) for outcome in outcomes)
        assert (await lam.invoke("price")).value == "new $LATEST"
        assert (await lam.invoke("price:1")).value == "old 1"
    async with new_lam() as lam:        # the alias is kept, the callables are there again
        await lam.functions.promote(arn, "live", origin="host")
        assert {(await lam.invoke("price", qualifier="live")).value for _ in range(10)} == {"new 2"}
        page = await lam.store.invocations(microlam_filter("price"))
        assert {record.version for record in page.records} == {"1", "2", "$LATEST"}


def microlam_filter(function: str) -> Any:
    from microlam.store import InvocationFilter
    return InvocationFilter(function=function)


async def test_the_api_shows_them_and_leaves_them_to_the_host(tmp_path: Path) -> None:
    lam = microlam.Microlam(tmp_path, data=tmp_path / ".data")

    @lam.function("greet", version=1)
    async def greet(event: Any, context: Any) -> str:
        return "hello"

    async with lam:
        client = boto3.client("lambda", endpoint_url=lam.endpoint_url, region_name="us-east-1", aws_access_key_id="000000000000", aws_secret_access_key="any")

        def use() -> list[str]:
            assert json.load(client.invoke(FunctionName="greet", Qualifier="1")["Payload"]) == "hello"
            assert client.get_function_configuration(FunctionName="greet")["Handler"].endswith("greet")
            assert [version["Version"] for version in client.list_versions_by_function(FunctionName="greet")["Versions"]] == ["$LATEST", "1"]
            refused = []
            calls: list[Callable[[], object]] = [
                lambda: client.publish_version(FunctionName="greet"),
                lambda: client.delete_function(FunctionName="greet"),
                lambda: client.delete_function(FunctionName="greet", Qualifier="1"),
                lambda: client.update_function_configuration(FunctionName="greet", Timeout=9),
            ]
            for call in calls:
                with pytest.raises(ClientError) as error:
                    call()
                refused.append(str(error.value))
            return refused

        assert all("which registers it at each start" in reason for reason in await asyncio.to_thread(use))
    async with microlam.Microlam(tmp_path, data=tmp_path / ".data") as other:      # nothing of it was kept
        assert other.functions.all() == []


async def test_what_cannot_be_registered_is_said(tmp_path: Path) -> None:
    write(tmp_path, {"hello.py": "def handler(event, context): return 1\n"})
    lam = microlam.Microlam(tmp_path, data=tmp_path / ".data")
    for settings, reason in (({"timeout": 0}, "timeout"), ({"http": "GET"}, "GET"), ({"version": "x"}, "version"), ({"tmeout": 1}, "timeout")):
        with pytest.raises(InvalidParameter, match=reason):
            lam.function("greet", handler=print, **settings)
    with pytest.raises(InvalidParameter, match="64 letters"):
        lam.function("no name", handler=print)
    with pytest.raises(TypeError, match=r'write @lam.function\("echo"\)'):
        @lam.function  # type: ignore[arg-type]
        def echo(event: Any, context: Any) -> Any:
            return event
    with pytest.raises(TypeError, match=r"function bare: a handler takes \(event, context\), and .*bare\(\) does not"):
        @lam.function("bare")
        async def bare() -> None: ...
    with pytest.raises(TypeError, match="3 cannot be called"):
        lam.function("three", handler=3)  # type: ignore[arg-type]
    lam.function("twice", handler=print)
    lam.function("twice", handler=print, version=1)
    for version in (None, 1):
        with pytest.raises(InvalidParameter, match="Function twice has a handler already"):
            lam.function("twice", handler=max, version=version)
    lam.function("hello", handler=print)
    with pytest.raises(FunctionExists):
        await lam.__aenter__()


async def test_deployments_are_told(tmp_path: Path) -> None:
    write(tmp_path, {"hello.py": "def handler(event, context): return 1\n"})
    told: list[str] = []
    lam = microlam.Microlam(tmp_path, data=tmp_path / ".data")

    @lam.on_deploy
    async def note(version: microlam.Version) -> None:
        told.append(f"{version.name} {version.number}")

    async with lam:
        assert (await lam.invoke("hello")).value == 1
        write(tmp_path, {"hello.py": "def handler(event, context): return 22\n"})
        assert (await lam.invoke("hello")).value == 22
        await lam.functions.publish(lam.functions.named("hello"), origin="host")
        await asyncio.sleep(0)
        assert told == ["hello $LATEST", "hello 1"]
