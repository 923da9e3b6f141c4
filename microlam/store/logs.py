"""Logs: what invocations printed, by function and by the stream of the worker that ran them, in the order in which they ended."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from microlam.store import rows
from microlam.store.database import Row, Step, Unit
from microlam.store.sqlite import Sqlite

_LAST_NAME = "\U0010ffff"
_LAST_TIME = 1 << 62


# ---- values ----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True, slots=True)
class LogGroupRow:
    """That a function has logged, since when, and how many bytes."""

    arn: str
    created_at: datetime
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LogStreamRow:
    """A worker's log stream."""

    name: str
    number: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, order=True, slots=True)
class LogPlace:
    """A place among logs: when one was written, which attempt's it is, and how many of its events come before."""

    at: int                             # microseconds
    key: str = ""
    event: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """All that one invocation printed; it is logged when it ends."""

    place: LogPlace
    at: datetime
    stream: str
    text: bytes


# ---- reading ---------------------------------------------------------------------------------------------------------

class Logs:
    """Reads the logs, with all that was recorded before it is asked."""

    def __init__(self, database: Sqlite, write: Callable[[Unit], Awaitable[list[Row]]], settle: Callable[[], Awaitable[None]]) -> None:
        self._database, self._write, self._settle = database, write, settle

    async def groups(self, begin: str) -> list[LogGroupRow]:
        """The functions that have logged something and whose ARNs begin so, by ARN."""
        await self._settle()
        return await self._database.rows("log_groups", _group_of, begin=begin)

    async def stream(self, arn: str, name: str) -> LogStreamRow | None:
        """One stream of a function."""
        await self._settle()
        found = await self._database.rows("log_stream", _stream_of, arn=arn, name=name)
        return found[0] if found else None

    async def streams_by_name(self, arn: str, limit: int, *, begin: str = "", after: str | None = None, descending: bool = False) -> list[LogStreamRow]:
        """A function's streams whose names begin so, in the order of their names, past one of them."""
        await self._settle()
        query, name = ("log_streams_down", after or _LAST_NAME) if descending else ("log_streams_up", after or "")
        return await self._database.rows(query, _stream_of, arn=arn, limit=limit, begin=begin, name=name)

    async def streams_by_time(self, arn: str, limit: int, *, after: tuple[int, str] | None = None, descending: bool = False) -> list[LogStreamRow]:
        """A function's streams in the order of their last logs, past one of them (microseconds and name)."""
        await self._settle()
        query, (at, name) = ("log_streams_newest", after or (_LAST_TIME, _LAST_NAME)) if descending else ("log_streams_oldest", after or (0, ""))
        return await self._database.rows(query, _stream_of, arn=arn, limit=limit, at=at, name=name)

    async def read(
        self, arn: str, start: LogPlace, since: int, until: int, limit: int, *, streams: Sequence[str] | None = None, begin: str = "", backward: bool = False,
    ) -> list[Logged]:
        """What a function logged since one instant and before another (microseconds), from `start` on or backwards.

        All of it, or that of some streams by name, or of those whose names begin so.
        """
        await self._settle()
        # The range leads straight to `start`: what comes before it is not even looked at.
        since, until = (since, min(until, start.at + 1)) if backward else (max(since, start.at), until)
        numbers = None
        if streams is not None or begin:
            found = await self._numbers(arn, streams, begin)
            if not found:
                return []
            numbers = orjson.dumps([number for number, _, _ in found]).decode()
            since, until = max(since, min(first for _, first, _ in found)), min(until, max(last for _, _, last in found) + 1)
        return await self._database.rows(
            "logs_back" if backward else "logs_on", _logged_of, arn=arn, since=since, until=until, streams=numbers, at=start.at,
            key=rows.key_bytes(start.key) if start.key else b"", limit=limit,
        )

    async def _numbers(self, arn: str, streams: Sequence[str] | None, begin: str) -> list[tuple[int, int, int]]:
        """The streams that are meant: number, first and last log."""
        def make(row: Row) -> tuple[int, int, int]:
            return row[0], row[1], row[2]

        if streams is None:
            return await self._database.rows("log_streams_beginning", make, arn=arn, begin=begin)
        return await self._database.rows("log_streams_named", make, arn=arn, names=orjson.dumps(streams).decode())

    # ---- forgetting ---------------------------------------------------------------------------------------------

    async def forget(self, arn: str) -> None:
        """A function's logs are no longer shown; the invocations stay on record."""
        await self._write(lambda: [Step("forget_log_streams", [(arn,)]), Step("forget_log_group", [(arn,)])])

    async def prune(self, before: bytes) -> None:
        """Forget the streams of which nothing is on record any more, once that before a key has been forgotten."""
        # Nothing is logged before it is queued, which its key tells: a stream that old has lost all it had.
        old = {"at": int.from_bytes(before[:6], "big") * 1000}
        await self._write(lambda: [Step("shrink_log_groups", [old]), Step("prune_log_streams", [old])])


# ---- writing ---------------------------------------------------------------------------------------------------------

def noted(ends: Sequence[tuple[Row, Row]]) -> tuple[list[Row], list[Row]]:
    """The parameters of `note_log_group` and `note_log_stream` for rows of ended invocations: one for each function, and each worker, that logged something."""
    groups: dict[int, tuple[int, int]] = {}
    streams: dict[tuple[int, str, int], tuple[int, int, int]] = {}
    for (_, _, function, *_, number, at), (*_, output, name, _) in ends:
        if at is not None:
            size = len(output)
            first, total = groups.get(function, (at, 0))
            groups[function] = min(first, at), total + size
            stream = function, name, number
            begun, last, held = streams.get(stream, (at, at, 0))
            streams[stream] = min(begun, at), max(last, at), held + size
    return [(function, *facts) for function, facts in groups.items()], [(*stream, *facts) for stream, facts in streams.items()]


# ---- rows to values --------------------------------------------------------------------------------------------------

def _group_of(row: Row) -> LogGroupRow:
    arn, created_at, size = row
    return LogGroupRow(arn=arn, created_at=rows.instant(created_at), size=size)


def _stream_of(row: Row) -> LogStreamRow:
    name, number, first_at, last_at = row
    return LogStreamRow(name=name, number=number, first_at=rows.instant(first_at), last_at=rows.instant(last_at))


def _logged_of(row: Row) -> Logged:
    at, key, stream, text = row
    return Logged(place=LogPlace(at, rows.key_text(key)), at=rows.instant(at), stream=stream or "", text=text or b"")
