"""When schedules are due."""
from __future__ import annotations

import calendar
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from microlam.cron import check, last_time, next_time, next_times
from microlam.errors import InvalidParameter

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(moments: list[datetime], zone: str) -> list[str]:
    return [f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}" for moment in moments]


# ---- rate and at -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("expression", "due"), [
    ("rate(1 minute)", "2026-03-01T12:01:07"), ("rate(5 minutes)", "2026-03-01T12:05:07"), ("rate(1 hour)", "2026-03-01T13:00:07"),
    ("rate(2 hours)", "2026-03-01T14:00:07"), ("rate(1 day)", "2026-03-02T12:00:07"), ("rate(30 days)", "2026-03-31T12:00:07"),
])
def test_a_rate_is_due_one_period_later(expression: str, due: str) -> None:
    assert next_time(expression, at("2026-03-01T12:00:07")) == at(due)


def test_a_rate_keeps_to_its_anchor_however_long_the_gap() -> None:
    assert next_time("rate(7 minutes)", at("2026-03-05T00:00:00"), anchor=at("2026-03-01T12:00:07")) == at("2026-03-05T00:00:07")
    assert next_time("rate(7 minutes)", at("2026-03-01T12:07:07"), anchor=at("2026-03-01T12:00:07")) == at("2026-03-01T12:14:07")


def test_a_rate_that_was_kept_too_far_ahead_comes_back_to_its_next_turn() -> None:
    assert next_time("rate(10 minutes)", at("2026-03-01T12:03:00"), anchor=at("2030-01-01T00:00:00")) == at("2026-03-01T12:10:00")


def test_an_at_is_due_once_in_its_own_zone() -> None:
    assert next_times("at(2026-07-01T09:30:00)", at("2026-03-01T00:00:00"), "Europe/Berlin") == [at("2026-07-01T07:30:00")]
    assert next_time("at(2026-07-01T09:30:00)", at("2026-07-01T07:30:00"), "Europe/Berlin") is None


def test_an_at_in_the_hour_that_clocks_skip_is_never_due() -> None:
    assert next_time("at(2026-03-29T02:30:00)", at("2026-01-01T00:00:00"), "Europe/Berlin") is None


# ---- cron ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("expression", "due"), [
    # AWS's own examples: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
    ("cron(0 10 * * ? *)", ["2026-11-23T10:00", "2026-11-24T10:00"]),
    ("cron(15 12 * * ? *)", ["2026-11-23T12:15", "2026-11-24T12:15"]),
    ("cron(0 18 ? * MON-FRI *)", ["2026-11-23T18:00", "2026-11-24T18:00"]),
    ("cron(0 8 1 * ? *)", ["2026-12-01T08:00", "2027-01-01T08:00"]),
    ("cron(0/15 * * * ? *)", ["2026-11-23T06:15", "2026-11-23T06:30"]),
    ("cron(0/5 8-17 ? * MON-FRI *)", ["2026-11-23T08:00", "2026-11-23T08:05"]),
    ("cron(0/30 20-2 ? * MON-FRI *)", ["2026-11-23T20:00", "2026-11-23T20:30"]),
    # last day, last weekday of the month, nearest weekday, last day of the week
    ("cron(0 0 L * ? *)", ["2026-11-30T00:00", "2026-12-31T00:00"]),
    ("cron(0 0 L-3 * ? *)", ["2026-11-27T00:00", "2026-12-28T00:00"]),
    ("cron(0 0 LW * ? *)", ["2026-11-30T00:00", "2026-12-31T00:00", "2027-01-29T00:00", "2027-02-26T00:00"]),
    ("cron(0 0 15W * ? *)", ["2026-12-15T00:00", "2027-01-15T00:00", "2027-02-15T00:00"]),
    ("cron(0 0 1W 8 ? *)", ["2027-08-02T00:00"]),
    ("cron(0 0 ? * L *)", ["2026-11-28T00:00", "2026-12-05T00:00"]),
    ("cron(0 0 ? * 6L *)", ["2026-11-27T00:00", "2026-12-25T00:00"]),
    ("cron(0 0 ? * FRIL *)", ["2026-11-27T00:00", "2026-12-25T00:00"]),
    ("cron(0 0 ? * TUE#2 *)", ["2026-12-08T00:00", "2027-01-12T00:00"]),
    # far apart
    ("cron(0 0 29 2 ? *)", ["2028-02-29T00:00", "2032-02-29T00:00"]),
    ("cron(0 0 ? 2 SUN#5 *)", ["2032-02-29T00:00", "2060-02-29T00:00"]),
    # years
    ("cron(0 0 1 1 ? 2030)", ["2030-01-01T00:00"]),
    ("cron(0 0 1 1 ? 2028,2035-2036)", ["2028-01-01T00:00", "2035-01-01T00:00", "2036-01-01T00:00"]),
    ("cron(0 0 1 1 ? 2026/2)", ["2028-01-01T00:00", "2030-01-01T00:00"]),
    ("cron(0 0 1 1 ? 2027-2031/3)", ["2027-01-01T00:00", "2030-01-01T00:00"]),
    ("cron(0  0 1  jan ? *)", ["2027-01-01T00:00"]),
])
def test_every_form_of_cron(expression: str, due: list[str]) -> None:
    assert next_times(expression, at("2026-11-23T06:00:00"), count=len(due)) == [at(moment) for moment in due]


@pytest.mark.parametrize("expression", ["cron(0 0 31 2 ? *)", "cron(0 0 1 1 ? 2020)"])
def test_a_cron_that_never_comes_again_is_never_due(expression: str) -> None:
    assert next_time(expression, at("2026-11-23T06:00:00")) is None


# ---- against brute force ---------------------------------------------------------------------------------------------

Field = tuple[str, Callable[[int], bool]]


def a_field(dice: random.Random, low: int, high: int, names: tuple[str, ...] = ()) -> Field:
    """A field as somebody might write it, and what it takes."""
    first, last, step = dice.randint(low, high), dice.randint(low, high), dice.randint(1, max(2, (high - low) // 2))
    first, last = min(first, last), max(first, last)

    def word(value: int) -> str:
        return names[value - low] if names and dice.random() < 0.5 else str(value)

    forms: list[Field] = [
        ("*", lambda value: True),
        (word(first), lambda value: value == first),
        (f"{word(first)}-{word(last)}", lambda value: first <= value <= last),
        (f"{word(first)},{word(last)}", lambda value: value in (first, last)),
        (f"{first}/{step}", lambda value: value >= first and (value - first) % step == 0),
        (f"*/{step}", lambda value: (value - low) % step == 0),
        (f"{first}-{last}/{step}", lambda value: first <= value <= last and (value - first) % step == 0),
    ]
    return dice.choice(forms)


def an_aws_weekday(day: date) -> int:
    return day.isoweekday() % 7 + 1


def days(dice: random.Random) -> tuple[str, str, Callable[[date], bool]]:
    """Day-of-month, day-of-week and which dates they mean."""
    def last(day: date) -> int:
        return calendar.monthrange(day.year, day.month)[1]

    def nearest_weekday(day: date, wanted: int) -> bool:
        weekdays = [number for number in range(1, last(day) + 1) if date(day.year, day.month, number).weekday() < 5]
        # A Saturday goes back to Friday and a Sunday on to Monday, but never into another month.
        return wanted <= last(day) and day.day == min(weekdays, key=lambda number: abs(number - wanted))

    number, weekday, week, back = dice.randint(1, 31), dice.randint(1, 7), dice.randint(1, 5), dice.randint(0, 30)
    month_field, takes_month_day = a_field(dice, 1, 31)
    first, final = sorted((dice.randint(1, 7), dice.randint(1, 7)))
    forms: list[tuple[str, str, Callable[[date], bool]]] = [
        (month_field, "?", lambda day: takes_month_day(day.day)),
        ("L", "?", lambda day: day.day == last(day)),
        (f"L-{back}" if back else "L", "?", lambda day: day.day == last(day) - back),
        ("LW", "?", lambda day: nearest_weekday(day, last(day)) if date(day.year, day.month, last(day)).weekday() != 6 else
            day.day == last(day) - 2),
        (f"{number}W", "?", lambda day: nearest_weekday(day, number)),
        ("?", f"{WEEKDAYS[first - 1]}-{final}", lambda day: first <= an_aws_weekday(day) <= final),
        ("?", "L", lambda day: an_aws_weekday(day) == 7),
        ("?", f"{weekday}L", lambda day: an_aws_weekday(day) == weekday and day.day > last(day) - 7),
        ("?", f"{WEEKDAYS[weekday - 1]}#{week}", lambda day: an_aws_weekday(day) == weekday and (day.day - 1) // 7 + 1 == week),
    ]
    return dice.choice(forms)


@pytest.mark.parametrize("seed", range(300))
def test_random_crons_agree_with_looking_at_every_minute(seed: int) -> None:
    # given a cron whose every field is random, in a random zone
    dice = random.Random(seed)
    (minute, takes_minute), (hour, takes_hour), (month, takes_month) = a_field(dice, 0, 59), a_field(dice, 0, 23), a_field(dice, 1, 12, MONTHS)
    day, weekday, takes_day = days(dice)
    expression = f"cron({minute} {hour} {day} {month} {weekday} *)"
    zone = ZoneInfo(dice.choice(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]))
    # around a change of clocks as often as not
    start = dice.choice([at("2026-03-28T00:00:00"), at("2026-10-24T00:00:00"), at("2026-03-07T12:00:00"), at("2026-10-31T12:00:00"),
                         at("2026-01-01T00:00:00") + timedelta(minutes=dice.randrange(500_000))])
    # when every minute of the next days is looked at, on the wall clock
    expected, seen = [], set()
    for number in range(1, 4 * 24 * 60):
        moment = start + timedelta(minutes=number)
        wall = moment.astimezone(zone).replace(tzinfo=None)
        if not takes_minute(wall.minute) or not takes_hour(wall.hour) or not takes_month(wall.month) or not takes_day(wall.date()):
            continue
        if moment.astimezone(zone).fold == 0 and wall not in seen:
            seen.add(wall)
            expected.append(moment)
    # then the same times come out
    end = start + timedelta(minutes=4 * 24 * 60 - 1)
    found = []
    due = next_time(expression, start, zone.key)
    while due is not None and due <= end:
        found.append(due)
        due = next_time(expression, due, zone.key)
    assert found == expected, expression


# ---- clocks that change ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("zone", "before", "due"), [
    ("Europe/Berlin", "2026-03-27T12:00:00", ["2026-03-28 02:30 CET", "2026-03-30 02:30 CEST"]),
    ("America/New_York", "2026-03-06T12:00:00", ["2026-03-07 02:30 EST", "2026-03-09 02:30 EDT"]),
])
def test_a_local_time_that_does_not_exist_is_skipped(zone: str, before: str, due: list[str]) -> None:
    assert local(next_times("cron(30 2 * * ? *)", at(before), zone, 2), zone) == due


@pytest.mark.parametrize(("zone", "expression", "before", "due"), [
    ("Europe/Berlin", "cron(30 2 * * ? *)", "2026-10-24T12:00:00", ["2026-10-25 02:30 CEST", "2026-10-26 02:30 CET"]),
    ("America/New_York", "cron(30 1 * * ? *)", "2026-10-31T12:00:00", ["2026-11-01 01:30 EDT", "2026-11-02 01:30 EST"]),
    ("Europe/Berlin", "cron(0/30 * * * ? *)", "2026-10-24T23:45:00", ["2026-10-25 02:00 CEST", "2026-10-25 02:30 CEST", "2026-10-25 03:00 CET"]),
])
def test_a_local_time_that_comes_twice_counts_the_first_time(zone: str, expression: str, before: str, due: list[str]) -> None:
    assert local(next_times(expression, at(before), zone, len(due)), zone) == due


def test_asked_within_the_second_pass_it_waits_for_a_new_time() -> None:
    # 02:15 for the second time
    assert local(next_times("cron(30 2 * * ? *)", at("2026-10-25T01:15:00"), "Europe/Berlin", 1), "Europe/Berlin") == ["2026-10-26 02:30 CET"]


# ---- looking back ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("expression", "after", "until", "last"), [
    ("cron(0 10 * * ? *)", "2026-03-01T12:00", "2026-03-05T09:59", "2026-03-04T10:00"),
    ("cron(0 10 * * ? *)", "2026-03-01T12:00", "2026-03-05T10:00", "2026-03-05T10:00"),
    ("cron(0 10 * * ? *)", "2026-03-01T10:00", "2026-03-02T09:00", None),
    ("cron(* * * * ? *)", "2020-01-01T00:00", "2026-03-05T10:00", "2026-03-05T10:00"),
    ("at(2026-03-02T00:00:00)", "2026-03-01T10:00", "2026-03-02T09:00", "2026-03-02T00:00"),
])
def test_the_last_time_within_a_gap(expression: str, after: str, until: str, last: str | None) -> None:
    assert last_time(expression, at(after), at(until)) == (None if last is None else at(last))


def test_the_last_turn_of_a_rate_keeps_to_its_anchor() -> None:
    anchor = at("2026-03-01T00:00:30")
    assert last_time("rate(5 minutes)", anchor, at("2026-03-02T00:03:00"), anchor=anchor) == at("2026-03-02T00:00:30")


# ---- what AWS would not take -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("expression", "says"), [
    ("rate(5 minute)", "write rate(5 minutes)"),
    ("rate(1 minutes)", "write rate(1 minute)"),
    ("rate(0 minutes)", "at least 1"),
    ("rate(5minutes)", "one blank between"),
    ("rate(99999999999999999999 days)", "too large"),
    ("cron(0 10 * * *)", "it has 5 fields, AWS wants 6 (minutes hours day-of-month month day-of-week year): write cron(0 10 * * ? *)"),
    ("0 10 * * 1-5", "this looks like Unix cron: write cron(0 10 ? * MON-FRI *)"),
    ("cron(0 10 * * * *)", "exactly one of day-of-month (*) and day-of-week (*) must be ?: write cron(0 10 * * ? *)"),
    ("cron(0 10 1 * MON *)", "write cron(0 10 ? * MON *)"),
    ("cron(0 10 ? * ? *)", "write cron(0 10 * * ? *)"),
    ("cron(60 10 * * ? *)", "invalid minute value '60'"),
    ("cron(0 24 * * ? *)", "invalid hour value '24'"),
    ("cron(0 10 32 * ? *)", "invalid day-of-month value '32'"),
    ("cron(0 10 * 13 ? *)", "invalid month value '13'"),
    ("cron(0 10 ? * 8 *)", "invalid day-of-week value '8'"),
    ("cron(0 10 * * ? 1969)", "invalid year value '1969'"),
    ("cron(0/0 10 * * ? *)", "step must be positive"),
    ("cron(0 10 * * ? 2026/0)", 'year "2026/0" is no step'),
    ("at(2026-02-30T00:00:00)", "no such date"),
    ("at(2026-03-01 10:00)", "yyyy-mm-ddThh:mm:ss"),
    ("every day", "none of rate(5 minutes), cron(0 10 * * ? *) and at("),
    ("", "none of"),
])
def test_a_broken_schedule_is_named_with_its_fault_and_the_remedy(expression: str, says: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check(expression)
    assert f'"{expression}"' in str(refused.value)
    assert says in str(refused.value)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe", "Europe/berlin\0"])
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(InvalidParameter, match=r"is no time zone\. Use a name of the IANA database"):
        check("rate(1 hour)", zone)


def test_times_only_rise() -> None:
    moments = next_times("cron(0/7 */3 ? * MON,WED *)", at("2026-01-01T00:00:00"), "America/New_York", 500)
    assert len(moments) == 500
    assert all(earlier < later for earlier, later in pairwise(moments))
