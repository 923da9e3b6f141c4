"""Executors run a version's handler. Each keeps the same contract, and one suite of tests holds all of them to it."""
from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from microlam.model import Invocation, Outcome, Version


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


class Executor(Protocol):
    """What can run a version: a handler's failure is an Outcome, never an exception."""

    async def run(self, version: Version, invocation: Invocation) -> Outcome:
        """Run it and say how it ended. Cancelled, it ends the handler too, where that can be done."""

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
