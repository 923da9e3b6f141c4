"""Charts: what the roll-ups tell of the last hour, day and week. Every percentile is within 2 %."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import orjson

from microlam.errors import InvalidParameter
from microlam.store import rollups, rows
from microlam.store.rollups import EVERYTHING, SPANS, Place, Series, Span, Totals
from microlam.store.sqlite import Sqlite


class Charts:
    """Reads the roll-ups, with all that was recorded before it is asked."""

    def __init__(self, database: Sqlite, settle: Callable[[], Awaitable[None]]) -> None:
        self._database, self._settle = database, settle

    async def series(self, span: str, now: datetime, function: str | None = None) -> Series:
        """The invocations of the last "1h", "24h" or "7d": of one function (a name or an ARN) with each of its versions, or of all together."""
        await self._settle()
        chosen = _span(span)
        functions = [EVERYTHING] if function is None else await self._database.rows("functions_named", lambda row: int(row[0]), function=function)
        drawn = rollups.series(chosen, now, await self._roll_ups(functions, chosen, now))
        return rollups.without_versions(drawn) if function is None else drawn

    async def by_function(self, span: str, now: datetime) -> dict[str, Series]:
        """The same of each function (by its ARN) that was invoked in this time, without its versions; what was invoked most comes first."""
        await self._settle()
        arns = dict(await self._database.rows("functions", lambda row: (row[1], row[0])))
        found: dict[int, list[tuple[Place, Totals]]] = {}
        for place, totals in await self._roll_ups(list(arns), _span(span), now):
            found.setdefault(place.function, []).append((place, totals))
        drawn = {arns[function]: rollups.without_versions(rollups.series(_span(span), now, several)) for function, several in found.items()}
        return dict(sorted(drawn.items(), key=lambda item: -sum(point.totals.invocations for point in item[1].points)))

    async def versions(self, function: str, since: datetime, now: datetime) -> dict[str, Totals]:
        """What each version of a function did since an instant, such as the last change of its weights; nothing that started before counts."""
        await self._settle()
        functions = orjson.dumps(await self._database.rows("functions_named", lambda row: int(row[0]), function=function)).decode()
        stretches = rollups.pieces(since, now)
        found: dict[str, list[Totals]] = {}
        for piece in stretches:
            for place, totals in await self._stretch(functions, *piece):
                found.setdefault(place.version, []).append(totals)
        if stretches[0].step == 1:
            for version, totals in (await self._first_second(functions, since, stretches[0].since)).items():
                found.setdefault(version, []).append(totals)
        return {version: rollups.summed(several) for version, several in sorted(found.items())}

    async def _roll_ups(self, functions: list[int], span: Span, now: datetime) -> list[tuple[Place, Totals]]:
        return await self._stretch(orjson.dumps(functions).decode(), span.step, *rollups.bounds(span, now))

    async def _stretch(self, functions: str, step: int, since: int, until: int) -> list[tuple[Place, Totals]]:
        [found] = await self._database.rows(
            "roll_ups_between", lambda row: [rollups.roll_up_of(row) for row in orjson.loads(row[0])],
            functions=functions, step=step, since=since, until=until,
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


def _span(name: str) -> Span:
    if name not in SPANS:
        raise InvalidParameter(reason=f"span is {name[:40]!r}; it must be one of {', '.join(SPANS)}.")
    return SPANS[name]
