"""The clerk: behind the recorder's back, it keeps the roll-ups abreast of what has ended.

It writes in steps of their own, once a second at most, so an invocation pays for none of it; whoever reads a chart has it done before.
"""
from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import orjson

from microlam.errors import RecordUnavailable
from microlam.store import rollups
from microlam.store.database import Row, Step
from microlam.store.recorder import Recorder
from microlam.store.rollups import Place, Totals
from microlam.store.sqlite import Sqlite

_log = logging.getLogger(__name__)

PAUSE = 1.0                         # seconds between steps that nobody waits for
BATCH = 10_000                      # ended invocations in one step


class Clerk:
    """Counts what has ended into the roll-ups."""

    def __init__(self, database: Sqlite, recorder: Recorder) -> None:
        self._database, self._recorder = database, recorder
        self._news = asyncio.Event()
        self._news.set()                # what a server before this one left
        self._one_at_a_time = asyncio.Lock()
        self._task = asyncio.create_task(self._run(), name="clerk")

    def notice(self) -> None:
        """Something has ended, or is about to be written."""
        self._news.set()

    async def settle(self) -> None:
        """Return when all that was put before is counted; if the disk takes nothing, what there was stands."""
        with suppress(RecordUnavailable):
            await self._count_all()

    async def close(self) -> None:
        """End; what is not counted yet will be when the folder is opened again."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
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
            [(last, ended, added)] = await self._database.rows("newly_ended", _added, limit=BATCH)
            if last is None:
                return False
            places = orjson.dumps([tuple(place) for place in added]).decode()
            [there] = await self._database.rows("roll_ups_at", lambda row: dict(map(rollups.roll_up_of, orjson.loads(row[0]))), places=places)
            changed = [rollups.roll_up_row(place, rollups.summed([totals, there.get(place, rollups.NOTHING)])) for place, totals in added.items()]
            await self._recorder.write(lambda: [Step("keep_roll_up", changed), Step("forget_ended", [{"last": last}])])
            return bool(ended == BATCH)


def _added(row: Row) -> tuple[int | None, int, dict[Place, Totals]]:
    last, ended, seconds = row
    return last, ended, rollups.counted(orjson.loads(seconds))
