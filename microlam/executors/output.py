"""What a worker, and every program that it starts, writes to its descriptors 1 and 2: a pipe, as on AWS, read here.

After an invocation that has written, the worker puts its mark into the pipe: what is before it belongs to that invocation, whenever it is read.
So a pipe is read only where there is something in it, and while an invocation lasts, lest whoever writes waits for us. What the worker itself says
of a failure comes after a mark of its own: it is there however much was printed before, and has as much room again.
"""
from __future__ import annotations

import asyncio
import fcntl
import os
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from microlam.executors.logs import cut

CAPACITY = 1 << 18      # bytes that a pipe holds while nobody reads it, as far as the system lets us say
AT_ONCE = 1 << 18       # bytes read of one that writes all the time, before others have their turn
PAUSE = 0.002           # seconds until they are read again
LAST_WORDS = 1 << 22    # bytes at most that are read of one that has ended: more than a pipe holds


class Written(NamedTuple):
    """What was written, up to the limit, and how many bytes were dropped beyond it."""

    output: bytes
    dropped: int


class Output:
    """The server's end of one worker's pipe."""

    def __init__(self, limit: int) -> None:
        self.mark = b"\0" + os.urandom(15)
        self.kept = bytearray()         # since the last mark
        self._limit, self._dropped = limit, 0
        self._marked: deque[Written] = deque()
        self.beginning = b""            # of a mark, perhaps
        self._loop = asyncio.get_running_loop()
        self._watched = False
        self._resuming: asyncio.TimerHandle | None = None
        self._ours, self.theirs = os.pipe()     # theirs is closed by whoever has passed it on
        os.set_blocking(self._ours, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):     # a user has only so many pages for pipes
                fcntl.fcntl(self._ours, fcntl.F_SETPIPE_SZ, CAPACITY)

    def take(self, marks: int, dropped: int) -> bytes:
        """What an invocation that is over has written, with so many marks in it; none where it has written nothing since we last read.

        So many bytes more it has itself `dropped` beyond the limit.
        """
        first = self._next() if marks else self._left()
        return cut(first.output, first.dropped + dropped) + b"".join(self._next().output for _ in range(1, marks))

    def rest(self) -> bytes:
        """What is left of one that has ended."""
        left = LAST_WORDS
        while left > 0 and (count := self._read()):
            left -= count
        return b"".join(cut(*written) for written in self._marked) + cut(*self._left())

    def _next(self) -> Written:
        left = LAST_WORDS
        while not self._marked:
            count = self._read()
            left -= count
            if not count or left < 0:
                return self._left()     # somebody took the mark away: a handler can find the pipe
        return self._marked.popleft()

    def _left(self) -> Written:
        self._add(self.beginning)
        self.beginning = b""
        return self._cut()

    def watch(self) -> None:
        """Read what comes from now on, when it comes."""
        if not self._watched:
            self._watched = True
            self._loop.add_reader(self._ours, self._readable)

    def unwatch(self) -> None:
        """Read no more of itself."""
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._ours)
            if self._resuming is not None:
                self._resuming.cancel()
                self._resuming = None

    def close(self) -> None:
        """Read nothing any more; what is still in the pipe is lost."""
        self.unwatch()
        os.close(self._ours)

    def _readable(self) -> None:
        count, left = 1, AT_ONCE
        while left > 0 and count:
            count = self._read()
            left -= count
        # What writes without end is not to keep us busy all the time.
        self._loop.remove_reader(self._ours)
        self._resuming = self._loop.call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._ours, self._readable)

    def _read(self) -> int:
        """Take in what is there, as far as one read goes; how many bytes that was."""
        try:
            data = os.read(self._ours, 1 << 16)
        except BlockingIOError:
            return 0
        if data:
            *marked, rest = (self.beginning + data).split(self.mark)
            for written in marked:
                self._add(written)
                self._marked.append(self._cut())
            self.beginning = _beginning(rest, self.mark)
            self._add(rest[:len(rest) - len(self.beginning)])
        return len(data)

    def _add(self, data: bytes) -> None:
        room = self._limit - len(self.kept)
        self.kept += data[:room]
        self._dropped += max(0, len(data) - room)

    def _cut(self) -> Written:
        written = Written(bytes(self.kept), self._dropped)
        self.kept, self._dropped = bytearray(), 0
        return written


def _beginning(data: bytes, mark: bytes) -> bytes:
    """The end of data that may be how the mark begins."""
    sizes = range(min(len(mark) - 1, len(data)), 0, -1)
    return next((mark[:size] for size in sizes if data.endswith(mark[:size])), b"")
