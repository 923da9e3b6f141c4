"""Invocations as lists show them, and the filters a list may have. Pure functions of records and of a page's query."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from microlam.admin.facts import Facts
from microlam.admin.forms import one_of
from microlam.admin.words import result, what
from microlam.events.http import summary
from microlam.model import LATEST, STATUSES, Invocation, Outcome
from microlam.store import InvocationFilter, Record, record_json

if TYPE_CHECKING:
    from microlam.app import Microlam

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
            (self.function is None or self.function in (invocation.arn, invocation.arn.rpartition(":")[2])) and self.status in (None, outcome.status)
            and self.cause in (None, invocation.cause) and self.version in (None, outcome.version) and self.qualifier in (None, invocation.qualifier)
        )


def wanted_of(query: Mapping[str, str]) -> Wanted:
    """The part of a list's filter that can be told of an invocation as it ends."""
    return Wanted(**{field.name: query.get(field.name) or None for field in fields(Wanted)})


def filter_of(query: Mapping[str, str], now: datetime) -> InvocationFilter:
    """A list's whole filter."""
    return InvocationFilter(
        function=query.get("function") or None, status=one_of("status", STATUSES, query.get("status")), cause=one_of("cause", CAUSES, query.get("cause")),
        version=query.get("version") or None, qualifier=query.get("qualifier") or None, q=query.get("q") or None,
    )


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


async def target_choices(lam: Microlam, arn: str) -> list[str]:
    """The aliases and versions of a function that an event can be sent to, `$LATEST` last."""
    return [LATEST]


async def version_choices(lam: Microlam, function: str | None) -> list[str]:
    """The versions and aliases a filter can name, of the function it names."""
    return []
