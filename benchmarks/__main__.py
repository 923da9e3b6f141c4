"""python -m benchmarks [throughput|wire|starts|keeping|record|peers …]: measure, and print Markdown tables."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from benchmarks import keeping, peers, record, starts, throughput, wire

TABLES: dict[str, tuple[str, Callable[[], Iterable[tuple[str, ...]]]]] = {
    "throughput": ("| HTTP, recorded, default settings; ratio to bare aiohttp | 1 connection | 32 connections |\n|---|---|---|", throughput.measure),
    "wire": ("| Invoke; ratio to the same invocation over HTTP routing | 1 connection | 32 connections |\n|---|---|---|", wire.measure),
    "starts": ("| what | measured |\n|---|---|", starts.measure),
    "keeping": ("| roll-ups and index of words; ratio to a server that keeps neither | 1 connection | 32 connections |\n|---|---|---|", keeping.measure),
    "record": (record.HEADER, record.measure),
    "peers": ("| the same handler; ratio to microlam | 1 connection | 32 connections |\n|---|---|---|", peers.measure),
}


LONG = ("record",)          # ten minutes and gigabytes: only where it is asked for


def main(chosen: list[str]) -> None:
    for name in chosen or [name for name in TABLES if name not in LONG]:
        header, measure = TABLES[name]
        print(header, flush=True)
        for row in measure():
            print("| " + " | ".join(row) + " |", flush=True)
        print()


main(sys.argv[1:])
