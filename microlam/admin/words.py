"""Values in words, as the pages show them: durations, sizes, counts, shares, and what an invocation was. Pure functions."""
from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

STATUS_WORDS: Mapping[str, str] = {
    "pending": "waiting", "running": "running", "succeeded": "succeeded", "failed": "failed", "timed_out": "timed out", "crashed": "crashed",
    "throttled": "throttled", "missed": "missed",
}
# How a status is marked: the colour of a result, never without its word.
STATUS_MARKS: Mapping[str, str] = {
    "pending": "soft", "running": "cold", "succeeded": "ok", "failed": "bad", "timed_out": "warn", "crashed": "bad", "throttled": "warn", "missed": "warn",
}
_CAUSES: Mapping[str, str] = {"invoke": "invoked", "schedule": "schedule", "file": "file", "http": "request", "replay": "replay", "test": "test"}


def duration(milliseconds: float | None) -> str:
    """`0.9 ms`, `148 ms`, `3.00 s`, `2 min 5 s`."""
    if milliseconds is None:
        return "–"
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 99_995:
        return f"{milliseconds / 1000:.2f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds} s"


def size(number: float) -> str:
    """`12 B`, `1.4 KB`, `120 MB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 999.5 or unit == "GB":
            return f"{number:.0f} {unit}" if unit == "B" or number >= 99.5 else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def count(number: float) -> str:
    """`48,211`."""
    return f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """`0.7 %`; a dash of nothing."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent in (0, 100) or percent >= 10 else f"{percent:.1f} %"


def what(cause: str, summary: str) -> str:
    """What an invocation was: `POST /orders → 201`, `uploads/a.png created`, `schedule rate(5 minutes)`."""
    if cause in ("http", "file") and summary:
        return summary
    return " ".join(filter(None, (_CAUSES.get(cause, cause), summary if summary != cause else "")))


def result(status: str, error_type: str | None) -> str:
    """How it ended: `succeeded`, `failed KeyError`."""
    word = STATUS_WORDS.get(status, status)
    return f"{word} {error_type}" if error_type and status == "failed" else word


def moment(instant: datetime | str | None, form: str = "%H:%M:%S.%f") -> str:
    """A time of day, to the millisecond, in the server's own zone; a browser that runs scripts shows its reader's."""
    if instant is None:
        return "–"
    at = (datetime.fromisoformat(instant) if isinstance(instant, str) else instant).astimezone()
    return at.strftime(form.replace("%f", f"{at.microsecond // 1000:03d}"))


def ran(version: str | None, qualifier: str | None) -> str:
    """What ran: `live → 2`, `$LATEST`."""
    return f"{qualifier} → {version}" if qualifier and version and qualifier != version else (version or qualifier or "")
