"""Invocations as lists show them, and the filters a list may have. Pure functions of records and of a page's query."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from microlam.admin.facts import Facts
from microlam.admin.forms import instant, one_of
from microlam.admin.words import result, what
from microlam.errors import InvalidParameter, NotFound
from microlam.events.http import summary
from microlam.model import LATEST, STATUSES, Invocation, Outcome
from microlam.store import InvocationFilter, Record, record_json

if TYPE_CHECKING:
    from microlam.app import Microlam

FAILURES = "failures"           # every status but success: a filter's word for all of them
FAILED = STATUSES[3:]
CAUSES = ("http", "invoke", "schedule", "file", "replay", "test")
RANGES = {"1h": 3600, "24h": 86_400, "7d": 604_800}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which of those that end a live list shows; what is None does not matter."""

    function: str | None = None
    status: str | None = None
    cause: str | None = None
    version: str | None = None
    qualifier: str | None = None

    def matches(self, invocation: Invocation, outcome: Outcome) -> bool:
        """Whether this one is among them."""
        return (
            (self.function is None or self.function in (invocation.arn, invocation.arn.rpartition(":")[2]))
            and (self.status in (None, outcome.status) or (self.status == FAILURES and not outcome.ok))
            and self.cause in (None, invocation.cause) and self.version in (None, outcome.version) and self.qualifier in (None, invocation.qualifier)
        )


def wanted_of(query: Mapping[str, str]) -> Wanted:
    """The part of a list's filter that can be told of an invocation as it ends."""
    return Wanted(**{field.name: query.get(field.name) or None for field in fields(Wanted)})


def filter_of(query: Mapping[str, str], now: datetime) -> InvocationFilter:
    """A list's whole filter."""
    status, span = one_of("status", (*STATUSES, FAILURES), query.get("status")), one_of("range", list(RANGES), query.get("range"))
    since = now - timedelta(seconds=RANGES[span]) if span else _instant(query, "since")
    return InvocationFilter(
        function=query.get("function") or None, status=tuple(FAILED) if status == FAILURES else status, cause=one_of("cause", CAUSES, query.get("cause")),
        version=query.get("version") or None, qualifier=query.get("qualifier") or None, since=since, until=_instant(query, "until"),
        shortest=_seconds(query, "slower"), longest=_seconds(query, "faster"), q=query.get("q") or None,
    )


def _instant(query: Mapping[str, str], name: str) -> datetime | None:
    return instant(name, query[name]) if query.get(name) else None


def _seconds(query: Mapping[str, str], name: str) -> float | None:
    """A duration, asked for in milliseconds."""
    text = query.get(name)
    if not text:
        return None
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise InvalidParameter(reason=f"{name} is {text[:40]!r}; it must be a number of milliseconds.")
    return float(text) / 1000


def row(record: Record) -> Facts:
    """A record with what it was in words."""
    return record_json(record) | {"words": what(record.cause, record.summary), "result": result(record.status, record.error_type)}


def row_of(invocation: Invocation, outcome: Outcome) -> Facts:
    """An invocation that ended this moment, as its record will be."""
    error = outcome.error
    return row(Record(
        id=invocation.id, key=invocation.record_key, arn=invocation.arn, cause=invocation.cause, status=outcome.status, queued_at=invocation.queued_at,
        version=outcome.version, qualifier=invocation.qualifier, summary=summary(invocation, outcome) if invocation.cause == "http" else invocation.summary,
        attempt=invocation.attempt, started_at=outcome.started_at, duration=outcome.duration if outcome.started_at else None, init=outcome.init,
        cold=outcome.cold, memory=outcome.memory, error_type=str(error.get("errorType", "")) if error else None, parent=invocation.parent,
    ))




# ---- what a page offers to choose from, and where one comes from ------------------------------------------------------

async def children_of(lam: Microlam, record: Record) -> list[Facts]:
    """What an invocation led to."""
    return [row(child) for child in await lam.store.children(record.id)]


def check_target(lam: Microlam, arn: str, target: str) -> None:
    """Raise NotFound unless an event can be sent to this version or alias; an empty one is `$LATEST`."""
    choices = target_choices(lam, arn)
    if target not in ("", LATEST, *choices):
        raise NotFound(reason=f"{arn.rpartition(':')[2]} has no version or alias {target[:40]}; there are: {', '.join(choices)}.")


def target_choices(lam: Microlam, arn: str) -> list[str]:
    """What an event can be sent to: `$LATEST`, the aliases, the versions, the newest first."""
    if arn not in lam.functions:
        return []
    latest = [LATEST] if any(function.arn == arn for function in lam.functions.all()) else []
    return [*latest, *(alias.name for alias in lam.functions.aliases(arn)), *(version.number for version in lam.functions.versions(arn))]
