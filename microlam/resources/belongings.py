"""Things that are told to be kept: frozen dataclasses, each a document in the store, on disk when a verb returns."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, get_origin, get_type_hints

from microlam.store import Document, Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class Owned(NamedTuple, Generic[T]):
    """A thing, whose it is, and what it is called there."""

    owner: str
    name: str
    thing: T


class Kept(Generic[T]):
    """The things of one kind: `owner` says whose, `name` which of the owner's."""

    def __init__(self, store: Store, kind: str, cls: type[T]) -> None:
        self._store, self._kind, self._cls = store, kind, cls

    async def find(self, owner: str, name: str = "") -> T | None:
        return (await self.of(owner)).get(name)

    async def of(self, owner: str) -> dict[str, T]:
        """What one owner has, by name."""
        return {name: thing for _, name, thing in await self.all(owner)}

    async def all(self, owner: str | None = None) -> list[Owned[T]]:
        """What everybody has, by owner and name."""
        return [Owned(document.owner, document.name, _read(self._cls, document.body)) for document in await self._store.documents(self._kind, owner)]

    async def keep(self, owner: str, name: str, thing: T) -> None:
        """Keep a thing, in place of the one that was called so."""
        await self._store.change_documents([Document(kind=self._kind, owner=owner, name=name, body=_written(dataclasses.asdict(thing)))])

    async def forget(self, owner: str, *names: str) -> None:
        """Forget those of an owner, or all there are."""
        gone = names or tuple(await self.of(owner))
        await self._store.change_documents(forget=[Document(kind=self._kind, owner=owner, name=name) for name in gone])


def _read(cls: type[T], body: Mapping[str, Any]) -> T:
    hints = _hints(cls)
    return cls(**{name: _value(hints[name], value) for name, value in body.items() if name in hints})


@cache
def _hints(cls: type[Any]) -> Mapping[str, Any]:
    return get_type_hints(cls)


def _value(hint: Any, value: Any) -> Any:
    if isinstance(value, str) and (hint is datetime or datetime in getattr(hint, "__args__", ())):
        return datetime.fromisoformat(value)
    return tuple(value) if isinstance(value, list) and get_origin(hint) is tuple else value


def _written(value: Any) -> Any:
    """Instants as text; the rest is JSON already."""
    if isinstance(value, dict):
        return {name: _written(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
