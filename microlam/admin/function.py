"""One function: configuration, what leads to it, its workers and its charts; reloading and pausing it."""
from __future__ import annotations

from typing import TYPE_CHECKING

from microlam.admin import activity
from microlam.admin.asking import Asked, Done, action, page
from microlam.admin.facts import Facts, environment_facts
from microlam.admin.finding import address_of, function_named
from microlam.admin.forms import one_of
from microlam.admin.functions import facts_of
from microlam.admin.records import RANGES, row
from microlam.store import InvocationFilter

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions import Function

_SHOWN = 10


async def show(lam: Microlam, asked: Asked) -> Facts:
    """A function as it is now, and what it did."""
    function = function_named(lam, asked.names["name"])
    span = one_of("range", list(RANGES), asked.query.get("range")) or "1h"
    lam.invoker.note_running()
    newest = await lam.store.invocations(InvocationFilter(function=function.arn), _SHOWN)
    shown = asked.query.get("secrets") == "shown" and asked.may_change
    return facts_of(lam, function, asked.address) | {
        "environment": environment_facts(function.latest.environment, shown=shown), "secrets_shown": shown,
        "file": None if function.file is None else str(function.file), "preload": list(function.latest.preload), "workers": workers_of(lam, function),
        "invocations": [row(record) for record in newest.records], "range": span, "ranges": list(RANGES),
        "charts": await activity.of_function(lam, function.arn, span),
    }


def workers_of(lam: Microlam, function: Function) -> list[Facts]:
    """A function's workers at this moment, busy ones first."""
    workers = [worker for executor in lam.executors.values() for worker in executor.statistics().workers if worker.name == function.name]
    return [
        {"pid": worker.pid, "version": worker.number, "busy": worker.busy, "since": worker.since.isoformat(), "invocations": worker.invocations,
         "memory": worker.memory}
        for worker in sorted(workers, key=lambda worker: (not worker.busy, worker.number, worker.since))
    ]


# ---- actions ---------------------------------------------------------------------------------------------------------

async def reload(lam: Microlam, asked: Asked) -> Done:
    """Look at the files now, and begin again with fresh workers."""
    function = function_named(lam, asked.names["name"])
    await lam.functions.look()
    version = await lam.functions.current(function.arn)
    await lam.executors[version.executor].retire(version)
    error = function_named(lam, asked.names["name"]).error
    words = f"{error.get('errorType')}: {error.get('errorMessage')}" if error else "Looked at the files; the next invocation has a fresh worker."
    return Done(to=f"functions/{address_of(lam, function.arn)}", words=words, facts={"error": error})


async def pause(lam: Microlam, asked: Asked) -> Done:
    """Let nothing lead to a function until somebody lets it go on; Invoke still reaches it."""
    function = function_named(lam, asked.names["name"])
    await lam.pauses.pause(lam.triggers.of(function.arn))
    return Done(to=f"functions/{address_of(lam, function.arn)}", words=f"Paused: no route, schedule or file leads to {function.name}.", facts={"paused": True})


async def resume(lam: Microlam, asked: Asked) -> Done:
    """Let what leads to a function lead to it again."""
    function = function_named(lam, asked.names["name"])
    await lam.pauses.resume(lam.triggers.of(function.arn))
    return Done(to=f"functions/{address_of(lam, function.arn)}", words=f"{function.name} goes on.", facts={"paused": False})


ROUTES = (
    page("functions/{name}", show, "function.html"), action("functions/{name}/reload", reload),
    action("functions/{name}/pause", pause), action("functions/{name}/resume", resume),
)
