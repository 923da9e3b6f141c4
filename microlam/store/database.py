"""What the store asks of its database: named queries, rows that are read, steps that are written together or not at all."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A named query, run once for each of `rows`; where it is `required` and changes nothing, its unit is undone."""

    query: str
    rows: Iterable[Parameters] = ((),)
    required: bool = False


# Gives the steps of one change. It is called where the writing happens, off the event loop, and again if the write is tried again.
Unit = Callable[[], Iterable[Step]]


class Undone(Exception):
    """A required step changed nothing, so nothing of its unit happened."""


def read_queries(text: str) -> dict[str, str]:
    """The queries of a file by name; `{name}` in one stands for the text of another."""
    _, *parts = re.split(r"^-- (\w+) --$", text, flags=re.MULTILINE)
    bare = {name: re.sub(r"^--.*\n", "", body, flags=re.MULTILINE).strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}

    def full(body: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: full(bare[match[1]]), body)

    return {name: full(body) for name, body in bare.items()}
