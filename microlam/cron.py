"""When a schedule is next due: `rate(5 minutes)`, `cron(0 10 * * ? *)`, `at(2026-03-29T02:00:00)`, as EventBridge reads them.

cron and at speak of local wall time in the schedule's time zone: a time that does not exist there (clocks go forward) is skipped, one
that comes twice (clocks go back) counts once, the first time. Calendar arithmetic is aws-croniter's, zones are zoneinfo's.
"""
from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from microlam.errors import InvalidParameter

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from aws_croniter import AwsCroniter  # type: ignore[import-untyped]

FIRST_YEAR, LAST_YEAR = 1970, 2199
# The rarest day there is, a 29 February on a given weekday, comes back after 40 years where 2100 is no leap year.
_RAREST = 41
# From the year 1 to the year 9999 is 3,652,058 days.
_LONGEST_RATE = timedelta(days=3_650_000)

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)(s?)\)")
_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_CRON = re.compile(r"cron\((.*)\)", re.DOTALL)
_YEARS = re.compile(r"(\*|\d{4})(?:-(\d{4}))?(?:/(\d+))?")
_MINUTE = timedelta(minutes=1)


def check(expression: str, timezone: str = "UTC") -> None:
    """Raise InvalidParameter, saying what is wrong and what to write instead, unless EventBridge would take this schedule."""
    _zone(timezone)
    _rule(expression)


def next_time(expression: str, after: datetime, timezone: str = "UTC", *, anchor: datetime | None = None) -> datetime | None:
    """The first time after `after`, in UTC; None when there is none any more. A rate counts from `anchor`, one of its earlier times."""
    zone, rule = _zone(timezone), _rule(expression)
    if isinstance(rule, timedelta):
        return _next_in_series(after if anchor is None else anchor, rule, after)
    if isinstance(rule, datetime):
        due = _instant(rule, zone)
        return due if due is not None and due > after else None
    return rule.next_instant(after, zone)


def last_time(expression: str, after: datetime, until: datetime, timezone: str = "UTC", *, anchor: datetime | None = None) -> datetime | None:
    """The last time after `after` and not after `until`; None when there is none between them."""
    # Look back from `until` twice as far each time, so that a long gap of a frequent schedule is not walked through.
    span = _MINUTE
    while True:
        start = max(after, until - span)
        found, due = None, next_time(expression, start, timezone, anchor=anchor)
        while due is not None and due <= until:
            found, due = due, next_time(expression, due, timezone, anchor=anchor)
        if found is not None or start == after:
            return found
        span *= 2


def next_times(expression: str, after: datetime, timezone: str = "UTC", count: int = 5) -> list[datetime]:
    """The next `count` times, fewer where there are no more."""
    return list(islice(_times(expression, after, timezone), count))


def _times(expression: str, after: datetime, timezone: str) -> Iterator[datetime]:
    due = next_time(expression, after, timezone)
    while due is not None:
        yield due
        due = next_time(expression, due, timezone)


def _next_in_series(anchor: datetime, period: timedelta, after: datetime) -> datetime | None:
    try:
        return anchor + ((after - anchor) // period + 1) * period
    except OverflowError:
        return None


# ---- wall time and instants ------------------------------------------------------------------------------------------

def _instant(wall: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant at which clocks in the zone show this naive time; None where they never do."""
    try:
        instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    except OverflowError:
        return None
    return instant if instant.astimezone(zone).replace(tzinfo=None) == wall else None


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo  # a third of a megabyte, for those who have schedules
    try:
        return ZoneInfo(name)
    except (ValueError, OSError) as error:      # ZoneInfoNotFoundError is a KeyError
        raise _no_zone(name) from error
    except KeyError as error:
        raise _no_zone(name) from error


def _no_zone(name: str) -> InvalidParameter:
    return InvalidParameter(reason=f'"{name}" is no time zone. Use a name of the IANA database, such as Europe/Berlin, America/New_York or UTC.')


# ---- expressions -----------------------------------------------------------------------------------------------------

# Small: parsing again costs 30 µs, but a thousand parsed expressions would hold ten megabytes.
@lru_cache(maxsize=64)
def _rule(expression: str) -> timedelta | datetime | _Cron:
    """A rate's period, an at's wall time, or a cron."""
    if match := _RATE.fullmatch(expression):
        return _rate(expression, int(match[1]), match[2], match[3])
    if match := _AT.fullmatch(expression):
        return _at(expression, match[1])
    if match := _CRON.fullmatch(expression):
        return _cron(expression, match[1].split())
    raise _bad(expression, f"it is none of rate(5 minutes), cron(0 10 * * ? *) and at(2026-03-29T02:00:00){_hint(expression)}")


def _hint(expression: str) -> str:
    """What its author may have meant."""
    if len(expression.split()) == 5:
        return f"; this looks like Unix cron: write cron({_from_unix(expression.split())})"
    if expression.startswith("rate("):
        return "; a rate is a whole number and one of minute, minutes, hour, hours, day, days, with one blank between"
    if expression.startswith("at("):
        return "; an at has date and time as yyyy-mm-ddThh:mm:ss, without a zone: use timezone for that"
    return ""


def _bad(expression: str, problem: str) -> InvalidParameter:
    return InvalidParameter(reason=f'Schedule "{expression}": {problem}.')


def _rate(expression: str, number: int, unit: str, plural: str) -> timedelta:
    if number == 0:
        raise _bad(expression, "the number must be at least 1")
    if (number == 1) == bool(plural):
        raise _bad(expression, f"AWS takes the singular for 1 and the plural above: write rate({number} {unit}{'' if number == 1 else 's'})")
    try:
        period = timedelta(**{f"{unit}s": number})
    except OverflowError:
        period = timedelta.max
    if period > _LONGEST_RATE:
        raise _bad(expression, "the number is too large")
    return period


def _at(expression: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise _bad(expression, f"there is no such date or time ({error})") from error


# ---- cron ------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Cron:
    croniter: AwsCroniter
    last_weekday: bool      # day-of-month is LW

    def next_instant(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        # aws-croniter knows only UTC, so it is given wall time as if that were UTC.
        wall = self._next_wall(after.astimezone(zone).replace(tzinfo=None))
        while wall is not None:
            instant = _instant(wall, zone)
            # Before `after`: the first of two passes over a time that comes twice; this is the second.
            if instant is not None and instant > after:
                return instant
            wall = self._next_wall(wall)
        return None

    def _next_wall(self, after: datetime) -> datetime | None:
        found = self._next_match(after)
        while found is not None and self.last_weekday and found.date() != _last_weekday(found.year, found.month):
            found = self._next_match(found.replace(hour=23, minute=59))
        return found

    def _next_match(self, after: datetime) -> datetime | None:
        """What aws-croniter finds, looked for year by year where it gives up after ten steps (the next 29 February is further)."""
        found = self._occurrence(after)
        for year in range(after.year + 1, min(after.year + _RAREST, max(self.croniter.years)) + 1):
            if found is not None:
                break
            found = self._occurrence(datetime(year, 1, 1) - _MINUTE)
        return found

    def _occurrence(self, after: datetime) -> datetime | None:
        found: datetime | None = self.croniter.occurrence(after.replace(tzinfo=UTC)).next()
        return None if found is None else found.replace(tzinfo=None)


def _last_weekday(year: int, month: int) -> date:
    last = date(year, month, calendar.monthrange(year, month)[1])
    return last - timedelta(days=max(0, last.weekday() - 4))


def _cron(expression: str, fields: list[str]) -> _Cron:
    from aws_croniter import AwsCroniter  # 30 ms that a server without schedules need not spend

    _check_fields(expression, fields)
    minute, hour, day, month, weekday, year = (field.upper() for field in fields)
    last_weekday = day == "LW"
    # What AWS takes and aws-croniter misreads: LW, L as a weekday (the week's last day), and steps of years.
    written = [minute, hour, "26-31" if last_weekday else day, month, "7" if weekday == "L" else weekday, _years(expression, year)]
    try:
        return _Cron(AwsCroniter(" ".join(written)), last_weekday)
    except Exception as error:      # its own errors have no common class but Exception, and a bad step is a bare ValueError
        raise _bad(expression, f"{_problem(error)}. Fields are minutes hours day-of-month month day-of-week year, as in cron(0 10 ? * MON-FRI *)") from error


def _problem(error: Exception) -> str:
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:] if text.startswith("Invalid") else f"a range or step is wrong ({text})"


def _check_fields(expression: str, fields: list[str]) -> None:
    if len(fields) != 6:
        example = _from_unix(fields) if len(fields) == 5 else "0 10 * * ? *"
        raise _bad(expression, f"it has {len(fields)} field{'' if len(fields) == 1 else 's'}, AWS wants 6 "
                               f"(minutes hours day-of-month month day-of-week year): write cron({example})")
    day, weekday = fields[2], fields[4]
    if (day == "?") == (weekday == "?"):
        minute, hour, _, month, _, year = fields
        remedy = f"{minute} {hour} {'*' if day in '?*' else day} {month} ? {year}" if weekday in "?*" else f"{minute} {hour} ? {month} {weekday} {year}"
        raise _bad(expression, f"exactly one of day-of-month ({day}) and day-of-week ({weekday}) must be ?: write cron({remedy})")


def _from_unix(fields: list[str]) -> str:
    """A five-field cron as AWS would have it, as far as that can be guessed."""
    minute, hour, day, month, weekday = fields
    if weekday in "?*":
        return f"{minute} {hour} {day} {month} ? *"
    # Unix counts weekdays from Sunday 0, AWS from SUN 1.
    return f"{minute} {hour} ? {month} {re.sub('[0-7]', lambda number: _WEEKDAYS[int(number[0]) % 7], weekday)} *"


_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def _years(expression: str, field: str) -> str:
    """A year field with its steps written out: `2026/2` → `2026,2028,…`."""
    return ",".join(_year_steps(expression, part) if "/" in part else part for part in field.split(","))


def _year_steps(expression: str, part: str) -> str:
    match = _YEARS.fullmatch(part)
    if match is None or int(match[3] or 0) == 0:
        raise _bad(expression, f'year "{part}" is no step; write for example 2026/2 or */4')
    first = FIRST_YEAR if match[1] == "*" else int(match[1])
    last = int(match[2]) if match[2] else LAST_YEAR
    if not FIRST_YEAR <= first <= last <= LAST_YEAR:
        raise _bad(expression, f'year "{part}" is not within {FIRST_YEAR}-{LAST_YEAR}')
    return ",".join(map(str, range(first, last + 1, int(match[3]))))
