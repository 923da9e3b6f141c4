"""Admission: how many invocations of a function run at once, and how many wait in line for how long."""
from __future__ import annotations

import asyncio
from collections import deque
from math import inf

from microlam.errors import Throttled


class Line:
    """One function's: how many run, and who waits, first come first served."""

    __slots__ = ("limit", "running", "waiting")

    def __init__(self) -> None:
        self.limit = self.running = 0
        self.waiting: deque[tuple[asyncio.Future[bool], float]] = deque()       # until when, in the loop's time


class Admission:
    """At most `server_limit` run at once, `limit` of one function; up to `line_limit` of a function wait, `patience` seconds each."""

    def __init__(self, *, server_limit: int, line_limit: int, patience: float) -> None:
        self.server_limit, self.line_limit, self.patience = server_limit, line_limit, patience
        self.running = 0
        self._lines: dict[str, Line] = {}       # of every function that was ever invoked
        self._blocked: dict[str, Line] = {}     # the lines in which somebody waits, longest first
        self._looking: asyncio.TimerHandle | None = None

    def enter_nowait(self, arn: str, limit: int) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        line = self._lines.get(arn)
        if line is None:
            line = self._lines[arn] = Line()
        line.limit = limit
        if line.running >= limit or self.running >= self.server_limit or line.waiting:
            return False
        line.running += 1
        self.running += 1
        return True

    async def wait(self, arn: str, limit: int, *, patient: bool = False) -> None:
        """Wait for a slot where `enter_nowait` found none; raise Throttled when the line is full or patience ends. A `patient` one has no end of it."""
        line = self._lines[arn]
        if limit == 0 or (len(line.waiting) >= self.line_limit and not patient):
            raise Throttled()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        place = turn, inf if patient else loop.time() + self.patience
        line.waiting.append(place)
        self._blocked[arn] = line
        if self._looking is None and not patient:
            self._looking = loop.call_later(self.patience, self._look)
        try:
            came = await turn
        except asyncio.CancelledError:
            if place in line.waiting:
                line.waiting.remove(place)
                self._admit(arn, line)
            elif not turn.cancelled() and turn.result():
                self.leave(arn)     # it came in the very moment it was given up
            raise
        if not came:
            raise Throttled()

    def leave(self, arn: str) -> None:
        """Give the slot back; whoever waits longest for what is now free has it."""
        line = self._lines[arn]
        line.running -= 1
        self.running -= 1
        if not self._blocked:
            return
        if line.waiting:
            self._admit(arn, line)
        if self._blocked and self.running < self.server_limit:
            for other, blocked in list(self._blocked.items()):
                self._admit(other, blocked)

    def _admit(self, arn: str, line: Line) -> None:
        while line.waiting and line.running < line.limit and self.running < self.server_limit:
            turn, _ = line.waiting.popleft()
            if not turn.done():     # else it has been given up
                line.running += 1
                self.running += 1
                turn.set_result(True)
        if not line.waiting:
            self._blocked.pop(arn, None)

    def _look(self) -> None:
        """Refuse those whose patience has ended. One timer for all: to set and cancel one for each would cost more than to run it."""
        loop = asyncio.get_running_loop()
        now, first = loop.time(), inf
        for arn, line in list(self._blocked.items()):
            for turn, until in line.waiting:
                if until <= now and not turn.done():
                    turn.set_result(False)
            line.waiting = deque((turn, until) for turn, until in line.waiting if not turn.done())
            first = min([first, *(until for _, until in line.waiting)])
            if not line.waiting:
                self._blocked.pop(arn)
        self._looking = None if first == inf else loop.call_at(first, self._look)
