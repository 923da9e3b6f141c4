"""An invocation's log, taken apart for reading: a level and a time for each line, JSON lines unfolded, the REPORT's facts. Pure functions."""
from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LINES_SHOWN = 5_000

_LEVEL = re.compile(r"^\[?(TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|CRITICAL)\b\]?", re.IGNORECASE)
_PLATFORM = re.compile(r"^(START|END|REPORT|INIT_START|INIT_REPORT|EXTENSION)\b.*?(RequestId: |Runtime Version: |Init Duration: )")
_LEVELS = {"trace": "debug", "debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error", "fatal": "error", "critical": "error"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a log. `level` is debug, info, warning, error, platform or nothing; `unfolded` what a JSON line holds, by name."""

    text: str
    level: str = ""
    unfolded: Mapping[str, object] | None = None

    @property
    def summary(self) -> str:
        """What an unfolded line says first."""
        fields = self.unfolded or {}
        return str(next((fields[name] for name in ("message", "msg", "event", "type") if fields.get(name)), self.text[:120]))


def lines_of(log: str) -> Sequence[Line]:
    """The lines of a log; a traceback's lines have the level of the line that began it."""
    lines: list[Line] = []
    level = ""
    for text in log.splitlines()[:LINES_SHOWN]:
        unfolded = _unfolded(text)
        if unfolded is not None:
            level = ""
            lines.append(Line(text=text, level=_level_of_json(unfolded), unfolded=unfolded))
            continue
        level = _level(text, level)
        lines.append(Line(text=text, level=level))
    return lines


def _level(text: str, before: str) -> str:
    if _PLATFORM.match(text):
        return "platform"
    named = _LEVEL.match(text)
    if named:
        return _LEVELS[named[1].lower()]
    # What belongs to the line before: a traceback, its frames.
    goes_on = text.startswith((" ", "\t", "\xa0", "Traceback (most recent call last)")) or not text
    return before if goes_on and before in ("error", "warning") else ""


def _unfolded(text: str) -> Mapping[str, object] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _level_of_json(line: Mapping[str, object]) -> str:
    if str(line.get("type", "")).startswith("platform."):
        return "platform"
    return _LEVELS.get(str(line.get("level", line.get("levelname", ""))).lower(), "")


def report_facts(log: str) -> Mapping[str, str]:
    """What the REPORT line of a log says, by name, in either format: `Duration` → `3.10 ms`."""
    for text in reversed(log.splitlines()):
        if text.startswith("REPORT "):
            parts = (part.partition(": ") for part in text.removeprefix("REPORT ").split("\t"))
            return {name: value for name, colon, value in parts if colon and name != "RequestId"}
        if '"platform.report"' in text and (line := _unfolded(text)):
            record = line.get("record")
            metrics = record.get("metrics") if isinstance(record, dict) else None
            return {str(name): str(value) for name, value in metrics.items()} if isinstance(metrics, dict) else {}
    return {}
