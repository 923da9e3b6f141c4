"""Whose environment variables are they? Those of handlers inside the host's process, told apart by context.

While an executor that runs such handlers lives, os.environ is ours: an invocation reads its function's variables before the host's and writes only
its own; everybody else has the host's, as they were. Programs that a handler starts have the host's too.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextvars import ContextVar

# What the running invocation's function sets, and what its handler has deleted (None).
current: ContextVar[dict[str, str | None] | None] = ContextVar("microlam_variables", default=None)


class Variables(os._Environ[str]):
    """The host's os.environ, but for what an invocation's own variables say otherwise."""

    def __init__(self, host: os._Environ[str]) -> None:
        super().__init__(host._data, host.encodekey, host.decodekey, host.encodevalue, host.decodevalue)  # type: ignore[attr-defined]
        self.host = host

    def __getitem__(self, name: str) -> str:
        own = current.get()
        if own is None or name not in own:
            return super().__getitem__(name)
        value = own[name]
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        own = current.get()
        if own is None:
            super().__setitem__(name, value)
        else:
            own[self.decodekey(self.encodekey(name))] = self.decodevalue(self.encodevalue(value))

    def __delitem__(self, name: str) -> None:
        own = current.get()
        if own is None:
            super().__delitem__(name)
        else:
            self[name]      # KeyError where there is none
            own[name] = None

    def __iter__(self) -> Iterator[str]:
        own = current.get()
        if own is None:
            yield from super().__iter__()
            return
        yield from (name for name in super().__iter__() if name not in own)
        yield from (name for name, value in own.items() if value is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_users = 0


def enter() -> None:
    """Put ours in place of os.environ."""
    global _users
    _users += 1
    if not isinstance(os.environ, Variables):
        os.environ = Variables(os.environ)  # noqa: B003  the same variables, seen through another object


def leave() -> None:
    """Put the host's back, once nobody needs ours."""
    global _users
    _users -= 1
    if not _users and isinstance(os.environ, Variables):
        os.environ = os.environ.host  # noqa: B003  as above
