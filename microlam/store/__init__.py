"""The record: what happened and what is to happen. `Store` has the verbs; queries.sql has the SQL, recorder.py the grouped writing.

A data folder belongs to one server at a time. What a verb that is awaited has returned is on disk and survives `kill -9`.
"""
from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import orjson

from microlam.errors import DataFolderHeld, RecordUnavailable, SettingsError
from microlam.model import Invocation, Outcome
from microlam.store import rollups, rows, words
from microlam.store.changes import Changes
from microlam.store.clerk import Clerk
from microlam.store.database import Step, Undone, read_queries
from microlam.store.index import Index
from microlam.store.logs import Logged, LogGroupRow, LogPlace, Logs, LogStreamRow
from microlam.store.recorder import Recorder
from microlam.store.rollups import Point, Series, Totals, summed
from microlam.store.rows import Document, ObjectRow, Record, Running, Size, Waiting, full_record_json, record_json
from microlam.store.sqlite import Sqlite

if TYPE_CHECKING:
    from microlam.store.charts import Charts
    from microlam.store.lists import InvocationFilter, Lists, Page

__all__ = [
    "Document", "InvocationFilter", "LogGroupRow", "LogPlace", "LogStreamRow", "Logged", "ObjectRow", "Page", "Point", "Record", "Series", "Size", "Store",
    "Totals", "Waiting", "full_record_json", "record_json", "summed",
]

_HERE = Path(__file__).parent
_COUNTED = 10_000               # rows, where a count need not be exact beyond
_PRUNED_AT_ONCE = 500           # rows, so that pruning never keeps a writer waiting for long

_SERVER_ENDED = {"errorType": "Runtime.ExitError", "errorMessage": "The server ended while this invocation ran."}


class Store:
    """Remembers invocations, the next times of schedules, and the objects in buckets."""

    def __init__(
        self, folder: Path, database: Sqlite, changes: Changes, recorder: Recorder, index: Index | None, patience: float, life: AsyncExitStack,
    ) -> None:
        self._folder, self._database, self._changes, self._recorder, self._index, self._life = folder, database, changes, recorder, index, life
        self._clerk = Clerk(database, recorder, index)
        life.push_async_callback(self._clerk.close)
        self._patience = patience
        self.logs = Logs(database, recorder.write, self._settle)

    @classmethod
    async def open(cls, folder: Path, *, unwritten: int = 10_000, indexed: bool = True, patience: float = 0.2) -> Self:
        """Open a data folder, made where it is missing; one that another server holds, or a newer microlam made, is refused.

        Unless it is to be `indexed`, and SQLite has FTS5, a search reads record by record. One that takes longer than `patience` gives what it has.
        """
        async with AsyncExitStack() as life:
            life.callback(os.close, _hold(folder))
            queries = read_queries((_HERE / "queries.sql").read_text())
            database = await Sqlite.open(folder / "microlam.db", queries, _HERE / "migrations", functions={"holds": words.holds})
            life.push_async_callback(database.close)
            index = await Index.open(folder, database, queries, wanted=indexed)
            if index:
                life.push_async_callback(index.close)
            changes = Changes(dict(await database.rows("functions", lambda row: (row[0], row[1]))))
            recorder = Recorder(database, changes.note, unwritten)
            life.push_async_callback(recorder.close)
            return cls(folder, database, changes, recorder, index, patience, life.pop_all())

    async def close(self) -> None:
        """Write what is left, and let go of the folder. Closing again does nothing."""
        await self._life.aclose()

    @property
    def indexed(self) -> bool:
        """Whether searches are led by an index of words; else they read record by record."""
        return self._index is not None

    # ---- what ended, and what runs: not waited for -----------------------------------------------------------------

    def put(self, invocation: Invocation, outcome: Outcome) -> None:
        """Record how an invocation ended; it is written with others, a moment later."""
        self._recorder.put(invocation, outcome)

    def note_running(self, invocation: Invocation, version_number: str, started_at: datetime) -> None:
        """Show that an invocation runs; once it has ended, that stands."""
        self._recorder.put(invocation, Running(version_number, started_at))

    @property
    def full(self) -> bool:
        """Whether too many records wait in memory to be written: then wait for `room` before making more."""
        return self._recorder.full

    async def room(self) -> None:
        """Return when there is room for more records."""
        await self._recorder.room()

    async def flush(self) -> None:
        """Return when all that was put before is committed."""
        await self._recorder.flush()

    async def settled(self) -> None:
        """Return when all that was put before is counted and indexed as well. Nobody needs to wait for that: whoever looks sees it before."""
        await self._clerk.settle_index()

    @property
    def error(self) -> str | None:
        """Why nothing could be written the last time it was tried; None when all is well."""
        return self._recorder.error

    # ---- what is to run later ------------------------------------------------------------------------------------

    async def accept(self, invocations: Sequence[Invocation]) -> None:
        """Write down invocations that are to run later; when this returns they will, whatever happens to the server."""
        if invocations:
            await self._recorder.write(lambda: self._changes.accept(invocations))

    async def claim(self, now: datetime, limit: int, *, skip: Sequence[str] = ()) -> list[Invocation]:
        """Take due invocations to run them, longest due first, leaving those of the functions (ARNs) in `skip`."""
        parameters = {"now": rows.microseconds(now), "limit": limit, "skip": orjson.dumps(skip).decode()}
        claimed = [rows.claimed(row) for row in await self._recorder.write(lambda: [Step("claim", [parameters])])]
        return sorted(claimed, key=lambda invocation: (invocation.due_at or now, invocation.record_key))

    async def finish(self, invocation: Invocation, outcome: Outcome, following: Invocation | None = None) -> None:
        """Record how a claimed invocation ended, and accept its next attempt with it."""
        end = (invocation, outcome)
        await self._recorder.write(lambda: [*self._changes.note([end]), *(self._changes.accept([following]) if following else ())])
        self._clerk.notice()

    async def postpone(self, invocation: Invocation, due_at: datetime) -> None:
        """Put a claimed invocation back until then; it was not an attempt."""
        parameters = {"key": rows.key_bytes(invocation.record_key), "due_at": rows.microseconds(due_at)}
        await self._recorder.write(lambda: [Step("postpone", [parameters])])

    async def next_due(self, *, skip: Sequence[str] = ()) -> datetime | None:
        """When the first pending invocation is due, apart from those of the functions (ARNs) in `skip`."""
        [due_at] = await self._database.rows("next_due", lambda row: row[0], skip=orjson.dumps(skip).decode())
        return None if due_at is None else rows.instant(due_at)

    async def recover(self, now: datetime) -> tuple[int, int]:
        """After a server died: what it ran asynchronously is due at once, in the same attempt; the rest crashed. Gives how many of each."""
        restarted = await self._recorder.write(lambda: [Step("restart_running", [{"now": rows.microseconds(now)}])])
        crashed = await self._recorder.write(lambda: [
            Step("crash_payloads", [{"error": orjson.dumps(_SERVER_ENDED)}]),
            Step("crash_running", [{"error_type": _SERVER_ENDED["errorType"]}]),
        ])
        return len(restarted), len(crashed)

    # ---- looking -------------------------------------------------------------------------------------------------

    @cached_property
    def charts(self) -> Charts:
        """What the roll-ups tell; imported, as lists are, when somebody first looks."""
        from microlam.store.charts import Charts
        return Charts(self._database, self._clerk)

    @cached_property
    def _lists(self) -> Lists:
        from microlam.store.lists import Lists
        return Lists(self._database, self._settle, self._index, self._patience)

    async def invocations(self, filter: InvocationFilter, limit: int = 50, cursor: str | None = None) -> Page:
        """A page of invocations, newest first, with all that was put before; a long search may stop early and say where to go on."""
        return await self._lists.page(filter, limit, cursor)

    async def invocation(self, id: str, attempt: int | None = None) -> Record | None:
        """One invocation with its event, reply or error, and logs: the attempt asked for, else the newest."""
        await self._settle()
        try:
            key = rows.key_bytes(id)
        except ValueError:
            return None
        attempts = tuple(await self._database.rows("attempts", rows.record_of, id=key))
        record = next((record for record in reversed(attempts) if attempt in (None, record.attempt)), None)
        if record is None:
            return None
        found = await self._database.rows("payload", lambda row: row, key=rows.key_bytes(record.key))
        return rows.filled(record, found[0] if found else None, attempts)

    async def children(self, id: str, limit: int = 100) -> list[Record]:
        """The invocations that one led to (retries of its own are its attempts), oldest first."""
        await self._settle()
        try:
            return await self._database.rows("children", rows.record_of, parent=rows.key_bytes(id), limit=limit)
        except ValueError:
            return []

    async def waiting(self) -> list[Waiting]:
        """What is pending, by function, the most first; of very many only the first ten thousand are counted."""
        return await self._database.rows("waiting", rows.waiting_of, most=_COUNTED)

    async def size(self) -> Size:
        """How much the record holds, and how much room it takes."""
        [(invocations, oldest)] = await self._database.rows("size", lambda row: row)
        return Size(
            invocations=invocations, oldest=None if oldest is None else rows.key_instant(oldest),
            bytes=sum(file.stat().st_size for file in self._folder.glob("*.db*")),
        )

    async def _settle(self) -> None:
        # A reader sees what was put before it asked. If the disk takes nothing, it sees what there is.
        with suppress(RecordUnavailable):
            await self.flush()

    # ---- forgetting ----------------------------------------------------------------------------------------------

    async def prune(self, now: datetime, age: float, count: int) -> int:
        """Forget what ended and is older than `age` seconds or beyond about `count` invocations; gives how many. Charts keep what they need."""
        await self._clerk.settle()
        beyond = await self._database.rows("key_beyond_count", lambda row: bytes(row[0]), count=count)
        before = max([rows.key_at(now - timedelta(seconds=age)), *(key + b"\0" for key in beyond)])
        parameters = {"before": before, "batch": _PRUNED_AT_ONCE}
        await self._recorder.write(lambda: [Step("prune_roll_ups", rollups.outdated(now))])
        pruned = 0
        while True:
            gone = await self._recorder.write(lambda: [Step("prune_payloads", [parameters]), Step("prune_invocations", [parameters])])
            pruned += len(gone)
            if len(gone) < _PRUNED_AT_ONCE:
                break
        if self._index and pruned:
            await self._index.forget()
        await self.logs.prune(before)
        return pruned

    # ---- schedules -----------------------------------------------------------------------------------------------

    async def schedule_times(self) -> dict[str, datetime]:
        """When each schedule, by its trigger's id, is next due."""
        return dict(await self._database.rows("schedule_times", lambda row: (row[0], rows.instant(row[1]))))

    async def keep_schedule_times(self, times: Mapping[str, datetime]) -> None:
        """Remember when schedules are next due."""
        kept = [(trigger, rows.microseconds(at)) for trigger, at in times.items()]
        await self._recorder.write(lambda: [Step("keep_schedule_time", kept)])

    async def forget_schedules(self, triggers: Iterable[str]) -> None:
        """Forget schedules that nobody declares any more."""
        gone = [(trigger,) for trigger in triggers]
        await self._recorder.write(lambda: [Step("forget_schedule", gone)])

    async def fire_schedule(self, trigger: str, due: datetime, following: datetime | None, invocations: Sequence[Invocation]) -> bool:
        """Move a schedule on and accept what it starts; True for whoever finds it still due then, so one of many."""
        turn = {"trigger": trigger, "due": rows.microseconds(due)}
        win = Step("end_schedule", [turn], required=True) if following is None else \
            Step("advance_schedule", [turn | {"following": rows.microseconds(following)}], required=True)
        try:
            await self._recorder.write(lambda: [win, *self._changes.accept(invocations)])
        except Undone:
            return False
        return True

    # ---- buckets -------------------------------------------------------------------------------------------------

    async def objects(self, bucket: str) -> dict[str, ObjectRow]:
        """The objects of a bucket by key."""
        return {row.key: row for row in await self._database.rows("objects", rows.object_of, bucket=bucket)}

    async def change_objects(self, bucket: str, put: Sequence[ObjectRow], removed: Sequence[str], invocations: Sequence[Invocation]) -> None:
        """Record what changed in a bucket and accept what that starts: all of it or nothing."""
        await self._recorder.write(lambda: [
            Step("put_object", (rows.object_row(bucket, row) for row in put)),
            Step("remove_object", ((bucket, rows.object_key(key)) for key in removed)),
            *self._changes.accept(invocations),
        ])

    async def bucket_known(self, bucket: str) -> bool:
        """Whether the files of this bucket have been taken in before."""
        return bool(await self._database.rows("bucket_known", len, bucket=bucket))

    async def know_bucket(self, bucket: str) -> None:
        """The files of this bucket have been taken in: a new one is an event from now on."""
        await self._recorder.write(lambda: [Step("know_bucket", [(bucket,)])])


    # ---- documents -----------------------------------------------------------------------------------------------

    async def documents(self, kind: str, owner: str | None = None) -> list[Document]:
        """The documents of one kind, of one owner or of everybody, by owner and name."""
        return await self._database.rows(
            "documents", lambda row: Document(kind=kind, owner=row[0], name=row[1], body=orjson.loads(row[2])), kind=kind, owner=owner,
        )

    async def change_documents(self, keep: Sequence[Document] = (), forget: Sequence[Document] = ()) -> None:
        """Keep documents, in place of those of the same kind, owner and name, and forget others: all of it or nothing, on disk when this returns."""
        kept, gone = [rows.document_row(document) for document in keep], [(document.kind, document.owner, document.name) for document in forget]
        await self._recorder.write(lambda: [*([Step("forget_document", gone)] if gone else ()), *([Step("keep_document", kept)] if kept else ())])


def __getattr__(name: str) -> object:
    # Named by those who look, whose imports come when somebody does.
    if name in ("InvocationFilter", "Page"):
        from microlam.store import lists
        return getattr(lists, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# ---- the data folder -------------------------------------------------------------------------------------------------

def _hold(folder: Path) -> int:
    """Take the folder for this process alone. The descriptor is close-on-exec, so no child keeps the folder when we are gone."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsError(reason=f"The data folder {folder} cannot be used: {error.strerror}. Choose another with --data.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise DataFolderHeld(folder=folder) from None
    return lock
