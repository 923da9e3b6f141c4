"""Admission: how many invocations of a function run at once, and how many wait in line for how long."""
from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from math import inf

from microlam.errors import Throttled
from microlam.model import Outcome


class Place(ABC):
    """A place in line. When its turn has come it is `held`: it has a slot. It has `refusal` where patience ended first."""

    __slots__ = ("held", "patient", "refusal", "turn", "until")

    def __init__(self, refusal: type[Throttled], *, patient: bool) -> None:
        self.turn: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self.refusal, self.patient = refusal, patient
        self.until = inf
        self.held = False

    @abstractmethod
    def begin(self) -> bool:
        """Its turn has come: begin what waits, at once; `turn` gets the outcome. False where that cannot be: then `turn` gets None."""

    @abstractmethod
    def go_ahead(self) -> bool:
        """Send what waits to somebody who will soon have time for it."""


class Line:
    """One function's: how many run, and who waits, first come first served."""

    __slots__ = ("limit", "running", "waiting")

    def __init__(self) -> None:
        self.limit = self.running = 0
        self.waiting: deque[Place] = deque()


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

    def line_up(self, arn: str, place: Place, limit: int) -> None:
        """Stand in line for a slot where `enter_nowait` found none; raises the refusal where the line is full. A patient one has no end of it."""
        line = self._lines[arn]
        if limit == 0 or (len(line.waiting) >= self.line_limit and not place.patient):
            raise place.refusal
        self._wait(arn, line, place)
        line.waiting.append(place)

    @property
    def blocked(self) -> bool:
        """Whether anybody stands in line, or nobody is let in any more."""
        return bool(self._blocked) or not self.server_limit

    @property
    def unfinished(self) -> int:
        """How many run, or stand in line and have somebody waiting for them."""
        return self.running + sum(not place.patient for place in self._all_waiting())

    def begun(self, arn: str, place: Place) -> None:
        """What was sent ahead is being run, in the slot of what ran before it, which is about to leave."""
        place.held = True
        self._lines[arn].running += 1
        self.running += 1

    def come_back(self, arn: str, place: Place) -> None:
        """What was sent ahead has come back: it is the first in line."""
        line = self._lines[arn]
        self._wait(arn, line, place)
        line.waiting.appendleft(place)
        self._admit(arn, line)

    def _wait(self, arn: str, line: Line, place: Place) -> None:
        self._blocked[arn] = line
        if not place.patient:
            loop = asyncio.get_running_loop()
            if place.until == inf:
                place.until = loop.time() + self.patience
            if self._looking is None:
                self._looking = loop.call_at(place.until, self._look)

    def leave(self, arn: str, place: Place | None = None) -> None:
        """Give the slot back, or the place in line; whoever waits longest for what is now free has it."""
        line = self._lines[arn]
        if place is None or place.held:
            line.running -= 1
            self.running -= 1
        elif place in line.waiting:
            line.waiting.remove(place)
        if not self._blocked:
            return
        if self.running < self.server_limit - 1:
            if arn in self._blocked:
                self._admit(arn, line)
            return
        # It may be the server's slots that lines wait for: whoever has waited longest for one is first, and last again when it was served.
        for other, blocked in list(self._blocked.items()):
            if self._admit(other, blocked) and blocked.waiting:
                self._blocked[other] = self._blocked.pop(other)

    def _admit(self, arn: str, line: Line) -> bool:
        """Begin as many as may; whether it was any."""
        any_begun = False
        while line.waiting and line.running < line.limit and self.running < self.server_limit:
            place = line.waiting.popleft()
            if place.turn.done():
                continue        # it has been given up
            line.running += 1
            self.running += 1
            place.held = any_begun = True
            if not place.begin():
                place.turn.set_result(None)
        while line.waiting and len(self._blocked) == 1 and (line.waiting[0].turn.done() or line.waiting[0].go_ahead()):
            line.waiting.popleft()      # with other lines waiting, they have the next slot
        if not line.waiting:
            self._blocked.pop(arn, None)
        return any_begun

    def send_home(self) -> None:
        """Let no patient one wait any longer: each has its turn cancelled."""
        for place in self._all_waiting():
            if place.patient:
                place.turn.cancel()
        self._clear()

    def close(self) -> None:
        """Let nobody in any more, and refuse all who wait."""
        self.server_limit = self.line_limit = 0
        self._refuse(inf)

    def _refuse(self, until: float) -> None:
        """Refuse all whose patience ends until then; the patient have no end of it."""
        for place in self._all_waiting():
            if place.until <= until and not place.patient and not place.turn.done():
                place.turn.set_exception(place.refusal)
        self._clear()

    def _look(self) -> None:
        """Refuse those whose patience has ended. One timer for all: to set and cancel one for each would cost more than to run it."""
        loop = asyncio.get_running_loop()
        self._refuse(loop.time())
        first = min((place.until for place in self._all_waiting()), default=inf)
        self._looking = None if first == inf else loop.call_at(first, self._look)

    def _all_waiting(self) -> Iterator[Place]:
        return (place for line in self._blocked.values() for place in line.waiting)

    def _clear(self) -> None:
        """Out of the lines with those who have been told."""
        for arn, line in list(self._blocked.items()):
            line.waiting = deque(place for place in line.waiting if not place.turn.done())
            if not line.waiting:
                self._blocked.pop(arn)
