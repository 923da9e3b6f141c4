"""Hooks: what a host wants to be told of, as plain async callables. What one of them raises is logged and changes nothing."""
from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, ParamSpec, TypeVar

Facts = ParamSpec("Facts")
Listener = TypeVar("Listener", bound=Callable[..., Awaitable[object]])

_log = logging.getLogger("microlam")


class Hook(Generic[Facts]):
    """Those who listen to one thing. Called with another it listens too, so it is a decorator: `@lam.on_failure`."""

    def __init__(self) -> None:
        self.listeners: list[Callable[Facts, Awaitable[object]]] = []

    def __call__(self, listener: Callable[Facts, Awaitable[object]]) -> Callable[Facts, Awaitable[object]]:
        self.listeners.append(listener)
        return listener

    async def tell(self, *facts: Facts.args, **named: Facts.kwargs) -> None:
        """Tell all of them, one after the other."""
        for listener in self.listeners:
            try:
                await listener(*facts, **named)
            except Exception:
                _log.exception("the hook %s failed", getattr(listener, "__qualname__", listener))
