"""Roll-ups: invocations counted by time, function and version, so that a chart costs the same however many there were. Pure functions.

An invocation counts when it started, or was queued where it never did. Each step of time is kept as long as a chart needs it.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import orjson

from microlam.model import STATUSES
from microlam.store import histogram
from microlam.store.database import Row
from microlam.store.histogram import Histogram
from microlam.store.rows import instant, microseconds

ENDS = STATUSES[2:]
EVERYTHING = 0                      # the function that stands for all of them
ALL = "*"                           # the version that stands for all of them
HOUR, DAY = 3600, 86_400
# Seconds of a step, and for how many seconds its roll-ups are kept. Single seconds are for what was just changed.
STEPS: Mapping[int, int] = {1: HOUR // 2, 60: DAY + 2 * HOUR, 900: 8 * DAY, 7200: 35 * DAY}


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """How many invocations there were, by how they ended, how many of them started cold, and how long they took."""

    ends: tuple[int, ...] = (0,) * len(ENDS)
    cold: int = 0
    durations: Histogram = field(default_factory=dict)

    def count(self, status: str) -> int:
        return self.ends[ENDS.index(status)]

    @property
    def counts(self) -> Mapping[str, int]:
        """By status; every final status is there."""
        return dict(zip(ENDS, self.ends, strict=True))

    @property
    def invocations(self) -> int:
        return sum(self.ends)

    @property
    def errors(self) -> int:
        """What ran and did not succeed; AWS does not count the throttled either."""
        return self.ends[1] + self.ends[2] + self.ends[3]

    @property
    def error_rate(self) -> float | None:
        """Of those that ran; None where none did."""
        ran = self.errors + self.ends[0]
        return self.errors / ran if ran else None

    @property
    def p50(self) -> float | None:
        return histogram.percentile(self.durations, 0.5)

    @property
    def p95(self) -> float | None:
        return histogram.percentile(self.durations, 0.95)

    @property
    def p99(self) -> float | None:
        return histogram.percentile(self.durations, 0.99)


NOTHING = Totals()


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """What started from `at` on, until the next point."""

    at: datetime
    totals: Totals = NOTHING


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A chart's data: a point for every `step` seconds, oldest first; the last one is not over yet.

    `versions` draws each version's own points, which tell no durations.
    """

    step: int
    points: tuple[Point, ...]
    totals: Totals
    versions: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)


class Span(NamedTuple):
    """What a chart shows: so many points of so many seconds."""

    step: int
    points: int


SPANS: Mapping[str, Span] = {"1h": Span(60, 60), "24h": Span(900, 96), "7d": Span(7200, 84)}


class Place(NamedTuple):
    """Where a roll-up belongs: its row's primary key."""

    step: int
    function: int
    at: int                         # seconds since 1970
    version: str


RollUps: TypeAlias = Iterable[tuple[Place, Totals]]


def summed(totals: Iterable[Totals]) -> Totals:
    """All of them together."""
    several = list(totals)
    if len(several) == 1:
        return several[0]
    return Totals(
        ends=tuple(map(sum, zip(*(one.ends for one in several), strict=True))) or NOTHING.ends,
        cold=sum(one.cold for one in several), durations=histogram.merged(one.durations for one in several),
    )


# ---- counting --------------------------------------------------------------------------------------------------------

def counted(rows: Iterable[Row], newest: int) -> dict[Place, Totals]:
    """Rows of `ended_by_second` as what they add to the roll-ups of every step that is kept for so long, when the newest started at `newest`."""
    added: dict[Place, list[Totals]] = {}
    for row in rows:
        at, function, version, totals = row[0], row[1], row[2], _totals(row)
        for step, kept in STEPS.items():
            if at > newest - kept:
                start = at - at % step
                for place in (Place(step, function, start, version), Place(step, function, start, ALL), Place(step, EVERYTHING, start, ALL)):
                    added.setdefault(place, []).append(totals)
    return {place: summed(totals) for place, totals in added.items()}


def by_version(rows: Iterable[Row]) -> dict[str, Totals]:
    """Rows of `ended_by_second`, summed by version."""
    found: dict[str, list[Totals]] = {}
    for row in rows:
        found.setdefault(row[2], []).append(_totals(row))
    return {version: summed(totals) for version, totals in found.items()}


def _totals(row: Row) -> Totals:
    _, _, _, status, ended, cold, durations = row
    return Totals(ends=tuple(ended * (name == STATUSES[status]) for name in ENDS), cold=cold, durations=histogram.histogram(durations))


def roll_up_row(place: Place, totals: Totals) -> Row:
    """The parameters of `keep_roll_up`."""
    return (*place, *totals.ends, totals.cold, orjson.dumps(histogram.to_json(totals.durations)).decode())


def roll_up_of(row: Sequence[Any]) -> tuple[Place, Totals]:
    """A row of `roll_ups`, out of JSON."""
    return Place(*row[:4]), Totals(ends=tuple(row[4:10]), cold=row[10], durations=histogram.from_json(row[11]))


# ---- reading ---------------------------------------------------------------------------------------------------------

def bounds(span: Span, now: datetime) -> tuple[int, int]:
    """From and until when a chart goes, in seconds since 1970: the last point holds `now`."""
    until = microseconds(now) // 1_000_000 // span.step * span.step + span.step
    return until - span.step * span.points, until


def series(span: Span, now: datetime, roll_ups: RollUps, versions: RollUps = ()) -> Series:
    """A chart of these roll-ups, and of each version's."""
    by_time: dict[int, list[Totals]] = {}
    for place, totals in roll_ups:
        by_time.setdefault(place.at, []).append(totals)
    by_version: dict[str, dict[int, Totals]] = {}
    for place, totals in versions:
        by_version.setdefault(place.version, {})[place.at] = totals
    points = {at: summed(several) for at, several in by_time.items()}
    times = range(*bounds(span, now), span.step)
    return Series(
        step=span.step, points=_points(times, points), totals=summed(points.values()),
        versions={version: _points(times, found) for version, found in by_version.items()},
    )


def sparkline(span: Span, now: datetime, points: Mapping[int, Totals], totals: Totals) -> Series:
    """A small chart, whose points tell no durations."""
    return Series(step=span.step, points=_points(range(*bounds(span, now), span.step), points), totals=totals)


def _points(times: Iterable[int], found: Mapping[int, Totals]) -> tuple[Point, ...]:
    return tuple(Point(at=instant(at * 1_000_000), totals=found.get(at, NOTHING)) for at in times)


class Piece(NamedTuple):
    """A stretch of time that roll-ups of one step cover: seconds since 1970."""

    step: int
    since: int
    until: int


END = 1 << 62


def pieces(since: datetime, now: datetime, finest: int = 1) -> list[Piece]:
    """The stretches that follow an instant without a gap, each of the coarsest step that fits; none holds what started before.

    They begin with the first whole step of those that are kept for so long: a second, for what was changed just now.
    """
    age, start = (now - since).total_seconds(), -(-microseconds(since) // 1_000_000)
    usable = [step for step, kept in STEPS.items() if age < kept and step >= finest] or [max(STEPS)]
    at, found = _up(start, usable[0]), []
    for step, coarser in pairwise(usable):
        until = _up(at, coarser)
        found.append(Piece(step, at, until))
        at = until
    return [*(piece for piece in found if piece.since < piece.until), Piece(usable[-1], at, END)]


def _up(seconds: int, step: int) -> int:
    return -(-seconds // step) * step


def outdated(now: datetime) -> Iterator[Mapping[str, int]]:
    """For each step, before when its roll-ups are forgotten: the parameters of `prune_roll_ups`."""
    for step, kept in STEPS.items():
        yield {"step": step, "before": microseconds(now - timedelta(seconds=kept)) // 1_000_000}
