"""Admission: how many invocations of a function run at once, and how many wait in line for how long."""
from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from microlam.errors import Throttled


@dataclass(eq=False)
class Line:
    """One function's: how many run, and who waits, first come first served."""

    limit: int
    running: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Admission:
    """At most `server_limit` run at once, `limit` of one function; up to `line_limit` of a function wait, `patience` seconds each."""

    def __init__(self, *, server_limit: int, line_limit: int, patience: float) -> None:
        self.server_limit, self.line_limit, self.patience = server_limit, line_limit, patience
        self.running = 0
        self._lines: dict[str, Line] = {}
        self._blocked: dict[str, Line] = {}     # the lines in which somebody waits, longest first

    def enter_nowait(self, arn: str, limit: int) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        line = self._lines.get(arn)
        if line is None:
            line = self._lines[arn] = Line(limit)
        line.limit = limit
        if line.waiting or line.running >= limit or self.running >= self.server_limit:
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
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        self._blocked[arn] = line
        try:
            async with asyncio.timeout(None if patient else self.patience):
                await turn
        except BaseException as error:
            self._give_up(arn, line, turn)
            if isinstance(error, TimeoutError):
                raise Throttled() from None
            raise

    def leave(self, arn: str) -> None:
        """Give the slot back; whoever waits longest for what is now free has it."""
        line = self._lines[arn]
        line.running -= 1
        self.running -= 1
        self._admit(arn, line)
        if self._blocked and self.running < self.server_limit:
            for other, blocked in list(self._blocked.items()):
                self._admit(other, blocked)
        if not line.running and not line.waiting:
            self._lines.pop(arn, None)

    def in_line(self, arn: str) -> int:
        """How many of a function wait."""
        line = self._lines.get(arn)
        return len(line.waiting) if line else 0

    def _admit(self, arn: str, line: Line) -> None:
        while line.waiting and line.running < line.limit and self.running < self.server_limit:
            turn = line.waiting.popleft()
            if not turn.done():
                line.running += 1
                self.running += 1
                turn.set_result(None)
        if not line.waiting:
            self._blocked.pop(arn, None)

    def _give_up(self, arn: str, line: Line, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.leave(arn)             # the turn came in the very moment it was given up
            return
        if turn in line.waiting:
            line.waiting.remove(turn)
        if not line.waiting:
            self._blocked.pop(arn, None)
