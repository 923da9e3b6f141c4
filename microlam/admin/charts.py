"""Charts as SVG, made on the server: columns, lines, sparklines, a split, a timeline's spans. Pure functions of numbers.

A chart is `{"title", "unit", "times": [ISO instants], "step": seconds, "series": [{"name", "kind", "values"}]}`; a value of None is a gap. Widths are
percentages, so that a chart fills what room there is without stretching its words; colours are the style sheet's, by `kind`.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from microlam.admin.words import count, duration, moment

Chart = Mapping[str, Any]

HEIGHT = 104        # of the plot
SPARK = 24
_AXIS = 18          # below it
_HEADROOM = 14      # above it, for the scale's label
_TICKS = 4
TOWERING = 5        # times as high as all others


def columns(chart: Chart) -> Markup:
    """How many, stacked by kind, a column each step."""
    series, floors = chart["series"], [float(HEIGHT)] * len(chart["times"])
    top = ceiling(max((sum(values) for values in zip(*(one["values"] for one in series), strict=True)), default=0))
    paths = []
    for one in series:
        # One failure among thousands is still seen.
        heights = [max(value / top * HEIGHT, 1.5) if value else 0.0 for value in one["values"]]
        floors = [max(floor - height, 0.0) for floor, height in zip(floors, heights, strict=True)]
        paths.append(_bars(f"bar {one['kind']}", floors, heights))
    return _framed(chart, top, _plot(len(floors), HEIGHT, paths, y=_HEADROOM) + _slots(chart))


def _bars(kind: str, tops: Sequence[float], heights: Sequence[float]) -> Markup:
    """Columns in one shape: each where it begins from above, and how far down it goes."""
    drawn = "".join(f"M{number}.1 {top:.1f}v{height:.1f}h.8v-{height:.1f}z" for number, (top, height) in enumerate(zip(tops, heights, strict=True)) if height)
    return Markup('<path class="{}" d="{}"/>').format(kind, drawn)


def _plot(steps: int, height: int, shapes: Sequence[Markup], *, y: int = 0) -> Markup:
    """Shapes in a room that is one wide for each step, stretched to what width there is."""
    return Markup('<svg y="{}" width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>').format(
        y, height, max(steps, 1), height, Markup("").join(shapes))


def lines(chart: Chart) -> Markup:
    """Values over time, one line a series; one that towers above all others is cut off, and the scale says how high it goes."""
    series = chart["series"]
    peaks = sorted((max((value for value in one["values"] if value is not None), default=0), one["name"]) for one in series)
    below = peaks[-2][0] if len(peaks) > 1 else 0
    towers = 0 < below * TOWERING < peaks[-1][0]
    top = ceiling(below * 2 if towers else peaks[-1][0])
    drawn = [_line(f"line {one['kind']}", piece, top) for one in series for piece in _pieces(one["values"])]
    beyond = f"{peaks[-1][1]} up to {in_unit(peaks[-1][0], chart['unit'])}" if towers else ""
    return _framed(chart, top, _plot(len(chart["times"]), HEIGHT, drawn, y=_HEADROOM) + _slots(chart), beyond)


def _line(kind: str, piece: Sequence[tuple[int, float]], top: float) -> Markup:
    points = [(number + .5, HEIGHT - min(value / top, 1) * HEIGHT) for number, value in piece]
    if len(points) == 1:                # a line needs two
        points.append((points[0][0] + .4, points[0][1]))
    return Markup('<polyline class="{}" points="{}"/>').format(kind, " ".join(f"{x:.1f},{y:.1f}" for x, y in points))


def _pieces(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    """A line's values with their places, cut where there are gaps."""
    piece: list[tuple[int, float]] = []
    for number, value in enumerate(values):
        if value is not None:
            piece.append((number, value))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _framed(chart: Chart, top: float, drawn: Markup, beyond: str = "") -> Markup:
    """A plot with its scale and its axis of time."""
    height = HEIGHT + _HEADROOM + _AXIS
    scale = Markup('<line class="grid" x1="0" x2="100%" y1="{0}.5" y2="{0}.5"/><line class="grid" x1="0" x2="100%" y1="{1}.5" y2="{1}.5"/>').format(
        _HEADROOM, HEIGHT + _HEADROOM)
    scale += Markup('<text class="scale" x="0" y="{}">{}</text>').format(_HEADROOM - 4, "; ".join(filter(None, (in_unit(top, chart["unit"]), beyond))))
    return Markup('<svg class="chart" width="100%" height="{}" role="img" aria-label="{}">{}{}{}</svg>').format(
        height, chart["title"], scale, drawn, _axis(chart, height - 3))


def _axis(chart: Chart, y: int) -> Markup:
    if not chart["times"]:
        return Markup("")
    first, step, steps = datetime.fromisoformat(chart["times"][0]), chart["step"], len(chart["times"])
    drawn = Markup("")
    for tick in range(_TICKS + 1):
        at = datetime.fromtimestamp(first.timestamp() + step * steps * tick / _TICKS, first.tzinfo)
        anchor = "start" if tick == 0 else "end" if tick == _TICKS else "middle"
        drawn += Markup('<text class="axis" x="{:.0f}%" y="{}" text-anchor="{}" data-time="{}" data-form="{}">{}</text>').format(
            100 * tick / _TICKS, y, anchor, at.isoformat(), _form(chart), moment(at, "%H:%M" if _form(chart) == "clock" else "%a %H:%M"))
    return drawn


def _form(chart: Chart) -> str:
    return "clock" if chart["step"] * len(chart["times"]) <= 86_400 else "day"


def _slots(chart: Chart) -> Markup:
    """Over the plot a room for each step, which tells its exact values when pointed at."""
    slots, form = len(chart["times"]), "%H:%M" if _form(chart) == "clock" else "%a %H:%M"
    drawn = []
    for number, at in enumerate(chart["times"]):
        told = [f"{one['name']} {in_unit(value, chart['unit'])}" for one in chart["series"] if (value := one["values"][number]) is not None]
        drawn.append(f'<g class="slot"><title>{moment(at, form)}: {escape(", ".join(told) or "nothing")}</title><rect class="hit" '
                     f'x="{100 / slots * number:.3f}%" y="{_HEADROOM}" width="{100 / slots:.3f}%" height="{HEIGHT}"/></g>')
    return Markup("".join(drawn))


def table(chart: Chart) -> Markup:
    """The same numbers as a table, for who does not see the chart."""
    head = "".join(f'<th scope="col" class="num">{escape(one["name"])}</th>' for one in chart["series"])
    rows = "".join(
        f'<tr><td><time datetime="{at}" data-form="minute">{moment(at, "%a %d %b %H:%M:%S")}</time></td>'
        + "".join(f'<td class="num">{in_unit(one["values"][number], chart["unit"])}</td>' for one in chart["series"]) + "</tr>"
        for number, at in enumerate(chart["times"])
    )
    return Markup(f'<table class="bare"><thead><tr><th scope="col">Time</th>{head}</tr></thead><tbody>{rows}</tbody></table>')


# ---- small ones ------------------------------------------------------------------------------------------------------

def sparkline(values: Sequence[float], bad: Sequence[float], title: str) -> Markup:
    """Small columns without an axis; the lower, marked part of each is what went wrong."""
    top = max(values, default=0) or 1
    shapes = []
    for kind, parts in (("bar ok", values), ("bar bad", bad)):
        heights = [max(part / top * SPARK, 1.5) if part else 0.0 for part in parts]
        shapes.append(_bars(kind, [SPARK - height for height in heights], heights))
    return Markup('<svg class="spark" width="120" height="{}" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(
        SPARK, title, title, _plot(len(values), SPARK, shapes))


def split(parts: Iterable[tuple[str, float]], title: str) -> Markup:
    """How a whole is split, the first part marked; each with its share when pointed at."""
    parts = list(parts)
    whole, at, drawn = sum(value for _, value in parts), 0.0, Markup("")
    for number, (name, value) in enumerate(parts):
        width = 100 * value / whole if whole else 0.0
        drawn += Markup('<rect class="{}" x="{:.2f}%" width="{:.2f}%" height="12"><title>{} {:.1f} %</title></rect>').format(
            "part first" if number == 0 else "part", at, width, name, width)
        at += width
    return Markup('<svg class="split" width="100%" height="12" role="img" aria-label="{}">{}</svg>').format(title, drawn)


def span(name: str, kind: str, start: float, length: float, whole: float) -> Markup:
    """One row of a timeline: what took how long, in milliseconds from the beginning, of how long the whole took."""
    width = max(100 * length / whole, .4) if whole else 100
    x = min(100 * start / whole, 100 - width) if whole else 0
    return Markup('<svg class="timeline" width="100%" height="12" role="img" aria-label="{0} {1}"><title>{0} {1}</title>'
                  '<rect class="span {2}" x="{3:.2f}%" width="{4:.2f}%" height="12" rx="3"/></svg>').format(name, duration(length), kind, x, width)


# ---- numbers ---------------------------------------------------------------------------------------------------------

def ceiling(value: float) -> float:
    """The next round number: 1, 2 or 5 with noughts."""
    if value <= 0:
        return 1
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * .999_999)


def in_unit(value: float | None, unit: str) -> str:
    """A chart's number in its words."""
    if value is None:
        return "–"
    return duration(value) if unit == "ms" else count(value)
