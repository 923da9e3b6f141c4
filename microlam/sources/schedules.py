"""Schedules: wait until the next one is due, claim it, fire it.

Next times live in the store, so they survive a restart; a claim and the invocation it starts are one commit, so a turn is never lost or
taken twice. After a gap (server down, laptop asleep, clock put forward) a schedule fires once, however many of its turns passed.
"""
from __future__ import annotations

import asyncio
import heapq
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from microlam.clock import Clock
from microlam.cron import check, last_time, next_time
from microlam.errors import InvalidParameter, RecordUnavailable
from microlam.events.schedule import rule_arn, scheduled_event
from microlam.model import Invocation, Outcome, Schedule, Trigger, account_of, new_id, region_of, split_arn
from microlam.store import Store
from microlam.triggers import Triggers

# A trigger that comes back so soon was never gone: an editor or `git checkout` was at work.
GRACE = timedelta(minutes=1)
# A next time this much later than the schedule says was made by a clock that ran ahead.
CLOCK_ERROR = timedelta(hours=1)
TRY_AGAIN = timedelta(seconds=5)
CLAIMED_AT_ONCE = 100
MISSED_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What becomes of a schedule that is due: the turn to fire, the first of those missed for good, and the next one."""

    fire: datetime | None
    missed: datetime | None
    following: datetime | None


def turn(schedule: Schedule, due: datetime, now: datetime, catch_up: timedelta) -> Turn:
    """Fire the last of the turns that have passed if it is younger than `catch_up`; what is older is missed."""
    oldest = now - catch_up
    missed = due <= oldest
    since = oldest if missed else due - timedelta.resolution
    last = last_time(schedule.expression, since, now, schedule.timezone, anchor=due)
    return Turn(
        fire=last if missed else last or due,
        missed=due if missed else None,
        following=next_time(schedule.expression, now, schedule.timezone, anchor=due),
    )


def first_due(schedule: Schedule, kept: datetime | None, now: datetime) -> datetime | None:
    """When a schedule is due that was kept as due then, or never kept."""
    fresh = next_time(schedule.expression, now, schedule.timezone, anchor=kept)
    if kept is None or (fresh is not None and kept - fresh > CLOCK_ERROR):
        return fresh
    return kept


def missed_in_words(missed: Sequence[str]) -> str:
    """One line about all that were missed, the first few by name."""
    more = f"; and {len(missed) - MISSED_NAMED:,} more" if len(missed) > MISSED_NAMED else ""
    return f"Missed while the server was down or the machine asleep: {'; '.join(missed[:MISSED_NAMED])}{more}."


def never_in_words(name: str, schedule: Schedule) -> str:
    """One line about a schedule that has no turn to come."""
    unless = "" if schedule.timezone == "UTC" else f", or {schedule.timezone}'s clocks never show it"
    return f"Warning: {name}: {schedule} does not fire, as its time lies in the past{unless}. Give it a time to come, or remove it."


@dataclass(frozen=True)
class _Planned:
    trigger: Trigger
    schedule: Schedule
    number: int             # among its function's schedules, from 1

    @property
    def name(self) -> str:
        """The function's."""
        return split_arn(self.trigger.target)[0].rpartition(":")[2]


class Schedules:
    """Fires the schedules among the triggers; one `run()` a server."""

    def __init__(self, store: Store, triggers: Triggers, clock: Clock, *, wake: Callable[[], None], catch_up: float = 3600.0,
                 say: Callable[[str], None] = print) -> None:
        self._store, self._triggers, self._clock, self._wake, self._say = store, triggers, clock, wake, say
        self._catch_up = timedelta(seconds=catch_up)
        self._planned: dict[str, _Planned] = {}
        self._times: dict[str, datetime | None] = {}            # by trigger id, also of triggers gone a moment ago
        self._absent: dict[str, datetime] = {}                  # triggers that are gone → when to forget their times
        self._heap: list[tuple[datetime, str]] = []             # may hold times that no longer stand
        self._unkept: dict[str, datetime] = {}                  # times the store does not know yet
        self._refused: set[str] = set()
        self._missed: list[str] = []                            # not told yet
        self._changed = asyncio.Event()
        self._rested = asyncio.Event()
        self._begun = False

    # ---- by the clock -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Fire what is due, when it is due, until cancelled."""
        changed = self._changed
        self._triggers.subscribe(changed)
        await self._remember()
        changed.set()
        while True:
            if changed.is_set():
                changed.clear()
                self._plan()
            try:
                await self._keep()
                await self._fire_due()
                await self._forget()
            except RecordUnavailable as error:
                self._say(f"Schedules wait until the record can be written again: {error}")
                await self._clock.wait(self._clock.now() + TRY_AGAIN, asyncio.Event())
            else:
                self._begun = True
                self._rested.set()
                await self._clock.wait(min((*self._absent.values(), *(at for at, _ in self._heap[:1])), default=None), changed)

    async def settled(self) -> None:
        """Return when all that is due has been fired."""
        while not self._begun or self._changed.is_set() or any(due <= self._clock.now() for due in self.next_times().values()):
            self._rested.clear()
            await self._rested.wait()

    async def _remember(self) -> None:
        self._times.update(await self._store.schedule_times())
        # The file that declares one may be broken just now. After `catch_up` its turns are lost anyway.
        self._absent = dict.fromkeys(self._times, self._clock.now() + max(GRACE, self._catch_up))

    def _plan(self) -> None:
        """Take over what the triggers say now."""
        now, wanted = self._clock.now(), self._wanted()
        for id in self._planned.keys() - wanted.keys():
            self._absent[id] = now + GRACE
        for id in wanted.keys() - self._planned.keys():
            kept = self._times.get(id)
            due = first_due(wanted[id].schedule, kept, now)
            if due is None and id not in self._times:       # else it has fired
                self._say(never_in_words(wanted[id].name, wanted[id].schedule))
            if due is not None and due != kept:
                self._unkept[id] = due
            self._absent.pop(id, None)
            self._expect(id, due)
        self._planned = wanted

    async def _keep(self) -> None:
        if self._unkept:
            await self._store.keep_schedule_times(self._unkept)
            self._unkept = {}

    def _wanted(self) -> dict[str, _Planned]:
        return {planned.trigger.id: planned for planned in self._numbered() if planned.trigger.enabled and self._sound(planned)}

    def _numbered(self) -> Sequence[_Planned]:
        """All schedules with their numbers."""
        count: Counter[str] = Counter()
        numbered = []
        for trigger in self._triggers.schedules():
            arn, _ = split_arn(trigger.target)
            count[arn] += 1
            if isinstance(trigger.when, Schedule):
                numbered.append(_Planned(trigger, trigger.when, count[arn]))
        return numbered

    def _sound(self, planned: _Planned) -> bool:
        if planned.trigger.id in self._planned:
            return True
        try:
            check(planned.schedule.expression, planned.schedule.timezone)
        except InvalidParameter as error:
            if planned.trigger.id not in self._refused:
                self._refused.add(planned.trigger.id)
                self._say(str(error))
            return False
        return True

    def _expect(self, id: str, due: datetime | None) -> None:
        self._times[id] = due
        if due is not None:
            heapq.heappush(self._heap, (due, id))

    async def _fire_due(self) -> None:
        now = self._clock.now()
        due: dict[str, datetime] = {}
        while self._heap and self._heap[0][0] <= now:
            at, id = heapq.heappop(self._heap)
            if id in self._planned and self._times[id] == at:
                due[id] = at
        try:
            for start in range(0, len(due), CLAIMED_AT_ONCE):
                # Side by side, so that the store commits them in one go.
                together = list(due.items())[start:start + CLAIMED_AT_ONCE]
                for result in await asyncio.gather(*(self._take(id, at, now) for id, at in together), return_exceptions=True):
                    if result is not None:
                        raise result
        finally:
            for id, at in due.items():
                if self._times[id] == at:           # could not be recorded; it is still due
                    self._expect(id, at)
            if due:
                self._wake()
        if self._missed:
            self._say(missed_in_words(self._missed))
            self._missed = []

    async def _take(self, id: str, due: datetime, now: datetime) -> None:
        """Claim a turn and fire it; if somebody else did, the store knows what is next."""
        planned = self._planned[id]
        what = turn(planned.schedule, due, now, self._catch_up)
        fired = [] if what.fire is None else [_invocation(planned, what.fire, now)]
        won = await self._store.fire_schedule(id, due, what.following, fired)
        if won and what.missed is not None:
            self._record_missed(planned, what.missed, now)
        self._expect(id, what.following if won else (await self._store.schedule_times()).get(id))

    def _record_missed(self, planned: _Planned, due: datetime, now: datetime) -> None:
        seconds = f"{self._catch_up.total_seconds():g}"
        message = f"Due at {due:%Y-%m-%dT%H:%M:%SZ}, while the server was down or the machine asleep, and more than {seconds} seconds ago."
        error = orjson.dumps({"errorType": "Schedule.Missed", "errorMessage": message})
        self._missed.append(f"{planned.name} {planned.schedule}, due at {due:%Y-%m-%dT%H:%M:%SZ}")
        self._store.put(_invocation(planned, due, now, accepted=False), Outcome(status="missed", payload=error))

    async def _forget(self) -> None:
        now = self._clock.now()
        gone = [id for id, at in self._absent.items() if at <= now]
        if gone:
            await self._store.forget_schedules(gone)
        for id in gone:
            del self._absent[id]
            self._times.pop(id, None)

    # ---- for others ---------------------------------------------------------------------------------------------

    def next_times(self) -> Mapping[str, datetime]:
        """When each schedule, by its trigger's id, is due next; those that never are again are left out."""
        now = self._clock.now()
        times = {id: self._times[id] if id in self._planned else first_due(planned.schedule, self._times.get(id), now)
                 for id, planned in self._wanted().items()}
        return {id: due for id, due in times.items() if due is not None}

    async def fire(self, trigger: Trigger, as_of: datetime) -> Invocation:
        """Fire a schedule by hand, as if it were due then; its next times stay as they are. Accepted when this returns."""
        planned = next((planned for planned in self._numbered() if planned.trigger.id == trigger.id), None)
        if planned is None:
            raise InvalidParameter(reason=f"There is no schedule {trigger.when} of {trigger.target} any more. See `microlam list`.")
        invocation = _invocation(planned, as_of, self._clock.now())
        await self._store.accept([invocation])
        self._wake()
        return invocation


def _invocation(planned: _Planned, due: datetime, now: datetime, *, accepted: bool = True) -> Invocation:
    arn, qualifier = split_arn(planned.trigger.target)
    event = scheduled_event(rule_arn(arn, planned.number), due, str(uuid.uuid4()), region_of(arn), account_of(arn))
    return Invocation(
        id=new_id(), arn=arn, qualifier=qualifier, payload=orjson.dumps(event), cause="schedule", summary=str(planned.schedule),
        queued_at=now, accepted_at=now if accepted else None,
    )
