"""Charts as SVG, made on the server: columns, lines, sparklines, a split, a timeline's spans. Pure functions of numbers.

A chart is `{"title", "unit", "times": [ISO instants], "step": seconds, "series": [{"name", "kind", "values"}]}`; a value of None is a gap. Widths are
percentages, so that a chart fills what room there is without stretching its words; colours are the style sheet's, by `kind`.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from microlam.admin.words import count, duration, moment

Chart = Mapping[str, Any]

HEIGHT = 104        # of the plot
_AXIS = 18          # below it
_HEADROOM = 14      # above it, for the scale's label
_TICKS = 4


def columns(chart: Chart) -> Markup:
    """How many, stacked by kind, a column each step."""
    times, series = chart["times"], chart["series"]
    top = ceiling(max((sum(values) for values in zip(*(one["values"] for one in series), strict=True)), default=0))
    return _framed(chart, top, Markup("").join(_column(chart, number, len(times), top) for number in range(len(times))))


def _column(chart: Chart, number: int, slots: int, top: float) -> Markup:
    bars, floor, slot = Markup(""), HEIGHT + _HEADROOM, 100 / slots
    for one in chart["series"]:
        value = one["values"][number]
        if value:
            height = max(value / top * HEIGHT, 1.5)         # one failure among thousands is still seen
            floor -= height
            bars += Markup('<rect class="{}" x="{:.3f}%" y="{:.1f}" width="{:.3f}%" height="{:.1f}"/>').format(
                f"bar {one['kind']}", slot * number + slot * .1, floor, slot * .8, height)
    return _slot(chart, number, slots) + bars + Markup("</g>")


def lines(chart: Chart) -> Markup:
    """Values over time, one line a series."""
    times, series = chart["times"], chart["series"]
    top = ceiling(max((value for one in series for value in one["values"] if value is not None), default=0))
    drawn = Markup('<svg y="{}" width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">').format(
        _HEADROOM, HEIGHT, max(len(times), 1), HEIGHT)
    for one in series:
        for piece in _pieces(one["values"]):
            points = " ".join(f"{number + .5:.1f},{HEIGHT - value / top * HEIGHT:.1f}" for number, value in piece)
            if len(piece) == 1:
                points += " " + points.replace(f"{piece[0][0] + .5:.1f},", f"{piece[0][0] + .9:.1f},")
            drawn += Markup('<polyline class="{}" points="{}"/>').format(f"line {one['kind']}", points)
    slots = Markup("").join(_slot(chart, number, len(times)) + Markup("</g>") for number in range(len(times)))
    return _framed(chart, top, drawn + Markup("</svg>") + slots)


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


def _framed(chart: Chart, top: float, drawn: Markup) -> Markup:
    """A plot with its scale and its axis of time."""
    height = HEIGHT + _HEADROOM + _AXIS
    scale = Markup('<line class="grid" x1="0" x2="100%" y1="{0}.5" y2="{0}.5"/><line class="grid" x1="0" x2="100%" y1="{1}.5" y2="{1}.5"/>').format(
        _HEADROOM, HEIGHT + _HEADROOM)
    scale += Markup('<text class="scale" x="0" y="{}">{}</text>').format(_HEADROOM - 4, in_unit(top, chart["unit"]))
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


def _slot(chart: Chart, number: int, slots: int) -> Markup:
    """The part of the plot that tells a step's exact values when pointed at; its group stays open."""
    at = chart["times"][number]
    values = ", ".join(f"{one['name']} {in_unit(one['values'][number], chart['unit'])}" for one in chart["series"] if one["values"][number] is not None)
    return Markup('<g class="slot"><title>{}: {}</title><rect class="hit" x="{:.3f}%" y="{}" width="{:.3f}%" height="{}"/>').format(
        moment(at, "%H:%M" if _form(chart) == "clock" else "%a %H:%M"), values or "nothing", 100 / slots * number, _HEADROOM, 100 / slots, HEIGHT)


# ---- small ones ------------------------------------------------------------------------------------------------------

def sparkline(values: Sequence[float], bad: Sequence[float], title: str) -> Markup:
    """Small columns without an axis; the lower, marked part of each is what went wrong."""
    top, slot = max(values, default=0) or 1, 100 / max(len(values), 1)
    drawn = Markup("")
    for number, (value, failed) in enumerate(zip(values, bad, strict=True)):
        for kind, part in (("ok", value), ("bad", failed)):
            if part:
                height = max(part / top * 22, 1.5)
                drawn += Markup('<rect class="{}" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}"/>').format(
                    f"bar {kind}", slot * number, 24 - height, slot * .85, height)
    return Markup('<svg class="spark" width="120" height="24" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(title, title, drawn)


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
