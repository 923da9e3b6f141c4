"""The faces as an ASGI application: for uvicorn and its like, and to mount under FastAPI and Starlette.

A small bridge: it makes of each ASGI request the request that our faces know, and of what they write ASGI messages.
"""
from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, cast
from urllib.parse import quote

from aiohttp import HttpVersion10, HttpVersion11, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from microlam.app import Microlam
from microlam.faces import Faces, Prefixes, check_guard, read_prefixes
from microlam.store import Store

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# The host's own word on who may call a face.
AsgiGuard = Callable[[Scope], bool | Awaitable[bool]]

_PATH = "/:@!$&'()*+,;=~-._"
_BUFFER = 1 << 16
_SERVERS = frozenset({"connection", "date", "server", "transfer-encoding"})


def asgi(
    lam: Microlam, *, prefix: str | None = "", aws: str | None = "/aws", admin: str | None = "/admin", guard: AsgiGuard | None = None,
) -> Asgi:
    """The faces of a Microlam as an ASGI application; where it is mounted under a path, that comes before the prefixes.

    Served by itself, it starts and stops the Microlam; mounted in another application, that one's lifespan does: `async with lam: yield`.

        lam = microlam.Microlam("functions/")
        uvicorn.run(microlam.asgi(lam))
    """
    check_guard(guard)
    return Asgi(lam, read_prefixes(admin=admin, aws=aws, prefix=prefix), guard)


class Asgi:
    """An ASGI application."""

    def __init__(self, lam: Microlam, prefixes: Prefixes, guard: AsgiGuard | None) -> None:
        self._lam, self._prefixes, self._guard = lam, prefixes, guard
        self._faces: dict[str, Faces] = {}      # by the path that we are mounted under
        self._store: Store | None = None
        self._life = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif self._guard is not None and not await self._lets_in(self._guard, scope):
            await _refuse(send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "").rstrip("/")
        faces = self._faces_under(root)
        async with _request(scope, root, receive, send) as request:
            await asyncio.sleep(0)      # Files are looked at once a turn of the loop, and this client may be in this very turn, having just saved one.
            with suppress(ConnectionResetError):        # the client has left
                response = await faces.serve(request)
                await response.prepare(request)
                await response.write_eof()

    def _faces_under(self, root: str) -> Faces:
        if not self._lam.running:
            raise RuntimeError("This Microlam does not run. Enter it in your application's lifespan: async with lam: yield")
        if self._store is not self._lam.store:      # it has been started again, and all its parts are others
            self._store, self._faces = self._lam.store, {}
        if root not in self._faces:
            admin, aws, functions = (None if prefix is None else root + prefix for prefix in self._prefixes)
            self._faces[root] = Faces(self._lam, functions=functions, aws=aws, admin=admin, hosted=True, guarded=self._guard is not None)
        return self._faces[root]

    @staticmethod
    async def _lets_in(guard: AsgiGuard, scope: Scope) -> bool:
        verdict = guard(scope)
        return bool(await verdict if inspect.isawaitable(verdict) else verdict)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start and stop the Microlam with the server, unless somebody else has started it."""
        await receive()
        try:
            if not self._lam.running:
                await self._life.enter_async_context(self._lam)
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        try:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        finally:        # a server that is pressed to end cancels the wait
            await self._life.aclose()
        await send({"type": "lifespan.shutdown.complete"})


async def _refuse(send: Send) -> None:
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"message":"Forbidden"}'})


# ---- in --------------------------------------------------------------------------------------------------------------

@asynccontextmanager
async def _request(scope: Scope, root: str, receive: Receive, send: Send) -> AsyncIterator[web.BaseRequest]:
    """The request as our faces know it; its body comes as they read it."""
    loop, head = asyncio.get_running_loop(), _head(scope, root)
    connection, body = _Connection(loop, scope, receive), EMPTY_PAYLOAD
    if _may_have_body(scope, head):
        body = connection.body = StreamReader(connection, _BUFFER, loop=loop)
        connection.listen()
    task = cast("asyncio.Task[None]", asyncio.current_task())
    try:
        # An Application's request, though there is none: the server, not we, writes what it gets. What stands for the connection has all that it asks.
        yield web.Request(head, body, cast(web.RequestHandler, connection), _Writer(send, connection), task, loop, scheme=scope.get("scheme"))
    finally:
        connection.leave()


def _head(scope: Scope, root: str) -> RawRequestMessage:
    # Whether to go on (Expect) is between the server and the client.
    raw = tuple((bytes(name), bytes(value)) for name, value in scope["headers"] if name != b"expect")
    headers = CIMultiDict((name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in raw)
    path = _target(scope, root)
    return RawRequestMessage(
        scope["method"], path, HttpVersion10 if scope.get("http_version") == "1.0" else HttpVersion11, CIMultiDictProxy(headers), raw, False, None, False,
        "chunked" in headers.get("Transfer-Encoding", "").lower(), URL(path, encoded=True),
    )


def _may_have_body(scope: Scope, head: RawRequestMessage) -> bool:
    """HTTP/1 says it in the head; later ones need not."""
    return "Content-Length" in head.headers or head.chunked or scope.get("http_version", "1.1")[:1] != "1"


def _target(scope: Scope, root: str) -> str:
    """The request's target as it came in, with the path that we are mounted under: some frameworks cut that off."""
    path = scope["raw_path"].decode("latin-1") if scope.get("raw_path") else quote(scope["path"], safe=_PATH)
    path = path.partition("?")[0]
    if not f"{path}/".startswith(f"{root}/"):
        path = root + path
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{path}?{query}" if query else path


class _Connection(BaseProtocol):
    """What stands for the connection: who is at its other end, on which address it came in, the body that it brings, and whether it still is."""

    ssl_context = None

    def __init__(self, loop: asyncio.AbstractEventLoop, scope: Scope, receive: Receive) -> None:
        super().__init__(loop)
        peer, own = scope.get("client"), scope.get("server")
        self.peername, self.sockname = tuple(peer) if peer else None, tuple(own) if own else None
        self.body: StreamReader | None = None
        self.left = False           # the client has
        self._receive = receive
        self._listening: asyncio.Task[None] | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.connection_made(asyncio.Transport({"peername": self.peername, "sockname": self.sockname}))

    def pause_reading(self) -> None:
        self._flowing.clear()

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._flowing.set()

    def listen(self) -> None:
        """From now on hear what the client sends, and when it leaves."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    def leave(self) -> None:
        """Hear no more."""
        if self._listening is not None:
            self._listening.cancel()

    async def _listen(self) -> None:
        while (message := await self._receive())["type"] != "http.disconnect":
            if self.body is not None and not self.body.is_eof():
                self._feed(self.body, message)
                await self._flowing.wait()      # no faster than it is read
        self.left = True
        if self.body is not None and not self.body.is_eof():
            self.body.set_exception(web.RequestPayloadError("The client has left."))

    @staticmethod
    def _feed(body: StreamReader, message: Message) -> None:
        if message.get("body"):
            body.feed_data(message["body"])
        if not message.get("more_body", False):
            body.feed_eof()


# ---- out -------------------------------------------------------------------------------------------------------------

class _Writer(AbstractStreamWriter):
    """What a response writes, as ASGI messages. The server has a Date and a Server header of its own."""

    def __init__(self, send: Send, connection: _Connection) -> None:
        self._send, self._connection = send, connection
        self._ended = False

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        sent = [(name.lower().encode(), value.encode()) for name, value in headers.items() if name.lower() not in _SERVERS]
        await self._send({"type": "http.response.start", "status": int(status_line.split(" ", 2)[1]), "headers": sent})

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self._connection.listen()
        if self._connection.left:
            raise ConnectionResetError("the client has left")
        if chunk:
            self.output_size += len(chunk)
            await self._send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})

    async def write_eof(self, chunk: bytes = b"") -> None:
        if not self._ended:
            self._ended = True
            self.output_size += len(chunk)
            await self._send({"type": "http.response.body", "body": chunk})

    async def drain(self) -> None:
        """Each write has waited already."""

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        raise NotImplementedError("our faces leave compression to the server")

    def enable_chunking(self) -> None:
        """The server's business."""
