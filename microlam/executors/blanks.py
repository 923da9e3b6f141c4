"""Worker processes that have not been told yet what they are to run, and where they live and write."""
from __future__ import annotations

import itertools
import socket
import time
from contextlib import ExitStack, suppress

from microlam.executors.calls import Calls
from microlam.executors.output import Output
from microlam.executors.scratch import Scratch
from microlam.executors.zygotes import Child, Zygote


class Blank:
    """A process of a zygote that waits for its configuration: our end of its socket, what it will be called by, its output, its temporary folder."""

    def __init__(self, zygote: Zygote, number: int, folder: str, *, log_limit: int, fresh: bool = False) -> None:
        self.zygote, self.number, self.folder = zygote, number, folder
        self.execs = fresh or not zygote.forks
        self.expected = False       # a worker is about to need it
        self.until = 0.0            # time.monotonic(), to which it waits for one
        self.pid = 0
        self.over = False
        with ExitStack() as opened:
            self.socket, theirs = map(opened.enter_context, socket.socketpair())
            self.calls = Calls()
            opened.callback(self.calls.close)
            self.output = Output(log_limit)
            opened.pop_all()
        self.socket.setblocking(False)
        zygote.start(number, self, theirs, self.calls.fileno(), self.output.theirs, fresh=self.execs)

    def become(self, worker: Child) -> None:
        """Let a worker have it, and hear from now on what its zygote tells of it."""
        self.zygote.workers[self.number] = worker
        if self.pid:
            worker.started(self.pid)

    def started(self, pid: int) -> None:
        """The process is there, and nobody has it yet."""
        self.pid = pid

    def ended(self, status: int | None, peak: int = 0) -> None:
        """The process has ended before anybody had it."""
        if not self.over:
            self.over = True
            self.socket.close()
            self.calls.close()
            self.output.close()

    def waits(self) -> bool:
        """Whether the process is still there: of one that has just ended its zygote may not have told yet."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def wait(self, seconds: float, *, expected: bool) -> None:
        """Let it wait so long for a worker to need it."""
        self.expected, self.until = expected, time.monotonic() + seconds

    def let_go(self) -> None:
        """Nobody will have it: it ends by itself when it finds nobody at the other end."""
        self.ended(None)


class Blanks:
    """The blank processes of an executor, each waiting a while for a worker to need it."""

    def __init__(self, scratch: Scratch, log_limit: int) -> None:
        self._scratch, self._log_limit = scratch, log_limit
        self._numbers = itertools.count(1)
        self._waiting: list[Blank] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def new(self, zygote: Zygote, *, fresh: bool = False) -> Blank:
        """Have one made, for whoever asks."""
        number = next(self._numbers)
        return Blank(zygote, number, self._scratch.place(number), log_limit=self._log_limit, fresh=fresh)

    def take(self, zygote: Zygote) -> Blank | None:
        """One that waits, if there is any of this zygote."""
        found = next((blank for blank in self._waiting if blank.zygote is zygote and not blank.over and blank.waits()), None)
        if found is not None:
            self._waiting.remove(found)
        return found

    def begin(self, zygote: Zygote, seconds: float, *, expected: bool, room: bool) -> None:
        """Let one wait so long: one that nobody expects so far or, where there is `room`, a new one."""
        found = next((blank for blank in self._waiting if blank.zygote is zygote and not blank.expected and not blank.over), None)
        if found is None and room and zygote.alive:
            with suppress(OSError):
                found = self.new(zygote)
                self._waiting.append(found)
        if found is not None:
            found.wait(seconds, expected=expected)

    def tidy(self) -> None:
        """Let those go for which no worker came."""
        now = time.monotonic()
        for blank in self._waiting[:]:
            if blank.over or now > blank.until:
                self.let_go(blank)

    def let_go(self, blank: Blank | None = None) -> None:
        """Let one go, or the one that waits longest."""
        blank = blank or self._waiting[0]
        self._waiting.remove(blank)
        blank.let_go()
        self._scratch.clear(blank.folder)

    def close(self) -> None:
        for blank in self._waiting:
            blank.let_go()
