"""Durations counted in buckets that grow by 4 %, so that any percentile is at most 2 % off. Pure functions."""
from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import TypeAlias

GROWTH = 1.04
ERROR = (GROWTH - 1) / (GROWTH + 1)     # of a percentile, at most: below 2 %
_LOG = math.log(GROWTH)

Histogram: TypeAlias = Mapping[int, int]    # how many durations fell in each bucket that has any


def bucket(microseconds: int) -> int:
    """The bucket of a duration: 0 below a microsecond, then one for each 4 %."""
    return 0 if microseconds < 1 else 1 + int(math.log(microseconds) / _LOG)


def middle(bucket: int) -> float:
    """The seconds a bucket stands for: as far off from its least as from its most, in proportion."""
    return 0.0 if bucket == 0 else GROWTH ** (bucket - 1) * 2 * GROWTH / (1 + GROWTH) / 1_000_000


def histogram(durations: Iterable[int]) -> Histogram:
    """The histogram of durations in microseconds."""
    return Counter(map(bucket, durations))


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """One histogram of all that several have counted."""
    counts: dict[int, int] = {}
    for one in histograms:
        for bucket, count in one.items():
            counts[bucket] = counts.get(bucket, 0) + count
    return counts


def percentile(histogram: Histogram, share: float) -> float | None:
    """The seconds within which this share of the durations lie; None where nothing was counted."""
    if not histogram:
        return None
    buckets = sorted(histogram)
    sums = list(accumulate(map(histogram.__getitem__, buckets)))
    return middle(buckets[bisect_left(sums, max(1, math.ceil(share * sums[-1])))])


def from_json(numbers: Sequence[int]) -> Histogram:
    """A histogram as the database holds it: a bucket and its count, another bucket and its count."""
    return dict(zip(numbers[::2], numbers[1::2], strict=True))


def to_json(histogram: Histogram) -> list[int]:
    return list(chain.from_iterable(sorted(histogram.items())))
