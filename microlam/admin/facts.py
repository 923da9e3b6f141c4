"""What the admin tells of functions, triggers and errors, as plain values for JSON and pages alike. Pure functions."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from microlam.model import Drop, Route, Schedule, Trigger

if TYPE_CHECKING:
    from microlam.functions import Function

Facts = dict[str, object]


def function_facts(function: Function, triggers: Sequence[Trigger], next_times: Mapping[str, datetime], buckets: Mapping[str, Path]) -> Facts:
    """A function with what leads to it; `next_times` by trigger id, `buckets` the folders by name."""
    version = function.latest
    return {
        "name": function.name, "arn": function.arn, "version": version.number, "runtime": version.runtime, "handler": version.handler,
        "timeout": version.timeout, "memory": version.memory, "executor": version.executor, "concurrency": version.concurrency,
        "sha256": version.sha256, "error": function.error, "warnings": list(function.warnings),
        "triggers": [trigger_facts(trigger, next_times.get(trigger.id), buckets) for trigger in triggers],
    }


def trigger_facts(trigger: Trigger, next_time: datetime | None, buckets: Mapping[str, Path]) -> Facts:
    """One trigger: its summary in words, and its parts."""
    facts: Facts = {"id": trigger.id, "summary": str(trigger.when), "target": trigger.target, "origin": trigger.origin, "enabled": trigger.enabled}
    match trigger.when:
        case Route() as route:
            return {**facts, "kind": "http", "method": route.method, "path": route.path}
        case Schedule() as schedule:
            return {**facts, "kind": "schedule", "expression": schedule.expression, "timezone": schedule.timezone, "next": _iso(next_time)}
        case Drop() as drop:
            folder = buckets.get(drop.bucket)
            return {
                **facts, "kind": "file", "bucket": drop.bucket, "prefix": drop.prefix, "suffix": drop.suffix, "events": list(drop.events),
                "folder": None if folder is None else str(folder),
            }


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def examples(name: str, triggers: Sequence[Trigger], address: str, buckets: Mapping[str, Path]) -> list[str]:
    """Commands to copy that run a function, one for each way to it."""
    lines = [line for trigger in triggers if (line := _example(name, trigger.when, address, buckets))]
    return list(dict.fromkeys(lines)) or [f"microlam invoke {quote(name)}"]


def _example(name: str, when: Route | Schedule | Drop, address: str, buckets: Mapping[str, Path]) -> str | None:
    match when:
        case Schedule():
            return f"microlam fire {quote(name)}"
        case Drop():
            return f"cp FILE{when.suffix} {quote(str(buckets.get(when.bucket, Path(when.bucket)) / when.prefix))}/".replace("//", "/")
        case Route(path="$default"):
            return f"curl {address}/"
        case Route():
            return _curl(when, address)


def _curl(route: Route, address: str) -> str | None:
    if route.path.endswith("/{proxy+}"):
        return None                         # the route above it says the same, shorter
    # curl takes braces for a list of addresses.
    path = route.path.replace("+}", "").replace("{", "").replace("}", "")
    method = {"GET": "", "ANY": "", "HEAD": " --head", "POST": " --json '{}'"}.get(route.method, f" -X {route.method}")
    if route.method in ("PUT", "PATCH"):
        method += " --json '{}'"
    return f"curl {quote(address + path)}{method}"


# ---- environment -----------------------------------------------------------------------------------------------------

_SECRET_NAME = re.compile(r"secret|token|passw|pwd|key|credential|auth|dsn|private|salt|signature|cert|session|cookie", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN |^(sk|pk|ghp|gho|xox[bp]|AKIA)[-_A-Za-z0-9]{12,}")


def environment_facts(environment: Mapping[str, str], *, shown: bool) -> list[Facts]:
    """Variables by name; the value of one that looks secret is None unless it is to be shown."""
    return [
        {"name": name, "secret": (secret := is_secret(name, value)), "value": value if shown or not secret else None}
        for name, value in sorted(environment.items())
    ]


def is_secret(name: str, value: str) -> bool:
    """Whether a variable, by its name or its value, looks like what one does not show to somebody looking over one's shoulder."""
    return bool(value) and bool(_SECRET_NAME.search(name) or _SECRET_VALUE.search(value))


# ---- errors ----------------------------------------------------------------------------------------------------------

def traceback_text(error: Mapping[str, object]) -> str:
    """An error object as Python would print it."""
    trace = error.get("stackTrace")
    frames = "".join(f"{str(frame).rstrip()}\n" for frame in trace) if isinstance(trace, list) else ""
    head = "Traceback (most recent call last):\n" if frames else ""
    return f"{head}{frames}{error_line(error)}"


def error_line(error: Mapping[str, object]) -> str:
    """`KeyError: 'total'`."""
    return f"{error.get('errorType', 'Error')}: {error.get('errorMessage', '')}"
