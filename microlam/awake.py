"""Waiting awake: a server that falls asleep while a worker runs a short handler is woken later than the handler is done."""
from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from time import monotonic

AWAKE = 0.0002      # seconds of each wait; whatever takes longer does not mind the time it takes to be woken


class Awake(selectors.DefaultSelector):
    """What an event loop waits with: after a call was begun, while fewer are under way than there are processors, it looks for a moment before it sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: Callable[[], bool] = bool       # whether one has just been: at first none
        self.underway: Callable[[], int] = int      # how many there are
        self._processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, as soon as something is, or after `timeout` seconds."""
        if (timeout is None or timeout > AWAKE) and self.begun() and self.underway() < self._processors:
            now = began = monotonic()
            while now - began < AWAKE:
                ready = super().select(0)
                if ready:
                    return ready
                now = monotonic()
            timeout = None if timeout is None else max(0.0, timeout - (now - began))
        return super().select(timeout)
