"""Staying awake: a server that falls asleep while a worker runs a short handler is woken later than the handler is done.

Where another process has the other processors, the worker may have to run on this one: it is let.
"""
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from time import monotonic

AWAKE = 0.0002      # seconds after the start of a call; whatever takes longer does not mind the time it takes to be woken
PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_let_run = getattr(os, "sched_yield", lambda: None)


class Awake:
    """Keeps the event loop turning for a moment after a call was begun, while fewer are under way than there are processors."""

    def __init__(self, underway: Callable[[], int]) -> None:
        self._underway = underway
        self._until = 0.0
        self._turning = False

    def begun(self, now: float) -> None:
        """A call has just been begun; `now` is time.monotonic()."""
        self._until = now + AWAKE
        if not self._turning and self._underway() < PROCESSORS:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = 0 < self._underway() < PROCESSORS and monotonic() < self._until
        if self._turning:
            _let_run()
            asyncio.get_running_loop().call_soon(self._turn)
