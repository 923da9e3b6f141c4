"""What is looked at while invocations run: which of them last, how much memory these hold, and whether others wait behind them.

One timer does for all workers: to set and cancel one for each invocation would cost more than all else that is done for a short one.
"""
from __future__ import annotations

import asyncio
from collections.abc import Collection

from microlam.executors import memory
from microlam.executors.lasting import LONG
from microlam.executors.worker import LATE, Worker

SAMPLE_EVERY = 0.05     # seconds between looks at long-running invocations
SAMPLE_SHARE = 20       # of the time, at most one part in so many is spent on that
MEGABYTE = 1 << 20


class Supervisor:
    """Looks after an executor's `workers`, those that there are at any moment."""

    def __init__(self, workers: Collection[Worker]) -> None:
        self._workers = workers
        self._long: set[Worker] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._hurrying: asyncio.TimerHandle | None = None
        self._sampling: asyncio.TimerHandle | None = None

    def invoked(self, worker: Worker) -> None:
        """A worker is about to run something: look whether it lasts."""
        if self._looking is None:
            self._looking = worker.loop.call_later(LONG, self._look)

    def queued(self, worker: Worker) -> None:
        """Something is about to wait behind what a worker runs: see that it does not wait long."""
        if self._hurrying is None:
            self._hurrying = worker.loop.call_later(LATE, self._hurry)

    def lasts(self, worker: Worker) -> None:
        """An invocation takes longer than most: from now on its memory is looked at."""
        self._long.add(worker)
        if self._sampling is None:
            self._sampling = worker.loop.call_later(SAMPLE_EVERY, self._sample)

    def ended(self, worker: Worker) -> None:
        """A worker's process is gone."""
        self._long.discard(worker)

    def close(self) -> None:
        for timer in (self._looking, self._hurrying, self._sampling):
            if timer is not None:
                timer.cancel()

    def _look(self) -> None:
        """Look which invocations last."""
        self._looking = None
        loop = asyncio.get_running_loop()
        busy, now = [worker for worker in self._workers if worker.busy], loop.time()
        for worker in busy:
            worker.look(now)
        if busy:
            self._looking = loop.call_later(LONG, self._look)

    def _hurry(self) -> None:
        """See that nothing waits long behind an invocation that was expected to be short."""
        self._hurrying = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        if [worker for worker in list(self._workers) if worker.hurry(now)] and self._hurrying is None:
            self._hurrying = loop.call_later(LATE, self._hurry)

    def _sample(self) -> None:
        """Kill what holds more memory than its version may."""
        self._sampling = None
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._long = {worker for worker in self._long if worker.busy and not worker.over}
        families = memory.families(worker.pid for worker in self._long if worker.pid)
        for worker in self._long:
            limit = worker.version.memory * MEGABYTE
            held = memory.held_by(families.get(worker.pid, ()), limit)
            worker.peak = max(worker.peak, held)
            if worker.place.attached:
                continue
            if held > limit or (worker.group is not None and worker.group.overrun()):
                worker.kill()
        if self._long:
            self._sampling = loop.call_later(max(SAMPLE_EVERY, SAMPLE_SHARE * (loop.time() - began)), self._sample)
