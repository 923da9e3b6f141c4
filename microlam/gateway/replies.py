"""Replies on the wire: what a handler answered as an HTTP response, and the gateway's own words."""
from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE
from multidict import CIMultiDict

from microlam.events.http import HttpReply

# The invocation's id has both names that AWS gives it.
_ID_HEADERS = ("apigw-requestid", "x-amzn-RequestId")
_OURS = frozenset(name.lower() for name in _ID_HEADERS)     # a handler cannot say another id


class Written(web.StreamResponse):
    """A response whose bytes are known whole, written in one piece.

    For the low-level server only: in an Application the host may still add to a response. aiohttp's own way from a Response to
    its bytes costs as much as all else it does for a request.
    """

    def __init__(self, answer: HttpReply, id: str) -> None:
        super().__init__(status=answer.status)
        self._answer, self._id = answer, id
        self._lasts = False
        self._writer: AbstractStreamWriter | None = None

    @property
    def keep_alive(self) -> bool:
        return self._lasts

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it; ConnectionResetError where the client has left."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        self._lasts, self._writer = request.keep_alive, request.writer
        answer, id = self._answer, self._id
        # Cookies are seldom the same twice.
        head, dated = (_head.__wrapped__ if answer.cookies else _head)(answer.status, answer.headers, answer.cookies)
        date = "" if dated else _date(int(time()))
        length = "" if answer.status in (204, 304) else f"Content-Length: {len(answer.body)}\r\n"
        own = f"{date}{length}{_connection(request)}apigw-requestid: {id}\r\nx-amzn-RequestId: {id}\r\n\r\n"
        transport.write(b"".join((head, own.encode(), b"" if request.method == "HEAD" else answer.body)))
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write. A client that does not read what it gets is served no further, or its replies would gather here."""
        if self._writer is not None:
            await self._writer.drain()


@lru_cache(maxsize=64)
def _head(status: int, headers: tuple[tuple[str, str], ...], cookies: tuple[str, ...]) -> tuple[bytes, bool]:
    """The first lines of a response, and whether they tell its date. Handlers answer with the same ones again and again."""
    said = {name.lower() for name, _ in headers}
    lines = [f"HTTP/1.1 {status} {_reason(status)}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in _OURS]
    lines += [f"Set-Cookie: {cookie}" for cookie in cookies]
    lines += [] if "server" in said else [f"Server: {SERVER_SOFTWARE}"]
    return ("\r\n".join(lines) + "\r\n").encode(), "date" in said


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _connection(request: web.BaseRequest) -> str:
    if request.keep_alive:
        return "Connection: keep-alive\r\n" if request.version == HttpVersion10 else ""
    return "Connection: close\r\n" if request.version == HttpVersion11 else ""


@lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return f"Date: {formatdate(seconds, usegmt=True)}\r\n"


# ---- making responses ------------------------------------------------------------------------------------------------

def response(request: web.BaseRequest, answer: HttpReply, id: str) -> web.StreamResponse:
    """What a handler answered."""
    if not isinstance(request, web.Request):
        return Written(answer, id)
    headers = CIMultiDict(answer.headers)
    for cookie in answer.cookies:
        headers.add("Set-Cookie", cookie)
    return identified(web.Response(status=answer.status, body=answer.body, headers=headers), id)


def message(status: int, text: str, *, id: str | None = None, close: bool = False) -> web.Response:
    """The gateway's own words, as an HTTP API says them."""
    response = web.Response(status=status, body=b'{"message":"%s"}' % text.encode(), headers={"Content-Type": "application/json"})
    if close:
        response.force_close()
    return identified(response, id) if id else response


def identified(response: web.Response, id: str) -> web.Response:
    """With the invocation's id, under both names."""
    for name in _ID_HEADERS:
        response.headers[name] = id
    return response
