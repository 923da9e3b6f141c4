"""What the admin draws and says, by value: charts, numbers in words, logs taken apart, differences."""
from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from microlam.admin import charts, words
from microlam.admin.code import code_marked, difference, json_marked
from microlam.admin.facts import is_secret
from microlam.admin.invocation import timeline
from microlam.admin.logs import lines_of, report_facts
from microlam.admin.permission import Permission, Tokens, csrf_token, needs_csrf, session_of
from microlam.store import Record

BEGIN = datetime(2026, 11, 24, 12, tzinfo=UTC)


def chart(unit: str, **series: list[Any]) -> dict[str, Any]:
    length = len(next(iter(series.values())))
    return {"title": "Invocations", "unit": unit, "step": 60, "times": [(BEGIN + timedelta(minutes=n)).isoformat() for n in range(length)],
            "series": [{"name": name, "kind": name, "values": values} for name, values in series.items()]}


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def bars(svg: ElementTree.Element) -> dict[str, list[tuple[int, float, float]]]:
    """By kind the columns: their steps, where they begin from above, and their heights."""
    return {
        path.attrib["class"]: [(int(x), float(y), float(height)) for x, y, height in re.findall(r"M(\d+)\.1 ([\d.]+)v([\d.]+)", path.attrib["d"])]
        for path in svg.iter("path")
    }


# ---- charts ----------------------------------------------------------------------------------------------------------

def test_columns_are_stacked_to_a_round_scale_and_tell_their_exact_values() -> None:
    svg = parsed(charts.columns(chart("count", ok=[0, 90, 30], bad=[0, 10, 0])))
    assert bars(svg) == {"bar ok": [(1, 10.4, 93.6), (2, 72.8, 31.2)], "bar bad": [(1, 0.0, 10.4)]}
    titles = [title.text or "" for title in svg.iter("title")]
    assert [title.partition(": ")[2] for title in titles] == ["ok 0, bad 0", "ok 90, bad 10", "ok 30, bad 0"]
    assert [text.text for text in svg.iter("text") if text.attrib["class"] == "scale"] == ["100"]


def test_a_chart_has_an_axis_of_time_from_its_first_step_to_the_end_of_its_last() -> None:
    svg = parsed(charts.columns(chart("count", ok=[1] * 60)))
    ticks = [text.attrib["data-time"] for text in svg.iter("text") if text.attrib["class"] == "axis"]
    assert [datetime.fromisoformat(tick) - BEGIN for tick in ticks] == [timedelta(minutes=minutes) for minutes in (0, 15, 30, 45, 60)]


def test_one_failure_among_thousands_is_still_seen() -> None:
    svg = parsed(charts.columns(chart("count", ok=[100_000], bad=[1])))
    [(_, _, height)] = bars(svg)["bar bad"]
    assert height >= 1


def test_lines_have_gaps_where_there_is_nothing_to_tell() -> None:
    svg = parsed(charts.lines(chart("ms", p50=[1.0, 2.0, None, 5.0, None])))
    points = [line.attrib["points"] for line in svg.iter("polyline")]
    assert points == ["0.5,83.2 1.5,62.4", "3.5,0.0 3.9,0.0"]
    assert [title.text.partition(": ")[2] for title in svg.iter("title") if title.text] == ["p50 1.0 ms", "p50 2.0 ms", "nothing", "p50 5.0 ms", "nothing"]


def test_a_line_that_towers_above_the_others_is_cut_off_and_its_peak_is_told() -> None:
    svg = parsed(charts.lines(chart("ms", p50=[4.0, 4.0], p95=[10.0, 9.0], p99=[12.0, 3000.0])))
    assert [text.text for text in svg.iter("text") if text.attrib["class"] == "scale"] == ["20 ms; p99 up to 3.00 s"]
    assert [line.attrib["points"] for line in svg.iter("polyline")][2] == "0.5,41.6 1.5,0.0"


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (1.2, 2), (3, 5), (7, 10), (10, 10), (11, 20), (48_211, 50_000), (0.03, 0.05)])
def test_a_scale_ends_at_a_round_number(value: float, top: float) -> None:
    assert charts.ceiling(value) == pytest.approx(top)


def test_a_split_shows_shares_and_nothing_where_there_is_nothing() -> None:
    parts = [rect.attrib["width"] for rect in parsed(charts.split([("2", 0.2), ("1", 0.8)], "split")).iter("rect")]
    assert parts == ["20.00%", "80.00%"]
    assert [rect.attrib["width"] for rect in parsed(charts.split([("2", 0), ("1", 0)], "split")).iter("rect")] == ["0.00%", "0.00%"]


def test_what_a_chart_is_told_is_text() -> None:
    evil = chart("count", ok=[1]) | {"title": '"><script>'}
    assert parsed(charts.columns(evil)).attrib["aria-label"] == '"><script>'
    assert "<script>" not in charts.sparkline([1], [0], "<script>")


# ---- words -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("milliseconds", "said"), [
    (None, "–"), (0.04, "0.0 ms"), (0.94, "0.9 ms"), (9.94, "9.9 ms"), (9.96, "10 ms"), (147.6, "148 ms"), (999.6, "1.00 s"), (3000, "3.00 s"), (125_000, "2 min 5 s"),
])
def test_durations_in_words(milliseconds: float | None, said: str) -> None:
    assert words.duration(milliseconds) == said


@pytest.mark.parametrize(("part", "whole", "said"), [(0, 0, "–"), (0, 9, "0 %"), (9, 9, "100 %"), (7, 1000, "0.7 %"), (194, 1000, "19 %")])
def test_shares_in_words(part: float, whole: float, said: str) -> None:
    assert words.share(part, whole) == said


@pytest.mark.parametrize(("number", "said"), [(12, "12 B"), (1434, "1.4 KB"), (120 * 1024**2, "120 MB"), (5 * 1024**4, "5120 GB")])
def test_sizes_in_words(number: int, said: str) -> None:
    assert words.size(number) == said


@pytest.mark.parametrize(("cause", "summary", "said"), [
    ("http", "POST /orders → 201", "POST /orders → 201"), ("file", "uploads/a.png created", "uploads/a.png created"), ("invoke", "invoke", "invoked"),
    ("schedule", "rate(5 minutes)", "schedule rate(5 minutes)"), ("replay", "of GET /", "replay of GET /"), ("queue", "orders", "queue orders"),
])
def test_what_an_invocation_was_in_words(cause: str, summary: str, said: str) -> None:
    assert words.what(cause, summary) == said


# ---- logs ------------------------------------------------------------------------------------------------------------

def test_a_log_is_taken_apart() -> None:
    log = (
        "START RequestId: 1 Version: 1\n[WARNING]\t2026-11-24T12:00:00Z\t1\tno total\n[ERROR] KeyError: 'x'\nTraceback (most recent call last):\n  File \"a.py\"\n"
        '{"level": "INFO", "message": "hi", "order": {"id": 7}}\n{"no json\nplain\nEND RequestId: 1\nREPORT RequestId: 1\tDuration: 3.10 ms\tBilled Duration: 4 ms\t\n'
    )
    lines = lines_of(log)
    assert [line.level for line in lines] == ["platform", "warning", "error", "error", "error", "info", "", "", "platform", "platform"]
    assert lines[5].unfolded == {"level": "INFO", "message": "hi", "order": {"id": 7}}
    assert report_facts(log) == {"Duration": "3.10 ms", "Billed Duration": "4 ms"}


def test_the_report_of_a_json_log_is_read_too() -> None:
    log = '{"time": "x", "type": "platform.report", "record": {"metrics": {"durationMs": 3.1, "memorySizeMB": 128}}}\n'
    assert report_facts(log) == {"durationMs": "3.1", "memorySizeMB": "128"}
    assert lines_of(log)[0].level == "platform"


# ---- code ------------------------------------------------------------------------------------------------------------

def test_a_difference_shows_what_changed_with_its_lines_numbers() -> None:
    before = "".join(f"line {n}\n" for n in range(1, 21))
    after = before.replace("line 10\n", "new 10\nnew 11\n")
    lines = difference(before, after)
    assert [(line.mark, line.before, line.after) for line in lines if line.mark in "+-"] == [("-", 10, None), ("+", None, 10), ("+", None, 11)]
    assert len(lines) == 1 + 3 + 3 + 3
    assert difference(before, before) == []


def test_code_in_colour_is_text_all_the_same() -> None:
    for marked in (code_marked("x = '<script>'  # </pre>\n", "a.py"), code_marked("<script>", "a.bin"), json_marked({"<b>": "</pre>"})):
        assert not re.search(r"<(?!/?span)", str(marked))


# ---- permission ------------------------------------------------------------------------------------------------------

def test_who_may_do_what() -> None:
    tokens = Tokens(admin="a", read_only="r")
    assert Tokens().permission() is Permission.CHANGE
    assert tokens.permission() is Permission.NOTHING
    assert tokens.permission(authorization="Bearer a") is Permission.CHANGE
    assert tokens.permission(authorization="Bearer r") is Permission.LOOK
    assert tokens.permission(cookie=session_of("a")) is Permission.CHANGE
    assert tokens.permission(cookie=session_of("r")) is Permission.LOOK
    assert tokens.permission(cookie="a") is tokens.permission(authorization="Bearer ") is tokens.permission(cookie="") is Permission.NOTHING
    assert (tokens.session("a"), tokens.session("x"), tokens.session("")) == (session_of("a"), None, None)


def test_a_forms_token_differs_by_login_and_is_asked_of_whatever_a_browser_may_send() -> None:
    assert len({csrf_token(b"1", None), csrf_token(b"1", "a"), csrf_token(b"2", "a")}) == 3
    for headers in ({"Origin": "x"}, {"Sec-Fetch-Site": "none"}, {"Cookie": "a=b"}, {"Content-Type": "text/plain;charset=utf-8"},
                    {"Content-Type": "multipart/form-data; boundary=x"}):
        assert needs_csrf(headers)
        assert not needs_csrf({"Authorization": "Bearer x", **headers})
    assert not needs_csrf({"Content-Type": "application/json"})


@pytest.mark.parametrize(("name", "value", "secret"), [
    ("TABLE", "orders", False), ("API_KEY", "x", True), ("db_password", "x", True), ("URL", "postgres://app:pw@db/x", True), ("URL", "https://example.com/a:b@c", False),
    ("GITHUB", "ghp_abcdefghijklmnop", True), ("API_KEY", "", False),
])
def test_what_looks_secret(name: str, value: str, secret: bool) -> None:
    assert is_secret(name, value) is secret


# ---- an invocation's time --------------------------------------------------------------------------------------------

def test_a_timeline_shows_waiting_importing_and_running_of_every_try() -> None:
    facts: dict[str, Any] = {"id": "1", "arn": "a", "cause": "invoke"}
    first = Record(key="1", status="failed", queued_at=BEGIN, started_at=BEGIN + timedelta(milliseconds=30), init=0.01, duration=0.005, **facts)
    second = Record(key="2", status="succeeded", queued_at=BEGIN + timedelta(milliseconds=35), attempt=2, started_at=BEGIN + timedelta(milliseconds=100),
                    duration=0.02, attempts=(first,), **facts)
    assert [(span["name"], round(span["start"]), round(span["length"])) for span in timeline(first)] == [("queued", 0, 20), ("init", 20, 10), ("run", 30, 5)]  # type: ignore[call-overload]
    both = Record(**{name: getattr(second, name) for name in second.__slots__} | {"attempts": (first, second)})
    assert [(span["name"], round(span["start"]), round(span["length"])) for span in timeline(both)] == [  # type: ignore[call-overload]
        ("queued 1", 0, 20), ("init 1", 20, 10), ("run 1", 30, 5), ("queued 2", 35, 65), ("run 2", 100, 20),
    ]
