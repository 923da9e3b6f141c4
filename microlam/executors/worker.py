"""The server's side of one worker: an invocation's frame out, the reply's frame in, and what to make of a process that ends instead.

This is the hot path: one write, one future, one read a call. It works on the socket itself, not through a transport, because a worker's end
must be told apart: a frame it never read goes to another worker.
"""
from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from microlam.executors import WorkerStatistics, logs
from microlam.executors.workers.frames import CONFIGURATION, FAILED, MARK, READY, REPLY, REPLY_LIMIT, REQUEST, SUCCEEDED, UNUSABLE
from microlam.executors.zygotes import Zygote
from microlam.model import Invocation, Outcome, Version

INIT_TIMEOUT = 10.0     # seconds an import may take; Lambda's
LONG = 0.02             # seconds after which a running invocation is looked after
GRACE = 2.0             # seconds in which a killed process is expected to be gone


class NeverBegun(Exception):  # noqa: N818
    """The worker ended before it read the invocation: another may run it."""


class Keeper(Protocol):
    """Who holds the workers."""

    def freed(self, worker: Worker) -> None: ...
    def ended(self, worker: Worker) -> None: ...
    def lasts(self, worker: Worker) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker lives: its number, its own temporary folder, its log stream."""

    number: int
    folder: str
    log_stream: str


class Worker:
    """One process that runs one version, one invocation at a time."""

    def __init__(self, version: Version, place: Place, zygote: Zygote, keeper: Keeper, *, log_limit: int) -> None:
        self.version, self.place = version, place
        self.pid = 0
        self.since = datetime.now(UTC)
        self.idle_since = 0.0
        self.invocations = 0
        self.peak = 0                   # most resident bytes
        self.over = False               # killed or ended: nothing more is to be sent
        self._zygote, self._keeper = zygote, keeper
        self._loop = asyncio.get_running_loop()
        self._log_limit = log_limit
        self._log_position = self._trimmed = 0
        self._runtime = ""
        self._init: float | None = None
        self._init_output = b""
        self._ready = self._gone = self._unread = False
        self._invocation: Invocation | None = None
        self._waiter: asyncio.Future[Outcome] | None = None
        self._warmed: asyncio.Future[Outcome | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._overdue = False
        self._began = self._loop.time()
        self._began_at = self.since
        self._outgoing = b""
        self._incoming = b""

    # ---- the server's wishes ------------------------------------------------------------------------------------

    def start(self, configuration: Mapping[str, object], *, fresh: bool) -> None:
        """Have the process made, and tell it what it is."""
        self._log = open_log()
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._readable)
        self._zygote.start(self.place.number, self, theirs, self._log, fresh=fresh)
        text = json.dumps(configuration).encode()
        frame = CONFIGURATION.pack(len(text)) + text
        # One that is exec'd reads it twice: before, for its environment, and after.
        self._send(frame + frame if fresh or not self._zygote.forks else frame)
        self._timer = self._loop.call_at(self._began + max(INIT_TIMEOUT, self.version.timeout), self._out_of_time)

    def invoke(self, invocation: Invocation) -> asyncio.Future[Outcome]:
        """Send an invocation; the future has its outcome, or NeverBegun."""
        self._waiter = waiter = self._loop.create_future()
        self._invocation = invocation
        if self.over:
            waiter.set_exception(NeverBegun())
            return waiter
        head = f"{invocation.id}\n{invocation.invoked_arn}\n{invocation.client_context or ''}".encode()
        if self._ready:
            self._begin()
        self._send(b"".join((REQUEST.pack(len(head), len(invocation.payload)), head, invocation.payload)))
        return waiter

    def warmed(self) -> asyncio.Future[Outcome | None]:
        """Import only; the future has None, or how the import failed."""
        self._warmed = self._loop.create_future()
        return self._warmed

    def kill(self) -> None:
        """End the process and all below it, whatever it is doing."""
        if self._gone:
            return
        self.over = True
        self._zygote.kill(self.place.number)
        # A process in the kernel's hands may be late; nobody waits for it longer than this.
        self._rearm(GRACE, self.ended, None)

    @property
    def busy(self) -> bool:
        return self._invocation is not None or not self._ready

    def statistics(self) -> WorkerStatistics:
        version = self.version
        return WorkerStatistics(
            pid=self.pid, key=version.key, name=version.name, number=version.number, busy=self.busy, since=self.since,
            invocations=self.invocations, memory=self.peak,
        )

    # ---- time ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Execution begins now: so does the time it has."""
        self._began = self._loop.time()
        self._began_at = datetime.now(UTC)
        # One timer an invocation: most are over before it is due for the first time.
        self._timer = self._loop.call_at(self._began + LONG, self._lasts)

    def _lasts(self) -> None:
        self._keeper.lasts(self)
        self._rearm(self._began + self.version.timeout - self._loop.time(), self._out_of_time)

    def _out_of_time(self) -> None:
        self._overdue = True
        self.kill()

    def _rearm[*Ts](self, delay: float, call: object, *arguments: object) -> None:
        raise NotImplementedError
