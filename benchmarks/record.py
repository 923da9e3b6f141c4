"""The record with ten thousand invocations and with ten million: how long each look at it takes, in one run.

It takes some minutes, and some 12 GB of the temporary folder that are given back; MICROLAM_BENCH_RECORDS asks for another number.
"""
from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from microlam.model import function_arn
from microlam.store import InvocationFilter, Store

FEW, MANY = 10_000, int(os.environ.get("MICROLAM_BENCH_RECORDS", "10000000"))
FUNCTIONS = [function_arn(name) for name in (
    "orders", "payments", "invoices", "customers", "search", "thumbnails", "mail", "login", "basket", "prices",
    "stock", "reports", "exports", "imports", "webhooks", "reviews", "shipping", "returns", "audit", "health",
)]
WEEK = timedelta(days=7)
AT_ONCE = 200_000
ROUNDS = 15

# Every fact of an invocation follows from its number: no record passes through Python.
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
INVOCATIONS = """
INSERT INTO invocations (key, function, version, qualifier, cause, status, summary, attempt, queued_at, started_at, duration, init, cold, memory, error_type)
%s
SELECT key, 1 + a %% 20, 1 + b %% 3, iif(a %% 3, NULL, 'live'), cause, status,
    iif(cause = 'http', printf('%%s /%%s/%%d → %%d', iif(a %% 4, 'GET', 'POST'), city, n %% 50000, iif(status = 2, 200, 502)), cause || ' ' || city),
    1, at, iif(status = 6, NULL, at), iif(status = 6, NULL, 800 + (b %% 1000) * (c %% 997) / 4), iif(c %% 500, NULL, 120000), c %% 500 = 0,
    30000000 + c %% 1000000,
    CASE status WHEN 2 THEN NULL WHEN 3 THEN 'KeyError' WHEN 4 THEN 'Sandbox.Timedout' WHEN 5 THEN 'Runtime.ExitError' ELSE 'Throttled' END
FROM facts
""" % FACTS
PAYLOADS = """
INSERT INTO payloads (key, event, reply, logs, log_stream, runtime)
%s
SELECT key,
    printf('{"version":"2.0","rawPath":"/%%s/%%d","headers":{"accept":"*/*","user-agent":"curl/8.5"},"customer":"c%%d","order":%%d,"word":"w%%d"%%s}',
        city, n %% 50000, c %% 100000, n, b %% 20000, iif(n %% (:total / 100) = 77, ',"note":"needle"', '')),
    iif(status = 2, '{"statusCode":200,"body":"{\\"ok\\":true}"}', '{"errorType":"KeyError","errorMessage":"total"}'),
    printf('INFO stored order %%d for c%%d in %%s', n, c %% 100000, city), '2026/11/23/[$LATEST]0123456789abcdef', 'Python 3.11.7'
FROM facts
""" % FACTS


async def made(folder: Path, count: int) -> None:
    """A data folder with so many invocations of the last week, counted and indexed as a server would have."""
    store = await Store.open(folder)
    await store.close()
    with closing(sqlite3.connect(folder / "microlam.db", isolation_level=None)) as database:
        _fill(database, count)
    store = await Store.open(folder)
    await store.settled()
    await store.close()


def _fill(database: sqlite3.Connection, count: int) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = OFF", "cache_size = -400000"):
        database.execute(f"PRAGMA {pragma}")
    database.create_function("key", 2, lambda at, n: (at // 1000 << 80 | 7 << 76 | (n & 0xFFF) << 64 | 2 << 62 | n).to_bytes(16, "big"), deterministic=True)
    database.executemany("INSERT INTO functions (id, arn) VALUES (?, ?)", enumerate(FUNCTIONS, 1))
    step = int(WEEK.total_seconds() * 1_000_000) // count
    facts = {"start": int((datetime.now(UTC) - WEEK).timestamp() * 1_000_000), "step": step, "total": count}
    for low in range(0, count, AT_ONCE):
        batch = facts | {"low": low, "high": min(low + AT_ONCE, count)}
        database.execute("BEGIN")
        for query in (INVOCATIONS, PAYLOADS):
            database.execute(query, batch)
        database.execute("COMMIT")
