"""Admission: how many invocations of a function run at once, and how many wait in line for how long."""
from __future__ import annotations

import asyncio
from collections import deque

from microlam.errors import Throttled
from microlam.lasting import Lasting

Turn = asyncio.Future[None]


class Line:
    """One function's: how many run, and who waits, first come first served."""

    __slots__ = ("limit", "running", "waiting")

    def __init__(self) -> None:
        self.limit = self.running = 0
        self.waiting: deque[Turn] = deque()


class Admission:
    """At most `server_limit` run at once, `limit` of one function; up to `line_limit` of a function wait, `patience` seconds each."""

    def __init__(self, *, server_limit: int, line_limit: int, patience: float) -> None:
        self.server_limit, self.line_limit = server_limit, line_limit
        self.running = 0
        self._lines: dict[str, Line] = {}       # of every function that was ever invoked
        self._blocked: dict[str, Line] = {}     # the lines in which somebody waits, longest first
        self._patience = Lasting(patience)

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

    async def enter(self, arn: str, limit: int, *, patient: bool = False) -> None:
        """Wait for a slot; raise Throttled when the line is full or patience ends. A `patient` one waits as long as it takes."""
        if self.enter_nowait(arn, limit):
            return
        line = self._lines[arn]
        if limit == 0 or (len(line.waiting) >= self.line_limit and not patient):
            raise Throttled()
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        line.waiting.append(turn)
        self._blocked[arn] = line
        waits = None if patient else self._patience.begin(loop, loop.time(), lambda: self._refuse(arn, line, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(arn, line, turn)
            elif turn.exception() is None:
                self.leave(arn)     # it came in the very moment it was given up
            raise
        finally:
            if waits is not None:
                waits.over = True

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

    def close(self) -> None:
        """Nobody's patience ends any more."""
        self._patience.close()

    def _admit(self, arn: str, line: Line) -> None:
        while line.waiting and line.running < line.limit and self.running < self.server_limit:
            turn = line.waiting.popleft()
            if not turn.done():
                line.running += 1
                self.running += 1
                turn.set_result(None)
        if not line.waiting:
            self._blocked.pop(arn, None)

    def _refuse(self, arn: str, line: Line, turn: Turn) -> None:
        if not turn.done():
            turn.set_exception(Throttled())
            self._forget(arn, line, turn)

    def _forget(self, arn: str, line: Line, turn: Turn) -> None:
        if turn in line.waiting:
            line.waiting.remove(turn)
        if not line.waiting:
            self._blocked.pop(arn, None)
