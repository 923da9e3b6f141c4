"""The clerk: behind the recorder's back, it keeps the roll-ups and the index of words abreast of what has ended.

It writes in steps of its own, which nobody waits for. Roll-ups follow within a second, and whoever reads a chart has them
brought up before; the index rests nineteen twentieths of the time while invocations come, and a search looks at what is not in it yet.
"""
from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

import orjson

from microlam.errors import RecordUnavailable
from microlam.store import rollups
from microlam.store.database import Row, Step, Undone
from microlam.store.index import Index
from microlam.store.recorder import Recorder
from microlam.store.rollups import Place, Totals
from microlam.store.sqlite import Sqlite

_log = logging.getLogger(__name__)

PAUSE = 1.0                         # seconds between steps that nobody waits for
COUNTED_AT_ONCE = 10_000            # ended invocations
INDEXED_AT_ONCE = 500               # records: some milliseconds
REST = 19                           # times as long as a batch took, the index rests while invocations come


class Clerk:
    """Counts what has ended into the roll-ups, and has it indexed."""

    def __init__(self, database: Sqlite, recorder: Recorder, index: Index | None) -> None:
        self._database, self._recorder, self._index = database, recorder, index
        self._news = asyncio.Event()
        self._news.set()                # what a server before this one left
        recorder.noted = self.notice
        self._one_at_a_time = asyncio.Lock()
        self.counted = 0                # batches; while it stays, no roll-up has changed
        self._unindexed = asyncio.Event()
        self._unindexed.set()
        self._tasks = [asyncio.create_task(self._keep_counting(), name="clerk")]
        if index:
            self._tasks.append(asyncio.create_task(self._keep_indexing(index), name="indexing clerk"))

    def notice(self) -> None:
        """That something has ended has been written."""
        self._news.set()

    async def settle(self) -> None:
        """Return when all that was put before is counted; if the disk takes nothing, what there was stands."""
        with suppress(RecordUnavailable):
            await self._count_all()

    async def settle_index(self) -> None:
        """Return when all that was put before is counted and indexed."""
        await self._count_all()
        while self._index and await self._index_batch(self._index):
            pass

    async def close(self) -> None:
        """End; what is not counted yet will be when the folder is opened again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _keep_counting(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._count_all()
            except RecordUnavailable as error:
                _log.debug("not counted: %s", error)
                self._news.set()
            await asyncio.sleep(PAUSE)

    async def _count_all(self) -> None:
        await self._recorder.flush()
        while await self._count():
            pass

    async def _count(self) -> bool:
        """Count the next batch of what has ended; gives whether there may be more."""
        async with self._one_at_a_time:
            [(first, last, ended, added)] = await self._database.rows("newly_ended", _added, limit=COUNTED_AT_ONCE)
            if last is None:
                return False
            places = orjson.dumps([tuple(place) for place in added]).decode()
            [there] = await self._database.rows("roll_ups_at", lambda row: dict(map(rollups.roll_up_of, orjson.loads(row[0]))), places=places)
            changed = [rollups.roll_up_row(place, rollups.summed([totals, there.get(place, rollups.NOTHING)])) for place, totals in added.items()]
            done = [{"last": last}]
            to_index = [Step("note_unindexed", done)] if self._index else []
            begin = Step("begin_counting", [{"first": first}], required=True)
            # One who stopped waiting may have left a batch to be written, which is read a second time here.
            with suppress(Undone):
                await self._recorder.write(lambda: [*to_index, begin, Step("forget_ended", done), Step("keep_roll_up", changed)])
            self.counted += 1
            self._unindexed.set()
            return bool(ended == COUNTED_AT_ONCE)

    async def _keep_indexing(self, index: Index) -> None:
        while True:
            await self._unindexed.wait()
            self._unindexed.clear()
            try:
                await self._index_all(index)
            except RecordUnavailable as error:
                _log.debug("not indexed: %s", error)
                self._unindexed.set()
                await asyncio.sleep(PAUSE)

    async def _index_all(self, index: Index) -> None:
        started = time.monotonic()
        while await self._index_batch(index):
            if self._news.is_set():
                await asyncio.sleep(REST * (time.monotonic() - started))
            started = time.monotonic()

    async def _index_batch(self, index: Index) -> bool:
        """Index the next batch of what has ended; gives whether there may be more."""
        async with self._one_at_a_time:
            [(first, last, count)] = await self._database.rows("next_unindexed", lambda row: row, limit=INDEXED_AT_ONCE)
            if last is None:
                return False
            await index.add(first, last)
            await self._recorder.write(lambda: [Step("forget_unindexed", [{"last": last}])])
            return bool(count == INDEXED_AT_ONCE)


def _added(row: Row) -> tuple[int | None, int | None, int, dict[Place, Totals]]:
    first, last, ended, newest, seconds = row
    return first, last, ended, rollups.counted(orjson.loads(seconds), newest or 0)
