"""Connections run their requests themselves: no task is made for each, where aiohttp would."""
from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, cast

from aiohttp.web_protocol import RequestHandler


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
