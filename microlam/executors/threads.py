"""Threads for handlers that are not coroutines: kept for the next one, and never waited for at the program's end."""
from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

Result = TypeVar("Result")


class Settled(NamedTuple, Generic[Result]):
    """A call's result or exception, as a value: a future cannot carry every exception, nor a coroutine raise it."""

    result: Result | None
    error: BaseException | None


class Threads:
    """As many threads as there are calls at once; each takes another call when it is done."""

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[Work | None]] = []
        self._closed = False

    def run(self, call: Callable[[], Result]) -> asyncio.Future[Settled[Result]]:
        """Call it on a thread, in the present context. Cancelling the future abandons the thread; nothing can end it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Settled[Result]] = loop.create_future()
        work = self._idle.pop() if self._idle else self._another()
        work.put(Work(contextvars.copy_context(), loop, future, call))
        return future

    def _another(self) -> SimpleQueue[Work | None]:
        work: SimpleQueue[Work | None] = SimpleQueue()
        # In no context: whoever is the first to need it, it is there for others as well.
        contextvars.Context().run(threading.Thread(target=self._serve, args=(work,), name="microlam-handler", daemon=True).start)
        return work

    def _serve(self, work: SimpleQueue[Work | None]) -> None:
        while (item := work.get()) is not None:
            settled = item.context.run(settle, item.call)
            with contextlib.suppress(RuntimeError):     # the loop has been closed meanwhile
                item.loop.call_soon_threadsafe(self._done, work, item.future, settled)

    def _done(self, work: SimpleQueue[Work | None], future: asyncio.Future[Any], settled: Settled[Any]) -> None:
        if self._closed:
            work.put(None)
        else:
            self._idle.append(work)
        if not future.done():
            future.set_result(settled)

    def close(self) -> None:
        """Let idle threads end, and busy ones when they are done."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)


class Work:
    """One call for a thread."""

    __slots__ = ("call", "context", "future", "loop")

    def __init__(
        self, context: contextvars.Context, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], call: Callable[[], object]
    ) -> None:
        self.context, self.loop, self.future, self.call = context, loop, future, call


def settle(call: Callable[[], Result]) -> Settled[Result]:
    try:
        return Settled(call(), None)
    except BaseException as error:
        return Settled(None, error)
