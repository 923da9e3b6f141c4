"""Who listens to what: every function's triggers, and which of them a happening concerns.

Decorators, `microlam.toml` and whoever comes later write here; sources and the gateway only read.
"""
from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import chain

from microlam.model import Drop, Route, Schedule, Trigger
from microlam.routes import RouteTable


class Triggers:
    """All triggers, by function; tables for those who match against them are made once a change."""

    def __init__(self) -> None:
        self._declared: dict[str, tuple[Trigger, ...]] = {}
        self._by_function: dict[str, tuple[Trigger, ...]] = {}         # as they are in force: some of those declared may be paused
        self._paused: set[str] = set()
        self._routes: RouteTable | None = None
        self._subscribers: list[asyncio.Event] = []

    def replace(self, arn: str, triggers: Sequence[Trigger]) -> None:
        """Make these all the triggers of one function; none where it is gone."""
        if self._declared.get(arn, ()) == tuple(triggers):
            return
        self._declared[arn] = tuple(triggers)
        if not triggers:
            del self._declared[arn]
        self._settle()

    def pause(self, ids: Iterable[str]) -> None:
        """Let the triggers with these ids lead nowhere, whoever declares them and however often."""
        self._paused.update(ids)
        self._settle()

    def resume(self, ids: Iterable[str]) -> None:
        """Let the triggers with these ids lead to their functions again."""
        self._paused.difference_update(ids)
        self._settle()

    def _settle(self) -> None:
        self._by_function = {arn: tuple(map(self._settled, triggers)) for arn, triggers in self._declared.items()}
        self._routes = None
        for changed in self._subscribers:
            changed.set()

    def _settled(self, trigger: Trigger) -> Trigger:
        return dataclasses.replace(trigger, enabled=False) if trigger.id in self._paused else trigger

    def subscribe(self, changed: asyncio.Event) -> None:
        """Set this event on every change."""
        self._subscribers.append(changed)

    def all(self) -> Sequence[Trigger]:
        """Every trigger, functions by name, each function's in the order they were declared."""
        return tuple(chain.from_iterable(triggers for _, triggers in sorted(self._by_function.items())))

    @property
    def routes(self) -> RouteTable:
        """The routes of all functions, ready to match."""
        if self._routes is None:
            self._routes = RouteTable(trigger for trigger in self.all() if isinstance(trigger.when, Route) and trigger.enabled)
        return self._routes

    def schedules(self) -> Sequence[Trigger]:
        """The triggers that wait for a time, paused ones too."""
        return [trigger for trigger in self.all() if isinstance(trigger.when, Schedule)]

    def schedules_of(self, arn: str) -> Sequence[Trigger]:
        """One function's schedules; its first is number 1."""
        return [trigger for trigger in self._by_function.get(arn, ()) if isinstance(trigger.when, Schedule)]

    def of(self, arn: str) -> Sequence[Trigger]:
        """One function's triggers, in the order they were declared."""
        return self._by_function.get(arn, ())

    def drops(self, bucket: str | None = None) -> Sequence[Trigger]:
        """The triggers that wait for files, paused ones too: all, or those of one bucket."""
        return [trigger for trigger in self.all() if isinstance(trigger.when, Drop) and bucket in (None, trigger.when.bucket)]

    def drops_for(self, bucket: str, key: str, event_name: str) -> Sequence[Trigger]:
        """Who is told that this happened to this object."""
        return listeners(self.drops(bucket), key, event_name)


def listeners(drops: Sequence[Trigger], key: str, event_name: str) -> Sequence[Trigger]:
    """Of one bucket's triggers, those that want this; a target that asked twice is told once (S3 refuses overlapping filters)."""
    told: dict[str, Trigger] = {}
    for trigger in drops:
        if trigger.enabled and isinstance(trigger.when, Drop) and wants(trigger.when, key, event_name):
            told.setdefault(trigger.target, trigger)
    return list(told.values())


def wants(drop: Drop, key: str, event_name: str) -> bool:
    """Whether a drop listens to this key and event: `ObjectCreated:Put` is one of `s3:ObjectCreated:*`."""
    return (key.startswith(drop.prefix) and key.endswith(drop.suffix)
            and any(fnmatchcase(f"s3:{event_name}", wanted) for wanted in drop.events))
