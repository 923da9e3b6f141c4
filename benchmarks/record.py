"""The record with ten thousand invocations and with ten million: how long the first byte of each page takes, in one run.

It takes some ten minutes and 10 GB of the temporary folder, which are given back; MICROLAM_BENCH_RECORDS asks for another number than ten million.
"""
from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.servers import HELLO, Server, free_port, running, scratch
from microlam.model import function_arn
from microlam.store import Store

FEW, MANY = 10_000, int(os.environ.get("MICROLAM_BENCH_RECORDS", "10000000"))
NAMES = (
    "orders", "payments", "invoices", "customers", "search", "thumbnails", "mail", "login", "basket", "prices",
    "stock", "reports", "exports", "imports", "webhooks", "reviews", "shipping", "returns", "audit", "health",
)
WEEK = timedelta(days=7)
HEADER = f"| first byte of a page | {FEW:,} on record | {MANY:,} on record | ratio |\n|---|---|---|---|"
BYTES = 800         # of disk for each
AT_ONCE = 200_000
ROUNDS = 31


# ---- making them -----------------------------------------------------------------------------------------------------

# Every fact of an invocation follows from its number: none passes through Python.
FACTS = """
WITH RECURSIVE numbers AS (SELECT :low AS n UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :high),
     dice AS (SELECT n, n * 2654435761 % 4294967291 / 8 AS a, n * 2246822519 % 4294967291 / 8 AS b, n * 3266489917 % 4294967291 / 8 AS c FROM numbers),
     facts AS MATERIALIZED (
        SELECT n, a, b, c, key(:start + n * :step, n) AS key, :start + n * :step AS at,
            CASE WHEN a % 1000 < 850 THEN 'http' WHEN a % 1000 < 930 THEN 'invoke' WHEN a % 1000 < 970 THEN 'schedule' ELSE 'file' END AS cause,
            CASE WHEN b % 1000 < 960 THEN 2 WHEN b % 1000 < 990 THEN 3 WHEN b % 1000 < 995 THEN 4 WHEN b % 1000 < 996 THEN 5 ELSE 6 END AS status,
            CASE c % 5 WHEN 0 THEN 'vienna' WHEN 1 THEN 'lima' WHEN 2 THEN 'oslo' WHEN 3 THEN 'quito' ELSE 'zürich' END AS city
        FROM dice)
"""
INVOCATIONS = f"""
INSERT INTO invocations (key, function, version, qualifier, cause, status, summary, attempt, queued_at, started_at, duration, init, cold, memory, error_type)
{FACTS}
SELECT key, 1 + a % 20, 1 + b % 3, iif(a % 3, NULL, 'live'), cause, status,
    iif(cause = 'http', printf('%s /%s/%d → %d', iif(a % 4, 'GET', 'POST'), city, n % 50000, iif(status = 2, 200, 502)), cause || ' ' || city),
    1, at, iif(status = 6, NULL, at), iif(status = 6, NULL, 800 + (b % 1000) * (c % 997) / 4), iif(c % 500, NULL, 120000), c % 500 = 0,
    30000000 + c % 1000000,
    CASE status WHEN 2 THEN NULL WHEN 3 THEN 'KeyError' WHEN 4 THEN 'Sandbox.Timedout' WHEN 5 THEN 'Runtime.ExitError' ELSE 'Throttled' END
FROM facts
"""
PAYLOADS = """
INSERT INTO payloads (key, event, reply, logs, log_stream, runtime)
""" + FACTS + """
SELECT key,
    CAST(printf('{"version":"2.0","rawPath":"/%s/%d","headers":{"accept":"*/*","user-agent":"curl/8.5"},"customer":"c%d","order":%d,"word":"w%d"%s}',
        city, n % 50000, c % 100000, n, b % 20000, iif(n % (:total / 100) = 77, ',"note":"needle"', '')) AS BLOB),
    CAST(iif(status = 2, '{"statusCode":200,"body":"{\\"ok\\":true}"}', '{"errorType":"KeyError","errorMessage":"total"}') AS BLOB),
    CAST(printf('INFO stored order %d for c%d in %s', n, c % 100000, city) AS BLOB), '2026/11/23/[$LATEST]0123456789abcdef', 'Python 3.11.7'
FROM facts
"""


def make(folder: Path, count: int) -> float:
    """A data folder with so many invocations of the last week, counted and indexed as a server would have; gives the seconds it took."""
    begun = time.perf_counter()
    asyncio.run(_open(folder))
    with closing(sqlite3.connect(folder / "microlam.db", isolation_level=None)) as database:
        _fill(database, count)
    asyncio.run(_open(folder))
    return time.perf_counter() - begun


async def _open(folder: Path) -> None:
    store = await Store.open(folder)
    await store.settled()
    await store.close()


def _fill(database: sqlite3.Connection, count: int) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = OFF", "cache_size = -400000"):
        database.execute(f"PRAGMA {pragma}")
    database.create_function("key", 2, lambda at, n: (at // 1000 << 80 | 7 << 76 | (n & 0xFFF) << 64 | 2 << 62 | n).to_bytes(16, "big"), deterministic=True)
    database.executemany("INSERT INTO functions (id, arn) VALUES (?, ?)", enumerate(map(function_arn, NAMES), 1))
    facts = {"start": int((datetime.now(UTC) - WEEK).timestamp() * 1_000_000), "step": int(WEEK.total_seconds() * 1_000_000) // count, "total": count}
    for low in range(0, count, AT_ONCE):
        batch = facts | {"low": low, "high": min(low + AT_ONCE, count)}
        database.execute("BEGIN")
        for query in (INVOCATIONS, PAYLOADS):
            database.execute(query, batch)
        database.execute("COMMIT")


# ---- looking at them -------------------------------------------------------------------------------------------------

@contextmanager
def recorded(count: int) -> Iterator[Server]:
    """`microlam serve` over such a record, which it keeps as it is."""
    with scratch({f"{name}.py": HELLO for name in NAMES}) as folder:
        if shutil.disk_usage(folder).free < 2 * BYTES * count:
            raise SystemExit(f"{folder} has no room for {count:,} invocations; MICROLAM_BENCH_RECORDS asks for fewer.")
        took = make(folder / ".microlam", count)
        size = sum(file.stat().st_size for file in (folder / ".microlam").glob("*.db*"))
        print(f"{count:,} invocations: made in {took:.0f} s, {size / 1e9:.2f} GB", file=sys.stderr, flush=True)
        port = free_port()
        command = [sys.executable, "-m", "microlam", "serve", str(folder), "--port", str(port), "--retention-days", "30", "--retention-count", "1000000000"]
        with running(command, port, folder, path="/orders") as server:
            yield server


class Pages:
    """The pages of one server, and where on them its own facts stand."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        newest = self._json(limit=1000)["invocations"]
        self.one = newest[500]["id"]
        self.start = datetime.now(UTC) - timedelta(days=3)
        self.cursor = self._json(until=self.start.isoformat())["next"]

    def _json(self, **query: object) -> Any:
        return json.loads(self._get(invocations(".json", **query))[1])

    def first_byte(self, path: str) -> float:
        """Seconds until the first byte."""
        return self._get(path)[0]

    def _get(self, path: str) -> tuple[float, bytes]:
        begun = time.perf_counter()
        self._connection.request("GET", f"/_microlam/{path}")
        reply = self._connection.getresponse()
        took = time.perf_counter() - begun
        body = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{path}: {reply.status} {body[:500]!r}")
        return took, body


def invocations(kind: str = "", **query: object) -> str:
    return f"invocations{kind}?{urlencode(query)}"


def _hours(pages: Pages) -> dict[str, str]:
    return {"since": pages.start.isoformat(), "until": (pages.start + timedelta(hours=5)).isoformat()}


PAGES: dict[str, Callable[[Pages], str]] = {
    "overview": lambda _: "",
    "functions": lambda _: "functions",
    "a function, 1 h": lambda _: "functions/orders?range=1h",
    "a function, 24 h": lambda _: "functions/orders?range=24h",
    "a function, 7 d": lambda _: "functions/orders?range=7d",
    "its versions and aliases": lambda _: "functions/orders/versions",
    "invocations": lambda _: invocations(),
    "a page of three days ago": lambda pages: invocations(cursor=pages.cursor),
    "of one function": lambda _: invocations(function="orders"),
    "of one function, failed": lambda _: invocations(function="orders", status="failed"),
    "all failures, 7 d": lambda _: invocations(status="failures", range="7d"),
    "one cause": lambda _: invocations(cause="file"),
    "five hours": lambda pages: invocations(**_hours(pages)),
    "one rare word": lambda _: invocations(q="needle"),
    "one common word": lambda _: invocations(q="zürich"),
    "one word that nothing holds": lambda _: invocations(q="nothing"),
    "a word in five hours": lambda pages: invocations(q="lima", **_hours(pages)),
    "two words": lambda _: invocations(q="stored oslo"),
    "two common words that never meet (stops after 200 ms)": lambda _: invocations(q="oslo lima"),
    "function, status, version and word": lambda _: invocations(function="orders", status="failed", version="1", q="oslo"),
    "alias and a duration that none has (stops after 200 ms)": lambda _: invocations(qualifier="live", slower="300000"),
    "an invocation": lambda pages: f"invocations/{pages.one}",
    "triggers": lambda _: "triggers",
    "settings": lambda _: "settings",
}


def measure() -> Iterator[tuple[str, str, str, str]]:
    """Rows of the table: page, median with few, with many, their ratio."""
    with ExitStack() as life:
        few, many = (Pages(life.enter_context(recorded(count))) for count in (FEW, MANY))
        for name, path in PAGES.items():
            pairs = [(few.first_byte(path(few)), many.first_byte(path(many))) for _ in range(ROUNDS)]
            one, other = (statistics.median(times) for times in zip(*pairs, strict=True))
            yield name, f"{one * 1000:.1f} ms", f"{other * 1000:.1f} ms", f"{other / one:.2f}"
