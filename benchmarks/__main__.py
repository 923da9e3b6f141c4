"""python -m benchmarks [throughput|wire|starts|peers …]: measure, and print Markdown tables."""
from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from benchmarks import peers, starts, throughput, wire

TABLES: dict[str, tuple[str, Callable[[], Sequence[tuple[str, ...]]]]] = {
    "throughput": ("| HTTP, recorded, default settings; ratio to bare aiohttp | 1 connection | 32 connections |\n|---|---|---|", throughput.measure),
    "wire": ("| Invoke; ratio to the same invocation over HTTP routing | 1 connection | 32 connections |\n|---|---|---|", wire.measure),
    "starts": ("| what | measured |\n|---|---|", starts.measure),
    "peers": ("| the same handler; ratio to microlam | 1 connection | 32 connections |\n|---|---|---|", peers.measure),
}


def main(chosen: list[str]) -> None:
    for name in chosen or TABLES:
        header, measure = TABLES[name]
        print(header, flush=True)
        for row in measure():
            print("| " + " | ".join(row) + " |", flush=True)
        print()


main(sys.argv[1:])
