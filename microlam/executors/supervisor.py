"""What is looked at while invocations run: which of them last, how much memory these hold, and whether others wait behind them.

What short ones leave behind, and what goes on after a reply, is looked at too, less often. One timer does for all workers: to set and cancel one
for each invocation would cost more than all else that is done for a short one.
"""
from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from microlam.executors import memory
from microlam.executors.lasting import LONG
from microlam.executors.worker import LATE, Worker

SAMPLE_EVERY = 0.05     # seconds between looks at long-running invocations
SAMPLE_SHARE = 20       # of the time, at most one part in so many is spent on that
CHECK_SHARE = 100       # likewise, on the memory of all others
STEP = 1 << 20          # bytes by which a worker's peak must grow until it is looked at again


class Supervisor:
    """Looks after an executor's `workers`, those that there are at any moment."""

    def __init__(self, workers: Collection[Worker]) -> None:
        self._workers = workers
        self._long: set[Worker] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._hurrying: asyncio.TimerHandle | None = None
        self._sampling: asyncio.TimerHandle | None = None
        self._check_from = 0.0          # the loop's time

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

    def check(self) -> None:
        """Kill what holds too much memory though nothing in it lasts: what short invocations have kept, and what goes on after a reply."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if began < self._check_from:
            return
        self._hold([worker for worker in self._workers if worker not in self._long and worker.pid and not worker.over])
        self._check_from = loop.time() + CHECK_SHARE * (loop.time() - began)

    def exceeds(self, worker: Worker) -> bool:
        """Whether a worker that has held more memory than its version may does so now."""
        return any(self._weigh(worker, family) for family in memory.families([worker.pid] if worker.pid else ()).values())

    def ended(self, worker: Worker) -> None:
        """A worker's process is gone."""
        self._long.discard(worker)

    def close(self) -> None:
        """Look at nothing any more."""
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
        self._hold(self._long)
        if self._long:
            self._sampling = loop.call_later(max(SAMPLE_EVERY, SAMPLE_SHARE * (loop.time() - began)), self._sample)

    def _hold(self, workers: Collection[Worker]) -> None:
        """Kill those of them that hold more memory than their versions may."""
        families = memory.families(worker.pid for worker in workers if worker.pid)
        for worker in workers:
            if self._weigh(worker, families.get(worker.pid, ())) or self._overran(worker):
                worker.kill()

    @staticmethod
    def _weigh(worker: Worker, family: Iterable[int]) -> bool:
        """Take note of what a worker and all below it hold; whether that is more than its version may."""
        limit = worker.version.memory_bytes
        held = memory.held_by(family, limit)
        worker.peak = max(worker.peak, held)
        worker.unweighed = max(worker.peak + STEP, limit)
        return held > limit and not worker.place.attached       # a debugger takes more than most functions

    @staticmethod
    def _overran(worker: Worker) -> bool:
        return worker.group is not None and not worker.place.attached and worker.group.overrun()
