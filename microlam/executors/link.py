"""The socket to one worker: frames out, replies in.

It works on the socket itself, not through a transport, because a worker's end must be told apart: what it never read goes to another worker.
"""
from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from microlam.executors.workers.frames import MARK, REPLY, REPLY_LIMIT

Take = Callable[[int, bytes, float, int, int, int], bool]


class Link:
    """Frames to and from a worker. `take` gets each that comes, by its fields, and tells whether it makes sense; `lost` is called when no more can come."""

    __slots__ = ("_incoming", "_loop", "_lost", "_outgoing", "_socket", "_take", "broken", "deaf")

    def __init__(self, socket: socket.socket, loop: asyncio.AbstractEventLoop, take: Take, lost: Callable[[], None]) -> None:
        self._socket, self._loop, self._take, self._lost = socket, loop, take, lost
        self._outgoing = b""
        self._incoming = bytearray()
        self.deaf = False       # no reply can come any more
        self.broken = False     # the worker has closed its end, and may not have read all
        loop.add_reader(socket, self.hear)

    def send(self, frame: bytes) -> None:
        """Send it now, or as soon as there is room."""
        if self._outgoing:
            self._outgoing += frame
            return
        try:
            sent = self._socket.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.broken = True      # the zygote will say why
            return
        if sent < len(frame):
            self._outgoing = frame[sent:]
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        frame, self._outgoing = self._outgoing, b""
        self._loop.remove_writer(self._socket)
        self.send(frame)

    def hear(self) -> bool:
        """Take in what has come; whether anything has."""
        received = self._receive()
        if received is None:
            return False
        if not received or not self._parse(received):
            # As a rule the worker is ending; if its handler only closed our socket, or wrote into it, it must.
            self.deaf = True
            self._loop.remove_reader(self._socket)
            self._lost()
        return True

    def hear_out(self) -> None:
        """Take in what a worker said before it ended."""
        while not self.deaf and (received := self._receive()) and self._parse(received):
            pass

    def close(self) -> None:
        """Neither send nor hear any more."""
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()

    def _receive(self) -> bytes | None:
        """What has come; None if nothing has, empty at the end."""
        try:
            # Not more at once while a frame begins: to allocate a large buffer takes longer than all else.
            return self._socket.recv(1 << 18 if self._incoming else 1 << 16)
        except BlockingIOError:
            return None
        except OSError:
            self.broken = True      # reset: it ended with something still unread
            return b""

    def _parse(self, received: bytes | bytearray) -> bool:
        """Take the frames that are whole; false at the first that is none of ours."""
        if self._incoming:
            self._incoming += received
            received = self._incoming
        start = 0
        while len(received) - start >= REPLY.size:
            mark, kind, size, seconds, peak, marks, dropped = REPLY.unpack_from(received, start)
            if mark != MARK or size > REPLY_LIMIT:
                return False
            stop = start + REPLY.size + size
            if len(received) < stop:
                break
            if not self._take(kind, bytes(received[start + REPLY.size:stop]), seconds, peak, marks, dropped):
                return False
            start = stop
        if start == len(received):
            self._incoming = bytearray()
        elif start or received is not self._incoming:
            self._incoming = bytearray(received[start:])
        return True
