"""Triggers: schedules with what comes next and how the last turn went, routes, drop folders; firing one by hand, pausing, letting go on."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from microlam.admin.asking import Asked, Done, action, page
from microlam.admin.facts import Facts, trigger_facts
from microlam.admin.finding import address_of, function_named, trigger_named
from microlam.admin.forms import instant, whole, wish
from microlam.admin.records import row
from microlam.cron import next_time
from microlam.errors import InvalidParameter
from microlam.model import Schedule, Trigger, split_arn
from microlam.store import InvocationFilter, Record

if TYPE_CHECKING:
    from microlam.app import Microlam

TURNS_SHOWN = 5
_LOOKED_AT = 50         # newest of a function by schedule, to find the last of each of its schedules


async def show(lam: Microlam, asked: Asked) -> Facts:
    """Every trigger, by what it waits for."""
    next_times, places, now = lam.schedules.next_times(), lam.buckets.places(), lam.clock.now()
    facts: dict[str, list[Facts]] = {"http": [], "schedule": [], "file": []}
    last: dict[str, Sequence[Record]] = {}
    for trigger in lam.triggers.all():
        arn, qualifier = split_arn(trigger.target)
        told = trigger_facts(trigger, next_times.get(trigger.id), places) | {
            "function": arn.rpartition(":")[2], "address": address_of(lam, arn), "qualifier": qualifier,
        }
        if isinstance(trigger.when, Schedule):
            if arn not in last:
                last[arn] = (await lam.store.invocations(InvocationFilter(function=arn, cause="schedule"), _LOOKED_AT)).records
            found = next((record for record in last[arn] if record.summary == str(trigger.when)), None)
            told |= {"coming": coming(trigger.when, next_times.get(trigger.id), now), "last": row(found) if found else None,
                     "number": lam.triggers.schedules_of(arn).index(trigger) + 1}
        facts[str(told["kind"])].append(told)
    return {"schedules": facts["schedule"], "routes": facts["http"], "drops": facts["file"], "buckets": {name: str(place) for name, place in places.items()}}


def coming(schedule: Schedule, due: datetime | None, now: datetime) -> list[str]:
    """The next five times, from the one that is due."""
    times: list[str] = []
    while due is not None and len(times) < TURNS_SHOWN:
        times.append(due.isoformat())
        due = next_time(schedule.expression, max(due, now), schedule.timezone, anchor=due)
    return times


# ---- actions ---------------------------------------------------------------------------------------------------------

async def fire(lam: Microlam, asked: Asked) -> Done:
    """Fire a function's nth schedule, now or as of any time."""
    function = function_named(lam, asked.names["name"])
    wanted = wish(asked, '{"time": "2026-03-29T02:00:00Z", "schedule": 1}')
    trigger = nth_schedule(lam.triggers.schedules_of(function.arn), function.name, whole("schedule", wanted.get("schedule")) or 1)
    invocation = await lam.schedules.fire(trigger, instant("time", wanted["time"]) if "time" in wanted else lam.clock.now())
    return Done(to=f"invocations/{invocation.id}", words=f"Fired {trigger.when}.", facts={"id": invocation.id, "summary": invocation.summary}, status=202)


def nth_schedule(schedules: Sequence[Trigger], name: str, number: int) -> Trigger:
    """A function's nth schedule, from 1."""
    if number > len(schedules):
        known = "; ".join(f"{n}: {trigger.when}" for n, trigger in enumerate(schedules, 1)) or "it has none"
        raise InvalidParameter(reason=f"There is no schedule {number} of {name} ({known}).")
    return schedules[number - 1]


async def pause(lam: Microlam, asked: Asked) -> Done:
    """Let one trigger lead nowhere until somebody lets it go on."""
    trigger = trigger_named(lam, asked.names["id"])
    await lam.pauses.pause([trigger])
    return Done(to="triggers", words=f"Paused {trigger.when}.", facts={"id": trigger.id, "enabled": False})


async def resume(lam: Microlam, asked: Asked) -> Done:
    """Let one trigger go on."""
    trigger = trigger_named(lam, asked.names["id"])
    await lam.pauses.resume([trigger])
    return Done(to="triggers", words=f"{trigger.when} goes on.", facts={"id": trigger.id, "enabled": True})


ROUTES = (
    page("triggers", show, "triggers.html"), action("functions/{name}/fire", fire),
    action("triggers/{id}/pause", pause), action("triggers/{id}/resume", resume),
)
