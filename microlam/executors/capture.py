"""Whose output is it? print and logging of handlers inside the host's process, told apart by context.

What a thread or task prints whose import or invocation is over is the host's, though its context still names the Output that it had.

While invocations run, and a moment longer, sys.stdout, sys.stderr and a handler of the root logger are ours; the host's own output passes
through as it was. `breakpoint()` in a handler opens Python's debugger on the host's terminal.
"""
from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import TextIO

from microlam.executors.logs import cut
from microlam.executors.workers.handler import JsonFormatter, TextFormatter


def _nothing() -> None:
    pass


class Output:
    """What one invocation has printed, up to a limit."""

    def __init__(self, request_id: str, limit: int) -> None:
        self.request_id = request_id
        self.dropped = 0
        self._limit = self._room = limit
        self.over = False       # what is still printed is the host's
        self.stopped: Callable[[], None] = _nothing     # called when it has come to a breakpoint
        self._parts: list[bytes] = []
        self._said: list[bytes] = []

    def print(self, text: str) -> None:
        """Take in what is printed, as far as there is room."""
        data = text.encode("utf-8", "backslashreplace")
        kept = data[:self._room]
        self._room -= len(kept)
        self.dropped += len(data) - len(kept)
        self._parts.append(kept)

    def say(self, text: str) -> None:
        """Print how it failed, however much has been printed before, in as many bytes again."""
        self._said.append(text.encode("utf-8", "backslashreplace")[:self._limit])

    def bytes(self) -> bytes:
        """All of it."""
        printed = b"".join(self._parts)
        if not (self.dropped or self._said):
            return printed
        return cut(printed, self.dropped) + b"".join(self._said)

    def end(self) -> None:
        """The import or the invocation is over: take in no more. A thread may keep this object for as long as it lives."""
        self.over, self.stopped = True, _nothing


current: ContextVar[tuple[Output, str] | None] = ContextVar("microlam_output", default=None)      # and its log format


def present() -> tuple[Output, str] | None:
    """Whose output it is at this moment, and its log format; None where it is the host's."""
    running = current.get()
    return None if running is None or running[0].over else running


def print_to_log(text: str) -> None:
    """context.log()."""
    running = present()
    if running is None:
        print(text, end="")
    else:
        running[0].print(text)


class _Stream(io.TextIOBase):
    """The host's stream, but for what an invocation writes."""

    def __init__(self, host: TextIO) -> None:
        self.host = host

    def write(self, text: str) -> int:
        running = present()
        if running is None:
            return self.host.write(text)
        running[0].print(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        if present() is None:
            self.host.flush()

    def fileno(self) -> int:
        return self.host.fileno()

    def isatty(self) -> bool:
        return present() is None and self.host.isatty()

    def close(self) -> None:
        """Not ours to close."""

    @property
    def buffer(self) -> object:
        return getattr(self.host, "buffer", None)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.host, "encoding", None) or "utf-8"


class _Logging(logging.Handler):
    """The root logger's handler that Lambda gives a function, for records made while an invocation runs."""

    def __init__(self) -> None:
        super().__init__()
        self._formatters = {"JSON": JsonFormatter(), "Text": TextFormatter()}

    def emit(self, record: logging.LogRecord) -> None:
        running = present()
        if running is None:
            # Without us the host would have had no handler at all, and logging would have used its last resort.
            if logging.getLogger().handlers == [self] and logging.lastResort and record.levelno >= logging.lastResort.level:
                logging.lastResort.handle(record)
            return
        output, log_format = running
        record.aws_request_id = output.request_id
        record.tenant_id = None
        output.print(self._formatters.get(log_format, self._formatters["Text"]).format(record))


class Capture:
    """Stands in the way of the host's output while anyone runs handlers, and out of it else."""

    def __init__(self) -> None:
        self._holders = 0
        self._logging = _Logging()
        self._stdout, self._stderr = _Stream(sys.stdout), _Stream(sys.stderr)
        self._hosts_hook: Callable[..., object] = sys.breakpointhook

    def enter(self) -> None:
        """Begin to hold the output; `leave` as often. Of the event loop's thread."""
        self._holders += 1
        if self._holders == 1:
            logging.getLogger().addHandler(self._logging)
        self.renew()

    def renew(self) -> None:
        """Before each invocation: the host may have put another stream in place meanwhile."""
        if sys.stdout is not self._stdout:
            self._stdout.host, sys.stdout = sys.stdout, self._stdout
        if sys.stderr is not self._stderr:
            self._stderr.host, sys.stderr = sys.stderr, self._stderr
        if sys.breakpointhook != self._at_breakpoint:
            self._hosts_hook, sys.breakpointhook = sys.breakpointhook, self._at_breakpoint

    def leave(self) -> None:
        """Hold the output no more, if nobody else does; the host has its own again."""
        self._holders -= 1
        if self._holders:
            return
        logging.getLogger().removeHandler(self._logging)
        if sys.stdout is self._stdout:
            sys.stdout = self._stdout.host
        if sys.stderr is self._stderr:
            sys.stderr = self._stderr.host
        if sys.breakpointhook == self._at_breakpoint:
            sys.breakpointhook = self._hosts_hook

    def _at_breakpoint(self, *facts: object, **named: object) -> object:
        """breakpoint(): the host's own debugger where it has one, else Python's, on the host's terminal."""
        running = current.get()
        if running is not None:
            running[0].stopped()
        if running is None or self._hosts_hook is not sys.__breakpointhook__ or os.environ.get("PYTHONBREAKPOINT"):
            return self._hosts_hook(*facts, **named)
        import pdb
        # Not Ctrl-C too: that is the server's.
        pdb.Pdb(stdin=sys.stdin, stdout=self._stdout.host, nosigint=True).set_trace(sys._getframe(1))
        return None


capture = Capture()     # of the process: sys.stdout is, too
