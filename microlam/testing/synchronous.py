"""The testing client for plain tests: the same, in a loop on a thread of its own, so that boto3 in the test may block."""
from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

from microlam.app import Microlam
from microlam.model import Invocation, Outcome
from microlam.settings import Named
from microlam.testing.asynchronous import AsyncClient, Sent
from microlam.testing.results import Recorded, Reply

Result = TypeVar("Result")


class Client:
    """A microlam for one test: a data folder of its own, a clock that stands still, handlers within the test's process.

    >>> with Client("functions/") as microlam:
    ...     microlam.http.get("/hello?name=Ada").json()
    {'message': 'Hello, Ada!'}

    It takes what AsyncClient takes.
    """

    def __init__(self, folder: str | Path = "functions", *, at: datetime | str | None = None, **named: Unpack[Named]) -> None:
        self._loop = _Loop()
        self._client = AsyncClient(folder, at=at, **named)
        self.clock = Clock(self._loop, self._client)
        self.http = Http(self._loop, self._client)
        self.lambda_ = Lambda(self._loop, self._client)
        self.events = Events(self._loop, self._client)

    def __enter__(self) -> Self:
        self._loop.start()
        try:
            self._loop.run(self._client.__aenter__())
        except BaseException:
            self._loop.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._loop.run(self._client.__aexit__())
        finally:
            self._loop.stop()

    @property
    def lam(self) -> Microlam:
        """The Microlam itself; its parts belong to another thread's loop."""
        return self._client.lam

    def settled(self) -> None:
        """Return when all that has happened so far has been dealt with: files seen, what is due run. What is due later waits for the clock."""
        self._loop.run(self._client.settled())

    def invocations(self, function: str | None = None) -> list[Recorded]:
        """The attempts on record, of one function or of all, oldest first."""
        return self._loop.run(self._client.invocations(function))

    def bucket(self, name: str) -> Path:
        """The folder of a bucket."""
        return self._client.bucket(name)


class _Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="microlam-testing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def stop(self) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Part:
    def __init__(self, loop: _Loop, client: AsyncClient) -> None:
        self._loop, self._client = loop, client


class Clock(_Part):
    """What schedules and retries take for the time; it stands still until it is moved."""

    def now(self) -> datetime:
        """The present instant."""
        return self._client.clock.now()

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let so much time pass; returns when all that fell due in it has run."""
        self._loop.run(self._client.clock.advance(days=days, hours=hours, minutes=minutes, seconds=seconds))

    def move_to(self, to: datetime | str) -> None:
        """Let the time pass until then; a time that has passed is gone to without ado."""
        self._loop.run(self._client.clock.move_to(to))


class Http(_Part):
    """Requests to the functions; cookies are kept, redirects are not followed."""

    def request(self, method: str, path: str, **sent: Unpack[Sent]) -> Reply:
        return self._loop.run(self._client.http.request(method, path, **sent))

    def get(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return self.request("GET", path, **sent)

    def post(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return self.request("POST", path, **sent)

    def put(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return self.request("PUT", path, **sent)

    def patch(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return self.request("PATCH", path, **sent)

    def delete(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return self.request("DELETE", path, **sent)


class Lambda(_Part):
    """Invocations by name, as AWS clients make them."""

    def invoke(self, name: str, event: object = None, *, qualifier: str | None = None) -> Outcome:
        """Run a function and wait for how it ends."""
        return self._loop.run(self._client.lambda_.invoke(name, event, qualifier=qualifier))

    def enqueue(self, name: str, event: object = None, *, qualifier: str | None = None) -> Invocation:
        """Have a function run later, with retries; `settled` waits for it."""
        return self._loop.run(self._client.lambda_.enqueue(name, event, qualifier=qualifier))


class Events(_Part):
    """What leads to functions besides requests and calls."""

    def generate(self, source: str, kind: str, **fields: object) -> dict[str, Any]:
        """The event that a source sends: `generate("sqs", "receive-message", body="…")`; as `microlam generate-event` prints it."""
        return self._client.events.generate(source, kind, **fields)

    def send(self, name: str, source: str, kind: str, **fields: object) -> Outcome:
        """Run a function with such an event."""
        return self._loop.run(self._client.events.send(name, source, kind, **fields))

    def s3_put(self, bucket: str, key: str, data: bytes | str) -> None:
        """Put an object into a bucket; who listens there is invoked, which `settled` waits for."""
        self._loop.run(self._client.events.s3_put(bucket, key, data))

    def s3_delete(self, bucket: str, key: str) -> None:
        """Remove an object from a bucket."""
        self._loop.run(self._client.events.s3_delete(bucket, key))

    def schedule(self, name: str, *, at: datetime | str | None = None, number: int = 1) -> Invocation:
        """Fire a function's schedule (its first, or the one of this number) as of a time, or of now; `settled` waits for it."""
        return self._loop.run(self._client.events.schedule(name, at=at, number=number))
