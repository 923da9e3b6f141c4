"""What leads to a function, from the words of its author: decorators, `microlam.toml`, or the default route."""
from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from microlam import declare
from microlam.cron import check
from microlam.errors import MicrolamError
from microlam.functions.reading import Mark
from microlam.model import Drop, Route, Schedule, Trigger
from microlam.routes import RouteTable, parse_route

When = Route | Schedule | Drop

DROP_EVENTS = (
    "s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy", "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*", "s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated",
)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
QUALIFIER = re.compile(r"\$LATEST|[a-zA-Z0-9-_]{1,128}")


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One thing that leads to a function, and the version or alias it leads to."""

    when: When
    origin: str                         # decorator · toml
    qualifier: str | None = None


def read_mark(mark: Mark) -> Declared:
    """What a decorator says; ValueError, in a sentence, where it says nothing we know."""
    if mark.problem:
        raise ValueError(mark.problem)
    try:
        bound = _signature(mark.kind).bind(*mark.positional, **mark.named)
    except TypeError as error:
        raise ValueError(f"@{mark.kind}: {error}") from None
    bound.apply_defaults()
    said = bound.arguments
    qualifier = said.pop("qualifier")
    if qualifier is not None:
        qualifier = read_qualifier(qualifier, f"@{mark.kind}: ")
    return Declared(when=_when(mark.kind, said), origin="decorator", qualifier=qualifier)


def read_qualifier(qualifier: object, where: str = "") -> str:
    """The alias or version that a trigger leads to; ValueError where it can be neither."""
    if not isinstance(qualifier, str) or not QUALIFIER.fullmatch(qualifier):
        raise ValueError(f"{where}qualifier must be the name of an alias or a version number, not {qualifier!r}")
    return qualifier


@cache
def _signature(kind: str) -> inspect.Signature:
    return inspect.signature(getattr(declare, kind))


def _when(kind: str, said: Mapping[str, object]) -> When:
    if kind == "http":
        return read_route(**said)
    if kind == "schedule":
        return read_schedule(**said)
    return read_drop(**said)


def read_route(route: object) -> Route:
    """`GET /orders/{id}`; ValueError where it is no route, or one that belongs to the server."""
    try:
        return parse_route(_text("a route", route))
    except MicrolamError as error:
        raise ValueError(str(error).rstrip(".")) from None


def read_schedule(expression: object, timezone: object = "UTC") -> Schedule:
    """`rate(5 minutes)` in a time zone; ValueError where EventBridge would refuse it."""
    words, zone = _text("a schedule", expression).strip(), _text("a schedule's timezone", timezone)
    try:
        check(words, zone)
    except MicrolamError as error:
        raise ValueError(str(error).rstrip(".")) from None
    return Schedule(expression=words, timezone=zone)


def read_drop(bucket: object, prefix: object = "", suffix: object = "", events: object = ()) -> Drop:
    """Files of a bucket; ValueError where the bucket could not be a folder, or an event is none of S3's."""
    name = _text("a bucket", bucket)
    if not _BUCKET.fullmatch(name):
        raise ValueError(f'"{name}" is not a bucket name: use letters, digits, ".", "-" and "_", beginning with a letter or digit')
    wanted = (events,) if isinstance(events, str) else tuple(events) if isinstance(events, list | tuple) else (events,)
    for event in wanted:
        if event not in DROP_EVENTS:
            raise ValueError(f"{event!r} is not an event of files: use {', '.join(DROP_EVENTS)}")
    kinds = {"events": tuple(str(event) for event in wanted)} if wanted else {}
    return Drop(bucket=name, prefix=_text("prefix", prefix), suffix=_text("suffix", suffix), **kinds)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a string, not {value!r}")
    return value


def triggers_of(arn: str, declared: Iterable[Declared], serve: str | None = None) -> tuple[Trigger, ...]:
    """A function's triggers: what was declared, each once; without a route and any other trigger, its default routes.

    They lead to the version or alias that each names, else to `serve`, else to what the files are.
    """
    found = {
        trigger.id: trigger for one in declared for trigger in [Trigger(target=_target(arn, one.qualifier or serve), when=one.when, origin=one.origin)]
    }
    if found:
        return tuple(found.values())
    return tuple(Trigger(target=_target(arn, serve), when=route) for route in default_routes(arn.rpartition(":")[2]))


def default_routes(name: str) -> tuple[Route, ...]:
    """`/NAME` and all below it; none where that belongs to the server."""
    try:
        return tuple(parse_route(f"ANY /{name}{below}") for below in ("", "/{proxy+}"))
    except MicrolamError:
        return ()


def _target(arn: str, qualifier: str | None) -> str:
    return f"{arn}:{qualifier}" if qualifier else arn


def settle_routes(triggers: Mapping[str, Sequence[Trigger]]) -> tuple[dict[str, tuple[Trigger, ...]], dict[str, list[str]]]:
    """By ARN, the triggers that stand and the warnings about those that do not: of two functions with one route the first by name keeps it."""
    conflicts = RouteTable(trigger for several in triggers.values() for trigger in several).conflicts
    dropped = {conflict.dropped.id for conflict in conflicts}
    standing = {arn: tuple(trigger for trigger in several if trigger.id not in dropped) for arn, several in triggers.items()}
    warnings = {
        arn: found for arn, several in triggers.items()
        if (found := [str(conflict) for conflict in conflicts if conflict.dropped in several])
    }
    return standing, warnings
