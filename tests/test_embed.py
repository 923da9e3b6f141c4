"""microlam beside an aiohttp application's own routes, and without any server at all."""
from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.test_utils import TestClient, TestServer

import microlam
from microlam.errors import BrokenToml, DataFolderHeld, FolderIsFile, FolderMissing, FunctionNotFound, RequestTooLarge, SettingsError
from microlam.store import InvocationFilter
from tests.conftest import write

WHERE = {"where.py": "from microlam import http\n@http('$default')\ndef handler(event, context): return event['rawPath']\n"}


async def own(request: web.Request) -> web.Response:
    return web.Response(text="the host's")


def client(app: web.Application) -> TestClient[web.Request, web.Application]:
    return TestClient(TestServer(app))


async def text(client: TestClient[web.Request, web.Application], path: str, method: str = "GET") -> str:
    async with client.request(method, path) as reply:
        return f"{reply.status} {await reply.text()}"


# ---- setup -----------------------------------------------------------------------------------------------------------

async def test_functions_answer_where_the_host_does_not(tmp_path: Path) -> None:
    write(tmp_path, {"functions/hello.py": "def handler(event, context): return event['rawPath']\n", "functions/microlam.toml": "[microlam]\nconcurrency = 3\n"})
    app = web.Application()
    lam = microlam.setup(app, tmp_path / "functions", prefix="/fn", data=tmp_path / "data")
    app.router.add_get("/own", own)
    async with client(app) as http:
        assert await text(http, "/own") == "200 the host's"
        assert await text(http, "/fn/hello") == "200 /hello"
        assert await text(http, "/fn/nothing") == '404 {"message":"Not Found"}'
        assert (await text(http, "/hello")).startswith("404")
        assert (await text(http, "/fnord/hello")).startswith("404")
        assert (await (await http.get("/admin/health")).json())["functions"] == ["hello"]
        assert app[microlam.KEY] is lam
        assert lam.settings.concurrency == 3
        assert [function.name for function in lam.functions.all()] == ["hello"]


async def test_without_a_prefix_functions_have_every_path_that_the_host_has_not_whenever_it_added_its_own(tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    app, part = web.Application(), web.Application()
    microlam.setup(app, tmp_path, prefix="", data=tmp_path / ".data")
    app.router.add_get("/{page}.html", own)
    part.router.add_get("/own", own)
    app.add_subapp("/part", part)
    async with client(app) as http:
        assert await text(http, "/") == "200 /"
        assert await text(http, "/a/b") == "200 /a/b"
        assert await text(http, "/index.html") == "200 the host's"
        assert await text(http, "/part/own") == "200 the host's"
        assert (await text(http, "/index.html", "POST")).startswith("405")
        assert (await text(http, "/admin/health")).startswith("200")


@web.middleware
async def adding(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    reply = await handler(request)
    reply.headers["X-Host"] = "was here"
    return reply


async def signed(request: web.Request, reply: web.StreamResponse) -> None:
    reply.headers["X-Host"] = "was here"


@pytest.mark.parametrize("where", ["nowhere", "in a middleware", "in a signal", "in a signal of the whole"])
async def test_a_host_adds_to_replies_wherever_aiohttp_lets_it(tmp_path: Path, where: str) -> None:
    write(tmp_path, {"hello.py": "def handler(event, context): return {'statusCode': 201, 'headers': {'X-Own': 'mine'}, 'cookies': ['a=1'], 'body': 'hello'}\n"})
    app, whole = web.Application(middlewares=[adding] if where == "in a middleware" else []), web.Application()
    microlam.setup(app, tmp_path, prefix="/fn", data=tmp_path / ".data")
    if where == "in a signal":
        app.on_response_prepare.append(signed)
    if where == "in a signal of the whole":
        whole.on_response_prepare.append(signed)
    whole.add_subapp("/part", app)
    async with client(whole) as http, http.get("/part/fn/hello") as reply:
        assert (reply.status, await reply.text(), reply.headers.get("X-Host")) == (201, "hello", None if where == "nowhere" else "was here")
        assert (reply.headers["X-Own"], reply.headers["Set-Cookie"], len(reply.headers["apigw-requestid"])) == ("mine", "a=1", 36)


class OwnLogger(AbstractAccessLogger):
    """A host's, which asks a reply whatever it likes."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        self.logger.info("%s %s %s %s", response.status, response.reason, response.content_type, response.content_length)


@pytest.mark.parametrize(("logging", "line"), [
    ({"access_log_format": "%r %s %b %{X-Own}o"}, r"GET /fn/hello HTTP/1.1 201 \d{3} mine"),     # bytes with the head
    ({"access_log_class": OwnLogger}, r"201 Created text/x-own 5"),
])
async def test_a_hosts_access_log_tells_of_functions_too(tmp_path: Path, caplog: pytest.LogCaptureFixture, logging: dict[str, Any], line: str) -> None:
    headers = "{'X-Own': 'mine', 'Content-Type': 'text/x-own'}"
    write(tmp_path, {"hello.py": f"def handler(event, context): return {{'statusCode': 201, 'headers': {headers}, 'body': 'hello'}}\n"})
    app = web.Application()
    microlam.setup(app, tmp_path, prefix="/fn", data=tmp_path / ".data")
    runner = web.AppRunner(app, **logging)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        with caplog.at_level("INFO", "aiohttp.access"):
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{runner.addresses[0][1]}/fn/hello") as reply:
                assert await reply.text() == "hello"
            await runner.cleanup()      # the line is written after the reply
    finally:
        await runner.cleanup()
    assert re.search(line, caplog.text)


async def test_the_admin_is_not_drawn_at_a_hosts_root(tmp_path: Path) -> None:
    write(tmp_path, {"hello.py": "def handler(event, context): return 1\n"})
    app = web.Application()
    microlam.setup(app, tmp_path, prefix="", data=tmp_path / ".data")
    async with client(app) as http, http.get("/", headers={"Accept": "text/html"}) as reply:
        assert (reply.status, await reply.text()) == (404, '{"message":"Not Found"}')


async def test_a_part_of_an_application_may_have_it(tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    app, part = web.Application(), web.Application()
    lam = microlam.setup(part, tmp_path, prefix="/fn", admin="/admin", data=tmp_path / ".data")

    async def known(request: web.Request) -> web.Response:
        return web.Response(text=str(request.config_dict[microlam.KEY] is lam))

    part.router.add_get("/known", known)
    app.add_subapp("/api", part)
    async with client(app) as http:
        assert await text(http, "/api/fn/a") == "200 /a"
        assert (await text(http, "/api/admin/health")).startswith("200")
        assert await text(http, "/api/known") == "200 True"


async def test_two_live_in_one_application(tmp_path: Path) -> None:
    shop, office = web.AppKey("shop", microlam.Microlam), web.AppKey("office", microlam.Microlam)
    app = web.Application()
    for number, key in enumerate((shop, office)):
        write(tmp_path / str(number), {"name.py": f"def handler(event, context): return {number}\n"})
        microlam.setup(app, tmp_path / str(number), prefix=f"/{number}", aws=None, admin=None, key=key, data=tmp_path / f"data-{number}")
    with pytest.raises(SettingsError, match="key="):
        microlam.setup(app, tmp_path, key=office)
    async with client(app) as http:
        assert [await text(http, f"/{number}/name") for number in (0, 1)] == ["200 0", "200 1"]
        assert [(await app[key].invoke("name")).value for key in (shop, office)] == [0, 1]


async def test_a_face_that_is_none_is_nowhere(tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    app = web.Application()
    lam = microlam.setup(app, tmp_path, prefix=None, aws=None, admin=None, data=tmp_path / ".data")
    async with client(app) as http:
        assert [(await text(http, path))[:3] for path in ("/", "/where", "/admin/health", "/aws/2015-03-31/functions/where/invocations")] == ["404"] * 4
        assert (await lam.invoke("where", {"rawPath": "/x"})).value == "/x"


async def test_callers_from_elsewhere_need_a_token_a_signature_or_the_hosts_guard(tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    elsewhere = {"X-Forwarded-For": "192.0.2.1"}
    app = web.Application()
    microlam.setup(app, tmp_path, data=tmp_path / ".data", admin_token="secret")
    async with client(app) as http:
        call = "/aws/2015-03-31/functions/where/invocations"
        async with http.post(call, headers=elsewhere) as reply:
            assert (reply.status, "another machine" in await reply.text()) == (403, True)
        assert (await http.post(call, json={"rawPath": "/"})).status == 200
        assert (await http.get("/admin/functions.json", headers=elsewhere)).status == 401
        assert (await http.get("/admin/functions.json", headers=elsewhere | {"Authorization": "Bearer secret"})).status == 200
        assert (await http.get("/where", headers=elsewhere)).status == 200


async def test_the_hosts_guard_says_what_a_refused_request_gets(tmp_path: Path) -> None:
    write(tmp_path, WHERE)

    async def guard(request: web.Request) -> bool:
        if "user" not in request.query:
            raise web.HTTPFound("/login")
        return request.query["user"] == "ada"

    app = web.Application()
    microlam.setup(app, tmp_path, data=tmp_path / ".data", guard=guard)
    async with client(app) as http:
        async with http.get("/", allow_redirects=False) as reply:
            assert (reply.status, reply.headers["Location"]) == (302, "/login")
        assert [(await text(http, f"/?user={user}"))[:3] for user in ("ada", "eve")] == ["200", "403"]


async def test_a_host_that_cancels_for_clients_who_leave_does_not_cancel_invocations(tmp_path: Path) -> None:
    write(tmp_path, {"slow.py": "import time\ndef handler(event, context):\n    time.sleep(0.3)\n    return 1\n"})
    app = web.Application()
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    lam = microlam.setup(app, tmp_path, data=tmp_path / ".data")

    @lam.after
    async def note(invocation: microlam.Invocation, outcome: microlam.Outcome) -> None:
        ended.set_result(outcome.status)

    began: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @lam.before
    async def begin(invocation: microlam.Invocation) -> None:
        began.set_result(None)

    async with TestServer(app, handler_cancellation=True) as server:
        _, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await began
        writer.close()
        assert await ended == "succeeded"


async def test_what_prevents_the_start_is_the_hosts_failure_and_what_was_begun_is_ended(tmp_path: Path) -> None:
    write(tmp_path, {**WHERE, "microlam.toml": "[functions.where]\ntimeut = 1\n"})
    log: list[str] = []

    async def opened(app: web.Application) -> AsyncIterator[None]:
        log.append("opened")
        yield
        log.append("closed")

    app = web.Application()
    app.cleanup_ctx.append(opened)
    microlam.setup(app, tmp_path, data=tmp_path / ".data")
    runner = web.AppRunner(app)
    with pytest.raises(BrokenToml, match="timeut"):
        await runner.setup()
    await runner.cleanup()
    assert log == ["opened", "closed"]
    async with microlam.Microlam(tmp_path.parent, data=tmp_path / ".data"):     # nobody holds the data folder
        pass


@pytest.mark.parametrize("prefix", ["fn", "/{fn}"])
def test_what_is_no_prefix_is_said_at_once(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(SettingsError, match="prefix"):
        microlam.setup(web.Application(), tmp_path, prefix=prefix)


@pytest.mark.parametrize(("prefixes", "hidden"), [
    ({"prefix": "/fn", "aws": "/fn/", "admin": "/x"}, 'aws="/fn" would hide prefix="/fn"'),
    ({"prefix": "/x/fn", "admin": "/x"}, 'admin="/x" would hide prefix="/x/fn"'),
    ({"admin": ""}, 'admin="" would hide aws="/aws"'),
])
def test_a_face_that_would_hide_another_is_refused(tmp_path: Path, prefixes: dict[str, str], hidden: str) -> None:
    with pytest.raises(SettingsError, match=hidden):
        microlam.setup(web.Application(), tmp_path, **prefixes)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=hidden):
        microlam.asgi(microlam.Microlam(tmp_path), **prefixes)  # type: ignore[arg-type]


async def test_faces_may_lie_below_the_functions_and_the_aws_api_among_them(tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    app = web.Application()
    lam = microlam.setup(app, tmp_path, prefix="", aws="", admin="/a/b", data=tmp_path / ".data")
    async with client(app) as http:
        assert await text(http, "/a/bc") == "200 /a/bc"
        assert (await text(http, "/a/b/health")).startswith("200")
        assert await text(http, "/2015-03-31/functions/where/invocations", "POST") != "200 /2015-03-31/functions/where/invocations"
        assert lam.running


def test_a_guard_is_something_to_be_asked(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="guard= takes a callable"):
        microlam.setup(web.Application(), tmp_path, guard=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="guard= takes a callable"):
        microlam.asgi(microlam.Microlam(tmp_path), guard=3)  # type: ignore[arg-type]


# ---- without a server ------------------------------------------------------------------------------------------------

async def test_functions_run_without_any_server_and_their_own_calls_are_answered(tmp_path: Path) -> None:
    write(tmp_path, {
        "hello.py": "def handler(event, context):\n    print('greeting')\n    return f\"Hello, {event['name']}!\"\n",
        "calls.py": """
            import boto3
            def handler(event, context):
                return boto3.client("lambda").invoke(FunctionName="hello", Payload=b'{"name": "Ada"}')["Payload"].read().decode()
            """,
    })
    async with microlam.Microlam(tmp_path, data=tmp_path / ".data") as lam:
        outcome = await lam.invoke("hello", {"name": "Grace"})
        assert (outcome.payload, outcome.error, outcome.version, outcome.cold) == (b'"Hello, Grace!"', None, "$LATEST", True)
        assert b"greeting\n" in outcome.logs
        assert outcome.duration > 0
        failed = await lam.invoke("hello:$LATEST", b"{}")
        assert failed.error
        assert failed.error["errorType"] == "KeyError"
        assert json.loads((await lam.invoke("calls")).value) == "Hello, Ada!"  # type: ignore[arg-type]  # the handler gives text
        address = lam.endpoint_url
        async with aiohttp.ClientSession() as session, session.get(f"{address}/_microlam/health") as reply:
            assert reply.status == 404      # handlers have no business in the admin
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(address)


async def test_what_is_enqueued_runs_by_and_by_and_hooks_are_told(tmp_path: Path) -> None:
    write(tmp_path, {"work.py": "def handler(event, context): return 1 / event['by']\n"})
    told: list[str] = []
    ended = asyncio.Event()
    lam = microlam.Microlam(tmp_path, data=tmp_path / ".data", retry_delay=0.0)

    @lam.before
    async def before(invocation: microlam.Invocation) -> None:
        told.append(f"before {invocation.attempt}")

    @lam.after
    async def after(invocation: microlam.Invocation, outcome: microlam.Outcome) -> None:
        told.append(f"after {outcome.status}")
        if invocation.attempt == 3:
            ended.set()
        raise RuntimeError("a hook that fails is nobody's business")

    @lam.on_failure
    async def failure(invocation: microlam.Invocation, outcome: microlam.Outcome) -> None:
        told.append(f"failure {(outcome.error or {})['errorType']}")

    async with lam:
        await lam.invoke("work", {"by": 1})
        assert told == ["before 1", "after succeeded"]
        told.clear()
        accepted = await lam.enqueue("work", {"by": 0})
        await asyncio.wait_for(ended.wait(), 30)
        assert told[:3] == ["before 1", "after failed", "failure ZeroDivisionError"]
        record = await lam.store.invocation(accepted.id)
        assert record
        assert [attempt.status for attempt in record.attempts] == ["failed"] * 3


async def test_who_gives_up_an_invocation_is_on_record_for_it(tmp_path: Path) -> None:
    write(tmp_path, {"long.py": "import time\ndef handler(event, context): time.sleep(60)\n", "microlam.toml": "[functions.long]\ntimeout = 60\n"})
    begun = asyncio.Event()
    lam = microlam.Microlam(tmp_path, data=tmp_path / ".data")

    @lam.before
    async def before(invocation: microlam.Invocation) -> None:
        begun.set()

    async with lam:
        waiting = asyncio.create_task(lam.invoke("long"))
        await begun.wait()
        waiting.cancel()
        await asyncio.wait({waiting})
        [record] = (await lam.store.invocations(InvocationFilter())).records
        given_up = await lam.store.invocation(record.id)
    assert given_up
    assert (given_up.status, json.loads(given_up.reply)["errorMessage"]) == ("crashed", "its caller gave it up")


async def test_it_says_at_once_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="dta"):
        microlam.Microlam(tmp_path, dta="data")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"there is no setting concurency\. Did you mean concurrency\?"):
        microlam.Microlam(tmp_path, concurency=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="port= has no effect here"):
        microlam.setup(web.Application(), tmp_path, port=3)
    file = tmp_path / "emb.py"
    file.touch()
    with pytest.raises(FolderIsFile, match=f"{file} is a file. Name the folder that it is in: {tmp_path}"):
        microlam.setup(web.Application(), file)
    with pytest.raises(FolderMissing):
        async with microlam.Microlam(tmp_path / "nowhere"):
            pass
    with pytest.raises(RuntimeError, match="does not run"):
        await microlam.Microlam(tmp_path, data=tmp_path / ".data").invoke("hello")
    async with microlam.Microlam(tmp_path, data=tmp_path / ".data") as lam:
        for call in (lam.invoke, lam.enqueue):
            with pytest.raises(FunctionNotFound, match="function:hello"):
                await call("hello")
            with pytest.raises(RequestTooLarge):
                await call("hello", "x" * 7_000_000)
        with pytest.raises(RuntimeError, match="already"):
            await lam.__aenter__()
    async with lam:     # and again, when it has ended
        assert lam.running


async def test_errors_name_settings_as_arguments_which_is_what_a_host_has(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="concurrency = 0, from concurrency=, cannot"):
        microlam.Microlam(tmp_path, concurrency=0)
    with pytest.raises(SettingsError, match="set secret_key= too"):
        microlam.Microlam(tmp_path, access_key="k")
    async with microlam.Microlam(tmp_path, data=tmp_path / ".data") as lam:
        with pytest.raises(DataFolderHeld, match="give this one its own with data="):
            await microlam.Microlam(tmp_path, data=tmp_path / ".data").__aenter__()
        assert lam.settings.origins["data"] == "data="
