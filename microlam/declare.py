"""Marks on a handler that say what invokes it: `@http`, `@schedule`, `@on_file`.

They change nothing: microlam reads them from the text of the file. Standard library only, and fit for Python 3.8, so the same file runs on AWS.
"""
from __future__ import annotations

TYPE_CHECKING = False               # importing typing would double what a cold start pays for this module
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol, TypeVar

    Handler = TypeVar("Handler")

    class Mark(Protocol):
        """A decorator that gives back what it was given."""

        def __call__(self, handler: Handler, /) -> Handler: ...


def http(route: str, *, qualifier: str | None = None) -> Mark:
    """Answer HTTP requests: `@http("GET /orders/{id}")`."""
    return _unchanged


def schedule(expression: str, *, timezone: str = "UTC", qualifier: str | None = None) -> Mark:
    """Run by the clock: `@schedule("rate(5 minutes)")`, `@schedule("cron(0 10 * * ? *)", timezone="Europe/Berlin")`."""
    return _unchanged


def on_file(bucket: str, *, prefix: str = "", suffix: str = "", events: str | Sequence[str] = (), qualifier: str | None = None) -> Mark:
    """Run when a file is dropped, replaced or deleted: `@on_file("uploads", prefix="in/", suffix=".png", events="s3:ObjectCreated:*")`."""
    return _unchanged


def _unchanged(handler: Handler) -> Handler:
    return handler
