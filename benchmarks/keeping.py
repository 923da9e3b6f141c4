"""What roll-ups and the index of words cost the invocations: requests a second beside a server that keeps neither, A B A B."""
from __future__ import annotations

import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from benchmarks.servers import HELLO, Server, free_port, microlam, running, scratch
from benchmarks.throughput import requests_a_second

ROUNDS, SECONDS = 7, 4.0
PAUSE = 2.0         # what the one leaves to be indexed when its turn is over is not charged to the other
IDLE_CLERK = """
import sys
from microlam.cli import main
from microlam.store import clerk
clerk.PAUSE = 86_400.0
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def recording_alone() -> Iterator[Server]:
    """`microlam serve` that writes its record and nothing more."""
    with scratch({"hello.py": HELLO}) as folder:
        port = free_port()
        with running([sys.executable, "-c", IDLE_CLERK, "serve", str(folder), "--port", str(port)], port, folder) as server:
            with closing(sqlite3.connect(folder / ".microlam" / "microlam.db", isolation_level=None)) as database:
                database.executescript("DROP TRIGGER invocation_recorded; DROP TRIGGER invocation_ended;")
            yield server


def measure() -> list[tuple[str, str, str]]:
    """The row of the table: what, ratio at 1 connection, ratio at 32."""
    with ExitStack() as life:
        alone, whole = life.enter_context(recording_alone()), life.enter_context(microlam({"hello.py": HELLO}))
        return [("roll-ups and index", _ratio(alone, whole, 1), _ratio(alone, whole, 32))]


def _ratio(alone: Server, whole: Server, connections: int) -> str:
    pairs = [(_rate(alone, connections), _rate(whole, connections)) for _ in range(ROUNDS)]
    return f"{statistics.median(own / base for base, own in pairs):.2f} ({statistics.median(own for _, own in pairs):,.0f}/s)"


def _rate(server: Server, connections: int) -> float:
    rate = requests_a_second(server, connections, SECONDS)
    time.sleep(PAUSE)
    return rate
