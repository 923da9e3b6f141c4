"""Connections: they close when nothing comes, answer what is no HTTP in an HTTP API's words, and run their requests themselves.

aiohttp would make a task for each request.
"""
from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from microlam.gateway.replies import message as refusal

# Open files, and so connections, that the server wants to be allowed; more would keep programs busy that close all they might have inherited.
OPEN_FILES = 65_536
# Seconds in which the head of a request must be there, from when the connection was made or the last reply sent.
PATIENCE = 30.0


def low_level(serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], *, patience: float = PATIENCE) -> web.Server:
    """aiohttp's server for one coroutine: bodies pass to the handlers as they came, and a client refused for its body is not waited for long.

    A connection on which no whole head comes within `patience` seconds is closed, be it silent, slow, or kept alive for nothing.
    """
    return _Server(
        serve, loop=loop_of_connections(), keepalive_timeout=patience, access_log=None, auto_decompress=False, lingering_time=2.0,
        max_line_size=16_384, max_field_size=16_384,
    )


def allow_many() -> None:
    """Let this process have as many connections at once as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):     # macOS may say one limit and keep another
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP, or ends early, is the client's fault: it is told, and no traceback is printed for it."""
        if isinstance(exc, web.RequestPayloadError) or (isinstance(exc, ConnectionError) and request.transport is None):
            return refusal(400, "Bad Request", close=True)
        if status != 400:
            return super().handle_error(request, status, exc, message)
        reason = (message or "").strip().partition("\n")[0].rstrip(":")
        return refusal(400, f"Bad Request: {reason[:100]}", close=True)


def loop_of_connections() -> asyncio.AbstractEventLoop:
    """The running event loop as aiohttp's low-level server is to see it.

    Before Python 3.12 aiohttp has the loop make a task of every request, which takes a tenth of all the time there is for it. It does so to keep
    context variables apart; whoever sets some for a handler must see to that (executors/context.py). Later Pythons begin such a task at once.
    """
    loop = asyncio.get_running_loop()
    return loop if sys.version_info >= (3, 12) else cast(asyncio.AbstractEventLoop, _Taskless(loop))


class _Taskless:
    """An event loop whose task for a request is the coroutine itself, to be awaited by the connection's own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._loop, name)
        setattr(self, name, found)      # the next time it is found without us
        return found

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if getattr(coroutine, "cr_code", None) is _HANDLE_REQUEST:
            return coroutine
        return self._loop.create_task(coroutine)


# Should aiohttp call it something else one day, requests have their tasks again.
_HANDLE_REQUEST = getattr(getattr(RequestHandler, "_handle_request", None), "__code__", _Taskless)
