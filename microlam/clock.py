"""The clock that schedules and retries live by; a test passes one that it can move."""
from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the time is, and waiting for another."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    async def wait(self, until: datetime | None, changed: asyncio.Event) -> None:
        """Return at `until` (None: never), or as soon as `changed` is set; the caller clears it."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def wait(self, until: datetime | None, changed: asyncio.Event) -> None:
        while not changed.is_set():
            left = None if until is None else (until - self.now()).total_seconds()
            if left is not None and left <= 0:
                return
            # An hour at most at a time: a suspended laptop or a corrected clock is noticed.
            try:
                await asyncio.wait_for(changed.wait(), None if left is None else min(left, 3600))
            except TimeoutError:
                continue
