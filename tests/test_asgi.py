"""The faces under ASGI servers and frameworks: uvicorn, and FastAPI with microlam mounted beside its own routes."""
from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
import uvicorn
from fastapi import FastAPI

import microlam
from tests.conftest import write

FUNCTIONS = {
    "hello.py": "def handler(event, context): return {'rawPath': event['rawPath'], 'path': event['requestContext']['http']['path'], 'query': event['rawQueryString']}\n",
    "size.py": "def handler(event, context): return len(event.get('body', ''))\n",
    "cookies.py": "def handler(event, context): return {'statusCode': 201, 'cookies': ['a=1', 'b=2'], 'headers': {'X-Own': 'ü'}, 'body': event['cookies'][0]}\n",
}


@asynccontextmanager
async def served(app: Callable[..., Any]) -> AsyncIterator[str]:
    """An ASGI application under uvicorn; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def lam(tmp_path: Path) -> microlam.Microlam:
    write(tmp_path, FUNCTIONS)
    return microlam.Microlam(tmp_path, data=tmp_path / ".data")


async def test_uvicorn_serves_all_faces_and_the_microlam_lives_as_long(lam: microlam.Microlam) -> None:
    async with served(microlam.asgi(lam)) as url, aiohttp.ClientSession() as http:
        assert lam.running
        async with http.get(f"{url}/hello/a%20b?x=%20y") as reply:
            assert await reply.json() == {"rawPath": "/hello/a b", "path": "/hello/a b", "query": "x=%20y"}
            assert len(reply.headers.getall("Date")) == len(reply.headers.getall("Server")) == 1
        async with http.get(f"{url}/cookies", headers={"Cookie": "who=me"}) as reply:
            assert (reply.status, await reply.text(), reply.headers.getall("Set-Cookie")) == (201, "who=me", ["a=1", "b=2"])
        async with http.post(f"{url}/size", data=b"x" * 5_000_000, headers={"Content-Type": "text/plain", "Expect": "100-continue"}) as reply:
            assert await reply.json() == 5_000_000
        async with http.post(f"{url}/size", data=b"x" * 11_000_000) as reply:
            assert reply.status == 413
        async with http.head(f"{url}/hello") as reply:
            assert (reply.status, await reply.read()) == (200, b"")
        async with http.post(f"{url}/aws/2015-03-31/functions/size/invocations", json={"body": "abc"}) as reply:
            assert (await reply.json(), reply.headers["X-Amz-Executed-Version"]) == (3, "$LATEST")
        async with http.get(f"{url}/admin/health") as reply:
            assert (await reply.json())["functions"] == ["cookies", "hello", "size"]
        async with http.get(f"{url}/admin/health", headers={"Host": "evil.example"}) as reply:
            assert reply.status == 403
    assert not lam.running


async def test_fastapi_has_it_beside_its_own_routes(lam: microlam.Microlam) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with lam:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/size/{text}")
    async def size(text: str) -> object:
        return (await lam.invoke("size", {"body": text})).value

    app.mount("/fn", microlam.asgi(lam, guard=lambda scope: b"x-user" in dict(scope["headers"])))
    async with served(app) as url, aiohttp.ClientSession(headers={"X-User": "ada"}) as http:
        async with http.get(f"{url}/size/abcd") as reply:
            assert await reply.json() == 4
        async with http.get(f"{url}/fn/hello?x=1") as reply:
            assert await reply.json() == {"rawPath": "/hello", "path": "/fn/hello", "query": "x=1"}
        async with http.get(f"{url}/fn/admin/", headers={"Accept": "text/html"}) as reply:
            found = re.search(r'href="([^"]*admin\.css[^"]*)"', await reply.text())
            assert found
        async with http.get(urljoin(f"{url}/fn/admin/", found[1])) as reply:
            assert reply.status == 200
        async with aiohttp.ClientSession() as stranger, stranger.get(f"{url}/fn/hello") as reply:
            assert reply.status == 403


async def test_a_stream_ends_when_its_client_leaves(lam: microlam.Microlam) -> None:
    streams: list[asyncio.Task[None]] = []

    async def noted(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["path" if scope["type"] == "http" else "type"] == "/admin/live":
            streams.append(asyncio.current_task())  # type: ignore[arg-type]  # it is one
        await faces(scope, receive, send)

    faces = microlam.asgi(lam)
    async with served(noted) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/admin/live") as reply:
            assert (await reply.content.readuntil(b"\n\n")).startswith(b"retry")
            await http.get(f"{url}/hello")
            assert b"event: rows" in await reply.content.readuntil(b"event: rows")
        while not streams[0].done():        # it notices at the next thing it has to tell
            await http.get(f"{url}/hello")
            await asyncio.sleep(0.05)


async def test_a_body_is_read_no_faster_than_it_is_wanted_and_a_client_that_leaves_is_noticed(lam: microlam.Microlam) -> None:
    asked = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal asked
        asked += 1
        if asked > 3:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    async with lam:
        status, _ = await answered(microlam.asgi(lam), receive)
    assert (status, asked) == (400, 4)


async def test_a_framework_that_cuts_off_the_path_it_is_mounted_under_is_understood(lam: microlam.Microlam) -> None:
    async with lam:
        _, body = await answered(microlam.asgi(lam), None, method="GET", path="/hello", root_path="/fn", headers=[])
        assert json.loads(body) == {"rawPath": "/hello", "path": "/fn/hello", "query": ""}
    with pytest.raises(RuntimeError, match="lifespan"):
        await answered(microlam.asgi(lam), None, method="GET", path="/hello", headers=[])


async def answered(app: Callable[..., Awaitable[None]], receive: Callable[..., Any] | None, **scope: Any) -> tuple[int, bytes]:
    """What an application answers to one request."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app({
        "type": "http", "method": "POST", "path": "/size", "query_string": b"", "headers": [(b"transfer-encoding", b"chunked")], "scheme": "http", **scope,
    }, receive, send)
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


async def test_a_microlam_that_cannot_start_is_the_servers_failure(tmp_path: Path) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await microlam.asgi(microlam.Microlam(tmp_path / "nowhere"))({"type": "lifespan"}, receive, send)
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "nowhere" in sent[0]["message"]


async def test_a_client_in_the_same_process_that_has_just_saved_gets_the_new_code(tmp_path: Path) -> None:
    """Given a handler that never waits, when one task asks, saves and asks again without a pause, then each reply is the newest."""
    async def ask() -> str:
        body = b""

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal body
            body += message.get("body", b"")

        headers = [(b"host", b"localhost")]
        await faces({"type": "http", "method": "GET", "path": "/hello", "query_string": b"", "headers": headers, "scheme": "http"}, receive, send)
        return body.decode()

    (tmp_path / "hello.py").write_text("async def handler(event, context): return 'start'\n")
    async with microlam.Microlam(tmp_path, data=tmp_path / ".data", executor="inprocess") as lam:
        faces = microlam.asgi(lam)
        for number in range(10):
            for _ in range(100):    # until what is there has been there for longer than the file system's clock ticks
                await ask()
            (tmp_path / "hello.py").write_text(f"async def handler(event, context): return 'change {number}'\n")
            assert await ask() == f"change {number}"
