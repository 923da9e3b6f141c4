"""Worker processes that have not been told yet what they are to run, and where they live and write their logs."""
from __future__ import annotations

import fcntl
import os
import socket
import tempfile
import time

from microlam.executors.zygotes import Child, Zygote


class Blank:
    """A process of a zygote that waits for its configuration: our end of its socket, its log, its temporary folder."""

    def __init__(self, zygote: Zygote, number: int, folder: str, *, fresh: bool = False) -> None:
        self.zygote, self.number, self.folder = zygote, number, folder
        self.execs = fresh or not zygote.forks
        self.expected = False       # a worker is about to need it
        self.until = 0.0            # time.monotonic(), to which it waits for one
        self.pid = 0
        self.over = False
        self.socket, theirs = socket.socketpair()
        try:
            self.log = open_log()
        except OSError:
            self.socket.close()
            theirs.close()
            raise
        self.socket.setblocking(False)
        zygote.start(number, self, theirs, self.log, fresh=self.execs)

    def become(self, worker: Child) -> None:
        """Let a worker have it, and hear from now on what its zygote tells of it."""
        self.zygote.workers[self.number] = worker
        if self.pid:
            worker.started(self.pid)

    def started(self, pid: int) -> None:
        """The process is there, and nobody has it yet."""
        self.pid = pid

    def ended(self, status: int | None) -> None:
        """The process has ended before anybody had it."""
        if not self.over:
            self.over = True
            self.socket.close()
            os.close(self.log)

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


def open_log() -> int:
    """A file without a name that everybody appends to."""
    if hasattr(os, "memfd_create"):
        log = os.memfd_create("microlam-log")
    else:
        with tempfile.TemporaryFile() as file:
            log = os.dup(file.fileno())
    fcntl.fcntl(log, fcntl.F_SETFL, os.O_APPEND)
    return log
