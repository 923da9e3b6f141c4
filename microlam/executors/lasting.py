"""Which calls last: most are over within milliseconds, and only those that are not need a timer, a look at their memory, a limit.

One timer serves all calls: to set and cancel one for each would cost more than all else that is done for a short call.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

LONG = 0.02     # seconds after which an invocation counts as one that lasts


class Call:
    """One that is under way; whoever began it says when it is over."""

    __slots__ = ("due", "lasts", "over")

    def __init__(self, due: float, lasts: Callable[[], None]) -> None:
        self.due, self.lasts, self.over = due, lasts, False


class Lasting:
    """Tells those calls that are not over after LONG seconds."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()      # in the order in which they began, so in that of their dues
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, now: float, lasts: Callable[[], None]) -> Call:
        """Call `lasts` once, if this one is not over by then; `now` is the loop's time."""
        calls, call = self._calls, Call(now + LONG, lasts)
        while calls and calls[0].over:
            calls.popleft()
        calls.append(call)
        if self._timer is None:
            self._timer = loop.call_at(call.due, self._look, loop)
        return call

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now, calls = loop.time(), self._calls
        while calls and (calls[0].over or calls[0].due <= now):
            call = calls.popleft()
            if not call.over:
                call.lasts()
        if calls:
            self._timer = loop.call_at(calls[0].due, self._look, loop)

    def close(self) -> None:
        """Tell nobody any more."""
        self._calls.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
