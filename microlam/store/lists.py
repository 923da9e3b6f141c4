"""Lists of invocations, newest first: which index leads, what the filter leaves, and where a search that took too long goes on."""
from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from microlam.errors import InvalidParameter
from microlam.model import STATUSES
from microlam.store import rows, words
from microlam.store.index import COMMON, Index, place
from microlam.store.rows import Record
from microlam.store.sqlite import Sqlite

CANDIDATES = 500                    # rows looked at in one go where a filter has no index of its own
_NEWEST = b"\xff" * 17

LIVE = frozenset({"pending", "running"})
FAILED = frozenset(STATUSES[3:])
_NARROW = ("list_function_failed", "list_failed", "list_status", "list_function_cause", "list_cause")


@dataclass(frozen=True, kw_only=True, slots=True)
class InvocationFilter:
    """Which invocations a list shows; what is None does not matter.

    `function` is a name or an ARN, `status` one or several, `qualifier` the version or alias that was asked for. `since` and `until` say when
    an invocation was made (from the one on, before the other), `longest` and `shortest` how many seconds it may have taken.
    Every word of `q` must occur in the summary, event, reply, error or logs; words.py says what a word is.
    """

    function: str | None = None
    status: str | tuple[str, ...] | None = None
    cause: str | None = None
    version: str | None = None
    qualifier: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    shortest: float | None = None
    longest: float | None = None
    q: str | None = None

    @property
    def statuses(self) -> frozenset[str]:
        return frozenset() if not self.status else frozenset({self.status} if isinstance(self.status, str) else self.status)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some records, newest first, and the cursor that leads on; None: there are no more.

    A page that is `unfinished` took too long to fill: from its cursor on there may be more, or none.
    """

    records: tuple[Record, ...]
    next: str | None = None
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """The query that leads, and whether it answers the filter alone."""

    query: str
    alone: bool = False


class Lists:
    """Reads pages of the record."""

    def __init__(self, database: Sqlite, settle: Callable[[], Awaitable[None]], index: Index | None, patience: float) -> None:
        self._database, self._settle, self._index, self._patience = database, settle, index, patience

    async def page(self, filter: InvocationFilter, limit: int, cursor: str | None) -> Page:
        """A page of what the filter leaves; one that takes too long stops early and says where to go on."""
        await self._settle()
        functions = None if filter.function is None else await self._database.rows("functions_named", lambda row: int(row[0]), function=filter.function)
        if functions == [] or not filter.statuses <= set(STATUSES):
            return Page(records=())
        before, found, deadline = _before(cursor, filter.until), list[Record](), time.monotonic() + self._patience
        parameters = _parameters(filter, functions)
        plan = leading(filter, functions)
        if match := await self._words_lead(filter, plan):
            plan = _Plan("list_words")
            parameters |= match
        # By words most of what is looked at fits, and looking into payloads costs more; so it begins with few.
        chunk = limit + 1 if plan.alone or plan.query == "list_words" else max(CANDIDATES, limit + 1)
        while True:
            bounds = {"before": before, "before_place": place(before), "after_place": place(parameters["after"])}
            examined, last, records = await self._candidates(plan.query, parameters | bounds | {"chunk": chunk, "limit": limit + 1 - len(found)})
            found += records
            if len(found) > limit:
                return Page(records=tuple(found[:limit]), next=found[limit - 1].key)
            if examined < chunk:
                return Page(records=tuple(found))
            if time.monotonic() > deadline:
                return Page(records=tuple(found), next=rows.key_text(last), unfinished=True)
            before, chunk = last, max(CANDIDATES, limit + 1)

    async def _words_lead(self, filter: InvocationFilter, plan: _Plan) -> dict[str, Any] | None:
        """The parameters of `list_words`, where that narrows more than the list that would lead without."""
        sought = words.words(filter.q or "")
        if self._index is None or not sought or (filter.statuses and filter.statuses <= LIVE):
            return None
        oldest = await self._index.oldest()
        if len(sought) == 1 and plan.query not in _NARROW:
            match = words.match(sought)
        else:
            match, count = await self._index.lead(sought)
            if plan.query in _NARROW and count >= COMMON:
                return None
        return {"match": match, "after": oldest if filter.since is None else max(oldest, rows.key_at(filter.since))}

    async def _candidates(self, query: str, parameters: Mapping[str, Any]) -> tuple[int, bytes, list[Record]]:
        found = await self._database.rows(query, lambda row: (row[0], row[1], None if row[2] is None else rows.record_of(row[2:])), **parameters)
        examined, last, _ = found[0]
        return examined, last, [record for _, _, record in found if record is not None]


def leading(filter: InvocationFilter, functions: Sequence[int] | None) -> _Plan:
    """The list whose index narrows most, and whether that answers the filter alone."""
    asked = {
        name for name in ("function", "status", "cause", "version", "qualifier", "shortest", "longest", "q") if getattr(filter, name) not in (None, "", ())
    }
    statuses, one_function = filter.statuses, functions is not None and len(functions) == 1
    if statuses and statuses <= LIVE:                       # few, whatever the function
        return _Plan("list_status" if len(statuses) == 1 else "list_live", asked == {"status"})
    if one_function and statuses <= FAILED and len(statuses) == 1:
        return _Plan("list_function_failed", asked == {"function", "status"})
    if statuses and statuses <= FAILED:
        return _Plan("list_status" if len(statuses) == 1 else "list_failed", asked == {"status"} and len(statuses) in (1, len(FAILED)))
    caused = filter.cause not in (None, "", "http")
    if one_function:
        return _Plan("list_function_cause", asked == {"function", "cause"}) if caused else _Plan("list_function", asked == {"function"})
    if caused:
        return _Plan("list_cause", asked == {"cause"})
    return _Plan("list_all", not asked)


def _parameters(filter: InvocationFilter, functions: Sequence[int] | None) -> dict[str, Any]:
    q = filter.q or ""
    words.check(q)
    numbers = sorted(map(STATUSES.index, filter.statuses))
    return {
        "function": functions[0] if functions else None, "functions": orjson.dumps(functions).decode() if functions else None,
        "status": numbers[0] if numbers else None, "statuses": orjson.dumps(numbers).decode() if numbers else None,
        "cause": filter.cause, "version": filter.version, "qualifier": filter.qualifier,
        "shortest": _microseconds(filter.shortest), "longest": _microseconds(filter.longest),
        "after": b"" if filter.since is None else rows.key_at(filter.since), "q": q, "likes": words.likes(q),
    }


def _microseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000_000)


def _before(cursor: str | None, until: datetime | None) -> bytes:
    try:
        newest = _NEWEST if cursor is None else rows.key_bytes(cursor)
    except ValueError:
        raise InvalidParameter(reason=f"{cursor!r} is not a cursor") from None
    return newest if until is None else min(newest, rows.key_at(until))
