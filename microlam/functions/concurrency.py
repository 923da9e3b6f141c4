"""How much of a function runs at once: what is reserved for it, and the workers that are kept ready for its versions and aliases."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

from microlam.clock import Clock
from microlam.errors import AliasNotFound, FunctionNotFound
from microlam.functions import documents, rules
from microlam.functions.provisioning import Provisioning
from microlam.functions.shelves import Shelf, Shelves
from microlam.functions.snapshot import Provision
from microlam.model import LATEST

Start = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]


class Concurrency:
    """Reserves and provisions of every function, and the verbs that change them.

    `limits` says by ARN how many invocations at once those functions may have that have a reserve, beside those with a worker kept ready.
    """

    def __init__(self, shelves: Shelves, clock: Clock, provisioning: Provisioning, start: Start, exists: Callable[[str], bool]) -> None:
        self._shelves, self._clock, self._provisioning, self._start, self._exists = shelves, clock, provisioning, start, exists
        self.limits: dict[str, int] = {}

    # ---- reserves ------------------------------------------------------------------------------------------------

    def reserved(self, arn: str) -> int | None:
        """How many invocations at once are reserved for a function; 0 lets none run."""
        return self._shelves.reserved.get(arn)

    def unreserved(self, arn: str) -> int:
        """How much of the concurrency of a function's account and region nobody has reserved."""
        return rules.ACCOUNT_CONCURRENCY - sum(self._shelves.reserved.get(shelf.arn, 0) for shelf in self._shelves.beside(arn))

    async def reserve(self, arn: str, count: int | None, *, origin: str) -> None:
        """Reserve concurrency for a function, which it can then not exceed; None takes that back."""
        shelf = self._shelves.of(arn)
        async with shelf.lock:
            if not self._exists(arn):
                raise FunctionNotFound(arn=arn)
            before = self._shelves.reserved.get(arn)
            if count is not None:
                elsewhere = rules.ACCOUNT_CONCURRENCY - self.unreserved(arn) - (before or 0)
                rules.check_reserve(count, elsewhere, self._provisioned(shelf))
            entry = self._shelves.entry(
                arn, "changed", "concurrency", origin=origin, before=None if before is None else {"reserved": before},
                after=None if count is None else {"reserved": count},
            )
            document = documents.of_reserve(arn, count or 0)
            await self._shelves.commit(entry, *(([document],) if count is not None else ([], [document])))
            self._shelves.reserved.pop(arn, None)
            if count is not None:
                self._shelves.reserved[arn] = count
            self._limit(shelf)

    # ---- provisions ----------------------------------------------------------------------------------------------

    def provision(self, arn: str, qualifier: str) -> Provision:
        """How many workers are kept ready for a version or alias."""
        provision = self._provisionable(arn, qualifier).provisions.get(qualifier)
        if provision is None:
            raise rules.NotProvisioned()
        return provision

    def provisions(self, arn: str) -> list[Provision]:
        """Every version and alias of a function that workers are kept for."""
        return [provision for _, provision in sorted(self._shelves.look(arn).provisions.items())]

    async def put_provision(self, arn: str, qualifier: str, count: int, *, origin: str) -> Provision:
        """Start so many workers for a version or alias, and keep them."""
        shelf = self._provisionable(arn, qualifier)
        async with shelf.lock:
            before, others = shelf.provisions.get(qualifier), self._provisioned(shelf, qualifier)
            rules.check_overlap(qualifier, shelf.aliases, shelf.provisions)
            rules.check_provision(count, others, self._shelves.reserved.get(arn), self.unreserved(arn))
            provision = Provision(arn=arn, qualifier=qualifier, requested=count, modified=self._clock.now())
            entry = self._shelves.entry(
                arn, "changed", "provision", qualifier, origin=origin, before={"requested": before.requested} if before else None,
                after={"requested": count},
            )
            await self._shelves.commit(entry, [documents.of_provision(provision)])
            shelf.provisions[qualifier] = provision
        self.settle(shelf)
        return provision

    async def delete_provision(self, arn: str, qualifier: str, *, origin: str) -> None:
        """Keep no workers for a version or alias any more."""
        shelf = self._provisionable(arn, qualifier)
        async with shelf.lock:
            provision = shelf.provisions.get(qualifier)
            if provision is None:
                return
            entry = self._shelves.entry(arn, "deleted", "provision", qualifier, origin=origin, before={"requested": provision.requested})
            await self._shelves.commit(entry, forget=[documents.of_provision(provision)])
            del shelf.provisions[qualifier]
        self.settle(shelf)

    # ---- following what happens to functions ---------------------------------------------------------------------

    def load(self) -> None:
        """Know the limits of what was kept."""
        for shelf in self._shelves.by_arn.values():
            self._limit(shelf)

    def begin(self) -> None:
        """Start the workers that were asked for before the server was started."""
        for shelf in self._shelves.by_arn.values():
            if shelf.provisions:
                self.settle(shelf)

    def settle(self, shelf: Shelf) -> None:
        """Have workers where provisions now want them."""
        self._limit(shelf)
        if shelf.provisions or shelf.kept_warm:
            self._start(self._provisioning.settle(shelf))

    def moved(self, shelf: Shelf, alias: str) -> None:
        """An alias names another version: its workers follow."""
        provision = shelf.provisions.get(alias)
        if provision is not None:
            shelf.provisions[alias] = replace(provision, ready=0, status="in progress", reason="")
            self.settle(shelf)

    def forget(self, arn: str) -> None:
        """A function is gone."""
        self._shelves.reserved.pop(arn, None)
        self.limits.pop(arn, None)

    def _provisionable(self, arn: str, qualifier: str) -> Shelf:
        shelf = self._shelves.look(arn)
        if qualifier.isdecimal():
            if qualifier not in shelf.versions:
                raise FunctionNotFound(arn=f"{arn}:{qualifier}")
        elif qualifier not in shelf.aliases:
            raise AliasNotFound(arn=f"{arn}:{qualifier}")
        elif shelf.aliases[qualifier].number == LATEST:
            raise rules.Unprovisionable()
        return shelf

    def _provisioned(self, shelf: Shelf, apart_from: str | None = None) -> int:
        return sum(provision.requested for qualifier, provision in shelf.provisions.items() if qualifier != apart_from)

    def _limit(self, shelf: Shelf) -> None:
        """What is left of a function's reserve for invocations that no worker is kept ready for."""
        reserved = self._shelves.reserved.get(shelf.arn)
        if reserved is None:
            self.limits.pop(shelf.arn, None)
        else:
            self.limits[shelf.arn] = max(0, reserved - self._provisioned(shelf))
