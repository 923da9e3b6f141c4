"""What happens now, told to those who look on: rows of what ended, and that a page has something new to show.

While nobody looks, nothing is called for an invocation. While somebody does, past the sample an invocation is only counted.
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING

from aiohttp import web

from microlam.admin.asking import Asked, data
from microlam.admin.pages import fragment
from microlam.admin.records import Wanted, row_of, wanted_of
from microlam.model import Invocation, Outcome

if TYPE_CHECKING:
    from microlam.app import Microlam

BEAT = 0.25             # seconds between two messages at most
SAMPLE = 8              # rows in one message
LOOK_EVERY = 4          # beats between two looks at the functions
QUIET = 60              # beats of silence after which a comment keeps the connection

_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


class Watcher:
    """One who looks on: how many invocations ended in all, how many of those wanted since the last message, and a sample of these."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.ended = 0
        self._seen = 0
        self._sample: list[tuple[Invocation, Outcome]] = []

    def note(self, invocation: Invocation, outcome: Outcome) -> None:
        """Take note of one that ended."""
        self.ended += 1
        if self._wanted.matches(invocation, outcome):
            self._seen += 1
            if len(self._sample) < SAMPLE:
                self._sample.append((invocation, outcome))

    def take(self) -> tuple[int, list[tuple[Invocation, Outcome]]]:
        """What has gathered: how many were wanted, and the sample; and begin anew."""
        taken = self._seen, self._sample
        self._seen, self._sample = 0, []
        return taken


class Tail:
    """Those who look on; `ended` is the invoker's list of who is told that an invocation has ended."""

    def __init__(self, ended: list[Callable[[Invocation, Outcome], None]]) -> None:
        self._ended = ended
        self._watchers: list[Watcher] = []
        self.closed = False

    @contextmanager
    def watcher(self, wanted: Wanted) -> Iterator[Watcher]:
        """One who looks on, for as long as this lasts."""
        watcher = Watcher(wanted)
        if not self._watchers:
            self._ended.append(self._note)
        self._watchers.append(watcher)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)
            if not self._watchers:
                self._ended.remove(self._note)

    def _note(self, invocation: Invocation, outcome: Outcome) -> None:
        for watcher in self._watchers:
            watcher.note(invocation, outcome)

    def close(self) -> None:
        """No more messages."""
        self.closed = True


# ---- the stream ------------------------------------------------------------------------------------------------------

async def stream(lam: Microlam, asked: Asked) -> web.StreamResponse:
    """Server-sent events: `rows` of what ended, as HTML, and `changed` when pages have something new to show."""
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(asked.request)
    with asked.tail.watcher(wanted_of(asked.query)) as watcher, suppress(ConnectionError):
        await response.write(b"retry: 1000\n\n")
        told, silent = _state(lam, watcher), 0
        for beat in count(1):
            await asyncio.sleep(BEAT)
            if asked.tail.closed:
                break
            text = _rows(*watcher.take())
            if beat % LOOK_EVERY == 0 and (now := _state(lam, watcher)) != told:
                told = now
                text += "event: changed\ndata: {}\n\n"
            silent = 0 if text else silent + 1
            if silent % QUIET == QUIET - 1:
                text = ": still here\n\n"
            if text:
                await response.write(text.encode("utf-8", "replace"))
    return response


def _rows(seen: int, sample: list[tuple[Invocation, Outcome]]) -> str:
    if not seen:
        return ""
    rows = fragment("rows.html", {"rows": [row_of(invocation, outcome) for invocation, outcome in reversed(sample)], "base": ""})
    return f"event: rows\ndata: {json.dumps({'html': rows, 'seen': seen, 'shown': len(sample)})}\n\n"


def _state(lam: Microlam, watcher: Watcher) -> object:
    """What pages show, in short: two of them differ when something has changed."""
    functions = [
        (function.arn, str(function.error), function.latest.sha256, function.latest.handler, function.latest.timeout, function.latest.memory)
        for function in lam.functions.all()
    ]
    workers = [(worker.pid, worker.busy) for executor in lam.executors.values() for worker in executor.statistics().workers]
    return functions, workers, [(trigger.id, trigger.enabled) for trigger in lam.triggers.all()], len(lam.invoker.running), watcher.ended


ROUTES = (data("live", stream),)
