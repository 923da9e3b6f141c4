"""The first page: what runs and what fails at this moment, and what every function did in the last hour."""
from __future__ import annotations

from typing import TYPE_CHECKING

from microlam.admin import activity
from microlam.admin.asking import Asked, page
from microlam.admin.facts import Facts
from microlam.admin.finding import address_of
from microlam.admin.records import FAILED, row
from microlam.store import InvocationFilter

if TYPE_CHECKING:
    from microlam.app import Microlam

_SHOWN = 20
_FEW = 5


async def show(lam: Microlam, asked: Asked) -> Facts:
    """Functions with their last hour, what fails to load, what waits, what failed, and the newest invocations."""
    lam.invoker.note_running()
    functions = lam.functions.all()
    hour = await activity.last_hour(lam, functions)
    newest = await lam.store.invocations(InvocationFilter(), _SHOWN)
    waiting = await lam.store.invocations(InvocationFilter(status="pending"), _FEW)
    failed = await lam.store.invocations(InvocationFilter(status=FAILED), _FEW)
    return {
        "functions": [
            {"name": function.name, "arn": function.arn, "address": address_of(lam, function.arn), "error": function.error, "activity": hour[function.arn],
             "paused": any(not trigger.enabled for trigger in lam.triggers.of(function.arn))}
            for function in functions
        ],
        "invocations": [row(record) for record in newest.records],
        "waiting": [row(record) for record in waiting.records],
        "queues": [
            {"function": each.arn.rpartition(":")[2], "address": address_of(lam, each.arn), "pending": each.pending, "retries": each.retries}
            for each in await lam.store.waiting()
        ],
        "failed": [row(record) for record in failed.records],
        "running": len(lam.invoker.running), "workers": sum(len(executor.statistics().workers) for executor in lam.executors.values()),
        "warnings": [*_trouble(lam), *lam.functions.warnings, *(f"{function.name}: {warning}" for function in functions for warning in function.warnings)],
        "folder": str(lam.folder),
    }


def _trouble(lam: Microlam) -> list[str]:
    return [f"Invocations are not recorded: {lam.store.error}"] if lam.store.error else []


ROUTES = (page("", show, "overview.html"), page("overview", show, "overview.html"))
