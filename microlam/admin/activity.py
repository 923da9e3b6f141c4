"""What happened over time, from the record's roll-ups: charts, and the numbers beside functions and versions."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from microlam.admin.facts import Facts

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions import Function


async def last_hour(lam: Microlam, functions: Sequence[Function]) -> Mapping[str, Facts]:
    """By function: how many, how many failed, how long they took, and a value for each minute."""
    return {function.arn: {"count": 0, "errors": 0, "p50": None, "p95": None, "values": [0] * 60, "bad": [0] * 60} for function in functions}


async def of_filter(lam: Microlam, kept: Mapping[str, str]) -> Facts | None:
    """The chart above a list."""
    return None


async def of_function(lam: Microlam, arn: str, span: str) -> list[Facts]:
    return []


async def by_version(lam: Microlam, arn: str, seconds: float) -> Mapping[str, Facts]:
    return {}
