"""One function: configuration, what leads to it, its workers and its charts; its code; reloading and pausing it."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from microlam.admin import activity
from microlam.admin.asking import Asked, Done, action, page
from microlam.admin.code import difference, files_of, text_of
from microlam.admin.facts import Facts, environment_facts
from microlam.admin.finding import address_of, function_named
from microlam.admin.forms import one_of
from microlam.admin.functions import facts_of
from microlam.admin.records import RANGES, row
from microlam.errors import NotFound
from microlam.model import LATEST
from microlam.store import InvocationFilter

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions import Function

LIVE = "live"           # the files in the folder, whether or not they run
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
        "file": str(function.file), "preload": list(function.latest.preload), "workers": workers_of(lam, function),
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


# ---- code ------------------------------------------------------------------------------------------------------------

async def code(lam: Microlam, asked: Asked) -> Facts:
    """The files of a version, one of them shown; or what differs between two versions, or a version and the folder."""
    function = function_named(lam, asked.names["name"])
    choices = [LIVE, LATEST]
    chosen = one_of("version", choices, asked.query.get("version")) or LATEST
    against = one_of("against", choices, asked.query.get("against"))
    root, names = await _package(lam, function, chosen)
    files = await asyncio.to_thread(files_of, root, names)
    facts: Facts = {
        "name": function.name, "arn": function.arn, "address": address_of(lam, function.arn), "choices": choices, "version": chosen, "against": against,
        "files": [{"path": path, "size": size} for path, size in files.items()], "file": None, "text": None, "differences": None,
    }
    if against is not None:
        return facts | {"differences": await _differences(lam, function, root, list(files), against)}
    path = asked.query.get("file") or _first(function, files)
    if path is not None and path not in files:
        raise NotFound(reason=f"{chosen} of {function.name} has no file {path}.")
    return facts | {"file": path, "text": None if path is None else await asyncio.to_thread(text_of, root, path)}


async def _package(lam: Microlam, function: Function, version: str) -> tuple[Path, list[str] | None]:
    """Where the files of a version lie, and which there belong to it; None: all."""
    latest = lam.functions.resolve(function.arn)
    if version == LIVE:
        return Path(latest.source), list(await asyncio.to_thread(files_of, Path(latest.root)))
    return Path(latest.root), None


def _first(function: Function, files: object) -> str | None:
    """The file with the handler."""
    paths = list(files) if isinstance(files, dict) else []
    return next((path for path in paths if str(function.file).endswith(f"/{path}")), paths[0] if paths else None)


async def _differences(lam: Microlam, function: Function, root: Path, paths: list[str], against: str) -> list[Facts]:
    """File by file, those that are the same left out."""
    other, names = await _package(lam, function, against)
    others = await asyncio.to_thread(files_of, other, names)
    differences = []
    for path in sorted({*paths, *others}):
        before, after = await asyncio.gather(asyncio.to_thread(text_of, other, path), asyncio.to_thread(text_of, root, path))
        lines = difference(before or "", after or "")
        if lines or (before is None) != (after is None):
            differences.append({
                "path": path, "change": "added" if before is None else "removed" if after is None else "changed",
                "lines": [{"mark": line.mark, "before": line.before, "after": line.after, "text": line.text} for line in lines],
            })
    return differences


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
    page("functions/{name}", show, "function.html"), page("functions/{name}/code", code, "code.html"),
    action("functions/{name}/reload", reload), action("functions/{name}/pause", pause), action("functions/{name}/resume", resume),
)
