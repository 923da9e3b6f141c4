"""What is kept of every function, in memory and in the store: a change is on disk before anybody sees it."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from microlam.clock import Clock
from microlam.functions import documents
from microlam.functions.snapshot import ACTIVE, Change, Provision, Snapshot
from microlam.model import LATEST, Alias, Version, function_arn, new_id
from microlam.store import Document

CHANGES_KEPT = 200      # of one function; older ones are forgotten


class Documents(Protocol):
    """Where things are kept."""

    async def documents(self, kind: str, owner: str | None = None) -> list[Document]: ...
    async def change_documents(self, keep: Sequence[Document] = (), forget: Sequence[Document] = ()) -> None: ...


class Shelf:
    """All that is kept of one function. Values are frozen and replaced: whoever reads one sees it whole."""

    def __init__(self, arn: str) -> None:
        self.arn = arn
        self.latest: Snapshot | None = None             # None for one of the folder, and where only versions are left
        self.versions: dict[str, Snapshot] = {}         # by number
        self.aliases: dict[str, Alias] = {}
        self.provisions: dict[str, Provision] = {}      # by qualifier
        self.last = 0                                   # the last number that was given
        self.loaded: dict[str, Version] = {}            # by number, $LATEST too: those whose code is there to run
        self.kept_warm: dict[tuple[str, str], Version] = {}         # by qualifier and number: those with workers started ahead
        self.lock = asyncio.Lock()                      # one change at a time
        self.settling: asyncio.Task[None] | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no function of this name any more."""
        return self.latest is None and not self.versions and not self.aliases


class Shelves:
    """Every function's shelf, by ARN; `reserved` holds those functions' concurrency that have one reserved."""

    def __init__(self, store: Documents, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.by_arn: dict[str, Shelf] = {}
        self.reserved: dict[str, int] = {}

    async def load(self) -> None:
        """Read all that was kept."""
        for document in await self._store.documents("function"):
            account, _, region = document.owner.partition(":")
            latest = documents.read_snapshot(document)
            # A server that ended while code was made ready does that again at its first use.
            self.of(function_arn(document.name, region, account)).latest = latest.with_status(ACTIVE)
        for document in await self._store.documents("version"):
            self.of(document.owner).versions[document.name] = documents.read_snapshot(document)
        for document in await self._store.documents("alias"):
            self.of(document.owner).aliases[document.name] = documents.read_alias(document)
        for document in await self._store.documents("provision"):
            self.of(document.owner).provisions[document.name] = documents.read_provision(document)
        for document in await self._store.documents("numbering"):
            self.of(document.owner).last = document.body["last"]
        for document in await self._store.documents("reserve"):
            self.reserved[self.of(document.owner).arn] = document.body["reserved"]

    def of(self, arn: str) -> Shelf:
        """A function's shelf, made where there is none."""
        shelf = self.by_arn.get(arn)
        if shelf is None:
            shelf = self.by_arn[arn] = Shelf(arn)
        return shelf

    def look(self, arn: str) -> Shelf:
        """A function's shelf to look at; an empty one where there is none."""
        return self.by_arn.get(arn) or Shelf(arn)

    def beside(self, arn: str) -> Iterator[Shelf]:
        """The shelves of the same account and region."""
        owner = documents.owner_of(arn)
        return (shelf for shelf in self.by_arn.values() if documents.owner_of(shelf.arn) == owner)

    async def archives(self) -> set[str]:
        """The hashes of all code that is still of use: what runs, and what the history can go back to."""
        snapshots = [snapshot for shelf in self.by_arn.values() for snapshot in (shelf.latest, *shelf.versions.values()) if snapshot]
        changes = [documents.read_change(document) for document in await self._store.documents("change")]
        replaced = [change.before["sha256"] for change in changes
                    if change.before and "sha256" in change.before and (change.after or change.thing == "version")]
        return {*(snapshot.sha256 for snapshot in snapshots), *replaced}

    # ---- changes -------------------------------------------------------------------------------------------------

    def entry(
        self, arn: str, what: str, thing: str, name: str = "", *, origin: str, before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> Change:
        """An entry of a function's history, as of now."""
        return Change(id=new_id(), arn=arn, at=self._clock.now(), what=what, thing=thing, name=name, origin=origin, before=before, after=after)

    async def commit(self, change: Change, keep: Sequence[Document] = (), forget: Sequence[Document] = ()) -> None:
        """Write a change and its entry in the history: on disk when this returns."""
        old = (await self._store.documents("change", change.arn))[:-CHANGES_KEPT]
        await self._store.change_documents([*keep, documents.of_change(change)], [*forget, *old])

    async def keep(self, document: Document) -> None:
        """Write what is no change anybody asked for."""
        await self._store.change_documents([document])

    async def changes(self, arn: str) -> list[Change]:
        """A function's history, the newest first."""
        return [documents.read_change(document) for document in reversed(await self._store.documents("change", arn))]

    def numbered(self, shelf: Shelf) -> tuple[str, Document]:
        """The next number of a function's versions, and the document that says it is taken."""
        number = shelf.last + 1
        return str(number), documents.of_numbering(shelf.arn, number)


def latest_first(versions: Mapping[str, Snapshot]) -> list[Snapshot]:
    """Numbered versions, the newest first."""
    return [versions[number] for number in sorted((number for number in versions if number != LATEST), key=int, reverse=True)]


def previous(changes: Sequence[Change], alias: str) -> str | None:
    """The version that an alias named before it was last moved, going back further at each rollback; `changes` are the newest first."""
    steps: list[str] = []
    for change in reversed(changes):
        if change.thing != "alias" or change.name != alias or change.after is None:
            continue
        if change.what == "rolled back":
            steps = steps[:-1]
        elif change.before is not None and change.before["number"] != change.after["number"]:
            steps.append(change.before["number"])
        elif change.before is None:
            steps = []
    return steps[-1] if steps else None
