"""The one door to execution: admit, run, record; and for asynchronous invocations claim, retry, give up.

`invoke` waits for the outcome. `enqueue` returns when the invocation is on disk; `work` runs it later, at least once.
"""
from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple

from microlam.admission import Admission, Place
from microlam.awake import Awake
from microlam.clock import Clock
from microlam.errors import MicrolamError, RecordUnavailable, ReserveUsedUp, Throttled
from microlam.executors import Behind, Executor
from microlam.hooks import Hook
from microlam.model import Invocation, Outcome, Retry, Version, new_id
from microlam.store import Store

# Throttled asynchronous invocations are tried again after 1 s, then 2, 4 … up to 5 minutes, for six hours, as AWS does:
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
CLAIMED_AT_ONCE = 50
LONGEST_PAUSE = 300.0
NOTE_RUNNING_AFTER = 1.0
TRY_AGAIN = 1.0


@dataclass(frozen=True)
class RetryIn:
    """Try again after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class GiveUp:
    """No more tries."""


def after_failure(attempt: int, age: float, retry: Retry) -> RetryIn | GiveUp:
    """What becomes of an asynchronous invocation whose handler failed: one minute, then two, then no more (AWS's defaults)."""
    wait = retry.delay * attempt
    if attempt > retry.attempts or age + wait > retry.max_age:
        return GiveUp()
    return RetryIn(wait)


def after_throttle(invocation: Invocation, retry: Retry, now: datetime) -> RetryIn | GiveUp:
    """What becomes of an asynchronous invocation whose function may not run: as long again as it has waited, from a second to five minutes."""
    age = (now - (invocation.accepted_at or invocation.queued_at)).total_seconds()
    return GiveUp() if age >= retry.max_age else RetryIn(min(LONGEST_PAUSE, max(1.0, age)))


def following(invocation: Invocation, outcome: Outcome, retry: Retry, now: datetime) -> Invocation | None:
    """The next attempt, due later; None when it succeeded or is given up."""
    if outcome.ok or invocation.accepted_at is None:
        return None
    verdict = after_failure(invocation.attempt, (now - invocation.accepted_at).total_seconds(), retry)
    if isinstance(verdict, GiveUp):
        return None
    due = now + timedelta(seconds=verdict.seconds)
    return dataclasses.replace(invocation, key=new_id(), attempt=invocation.attempt + 1, queued_at=now, due_at=due)


def refusal(error: MicrolamError, status: str) -> Outcome:
    """The outcome of an invocation that never began."""
    return Outcome(status=status, payload=json.dumps({"errorType": error.code, "errorMessage": str(error)}).encode())


class Running(NamedTuple):
    """An invocation that an executor has now."""

    invocation: Invocation
    version: Version
    started: float      # time.monotonic()


class Waiting(Place):
    """An invocation that has no slot yet: it stands in line, or is sent ahead to a worker that will have time for it."""

    __slots__ = ("_admission", "_invocation", "_invoker", "_version")

    def __init__(self, invoker: Invoker, admission: Admission, version: Version, invocation: Invocation, *, patient: bool) -> None:
        super().__init__(Throttled if version.concurrency is None else ReserveUsedUp, patient=patient)
        self._invoker, self._admission, self._version, self._invocation = invoker, admission, version, invocation

    def begin(self) -> bool:
        """Its turn has come. Whoever leaves begins it: to wake its own task for that would take as long again."""
        return self._invoker.begin(self._version, self._invocation, self.turn)

    def go_ahead(self) -> bool:
        """Leave the line for a worker that will soon have time."""
        behind = self._invoker.behind(self._version)
        return behind is not None and behind.send_ahead(self._invocation, self)

    def begun(self) -> None:
        """The worker has come to it."""
        if not self.turn.done():        # else nobody waits for it, and nobody would leave its slot
            self._admission.begun(self._version.arn, self)
            self._invoker.note_begun(self._version, self._invocation)

    def given_back(self) -> None:
        """The worker has not come to it."""
        if not self.turn.done():
            self._admission.come_back(self._version.arn, self)


class Invoker:
    """Runs invocations and sees to it that each is on record."""

    def __init__(self, *, store: Store, executors: Mapping[str, Executor], current: Callable[[str, str | None], Awaitable[Version]], clock: Clock,
                 concurrency: int = 10, server_concurrency: int = 100, queue_limit: int = 1000, queue_wait: float = 10.0, retry: Retry | None = None,
                 retry_of: Callable[[str, str | None, Retry], Awaitable[Retry]] | None = None, limits: Mapping[str, int] | None = None,
                 before: Hook[[Invocation]] | None = None, after: Hook[[Invocation, Outcome]] | None = None,
                 on_failure: Hook[[Invocation, Outcome]] | None = None) -> None:
        self._store, self._executors, self._current, self._clock = store, executors, current, clock
        self._retry, self._retry_of = retry or Retry(), retry_of
        self._before, self._after, self._on_failure = before or Hook(), after or Hook(), on_failure or Hook()
        self._limits = limits if limits is not None else {}     # by ARN: what is reserved for a function
        self._concurrency = concurrency
        self._processes = Admission(server_limit=server_concurrency, line_limit=queue_limit, patience=queue_wait)
        # Coroutines in our own loop cost no process each: many at once is what they are for.
        self._inprocess = Admission(server_limit=100_000, line_limit=queue_limit, patience=queue_wait)
        self._admissions = (self._processes, self._inprocess)
        self._running: dict[str, Running] = {}
        self._awake = Awake(self.underway)
        self._claimed: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._left: asyncio.Event | None = None         # set when one has ended, where somebody waits for the last one
        self._claiming = False
        self.stopping = False
        self.ended: list[Callable[[Invocation, Outcome], None]] = []    # called after each invocation

    # ---- waiting for the outcome --------------------------------------------------------------------------------

    async def invoke(self, version: Version, invocation: Invocation) -> Outcome:
        """Run it now and record it; raises Throttled when no slot came free in time."""
        try:
            outcome = await self._run(version, invocation)
        except Throttled as error:
            outcome = dataclasses.replace(refusal(error, "throttled"), version=version.number)
            self._store.put(invocation, outcome)
            await self._tell(invocation, outcome)
            raise
        self._store.put(invocation, outcome)
        await self._tell(invocation, outcome)
        return outcome

    async def fail(self, invocation: Invocation, error: MicrolamError) -> Outcome:
        """Record one that cannot begin: what it leads to cannot be had."""
        if self._store.full:
            await self._store.room()
        outcome = refusal(error, "failed")
        self._store.put(invocation, outcome)
        await self._tell(invocation, outcome)
        return outcome

    async def _tell(self, invocation: Invocation, outcome: Outcome) -> None:
        """Tell everybody how one ended."""
        for ended in self.ended:
            ended(invocation, outcome)
        if self._after.listeners:
            await self._after.tell(invocation, outcome)
        if self._on_failure.listeners and not outcome.ok:
            await self._on_failure.tell(invocation, outcome)

    async def _run(self, version: Version, invocation: Invocation, *, patient: bool = False) -> Outcome:
        executor, key, line, place = self._executors[version.executor], invocation.key or invocation.id, version.arn, None
        admission, limit = self._admission(version)
        if version.provisioned or line in self._limits:
            version, line, place = self._enter(admission, version, invocation, limit, patient=patient)
        else:
            limit = executor.at_most(version, limit)
            place = self._go_ahead(admission, version, invocation, patient=patient)
            if place is None and not admission.enter_nowait(line, limit):
                place = self._line_up(admission, version, invocation, limit, patient=patient)
        try:
            outcome = None if place is None else await place.turn
            if outcome is not None:
                return outcome
            if self._store.full:
                await self._store.room()
            if self._before.listeners:
                await self._before.tell(invocation)
            self.note_begun(version, invocation)
            return await executor.run(version, invocation)
        except asyncio.CancelledError:
            if place is not None:
                executor.abandon(invocation)
            # The server ends. An asynchronous one stays on disk and starts again; the caller of this one is gone.
            begun = place is None or place.held
            if invocation.accepted_at is None and (begun or self.stopping):
                self._cut_off(version, invocation, begun=begun)
            raise
        finally:
            self._running.pop(key, None)
            admission.leave(line, place)
            if self._left is not None:
                self._left.set()

    def _cut_off(self, version: Version, invocation: Invocation, *, begun: bool) -> None:
        """Put on record what its caller gives up, or the server's end does not let finish, or begin."""
        outcome = refusal(Throttled(), "throttled")
        if begun:
            running = self._running.get(invocation.key or invocation.id)
            seconds = monotonic() - running.started if running is not None else 0.0
            reason = "the server stopped" if self.stopping else "its caller gave it up"
            outcome = Outcome(
                status="crashed", payload=json.dumps({"errorType": "Runtime.ExitError", "errorMessage": reason}).encode(), duration=seconds,
                started_at=self._clock.now() - timedelta(seconds=seconds),
            )
        outcome = dataclasses.replace(outcome, version=version.number)
        self._store.put(invocation, outcome)
        for ended in self.ended:
            ended(invocation, outcome)

    def _enter(
        self, admission: Admission, version: Version, invocation: Invocation, limit: int, *, patient: bool,
    ) -> tuple[Version, str, Place | None]:
        """Take a slot of the workers kept ready where one is free, else of the function, else stand in line; gives what to run, and whose slot it is."""
        if version.provisioned and admission.enter_nowait(version.key, version.provisioned):
            return version, version.key, None
        version = version.on_demand
        limit = self._executors[version.executor].at_most(version, limit)
        if admission.enter_nowait(version.arn, limit):
            return version, version.arn, None
        return version, version.arn, self._line_up(admission, version, invocation, limit, patient=patient)

    def _line_up(self, admission: Admission, version: Version, invocation: Invocation, limit: int, *, patient: bool) -> Place:
        """Stand in line for a slot of the function, which has none free. Whoever leaves begins what waits: to wake it for that would take as long again."""
        if version.arn in self._limits and not patient:
            raise ReserveUsedUp()   # AWS keeps nobody waiting for one
        place = Waiting(self, admission, version, invocation, patient=patient)
        admission.line_up(version.arn, place, limit)
        return place

    def _go_ahead(self, admission: Admission, version: Version, invocation: Invocation, *, patient: bool) -> Place | None:
        """Send it to who will soon have time for it, where that is quicker than a slot of its own, and nobody stands in line before it."""
        behind = None if admission.blocked else self.behind(version)
        if behind is None:
            return None
        place = Waiting(self, admission, version, invocation, patient=patient)
        return place if behind.send_ahead(invocation, place) else None

    def begin(self, version: Version, invocation: Invocation, turn: asyncio.Future[Outcome | None]) -> bool:
        """Begin what has waited in line; false where something is to be waited for first."""
        if self._store.full or self._before.listeners or not self._executors[version.executor].begin(version, invocation, turn):
            return False
        self.note_begun(version, invocation)
        return True

    def behind(self, version: Version) -> Behind | None:
        """Who will soon have time for one more, where nothing is to be waited for first."""
        return None if self._store.full or self._before.listeners else self._executors[version.executor].behind(version)

    def note_begun(self, version: Version, invocation: Invocation) -> None:
        """An executor has it now."""
        now = monotonic()
        self._running[invocation.key or invocation.id] = Running(invocation, version, now)
        if version.executor != "inprocess":     # what runs here takes the loop's time, or the interpreter's lock
            self._awake.begun(now)

    def _admission(self, version: Version) -> tuple[Admission, int]:
        """Where it stands in line, and how many of its function may run."""
        limit = self._limits.get(version.arn, version.concurrency)
        if version.executor == "inprocess":
            return self._inprocess, 1000 if limit is None else limit
        return self._processes, self._concurrency if limit is None else limit

    # ---- later --------------------------------------------------------------------------------------------------

    async def enqueue(self, *invocations: Invocation) -> None:
        """Accept for later: on disk when this returns, run at least once, retried when it fails."""
        await self._store.accept(list(invocations))
        self.wake()

    def wake(self) -> None:
        """Something is due: a source has committed pending invocations."""
        self._changed.set()

    async def work(self) -> None:
        """Claim what is due and run it, until the server stops."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._note_long_ones())
            while not self.stopping:
                self._changed.clear()
                try:
                    await self._begin_due(tasks)
                except RecordUnavailable:
                    # A full disk, say; health tells. Nothing is lost: what was not claimed stays pending.
                    await asyncio.sleep(TRY_AGAIN)

    async def _begin_due(self, tasks: asyncio.TaskGroup) -> None:
        self._claiming = True
        try:
            claimed = await self._store.claim(self._clock.now(), CLAIMED_AT_ONCE, skip=self._saturated())
            for invocation in claimed:
                self._claimed[invocation.arn] += 1
                tasks.create_task(self._attempt(invocation))
            all_of_them = len(claimed) < CLAIMED_AT_ONCE
            due_at = await self._store.next_due(skip=self._saturated()) if all_of_them else None
        finally:
            self._claiming = False
            if self._left is not None:
                self._left.set()
        if all_of_them:
            await self._clock.wait(due_at, self._changed)

    def _saturated(self) -> list[str]:
        """Functions that have enough claimed: more would only stand in line and keep others waiting."""
        return [arn for arn, count in self._claimed.items() if count >= CLAIMED_AT_ONCE]

    async def _attempt(self, invocation: Invocation) -> None:
        try:
            outcome = await self._outcome_of(invocation)
            if outcome is None:
                return
            await self._finish(invocation, outcome)
            await self._tell(invocation, outcome)
        finally:
            self._claimed[invocation.arn] -= 1
            if not self._claimed[invocation.arn]:
                del self._claimed[invocation.arn]
            if self._left is not None:
                self._left.set()
            self.wake()

    async def _finish(self, invocation: Invocation, outcome: Outcome) -> None:
        retry = self._retry if outcome.ok else await self._retry_for(invocation)
        then = following(invocation, outcome, retry, self._clock.now())
        await self._insist(lambda: self._store.finish(invocation, outcome, then))

    async def _insist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write down what became of a claimed invocation, however long that takes."""
        while True:
            try:
                return await write()
            except RecordUnavailable:
                await asyncio.sleep(TRY_AGAIN)

    async def _retry_for(self, invocation: Invocation) -> Retry:
        """How this one is tried again: what was said of the version or alias it was sent to, else what holds for all."""
        return await self._retry_of(invocation.arn, invocation.qualifier, self._retry) if self._retry_of else self._retry

    async def _outcome_of(self, invocation: Invocation) -> Outcome | None:
        """How it ended; None where it is put off, because its function may not run now."""
        try:
            version = await self._current(invocation.arn, invocation.qualifier)
            return await self._run(version, invocation, patient=True)
        except Throttled as error:
            verdict = after_throttle(invocation, await self._retry_for(invocation), self._clock.now())
            if isinstance(verdict, GiveUp):
                return refusal(error, "throttled")
            await self._insist(lambda: self._store.postpone(invocation, self._clock.now() + timedelta(seconds=verdict.seconds)))
            return None
        except MicrolamError as error:      # there is no such function, or its code cannot be had
            return refusal(error, "failed")

    # ---- what runs now ------------------------------------------------------------------------------------------

    @property
    def running(self) -> tuple[Running, ...]:
        """What workers have now."""
        return tuple(self._running.values())

    def underway(self) -> int:
        """How many run now."""
        return len(self._running)

    def caller(self, trace: str) -> str | None:
        """The invocation whose handler sends this `X-Amzn-Trace-Id`, while it runs: its root ends as the request id does."""
        digits = trace.partition("Root=1-")[2][9:33]
        ids = (running.invocation.id for running in self._running.values()) if len(digits) == 24 else ()
        return next((id for id in ids if id.replace("-", "").endswith(digits)), None)

    def note_running(self, longer_than: float = 0.0) -> None:
        """Put what runs on record before it has ended, so that a list shows it."""
        now = monotonic()
        for running in self._running.values():
            if now - running.started >= longer_than:
                started_at = self._clock.now() - timedelta(seconds=now - running.started)
                self._store.note_running(running.invocation, running.version.number, started_at)

    async def _note_long_ones(self) -> None:
        # What runs for a second is on record, so that a killed server leaves a trace of it.
        while True:
            await asyncio.sleep(NOTE_RUNNING_AFTER)
            self.note_running(NOTE_RUNNING_AFTER)

    def stop(self) -> None:
        """Claim nothing more; what was not begun stays on disk."""
        self.stopping = True
        for admission in self._admissions:
            admission.send_home()
        self.wake()

    def refuse(self) -> None:
        """Let nothing begin any more, nor wait in line for it."""
        for admission in self._admissions:
            admission.close()

    def unfinished(self) -> int:
        """How many run, or wait in line for it with somebody waiting for them."""
        return sum(admission.unfinished for admission in self._admissions)

    async def idle(self) -> None:
        """Return when nothing runs or waits in line."""
        left = self._left = self._left or asyncio.Event()
        while self._claimed or self._claiming or self.unfinished():
            left.clear()
            await left.wait()

    async def settled(self) -> bool:
        """Return when nothing runs, nothing is due and `work` waits for the clock; whether that was so at once."""
        left = self._left = self._left or asyncio.Event()
        at_once = True
        while True:
            left.clear()
            # The store is asked first: what was due and is no more has been claimed by now, and what follows tells.
            due = await self._anything_due()
            if not (due or self._running or self._claimed or self._claiming or (self._changed.is_set() and not self.stopping)):
                return at_once
            at_once = False
            await left.wait()

    async def _anything_due(self) -> bool:
        due_at = await self._store.next_due()
        return due_at is not None and due_at <= self._clock.now()
