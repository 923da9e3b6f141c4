"""A context of its own for a coroutine, without a task of its own: what it sets in context variables, nobody else sees."""
from __future__ import annotations

import types
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


def apart(awaitable: Awaitable[T]) -> Awaitable[T]:
    """Await it in a copy of the context that there is now."""
    return _apart(awaitable) if isinstance(awaitable, Coroutine) else awaitable


@types.coroutine
def _apart(coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    run, step, given = copy_context().run, coroutine.send, None
    while True:
        try:
            wish = run(step, given)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            step, given = coroutine.send, (yield wish)
        except BaseException as error:
            step, given = coroutine.throw, error
