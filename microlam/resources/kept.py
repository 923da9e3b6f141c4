"""Things of one kind that are kept: read from the store once, held in memory, and on disk before a change is said to be made."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Generic, TypeVar

from microlam.store import Document, Store

T = TypeVar("T")


class Kept(Generic[T]):
    """All things of one kind, by owner and name. Whoever changes one on the ground of what it was holds `changing` meanwhile."""

    def __init__(self, store: Store, kind: str, document_of: Callable[[T], Document], thing_of: Callable[[Document], T]) -> None:
        self._store, self._kind, self._document_of, self._thing_of = store, kind, document_of, thing_of
        self._things: dict[tuple[str, str], T] | None = None
        self.changing = asyncio.Lock()

    async def get(self, owner: str, name: str) -> T | None:
        return (await self._all()).get((owner, name))

    async def of(self, owner: str) -> list[T]:
        """Everything of one owner."""
        return [thing for (whose, _), thing in (await self._all()).items() if whose == owner]

    async def everything(self) -> Collection[T]:
        return (await self._all()).values()

    async def put(self, thing: T, *, instead_of: Iterable[T] = ()) -> T:
        """Keep a thing, in place of one of its owner and name, and forget others with it."""
        things = await self._all()
        kept, gone = self._document_of(thing), [self._document_of(each) for each in instead_of]
        await self._store.change_documents([kept], gone)
        for document in gone:
            things.pop((document.owner, document.name), None)
        things[kept.owner, kept.name] = thing
        return thing

    async def remove(self, thing: T) -> None:
        """Forget a thing."""
        things, gone = await self._all(), self._document_of(thing)
        await self._store.change_documents(forget=[gone])
        things.pop((gone.owner, gone.name), None)

    async def _all(self) -> dict[tuple[str, str], T]:
        if self._things is None:
            read = {(document.owner, document.name): self._thing_of(document) for document in await self._store.documents(self._kind)}
            if self._things is None:    # nobody was quicker, and has made changes since
                self._things = read
        return self._things
