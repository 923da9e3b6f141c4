"""Things that belong to others: to a function, a layer, an account; frozen dataclasses, whose fields are written and read by their types."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, get_origin, get_type_hints

from microlam.resources.kept import Kept
from microlam.store import Document, Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class Owned(NamedTuple, Generic[T]):
    """A thing, whose it is, and what it is called there."""

    owner: str
    name: str
    thing: T


class Belongings(Generic[T]):
    """The things of one kind: `owner` says whose, `name` which of the owner's. Whoever changes one on the ground of what it was holds `changing`."""

    def __init__(self, store: Store, kind: str, cls: type[T]) -> None:
        self._kept: Kept[Owned[T]] = Kept(
            store, kind, lambda owned: Document(kind=kind, owner=owned.owner, name=owned.name, body=_written(dataclasses.asdict(owned.thing))),
            lambda document: Owned(document.owner, document.name, _read(cls, document.body)),
        )
        self.changing = self._kept.changing

    async def find(self, owner: str, name: str = "") -> T | None:
        owned = await self._kept.get(owner, name)
        return owned.thing if owned else None

    async def of(self, owner: str) -> list[Owned[T]]:
        """What one owner has, by name."""
        return sorted(await self._kept.of(owner), key=lambda owned: owned.name)

    async def all(self) -> list[Owned[T]]:
        """What everybody has, by owner and name."""
        return sorted(await self._kept.everything(), key=lambda owned: (owned.owner, owned.name))

    async def keep(self, owner: str, name: str, thing: T) -> None:
        """Keep a thing, in place of the one that was called so."""
        await self._kept.put(Owned(owner, name, thing))

    async def forget(self, owner: str, *names: str) -> None:
        """Forget those of an owner, or all there are."""
        for owned in await self._kept.of(owner):
            if not names or owned.name in names:
                await self._kept.remove(owned)


# ---- documents -------------------------------------------------------------------------------------------------------

def _read(cls: type[T], body: Mapping[str, Any]) -> T:
    hints = _hints(cls)
    return cls(**{name: _value(hints[name], value) for name, value in body.items()})


@cache
def _hints(cls: type[Any]) -> Mapping[str, Any]:
    return get_type_hints(cls)


def _value(hint: Any, value: Any) -> Any:
    if isinstance(value, str) and (hint is datetime or datetime in getattr(hint, "__args__", ())):
        return datetime.fromisoformat(value)
    return tuple(value) if isinstance(value, list) and (get_origin(hint) is tuple or any(get_origin(one) is tuple for one in hint.__args__)) else value


def _written(value: Any) -> Any:
    """Instants as text; the rest is JSON already."""
    if isinstance(value, dict):
        return {name: _written(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
