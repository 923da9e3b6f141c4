"""Charts: histograms and stretches of time by value, then what the roll-ups of real databases in real folders tell."""
from __future__ import annotations

import asyncio
import math
import random
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from microlam.errors import InvalidParameter
from microlam.model import STATUSES, Invocation, Outcome, function_arn, new_id
from microlam.store import InvocationFilter, Store
from microlam.store import __file__ as store_file
from microlam.store.histogram import ERROR, bucket, from_json, histogram, merged, middle, percentile, to_json
from microlam.store.rollups import STEPS, pieces
from tests.conftest import OpenStore

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
HELLO = function_arn("hello")



# ---- histograms ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("microseconds", [1, 2, 7, 50, 999, 1000, 12_345, 1_000_000, 15 * 60 * 1_000_000, 10**12])
def test_a_bucket_stands_for_its_durations_within_two_percent(microseconds: int) -> None:
    assert ERROR < 0.02
    assert middle(bucket(microseconds)) * 1_000_000 == pytest.approx(microseconds, rel=ERROR + 1e-9)


@pytest.mark.parametrize("share", [0.001, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0])
def test_a_percentile_is_within_two_percent_of_the_exact_one(share: float) -> None:
    dice = random.Random(7)
    durations = sorted(round(dice.lognormvariate(10, 2)) for _ in range(5000))

    found = percentile(histogram(durations), share)

    assert found is not None
    assert found * 1_000_000 == pytest.approx(durations[math.ceil(share * 5000) - 1], rel=ERROR + 1e-9)


def test_histograms_add_up_to_the_histogram_of_all() -> None:
    dice = random.Random(8)
    parts = [[dice.randrange(10 ** dice.randrange(1, 8)) for _ in range(dice.randrange(40))] for _ in range(20)]

    assert merged(map(histogram, parts)) == histogram(duration for part in parts for duration in part)
    assert [from_json(to_json(histogram(part))) for part in parts] == list(map(histogram, parts))


def test_nothing_has_no_percentile() -> None:
    assert histogram([]) == merged([]) == merged([{}, {}]) == from_json(to_json({})) == {}
    assert percentile({}, 0.5) is None
    assert percentile(histogram([0]), 0.5) == 0.0


# ---- stretches of time -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("age", [0.0, 0.4, 1, 61, 599.5, 1799, 1801, 5000, 86_400, 100_000, 600_000, 700_000, 3_000_000, 40 * 86_400])
def test_stretches_follow_an_instant_without_gap_or_overlap(age: float) -> None:
    since, now = NOON - timedelta(seconds=age), NOON
    found = pieces(since, now)

    assert all(one.until == other.since for one, other in pairwise(found))
    assert all(piece.since % piece.step == 0 for piece in found)
    assert since <= datetime.fromtimestamp(found[0].since, UTC) < since + timedelta(seconds=found[0].step)
    assert found[-1].until > NOON.timestamp() + 10**9
    assert all(age < STEPS[piece.step] for piece in found) or [piece.step for piece in found] == [max(STEPS)]


# ---- stores ----------------------------------------------------------------------------------------------------------

def before(seconds: float) -> datetime:
    return NOON - timedelta(seconds=seconds)


def put(store: Store, age: float = 1.0, status: str = "succeeded", function: str = "hello", **facts: Any) -> Invocation:
    """Record an invocation that started (or, if it was never started, was queued) so many seconds before noon."""
    milliseconds = int(before(age).timestamp() * 1000)
    id = f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}" + new_id()[13:]
    given = Invocation(id=id, arn=function_arn(function), payload=b"{}", cause="http", queued_at=before(age))
    started = None if status in ("throttled", "missed") else before(age)
    usual: dict[str, Any] = {"status": status, "payload": b"{}", "started_at": started, "duration": 0.1, "version": "1"}
    store.put(given, Outcome(**usual | facts))
    return given


# ---- series ----------------------------------------------------------------------------------------------------------

async def test_a_chart_counts_invocations_by_outcome(store: Store) -> None:
    expected = {status: number for number, status in enumerate(STATUSES[2:], 1)}
    for status, number in expected.items():
        for _ in range(number):
            put(store, status=status)

    totals = (await store.charts.series("1h", NOON)).totals

    assert totals.counts == expected
    assert (totals.invocations, totals.errors, totals.count("missed")) == (21, 2 + 3 + 4, 6)
    assert totals.error_rate == 9 / 10


async def test_a_point_holds_what_started_in_its_minute(store: Store) -> None:
    put(store, 0.0)
    put(store, 59.9)
    put(store, 60.0)
    put(store, 61.0)
    put(store, 3540.0)
    put(store, 3541.0)      # in the hour before

    drawn = await store.charts.series("1h", NOON)

    assert (drawn.step, len(drawn.points), drawn.points[0].at, drawn.points[-1].at) == (60, 60, before(59 * 60), NOON)
    assert [(number, point.totals.invocations) for number, point in enumerate(drawn.points) if point.totals.invocations] == [(0, 1), (57, 1), (58, 2), (59, 1)]


@pytest.mark.parametrize(("span", "step", "points"), [("1h", 60, 60), ("24h", 900, 96), ("7d", 7200, 84)])
async def test_every_span_holds_what_lies_in_it_and_no_more(store: Store, span: str, step: int, points: int) -> None:
    ages = [10.0, 3000.0, 4000.0, 80_000.0, 90_000.0, 500_000.0, 700_000.0]
    for age in ages:
        put(store, age)

    drawn = await store.charts.series(span, NOON)

    first = drawn.points[0].at
    assert (drawn.step, len(drawn.points)) == (step, points)
    assert drawn.totals.invocations == sum(before(age) >= first for age in ages)
    assert drawn.points[-1].at <= NOON < drawn.points[-1].at + timedelta(seconds=step)


async def test_percentiles_are_within_two_percent(store: Store) -> None:
    for number in range(1, 1001):
        put(store, duration=number / 1000)

    totals = (await store.charts.series("24h", NOON)).totals

    for found, exact in ((totals.p50, 0.5), (totals.p95, 0.95), (totals.p99, 0.99)):
        assert found == pytest.approx(exact, rel=0.02)


async def test_what_never_ran_has_no_duration(store: Store) -> None:
    put(store, status="throttled")

    totals = (await store.charts.series("1h", NOON)).totals

    assert (totals.invocations, totals.p50, totals.error_rate) == (1, None, None)


async def test_a_functions_chart_has_its_versions_and_no_other_function(store: Store) -> None:
    for version, cold in (("1", False), ("2", True), ("2", False)):
        put(store, version=version, cold=cold, duration=float(version))
    put(store, function="other")

    drawn = await store.charts.series("1h", NOON, "hello")

    assert (drawn.totals.invocations, drawn.totals.cold) == (3, 1)
    assert {version: sum(point.totals.invocations for point in points) for version, points in drawn.versions.items()} == {"1": 1, "2": 2}
    assert drawn.totals.p50 == drawn.totals.p99 == pytest.approx(2, rel=0.02)
    assert (await store.charts.series("1h", NOON, HELLO)) == drawn
    assert (await store.charts.series("1h", NOON, "unknown")).totals.invocations == 0
    assert (await store.charts.series("1h", NOON)).totals.invocations == 4


async def test_the_overview_has_every_function_that_was_invoked_the_busiest_first(store: Store) -> None:
    put(store, function="quiet")
    for age in (1, 2, 100):
        put(store, age, function="busy", status="failed")
    put(store, 5000, function="idle")

    drawn = await store.charts.by_function("1h", NOON)

    assert [(arn.rpartition(":")[2], series.totals.invocations, series.totals.errors) for arn, series in drawn.items()] == [("busy", 3, 3), ("quiet", 1, 0)]
    assert [point.totals.invocations for point in drawn[function_arn("busy")].points][-3:] == [1, 2, 0]
    assert [totals.p50 for totals in (series.totals for series in drawn.values())] == [pytest.approx(0.1, rel=0.02)] * 2


async def test_a_span_nobody_draws_is_refused(store: Store) -> None:
    with pytest.raises(InvalidParameter, match="1h, 24h, 7d"):
        await store.charts.series("2h", NOON)


# ---- versions since ----------------------------------------------------------------------------------------------------

async def test_versions_since_an_instant_count_what_started_from_then_on(store: Store) -> None:
    for age, version in ((700.0, "1"), (5.5, "1"), (5.25, "2"), (5.0, "1"), (4.0, "2"), (0.5, "2")):
        put(store, age, version=version)
    put(store, 4.5, version="2", status="failed")

    async def since(age: float) -> dict[str, int]:
        return {version: totals.invocations for version, totals in (await store.charts.versions("hello", before(age), NOON)).items()}

    assert await since(1000) == {"1": 3, "2": 4}
    assert await since(600) == {"1": 2, "2": 4}
    assert await since(5.5) == {"1": 2, "2": 4}
    assert await since(5.4) == {"1": 1, "2": 4}     # within the second too
    assert await since(5.1) == {"1": 1, "2": 3}
    assert await since(0.4) == {}
    assert (await store.charts.versions("hello", before(5.4), NOON))["2"].error_rate == 1 / 4


async def test_versions_since_long_ago_never_count_what_started_before(store: Store) -> None:
    for hours in range(0, 24 * 30, 5):
        put(store, hours * 3600 + 1)
    for days in (0.5, 2, 10, 29):
        age = days * 86_400
        within = sum(hours * 3600 + 1 <= age for hours in range(0, 24 * 30, 5))

        [totals] = (await store.charts.versions("hello", before(age), NOON)).values()

        assert within - 1 <= totals.invocations <= within


# ---- what was counted stays counted, once -----------------------------------------------------------------------------

async def test_charts_outlive_the_records(store: Store) -> None:
    for number in range(300):
        put(store, 100 + number)

    assert await store.prune(NOON, 10, 1_000_000) == 300

    assert (await store.invocations(InvocationFilter())).records == ()
    assert (await store.charts.series("1h", NOON)).totals.invocations == 300


async def test_roll_ups_that_no_chart_needs_are_forgotten(store: Store, tmp_path: Path) -> None:
    put(store, 20 * 86_400)
    put(store, 1)
    await store.prune(NOON, 1e9, 1_000_000)
    await store.prune(NOON + timedelta(days=30), 1e9, 1_000_000)

    with sqlite3.connect(tmp_path / "data" / "microlam.db") as database:
        assert database.execute("SELECT DISTINCT step FROM roll_ups").fetchall() == [(7200,)]
        assert database.execute("SELECT function, version FROM roll_ups").fetchall() == [(0, "*"), (1, "*"), (1, "1")]


async def test_every_end_is_counted_once_whatever_happens_around_it(open_store: OpenStore) -> None:
    store = await open_store()
    waiting = Invocation(id=new_id(), arn=HELLO, payload=b"{}", cause="invoke", queued_at=before(9), accepted_at=before(9), due_at=before(9))
    crashing = Invocation(id=new_id(), arn=HELLO, payload=b"{}", cause="http", queued_at=before(9))
    await store.accept([waiting])
    [claimed] = await store.claim(before(8), 1)
    store.note_running(claimed, "1", before(8))
    assert (await store.charts.series("1h", NOON)).totals.invocations == 0
    failed = Outcome(status="failed", payload=b"{}", version="1", started_at=before(8), duration=0.1)
    await store.finish(claimed, failed, replace(claimed, key=new_id(), attempt=2, due_at=NOON))
    store.put(claimed, failed)                      # said twice
    store.note_running(crashing, "1", before(7))
    for _ in range(100):
        put(store)
    await store.close()

    store = await open_store()
    await store.recover(NOON)
    first = (await store.charts.series("1h", NOON)).totals
    await store.close()
    second = (await (await open_store()).charts.series("1h", NOON)).totals

    assert first == second
    assert first.counts == {"succeeded": 100, "failed": 1, "timed_out": 0, "crashed": 1, "throttled": 0, "missed": 0}


async def test_many_who_look_at_once_see_the_same(store: Store) -> None:
    for number in range(3000):
        put(store, number / 100, function=f"f{number % 3}")

    seen = await asyncio.gather(*(store.charts.series("1h", NOON) for _ in range(20)))

    assert {series.totals.invocations for series in seen} == {3000}


async def test_what_was_recorded_before_there_were_charts_is_counted_and_indexed(open_store: OpenStore, tmp_path: Path) -> None:
    migrations = Path(store_file).parent / "migrations"
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data" / "microlam.db") as database:
        for name in ("0001_start.sql", "0002_documents.sql"):
            database.executescript((migrations / name).read_text())
        database.execute("PRAGMA user_version = 2")
        database.execute("INSERT INTO functions VALUES (1, ?)", (HELLO,))
        at = int(before(30).timestamp() * 1_000_000)
        for number in range(50):
            key = bytes.fromhex(new_id().replace("-", ""))
            database.execute(
                "INSERT INTO invocations (key, function, version, cause, status, summary, attempt, queued_at, started_at, duration)"
                " VALUES (?, 1, '1', 'http', 2, 'GET /old', 1, ?, ?, 1000)", (key, at, at))
            database.execute("INSERT INTO payloads (key, event) VALUES (?, ?)", (key, b'{"number": %d}' % number))
    database.close()

    store = await open_store()

    assert (await store.charts.series("1h", NOON)).totals.invocations == 50
    await store.settled()
    assert [record.summary for record in (await store.invocations(InvocationFilter(q="old 17"))).records] == ["GET /old"]
