"""The testing client for `async def` tests: everything in the test's own loop."""
from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import aiohttp

from microlam.app import Microlam
from microlam.errors import FunctionNotFound, InvalidParameter
from microlam.events.generate import generate, instant
from microlam.model import Invocation, Outcome
from microlam.settings import Named
from microlam.store import InvocationFilter
from microlam.testing.clock import MovableClock
from microlam.testing.results import Recorded, Reply

MOST = 1000     # invocations that `invocations` gives


class AsyncClient:
    """A microlam for one test: a data folder of its own, a clock that stands still, handlers within the test's process.

    >>> async def main():
    ...     async with AsyncClient("functions/") as microlam:
    ...         reply = await microlam.http.get("/hello?name=Ada")
    ...         return reply.status, reply.json()
    >>> asyncio.run(main())
    (200, {'message': 'Hello, Ada!'})

    `executor="processes"` takes real workers; `at` is the time the clock begins with; other settings are those of the command line. While it lives,
    the environment variables of AWS clients lead to it.
    """

    def __init__(self, folder: str | Path = "functions", *, at: datetime | str | None = None, **named: Unpack[Named]) -> None:
        self._folder, self._named = Path(folder), named
        self.clock = MovableClock(self.settled, at)
        self._life = AsyncExitStack()
        self.lam: Microlam

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as life:
            data = await life.enter_async_context(_temporary_folder())
            self.lam = await life.enter_async_context(Microlam(self._folder, clock=self.clock, **self._settings(data)))
            life.enter_context(_clients_led_to(self.lam))
            session = await life.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)))
            self.http = AsyncHttp(session, self.lam)
            self.lambda_ = AsyncLambda(self.lam)
            self.events = AsyncEvents(self.lam)
            self._life = life.pop_all()
        return self

    def _settings(self, data: Path) -> Named:
        settings = Named(
            executor="inprocess", data=data, buckets=data / "buckets", requirements=self._folder.absolute() / ".microlam" / "requirements", file_quiet=0.0,
        )
        settings.update(self._named)
        return settings

    async def __aexit__(self, *error: object) -> None:
        await self._life.aclose()

    async def settled(self) -> None:
        """Return when all that has happened so far has been dealt with: files seen, what is due run. What is due later waits for the clock."""
        await self.lam.settled()

    async def invocations(self, function: str | None = None) -> list[Recorded]:
        """The attempts on record, of one function or of all, oldest first. Raises FunctionNotFound where there neither is nor was one of that name."""
        page = await self.lam.store.invocations(InvocationFilter(function=function), MOST)
        if function is not None and not page.records:
            await self._see_that_there_is(function)
        full = [await self.lam.store.invocation(record.id, record.attempt) for record in reversed(page.records)]
        return [Recorded.of(record) for record in full if record is not None]

    async def _see_that_there_is(self, function: str) -> None:
        functions = self.lam.functions
        await functions.look_again()
        if not function.startswith("arn:"):
            functions.named(function)
        elif function not in functions:
            raise FunctionNotFound(arn=function)

    def bucket(self, name: str) -> Path:
        """The folder of a bucket."""
        return self.lam.buckets.place(name)


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="microlam-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _clients_led_to(lam: Microlam) -> Iterator[None]:
    """Let boto3, in the test, find this instance and no other, and have it as before afterwards."""
    ours = lam.client_variables
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    _let_in(before, ours)
    try:
        yield
    finally:
        _let_in(ours, before)


def _let_in(gone: Mapping[str, str], ours: Mapping[str, str]) -> None:
    for name in gone:
        os.environ.pop(name, None)
    os.environ.update(ours)
    if "boto3" in sys.modules:
        sys.modules["boto3"].DEFAULT_SESSION = None     # type: ignore[attr-defined]  # it keeps the keys it was made with


# ---- HTTP ------------------------------------------------------------------------------------------------------------

class Sent(TypedDict, total=False):
    """What a request may carry."""

    json: object
    data: bytes | str | Mapping[str, str]       # a mapping is sent as a form
    headers: Mapping[str, str]
    params: Mapping[str, str]


class AsyncHttp:
    """Requests to the functions; cookies are kept, redirects are not followed."""

    def __init__(self, session: aiohttp.ClientSession, lam: Microlam) -> None:
        self._session, self._lam = session, lam

    async def request(self, method: str, path: str, **sent: Unpack[Sent]) -> Reply:
        if not path.startswith("/"):
            raise InvalidParameter(reason=f"{path!r} is no path: a path begins with a slash, as in '/hello'.")
        async with self._session.request(method, self._lam.endpoint_url + path, allow_redirects=False, **sent) as reply:
            return Reply(reply.status, reply.headers, await reply.read())

    async def get(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return await self.request("GET", path, **sent)

    async def post(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return await self.request("POST", path, **sent)

    async def put(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return await self.request("PUT", path, **sent)

    async def patch(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return await self.request("PATCH", path, **sent)

    async def delete(self, path: str, **sent: Unpack[Sent]) -> Reply:
        return await self.request("DELETE", path, **sent)


# ---- Lambda and events -----------------------------------------------------------------------------------------------

class AsyncLambda:
    """Invocations by name, as AWS clients make them."""

    def __init__(self, lam: Microlam) -> None:
        self._lam = lam

    async def invoke(self, name: str, event: object = None, *, qualifier: str | None = None) -> Outcome:
        """Run a function and wait for how it ends."""
        return await self._lam.invoke(name, event, qualifier=qualifier)

    async def enqueue(self, name: str, event: object = None, *, qualifier: str | None = None) -> Invocation:
        """Have a function run later, with retries; `settled` waits for it."""
        return await self._lam.enqueue(name, event, qualifier=qualifier)


class AsyncEvents:
    """What leads to functions besides requests and calls."""

    def __init__(self, lam: Microlam) -> None:
        self._lam = lam

    def generate(self, source: str, kind: str, **fields: object) -> dict[str, Any]:
        """The event that a source sends: `generate("sqs", "receive-message", body="…")`; as `microlam generate-event` prints it."""
        return generate(source, kind, **fields)

    async def send(self, name: str, source: str, kind: str, **fields: object) -> Outcome:
        """Run a function with such an event."""
        return await self._lam.invoke(name, generate(source, kind, **fields))

    async def s3_put(self, bucket: str, key: str, data: bytes | str) -> None:
        """Put an object into a bucket; who listens there is invoked, which `settled` waits for.

        Raises InvalidParameter for a bucket that nobody listens to, and that has no folder either.
        """
        await self._see_that_somebody_listens(bucket)
        await asyncio.to_thread(_write, self._place(bucket, key), data.encode() if isinstance(data, str) else data)
        await self._lam.folders.caught_up()

    async def s3_delete(self, bucket: str, key: str) -> None:
        """Remove an object from a bucket."""
        await asyncio.to_thread(self._place(bucket, key).unlink)
        await self._lam.folders.caught_up()

    async def _see_that_somebody_listens(self, bucket: str) -> None:
        await self._lam.functions.look_again()
        listened_to = self._lam.buckets.places()
        if bucket not in listened_to and not self._lam.buckets.place(bucket).is_dir():
            raise InvalidParameter(reason=f"No function listens to the bucket {bucket}. Those that are listened to: {', '.join(listened_to) or 'none'}.")

    def _place(self, bucket: str, key: str) -> Path:
        folder = self._lam.buckets.place(bucket)
        place = folder / key
        if not key or folder not in Path(os.path.normpath(place)).parents:
            raise InvalidParameter(reason=f"{key!r} is not a key whose object can lie in a bucket's folder.")
        return place

    async def schedule(self, name: str, *, at: datetime | str | None = None, number: int = 1) -> Invocation:
        """Fire a function's schedule (its first, or the one of this number) as of a time, or of now; `settled` waits for it."""
        schedules = self._lam.triggers.schedules_of(self._lam.functions.named(name))
        if number > len(schedules):
            raise FunctionNotFound(arn=f"{name}, with a schedule of number {number}")
        as_of = instant(at) if isinstance(at, str) else at or self._lam.clock.now()
        return await self._lam.schedules.fire(schedules[number - 1], as_of)


def _write(place: Path, data: bytes) -> None:
    # Under another name until it is whole, so that nobody sees half of it.
    place.parent.mkdir(parents=True, exist_ok=True)
    half = place.with_name(f".{place.name}.half")
    half.write_bytes(data)
    half.replace(place)
