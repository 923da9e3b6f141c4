"""The list of functions, with what leads to each and how to try it."""
from __future__ import annotations

from typing import TYPE_CHECKING

from microlam.admin import activity
from microlam.admin.asking import Asked, page
from microlam.admin.facts import Facts, examples, function_facts
from microlam.admin.finding import address_of

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions import Function


async def show(lam: Microlam, asked: Asked) -> Facts:
    """Every function."""
    functions = lam.functions.all()
    hour = await activity.last_hour(lam, functions)
    return {
        "functions": [facts_of(lam, function, asked.address) | {"activity": hour[function.arn]} for function in functions],
        "warnings": list(lam.functions.warnings), "folder": str(lam.folder),
    }


def facts_of(lam: Microlam, function: Function, address: str) -> Facts:
    """A function as pages and programs are told of it."""
    triggers, buckets = lam.triggers.of(function.arn), lam.buckets.places()
    return function_facts(function, triggers, lam.schedules.next_times(), buckets) | {
        "address": address_of(lam, function.arn), "examples": examples(function.name, triggers, address, buckets),
        "paused": bool(triggers) and not any(trigger.enabled for trigger in triggers),
    }


ROUTES = (page("functions", show, "functions.html"),)
