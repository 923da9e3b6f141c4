"""The writer: everything the store writes goes through one line and is committed in groups.

Whoever waits has the group committed as soon as the one before it is done; what nobody waits for gathers a moment.
"""
from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from microlam.errors import RecordUnavailable
from microlam.model import Invocation, Outcome
from microlam.store.changes import Note
from microlam.store.database import Row, Step, Unit
from microlam.store.rows import Running
from microlam.store.sqlite import Sqlite

_log = logging.getLogger(__name__)

# Seconds that records nobody waits for gather: large groups dirty fewer pages. Whoever reads or waits has them written at once.
GATHER = 0.05
GROUP = 1000                        # most of them in one commit, so that whoever waits need not wait for a whole burst
RETRY = 1.0                         # seconds between tries when the database takes nothing
UNWRITTEN_BYTES = 64 << 20          # a few thousand records of megabytes are too many as well


@dataclass(frozen=True, slots=True, eq=False)
class _Awaited:
    unit: Unit
    done: asyncio.Future[list[Row]]


class _Notes:
    """Notes that came one after the other, and how many bytes they hold in memory."""

    __slots__ = ("notes", "size")

    def __init__(self, notes: list[Note], size: int = 0) -> None:
        self.notes, self.size = notes, size


class Recorder:
    """Takes notes that nobody waits for and units that somebody waits for, and commits them in the order they came."""

    def __init__(self, database: Sqlite, steps: Callable[[Sequence[Note]], Iterable[Step]], unwritten: int) -> None:
        self._database, self._steps, self._most = database, steps, unwritten
        self._line: deque[_Notes | _Awaited] = deque()
        self._open: _Notes | None = None            # the last in line, which takes more
        self._unwritten = self._unwritten_bytes = 0
        self._due = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._timer: asyncio.TimerHandle | None = None
        self.noted: Callable[[], None] = _nothing       # called when notes have been written
        self._loop = asyncio.get_running_loop()
        self.closed = False
        self.error: str | None = None
        self._task = asyncio.create_task(self._run(), name="recorder")

    # ---- taking -------------------------------------------------------------------------------------------------

    def put(self, invocation: Invocation, end: Outcome | Running) -> None:
        """Record that one runs, or how it ended, soon."""
        size = len(invocation.payload)
        if isinstance(end, Outcome):
            size += len(end.payload) + len(end.logs)
        notes = self._open
        if notes is None or len(notes.notes) >= GROUP:
            notes = self._open = _Notes([])
            self._line.append(notes)
        notes.notes.append((invocation, end))
        notes.size += size
        self._unwritten += 1
        self._unwritten_bytes += size
        if self._timer is None:
            self._set_timer()

    async def write(self, unit: Unit) -> list[Row]:
        """Commit one change after all that came before it; gives what its last step returned, or raises why it could not be."""
        self._refuse_if_closed()
        return await self._stand_in_line(unit)

    def _stand_in_line(self, unit: Unit) -> asyncio.Future[list[Row]]:
        done: asyncio.Future[list[Row]] = self._loop.create_future()
        self._line.append(_Awaited(unit, done))
        self._open = None
        self._due.set()
        return done

    async def flush(self) -> None:
        """Return when all that came before is committed."""
        if self._unwritten:
            await self.write(tuple)

    @property
    def full(self) -> bool:
        return self._unwritten > self._most or self._unwritten_bytes > UNWRITTEN_BYTES

    async def room(self) -> None:
        """Return when no more than the allowed number of records wait to be written."""
        while self.full:
            self._room.clear()
            await self._room.wait()

    async def close(self) -> None:
        """Write what is left, and end. What cannot be written even now is lost, and said so."""
        last = self._stand_in_line(tuple)
        self.closed = True
        try:
            await self._write_the_rest(last)
        finally:
            self._conclude(last)

    async def _write_the_rest(self, last: asyncio.Future[list[Row]]) -> None:
        """A host that ends may have cancelled all tasks at once, ours and the one that closes us: then nobody else writes what is left."""
        either: set[asyncio.Future[Any]] = {self._task, last}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._task.cancel()
            await asyncio.wait([self._task])
            while self._line and not last.done():
                await self._write_group(self._next_group())

    def _conclude(self, last: asyncio.Future[list[Row]]) -> None:
        if not last.cancelled():
            last.exception()        # `error` tells it
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._unwritten:
            _log.error("%d invocations are missing from the record: %s", self._unwritten, self.error)

    def _set_timer(self) -> None:
        self._refuse_if_closed()
        self._timer = self._loop.call_later(GATHER, self._due.set)

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise RecordUnavailable(reason="it is closed")

    # ---- writing ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            if self._line:
                await self._write_group(self._next_group())
            self._go_on()

    def _next_group(self) -> list[_Notes | _Awaited]:
        """What is committed together: no more than GROUP notes and units."""
        group = [self._line.popleft()]
        size = _count(group[0])
        while self._line and size + (count := _count(self._line[0])) <= GROUP:
            group.append(self._line.popleft())
            size += count
        if not self._line:
            self._open = None
        return group

    def _go_on(self) -> None:
        """Write again at once where somebody waits or much has gathered; else when it has gathered a moment, or the database may have recovered."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        awaited = any(isinstance(entry, _Awaited) for entry in islice(self._line, GROUP))
        if awaited or (len(self._line) > 1 and not self.error):
            self._due.set()
        elif self._line:
            self._timer = self._loop.call_later(RETRY if self.error else GATHER, self._due.set)

    async def _write_group(self, group: Sequence[_Notes | _Awaited]) -> None:
        try:
            results = await self._database.write([entry.unit if isinstance(entry, _Awaited) else partial(self._steps, entry.notes) for entry in group])
        except asyncio.CancelledError:
            self._leave_to_database(group)
            raise
        except Exception as error:
            self._fail(group, error)
            return
        self.error = None
        written = list(zip(group, results, strict=True))
        refused = [entry for entry, result in written if isinstance(entry, _Notes) and isinstance(result, Exception) and len(entry.notes) > 1]
        try:
            if refused:     # one of them can never be written: the others are, each by itself
                await self._write_group([_Notes([note]) for notes in refused for note in notes.notes])
        finally:
            for entry, result in written:
                if isinstance(entry, _Awaited):
                    _resolve(entry.done, result)
                elif entry in refused:
                    self._unwritten_bytes -= entry.size
                else:
                    self._forget(entry, result)

    def _fail(self, group: Sequence[_Notes | _Awaited], error: Exception) -> None:
        """Nothing was committed: tell all who wait, also behind the group, and keep the notes for another try."""
        self.error = str(error)
        line = [*group, *self._line]
        self._line = deque(entry for entry in line if isinstance(entry, _Notes))
        for entry in line:
            if isinstance(entry, _Awaited):
                _resolve(entry.done, error)

    def _leave_to_database(self, group: Sequence[_Notes | _Awaited]) -> None:
        """What the database has been given it writes, though nobody hears of it any more."""
        for entry in group:
            if isinstance(entry, _Awaited):
                entry.done.cancel()
            else:
                self._unwritten -= len(entry.notes)

    def _forget(self, notes: _Notes, result: list[Row] | Exception) -> None:
        """The notes are written, or the one that there is can never be."""
        if isinstance(result, Exception):
            _log.error("invocation %s cannot be recorded: %s", notes.notes[0][0].id, result)
        self.noted()
        self._unwritten -= len(notes.notes)
        self._unwritten_bytes -= notes.size
        if not self.full:
            self._room.set()


def _nothing() -> None:
    pass


def _count(entry: _Notes | _Awaited) -> int:
    return 1 if isinstance(entry, _Awaited) else len(entry.notes)


def _resolve(done: asyncio.Future[list[Row]], result: list[Row] | Exception) -> None:
    # Whoever waited may have been cancelled.
    if done.done():
        return
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)
