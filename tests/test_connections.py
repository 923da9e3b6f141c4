"""Connections on which nothing comes, or what is no HTTP."""
from __future__ import annotations

import asyncio
import json
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from microlam.connections import low_level
from tests.conftest import Serve

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@asynccontextmanager
async def listening(serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[Callable[[], Awaitable[Connection]]]:
    server = low_level(serve, patience=0.3)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield lambda: asyncio.open_connection(*listener.sockets[0].getsockname())
    finally:
        listener.close()
        await server.shutdown(0)


async def hello(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")


async def told(connection: Connection, sent: bytes = b"") -> bytes:
    """All that comes on a connection that sends this, until the server closes it."""
    reader, writer = connection
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer


@pytest.mark.parametrize(("sent", "replies"), [(b"", 0), (REQUEST[:20], 0), (REQUEST, 1), (REQUEST + REQUEST + REQUEST[:20], 2)])
async def test_a_connection_on_which_no_whole_head_comes_is_closed(sent: bytes, replies: int) -> None:
    async with listening(hello) as connect:
        assert (await told(await connect(), sent)).count(b"hello") == replies


async def test_a_request_may_take_longer_than_the_next_one_is_waited_for() -> None:
    idle = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await idle.wait()
        return web.Response(text="slow")

    async with listening(slow) as connect:
        asked = asyncio.ensure_future(told(await connect(), REQUEST))
        for _ in range(2):
            assert await told(await connect()) == b""
        idle.set()
        assert (await asked).endswith(b"slow")


def test_many_half_requests_leave_room_for_a_whole_one(serve: Serve) -> None:
    """Given a server that was started with few open files, when many clients send half a head, then it serves the next one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        server = serve({"limit.py": "import resource\ndef handler(event, context): return resource.getrlimit(resource.RLIMIT_NOFILE)[0]"})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    code = "import socket, sys; held = [socket.create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(400)]; " \
           "[each.sendall(b'GET / HTTP/1.1') for each in held]; print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, server.url.rpartition(":")[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as many:
        assert many.stdout
        assert many.stdout.readline() == "held\n"
        assert server.get("/limit").json() == 1024
        many.kill()


@pytest.mark.parametrize(("request_line", "reason"), [
    ("GET /hello?name=Jürgen HTTP/1.1".encode(), "Invalid char in url query"), (b"GET /a b HTTP/1.1", "Bad status line"), (b"GET http://[::1 HTTP/1.1", ""),
    (b"\x16\x03\x01", "Received HTTPS traffic on an HTTP port"),
])
async def test_what_is_no_http_is_400_in_json_and_prints_nothing(caplog: pytest.LogCaptureFixture, request_line: bytes, reason: str) -> None:
    async with listening(hello) as connect:
        head, _, body = (await told(await connect(), request_line + b"\r\nHost: a\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.split()[1] == b"400"
    assert b"apigw-requestid: " in head
    assert json.loads(body)["message"].startswith(f"Bad Request: {reason}")
    assert caplog.text == ""


@pytest.mark.parametrize("path", ["/hello", "/2015-03-31/functions/hello/invocations", "/_microlam/theme", "/_microlam/buckets/uploads"])
def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_traceback(serve: Serve, path: str) -> None:
    server = serve({"hello.py": "def handler(event, context): return 1\n"})
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 3000000\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode() + b"Content-Disposition: form-data; name=a\r\n\r\n" + bytes(100_000))
        assert server.get("/hello").status == 200       # it has come before this
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))     # leave without a word
    assert server.get("/hello").status == 200
    server.stop()
    assert [line for line in server.lines if "Traceback" in line or "Error" in line] == []


def test_a_request_for_a_whole_url_is_one_for_its_path_and_its_host(serve: Serve) -> None:
    server = serve({"hello.py": "def handler(event, context): return event\n"})
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET http://ada:secret@shop.example:81/hello/a%20b?c=1 HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
        event = json.loads(client.makefile("rb").read().partition(b"\r\n\r\n")[2])
    assert (event["rawPath"], event["rawQueryString"], event["requestContext"]["domainName"]) == ("/hello/a b", "c=1", "shop.example")
    assert event["headers"]["host"] == "shop.example:81"
