"""Charts: what the roll-ups tell of the last hour, day and week. Every percentile is within 2 %."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import orjson

from microlam.errors import InvalidParameter
from microlam.store import rollups, rows
from microlam.store.clerk import Clerk
from microlam.store.rollups import EVERYTHING, NOTHING, SPANS, Piece, Place, Series, Span, Totals
from microlam.store.sqlite import Sqlite

K = TypeVar("K")
T = TypeVar("T")

_KEPT = 100                         # charts; an idle server is asked for a later stretch every minute


class Charts:
    """Reads the roll-ups, with all that was recorded before it is asked. What was drawn is kept until something new is counted."""

    def __init__(self, database: Sqlite, clerk: Clerk) -> None:
        self._database, self._clerk = database, clerk
        self._drawn: dict[Hashable, Any] = {}
        self._drawn_after = -1

    async def series(self, span: str, now: datetime, function: str | None = None) -> Series:
        """The invocations of the last "1h", "24h" or "7d": of one function (a name or an ARN) with each of its versions, or of all together."""
        await self._settle()
        chosen = _span(span)
        stretch = Piece(chosen.step, *rollups.bounds(chosen, now))
        return await self._once((stretch, function), lambda: self._series(chosen, stretch, now, function))

    async def _series(self, span: Span, stretch: Piece, now: datetime, function: str | None) -> Series:
        if function is None:
            return rollups.series(span, now, await self._roll_ups("roll_ups_of_all", _numbers([EVERYTHING]), stretch))
        functions = await self._functions_named(function)
        whole = await self._roll_ups("roll_ups_of_all", functions, stretch)
        return rollups.series(span, now, whole, await self._roll_ups("ends_of_versions", functions, stretch))

    async def by_function(self, span: str, now: datetime) -> dict[str, Series]:
        """A small chart of each function (by its ARN) that was invoked in this time, the busiest first; only its totals tell durations."""
        await self._settle()
        chosen = _span(span)
        stretch = Piece(chosen.step, *rollups.bounds(chosen, now))
        return await self._once(stretch, lambda: self._by_function(chosen, stretch, now))

    async def _by_function(self, span: Span, stretch: Piece, now: datetime) -> dict[str, Series]:
        arns = dict(await self._database.rows("functions", lambda row: (int(row[1]), str(row[0]))))
        functions = _numbers(list(arns))
        points: dict[int, dict[int, Totals]] = {}
        for place, totals in await self._roll_ups("ends_of_all", functions, stretch):
            points.setdefault(place.function, {})[place.at] = totals
        stretches = rollups.pieces(rows.instant(stretch.since * 1_000_000), now, span.step)
        durations = await self._sums("roll_ups_of_all", functions, stretches, lambda place: place.function)
        drawn = {arns[function]: rollups.sparkline(span, now, own, durations[function]) for function, own in points.items()}
        return dict(sorted(drawn.items(), key=lambda item: -item[1].totals.invocations))

    async def versions(self, function: str, since: datetime, now: datetime) -> dict[str, Totals]:
        """What each version of a function did since an instant, such as the last change of its weights; nothing that started before counts."""
        await self._settle()
        stretches = tuple(rollups.pieces(since, now))
        exact = stretches[0].step == 1
        return await self._once((function, stretches, since if exact else None), lambda: self._versions(function, stretches, since if exact else None))

    async def _versions(self, function: str, stretches: Sequence[Piece], exactly_since: datetime | None) -> dict[str, Totals]:
        functions = await self._functions_named(function)
        found = await self._sums("roll_ups_of_versions", functions, stretches, lambda place: place.version)
        if exactly_since:
            for version, totals in (await self._first_second(functions, exactly_since, stretches[0].since)).items():
                found[version] = rollups.summed([found.get(version, NOTHING), totals])
        return dict(sorted(found.items()))

    async def _settle(self) -> None:
        await self._clerk.settle()
        if self._drawn_after != self._clerk.counted or len(self._drawn) > _KEPT:
            self._drawn, self._drawn_after = {}, self._clerk.counted

    async def _once(self, what: Hashable, draw: Callable[[], Awaitable[T]]) -> T:
        kept = self._drawn
        if what not in kept:
            kept[what] = await draw()
        found: T = kept[what]
        return found

    async def _functions_named(self, function: str) -> str:
        return _numbers(await self._database.rows("functions_named", lambda row: int(row[0]), function=function))

    async def _sums(self, query: str, functions: str, stretches: Iterable[Piece], key: Callable[[Place], K]) -> dict[K, Totals]:
        """The totals of several stretches of time, by function or version."""
        found: dict[K, list[Totals]] = {}
        for stretch in stretches:
            for place, totals in await self._roll_ups(query, functions, stretch):
                found.setdefault(key(place), []).append(totals)
        return {name: rollups.summed(several) for name, several in found.items()}

    async def _roll_ups(self, query: str, functions: str, stretch: Piece) -> list[tuple[Place, Totals]]:
        [found] = await self._database.rows(
            query, lambda row: [rollups.roll_up_of(row) for row in orjson.loads(row[0])],
            functions=functions, step=stretch.step, since=stretch.since, until=stretch.until,
        )
        return found

    async def _first_second(self, functions: str, since: datetime, until: int) -> Mapping[str, Totals]:
        """Before the first whole second: read from the records themselves, so that what follows a change at once counts at once."""
        # A moment earlier by key: what was made before that instant may have started after it.
        [found] = await self._database.rows(
            "ended_between", lambda row: rollups.by_version(orjson.loads(row[0])), functions=functions,
            since=rows.microseconds(since), until=until * 1_000_000, made_since=rows.key_at(since - timedelta(seconds=1)),
            made_until=rows.key_at(rows.instant(until * 1_000_000)),
        )
        return found


def _numbers(functions: Sequence[int]) -> str:
    return orjson.dumps(functions).decode()


def _span(name: str) -> Span:
    if name not in SPANS:
        raise InvalidParameter(reason=f"span is {name[:40]!r}; it must be one of {', '.join(SPANS)}.")
    return SPANS[name]
