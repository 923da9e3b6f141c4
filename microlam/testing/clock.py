"""A clock that stands still until it is moved."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from microlam.errors import InvalidParameter
from microlam.events.generate import instant as read_instant


class MovableClock:
    """What schedules and retries take for the time. Moved on, it stops wherever something falls due, until that is dealt with."""

    def __init__(self, settled: Callable[[], Awaitable[None]], at: datetime | str | None = None) -> None:
        self._settled = settled
        self._now = _instant(at) if at is not None else datetime.now(UTC)
        self._moved = asyncio.Event()
        self._awaited: list[datetime] = []

    def now(self) -> datetime:
        """The present instant."""
        return self._now

    async def wait(self, until: datetime | None, changed: asyncio.Event) -> None:
        """Return at `until`, or as soon as `changed` is set."""
        if until is not None:
            self._awaited.append(until)
        try:
            while not changed.is_set() and (until is None or until > self._now):
                await _first(changed, self._moved)
        finally:
            if until is not None:
                self._awaited.remove(until)

    async def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let so much time pass; returns when all that fell due in it has run."""
        passing = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if passing < timedelta():
            raise InvalidParameter(reason="Time passes forwards: advance takes no less than 0. To set the clock back, use move_to.")
        await self.move_to(self._now + passing)

    async def move_to(self, to: datetime | str) -> None:
        """Let the time pass until then; a time that has passed is gone to without ado."""
        to = _instant(to)
        await self._settled()
        while (due := min((instant for instant in self._awaited if instant > self._now), default=to)) < to:
            self._set(due)
            await self._settled()
        self._set(to)
        await self._settled()

    def _set(self, now: datetime) -> None:
        self._now = now
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


async def _first(*events: asyncio.Event) -> None:
    """Return when one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _instant(at: datetime | str) -> datetime:
    if isinstance(at, str):
        return read_instant(at)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
