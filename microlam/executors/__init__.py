"""Executors run a version's handler. Each keeps the same contract, and one suite of tests holds all of them to it."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from microlam.model import Invocation, Outcome, Version

if TYPE_CHECKING:
    from microlam.executors.inprocess import InProcess

INIT_TIMEOUT = 10.0     # seconds an import may take, or the function's own timeout where that is longer; Lambda's


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What handlers sign their AWS calls with, never the server's own keys; the access key is each handler's own account."""

    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStatistics:
    """One worker as it stands."""

    pid: int
    key: str                # of its version
    name: str
    number: str
    busy: bool
    since: datetime         # it was started
    invocations: int
    memory: int             # most resident bytes, as last heard


@dataclass(frozen=True, kw_only=True)
class ExecutorStatistics:
    """An executor as it stands: its workers, and how many invocations wait for one."""

    workers: tuple[WorkerStatistics, ...] = ()
    waiting: int = 0


class Ahead(Protocol):
    """An invocation that is sent to a worker before its turn; `turn` has the outcome, or None where it came to nothing: `run` it."""

    turn: asyncio.Future[Outcome | None]

    def begun(self) -> None:
        """It is being run from now on."""

    def given_back(self) -> None:
        """It was not begun: whoever sent it has it again."""


class Behind(Protocol):
    """Who takes invocations before their turn."""

    def send_ahead(self, invocation: Invocation, place: Ahead) -> bool:
        """Run this one after those it has; false where it does not take it."""


class Executor(Protocol):
    """What can run a version: a handler's failure is an Outcome, never an exception."""

    async def run(self, version: Version, invocation: Invocation) -> Outcome:
        """Run it and say how it ended. Cancelled, it ends the handler too, where that can be done."""

    def begin(self, version: Version, invocation: Invocation, waiter: asyncio.Future[Outcome | None]) -> bool:
        """Run it if that can begin at once, without waiting for anything; then `waiter` has the outcome, or None where it came to nothing: `run` it."""

    def behind(self, version: Version) -> Behind | None:
        """Who is about to be free, where one more invocation is better off behind others than beside them."""

    def abandon(self, invocation: Invocation) -> None:
        """Nobody waits any more for what was begun: end it as a cancelled `run` does."""

    def at_most(self, version: Version, limit: int) -> int:
        """How many invocations of a version it runs at once where the settings say `limit`."""

    async def warm(self, version: Version) -> Outcome | None:
        """Start one worker and import the handler; None when it waits warm, else how the import failed."""

    def expect(self, version: Version) -> None:
        """Begin with what a worker of this version needs and its code does not: soon it will be there, and run. `root` is where the code comes from."""

    async def retire(self, version: Version) -> None:
        """Let what runs finish, then end the version's workers."""

    def statistics(self) -> ExecutorStatistics:
        """Its workers at this moment."""

    async def close(self) -> None:
        """End everything at once; whoever wants to drain has done so."""


class Executors(dict[str, Executor]):
    """A server's, by name. The one within its own process, which few functions want, is there from when the first one does."""

    def __init__(self, processes: Executor, in_process: Callable[[], InProcess]) -> None:
        super().__init__(processes=processes)
        self._in_process = in_process

    @cached_property
    def inprocess(self) -> InProcess:
        made = self["inprocess"] = self._in_process()
        return made

    def __missing__(self, name: str) -> Executor:
        if name != "inprocess":
            raise KeyError(name)
        return self.inprocess

    async def close(self) -> None:
        """End everything at once, the newest first."""
        async with AsyncExitStack() as closing:
            for executor in self.values():
                closing.push_async_callback(executor.close)
