"""The gateway over real HTTP: a client on one side, handlers that are plain coroutines on the other."""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, web

from microlam.errors import FunctionNotFound, MicrolamError, Throttled
from microlam.gateway import Gateway
from microlam.model import Invocation, Outcome, Trigger, Version, function_arn
from microlam.routes import RouteTable, parse_route

Event = dict[str, object]
Handler = Callable[[Event], Awaitable[object]]

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@dataclass
class Peer:
    """Functions, triggers and invoker in one: each route's handler is a coroutine, called here; every invocation is kept."""

    handlers: Mapping[str, Handler]
    invocations: list[Invocation] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    gone: bool = False
    saved: Mapping[str, Handler] | None = None      # what a look at the folder shows

    @property
    def routes(self) -> RouteTable:
        return RouteTable(Trigger(target=function_arn(f"f{n}"), when=parse_route(route)) for n, route in enumerate(self.handlers))

    def ready(self, arn: str, qualifier: str | None = None) -> Version | None:
        return None

    async def current(self, arn: str, qualifier: str | None = None) -> Version:
        if self.gone:
            raise FunctionNotFound(arn=arn)
        return Version(arn=arn, handler="app.handler", runtime="python3.11", root="/")

    async def look_again(self) -> None:
        self.handlers = self.saved or self.handlers

    async def invoke(self, version: Version, invocation: Invocation) -> Outcome:
        self.invocations.append(invocation)
        handler = list(self.handlers.values())[int(version.name[1:])]
        try:
            result = await handler(json.loads(invocation.payload))
            outcome = Outcome(status="succeeded", payload=result if isinstance(result, bytes) else json.dumps(result).encode())
        except (ValueError, KeyError) as error:
            outcome = Outcome(status="failed", payload=json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)}).encode())
        self.outcomes.append(outcome)
        return outcome

    async def fail(self, invocation: Invocation, error: MicrolamError) -> Outcome:
        self.invocations.append(invocation)
        return Outcome(status="failed", payload=json.dumps({"errorType": error.code, "errorMessage": str(error)}).encode())


def page(outcome: Outcome, invocation: Invocation, reason: str | None) -> str:
    return f"<h1>{outcome.status}</h1>{invocation.id} {reason}"


@asynccontextmanager
async def listening(serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], *, cancelling: bool = False) -> AsyncIterator[int]:
    server = web.Server(serve, handler_cancellation=cancelling, auto_decompress=False, lingering_time=0.3)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(0)


@dataclass
class Client:
    """Asks the gateway, with a client library and by hand."""

    session: ClientSession
    port: int

    async def ask(self, method: str, path: str, **options: object) -> tuple[int, Mapping[str, str], bytes]:
        async with self.session.request(method, f"http://127.0.0.1:{self.port}{path}", allow_redirects=False, **options) as response:  # type: ignore[arg-type]
            return response.status, response.headers, await response.read()

    async def raw(self, *parts: bytes) -> bytes:
        """Send these bytes, close the sending side, and read all that comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return answer


@asynccontextmanager
async def gateway(peer: Peer, **options: object) -> AsyncIterator[Client]:
    face = Gateway(peer, peer, peer, error_page=page, untouched=True, **options)  # type: ignore[arg-type]
    async with listening(face.serve, cancelling=bool(options.get("cancelling"))) as port, ClientSession() as session:
        yield Client(session, port)


async def echo(event: Event) -> object:
    return event


async def fails(event: Event) -> object:
    raise ValueError("no <b>")


def returning(value: object) -> Handler:
    async def handler(event: Event) -> object:
        return value
    return handler


# ---- there and back --------------------------------------------------------------------------------------------------

async def test_a_client_that_asks_on_and_on_and_never_reads_is_not_served_on_and_on() -> None:
    peer = Peer({"GET /large": returning({"statusCode": 200, "body": "x" * 4_000_000}), "GET /small": returning("y")})
    async with gateway(peer) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        for _ in range(100):        # others are, meanwhile
            assert (await client.ask("GET", "/small"))[0] == 200
        begun = sum("/large" in invocation.summary for invocation in peer.invocations)
        received = 0
        while received < 20 * 4_000_000:
            received += len(await asyncio.wait_for(reader.read(1 << 20), 20))
        writer.close()
    assert 0 < begun < 20
    assert sum("/large" in invocation.summary for invocation in peer.invocations) == 20


async def test_a_request_becomes_an_event_and_the_reply_a_response() -> None:
    peer = Peer({"POST /orders/{id}": echo})
    async with gateway(peer) as client:
        status, headers, body = await client.ask("POST", "/orders/7?x=1", json={"n": 1}, headers={"Cookie": "a=1"})
    event = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert (event["routeKey"], event["rawPath"], event["body"], event["cookies"]) == ("POST /orders/{id}", "/orders/7", '{"n": 1}', ["a=1"])
    assert (event["requestContext"]["http"]["sourceIp"], event["headers"]["x-forwarded-port"]) == ("127.0.0.1", str(client.port))
    [invocation] = peer.invocations
    assert (invocation.cause, invocation.summary, invocation.accepted_at) == ("http", "POST /orders/7", None)
    assert headers["apigw-requestid"] == headers["x-amzn-RequestId"] == invocation.id == event["requestContext"]["requestId"]


async def test_the_answers_of_an_http_api() -> None:
    peer = Peer({"GET /fails": fails, "GET /odd": returning({"statusCode": 200, "headers": {"x": "a\r\nSet-Cookie: b"}})})
    async with gateway(peer) as client:
        assert (await client.ask("GET", "/none"))[::2] == (404, b'{"message":"Not Found"}')
        status, headers, body = await client.ask("POST", "/fails")
        assert (status, body, len(headers["apigw-requestid"])) == (404, b'{"message":"Not Found"}', 36)
        for path in ("/fails", "/odd"):
            status, headers, body = await client.ask("GET", path)
            assert (status, headers["Content-Type"], body) == (500, "application/json", b'{"message":"Internal Server Error"}')
            assert headers["apigw-requestid"] == peer.invocations[-1].id
            assert "Set-Cookie" not in headers


async def test_a_throttled_invocation_is_503_and_a_vanished_function_500() -> None:
    async def throttled(event: Event) -> object:
        raise Throttled()

    peer = Peer({"GET /busy": throttled})
    async with gateway(peer) as client:
        status, headers, body = await client.ask("GET", "/busy")
        assert (status, body) == (503, b'{"message":"Service Unavailable"}')
        assert headers["apigw-requestid"] == peer.invocations[0].id
        peer.gone = True
        status, headers, body = await client.ask("GET", "/busy")
        assert (status, body) == (500, b'{"message":"Internal Server Error"}')
        assert headers["apigw-requestid"] == peer.invocations[1].id


async def test_a_route_that_was_saved_a_moment_ago_is_found() -> None:
    async with gateway(Peer({"GET /old": returning("old")}, saved={"GET /new": returning("new")})) as client:
        assert (await client.ask("GET", "/new"))[2] == b"new"
        assert (await client.ask("GET", "/old"))[0] == 404


async def test_cookies_headers_and_binary_bodies_go_out() -> None:
    reply = {
        "statusCode": 201, "headers": {"Content-Type": "image/png", "Content-Length": "1", "x-amzn-RequestId": "mine"}, "cookies": ["a=1", "b=2; Path=/"],
        "body": "AAEC", "isBase64Encoded": True,
    }
    peer = Peer({"GET /": returning(reply)})
    async with gateway(peer) as client, client.session.get(f"http://127.0.0.1:{client.port}/") as response:
        assert (response.status, await response.read()) == (201, b"\x00\x01\x02")
        assert response.headers.getall("Set-Cookie") == ["a=1", "b=2; Path=/"]
        assert response.headers.getall("Content-Length") == ["3"]
        assert response.headers.getall("x-amzn-RequestId") == [peer.invocations[0].id]


async def test_binary_and_compressed_bodies_come_in_untouched() -> None:
    peer = Peer({"POST /": echo})
    async with gateway(peer) as client:
        gzipped = b"\x1f\x8b not really gzip"
        event = json.loads((await client.ask("POST", "/", data=gzipped, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"}))[2])
        assert (event["isBase64Encoded"], event["headers"]["content-encoding"], event["headers"]["content-length"]) == (True, "gzip", str(len(gzipped)))
        form = json.loads((await client.ask("POST", "/", data={"a": "1"}))[2])
        assert (form["body"], form["isBase64Encoded"]) == ("YT0x", True)


async def test_a_large_reply_arrives_whole() -> None:
    text = "x" * 6_000_000
    async with gateway(Peer({"GET /": returning({"statusCode": 200, "body": text})})) as client:
        assert (await client.ask("GET", "/"))[2] == text.encode()


# ---- limits ----------------------------------------------------------------------------------------------------------

async def test_bodies_over_the_limits_are_413_and_never_invoke() -> None:
    too_large = b'{"message":"Request Entity Too Large"}'
    peer = Peer({"POST /": returning("ok")})

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 65_536

    async with gateway(peer) as client:
        text = {"Content-Type": "text/plain"}
        assert (await client.ask("POST", "/", data=b"x" * 6_000_000, headers=text))[2] == b"ok"
        assert (await client.ask("POST", "/", data=b"x" * 6_400_000, headers=text))[::2] == (413, too_large)
        assert (await client.ask("POST", "/", data=b"x" * 5_000_000))[::2] == (413, too_large)
        announced = await client.raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10485761\r\nExpect: 100-continue\r\n\r\n")
        assert announced.startswith(b"HTTP/1.1 413 ")
        assert announced.endswith(too_large)
        assert (await client.ask("POST", "/", data=endless()))[::2] == (413, too_large)
    assert len(peer.invocations) == 1


async def test_a_silent_or_slow_client_gets_408_and_holds_no_worker() -> None:
    peer = Peer({"POST /": returning("ok"), "GET /": returning("ok")})
    async with gateway(peer, silence=0.05, deadline=0.5) as client:
        silent = await client.raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        assert silent.startswith(b"HTTP/1.1 408 ")
        assert silent.endswith(b'{"message":"Request Timeout"}')
    async with gateway(peer, silence=5.0, deadline=0.2) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        answer = asyncio.ensure_future(reader.readline())
        while not answer.done():
            writer.write(b"x")
            await asyncio.wait([answer], timeout=0.02)
        assert answer.result().startswith(b"HTTP/1.1 408 ")
        assert (await client.ask("GET", "/"))[2] == b"ok"
        writer.close()
    assert [invocation.summary for invocation in peer.invocations] == ["GET /"]


async def test_a_broken_body_is_refused_and_never_invokes() -> None:
    peer = Peer({"POST /": returning("ok")})
    async with gateway(peer) as client:
        answer = await client.raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\nzz\r\n")
        assert answer.split()[1] == b"400"
    assert peer.invocations == []


# ---- clients that leave ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("cancelling", [False, True])
async def test_an_invocation_finishes_though_its_client_has_left(cancelling: bool) -> None:
    """Given a handler at work, when its client goes away, then the invocation ends as ever and the server serves on."""
    started, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(event: Event) -> object:
        started.set()
        await go_on.wait()
        ended.set()
        return "done"

    peer = Peer({"GET /slow": slow, "GET /": returning("ok")})
    async with gateway(peer, cancelling=cancelling) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await started.wait()
        writer.transport.abort()
        assert (await client.ask("GET", "/"))[2] == b"ok"
        go_on.set()
        await asyncio.wait_for(ended.wait(), 10)
        assert (await client.ask("GET", "/"))[2] == b"ok"
    assert [outcome.payload for outcome in peer.outcomes] == [b'"ok"', b'"done"', b'"ok"']


async def test_a_client_that_leaves_mid_body_never_invokes() -> None:
    peer = Peer({"POST /": returning("ok"), "GET /": returning("ok")})
    async with gateway(peer) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
        await writer.drain()
        writer.transport.abort()
        assert (await client.ask("GET", "/"))[2] == b"ok"
    assert [invocation.summary for invocation in peer.invocations] == ["GET /"]


# ---- odd requests ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("target", "path"), [
    (b"//a//b", "//a//b"), (b"/a%2Fb", "/a/b"), (b"/a%FFb", "/a\ufffdb"), (b"/a/../b", "/a/../b"), (b"/a?b?c#d", "/a"),
])
async def test_targets_of_every_form_are_served(target: bytes, path: str) -> None:
    async with gateway(Peer({"ANY /{proxy+}": echo})) as client:
        answer = await client.raw(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    event = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (event["rawPath"], event["pathParameters"]["proxy"]) == (path, path[1:])


async def test_head_and_empty_statuses_send_no_body() -> None:
    peer = Peer({"HEAD /": returning({"statusCode": 200, "body": "hello"}), "GET /204": returning({"statusCode": 204, "body": "x"}), "GET /304": returning(
        {"statusCode": 304, "body": "x", "headers": {"ETag": '"a"'}})})
    async with gateway(peer) as client:
        for first in (b"HEAD /", b"GET /204", b"GET /304"):
            answer = await client.raw(first + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert answer.endswith(b"\r\n\r\n")
            assert answer.split()[1] in (b"200", b"204", b"304")
        assert (await client.ask("HEAD", "/"))[1]["Content-Length"] == "5"


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    peer = Peer({"POST /": echo})
    async with gateway(peer) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == "hi"


async def test_an_upgrade_is_answered_as_plain_http() -> None:
    async with gateway(Peer({"GET /ws": echo})) as client:
        answer = await client.raw(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n"
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b"101 Switching" not in answer


async def test_http_1_0_without_a_host_and_options_are_served() -> None:
    async with gateway(Peer({"ANY /x": echo})) as client:
        answer = await client.raw(b"OPTIONS /x HTTP/1.0\r\n\r\n")
        event = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (event["requestContext"]["http"]["protocol"], event["requestContext"]["http"]["method"]) == ("HTTP/1.0", "OPTIONS")
        assert event["requestContext"]["domainName"] == "localhost"
        assert b" 404 " in await client.raw(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")


async def test_header_bytes_that_are_not_utf8_reach_the_handler_mended() -> None:
    async with gateway(Peer({"GET /": echo})) as client:
        answer = await client.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-Odd: a\xffb\r\nConnection: close\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["x-odd"] == "a\ufffdb"


async def test_a_summary_cannot_steer_a_terminal() -> None:
    peer = Peer({"$default": returning("ok")})
    async with gateway(peer) as client:
        await client.raw(b"GET /%1b%5b2J%0a/ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert peer.invocations[0].summary == "GET /%1B%5B2J%0A/ok"


# ---- pages -----------------------------------------------------------------------------------------------------------

async def test_a_browser_on_this_machine_gets_a_readable_page() -> None:
    peer = Peer({"GET /fails": fails, "GET /odd": returning({"statusCode": 200, "body": 5})})
    async with gateway(peer) as client:
        status, headers, body = await client.ask("GET", "/fails", headers=BROWSER)
        assert (status, headers["Content-Type"]) == (500, "text/html; charset=utf-8")
        assert body.decode() == f"<h1>failed</h1>{peer.invocations[0].id} None"
        assert headers["apigw-requestid"] == peer.invocations[0].id
        assert "body is not a string" in (await client.ask("GET", "/odd", headers=BROWSER))[2].decode()


@pytest.mark.parametrize("elsewhere", [{"Host": "evil.example"}, {"X-Forwarded-For": "203.0.113.9"}, {"Forwarded": "for=203.0.113.9"}])
async def test_a_browser_elsewhere_gets_the_bare_500(elsewhere: dict[str, str]) -> None:
    async with gateway(Peer({"GET /fails": fails})) as client:
        assert (await client.ask("GET", "/fails", headers=BROWSER | elsewhere))[::2] == (500, b'{"message":"Internal Server Error"}')


# ---- inside an application -------------------------------------------------------------------------------------------

async def test_it_serves_under_a_prefix_of_an_application_with_its_own_limits() -> None:
    """Given an app whose client_max_size is a kilobyte, when the face gets two megabytes, then the handler does too, without the prefix."""
    async def size(event: Event) -> object:
        return [event["rawPath"], len(str(event["body"]))]

    peer = Peer({"POST /big": size, "GET /": echo})
    face = Gateway(peer, peer, peer, prefix="/fn")
    app = web.Application(client_max_size=1024)
    app.router.add_route("*", "/fn{path:.*}", face.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with ClientSession() as session:
            client = Client(session, runner.addresses[0][1])
            text = {"Content-Type": "text/plain"}
            assert json.loads((await client.ask("POST", "/fn/big", data=b"x" * 2_000_000, headers=text))[2]) == ["/big", 2_000_000]
            assert json.loads((await client.ask("POST", "/fn/big", data=b"x" * 2_000, headers=text, expect100=True))[2]) == ["/big", 2_000]
            assert json.loads((await client.ask("GET", "/fn"))[2])["rawPath"] == "/"
    finally:
        await runner.cleanup()
