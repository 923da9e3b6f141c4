"""Log groups: what functions printed, as CloudWatch Logs shows it. The record has it already; here it is found, cut into events, and paged.

All that one invocation printed is logged at the moment it ended, so whoever follows a group never misses what came from a slow one.
"""
from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from microlam.errors import LogGroupExists, LogsNotFound
from microlam.model import function_arn
from microlam.resources.kept import Kept
from microlam.store import Document, Logged, LogPlace, LogStreamRow, Store

PREFIX = "/aws/lambda/"
AT_ONCE = 50                    # invocations read in one go
PAGE_BYTES = 1 << 20            # of events, as AWS's pages
PATIENCE = 1.0                  # seconds a search looks on; then the page says where to go on
EVENTS = 1 << 40                # more than one invocation can have
LAST = LogPlace(1 << 62)        # behind everything
_CONTINUED = "\u00a0"           # with which the lines of a traceback begin


@dataclass(frozen=True, kw_only=True)
class LogGroup:
    """One group, whether somebody created it or a function logged something. `since` is when what it shows begins."""

    name: str
    owner: str                          # ACCOUNT:REGION
    created_at: datetime
    retention: int | None = None        # days
    category: str = "STANDARD"
    key: str | None = None
    protected: bool = False             # against being deleted
    tags: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    since: datetime | None = None       # its function's first log; None: nothing was logged

    @property
    def arn(self) -> str:
        account, _, region = self.owner.partition(":")
        return f"arn:aws:logs:{region}:{account}:log-group:{self.name}"

    @property
    def function(self) -> str:
        """The ARN of the function whose logs it shows; of none, for a group of another name."""
        account, _, region = self.owner.partition(":")
        return function_arn(self.name.removeprefix(PREFIX) if self.name.startswith(PREFIX) else "", region, account)

    def begins(self, now: datetime) -> int:
        """When what it shows now begins, in microseconds: what is older than its retention is not shown."""
        oldest = now - timedelta(days=self.retention) if self.retention else None
        known = [microseconds(each) for each in (self.since, oldest) if each is not None]
        return max(known, default=0)


class LogEvent(NamedTuple):
    """One line of a log, or several that belong together."""

    place: LogPlace
    at: datetime
    stream: str
    message: str

    @property
    def id(self) -> str:
        """The same whenever it is looked at, and in the order of time, in 56 digits."""
        return f"{self.place.at:017}{int(self.place.key[-12:].replace('-', ''), 16):015}{self.place.event:024}"


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for in a group: events from `start` on (or backwards) that were logged since one instant and before another and that match."""

    start: LogPlace
    since: int                          # microseconds
    until: int
    matches: Callable[[str], bool] = lambda message: True
    streams: Sequence[str] | None = None
    begin: str = ""                     # of the streams' names
    backward: bool = False

    def shows(self, event: LogEvent) -> bool:
        """Whether an event is one of those, as far as its time was looked at already."""
        return (event.place < self.start if self.backward else event.place >= self.start) and self.matches(event.message)


@dataclass(frozen=True)
class EventPage:
    """Some events in the order they were looked for, and the place from which to go on; None: there are no more."""

    events: Sequence[LogEvent]
    rest: LogPlace | None


class LogGroups:
    """All log groups, and the events in them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept = Kept(store, "log_group", _document_of, _group_of)

    # ---- groups -------------------------------------------------------------------------------------------------

    async def of(self, owner: str) -> Mapping[str, LogGroup]:
        """The groups of an account in a region, by name."""
        groups = {group.name: group for group in await self._kept.of(owner)}
        account, _, region = owner.partition(":")
        for row in await self._store.logs.groups(function_arn("", region, account)):
            name = PREFIX + row.arn.rpartition(":")[2]
            group = groups.get(name) or LogGroup(name=name, owner=owner, created_at=row.created_at)
            groups[name] = dataclasses.replace(group, created_at=min(group.created_at, row.created_at), since=row.created_at, size=row.size)
        return dict(sorted(groups.items()))

    async def find(self, owner: str, name: str) -> LogGroup:
        """One group; raises LogsNotFound."""
        group = (await self.of(owner)).get(name)
        if group is None:
            raise LogsNotFound(thing="group", group=name)
        return group

    async def create(self, group: LogGroup) -> None:
        """Make a group before anything is logged in it."""
        async with self._kept.changing:
            if group.name in await self.of(group.owner):
                raise LogGroupExists()
            await self._kept.put(group)

    async def change(self, owner: str, name: str, change: Callable[[LogGroup], LogGroup]) -> None:
        """Keep a group as `change` makes it."""
        async with self._kept.changing:
            await self._kept.put(change(await self.find(owner, name)))

    async def remove(self, owner: str, name: str) -> None:
        """Delete a group; what was logged in it is shown no more, and stays on record."""
        async with self._kept.changing:
            group = await self.find(owner, name)
            await self._store.logs.forget(group.function)
            await self._kept.remove(group)

    # ---- events -------------------------------------------------------------------------------------------------

    async def search(self, group: LogGroup, search: Search, limit: int) -> EventPage:
        """A page of the events that are looked for; a long search may stop early and say where to go on."""
        found, room, deadline = list[LogEvent](), PAGE_BYTES, time.monotonic() + PATIENCE
        while True:
            logs = await self._store.logs.read(
                group.function, search.start, search.since, search.until, AT_ONCE, streams=search.streams, begin=search.begin, backward=search.backward,
            )
            for event in await asyncio.to_thread(_shown, logs, search):
                if len(found) == limit or (found and room < len(event.message)):
                    return EventPage(found, after(event.place) if search.backward else event.place)
                found.append(event)
                room -= len(event.message)
            if len(logs) < AT_ONCE:
                return EventPage(found, None)
            last = logs[-1].place
            search = dataclasses.replace(search, start=last if search.backward else LogPlace(last.at, last.key, EVENTS))
            if time.monotonic() > deadline:
                return EventPage(found, search.start)

    async def stream(self, group: LogGroup, name: str) -> LogStreamRow:
        """One stream of a group; raises LogsNotFound."""
        found = await self._store.logs.stream(group.function, name)
        if found is None:
            raise LogsNotFound(thing="stream")
        return found


    async def streams(
        self, group: LogGroup, limit: int, *, begin: str = "", after: tuple[int, str] | None = None, by_time: bool = False, descending: bool = False,
    ) -> list[LogStreamRow]:
        """The streams of a group in the order of their names, or of their last logs, past one of them (microseconds and name)."""
        if by_time:
            return await self._store.logs.streams_by_time(group.function, limit, after=after, descending=descending)
        name = after[1] if after else None
        return await self._store.logs.streams_by_name(group.function, limit, begin=begin, after=name, descending=descending)


def events_of(logged: Logged) -> list[LogEvent]:
    """The events of one invocation's log: a line each, but an error with its traceback is one."""
    return [
        LogEvent(dataclasses.replace(logged.place, event=number), logged.at, logged.stream, message)
        for number, message in enumerate(_messages(logged.text.decode("utf-8", "replace")))
    ]


def _messages(text: str) -> Iterator[str]:
    message = ""
    for line in text.split("\n")[:-1] if text.endswith("\n") else text.split("\n"):
        continued = line.startswith(_CONTINUED) or (line == "Traceback (most recent call last):" and message.startswith("[ERROR] "))
        if message and not continued:
            yield message
            message = ""
        message += line + "\n"
    if message:
        yield message


def _shown(logs: Sequence[Logged], search: Search) -> list[LogEvent]:
    """The events that are looked for, in the order they are looked for. To match a megabyte takes a while: not on the event loop."""
    events = [event for logged in logs for event in (reversed(events_of(logged)) if search.backward else events_of(logged))]
    return [event for event in events if search.shows(event)]


def after(place: LogPlace) -> LogPlace:
    """The place behind one event."""
    return LogPlace(place.at, place.key, place.event + 1)


def microseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)


def _document_of(group: LogGroup) -> Document:
    body = dataclasses.asdict(group) | {"created_at": group.created_at.isoformat(), "size": 0, "since": None}
    return Document(kind="log_group", owner=group.owner, name=group.name, body=body)


def _group_of(document: Document) -> LogGroup:
    return LogGroup(**{**document.body, "created_at": datetime.fromisoformat(document.body["created_at"])})
