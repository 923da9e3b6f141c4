"""The server's side of one worker: an invocation out, its reply in, and what to make of a process that ends instead.

This is the hot path: one write, one future, one read a call.
"""
from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from microlam.executors import INIT_TIMEOUT, Ahead, WorkerStatistics, logs
from microlam.executors.blanks import Blank
from microlam.executors.cgroups import Group
from microlam.executors.lasting import LONG
from microlam.executors.link import Link
from microlam.executors.workers.frames import BLOCK, CONFIGURATION, FAILED, READY, REQUEST, SUCCEEDED, UNUSABLE
from microlam.executors.workers.handler import fitting
from microlam.executors.zygotes import Zygote
from microlam.model import Invocation, Outcome, Version, new_id

LOOK_FOR_DEBUGGER = 0.25
AHEAD = 16              # invocations at most that a worker has before it
LATE = 0.003            # seconds after which they no longer wait for the one it runs
NEWEST = 0.1            # of the pace
GRACE = 2.0             # seconds in which a killed process is expected to be gone


class Keeper(Protocol):
    """Who holds the workers."""

    def started(self, worker: Worker) -> None: ...
    def freed(self, worker: Worker) -> None: ...
    def ended(self, worker: Worker) -> None: ...
    def lasts(self, worker: Worker) -> None: ...


@dataclass(slots=True)
class Pace:
    """How long a version's invocations take, the newest counting most."""

    seconds: float = 1.0


class Sent(NamedTuple):
    """An invocation that a worker was sent ahead."""

    invocation: Invocation
    place: Ahead
    block: bytes


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker lives: its number, its own temporary folder, its log stream.

    `attached` is the file that is there while a debugger is; empty where none may attach.
    """

    number: int
    folder: str
    log_stream: str
    attached: str = ""


class Worker:
    """One process that runs one version, one invocation at a time."""

    def __init__(
        self, version: Version, place: Place, zygote: Zygote, keeper: Keeper, pace: Pace, *, notice: str = "", init_timeout: float = INIT_TIMEOUT,
    ) -> None:
        self.version, self.place = version, place
        self.pid = 0
        self.since = datetime.now(UTC)
        self.idle_since = 0.0
        self.invocations = 0
        self.peak = 0                   # most resident bytes
        self.unweighed = version.memory_bytes   # a peak up to which nobody need look what it still holds
        self.group: Group | None = None # that the kernel holds its memory to, where it does
        self.over = False               # killed or ended: nothing more is to be sent
        self.zygote, self._keeper, self.pace = zygote, keeper, pace
        self.loop = asyncio.get_running_loop()
        self._runtime = self._runtime_name = ""
        self._init: float | None = None
        self._init_limit = max(init_timeout, version.timeout)
        self._init_output = b""
        self._notice = f"[microlam] {notice}\n".encode() if notice else b""     # stands in the worker's first log
        self._ready = self._gone = self._unread = self._overdue = self._held = False
        self._cold = True
        self._invocation: Invocation | None = None
        self._waiter: asyncio.Future[Outcome | None] | None = None
        self._warmed: asyncio.Future[Outcome | None] | None = None
        self._watched = False           # the invocation has a timer
        self._timer: asyncio.TimerHandle | None = None
        self._began = self.loop.time()
        self._began_at = self.since
        self._block = b""               # of the invocation
        self._long = False              # it has more than that
        self._ahead: deque[Sent] = deque()      # sent before it had replied to the one before
        self.late = False               # what it runs takes longer than expected

    # ---- the server's wishes ------------------------------------------------------------------------------------

    def start(self, configuration: Mapping[str, object], blank: Blank) -> None:
        """Tell a process what it is."""
        self._calls, self._output = blank.calls, blank.output
        self._output.watch()        # the import may last
        self._link = Link(blank.socket, self.loop, self._take, self.kill)
        blank.become(self)
        text = json.dumps({**configuration, "mark": self._output.mark.hex()}).encode()
        frame = CONFIGURATION.pack(len(text)) + text
        # One that is exec'd reads it twice: before, for its environment, and after.
        self._link.send(frame + frame if blank.execs else frame)
        if not self.place.attached:     # the import may be waiting for a debugger, or stand at a breakpoint
            self._arm(self._began + self._init_limit, self._run_out_of_time)
        self._keeper.lasts(self)

    def invoke(self, invocation: Invocation, waiter: asyncio.Future[Outcome | None]) -> None:
        """Send an invocation; `waiter` has its outcome, or None where the worker ended before it read it: another may run it."""
        self._invocation, self._waiter = invocation, waiter
        if self.over:
            waiter.set_result(None)
            return
        if self._ready:
            self._begin()
        self._block, rest = _frame(invocation)
        self._long = bool(rest)
        if not self._calls.send(self._block):
            self._unread = True
            self.kill()
        elif rest:
            self._link.send(rest)

    @property
    def takes_ahead(self) -> bool:
        """Whether it may be sent one more before it has replied: not behind one whose output is being read, or that has more than a block."""
        return (
            self._ready and not self.over and not self.late and len(self._ahead) < AHEAD and not self._long and not self._watched
            and not self.place.attached
        )

    def send_ahead(self, invocation: Invocation, place: Ahead) -> bool:
        """Have it run this one after what it has; false where it cannot be sent."""
        block, rest = _frame(invocation)
        if rest or not self._calls.send(block):
            return False
        self._ahead.append(Sent(invocation, place, block))
        return True

    def take_back(self) -> None:
        """Give those back that it was sent ahead and has not begun."""
        taken = set() if self._gone else self._calls.take_back()
        if not taken:
            return
        back = [sent for sent in self._ahead if sent.block in taken]
        self._ahead = deque(sent for sent in self._ahead if sent.block not in taken)
        if self._block in taken:        # it has not even read the one that it is to run now
            self._not_begun()
        for sent in reversed(back):     # they step in front of one another
            sent.place.given_back()

    def _not_begun(self) -> None:
        """The current invocation was taken back as well: it is still to be run, by whom?"""
        if self.over:
            self._unread = True
        elif not self._ahead:
            self._calls.send(self._block)
        else:                           # while its block was taken, the worker read the one behind it
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
            self._go_on()

    def catch_up(self) -> None:
        """Hear what it has said, so that what it `runs` is what it is at. It reads the next one after it has replied: then the reply is there."""
        self.late = True        # else what it gives back might be sent to it again
        self.take_back()
        while self._ahead and not self._link.deaf and self._link.hear():
            pass

    def has_ahead(self, invocation: Invocation) -> bool:
        """Whether it was sent this one ahead."""
        return any(sent.invocation is invocation for sent in self._ahead)

    def runs(self, invocation: Invocation) -> bool:
        """Whether it was sent this one, and has not replied."""
        return self._invocation is invocation

    def warmed(self) -> asyncio.Future[Outcome | None]:
        """Import only; the future has None, or how the import failed."""
        self._warmed = self.loop.create_future()
        return self._warmed

    def kill(self) -> None:
        """End the process and all below it, whatever it is doing."""
        if self._gone:
            return
        self.over = True
        self.catch_up()
        self.zygote.kill(self.place.number)
        # A process in the kernel's hands may be late; nobody waits for it longer than this.
        self._arm(self.loop.time() + GRACE, lambda: self.ended(None))

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
        self._began = self.loop.time()
        self._began_at = datetime.now(UTC)
        self._watched = self.late = False

    def hurry(self, now: float) -> bool:
        """Take back what waits behind an invocation that takes longer than expected; whether anything may yet."""
        if self._ahead and now - self._began >= LATE:
            self.late = True
            self.take_back()
        return bool(self._ahead)

    def look(self, now: float) -> None:
        """If the invocation has lasted for LONG, let it be watched from now on, and limited: most are over before anybody looks."""
        if self._lasts(now):
            self.catch_up()         # or what the next one writes might be read as this one's
        if self._lasts(now):
            self._watched = True
            self._output.watch()
            self._keeper.lasts(self)
            if not self.over:
                self._arm(self._began + self.version.timeout, self._run_out_of_time)

    def _lasts(self, now: float) -> bool:
        return self._ready and self._invocation is not None and not self._watched and now - self._began >= LONG

    def _run_out_of_time(self) -> None:
        if self.place.attached and self._is_held():
            return
        self._overdue = True
        self.kill()

    def _is_held(self) -> bool:
        """Whether a debugger is attached, or was until now: then there is the whole time again."""
        attached = os.path.exists(self.place.attached)
        if attached or self._held:
            self._arm(self.loop.time() + (LOOK_FOR_DEBUGGER if attached else self.version.timeout), self._run_out_of_time)
        was, self._held = self._held, attached
        return attached or was

    def _arm(self, when: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(when, call)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- what became of it --------------------------------------------------------------------------------------

    def _take(self, kind: int, payload: bytes, seconds: float, peak: int, marks: int, dropped: int) -> bool:
        """One frame; false if it makes no sense here."""
        if peak > self.peak:
            self.peak = peak
        if kind in (SUCCEEDED, FAILED) and self._ready and self._invocation is not None and not self._overdue:
            self._reply("succeeded" if kind == SUCCEEDED else "failed", payload, seconds, marks, dropped)
        elif kind == READY and not self._ready and not self._overdue:
            self._become_ready(payload, seconds, marks, dropped)
        elif kind == UNUSABLE and not self._ready:
            self._fail_to_start(payload, seconds, marks, dropped)
        else:
            return self._overdue
        return True

    def _reply(self, status: str, payload: bytes, seconds: float, marks: int, dropped: int) -> None:
        """The handler's reply, after so many seconds."""
        if self._timer is not None and not self.over:      # one that is being killed has a time for that
            self._disarm()
        version = self.version
        output = self._output.take(marks, dropped) if marks or dropped or self._output.kept or self._output.beginning else b""
        if self.invocations and version.log_format != "JSON" and self._invocation is not None:
            log = logs.plain_log(version, self._invocation.id, seconds, self.peak, output)
        else:
            log = self._log_of(seconds, output=output)
        self._settle(status, payload, log, seconds)
        self.pace.seconds += (seconds - self.pace.seconds) * NEWEST
        if self._ahead:
            self._go_on()       # also if it has ended since: its replies to others may follow
        elif not self.over:
            self._keeper.freed(self)

    def _go_on(self) -> None:
        """It has begun with the next one that it was sent."""
        self._invocation, place, self._block = self._ahead.popleft()
        self._waiter, self._long = place.turn, False
        self._begin()
        place.begun()

    def _become_ready(self, runtime: bytes, seconds: float, marks: int, dropped: int) -> None:
        self._ready = True
        self._runtime, self._init = runtime.decode(), seconds
        self._runtime_name = f"Python {self._runtime}"
        self._init_output = self._output.take(marks, dropped)
        self._output.unwatch()
        if not self.over:
            self._disarm()      # the import's time ends here, before a waiting invocation's begins
        if self._invocation is not None:
            self._begin()
            return
        self._cold = False
        if self._warmed is not None and not self._warmed.done():
            self._warmed.set_result(None)
        if not self.over:
            self._keeper.freed(self)

    def _fail_to_start(self, payload: bytes, seconds: float, marks: int, dropped: int) -> None:
        error = json.loads(payload)
        error["requestId"] = self._invocation.id if self._invocation else new_id()
        self._init_output = self._output.take(marks, dropped)
        self._settle("failed", fitting(json.dumps(error).encode()), self._log_of(0.0, init_failed=seconds, error=error["errorType"]), 0.0)
        self.kill()

    def started(self, pid: int) -> None:
        """The process is there."""
        self.pid = pid
        self._keeper.started(self)

    def ended(self, status: int | None, peak: int = 0) -> None:
        """The process has ended, with this wait status, None where nobody knows, and with so many resident bytes at most."""
        if self._gone:
            return
        self.peak = max(self.peak, peak)
        self.over = True
        self._link.hear_out()
        self.take_back()
        self._gone = True
        self._disarm()
        if self._invocation is not None or (self._warmed is not None and not self._warmed.done()):
            self._give_up(status)
        for sent in self._ahead:
            sent.place.given_back()     # it spoke nonsense before it came to them
        self._ahead.clear()
        self._link.close()
        self._calls.close()
        self._output.close()
        self._keeper.ended(self)

    def _give_up(self, status: int | None) -> None:
        """Say how the invocation ended whose worker did."""
        if self._ready and (self._unread or self._link.broken) and self._waiter is not None and not self._overdue:
            if not self._waiter.done():
                self._waiter.set_result(None)
            return
        id = self._invocation.id if self._invocation else new_id()
        output = self._output.rest()
        if not self._ready:
            self._init_output, output = output, b""
        if self._overdue:
            limit = self.version.timeout if self._ready else self._init_limit
            error, sentence = "Sandbox.Timedout", logs.timeout_sentence(id, limit, importing=not self._ready)
            how, duration = "timed_out", limit
        else:
            error, sentence = "Runtime.ExitError", logs.exit_sentence(id, status)
            how, duration = "crashed", self.loop.time() - self._began
        log = self._log_of(duration, output=output, init_failed=None if self._ready else duration, error=error, sentence=sentence)
        self._settle(how, logs.platform_error(error, sentence), log, duration)

    def _log_of(
        self, duration: float, *, output: bytes = b"", init_failed: float | None = None, error: str = "", sentence: str = "",
    ) -> bytes:
        """All that is to be told of an invocation."""
        return logs.log_of(logs.Run(
            version=self.version, id=self._invocation.id if self._invocation is not None else "", duration=duration, memory=self.peak, output=output,
            began=self._began_at if self._ready else None, init_began=self.since, first=self.invocations == 0, runtime=self._runtime,
            init=self._init if self._cold else None,
            init_output=self._notice + self._init_output, init_failed=init_failed, error=error, sentence=sentence,
        ))

    def _settle(self, status: str, payload: bytes, log: bytes, duration: float) -> None:
        """Give whoever waits the outcome."""
        waiter, cold = self._waiter, self._cold
        if self._watched:
            self._output.unwatch()
        outcome = Outcome(
            status=status, payload=payload, version=self.version.number, logs=log, started_at=self._began_at, duration=duration,
            init=self._init if cold else None, cold=cold, memory=self.peak, log_stream=self.place.log_stream, runtime=self._runtime_name,
        )
        self._invocation = self._waiter = None
        self._init_output = self._notice = b""
        self._cold = False
        self.invocations += 1
        if waiter is not None and not waiter.done():
            waiter.set_result(outcome)
        if self._warmed is not None and not self._warmed.done():
            self._warmed.set_result(outcome)


def _frame(invocation: Invocation) -> tuple[bytes, bytes]:
    """An invocation on its way to a worker: its block, and what has no room there."""
    head = f"{invocation.id}\n{invocation.invoked_arn}\n{invocation.client_context or ''}".encode()
    frame = b"".join((REQUEST.pack(len(head), len(invocation.payload)), head, invocation.payload))
    return frame[:BLOCK].ljust(BLOCK, b"\0"), frame[BLOCK:]
