"""What happened over time, from the record's roll-ups: charts, and the numbers beside functions and versions."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from microlam.admin.facts import Facts
from microlam.store import Point, Series, Totals

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions import Function

VERSIONS_DRAWN = 5
PRECISION = "within 2 %"            # of the histograms that percentiles are read from


async def last_hour(lam: Microlam, functions: Sequence[Function]) -> Mapping[str, Facts]:
    """By function: how many, how many failed, how long they took, and a value for each minute."""
    series = await lam.store.charts.by_function("1h", lam.clock.now())
    return {function.arn: _hour(series.get(function.arn)) for function in functions}


def _hour(series: Series | None) -> Facts:
    if series is None:
        return numbers(Totals()) | {"values": [0] * 60, "bad": [0] * 60}
    return numbers(series.totals) | spark(series.points)


def spark(points: Sequence[Point]) -> Facts:
    """What a sparkline is drawn of."""
    return {"values": [point.totals.invocations for point in points], "bad": [point.totals.errors for point in points]}


def numbers(totals: Totals) -> Facts:
    """How many, how many failed, cold starts, and how long they took."""
    return {
        "count": totals.invocations, "errors": totals.errors, "cold": totals.cold,
        "p50": _milliseconds(totals.p50), "p95": _milliseconds(totals.p95), "p99": _milliseconds(totals.p99),
    }


async def of_function(lam: Microlam, arn: str, span: str) -> list[Facts]:
    """A function's charts: by outcome, how long, cold starts, by version."""
    series = await lam.store.charts.series(span, lam.clock.now(), arn)
    if not series.totals.invocations:
        return []
    charts = [by_outcome(series), durations(series), cold_starts(series)]
    return [*charts, by_version(series)] if len(series.versions) > 1 else charts


async def of_everything(lam: Microlam, span: str, function: str | None) -> Facts | None:
    """The chart above a list: one function's, or that of all."""
    series = await lam.store.charts.series(span, lam.clock.now(), function)
    return by_outcome(series) if series.totals.invocations else None


async def of_versions(lam: Microlam, arn: str, since: datetime, now: datetime) -> Mapping[str, Facts]:
    """What each version did since an instant."""
    return {version: numbers(totals) for version, totals in (await lam.store.charts.versions(arn, since, now)).items()}


# ---- charts ----------------------------------------------------------------------------------------------------------

_OUTCOMES = (
    ("succeeded", "ok", ("succeeded",)), ("failed", "bad", ("failed", "crashed")), ("timed out", "warn", ("timed_out",)),
    ("throttled or missed", "soft", ("throttled", "missed")),
)


def by_outcome(series: Series) -> Facts:
    """How many, by how they ended."""
    drawn: list[dict[str, Any]] = [
        {"name": name, "kind": kind, "values": [sum(point.totals.count(status) for status in statuses) for point in series.points]}
        for name, kind, statuses in _OUTCOMES
    ]
    return _chart("Invocations", "count", series, [one for number, one in enumerate(drawn) if number < 2 or any(one["values"])])


def durations(series: Series) -> Facts:
    """How long they took."""
    drawn: list[dict[str, Any]] = [
        {"name": name, "kind": name, "values": [_milliseconds(getattr(point.totals, name)) for point in series.points]} for name in ("p50", "p95", "p99")
    ]
    return _chart("Duration", "ms", series, drawn) | {"note": PRECISION}


def cold_starts(series: Series) -> Facts:
    """How many had to wait for their code to be imported."""
    return _chart("Cold starts", "count", series, [{"name": "cold", "kind": "cold", "values": [point.totals.cold for point in series.points]}])


def by_version(series: Series) -> Facts:
    """How many, by the version that ran: those that ran most, by name."""
    most = sorted(series.versions, key=lambda version: -sum(point.totals.invocations for point in series.versions[version]))[:VERSIONS_DRAWN]
    return _chart("By version", "count", series, [
        {"name": version or "none", "kind": f"v{number}", "values": [point.totals.invocations for point in series.versions[version]]}
        for number, version in enumerate(sorted(most))
    ])


def _chart(title: str, unit: str, series: Series, drawn: Sequence[Mapping[str, Any]]) -> Facts:
    return {"title": title, "unit": unit, "note": "", "step": series.step, "times": [point.at.isoformat() for point in series.points], "series": drawn}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
