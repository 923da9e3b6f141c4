"""Workers that are started ahead: for each version or alias that asks for some, as many as it asks for, ready before anyone invokes it."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from microlam.errors import NotFound
from microlam.functions.rules import shares
from microlam.functions.shelves import Shelf
from microlam.model import LATEST, Outcome, Version

READY, FAILED = "ready", "failed"
INIT_FAILURE = "FUNCTION_ERROR_INIT_FAILURE"


class Provisioning:
    """Brings workers to where provisions want them, one function at a time."""

    def __init__(
        self, load: Callable[[Shelf, str], Awaitable[Version]], warm: Callable[[Version], Awaitable[Outcome | None]],
        retire: Callable[[Version], Awaitable[None]],
    ) -> None:
        self._load, self._warm, self._retire = load, warm, retire
        self._turns: dict[str, asyncio.Lock] = {}

    async def settle(self, shelf: Shelf) -> None:
        """Start what is wanted, then end what is wanted no more."""
        async with self._turns.setdefault(shelf.arn, asyncio.Lock()):
            wanted = wanted_of(shelf)
            for (qualifier, number), count in wanted.items():
                if not _has(shelf, qualifier, number, count):
                    await self._start(shelf, qualifier, number, count)
            for place in shelf.kept_warm.keys() - wanted.keys():
                await self._retire(shelf.kept_warm.pop(place))
            _note_ready(shelf)

    async def _start(self, shelf: Shelf, qualifier: str, number: str, count: int) -> None:
        try:
            version = replace(await self._load(shelf, number), provisioned=count)
        except NotFound:
            return      # deleted meanwhile
        outcomes = await asyncio.gather(*(self._one(shelf, qualifier, version) for _ in range(count)))
        provision = shelf.provisions.get(qualifier)
        before = shelf.kept_warm.pop((qualifier, number), None)
        if any(outcome is not None for outcome in outcomes):
            if provision is not None:
                shelf.provisions[qualifier] = replace(provision, ready=0, status=FAILED, reason=INIT_FAILURE)
            await self._retire(version)
        elif wanted_of(shelf).get((qualifier, number)) == count:
            shelf.kept_warm[qualifier, number] = version        # from here on invocations find it
        else:
            await self._retire(version)     # it was taken back meanwhile
        if before is not None:
            await self._retire(before)

    async def _one(self, shelf: Shelf, qualifier: str, version: Version) -> Outcome | None:
        outcome = await self._warm(version)
        provision = shelf.provisions.get(qualifier)
        if outcome is None and provision is not None:
            shelf.provisions[qualifier] = replace(provision, ready=provision.ready + 1)
        return outcome


def _note_ready(shelf: Shelf) -> None:
    wanted = wanted_of(shelf)
    missing = {qualifier for (qualifier, number), count in wanted.items() if not _has(shelf, qualifier, number, count)}
    for qualifier, provision in shelf.provisions.items():
        if provision.status not in (READY, FAILED) and qualifier not in missing:
            shelf.provisions[qualifier] = replace(provision, ready=provision.requested, status=READY)


def _has(shelf: Shelf, qualifier: str, number: str, count: int) -> bool:
    version = shelf.kept_warm.get((qualifier, number))
    return version is not None and version.provisioned == count


def wanted_of(shelf: Shelf) -> dict[tuple[str, str], int]:
    """How many workers of which version are to be kept, and for which qualifier."""
    wanted: dict[tuple[str, str], int] = {}
    for qualifier, provision in shelf.provisions.items():
        if provision.status == FAILED:
            continue
        alias = shelf.aliases.get(qualifier)
        for number, count in (shares(alias, provision.requested) if alias else {qualifier: provision.requested}).items():
            if number != LATEST:
                wanted[qualifier, number] = count
    return wanted
