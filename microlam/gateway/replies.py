"""Replies on the wire: what a handler answered as an HTTP response, and the gateway's own words."""
from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

import orjson
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE
from multidict import CIMultiDict

from microlam.events.http import HttpReply
from microlam.model import new_id

# The invocation's id has both names that AWS gives it.
_ID_HEADERS = ("apigw-requestid", "x-amzn-RequestId")
_OURS = frozenset(name.lower() for name in _ID_HEADERS)     # a handler cannot say another id


class Written(web.StreamResponse):
    """A response whose bytes are known whole, written in one piece: nobody adds to it.

    aiohttp's own way from a Response to its bytes costs as much as all else it does for a request.
    """

    def __init__(self, answer: HttpReply, id: str) -> None:
        # Not aiohttp's own __init__: the headers and cookies that it would make room for are written already.
        self._answer, self._id = answer, id
        self._lasts, self._size = False, 0
        self._unread: AbstractStreamWriter | None = None

    # What an access log asks for.
    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> CIMultiDict[str]:
        return _headers(self._answer)

    @property
    def body_length(self) -> int:
        return self._size       # with the head, as aiohttp counts

    @property
    def keep_alive(self) -> bool:
        return self._lasts

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it; ConnectionResetError where the client has left."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        answer, id = self._answer, self._id.encode()
        self._lasts = request.keep_alive
        # Cookies are seldom the same twice.
        head = (_head.__wrapped__ if answer.cookies else _head)(
            answer.status, answer.headers, answer.cookies, int(time()), _connection(self._lasts, request.version),
        )
        length = b"" if answer.status in (204, 304) else b"Content-Length: %d\r\n" % len(answer.body)
        body = b"" if request.method == "HEAD" else answer.body
        written = b"%b%bapigw-requestid: %b\r\nx-amzn-RequestId: %b\r\n\r\n%b" % (head, length, id, id, body)
        self._size = len(written)
        transport.write(written)
        if transport.get_write_buffer_size():
            self._unread = request.writer
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write. A client that does not read what it gets is served no further, or its replies would gather here."""
        if self._unread is not None:
            await self._unread.drain()


@lru_cache(maxsize=64)
def _head(status: int, headers: tuple[tuple[str, str], ...], cookies: tuple[str, ...], now: int, connection: str) -> bytes:
    """The first lines of a response. Handlers answer with the same ones again and again."""
    said = {name.lower() for name, _ in headers}
    lines = [f"HTTP/1.1 {status} {_reason(status)}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in _OURS]
    lines += [f"Set-Cookie: {cookie}" for cookie in cookies]
    lines += [] if "server" in said else [f"Server: {SERVER_SOFTWARE}"]
    lines += [] if "date" in said else [f"Date: {formatdate(now, usegmt=True)}"]
    lines += [f"Connection: {connection}"] if connection else []
    return ("\r\n".join(lines) + "\r\n").encode()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _connection(lasts: bool, version: HttpVersion) -> str:
    """What is to be said of the connection: nothing where it is as the client's version of HTTP takes it to be."""
    if lasts:
        return "keep-alive" if version == HttpVersion10 else ""
    return "close" if version == HttpVersion11 else ""


# ---- making responses ------------------------------------------------------------------------------------------------

def response(answer: HttpReply, id: str) -> web.Response:
    """What a handler answered, for a host to add to."""
    return identified(web.Response(status=answer.status, body=answer.body, headers=_headers(answer)), id)


def _headers(answer: HttpReply) -> CIMultiDict[str]:
    headers = CIMultiDict(answer.headers)
    for cookie in answer.cookies:
        headers.add("Set-Cookie", cookie)
    return headers


def message(status: int, text: str, *, id: str | None = None, close: bool = False) -> web.Response:
    """The gateway's own words, as an HTTP API says them."""
    response = web.Response(status=status, body=orjson.dumps({"message": text}), headers={"Content-Type": "application/json"})
    if close:
        response.force_close()
    if id:
        return identified(response, id)
    response.headers[_ID_HEADERS[0]] = new_id()     # nothing was invoked: it is the request's alone
    return response


def identified(response: web.Response, id: str) -> web.Response:
    """With the invocation's id, under both names."""
    for name in _ID_HEADERS:
        response.headers[name] = id
    return response
