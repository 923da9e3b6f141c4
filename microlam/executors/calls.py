"""What a worker is sent to run, ahead of its turn too: what it has not read, the server can take back."""
from __future__ import annotations

import socket

from microlam.executors.workers.frames import BLOCK

ROOM = 1 << 17          # bytes that wait at most, as far as the system lets us say; AHEAD blocks and their headers


class Calls:
    """A line of blocks of the same size, so that each is read whole, whoever reads it; the server holds both ends."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        if self._ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < ROOM:
            self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
            self._theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)

    def fileno(self) -> int:
        """The worker's end."""
        return self._theirs.fileno()

    def send(self, block: bytes) -> bool:
        """Put a block into the line; false where there is no room."""
        try:
            return self._ours.send(block) == BLOCK
        except OSError:
            return False

    def take_back(self) -> set[bytes]:
        """The blocks that the worker has not read, and now never will. It may read one from between them meanwhile."""
        taken = set()
        while True:
            try:
                taken.add(self._theirs.recv(BLOCK, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return taken

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()
