"""Durations counted in buckets that grow by 4 %, so that any percentile is at most 2 % off. Pure functions."""
from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

GROWTH = 1.04
ERROR = (GROWTH - 1) / (GROWTH + 1)     # of a percentile, at most: below 2 %
_LOG = math.log(GROWTH)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many durations fell in each bucket, from the bucket `first` on."""

    first: int = 0
    counts: tuple[int, ...] = ()


EMPTY = Histogram()


def bucket(microseconds: int) -> int:
    """The bucket of a duration: 0 below a microsecond, then one for each 4 %."""
    return 0 if microseconds < 1 else 1 + int(math.log(microseconds) / _LOG)


def middle(bucket: int) -> float:
    """The seconds a bucket stands for: as far off from its least as from its most, in proportion."""
    return 0.0 if bucket == 0 else GROWTH ** (bucket - 1) * 2 * GROWTH / (1 + GROWTH) / 1_000_000


def histogram(durations: Iterable[int]) -> Histogram:
    """The histogram of durations in microseconds."""
    counts = Counter(map(bucket, durations))
    if not counts:
        return EMPTY
    first, last = min(counts), max(counts)
    return Histogram(first, tuple(counts[place] for place in range(first, last + 1)))


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """One histogram of all that several have counted."""
    filled = [one for one in histograms if one.counts]
    if len(filled) < 2:
        return filled[0] if filled else EMPTY
    first, end = min(one.first for one in filled), max(one.first + len(one.counts) for one in filled)
    aligned = ((0,) * (one.first - first) + one.counts + (0,) * (end - one.first - len(one.counts)) for one in filled)
    return Histogram(first, tuple(map(sum, zip(*aligned, strict=True))))


def percentile(histogram: Histogram, share: float) -> float | None:
    """The seconds within which this share of the durations lie; None where nothing was counted."""
    if not histogram.counts:
        return None
    sums = list(accumulate(histogram.counts))
    return middle(histogram.first + bisect_left(sums, max(1, math.ceil(share * sums[-1]))))


def from_json(numbers: Sequence[int]) -> Histogram:
    """A histogram as the database holds it: the first bucket, then the counts."""
    return Histogram(numbers[0], tuple(numbers[1:])) if numbers else EMPTY


def to_json(histogram: Histogram) -> list[int]:
    return [histogram.first, *histogram.counts] if histogram.counts else []
