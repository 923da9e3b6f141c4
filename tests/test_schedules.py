"""Schedules fire when they are due, once, whatever happens to the server and its clock."""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel

from microlam.errors import InvalidParameter
from microlam.model import Invocation, Schedule, Trigger, function_arn
from microlam.sources.schedules import Schedules, Turn, turn
from microlam.store import InvocationFilter, Record, Store
from microlam.triggers import Triggers

NIGHTLY, REPORT = function_arn("nightly"), function_arn("report", "eu-west-1", "222222222222")
START = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)


class MovableClock:
    """A clock that stands still until it is moved; one task at a time waits for it."""

    def __init__(self) -> None:
        self._now = START
        self._moved = asyncio.Event()
        self._at_rest = asyncio.Event()
        self._until: datetime | None = None
        self._changed: asyncio.Event | None = None

    def now(self) -> datetime:
        return self._now

    async def wait(self, until: datetime | None, changed: asyncio.Event) -> None:
        while not changed.is_set() and (until is None or until > self._now):
            self._until, self._changed = until, changed
            self._moved.clear()
            self._at_rest.set()
            waits = [asyncio.create_task(event.wait()) for event in (changed, self._moved)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        self._changed = None

    async def settled(self) -> None:
        """Return when who waits has nothing left to do until the clock moves."""
        while self._changed is None or self._changed.is_set() or self._moved.is_set():
            self._at_rest.clear()
            await self._at_rest.wait()

    async def advance(self, **time: float) -> None:
        """Let time pass as it does: every moment somebody waits for comes on its own."""
        target = self._now + timedelta(**time)
        await self.settled()
        while self._until is not None and self._until <= target:
            await self.jump_to(self._until)
        await self.jump_to(target)

    async def jump_to(self, moment: datetime) -> None:
        """Be at another time at once, as after a suspended night."""
        self._now = moment
        self._moved.set()
        await self.settled()


@dataclass
class House:
    """A running schedule source over a real store."""

    store: Store
    triggers: Triggers
    clock: MovableClock
    schedules: Schedules
    said: list[str]
    woken: list[datetime]

    def declare(self, *schedules: Schedule | str, arn: str = NIGHTLY, enabled: bool = True) -> Sequence[Trigger]:
        declared = [Trigger(target=arn, when=when if isinstance(when, Schedule) else Schedule(expression=when), enabled=enabled) for when in schedules]
        self.triggers.replace(arn, declared)
        return declared

    async def accepted(self) -> list[Invocation]:
        """What was accepted since this was asked last, in the order it is due."""
        return sorted(await self.store.claim(self.clock.now(), 10_000), key=lambda invocation: json.loads(invocation.payload)["time"])

    async def fired(self) -> list[str]:
        """The event times of what was accepted since this was asked last."""
        return [json.loads(invocation.payload)["time"] for invocation in await self.accepted()]

    async def missed(self) -> Sequence[Record]:
        await self.store.flush()
        return (await self.store.invocations(InvocationFilter(status="missed"))).records


@asynccontextmanager
async def running(data: Path, clock: MovableClock, *declared: Schedule | str, catch_up: float = 3600.0) -> AsyncIterator[House]:
    store = await Store.open(data)
    triggers = Triggers()
    said: list[str] = []
    woken: list[datetime] = []
    schedules = Schedules(store, triggers, clock, wake=lambda: woken.append(clock.now()), catch_up=catch_up, say=said.append)
    house = House(store, triggers, clock, schedules, said, woken)
    if declared:
        house.declare(*declared)
    task = asyncio.create_task(schedules.run())
    try:
        await clock.settled()
        yield house
    finally:
        task.cancel()
        await asyncio.wait([task])
        clock._changed = None
        await store.close()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def house(tmp_path: Path, clock: MovableClock) -> AsyncIterator[House]:
    async with running(tmp_path, clock) as house:
        yield house


# ---- firing ----------------------------------------------------------------------------------------------------------

async def test_a_rate_fires_every_period(house: House, clock: MovableClock) -> None:
    house.declare("rate(5 minutes)")
    await clock.advance(minutes=16)
    assert await house.fired() == ["2026-03-01T12:05:07Z", "2026-03-01T12:10:07Z", "2026-03-01T12:15:07Z"]
    assert len(house.woken) == 3


async def test_a_schedule_that_lies_in_the_past_is_warned_about_and_one_that_has_fired_is_not(tmp_path: Path, clock: MovableClock) -> None:
    never, gap = "at(2026-02-01T00:00:00)", Schedule(expression="at(2026-03-29T02:30:00)", timezone="Europe/Berlin")
    async with running(tmp_path, clock, never, gap, "at(2026-03-01T12:30:00)", "at(2026-03-01T13:00:00)", "cron(0 0 1 1 ? 2025)") as house:
        warnings = [
            "Warning: nightly: at(2026-02-01T00:00:00) does not fire, as its time lies in the past. Give it a time to come, or remove it.",
            "Warning: nightly: at(2026-03-29T02:30:00) Europe/Berlin does not fire, as its time lies in the past, or Europe/Berlin's clocks never show it. "
            "Give it a time to come, or remove it.",
            "Warning: nightly: cron(0 0 1 1 ? 2025) does not fire, as its time lies in the past. Give it a time to come, or remove it.",
        ]
        assert sorted(house.said) == warnings
        await clock.advance(minutes=31)
        assert await house.fired() == ["2026-03-01T12:30:00Z"]
        # its file is broken for a moment
        house.triggers.replace(NIGHTLY, [])
        await clock.settled()
        house.declare("at(2026-03-01T12:30:00)")
        await clock.settled()
        house.declare("at(2026-03-01T12:30:00)", "at(2026-03-01T13:00:00)")
        await clock.settled()
        assert sorted(house.said) == warnings
    # what was missed is said as that
    clock._now += timedelta(days=1)
    async with running(tmp_path, clock, "at(2026-03-01T13:00:00)") as house:
        [missed] = house.said
        assert missed.startswith("Missed")


async def test_what_is_fired_is_an_invocation_with_eventbridge_s_event(house: House, clock: MovableClock) -> None:
    house.declare("rate(1 day)", Schedule(expression="cron(30 13 * * ? *)", timezone="Europe/Berlin"), arn=f"{REPORT}")
    await clock.advance(hours=2)

    [invocation] = await house.accepted()
    event = EventBridgeModel.model_validate_json(invocation.payload)
    assert (invocation.arn, invocation.qualifier, invocation.cause, invocation.summary) == (REPORT, None, "schedule", "cron(30 13 * * ? *) Europe/Berlin")
    assert (event.time, event.region, event.account) == (datetime(2026, 3, 1, 12, 30, tzinfo=UTC), "eu-west-1", "222222222222")
    assert event.resources == ["arn:aws:events:eu-west-1:222222222222:rule/report-2"]


async def test_a_qualified_target_is_invoked_through_its_qualifier(house: House, clock: MovableClock) -> None:
    house.triggers.replace(NIGHTLY, [Trigger(target=f"{NIGHTLY}:live", when=Schedule(expression="rate(1 minute)"))])
    await clock.advance(minutes=1)
    [invocation] = await house.accepted()
    assert (invocation.arn, invocation.qualifier) == (NIGHTLY, "live")
    assert json.loads(invocation.payload)["resources"][0].endswith(":rule/nightly-1")


async def test_an_at_fires_once(house: House, clock: MovableClock) -> None:
    house.declare("at(2026-03-01T12:30:00)", "at(2026-02-01T00:00:00)")
    await clock.advance(days=2)
    assert await house.fired() == ["2026-03-01T12:30:00Z"]
    assert await house.store.schedule_times() == {}


async def test_schedules_that_are_due_together_all_fire(house: House, clock: MovableClock) -> None:
    for number in range(250):
        house.declare("cron(0 13 * * ? *)", arn=function_arn(f"job-{number}"))
    await clock.advance(hours=1)
    assert len({invocation.arn for invocation in await house.accepted()}) == 250


async def test_a_schedule_that_changes_leaves_its_old_times_behind(house: House, clock: MovableClock) -> None:
    house.declare("rate(5 minutes)")
    await clock.advance(minutes=4)
    house.declare("cron(0/30 * * * ? *)")
    await clock.advance(minutes=30)
    assert await house.fired() == ["2026-03-01T12:30:00Z"]


async def test_a_paused_schedule_does_not_fire_and_starts_anew_afterwards(house: House, clock: MovableClock) -> None:
    house.declare("rate(10 minutes)", enabled=False)
    await clock.advance(minutes=25)
    house.declare("rate(10 minutes)")
    await clock.advance(minutes=11)
    assert await house.fired() == ["2026-03-01T12:35:07Z"]


async def test_a_broken_schedule_is_said_and_harms_no_other(house: House, clock: MovableClock) -> None:
    house.declare("cron(0 10 * * *)", "rate(1 minute)")
    await clock.advance(minutes=1)
    house.declare("cron(0 10 * * *)", "rate(1 minute)", "rate(1 hour)")
    await clock.advance(seconds=1)
    assert await house.fired() == ["2026-03-01T12:01:07Z"]
    assert [sentence for sentence in house.said if "AWS wants 6" in sentence] == house.said
    assert len(house.said) == 1


# ---- gaps ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("expression", "due", "now", "becomes"), [
    ("rate(5 minutes)", "12:05:07", "12:05:07", ("12:05:07", None, "12:10:07")),
    ("rate(5 minutes)", "12:05:07", "12:31:00", ("12:30:07", None, "12:35:07")),
    ("rate(5 minutes)", "12:05:07", "18:31:00", ("18:30:07", "12:05:07", "18:35:07")),
    ("cron(0 12 * * ? *)", "12:00:00", "12:59:59", ("12:00:00", None, "+12:00:00")),
    ("cron(0 12 * * ? *)", "12:00:00", "13:00:00", (None, "12:00:00", "+12:00:00")),
    ("at(2026-03-01T12:00:00)", "12:00:00", "12:30:00", ("12:00:00", None, None)),
    ("at(2026-03-01T12:00:00)", "12:00:00", "14:30:00", (None, "12:00:00", None)),
])
def test_what_becomes_of_a_schedule_that_is_due(expression: str, due: str, now: str, becomes: tuple[str | None, str | None, str | None]) -> None:
    def moment(text: str | None) -> datetime | None:
        return None if text is None else datetime.fromisoformat(f"2026-03-0{2 if text.startswith('+') else 1}T{text.lstrip('+')}+00:00")

    due_at, now_at = moment(due), moment(now)
    assert due_at is not None
    assert now_at is not None
    fire, missed, following = map(moment, becomes)
    assert turn(Schedule(expression=expression), due_at, now_at, timedelta(hours=1)) == Turn(fire=fire, missed=missed, following=following)


async def test_a_clock_that_jumps_makes_no_burst(house: House, clock: MovableClock) -> None:
    house.declare("rate(1 minute)")
    await clock.settled()
    await clock.jump_to(START + timedelta(hours=5, seconds=30))
    assert await house.fired() == ["2026-03-01T17:00:07Z"]
    await clock.advance(minutes=1)
    assert await house.fired() == ["2026-03-01T17:01:07Z"]
    # put back: nothing that was fired is fired again
    await clock.jump_to(START + timedelta(hours=4, minutes=58))
    assert await house.fired() == []


# ---- restarts --------------------------------------------------------------------------------------------------------

async def test_next_times_survive_a_restart(tmp_path: Path, clock: MovableClock) -> None:
    async with running(tmp_path, clock, "rate(5 minutes)"):
        await clock.advance(minutes=3)
    async with running(tmp_path, clock, "rate(5 minutes)") as house:
        await clock.advance(minutes=3)
        assert await house.fired() == ["2026-03-01T12:05:07Z"]


async def test_what_fell_due_while_the_server_was_down_fires_once_if_it_is_young(tmp_path: Path, clock: MovableClock) -> None:
    async with running(tmp_path, clock, "rate(5 minutes)", "cron(30 12 * * ? *)", "at(2026-03-01T12:20:00)"):
        pass
    clock._now += timedelta(minutes=42)
    async with running(tmp_path, clock, "rate(5 minutes)", "cron(30 12 * * ? *)", "at(2026-03-01T12:20:00)") as house:
        assert await house.fired() == ["2026-03-01T12:20:00Z", "2026-03-01T12:30:00Z", "2026-03-01T12:40:07Z"]
        assert not await house.missed()
        await clock.advance(minutes=4)
        assert await house.fired() == ["2026-03-01T12:45:07Z"]


async def test_what_fell_due_too_long_ago_is_recorded_as_missed(tmp_path: Path, clock: MovableClock) -> None:
    declared = ("cron(30 12 * * ? *)", "at(2026-03-01T12:20:00)")
    async with running(tmp_path, clock, *declared):
        pass
    clock._now += timedelta(hours=2)
    async with running(tmp_path, clock, *declared) as house:
        assert await house.fired() == []
        missed = await house.missed()
        [told] = house.said
        assert told.startswith("Missed while the server was down or the machine asleep: nightly ")
        assert told.count("due at 2026-0") == 2
        assert sorted((record.summary, record.cause) for record in missed) == [
            ("at(2026-03-01T12:20:00)", "schedule"), ("cron(30 12 * * ? *)", "schedule")]
        full = await house.store.invocation(next(record.id for record in missed if "cron" in record.summary))
        assert full is not None
        assert json.loads(full.event)["time"] == "2026-03-01T12:30:00Z"
    # and once
    async with running(tmp_path, clock, *declared) as house:
        assert (await house.fired(), len(await house.missed())) == ([], 2)


async def test_turns_that_pass_while_the_machine_sleeps_are_missed_and_told_too(house: House, clock: MovableClock) -> None:
    house.declare("cron(30 12 * * ? *)")
    await clock.settled()
    await clock.jump_to(START + timedelta(hours=5))
    assert await house.fired() == []
    [missed] = await house.missed()
    full = await house.store.invocation(missed.id)
    assert full is not None
    reason = "while the server was down or the machine asleep"
    assert house.said == [f"Missed {reason}: nightly cron(30 12 * * ? *), due at 2026-03-01T12:30:00Z."]
    assert json.loads(full.reply)["errorMessage"] == f"Due at 2026-03-01T12:30:00Z, {reason}, and more than 3600 seconds ago."


async def test_how_far_back_is_a_setting(tmp_path: Path, clock: MovableClock) -> None:
    async with running(tmp_path, clock, "cron(30 12 * * ? *)"):
        pass
    clock._now += timedelta(hours=2)
    async with running(tmp_path, clock, "cron(30 12 * * ? *)", catch_up=7200) as house:
        assert await house.fired() == ["2026-03-01T12:30:00Z"]


async def test_a_server_that_is_killed_after_a_claim_neither_loses_nor_repeats_it(tmp_path: Path, clock: MovableClock) -> None:
    async with running(tmp_path, clock, "rate(5 minutes)"):
        await clock.advance(minutes=5)
    async with running(tmp_path, clock, "rate(5 minutes)") as house:
        assert await house.fired() == ["2026-03-01T12:05:07Z"]


async def test_a_file_that_is_broken_for_a_moment_keeps_its_schedule(house: House, clock: MovableClock) -> None:
    house.declare("rate(5 minutes)")
    await clock.advance(minutes=4, seconds=50)
    house.declare()
    await clock.advance(seconds=30)
    house.declare("rate(5 minutes)")
    await clock.advance(seconds=1)
    assert await house.fired() == ["2026-03-01T12:05:07Z"]


async def test_a_file_that_is_broken_at_the_start_keeps_its_schedule(tmp_path: Path, clock: MovableClock) -> None:
    async with running(tmp_path, clock, "rate(5 minutes)"):
        pass
    async with running(tmp_path, clock) as house:
        await clock.advance(minutes=7)
        house.declare("rate(5 minutes)")
        await clock.advance(seconds=1)
        assert await house.fired() == ["2026-03-01T12:05:07Z"]


async def test_a_schedule_that_is_gone_for_good_is_forgotten(house: House, clock: MovableClock) -> None:
    house.declare("rate(5 minutes)")
    await clock.advance(minutes=1)
    assert len(await house.store.schedule_times()) == 1
    house.declare()
    await clock.advance(minutes=20)
    assert await house.store.schedule_times() == {}
    house.declare("rate(5 minutes)")
    await clock.advance(minutes=5)
    assert await house.fired() == ["2026-03-01T12:26:07Z"]


async def test_a_time_kept_by_a_clock_that_ran_ahead_is_not_waited_for(tmp_path: Path, clock: MovableClock) -> None:
    clock._now = START + timedelta(days=1000)
    async with running(tmp_path, clock, "cron(0 13 * * ? *)"):
        pass
    clock._now = START
    async with running(tmp_path, clock, "cron(0 13 * * ? *)") as house:
        await clock.advance(hours=1)
        assert await house.fired() == ["2026-03-01T13:00:00Z"]


# ---- by hand ---------------------------------------------------------------------------------------------------------

async def test_fired_by_hand_it_runs_as_of_any_time_and_its_next_times_stay(house: House, clock: MovableClock) -> None:
    _, second = house.declare("rate(1 day)", "cron(0 2 * * ? *)")
    await clock.settled()
    before = house.schedules.next_times()

    fired = await house.schedules.fire(second, datetime(2026, 3, 29, 2, tzinfo=UTC))

    [accepted] = await house.accepted()
    assert (accepted.id, accepted.arn, accepted.cause, accepted.summary) == (fired.id, NIGHTLY, "schedule", "cron(0 2 * * ? *)")
    event = json.loads(accepted.payload)
    assert (event["time"], event["resources"][0].rpartition("/")[2]) == ("2026-03-29T02:00:00Z", "nightly-2")
    assert house.schedules.next_times() == before
    assert len(house.woken) == 1


async def test_a_paused_schedule_can_be_fired_by_hand(house: House) -> None:
    [paused] = house.declare("rate(1 day)", enabled=False)
    await house.schedules.fire(paused, START)
    assert await house.fired() == ["2026-03-01T12:00:07Z"]


async def test_a_schedule_that_is_not_declared_cannot_be_fired(house: House) -> None:
    with pytest.raises(InvalidParameter, match=r"no schedule rate\(1 day\)"):
        await house.schedules.fire(Trigger(target=NIGHTLY, when=Schedule(expression="rate(1 day)")), START)


async def test_next_times_are_known_before_and_after_the_source_runs(tmp_path: Path, clock: MovableClock) -> None:
    async with running(tmp_path, clock) as house:
        [trigger] = house.declare("cron(0 13 * * ? *)")
        expected = {trigger.id: datetime(2026, 3, 1, 13, tzinfo=UTC)}
        assert house.schedules.next_times() == expected
        await clock.advance(seconds=1)
        assert house.schedules.next_times() == expected
